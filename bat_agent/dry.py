"""A stretch of a dry sound, as long as the clip: level, speed, where it begins, and what training does to it.

What is drawn by lot (:func:`draw`) is apart from the sum (:func:`lay`), so that a training device that holds the sounds
can do the same sum for a whole batch (:class:`bat_agent.sound_bank.SoundBank`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bat_agent.acoustics import SOURCE_LEVEL_DBFS
from bat_agent.config import Mixing

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
    """Of the sound: more than ``length`` plays it faster."""
    level: np.float32
    """Multiplies it."""


class Laid(NamedTuple):
    """A source before its sum: a cut of its sound, or of two that are mixed up."""

    cuts: tuple[Cut, ...]
    shares: tuple[float, ...]
    turn: int
    """Samples that the clip is turned around by."""
    gain: float


def draw(
    waves: Sequence[Samples], shares: Sequence[float], samples: int, mixing: Mixing, rng: np.random.Generator
) -> Laid:
    """What to take of each sound for a clip of so many samples."""
    cuts = tuple(choose_cut(wave, samples, mixing, rng) for wave in waves)
    # Drawn in any case, so that a switch in the recipe changes what it says and nothing else.
    turn, gain = int(rng.integers(samples)), 0.5 + float(rng.beta(BETA, BETA))
    return Laid(cuts, tuple(shares), turn if mixing.roll else 0, gain if mixing.gain else 1.0)


def lay(waves: Sequence[Samples], laid: Laid, samples: int) -> Samples:
    """(samples,) of what was drawn."""
    out = np.zeros(samples, dtype=np.float32)
    for wave, cut, share in zip(waves, laid.cuts, laid.shares, strict=True):
        out[cut.start : cut.start + cut.length] += np.float32(share) * (_played(wave, cut) * cut.level)
    out = np.roll(out, laid.turn) if laid.turn else out
    return out if laid.gain == 1 else out * np.float32(laid.gain)


def choose_cut(wave: Samples, samples: int, mixing: Mixing, rng: np.random.Generator) -> Cut:
    """A stretch of a sound where there is something to hear; at −14 dBFS over its whole length if so asked.

    A shorter sound lies whole in the clip: from the start half of the time, as the released ones do, or anywhere.
    """
    level = _gain(wave) if mixing.normalise else np.float32(1)
    faster = 1 + float(rng.uniform(-mixing.speed, mixing.speed)) if rng.random() < 0.5 else 1.0
    length = len(wave) if faster == 1 or len(wave) < 2 else int((len(wave) - 1) / faster) + 1
    if length > samples:
        first = _audible(wave, rng.integers(0, length - samples + 1, size=STRETCHES), samples, faster)
        return _cut(wave, 0, samples, int(first * faster), faster, level)
    start = 0 if rng.random() < 0.5 else int(rng.integers(0, samples - length + 1))
    return _cut(wave, start, length, 0, faster, level)


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
    piece = wave[cut.begin : cut.begin + cut.piece]
    if len(piece) == cut.length:
        return piece
    spread = torch.from_numpy(np.ascontiguousarray(piece))[None, None]
    out: Samples = torch.nn.functional.interpolate(spread, cut.length, mode="linear", align_corners=True)[0, 0].numpy()
    return out
