"""Where listeners and sources may be in a mesh: drawing places for both, and checking those a person wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.scene import STANDING_HEIGHT_M, Vector, check_outside_head
from bat_agent_soundspaces.engine import LEAST_DISTANCE_M
from bat_agent_soundspaces.meshes import AcousticMesh, Region, inside, level_heights_m

FLOOR_TOLERANCE_M = 0.12
"""A surface this near the room's floor counts as floor (rugs, thresholds, scanning noise)."""
TOUCH_M = 0.005
_TRUSTED_HIT_SHARE = 0.9
_BATCH = 64
_LISTENERS_TRIED = 40
_BATCHES_TRIED = 8


class Placement(NamedTuple):
    """A listener with sources around it."""

    listener_position_m: Vector
    heading_deg: float
    source_positions_m: tuple[Vector, ...]
    region: str
    """Name of the listener's room; empty where the mesh knows no rooms."""


def sample_placement(
    mesh: AcousticMesh,
    rng: np.random.Generator,
    *,
    num_sources: int = 1,
    same_room: bool = True,
    region: Region | None = None,
    listener_height_m: float = STANDING_HEIGHT_M,
    min_distance_m: float = 0.3,
    max_distance_m: float = 10.0,
    margin_m: float = 0.3,
    source_margin_m: float = 0.1,
    random_heading: bool = False,
) -> Placement:
    """Draw an upright listener over walkable floor and sources in free air, as BAT draws them (section 3.2).

    The listener's room is ``region``, or drawn by floor area; under the listener is floor, not furniture, and surfaces
    are at least ``margin_m`` from the head. Sources are uniform in the volume of the same room (of all rooms where
    ``same_room`` is false) between the two distances, ``source_margin_m`` or more from any surface. A mesh without
    rooms counts as one room per storey. Raises :class:`~bat_agent.errors.BadInput` where nothing fits.
    """
    if num_sources < 0:
        raise BadInput(f"num_sources must be 0 or more, got {num_sources}")
    if not 0 <= min_distance_m < max_distance_m:
        raise BadInput(f"needed 0 <= min_distance_m < max_distance_m, got {min_distance_m} and {max_distance_m}")
    rooms = [region] if region is not None else list(mesh.regions) or [_whole(mesh)]
    areas = np.array([room.size_m[0] * room.size_m[2] for room in rooms]) + 1e-9
    for _ in range(_LISTENERS_TRIED):
        room = rooms[int(rng.choice(len(rooms), p=areas / areas.sum()))]
        listener = _draw_listener(mesh, room, rng, listener_height_m, margin_m)
        if listener is None:
            continue
        around = [_storey(mesh, room, listener)] if not mesh.regions else [room] if same_room else rooms
        ring = (max(min_distance_m, LEAST_DISTANCE_M), max_distance_m)
        sources = _draw_sources(mesh, around, rng, num_sources, listener, ring, source_margin_m)
        if sources is not None:
            heading = float(rng.uniform(0, 360)) if random_heading else 0.0
            return Placement(_vector(listener), heading, sources, room.name if mesh.regions else "")
    raise BadInput(
        f"{mesh.name} has no place for a listener {listener_height_m:g} m above a floor and {margin_m:g} m from all "
        f"surfaces with {num_sources} source(s) {min_distance_m:g}…{max_distance_m:g} m away; lower margin_m or "
        f"min_distance_m, or check that the mesh is in metres with +y up"
    )


def check_position(mesh: AcousticMesh, point: Sequence[float], what: str) -> None:
    """Refuse a place a person wrote where sound cannot start or end: outside the mesh, in a wall, in furniture.

    Where more than 10 % of the rays escape through holes, walls and furniture cannot be told from air, and only a place
    outside is refused. ``what`` names the thing, as in ``source 0``.
    """
    place = np.asarray(point, float).reshape(1, -1)
    if place.shape != (1, 3) or not np.isfinite(place).all():
        raise BadInput(f"{what} must have three finite coordinates in metres, got {tuple(point)}")
    where = f"{what} at {_rounded(place[0])}"
    low, high = mesh.bounds_m
    spans = f"{mesh.name}, which spans {_rounded(low)} to {_rounded(high)} m"
    if np.any(place < low) or np.any(place > high) or (mesh.rays.count(place) > 0).mean() < 0.5:
        raise BadInput(f"{where} lies outside {spans}; move it into a room")
    if mesh.rays.clearance_m(place, 2 * TOUCH_M)[0] < TOUCH_M:
        raise BadInput(f"{where} lies in a surface of {mesh.name}; move it into the air")
    if mesh.openness.ray_hit_share >= _TRUSTED_HIT_SHARE and not inside(mesh, place)[0]:
        raise BadInput(
            f"{where} lies in a wall or in furniture of {mesh.name}, or outside; move it into the air of a room"
        )


def check_positions(mesh: AcousticMesh, listener: Sequence[float], sources: Sequence[Sequence[float]]) -> None:
    """:func:`check_position` of a listener and its sources, and none of them in the listener's head."""
    check_position(mesh, listener, "the listener")
    for number, source in enumerate(sources):
        check_position(mesh, source, f"source {number}")
    check_outside_head(listener, sources, LEAST_DISTANCE_M)


def floor_heights_m(mesh: AcousticMesh, region: Region | None = None) -> tuple[float, ...]:
    """Heights at which a room, or a whole mesh without rooms, may have its floor.

    A scanned room's box is a little larger than the room: its floor is the lowest height at which many of the rays
    straight down land.
    """
    if region is None or not mesh.regions:
        return tuple(float(height) for height in level_heights_m(mesh))
    low, high = np.array(region.min_m), np.array(region.max_m)
    points = np.random.default_rng(0).uniform(low, high, (256, 3))
    points = points[region.contains(points)]
    points[:, 1] = low[1] + 0.6 * (high[1] - low[1])
    down, _ = mesh.rays.vertical(points)
    landed = points[:, 1] - down
    landed = landed[landed > low[1] - 0.3]  # farther down is another storey, seen through a hole
    if not len(landed):
        return ()
    bins = np.floor((landed - landed.min()) / FLOOR_TOLERANCE_M).astype(int)
    lowest = int(np.argmax(np.bincount(bins) >= 0.15 * len(landed)))
    return (float(np.median(landed[bins == lowest])),)


def _draw_listener(
    mesh: AcousticMesh, room: Region, rng: np.random.Generator, height_m: float, margin_m: float
) -> np.ndarray | None:
    floors = floor_heights_m(mesh, room if mesh.regions else None)
    if not floors:
        return None
    floor = np.array(floors)[rng.integers(len(floors), size=_BATCH)]
    points = rng.uniform(room.min_m, room.max_m, (_BATCH, 3))
    points[:, 1] = floor + height_m
    down, up = mesh.rays.vertical(points)
    fits = (np.abs(down - height_m) < FLOOR_TOLERANCE_M) & (up > margin_m)
    points[fits, 1] += height_m - down[fits]
    fits &= room.contains(points)
    # A few are enough: most of the work is in testing whether a point lies in the air.
    return next(iter(_in_air(mesh, points[fits][:8], margin_m)), None)


def _draw_sources(
    mesh: AcousticMesh,
    rooms: Sequence[Region],
    rng: np.random.Generator,
    count: int,
    listener: np.ndarray,
    ring_m: tuple[float, float],
    margin_m: float,
) -> tuple[Vector, ...] | None:
    """Uniform in the rooms' air between the two distances; None where too few were found."""
    volumes = np.array([room.volume_m3 for room in rooms]) + 1e-9
    low, high = (np.array([getattr(room, end) for room in rooms]) for end in ("min_m", "max_m"))
    found: list[Vector] = []
    for _ in range(_BATCHES_TRIED if count else 0):
        owner = rng.choice(len(rooms), size=_BATCH, p=volumes / volumes.sum())
        points = rng.uniform(low[owner], high[owner])
        distance = np.linalg.norm(points - listener, axis=1)
        fits = (distance >= ring_m[0]) & (distance < ring_m[1])
        for number, room in enumerate(rooms):
            fits[owner == number] &= room.contains(points[owner == number])
        found += [_vector(point) for point in _in_air(mesh, points[fits][: 8 * count], margin_m)]
        if len(found) >= count:
            break
    return tuple(found[:count]) if len(found) >= count else None


def _in_air(mesh: AcousticMesh, points: np.ndarray, margin_m: float) -> np.ndarray:
    """Those of the points (P, 3) that lie in enclosed air, ``margin_m`` or more from any surface."""
    if len(points):
        points = points[inside(mesh, points)]
    if len(points):
        points = points[mesh.rays.clearance_m(points, 1.01 * margin_m + 1e-6) >= margin_m]
    return points


def _whole(mesh: AcousticMesh) -> Region:
    low, high = mesh.bounds_m
    return Region("whole mesh", _vector(low), _vector(high))


def _storey(mesh: AcousticMesh, whole: Region, listener: np.ndarray) -> Region:
    """The slab of a mesh without rooms between the floor below and the ceiling above a listener."""
    down, up = (float(distance[0]) for distance in mesh.rays.vertical(listener[None]))
    (x0, y0, z0), (x1, y1, z1) = whole.min_m, whole.max_m
    y = float(listener[1])
    return Region("storey", (x0, max(y0, y - down), z0), (x1, min(y1, y + up), z1))


def _vector(point: np.ndarray) -> Vector:
    x, y, z = (float(value) for value in point)
    return x, y, z


def _rounded(point: np.ndarray) -> Vector:
    return _vector(np.round(point.astype(float), 3))
