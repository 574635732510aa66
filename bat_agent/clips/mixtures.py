"""Training and validation clips: sounds placed in rooms, mixed, and the truth about them.

A clip depends on (seed, step, number of the clip) alone: never on the number of workers or processes, on the clips
before it or on where it is rendered. Drawing a clip is cheap and is done in worker processes; putting its dry sounds
into their rooms is done there as well, or on the training device by :meth:`Mixtures.finish`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bat_agent.clips.batch import MAX_SOURCES, Batch, Truth, truth_of
from bat_agent.clips.excerpt import BETA, Excerpt, Samples, cut_excerpt, draw_excerpt
from bat_agent.clips.plan import ClipPlan, Microphones, PlannedSource
from bat_agent.clips.room_bank import RoomBank
from bat_agent.clips.sound_bank import Cuts, SoundBank, SoundPool
from bat_agent.clips.spatialise import Reverberant, Unrendered, apart, only, render, render_apart
from bat_agent.datasets.rooms import Place, Rooms
from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.questions import Balance, Question, QuestionType, Split, compatible, generate, known_kinds
from bat_agent.questions.rewording import loosen
from bat_agent.recipes.schema import Mixing
from bat_agent.sound.features import NUM_MELS, band_energies_db, num_frames

__all__ = ["MAX_SOURCES", "Batch", "Mixtures", "Truth", "truth_of"]
TRIES = 1000
SILENT_DB = -100.0
NOISY = 0.7
"""Share of clips with noise of the microphones, where there is any."""


class Mixtures(Dataset[Batch]):
    """Batches of clips, one per training step; with ``shard=(rank, world)``, clips rank::world of each step.

    ``render_on="device"`` leaves rendering to :meth:`finish`. ``rirs_on_device`` says whether banks are then kept on
    the device in half precision, so that numbers travel instead of RIRs; by itself it is so where they take at most a
    quarter of a GPU's free memory. ``energies`` adds to the truth where in time and frequency each source is. Sounds
    are not mixed up where questions are asked, as those name one sound.
    """

    def __init__(
        self,
        pool: SoundPool,
        banks: Sequence[Rooms],
        mixing: Mixing,
        *,
        seed: int,
        steps: int,
        seconds_per_step: float,
        two_sources: float | None = None,
        question_types: Sequence[QuestionType] = (),
        questions_per_clip: int = 0,
        wording: Split = "train",
        word_dropout: float = 0.0,
        truth_only: bool = False,
        simple_words: bool = False,
        question_kinds: Sequence[str] = (),
        shard: tuple[int, int] = (0, 1),
        render_on: str = "worker",
        rirs_on_device: bool | None = None,
        energies: bool = False,
    ) -> None:
        self.pool, self.banks, self.mixing = pool, banks, mixing
        self.seed, self.steps, self.seconds_per_step = seed, steps, seconds_per_step
        self.two_sources = mixing.two_sources if two_sources is None else two_sources
        self.question_types, self.questions_per_clip = tuple(question_types), questions_per_clip
        self.wording: Split = wording
        self.word_dropout = word_dropout
        self.truth_only = truth_only
        self.simple_words = simple_words
        self.question_kinds = known_kinds(question_kinds)
        self.known_labels = pool.labels()
        self.shard, self.render_on = shard, render_on
        self.energies = energies
        self.rirs_on_device = render_on == "device" and (_fit(banks) if rirs_on_device is None else rirs_on_device)
        self.sounds_on_device = False
        """Whether sounds are cut on the device too, so that numbers travel instead of samples (:meth:`preload`)."""
        self._kept: dict[tuple[int, str], torch.Tensor] = {}
        self._banks_of_sounds: dict[str, SoundBank] = {}
        if render_on not in ("worker", "device"):
            raise BadInput(f"render_on must be 'worker' or 'device' here, got {render_on!r}")
        check_shares(mixing, seconds_per_step, shard)

    def __len__(self) -> int:
        return self.steps

    def __getstate__(self) -> dict[str, Any]:
        """Without what lies on a device: a worker process has no use for it."""
        return self.__dict__ | {"_kept": {}, "_banks_of_sounds": {}}

    def preload(self, workers: int) -> None:
        """Load all sounds now, in so many processes. What is rendered on a GPU is then cut there as well."""
        self.pool.preload(workers)
        self.sounds_on_device = self.render_on == "device" and torch.cuda.is_available() and self.pool.kept_whole()

    def __getitem__(self, step: int) -> Batch:
        """This process' clips of one step."""
        shares = np.asarray(self.mixing.window_weights)
        seconds = float(
            np.random.default_rng((self.seed, step)).choice(self.mixing.window_seconds, p=shares / shares.sum())
        )
        total = clips_in(self.seconds_per_step, seconds)
        mine = range(self.shard[0], total, self.shard[1])
        # Questions are levelled from clip to clip, so that all processes draw all of them.
        everyone = range(total) if self.question_types else mine
        drawn = {clip: self._draw(step, clip) for clip in everyone}
        asked = dict(zip(everyone, self._ask(list(drawn.values())), strict=True))
        clips = [drawn[clip] for clip in mine]
        heard = [clip.heard for clip in clips]
        truth = truth_of(heard, [[source.weighted for source in clip.sources] for clip in clips])
        ids = [", ".join(self._name(source) for source in clip.sources) for clip in clips]
        batch = Batch(torch.zeros(len(clips), 2, 0), truth, heard, [asked[clip] for clip in mine], ids)
        if self.truth_only:
            return batch
        batch.dry = self._dry(clips, round(seconds * SAMPLE_RATE_HZ))
        return batch if self.render_on == "device" else self.finish(batch, "cpu")

    def finish(self, batch: Batch, device: torch.device | str) -> Batch:
        """The batch with its waveform on ``device``, rendered there if it is not yet; everything else stays.

        On a CPU the result is the worker's to the last bit; a GPU rounds otherwise and draws other noise.
        """
        if batch.dry is None:
            return replace(batch, waveform=batch.waveform.to(device, non_blocking=True))
        with torch.no_grad():
            dry = self._cut(batch.dry, torch.device(device))
            rirs = self._rirs(dry, torch.device(device))
            if not self.energies:
                return replace(batch, waveform=render(dry, rirs, device), dry=None)
            dry = replace(dry, sounds=dry.sounds.to(device, non_blocking=True))
            if torch.device(device).type == "cpu":
                waveform, alone = render(dry, rirs, device), None
            else:
                waveform, alone = render_apart(dry, rirs, device)
            truth = self._with_energies(batch.truth, dry, rirs, alone)
            return replace(batch, waveform=waveform, dry=None, truth=truth)

    def _with_energies(
        self, truth: Truth, clips: Unrendered, rirs: torch.Tensor | None, alone: torch.Tensor | None
    ) -> Truth:
        """The truth with the energy of each source alone; absent ones are silent, and what is the only source of a clip
        is alike everywhere, as everything is its own.
        """
        mixed, device = truth.active.sum(dim=1) > 1, clips.sounds.device
        frames = num_frames(clips.samples)
        out = torch.full((*truth.active.shape, frames, NUM_MELS), SILENT_DB, dtype=torch.float16, device=device)
        out[truth.active.to(device)] = 0.0
        several = mixed[clips.clip]
        if several.any():
            if alone is None:
                some = None if rirs is None else rirs[several.to(rirs.device)]
                heard = render(only(apart(clips), several), some, device)
            else:
                heard = alone[several.to(device)]
            # Both go clip by clip, and in each source by source.
            out[(mixed[:, None] & truth.active).to(device)] = band_energies_db(heard).half()
        return replace(truth, energy_db=out)

    # --- what is drawn by lot ---

    def _draw(self, step: int, clip: int) -> ClipPlan:
        # Streams of their own: a switch that needs more numbers leaves everything else as it was.
        place, microphones, cut, equalise, ask, empty, before = np.random.default_rng((self.seed, step, clip)).spawn(7)
        silent = not self.question_types and empty.random() < self.mixing.no_source
        placed = [] if silent else self._place_to_ask(place)
        going_on = bool(before.random() < self.mixing.going_on)
        return ClipPlan(placed, self._microphones(microphones), cut, equalise, ask, going_on)

    def _place_to_ask(self, rng: np.random.Generator) -> list[PlannedSource]:
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

    def _place(self, rng: np.random.Generator) -> list[PlannedSource]:
        """Choose a room and one or two sounds with disjoint labels in different regions of it."""
        number, rooms = int(rng.integers(sum(len(bank) for bank in self.banks))), 0
        while number >= len(self.banks[rooms]):
            number, rooms = number - len(self.banks[rooms]), rooms + 1
        place = self.banks[rooms].place(number, rng)
        wanted = 2 if rng.random() < self.two_sources else 1
        mixed_up = rng.random() < self.mixing.mixup and not self.question_types
        placed: list[PlannedSource] = []
        for spot in rng.permutation(len(place.positions)):
            sounds, shares = [self.pool.sample(rng)], [1.0]
            if mixed_up:
                share = float(rng.beta(BETA, BETA))
                sounds, shares = [*sounds, self.pool.sample(rng)], [share, 1 - share]
            candidate = PlannedSource(tuple(sounds), tuple(shares), place.positions[spot], rooms, place, int(spot))
            if not placed or compatible(placed[0].heard, candidate.heard):
                placed.append(candidate)
            if len(placed) == wanted:
                break
        return placed

    def _microphones(self, rng: np.random.Generator) -> Microphones:
        """What microphones add: their own noise and a small difference in gain. Draws alike whatever is switched on."""
        mirrored, mismatch, jitter = rng.random() < self.mixing.mirror, rng.standard_normal(2), rng.uniform(-1, 1)
        noisy, between, seed = rng.random() < NOISY, rng.random(), int(rng.integers(2**62))
        gain_db = (mismatch * self.mixing.mismatch_db / 2).clip(-1, 1) + jitter * self.mixing.level_jitter_db
        noise = 0.0
        if self.mixing.noise_dbfs and noisy:
            low, high = self.mixing.noise_dbfs
            noise = 10 ** ((low + between * (high - low)) / 20)
        late_us = np.clip(rng.standard_normal() / 2, -1, 1) * self.mixing.mismatch_us
        return Microphones(bool(mirrored), 10 ** (gain_db / 20), 1e-6 * float(late_us), noise, seed)

    # --- what is rendered ---

    def _dry(self, clips: Sequence[ClipPlan], samples: int) -> Unrendered:
        """The dry sounds of clips, and where their rooms are."""
        placed = [(number, clip, p) for number, clip in enumerate(clips) for p in clip.sources]
        lead_in = round(self.mixing.lead_in_seconds * SAMPLE_RATE_HZ) if self.mixing.going_on else 0
        cuts, sounds = self._sounds([(p, clip) for _, clip, p in placed], samples, lead_in)
        limit, microphones = self.mixing.equalise_db, [clip.microphones for clip in clips]
        knots = np.zeros((len(placed), 9), dtype=np.float32)
        for row, (_, clip, _) in zip(knots, placed, strict=True):
            row[:] = clip.to_equalise.uniform(-limit, limit, 9)
        return Unrendered(
            sounds,
            torch.tensor([number for number, _, _ in placed], dtype=torch.int64),
            torch.from_numpy(knots) if limit else None,
            torch.tensor([m.mirrored for m in microphones]),
            torch.from_numpy(np.stack([m.gain for m in microphones]).astype(np.float32)),
            torch.tensor([m.delay_s for m in microphones], dtype=torch.float64),
            torch.tensor([m.noise for m in microphones]),
            torch.tensor([m.noise_seed for m in microphones]),
            self.mixing.reverberation,
            self._where([p for _, _, p in placed]) if self.mixing.reverberation != "none" else [],
            cuts,
            lead_in,
        )

    def _sounds(
        self, placed: Sequence[tuple[PlannedSource, ClipPlan]], samples: int, lead_in: int
    ) -> tuple[Cuts | None, torch.Tensor]:
        """The dry sounds (M, lead_in + samples) of sources, or, where the device cuts them, none and what to cut."""
        total = lead_in + samples
        out: list[Samples] = []
        cut: list[tuple[list[int], Excerpt]] = []
        for p, clip in placed:
            waves = [sound.waveform() for sound in p.sounds]
            excerpt = draw_excerpt(waves, p.shares, samples, self.mixing, clip.to_cut, lead_in, clip.going_on)
            if self.sounds_on_device:
                cut.append(([self.pool.number(sound) for sound in p.sounds], excerpt))
            else:
                out.append(cut_excerpt(waves, excerpt, total))
        sounds = torch.from_numpy(np.stack(out)) if out else torch.zeros(0, total)
        return Cuts.of(cut) if self.sounds_on_device else None, sounds

    def _cut(self, clips: Unrendered, device: torch.device) -> Unrendered:
        """The same with its dry sounds, cut on ``device`` where that is left to it."""
        if clips.cuts is None:
            return clips
        if str(device) not in self._banks_of_sounds:
            self._banks_of_sounds[str(device)] = SoundBank(self.pool, device)
        sounds = self._banks_of_sounds[str(device)].cut(clips.cuts, len(clips.clip), clips.sounds.shape[-1])
        return replace(clips, sounds=sounds, cuts=None)

    def _where(self, placed: Sequence[PlannedSource]) -> list[Reverberant]:
        """Where the RIRs of sources are to be found."""
        found = []
        for rooms in sorted({p.rooms for p in placed}):
            of = [number for number, p in enumerate(placed) if p.rooms == rooms]
            rows = [placed[number].place.rows[placed[number].spot] for number in of]
            part = Reverberant(rooms, torch.tensor(of), torch.tensor(rows))
            places = {id(placed[n].place): placed[n].place for n in of}
            if any(place.scene for place in places.values()):
                part.scenes = [_heard_part(place, [placed[n] for n in of]) for place in places.values()]
            elif not (self.rirs_on_device and isinstance(self.banks[rooms], RoomBank)):
                part.rirs = self.banks[rooms].read(rows)
            found.append(part)
        return found

    def _rirs(self, clips: Unrendered, device: torch.device) -> torch.Tensor | None:
        """(M, 2, L) RIRs of all sources, where they are rendered; shorter ones end in silence."""
        if not clips.rirs:
            return None
        parts = [self._some_rirs(part, device) for part in clips.rirs]
        if len(parts) == 1:
            return parts[0]
        out = torch.zeros(len(clips.clip), 2, max(part.shape[-1] for part in parts), device=device)
        for where, rirs in zip(clips.rirs, parts, strict=True):
            out[where.of.to(device), :, : rirs.shape[-1]] = rirs.to(device).float()
        return out

    def _some_rirs(self, part: Reverberant, device: torch.device) -> torch.Tensor:
        bank = self.banks[part.rooms]
        if part.scenes:
            return bank.render(part.scenes, device)
        if part.rirs is not None:
            return part.rirs
        if device.type == "cpu" or not isinstance(bank, RoomBank):
            return bank.read(part.rows.tolist())
        if (part.rooms, str(device)) not in self._kept:
            self._kept[part.rooms, str(device)] = bank.all(device)
        return self._kept[part.rooms, str(device)][part.rows.to(device)]

    # --- what is asked and said ---

    def _ask(self, clips: Sequence[ClipPlan]) -> list[list[Question]]:
        """Equally many questions for every clip; a clip that admits fewer is asked some of them again."""
        if not self.question_types:
            return [[] for _ in clips]
        wanted, balance = self.questions_per_clip, Balance()
        asked = []
        for clip in clips:
            ask = partial(
                generate,
                clip.heard,
                self.question_types,
                clip.to_ask,
                wanted,
                split=self.wording,
                known_labels=self.known_labels,
                simple=self.simple_words,
            )
            # Balance may refuse all that a clip admits, or none of the kinds fit it; then it is asked all the same.
            kinds = self.question_kinds
            found = ask(balance=balance, kinds=kinds) or ask(kinds=kinds) or ask()
            if self.word_dropout and not self.simple_words:
                found = [replace(q, text=loosen(q.text, clip.to_ask, self.word_dropout)) for q in found]
            asked.append([found[i % len(found)] for i in range(wanted)])
        return asked

    def _name(self, placed: PlannedSource) -> str:
        sounds = " + ".join(sound.id for sound in placed.sounds)
        room = self.banks[placed.rooms].name(placed.place.rows[placed.spot], placed.place.scene)
        return f"{sounds} in rooms {placed.rooms} {room}"


def check_shares(mixing: Mixing, seconds_per_step: float, shard: tuple[int, int]) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` where a step of any length of clip cannot be shared out evenly."""
    rank, world = shard
    if not 0 <= rank < world:
        raise BadInput(f"shard must be (rank, world) with 0 <= rank < world, got {shard}")
    for seconds in mixing.window_seconds:
        clips = clips_in(seconds_per_step, seconds)
        if clips % world:
            fitting = max(clips // world, 1) * world
            raise BadInput(
                f"a step of {clips} clips of {seconds:g} s cannot be shared evenly by {world} processes; change "
                f"seconds_per_step, e.g. to {fitting * seconds:g}, or the number of processes"
            )


def clips_in(seconds_per_step: float, seconds: float) -> int:
    """How many clips of ``seconds`` a step of ``seconds_per_step`` has; at least one."""
    return max(1, round(seconds_per_step / seconds))


def _heard_part(place: Place, placed: Sequence[PlannedSource]) -> Any:
    """The scene of a place with only the sources that sound, in their order."""
    assert place.scene is not None
    chosen = [place.rows[p.spot] for p in placed if p.place is place]
    return replace(place.scene, sources=tuple(place.scene.sources[row] for row in chosen))


def _fit(banks: Sequence[Rooms]) -> bool:
    if not torch.cuda.is_available():
        return False
    free, _ = torch.cuda.mem_get_info()
    return sum(bank.bytes for bank in banks if isinstance(bank, RoomBank)) <= free // 4
