"""Whether measured responses are those of a head: which ear a sound from the side reaches first, and when.

For sources well to one side, that ear must be the louder and the earlier one, by less than a millisecond; what is heard
must come within ten milliseconds; and directions must lie all around, not within a few degrees, as those do whose
radians are called degrees.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput

Array = NDArray[np.float64]
ASIDE = np.sin(np.radians(45.0))
LATEST_S = 0.001
WITHIN_S = 0.010
_MANY, _NARROW_DEG = 20, 8.0
_BELOW_HZ = 3000.0
_SHARE = 0.9


def check_plausible(
    hrir: Array, delay: Array, directions: Array, rate_hz: float, *, allow_implausible: bool = False
) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` (or, if allowed, warn) where responses (M, 2, N), left ear first,
    delays (M, 2) in samples and directions (M, 3), y left, belong to no head.
    """
    said = implausible(hrir, delay, directions, rate_hz)
    if said is None:
        return
    if not allow_implausible:
        raise BadInput(f"sounds like no head: {said}; mend it, or take it as it is with allow_implausible")
    warnings.warn(f"a head that sounds like none is taken as it is: {said}", stacklevel=3)


def implausible(hrir: Array, delay: Array, directions: Array, rate_hz: float) -> str | None:
    """What is wrong, in a few words; nothing where nothing is."""
    if len(directions) >= _MANY:
        widest = np.degrees(np.arccos(np.clip(directions @ directions[0], -1, 1).min()))
        if widest < _NARROW_DEG:
            return f"all {len(directions)} directions lie within {widest:.1f}° (are radians called degrees?)"
    if late := _late(hrir, delay, rate_hz):
        return late
    aside = np.abs(directions[:, 1]) > ASIDE
    if not aside.any():
        return None
    side = np.sign(directions[aside, 1])
    level_db = _level_db(hrir[aside]) * side
    ahead_s = _ahead_s(hrir[aside], delay[aside], rate_hz) * side
    if np.median(level_db) <= 0:
        return (
            f"sources at one side are {-np.median(level_db):.1f} dB louder at the other ear (are the ears exchanged?)"
        )
    if np.median(np.abs(ahead_s)) > LATEST_S:
        return f"the ears are {1e3 * np.median(np.abs(ahead_s)):.1f} ms apart, which no head is"
    if np.median(ahead_s) <= 0:
        return f"sources at one side reach the other ear {-1e3 * np.median(ahead_s):.2f} ms sooner"
    return None


def _late(hrir: Array, delay: Array, rate_hz: float) -> str | None:
    """Whether much is heard later than 10 ms after the first sound of any direction."""
    power = np.square(hrir).sum(axis=(0, 1))
    heard = np.flatnonzero(np.abs(hrir).max(axis=(0, 1)) > 0.05 * np.abs(hrir).max())
    begin, end = int(heard[0]), int(heard[0] + WITHIN_S * rate_hz + np.ptp(delay))
    inside = power[begin:end].sum() / power.sum()
    return None if inside >= _SHARE else f"only {inside:.0%} of the energy lies within 10 ms of the first sound"


def _level_db(hrir: Array) -> Array:
    """(M,) how much louder the left ear is."""
    energy = np.square(hrir).sum(-1) + 1e-30
    return np.asarray(10 * np.log10(energy[:, 0] / energy[:, 1]))


def _ahead_s(hrir: Array, delay: Array, rate_hz: float) -> Array:
    """(M,) how much earlier the left ear hears low frequencies: the lag at which both match best."""
    size = 2 * hrir.shape[-1]
    left, right = np.fft.rfft(hrir, size).swapaxes(0, 1)
    low = np.fft.rfftfreq(size, 1 / rate_hz) < _BELOW_HZ
    match = np.fft.irfft(right * left.conj() * low, 8 * size)
    lag = match.argmax(-1).astype(np.float64)
    lag = np.where(lag > 4 * size, lag - 8 * size, lag) / 8
    return np.asarray((lag + delay[:, 1] - delay[:, 0]) / rate_hz)
