"""What the ears of a SOFA file hear: impulse responses from responses, spectra or filters, and their delays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

from bat_agent.errors import BadInput
from bat_agent.sound.sofa_frames import numbers

Array = NDArray[np.float64]
_FILTER_TAPS = 1024
_EARLY_S = 0.004
"""Spectra may hold sound before their time 0, at their end: they are turned by so much, or a quarter of their
length."""


def ear_responses(file: dict[str, Any]) -> tuple[Array, Array, float]:
    """Responses (M·E, 2, N), delays (M·E, 2) in samples, ears as the file has them, and the rate in Hz."""
    if "Data.IR" in file:
        hrir, rate_hz = numbers(file["Data.IR"]), _rate_hz(file)
        if tuple(getattr(file["Data.IR"], "dimensions", ())[2:]) == ("E", "N"):  # as MultiSpeakerBRIR has it
            hrir = hrir.swapaxes(2, 3)
    elif "Data.Real" in file:
        hrir, rate_hz = _from_spectra(file)
    elif "Data.SOS" in file:
        hrir, rate_hz = _from_filters(numbers(file["Data.SOS"])), _rate_hz(file)
    else:
        raise BadInput("holds neither Data.IR nor Data.Real and Data.Imag nor Data.SOS")
    if hrir.ndim not in (3, 4) or hrir.shape[1] != 2 or not hrir.size:
        raise BadInput(f"holds responses of shape {hrir.shape}; (directions, 2 ears, samples) was expected")
    if not np.abs(hrir).max() > 0:
        raise BadInput("holds nothing but silence")
    delay = numbers(file["Data.Delay"]) if "Data.Delay" in file else np.zeros((1, 2))
    if hrir.ndim == 4:  # several loudspeakers: (M, R, N, E)
        delay = delay[..., None] if delay.ndim == 2 else delay
        if delay.shape[1] != 2 or delay.shape[0] not in (1, len(hrir)) or delay.shape[2] not in (1, hrir.shape[3]):
            raise BadInput(f"holds delays of shape {delay.shape} for responses of shape {hrir.shape}")
        delay = np.broadcast_to(delay, (hrir.shape[0], 2, hrir.shape[3]))
        hrir, delay = hrir.transpose(0, 3, 1, 2), delay.transpose(0, 2, 1)
        hrir = hrir.reshape(-1, *hrir.shape[2:])
    delay = delay.reshape(-1, 2)
    if len(delay) not in (1, len(hrir)):
        raise BadInput(f"holds {len(delay)} delays for {len(hrir)} directions; one for all or for each was expected")
    return hrir, np.broadcast_to(delay, hrir.shape[:2]), rate_hz


def _rate_hz(file: dict[str, Any]) -> float:
    rates = np.unique(numbers(file["Data.SamplingRate"]))
    if len(rates) != 1 or not 4000 <= rates[0] <= 1e6:
        raise BadInput(f"gives sampling rates {rates} Hz; one between 4 kHz and 1 MHz was expected")
    return float(rates[0])


def _from_spectra(file: dict[str, Any]) -> tuple[Array, float]:
    """Responses at twice the highest frequency; what lies between the given frequencies is interpolated in size and
    phase, and below the lowest one its size goes on.
    """
    spectra = numbers(file["Data.Real"]) + 1j * numbers(file["Data.Imag"])
    hz = numbers(file["N"]).reshape(-1)
    if spectra.ndim != 3 or len(hz) != spectra.shape[-1] or len(hz) < 8 or not (np.diff(hz) > 0).all() or hz[0] < 0:
        raise BadInput(
            f"holds spectra of shape {spectra.shape} at {len(hz)} frequencies; at least 8, rising, are needed"
        )
    rate_hz = 2 * float(hz[-1])
    if not 4000 <= rate_hz <= 1e6:
        raise BadInput(f"holds spectra up to {hz[-1]:g} Hz; between 2 and 500 kHz was expected")
    step = float(np.diff(hz).min())
    bins = max(round(hz[-1] / step), 128)
    wanted = np.arange(bins + 1) * hz[-1] / bins
    if len(hz) == bins + 1 and np.allclose(hz, wanted, atol=1e-3 * step):
        even = spectra
    else:
        size, phase = np.abs(spectra), np.unwrap(np.angle(spectra), axis=-1)
        slope = phase[..., 1:2] - phase[..., :1]
        turns = 2 * np.pi * np.round((phase[..., :1] - slope * hz[0] / (hz[1] - hz[0])) / (2 * np.pi))
        even = _between(wanted, hz, size) * np.exp(1j * _between(wanted, hz, phase - turns, through_zero=True))
    even = even.copy()
    even[..., 0], even[..., -1] = even[..., 0].real, even[..., -1].real
    hrir = np.fft.irfft(even, 2 * bins)
    return np.roll(hrir, min(round(_EARLY_S * rate_hz), bins // 2), axis=-1), rate_hz


def _between(wanted: Array, known: Array, values: Array, through_zero: bool = False) -> Array:
    """Linear interpolation of (…, K) values; below the lowest, the same or, for a phase, on the way to 0."""
    if through_zero and known[0] > 0:
        known, values = np.concatenate([[0.0], known]), np.pad(values, ((0, 0), (0, 0), (1, 0)))
    place = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 2)
    weight = np.clip((wanted - known[place]) / (known[place + 1] - known[place]), 0, 1)
    return np.asarray(values[..., place] * (1 - weight) + values[..., place + 1] * weight)


def _from_filters(sos: Array) -> Array:
    """What second-order sections (M, R, 6·K), b then a of each, make of an impulse."""
    if sos.ndim != 3 or sos.shape[-1] % 6:
        raise BadInput(f"holds filters of shape {sos.shape}; (directions, 2 ears, 6 for each section) was expected")
    impulse = np.zeros(_FILTER_TAPS)
    impulse[0] = 1
    filters = sos.reshape(-1, sos.shape[-1] // 6, 6)
    if not (np.abs(filters[:, :, 3]) > 0).all():
        raise BadInput("holds second-order sections whose a0 is 0")
    filters = filters / filters[:, :, 3:4]
    responses = np.stack([sosfilt(one, impulse) for one in filters])
    if not np.isfinite(responses).all() or np.abs(responses[:, -1]).max() > np.abs(responses).max() / 10:
        raise BadInput("holds filters that do not decay")
    return responses.reshape(*sos.shape[:2], -1)
