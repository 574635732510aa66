"""A stretch of a dry sound, as long as the clip: level, speed, where it begins, and what training does to it.

Where sounds may have begun before their clip, every stretch is longer by a *lead-in*: samples that are rendered, but of
which only the reverberation reaches the clip.

What is drawn by lot (:func:`draw_excerpt`) is apart from the sum (:func:`cut_excerpt`), so that a training device that
holds the sounds can do the same sum for a whole batch (:class:`bat_agent.clips.sound_bank.SoundBank`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bat_agent.recipes.schema import Mixing
from bat_agent.sound.acoustics import SOURCE_LEVEL_DBFS

Samples = NDArray[np.float32]
BETA = 10.0
"""Both parameters of the Beta distribution of mixup's λ and of the random gain (released trainer)."""
STRETCHES = 4


class Cut(NamedTuple):
    """A stretch of one sound, and where it lies in a clip; all in samples."""

    start: int
    """First of the clip."""
    length: int
    """Of the clip; nothing where the sound is empty."""
    begin: int
    """First of the sound."""
    piece: int
    """Of the sound, which begins again where it ends: more than ``length`` plays it faster."""
    level: np.float32
    """Multiplies it."""


class Excerpt(NamedTuple):
    """A source before its sum: a cut of its sound, or of two that are mixed up."""

    cuts: tuple[Cut, ...]
    shares: tuple[float, ...]
    turn: int
    """Samples that the clip is turned around by."""
    gain: float


def draw_excerpt(
    waves: Sequence[Samples],
    shares: Sequence[float],
    samples: int,
    mixing: Mixing,
    rng: np.random.Generator,
    lead_in: int = 0,
    going_on: bool = False,
) -> Excerpt:
    """What to take of each sound for a clip of so many samples and a lead-in of ``lead_in``, which is silent but for
    sounds that are ``going_on``.
    """
    if going_on:
        cuts = tuple(choose_going_on(wave, samples, lead_in, mixing, rng) for wave in waves)
    else:
        cuts = tuple(choose_cut(wave, samples, mixing, rng) for wave in waves)
        cuts = tuple(cut._replace(start=cut.start + lead_in) for cut in cuts)
    # Drawn in any case, so that a switch in the recipe changes what it says and nothing else.
    turn, gain = int(rng.integers(samples)), 0.5 + float(rng.beta(BETA, BETA))
    return Excerpt(cuts, tuple(shares), turn if mixing.roll else 0, gain if mixing.gain else 1.0)


def cut_excerpt(waves: Sequence[Samples], excerpt: Excerpt, samples: int) -> Samples:
    """(samples,) of what was drawn."""
    out = np.zeros(samples, dtype=np.float32)
    for wave, cut, share in zip(waves, excerpt.cuts, excerpt.shares, strict=True):
        out[cut.start : cut.start + cut.length] += np.float32(share) * (_played(wave, cut) * cut.level)
    out = np.roll(out, excerpt.turn) if excerpt.turn else out
    return out if excerpt.gain == 1 else out * np.float32(excerpt.gain)


def choose_cut(wave: Samples, samples: int, mixing: Mixing, rng: np.random.Generator) -> Cut:
    """A stretch of a sound where there is something to hear; at −14 dBFS over its whole length if so asked.

    A shorter sound lies whole in the clip: from the start half of the time, as the released ones do, or anywhere.
    """
    level, faster, length = _level_and_speed(wave, mixing, rng)
    if length > samples:
        first = _audible(wave, rng.integers(0, length - samples + 1, size=STRETCHES), samples, faster)
        return _cut(wave, 0, samples, int(first * faster), faster, level)
    start = 0 if rng.random() < 0.5 else int(rng.integers(0, samples - length + 1))
    return _cut(wave, start, length, 0, faster, level)


def choose_going_on(wave: Samples, samples: int, lead_in: int, mixing: Mixing, rng: np.random.Generator) -> Cut:
    """A stretch of a sound that began before the clip; what follows the lead-in is a part with something to hear.

    A sound shorter than clip and lead-in is repeated half of the time, without a pause; else it is heard once, and
    begins in the lead-in, at least half of it (or as much as there is room for) within the clip; unless too little of
    it would be heard.
    """
    level, faster, length = _level_and_speed(wave, mixing, rng)
    total = lead_in + samples
    once = rng.random() < 0.5
    if not length:
        return _cut(wave, 0, 0, 0, faster, level)
    if length > total:
        begin = (rng.integers(0, length - total + 1, size=STRETCHES) * faster).astype(np.int64)
        cuts = [_cut(wave, 0, total, int(b), faster, level) for b in begin]
    else:
        piece = round((total - 1) * faster) + 1
        cuts = [Cut(0, total, int(b), piece, level) for b in rng.integers(0, len(wave), size=STRETCHES)]
        if once:
            last = min(lead_in, total - length)
            starts = rng.integers(min(max(lead_in - length // 2, 0), last), last + 1, size=STRETCHES)
            cuts = [_cut(wave, int(start), length, 0, faster, level) for start in starts] + cuts
    return first_heard(wave, cuts, lead_in, faster)


def first_heard(wave: Samples, cuts: Sequence[Cut], lead_in: int = 0, faster: float = 1.0) -> Cut:
    """The first of some cuts of which, after the lead-in, as much is heard within 10 dB as of the loudest of them."""
    energy = [_energy_after(wave, cut, lead_in, faster) for cut in cuts]
    return next(cut for cut, e in zip(cuts, energy, strict=True) if e >= 0.1 * max(energy))


def _level_and_speed(wave: Samples, mixing: Mixing, rng: np.random.Generator) -> tuple[np.float32, float, int]:
    """What a sound is multiplied by, how much faster it is played, and how many samples it then has."""
    level = _gain(wave) if mixing.normalise else np.float32(1)
    faster = 1 + float(rng.uniform(-mixing.speed, mixing.speed)) if rng.random() < 0.5 else 1.0
    return level, faster, len(wave) if faster == 1 or len(wave) < 2 else int((len(wave) - 1) / faster) + 1


def _energy_after(wave: Samples, cut: Cut, lead_in: int, faster: float) -> float:
    """Of a cut, without the lead-in; from every eighth sample."""
    before = int((lead_in - cut.start) * faster)
    heard = np.arange(cut.begin + before, cut.begin + cut.piece, 8)
    return float(np.square(wave.take(heard, mode="wrap")).sum()) if len(heard) else 0.0


def _cut(wave: Samples, start: int, length: int, begin: int, faster: float, level: np.float32) -> Cut:
    piece = min(round((length - 1) * faster) + 1, len(wave) - begin) if length else 0
    return Cut(start, length, begin, piece, level)


def _gain(wave: Samples) -> np.float32:
    """What brings a sound to −14 dBFS; 1 for silence."""
    rms = float(np.sqrt(np.dot(wave, wave) / max(len(wave), 1)))
    return np.float32(10 ** (SOURCE_LEVEL_DBFS / 20) / rms if rms > 0 else 1.0)


def _audible(wave: Samples, starts: NDArray[np.int64], samples: int, faster: float) -> int:
    """The first of some stretches that is within 10 dB of the loudest of them."""
    begin = (starts * faster).astype(np.int64)
    energy = [float(np.square(wave[b : b + int(samples * faster) : 8]).sum()) for b in begin]
    loud = [int(s) for s, e in zip(starts, energy, strict=True) if e > 0.1 * max(energy)]
    # All stretches may lie in digital silence: then around the loudest sample.
    last = int((len(wave) - 1) / faster) + 1 - samples
    return loud[0] if loud else min(int(np.abs(wave).argmax() / faster), last)


def _played(wave: Samples, cut: Cut) -> Samples:
    """(length,) samples of a cut, by linear interpolation where it is not played as it is."""
    end = cut.begin + cut.piece
    piece = wave[cut.begin : end] if end <= len(wave) else wave.take(np.arange(cut.begin, end), mode="wrap")
    if len(piece) == cut.length:
        return piece
    spread = torch.from_numpy(np.ascontiguousarray(piece))[None, None]
    out: Samples = torch.nn.functional.interpolate(spread, cut.length, mode="linear", align_corners=True)[0, 0].numpy()
    return out
