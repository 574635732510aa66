"""What acousticians measure on a binaural RIR (ISO 3382-1 where it says how): decay, direct share, ear differences.

A RIR is (2, taps), left ear first; functions that look at one ear take (…, taps) and work along the last axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import butter, sosfiltfilt

from bat_agent.interfaces import SAMPLE_RATE_HZ

Array = NDArray[np.float64]
SPEED_OF_SOUND = 343.0
DIRECT_WINDOW_S = 0.0025
SHORTEST_DECAY_S = 0.03


def onset_sample(rir: ArrayLike, threshold_db: float = -20.0) -> int:
    """First sample of either ear within ``threshold_db`` of the largest; 0 for silence (ISO 3382-1, annex A)."""
    loudness = np.abs(np.asarray(rir, dtype=np.float64)).reshape(-1, np.shape(rir)[-1]).max(axis=0)
    return int(np.argmax(loudness >= loudness.max() * 10 ** (threshold_db / 20)))


def energy_decay_db(rir: ArrayLike) -> Array:
    """Schroeder's backward integral (…, taps), dB re the whole energy; −inf where nothing is left."""
    power = np.square(np.asarray(rir, dtype=np.float64))
    left = np.cumsum(power[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(left / left[..., :1])


def reverberation_time_s(
    rir: ArrayLike, rate_hz: float = SAMPLE_RATE_HZ, *, start_db: float = -5.0, end_db: float = -25.0
) -> float:
    """Time to decay by 60 dB, extrapolated from a line through ``start_db`` … ``end_db`` of the decay (T20).

    The energies of all channels are added first, and the decay is that of what follows the direct sound: where that is
    far louder than the room, as in the released RIRs (29 dB), its own end would be taken for the room's. NaN where
    the response never falls that far, or by 60 dB in less than 30 ms, as a head does and no room.
    """
    power = _power(rir)
    decay = energy_decay_db(np.sqrt(power[_end_of_direct(power, rate_hz) :]))
    inside = np.flatnonzero((decay <= start_db) & (decay >= end_db))
    least = SHORTEST_DECAY_S * (start_db - end_db) / 60 * rate_hz
    if len(inside) < least or decay[np.isfinite(decay)].min() > end_db:
        return float("nan")
    slope = np.polyfit(inside / rate_hz, decay[inside], 1)[0]
    return float(-60 / slope) if slope < 0 else float("nan")


def direct_sound(rir: ArrayLike, rate_hz: float = SAMPLE_RATE_HZ) -> Array:
    """(…, taps) up to 2.5 ms after the loudest sample: the direct sound, where no reflection is louder."""
    return np.asarray(rir, dtype=np.float64)[..., : _end_of_direct(_power(rir), rate_hz)]


def direct_to_reverberant_db(rir: ArrayLike, rate_hz: float = SAMPLE_RATE_HZ) -> float:
    """Energy up to 2.5 ms after the loudest sample over the energy that follows, both ears; inf in free field."""
    power = _power(rir)
    return _early_over_late_db(power, _end_of_direct(power, rate_hz))


def clarity_db(rir: ArrayLike, rate_hz: float = SAMPLE_RATE_HZ, early_s: float = 0.05) -> float:
    """C50: energy in the first 50 ms from the onset over the energy that follows, both ears; NaN for silence."""
    return _early_over_late_db(_power(rir), onset_sample(rir) + round(early_s * rate_hz))


def interaural_level_db(rir: ArrayLike) -> float:
    """ILD: energy of the left ear over that of the right ear, dB; positive on the left; NaN for silence."""
    left, right = np.square(np.asarray(rir, dtype=np.float64)).sum(axis=-1)
    return _ratio_db(left, right)


def interaural_time_s(rir: ArrayLike, rate_hz: float = SAMPLE_RATE_HZ, *, below_hz: float = 1500.0) -> float:
    """ITD: lag of the maximum of the interaural cross-correlation below ``below_hz``, seconds; positive on the left.

    Within ±1 ms, refined below a sample by a parabola. NaN where an ear is silent. Reflections pull it about: give it
    :func:`direct_sound` for what a head does.
    """
    reach = round(0.001 * rate_hz)
    # The filter rings before and after what it hears, also at the very first and last sample.
    margin = round(5 * rate_hz / below_hz) + reach + 1
    padded = np.pad(np.asarray(rir, dtype=np.float64), ((0, 0), (margin, margin)))
    filtered = sosfiltfilt(butter(4, below_hz, fs=rate_hz, output="sos"), padded, axis=-1)
    spectra = np.fft.rfft(filtered, 2 * filtered.shape[-1])
    # The right ear lags a source on the left: Σ l(t)·r(t + lag) peaks at the ITD.
    correlation = np.fft.irfft(np.conj(spectra[0]) * spectra[1])
    lags = np.arange(-reach, reach + 1)
    around = correlation[lags]
    peak = int(np.argmax(around))
    if not around[peak] > 0:
        return float("nan")
    before, here, after = correlation[lags[peak] - 1], around[peak], correlation[lags[peak] + 1]
    curvature = before - 2 * here + after
    shift = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return float((lags[peak] + shift) / rate_hz)


def _power(rir: ArrayLike) -> Array:
    """(taps,): the energies of all channels, added."""
    return np.square(np.atleast_2d(np.asarray(rir, dtype=np.float64))).sum(axis=0)


def _end_of_direct(power: Array, rate_hz: float) -> int:
    return int(power.argmax() + DIRECT_WINDOW_S * rate_hz) + 1


def _early_over_late_db(power: Array, split: int) -> float:
    return _ratio_db(power[:split].sum(), power[split:].sum())


def _ratio_db(one: float, other: float) -> float:
    """10·log10(one / other); ±inf where one of them is nothing, NaN where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(10 * np.log10(np.divide(one, other)))
