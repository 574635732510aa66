"""Training and validation clips: sounds placed in rendered rooms, mixed, and the truth about them.

A batch depends on (seed, step) alone, never on the number of workers or on the batches before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch.utils.data import Dataset

from bat_agent.acoustics import SOURCE_LEVEL_DBFS
from bat_agent.config import Mixing
from bat_agent.errors import BadInput
from bat_agent.interfaces import NUM_CLASSES, SAMPLE_RATE_HZ
from bat_agent.labels import class_number
from bat_agent.metrics import targets_from_position
from bat_agent.questions import Balance, HeardSource, Question, QuestionType, Split, compatible, generate, known_kinds
from bat_agent.questions.rewording import loosen
from bat_agent.rooms import RoomBank
from bat_agent.scene import Position, mirror_azimuth_deg
from bat_agent.sounds import Sound, SoundSet

MAX_SOURCES = 2
TRIES = 1000


@dataclass
class Truth:
    """Targets of B clips with up to S = 2 sources each; rows of absent sources are zero."""

    active: torch.Tensor
    """(B, S) bool"""
    classes: torch.Tensor
    """(B, S, 355) float, multi-hot"""
    distance: torch.Tensor
    """(B, S) int64 distance bins"""
    azimuth: torch.Tensor
    """(B, S) int64 azimuth bins"""
    elevation: torch.Tensor
    """(B, S) int64 elevation bins"""

    def to(self, device: torch.device | str) -> Truth:
        """The same targets on another device."""
        return Truth(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass
class Batch:
    """B clips of equal length."""

    waveform: torch.Tensor
    """(B, 2, N) float32"""
    truth: Truth
    heard: list[list[HeardSource]]
    """What sounds in each clip and where."""
    questions: list[list[Question]]
    """Questions about each clip, equally many for all; empty when none were asked for."""


@dataclass(frozen=True)
class SoundPool:
    """Sound sets and how often to draw from each."""

    sets: Sequence[SoundSet]
    weights: Sequence[float]

    def sample(self, rng: np.random.Generator) -> Sound:
        """Draw a set by weight, then a sound, classes balanced."""
        shares = np.asarray(self.weights, dtype=float)
        return self.sets[int(rng.choice(len(self.sets), p=shares / shares.sum()))].sample(rng)

    def labels(self) -> tuple[str, ...]:
        """Every label that can be drawn."""
        return tuple(sorted({label for sounds in self.sets for label in sounds.labels()}))


class Mixtures(Dataset):
    """Batches of rendered clips, one per training step."""

    def __init__(
        self,
        pool: SoundPool,
        banks: Sequence[RoomBank],
        mixing: Mixing,
        *,
        seed: int,
        steps: int,
        seconds_per_step: float,
        two_sources: float | None = None,
        question_types: Sequence[QuestionType] = (),
        questions_per_clip: int = 0,
        wording: Split = "train",
        loose_words: float = 0.0,
        imagined: bool = False,
        simple_words: bool = False,
        question_kinds: Sequence[str] = (),
    ) -> None:
        self.pool, self.banks, self.mixing = pool, banks, mixing
        self.seed, self.steps, self.seconds_per_step = seed, steps, seconds_per_step
        self.two_sources = mixing.two_sources if two_sources is None else two_sources
        self.question_types, self.questions_per_clip = tuple(question_types), questions_per_clip
        self.wording: Split = wording
        self.loose_words = loose_words
        self.imagined = imagined
        self.simple_words = simple_words
        self.question_kinds = known_kinds(question_kinds)
        self.known_labels = pool.labels()

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, step))
        shares = np.asarray(self.mixing.window_weights)
        seconds = float(rng.choice(self.mixing.window_seconds, p=shares / shares.sum()))
        clips = max(1, round(self.seconds_per_step / seconds))
        placed = [self._place_to_ask(rng) for _ in range(clips)]
        samples = round(seconds * SAMPLE_RATE_HZ)
        if self.imagined:
            waveform = torch.zeros(clips, 2, 0)
        else:
            waveform = torch.stack([self._mix(clip, samples, rng) for clip in placed])
        heard = [[HeardSource(p.sound.labels, p.position) for p in clip] for clip in placed]
        mirrored = rng.random(clips) < self.mixing.mirror
        waveform[mirrored] = waveform[mirrored].flip(1)
        heard = [[_mirror(s) for s in h] if m else h for h, m in zip(heard, mirrored, strict=True)]
        waveform = waveform if self.imagined else self._colour(waveform, rng)
        return Batch(waveform, truth_of(heard), heard, self._ask(heard, rng))

    def _place_to_ask(self, rng: np.random.Generator) -> list[_Placed]:
        """As :meth:`_place`, but two sources for certain where every question needs two."""
        if not self.question_types or any(kind.num_sources != 2 for kind in self.question_types):
            return self._place(rng)
        for _ in range(TRIES):
            if len(placed := self._place(rng)) == 2:
                return placed
        raise BadInput(
            f"the question types need two sources, but none of {TRIES} clips had them; raise two_sources, or give the "
            "rooms more sources"
        )

    def _place(self, rng: np.random.Generator) -> list[_Placed]:
        """Choose a room and one or two sounds with disjoint labels in different regions of it."""
        number = int(rng.integers(sum(len(bank.scenes) for bank in self.banks)))
        for bank in self.banks:
            if number < len(bank.scenes):
                break
            number -= len(bank.scenes)
        positions = bank.scenes[number].positions()
        spots = rng.permutation(len(positions))
        wanted = 2 if rng.random() < self.two_sources else 1
        placed: list[_Placed] = []
        for spot in spots:
            sound = self.pool.sample(rng)
            candidate = _Placed(sound, positions[spot], bank.rir(number, int(spot)))
            if not placed or compatible(placed[0].heard, candidate.heard):
                placed.append(candidate)
            if len(placed) == wanted:
                break
        return placed

    def _mix(self, clip: Sequence[_Placed], samples: int, rng: np.random.Generator) -> torch.Tensor:
        taps = clip[0].rir.shape[-1]
        size = next_fast_len(samples + taps - 1, real=True)
        dry = torch.stack([self._dry(placed.sound, samples, rng) for placed in clip])
        spectrum = self._equalise(torch.fft.rfft(dry, size), rng)
        rooms = torch.fft.rfft(torch.stack([placed.rir for placed in clip]), size)
        # The mean of the two binaural signals, taken before the way back from the spectrum: one inverse FFT for both.
        return torch.fft.irfft((spectrum[:, None] * rooms).mean(dim=0), size)[:, :samples]

    def _dry(self, sound: Sound, samples: int, rng: np.random.Generator) -> torch.Tensor:
        """A stretch of a sound at −14 dBFS (over its whole length), where there is something to hear."""
        wave = np.asarray(sound.waveform(), dtype=np.float32)
        rms = float(np.sqrt(np.mean(wave**2)))
        if rms > 0:
            wave = wave * np.float32(10 ** (SOURCE_LEVEL_DBFS / 20) / rms)
        if self.mixing.speed and rng.random() < 0.5:
            factor = 1 + rng.uniform(-self.mixing.speed, self.mixing.speed)
            at = np.arange(0, len(wave) - 1, factor, dtype=np.float64)
            wave = np.interp(at, np.arange(len(wave)), wave).astype(np.float32)
        out = np.zeros(samples, dtype=np.float32)
        if len(wave) > samples:
            starts = rng.integers(0, len(wave) - samples + 1, size=4)
            level = [float(np.mean(wave[s : s + samples : 8] ** 2)) for s in starts]
            audible = [s for s, e in zip(starts, level, strict=True) if e > 0.1 * max(level)]
            # All four stretches may lie in digital silence: then around the loudest sample.
            start = audible[0] if audible else min(int(np.abs(wave).argmax()), len(wave) - samples)
            out[:] = wave[start : start + samples]
        else:
            # Half of the clips begin with the sound and end in silence, as the released ones do.
            start = 0 if rng.random() < 0.5 else int(rng.integers(0, samples - len(wave) + 1))
            out[start : start + len(wave)] = wave
        return torch.from_numpy(out)

    def _equalise(self, spectrum: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        if not self.mixing.equalise_db:
            return spectrum
        bins = spectrum.shape[-1]
        octaves = np.log2(np.linspace(62.5, SAMPLE_RATE_HZ / 2, 256) / 62.5)
        knots = rng.uniform(-self.mixing.equalise_db, self.mixing.equalise_db, size=(len(spectrum), 9))
        curves = np.stack([np.interp(octaves, np.arange(9), k) for k in knots]).astype(np.float32)
        gain = torch.nn.functional.interpolate(torch.from_numpy(10 ** (curves / 20))[:, None], bins, mode="linear")[
            :, 0
        ]
        shaped = spectrum * gain
        before, after = spectrum.abs().square().sum(-1), shaped.abs().square().sum(-1)
        return shaped * (before / after.clamp(min=1e-20)).sqrt()[:, None]

    def _colour(self, waveform: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """What microphones add: their own noise and a small difference in gain."""
        clips = len(waveform)
        if self.mixing.mismatch_db:
            gain = rng.normal(0, self.mixing.mismatch_db / 2, size=(clips, 2, 1)).clip(-1, 1)
            waveform = waveform * torch.from_numpy(10 ** (gain / 20).astype(np.float32))
        if self.mixing.noise_dbfs:
            low, high = self.mixing.noise_dbfs
            amplitude = 10 ** (rng.uniform(low, high, size=(clips, 1, 1)) / 20)
            level = torch.from_numpy((amplitude * (rng.random((clips, 1, 1)) < 0.7)).astype(np.float32))
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            waveform = waveform + level * torch.randn(waveform.shape, generator=generator)
        return waveform

    def _ask(self, heard: list[list[HeardSource]], rng: np.random.Generator) -> list[list[Question]]:
        """Equally many questions for every clip; a clip that admits fewer is asked some of them again."""
        if not self.question_types:
            return [[] for _ in heard]
        wanted, balance = self.questions_per_clip, Balance()
        asked = []
        for sources in heard:
            ask = partial(
                generate,
                sources,
                self.question_types,
                rng,
                wanted,
                split=self.wording,
                known_labels=self.known_labels,
                simple=self.simple_words,
            )
            # Balance may refuse all that a clip admits, or none of the kinds fit it; then it is asked all the same.
            kinds = self.question_kinds
            found = ask(balance=balance, kinds=kinds) or ask(kinds=kinds) or ask()
            if self.loose_words and not self.simple_words:
                found = [replace(q, text=loosen(q.text, rng, self.loose_words)) for q in found]
            asked.append([found[i % len(found)] for i in range(wanted)])
        return asked


@dataclass(frozen=True)
class _Placed:
    sound: Sound
    position: Position
    rir: torch.Tensor

    @property
    def heard(self) -> HeardSource:
        return HeardSource(self.sound.labels, self.position)


def truth_of(heard: Sequence[Sequence[HeardSource]]) -> Truth:
    """The targets of clips whose sources are known."""
    clips = len(heard)
    active = torch.zeros(clips, MAX_SOURCES, dtype=torch.bool)
    classes = torch.zeros(clips, MAX_SOURCES, NUM_CLASSES)
    bins = torch.zeros(3, clips, MAX_SOURCES, dtype=torch.int64)
    for clip, sources in enumerate(heard):
        for slot, source in enumerate(sources[:MAX_SOURCES]):
            active[clip, slot] = True
            classes[clip, slot, [class_number(label) for label in source.labels]] = 1
            bins[:, clip, slot] = torch.tensor(targets_from_position(source.position))
    return Truth(active, classes, bins[0], bins[1], bins[2])


def _mirror(source: HeardSource) -> HeardSource:
    azimuth, elevation, distance = source.position
    return HeardSource(source.labels, Position(mirror_azimuth_deg(azimuth), elevation, distance))
