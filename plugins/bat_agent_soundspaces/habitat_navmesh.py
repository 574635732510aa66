"""Places in a habitat scene: the navmesh, and a listener and sources in the same room of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.scene import Vector
from bat_agent_soundspaces.habitat_api import RoomBox, room_at, vector
from bat_agent_soundspaces.habitat_config import HabitatConfig

CEILING_GAP_M = 0.1
OPEN_HEIGHT_M = 2.2
"""Highest drawn source above the floor where no room box tells where the ceiling is."""


class Navmesh:
    """A habitat ``PathFinder``, asked only what it can answer: without a navmesh its queries may end the process."""

    def __init__(self, pathfinder: Any) -> None:
        self._finder = pathfinder

    @property
    def loaded(self) -> bool:
        """Whether there is a navmesh to ask."""
        return self._finder is not None and bool(self._finder.is_loaded)

    def require(self) -> None:
        """Raise :class:`~bat_agent.errors.BadInput` without a navmesh."""
        if not self.loaded:
            raise BadInput(
                "habitat has no navmesh for this scene, so no place to stand can be drawn; put the scene's .navmesh "
                "file beside it, or pass a live simulator that has a camera, in which sim.recompute_navmesh was called "
                "(without a camera habitat-sim keeps no mesh to make one from)"
            )

    def random_point(self, rng: np.random.Generator, min_island_radius_m: float) -> Vector:
        """A point on the floor, uniform over the navigable area, on an island that is no table top.

        habitat-sim draws it from the C library's generator, which is global to the process: it is seeded from ``rng``
        here, so the simulator's own random points that follow are changed by this.
        """
        self.require()
        self._finder.seed(int(rng.integers(2**31)))
        for _ in range(200):
            try:
                point = vector(self._finder.get_random_navigable_point())
            except RuntimeError as error:
                raise BadInput(f"habitat's navmesh has no navigable area ({error}); recompute it") from error
            # After max_tries failures of its own, habitat-sim returns NaN (its source; none was seen).
            if np.isfinite(point).all() and self._finder.island_radius(_array(point)) >= min_island_radius_m:
                return point
        raise BadInput(
            f"habitat's navmesh gives no point on an island of {min_island_radius_m} m radius; lower "
            f"min_island_radius_m or recompute the navmesh"
        )

    def below(self, point_m: Vector, slack_m: float = 0.05) -> Vector | None:
        """The point of the navmesh straight below or above (within half a metre), or ``None`` where there is none."""
        self.require()
        found = vector(self._finder.snap_point(_array(point_m)))
        if not np.isfinite(found).all() or abs(found[1] - point_m[1]) > 0.5:
            return None
        return found if math.hypot(found[0] - point_m[0], found[2] - point_m[2]) <= slack_m else None

    def straight_way(self, start_m: Vector, end_m: Vector) -> bool:
        """Whether one can walk from start to end in a straight line: then no wall stands in between."""
        self.require()
        reached = vector(self._finder.try_step_no_sliding(_array(start_m), _array(end_m)))
        return math.hypot(reached[0] - end_m[0], reached[2] - end_m[2]) < 0.1

    def clear_places(self, start_m: Vector, tries: int = 64) -> list[tuple[float, Vector]]:
        """(metres to the nearest obstacle, at most 2; point on the floor), clearest first, ``start_m`` among them.

        Without drawing from habitat-sim's generator, so that asking changes nothing.
        """
        self.require()
        rng = np.random.default_rng(0)
        low, high = (np.array(vector(corner)) for corner in self._finder.get_bounds())
        points = [self.below(start_m, slack_m=0.3)]
        points += [self.below(vector(rng.uniform(low, high)), slack_m=0.3) for _ in range(tries)]
        found = {
            point: float(self._finder.distance_to_closest_obstacle(_array(point), 2.0)) for point in points if point
        }
        # Off the navmesh it is infinite: such a point is no place.
        return sorted(((free, point) for point, free in found.items() if math.isfinite(free)), reverse=True)


def draw_places(
    navmesh: Navmesh,
    rooms: list[RoomBox],
    config: HabitatConfig,
    rng: np.random.Generator,
    num_sources: int,
    in_air: Callable[[Vector], bool],
) -> tuple[Vector, list[Vector]]:
    """Ears of a listener who stands on the floor, and sources in the same room.

    Sources are uniform over the walkable floor of the room and between floor and ceiling in height, so that none is
    inside a wall or a wardrobe. Without rooms, a source stands where one can walk in a straight line. ``in_air`` says
    whether a place is in free air. Raises :class:`~bat_agent.errors.BadInput` where nothing fits.
    """
    return next(placements(navmesh, rooms, config, rng, None, num_sources, in_air))


def placements(
    navmesh: Navmesh,
    rooms: list[RoomBox],
    config: HabitatConfig,
    rng: np.random.Generator,
    beside_m: Vector | None,
    num_sources: int,
    in_air: Callable[[Vector], bool],
) -> Iterator[tuple[Vector, list[Vector]]]:
    """Places as :func:`draw_places` draws them, one after the other; all in the room of the ears ``beside_m``."""
    wanted = None
    if beside_m is not None and rooms:
        x, y, z = beside_m
        wanted = room_at(rooms, (x, y - config.ear_height_m, z))
        if wanted is None:
            raise BadInput(f"the listener at {beside_m} stands in no room of the habitat scene; move it into one")
    while True:
        # A small room is met rarely by points drawn over the whole scene.
        for _ in range(50 if wanted is None else 5000):
            floor = navmesh.random_point(rng, config.min_island_radius_m)
            room = room_at(rooms, floor)
            if wanted is not None and room != wanted:
                continue
            found = _fill(navmesh, rooms, room, floor, config, rng, num_sources, in_air)
            if found is not None:
                yield found
                break
        else:
            raise BadInput(
                f"habitat finds no listener with {num_sources} sources in the same room, {config.min_distance_m} to "
                f"{config.max_distance_m} m away; widen min_distance_m … max_distance_m"
            )


def _fill(
    navmesh: Navmesh,
    rooms: list[RoomBox],
    room: RoomBox | None,
    floor: Vector,
    config: HabitatConfig,
    rng: np.random.Generator,
    num_sources: int,
    in_air: Callable[[Vector], bool],
) -> tuple[Vector, list[Vector]] | None:
    """A listener who stands at ``floor``, and its sources; ``None`` where that does not work out."""
    ears = (floor[0], floor[1] + config.ear_height_m, floor[2])
    if (rooms and (room is None or ears[1] > room.high_m[1] - CEILING_GAP_M)) or not in_air(ears):
        return None
    sources: list[Vector] = []
    while len(sources) < num_sources:
        source = _draw_source(navmesh, rooms, room, floor, config, rng)
        if source is None or not in_air(source):
            return None
        sources.append(source)
    return ears, sources


def _draw_source(
    navmesh: Navmesh,
    rooms: list[RoomBox],
    room: RoomBox | None,
    floor: Vector,
    config: HabitatConfig,
    rng: np.random.Generator,
) -> Vector | None:
    reach, ears = config.max_distance_m, (floor[0], floor[1] + config.ear_height_m, floor[2])
    low = room.low_m if room else (floor[0] - reach, 0.0, floor[2] - reach)
    high = room.high_m if room else (floor[0] + reach, 0.0, floor[2] + reach)
    for _ in range(400):
        x, z = float(rng.uniform(low[0], high[0])), float(rng.uniform(low[2], high[2]))
        share = float(rng.random())
        foot = navmesh.below((x, floor[1], z))
        if foot is None or (room is not None and room_at(rooms, foot) != room):
            continue
        top = room.high_m[1] - CEILING_GAP_M if room else foot[1] + OPEN_HEIGHT_M
        bottom = foot[1] + CEILING_GAP_M
        source = (foot[0], bottom + share * (top - bottom), foot[2])
        near = config.min_distance_m <= math.dist(source, ears) <= config.max_distance_m
        if near and (room is not None or navmesh.straight_way(floor, foot)):
            return source
    return None


def _array(point_m: Vector) -> np.ndarray:
    """As the bindings want it."""
    return np.array(point_m, dtype=np.float32)
