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

    The energies of all channels are added first. NaN where the response never falls that far or too fast to fit a line.
    """
    channels = np.atleast_2d(np.asarray(rir, dtype=np.float64))
    decay = energy_decay_db(np.sqrt(np.square(channels).sum(axis=0)))
    inside = np.flatnonzero((decay <= start_db) & (decay >= end_db))
    if len(inside) < 8 or decay[np.isfinite(decay)].min() > end_db:
        return float("nan")
    slope = np.polyfit(inside / rate_hz, decay[inside], 1)[0]
    return float(-60 / slope) if slope < 0 else float("nan")


def direct_to_reverberant_db(rir: ArrayLike, rate_hz: float = SAMPLE_RATE_HZ) -> float:
    """Energy up to 2.5 ms after the loudest sample over the energy that follows, both ears; inf in free field."""
    power = np.square(np.atleast_2d(np.asarray(rir, dtype=np.float64))).sum(axis=0)
    split = int(power.argmax() + DIRECT_WINDOW_S * rate_hz) + 1
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(power[:split].sum() / power[split:].sum()))


def clarity_db(rir: ArrayLike, rate_hz: float = SAMPLE_RATE_HZ, early_s: float = 0.05) -> float:
    """C50: energy in the first 50 ms from the onset over the energy that follows, both ears."""
    power = np.square(np.atleast_2d(np.asarray(rir, dtype=np.float64))).sum(axis=0)
    split = onset_sample(rir) + round(early_s * rate_hz)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(power[:split].sum() / power[split:].sum()))


def interaural_level_db(rir: ArrayLike) -> float:
    """ILD: energy of the left ear over the energy of the right ear, dB; positive for a source on the left."""
    left, right = np.square(np.asarray(rir, dtype=np.float64)).sum(axis=-1)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(left / right))


def interaural_time_s(rir: ArrayLike, rate_hz: float = SAMPLE_RATE_HZ, *, below_hz: float = 1500.0) -> float:
    """ITD: lag of the maximum of the interaural cross-correlation below ``below_hz``, seconds; positive on the left.

    Within ±1 ms, refined below a sample by a parabola. NaN where an ear is silent.
    """
    filtered = sosfiltfilt(butter(4, below_hz, fs=rate_hz, output="sos"), np.asarray(rir, dtype=np.float64), axis=-1)
    taps = filtered.shape[-1]
    spectra = np.fft.rfft(filtered, 2 * taps)
    # The right ear lags a source on the left: Σ l(t)·r(t + lag) peaks at the ITD.
    correlation = np.fft.irfft(np.conj(spectra[0]) * spectra[1])
    reach = min(round(0.001 * rate_hz), taps - 2)
    lags = np.arange(-reach, reach + 1)
    around = correlation[lags]
    peak = int(np.argmax(around))
    if not around[peak] > 0:
        return float("nan")
    before, here, after = correlation[lags[peak] - 1], around[peak], correlation[lags[peak] + 1]
    curvature = before - 2 * here + after
    shift = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return float((lags[peak] + shift) / rate_hz)
