"""Head-related impulse responses from SOFA files (AES69, convention SimpleFreeFieldHRIR), through ``sofar``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from bat_agent.errors import BadInput, PluginError

Array = NDArray[np.float64]
_CONVENTION = "SimpleFreeFieldHRIR"
_PAD = 64
"""Samples of silence around a response before it is resampled, so that the filter's ringing is kept."""


@dataclass(frozen=True)
class MeasuredHead:
    """M measured directions of both ears, at the rate that was asked for."""

    hrir: Array
    """(M, 2, N), left ear first; scaled as an impulse response: its spectrum does not change with the rate."""
    delay: Array
    """(M, 2) samples to be added to what ``hrir`` holds."""
    directions: Array
    """(M, 3) unit vectors from the head to the source, x front, y left, z up."""


def content_hash(path: str) -> str:
    """SHA-256 of a file, to notice that another one stands in its place. Raises BadInput where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(
            f"SOFA file {path} cannot be read ({error.strerror}); give the path of an HRTF, or head='kemar'"
        ) from error


def read_sofa(path: str, rate_hz: int) -> MeasuredHead:
    """Read an HRTF; any rate is resampled to ``rate_hz``, spherical and cartesian positions are understood.

    Raises :class:`~bat_agent.errors.BadInput` for a file that is broken or holds something else, and
    :class:`~bat_agent.errors.PluginError` where ``sofar`` is not installed.
    """
    try:
        import sofar
    except ImportError as error:
        raise PluginError(
            f"reading the SOFA file {path} needs the package sofar; install it with pip install 'bat-agent[sofa]'"
        ) from error
    try:
        data = sofar.read_sofa(path, verify=False, verbose=False)
    except Exception as error:  # netCDF4 and sofar raise whatever they like on a broken file
        raise BadInput(f"{path} is no SOFA file that can be read ({type(error).__name__}: {error})") from error
    convention = getattr(data, "GLOBAL_SOFAConventions", "none")
    if convention != _CONVENTION:
        raise BadInput(f"SOFA file {path} follows the convention {convention}; a head needs {_CONVENTION}")
    try:
        return _measured(data, rate_hz)
    except BadInput as error:
        raise BadInput(f"SOFA file {path} {error}") from error
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise BadInput(f"SOFA file {path} is malformed: {error}; {_CONVENTION} was expected") from error


def _measured(data: Any, rate_hz: int) -> MeasuredHead:
    hrir = _numbers(data.Data_IR)
    if hrir.ndim == 2:  # the reader drops an axis of length 1 at the end
        hrir = hrir[..., None]
    position = np.atleast_2d(_numbers(data.SourcePosition))
    if hrir.ndim != 3 or hrir.shape[1] != 2 or len(position) != len(hrir):
        raise BadInput(f"holds responses of shape {hrir.shape}; (directions, 2 ears, samples) was expected")
    source_hz = np.unique(_numbers(data.Data_SamplingRate))
    if len(source_hz) != 1 or not 4000 <= source_hz[0] <= 1e6:
        raise BadInput(f"gives sampling rates {source_hz} Hz; one between 4 kHz and 1 MHz was expected")
    if not np.abs(hrir).max() > 0:
        raise BadInput("holds nothing but silence")
    delay = np.broadcast_to(np.atleast_2d(_numbers(data.Data_Delay)), hrir.shape[:2])
    left_first = _left_ear_first(data)
    hrir, delay = (hrir, delay) if left_first else (hrir[:, ::-1], delay[:, ::-1])
    return MeasuredHead(
        resampled(hrir, source_hz[0], rate_hz), delay * (rate_hz / source_hz[0]), _directions(data, position)
    )


def _numbers(value: Any) -> Array:
    array = np.asarray(np.ma.filled(value, np.nan), dtype=np.float64)
    if not np.isfinite(array).all():
        raise BadInput("holds numbers that are missing or not finite")
    return array


def _left_ear_first(data: Any) -> bool:
    """Whether receiver 0 is the left one; ears that are not on either side of the head are refused."""
    receivers = _numbers(data.ReceiverPosition).reshape(2, 3)
    if str(data.ReceiverPosition_Type).startswith("spherical"):
        receivers = _from_spherical(receivers)
    first, second = receivers[:, 1]
    if not first * second < 0:
        raise BadInput(f"puts the ears at {receivers.tolist()}; one on each side of the head was expected")
    return bool(first > 0)


def _directions(data: Any, position: Array) -> Array:
    listener = np.atleast_2d(_numbers(data.ListenerPosition))
    if np.abs(listener - listener[0]).max() > 0 or len(listener) > 1:
        raise BadInput("moves its listener; a listener that stands still was expected")
    cartesian = str(data.SourcePosition_Type).startswith("cartesian")
    offset = (position if cartesian else _from_spherical(position)) - _cartesian(data, "ListenerPosition")
    front, up = (_unit(_cartesian(data, f"Listener{name}")) for name in ("View", "Up"))
    if abs(front @ up) > 1e-3:
        raise BadInput("has a listener whose view and up directions are not at right angles")
    return _unit(offset @ np.stack([front, np.cross(up, front), up], 1))


def _cartesian(data: Any, name: str) -> Array:
    value = _numbers(getattr(data, name)).reshape(-1, 3)[:1]
    # The type of ListenerUp is that of ListenerView in the standard.
    kind = getattr(data, f"{name}_Type", None) or getattr(data, "ListenerView_Type", "cartesian")
    return (_from_spherical(value) if str(kind).startswith("spherical") else value)[0]


def _from_spherical(position: Array) -> Array:
    azimuth, elevation = np.radians(position[:, 0]), np.radians(position[:, 1])
    flat = np.cos(elevation)
    direction = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], 1)
    return direction * position[:, 2:]


def _unit(vector: Array) -> Array:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    if not (length > 1e-9).all():
        raise BadInput("holds a direction of length 0")
    return vector / length


def resampled(hrir: Array, source_hz: float, rate_hz: int) -> Array:
    """Responses (M, 2, N) at another rate, with their spectrum.

    Silence around them moves all responses by the same time, which the head's own time reference takes out.
    """
    if source_hz == rate_hz:
        return hrir
    padded = np.pad(hrir, ((0, 0), (0, 0), (_PAD, _PAD)))
    channels = padded.reshape(-1, padded.shape[-1]).T
    moved = np.concatenate(
        [soxr.resample(channels[:, k : k + 256], source_hz, rate_hz, "VHQ") for k in range(0, channels.shape[1], 256)],
        axis=1,
    )
    return moved.T.reshape(*hrir.shape[:2], -1) * (source_hz / rate_hz)
