"""A rectangular :class:`~bat_agent.scene.Room` as the engine takes it: a closed box of twelve triangles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.scene import Room
from bat_agent_soundspaces.engine import ENGINE_SPEED_OF_SOUND, Geometry
from bat_agent_soundspaces.materials import Curve, Material

_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32)
# In the order of Room.materials: x = 0, x = size, floor, ceiling, z = 0, z = size.
_WALLS = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
_FACES = np.array([face for a, b, c, d in _WALLS for face in ((a, b, c), (a, c, d))], dtype=np.int32)
_GREY_SCATTERING = 0.5
_MOST_ABSORPTION = 0.99
_MID_HZ = (500.0, 1000.0)
_SPARE = 1.1
"""Reflections beyond the decay by 60 dB, so that its end is not cut."""


def box_geometry(room: Room, material_of: Callable[[str], Material]) -> Geometry | None:
    """The room's walls; ``None`` for free field. Nothing passes through them: there is nothing beyond.

    With ``rt60_s`` the walls absorb so much that Eyring's formula gives that time at 500 Hz … 1 kHz, the six curves
    keeping their shape; without it the materials stay as they are.
    """
    if room.rt60_s is None and not room.materials:
        return None
    names = room.materials * 6 if len(room.materials) == 1 else room.materials
    walls: Sequence[Material] = [_closed(material_of(name)) for name in names] or [_grey(0.1)] * 6
    if room.rt60_s is not None:
        walls = _with_time(room, walls, room.rt60_s)
    owner = np.repeat(np.arange(6, dtype=np.int32), 2)
    return Geometry(_CORNERS * np.asarray(room.size_m, dtype=np.float32), _FACES, owner, tuple(walls))


def box_depth(room: Room, geometry: Geometry | None) -> int:
    """Reflections that a ray needs until the room has decayed by 60 dB."""
    if geometry is None:
        return 1
    time_s = _eyring_s(room, -math.log(1 - _mean_absorption(room, geometry.materials)))
    volume, areas = _volume_and_areas(room)
    return min(math.ceil(_SPARE * ENGINE_SPEED_OF_SOUND * time_s / (4 * volume / areas.sum())), 1000)


def _with_time(room: Room, walls: Sequence[Material], rt60_s: float) -> Sequence[Material]:
    """The walls with 1 − α replaced by (1 − α)^s, s such that Eyring's formula gives the time."""
    wanted = 1 - math.exp(-_eyring_s(room, rt60_s))
    if wanted > _MOST_ABSORPTION:
        least = _eyring_s(room, -math.log(1 - _MOST_ABSORPTION))
        raise BadInput(
            f"room of {room.size_m} m cannot have rt60_s {rt60_s}: its walls would have to absorb everything; the "
            f"smallest is {math.ceil(least * 1000) / 1000} s, or null for free field"
        )
    low, high = 1e-4, 1e4
    for _ in range(60):
        middle = math.sqrt(low * high)
        scaled = [_scaled(wall, middle) for wall in walls]
        low, high = (middle, high) if _mean_absorption(room, scaled) < wanted else (low, middle)
    return [_scaled(wall, low) for wall in walls]


def _eyring_s(room: Room, value: float) -> float:
    """24·ln 10·V/(c·S·value), from −ln(1 − ᾱ) to the reverberation time and back: the formula is its own inverse."""
    volume, areas = _volume_and_areas(room)
    return 24 * math.log(10) * volume / (ENGINE_SPEED_OF_SOUND * float(areas.sum()) * value)


def _mean_absorption(room: Room, walls: Sequence[Material]) -> float:
    """Area-weighted mean at 500 Hz and 1 kHz."""
    _, areas = _volume_and_areas(room)
    mid = [np.mean([wall.absorption.at(frequency) for frequency in _MID_HZ]) for wall in walls]
    return float(np.clip(np.dot(areas, mid) / areas.sum(), 1e-6, 1 - 1e-9))


def _volume_and_areas(room: Room) -> tuple[float, np.ndarray]:
    x, y, z = room.size_m
    return x * y * z, np.array([y * z, y * z, x * z, x * z, x * y, x * y])


def _scaled(wall: Material, power: float) -> Material:
    absorption = np.clip(np.array(wall.absorption.value), 1e-6, 1 - 1e-6)
    return replace(wall, absorption=replace(wall.absorption, value=tuple((1 - (1 - absorption) ** power).tolist())))


def _closed(material: Material) -> Material:
    return replace(material, transmission=_constant(0.0))


def _grey(absorption: float) -> Material:
    return Material(
        "grey", (), _constant(absorption), _constant(_GREY_SCATTERING), _constant(0.0), _constant(0.0), 1000.0, 3000.0
    )


def _constant(value: float) -> Curve:
    return Curve((1000.0,), (value,))
