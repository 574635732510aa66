"""A stretch of a dry sound, as long as the clip: level, speed, where it begins, and what training does to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bat_agent.acoustics import SOURCE_LEVEL_DBFS
from bat_agent.config import Mixing
from bat_agent.sounds import Sound

Samples = NDArray[np.float32]
BETA = 10.0
"""Both parameters of the Beta distribution of mixup's λ and of the random gain (released trainer)."""
STRETCHES = 4


def dry_source(
    sounds: Sequence[Sound], shares: Sequence[float], samples: int, mixing: Mixing, rng: np.random.Generator
) -> Samples:
    """(samples,) of one source: a stretch of its sound, or of two by their shares where they are mixed up."""
    wave = np.zeros(samples, dtype=np.float32)
    for sound, share in zip(sounds, shares, strict=True):
        wave += np.float32(share) * stretch(sound.waveform(), samples, mixing, rng)
    # Drawn in any case, so that a switch in the recipe changes what it says and nothing else.
    offset, gain = int(rng.integers(samples)), 0.5 + rng.beta(BETA, BETA)
    if mixing.roll:
        wave = np.roll(wave, offset)
    return wave * np.float32(gain) if mixing.gain else wave


def stretch(wave: Samples, samples: int, mixing: Mixing, rng: np.random.Generator) -> Samples:
    """(samples,) of a sound, where there is something to hear; at −14 dBFS over its whole length if so asked.

    A shorter sound lies whole in the clip: from the start half of the time, as the released ones do, or anywhere.
    """
    wave = np.asarray(wave, dtype=np.float32)
    level = _gain(wave) if mixing.normalise else np.float32(1)
    faster = 1 + float(rng.uniform(-mixing.speed, mixing.speed)) if rng.random() < 0.5 else 1.0
    length = len(wave) if faster == 1 or len(wave) < 2 else int((len(wave) - 1) / faster) + 1
    if length > samples:
        start = _audible(wave, rng.integers(0, length - samples + 1, size=STRETCHES), samples, faster)
        return _at_speed(wave, start, samples, faster) * level
    start = 0 if rng.random() < 0.5 else int(rng.integers(0, samples - length + 1))
    out = np.zeros(samples, dtype=np.float32)
    out[start : start + length] = _at_speed(wave, 0, length, faster) * level
    return out


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


def _at_speed(wave: Samples, start: int, samples: int, faster: float) -> Samples:
    """Samples of the faster sound from its sample ``start``, by linear interpolation."""
    begin = int(start * faster)
    piece = wave[begin : begin + round((samples - 1) * faster) + 1]
    if len(piece) == samples:
        return piece
    spread = torch.from_numpy(np.ascontiguousarray(piece))[None, None]
    out: Samples = torch.nn.functional.interpolate(spread, samples, mode="linear", align_corners=True)[0, 0].numpy()
    return out
