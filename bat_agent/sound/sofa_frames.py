"""Where things are in a SOFA file: positions in any coordinates and units, seen from a listener who may turn.

Axes here are those of SOFA: x front, y left, z up; azimuth 0 front, counter-clockwise.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.files.reading import check_unpacked

Array = NDArray[np.float64]
BROKEN = (AttributeError, KeyError, TypeError, ValueError, IndexError, RuntimeError, OSError)
"""What reading a damaged or malformed file ends in; netCDF4 says RuntimeError of damage."""
_ANGLES = {"degree": np.pi / 180, "degrees": np.pi / 180, "deg": np.pi / 180, "°": np.pi / 180}
_ANGLES |= {"radian": 1.0, "radians": 1.0, "rad": 1.0}
_LENGTHS = {"metre": 1.0, "metres": 1.0, "meter": 1.0, "meters": 1.0, "m": 1.0}
_LENGTHS |= {"centimetre": 0.01, "centimetres": 0.01, "centimeter": 0.01, "cm": 0.01, "millimetre": 0.001, "mm": 0.001}


def opened(file: Any) -> dict[str, Any]:
    """The variables of a netCDF file by name, with their attributes."""
    file.set_auto_maskandscale(True)
    return dict(file.variables)


def numbers(variable: Any) -> Array:
    """A variable as an array.

    Raises :class:`~bat_agent.errors.BadInput` for numbers that are missing or not finite, and, before memory is spent,
    :class:`ValueError` where the file is too small to hold them.
    """
    check_unpacked(Path(variable.group().filepath()).stat().st_size, 8 * math.prod(map(int, variable.shape)))
    array = np.asarray(np.ma.filled(np.ma.asarray(variable[...], dtype=np.float64), np.nan))
    if not np.isfinite(array).all():
        raise BadInput("holds numbers that are missing or not finite")
    return array


def cartesian(variable: Any, kind: str | None = None) -> Array:
    """(K, 3) positions in metres; ``kind`` where the variable does not say of which type it is."""
    values = numbers(variable)
    if values.ndim == 3:  # (ears or loudspeakers, 3, measurements)
        if np.ptp(values, axis=-1).max() > 1e-6:
            raise BadInput("moves its ears or loudspeakers; such that stand still were expected")
        values = values[..., 0]
    values = values.reshape(-1, 3)
    kind = str(getattr(variable, "Type", kind or "cartesian")).strip().lower()
    if kind not in ("cartesian", "spherical"):
        raise BadInput(f"has positions of the type {kind!r}; cartesian or spherical was expected")
    scale = _scales(str(getattr(variable, "Units", "")), kind)
    values = values * scale
    if kind == "cartesian":
        return np.asarray(values)
    azimuth, elevation, radius = values.T
    flat = np.cos(elevation)
    direction = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], 1)
    return np.asarray(direction * radius[:, None])


def left_ear_first(file: dict[str, Any]) -> bool:
    """Whether receiver 0 is the left one; ears that are not on either side of the head are refused."""
    receivers = cartesian(file["ReceiverPosition"])
    if len(receivers) != 2:
        raise BadInput(f"has {len(receivers)} ears; two were expected")
    first, second = receivers[:, 1]
    if not first * second < 0:
        raise BadInput(f"puts the ears at {receivers.tolist()}; one on each side of the head was expected")
    return bool(first > 0)


def directions_and_radii(file: dict[str, Any], responses: int) -> tuple[Array, Array]:
    """(K, 3) unit vectors from the head to each source as the head sees it, and distances (K,) in metres."""
    source = cartesian(file["SourcePosition"])
    emitters = _emitters(file, responses, len(source))
    measurements = responses // max(len(emitters), 1)
    if len(source) not in (1, measurements):
        raise BadInput(f"has {len(source)} positions for {responses} responses; one for each was expected")
    source = np.broadcast_to(source, (measurements, 3))
    if len(emitters) > 1:
        turned = np.einsum("ec,mcd->med", emitters, np.broadcast_to(axes_of(file, "Source"), (measurements, 3, 3)))
        source = source[:, None] + turned
    else:
        source = source[:, None]
    listener, axes = cartesian(file["ListenerPosition"]), axes_of(file, "Listener")
    for part in (listener, axes):
        if len(part) not in (1, measurements):
            raise BadInput(f"has {len(part)} places of the listener for {measurements} measurements")
    offset = source - np.broadcast_to(listener, (measurements, 3))[:, None]
    seen = np.einsum("med,mcd->mec", offset, np.broadcast_to(axes, (measurements, 3, 3))).reshape(-1, 3)
    radii = np.linalg.norm(seen, axis=1)
    return unit(seen), radii


def unit(vector: Array) -> Array:
    """Vectors (…, 3) of length 1. Raises :class:`~bat_agent.errors.BadInput` for one of length 0."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    if not (length > 1e-9).all():
        raise BadInput("holds a direction of length 0")
    return np.asarray(vector / length)


def _emitters(file: dict[str, Any], responses: int, sources: int) -> Array:
    """(E, 3) places of several loudspeakers against the source's; one at its place where there are no several."""
    if "EmitterPosition" not in file or file["EmitterPosition"].shape[0] == 1:
        return np.zeros((1, 3))
    count = int(file["EmitterPosition"].shape[0])
    if responses % count or responses == sources:
        return np.zeros((1, 3))
    return cartesian(file["EmitterPosition"])


def axes_of(file: dict[str, Any], who: str) -> Array:
    """(K, 3, 3) front, left and up of the ``Listener`` or the ``Source``, in rows, in the frame of the file."""
    if f"{who}View" not in file:
        return np.eye(3)[None]
    view = file[f"{who}View"]
    kind = str(getattr(view, "Type", "cartesian"))
    front = unit(cartesian(view))
    # The type of ListenerUp is that of ListenerView in the standard.
    up = unit(cartesian(file[f"{who}Up"], kind)) if f"{who}Up" in file else np.array([[0.0, 0.0, 1.0]])
    front, up = np.broadcast_arrays(front, up)
    if np.abs((front * up).sum(1)).max() > 1e-3:
        raise BadInput(f"has a {who.lower()} whose view and up directions are not at right angles")
    return np.stack([front, np.cross(up, front), up], 1)


def _scales(units: str, kind: str) -> Array:
    """(3,) what to multiply coordinates by, so that they are radians and metres."""
    defaults = ["degree", "degree", "metre"] if kind == "spherical" else ["metre"] * 3
    words = [word.strip().lower() for word in units.replace(";", ",").split(",") if word.strip()]
    if len(words) == 1:
        words = words * 3 if kind == "cartesian" or words[0] in _LENGTHS else [words[0], words[0], "metre"]
    if not words:
        words = defaults
    if kind == "spherical" and len(words) == 3 and words[0] in _LENGTHS:
        words = defaults  # a plain "metre" beside spherical coordinates says nothing of their angles
    known = [_ANGLES, _ANGLES, _LENGTHS] if kind == "spherical" else [_LENGTHS] * 3
    if len(words) != 3 or any(word not in table for word, table in zip(words, known, strict=True)):
        raise BadInput(f"gives {kind} positions in the units {units!r}; degrees or radians, and metres, are understood")
    return np.array([table[word] for word, table in zip(words, known, strict=True)])
