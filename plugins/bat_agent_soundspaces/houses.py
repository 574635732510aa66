"""Furnished houses made up from a random generator, for which no licence to any data is needed.

Rooms are boxes of air next to each other, joined by openings through walls with thickness; windows, doors and curtains
are patches of other materials in the walls, furniture is closed boxes standing on the floor. The mesh is the border of
the air, without holes and without one edge ending in the middle of another. Floor y = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from bat_agent.errors import BadInput
from bat_agent_soundspaces.furniture import Footprint, furnish
from bat_agent_soundspaces.meshes import AcousticMesh, Region, join_parts

MEDIAN_AREA_M2 = 17.6
AREA_SIGMA = 0.6
AREA_RANGE_M2 = (4.0, 90.0)
"""Floor area per room: lognormal, so that houses have the mean floor area per room of Matterport3D, about 21 m²."""
AREA_SCALE = 1.2
"""Areas are enlarged by this so that sources lie as far off as in BAT's figure 3 (mode 1.5…2.5 m)."""
WALL_M = 0.12
DOOR_M = (0.9, 2.05)
"""Width and height of an opening between rooms."""
MAX_ROOMS = 12
ROOM_NAMES = ("living room", "bedroom", "kitchen", "office", "dining room", "bathroom", "hallway", "guest room")
FLOORS = ("floor wood", "floor carpet", "floor tile", "floor linoleum", "floor concrete")
WALLS = ("wall gypsum", "wall plaster", "wall brick", "wall concrete", "wall wood")
CEILINGS = ("ceiling plaster", "ceiling concrete", "ceiling wood", "ceiling acoustic tile")
_FLOOR_ODDS = (0.4, 0.25, 0.2, 0.1, 0.05)
_WALL_ODDS = (0.5, 0.3, 0.1, 0.05, 0.05)
_CEILING_ODDS = (0.65, 0.15, 0.1, 0.1)


@dataclass(frozen=True)
class Patch:
    """A rectangle of a wall: from ``start`` to ``end`` along it, from ``bottom`` to ``top``, metres."""

    start: float
    end: float
    bottom: float
    top: float
    material: str | None
    """None is an opening."""


@dataclass
class _Room:
    """A box of air; walls are numbered 0: x low, 1: x high, 2: z low, 3: z high."""

    low: np.ndarray
    high: np.ndarray
    patches: list[list[Patch]] = field(default_factory=lambda: [[], [], [], []])

    def wall(self, side: int) -> tuple[int, float, float]:
        """Axis it runs along (0 x, 1 z), and from where to where."""
        axis = 1 if side < 2 else 0
        return axis, float(self.low[axis]), float(self.high[axis])


class _Parts:
    """Collects polygons by material."""

    def __init__(self) -> None:
        self._corners: dict[str, list[np.ndarray]] = {}
        self._faces: dict[str, list[np.ndarray]] = {}
        self._count: dict[str, int] = {}

    def polygon(self, material: str, corners: np.ndarray) -> None:
        """A convex polygon (n, 3): two triangles for four corners, else a fan about its centre."""
        n = len(corners)
        if n == 4:
            faces = np.array([[0, 1, 2], [0, 2, 3]])
        else:
            corners = np.vstack([corners, (corners.min(axis=0) + corners.max(axis=0)) / 2])
            faces = np.stack([np.arange(n), np.roll(np.arange(n), -1), np.full(n, n)], axis=1)
        start = self._count.get(material, 0)
        self._corners.setdefault(material, []).append(corners)
        self._faces.setdefault(material, []).append(faces + start)
        self._count[material] = start + len(corners)

    def box(self, material: str, low: np.ndarray, high: np.ndarray) -> None:
        """A closed box."""
        for axis in range(3):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            for end, order in ((low, (0, 3, 2, 1)), (high, (0, 1, 2, 3))):
                corners = np.empty((4, 3))
                corners[:, axis] = end[axis]
                corners[:, u] = np.array([low[u], high[u], high[u], low[u]])[list(order)]
                corners[:, v] = np.array([low[v], low[v], high[v], high[v]])[list(order)]
                self.polygon(material, corners)

    def join(self, regions: tuple[Region, ...]) -> AcousticMesh:
        """The mesh, faces sorted by material."""
        return join_parts(
            [
                (material, np.concatenate(self._corners[material]), np.concatenate(self._faces[material]))
                for material in sorted(self._corners)
            ],
            regions,
            "generated house",
        )


def generate_house(
    rng: np.random.Generator, *, rooms: int | None = None, furnished: bool = True, area_scale: float = AREA_SCALE
) -> AcousticMesh:
    """Draw a house with materials; ``rooms=None`` draws 1…6 of them. The same generator state gives the same house."""
    count = int(rng.integers(1, 7)) if rooms is None else rooms
    if not 1 <= count <= MAX_ROOMS:
        raise BadInput(f"a generated house has 1…{MAX_ROOMS} rooms, got {rooms}")
    height = float(np.clip(rng.normal(2.65, 0.25), 2.2, 4.0))
    plan = [_first_room(rng, area_scale)]
    parts = _Parts()
    frame = str(rng.choice(["wall wood", "wall plaster"]))
    while len(plan) < count:
        _add_room(rng, plan, parts, frame, area_scale)
    regions = []
    for number, room in enumerate(plan):
        _add_patches(rng, room, height)
        _add_shell(rng, room, height, parts)
        if furnished:
            for piece in furnish(rng, room.low, room.high, height, _keep_free(room)):
                parts.box(*piece)
        name = f"{rng.choice(ROOM_NAMES)} {number}"
        low, high = room.low, room.high
        regions.append(Region(name, (float(low[0]), 0.0, float(low[1])), (float(high[0]), height, float(high[1]))))
    return parts.join(tuple(regions))


def _size_m(rng: np.random.Generator, area_scale: float) -> np.ndarray:
    area = float(np.clip(MEDIAN_AREA_M2 * math.exp(AREA_SIGMA * rng.standard_normal()), *AREA_RANGE_M2)) * area_scale
    short = math.sqrt(area / rng.uniform(1, 2))
    sides = np.array([short, area / short])
    return sides if rng.random() < 0.5 else sides[::-1]


def _first_room(rng: np.random.Generator, area_scale: float) -> _Room:
    return _Room(np.zeros(2), _size_m(rng, area_scale))


def _add_room(rng: np.random.Generator, plan: list[_Room], parts: _Parts, frame: str, area_scale: float) -> None:
    """Put a room beside one that stands, with an opening between them; sizes are redrawn until one fits."""
    need = DOOR_M[0] + 0.4
    for _ in range(200):
        host = plan[int(rng.integers(len(plan)))]
        side = int(rng.integers(4))
        across, along = (0, 1) if side < 2 else (1, 0)
        size = _size_m(rng, area_scale)
        low = np.empty(2)
        low[across] = host.high[across] + WALL_M if side % 2 else host.low[across] - WALL_M - size[across]
        low[along] = rng.uniform(host.low[along] - size[along] + need, host.high[along] - need)
        new = _Room(low, low + size)
        if any(_overlap(new, other) for other in plan):
            continue
        start = max(new.low[along], host.low[along]) + 0.2
        end = min(new.high[along], host.high[along]) - 0.2
        at = float(rng.uniform(start, end - DOOR_M[0]))
        if any(p.start - 0.1 < at + DOOR_M[0] and at < p.end + 0.1 for p in host.patches[side]):
            continue
        opening = Patch(at, at + DOOR_M[0], 0.0, DOOR_M[1], None)
        host.patches[side].append(opening)
        new.patches[side ^ 1].append(opening)
        _add_tunnel(parts, frame, host, side, opening)
        plan.append(new)
        return
    raise BadInput(f"no place found for room {len(plan) + 1} of a generated house; ask for fewer rooms")


def _overlap(room: _Room, other: _Room) -> bool:
    gap = WALL_M - 1e-6
    return bool(np.all(room.low < other.high + gap) and np.all(other.low < room.high + gap))


def _add_tunnel(parts: _Parts, frame: str, host: _Room, side: int, opening: Patch) -> None:
    """Threshold, lintel and two jambs through the wall's thickness."""
    across, along = (0, 1) if side < 2 else (1, 0)
    face = float(host.high[across] if side % 2 else host.low[across])
    beyond = face + (WALL_M if side % 2 else -WALL_M)
    rim = [(opening.start, 0.0), (opening.end, 0.0), (opening.end, opening.top), (opening.start, opening.top)]
    for (a, y0), (b, y1) in zip(rim, rim[1:] + rim[:1], strict=True):
        corners = np.empty((4, 3))
        corners[:, 2 * across] = [face, face, beyond, beyond]
        corners[:, 2 * along] = [a, b, b, a]
        corners[:, 1] = [y0, y1, y1, y0]
        parts.polygon("floor wood" if y0 == y1 == 0.0 else frame, corners)


def _add_patches(rng: np.random.Generator, room: _Room, height: float) -> None:
    """Windows and curtains in outer walls, now and then a closed door anywhere."""
    for side in range(4):
        _, start, end = room.wall(side)
        outer = not room.patches[side]
        if outer and end - start > 1.6 and rng.random() < 0.5:
            width = float(rng.uniform(0.8, min(2.4, end - start - 0.6)))
            sill, top = float(rng.uniform(0.3, 1.0)), float(rng.uniform(1.9, min(2.3, height - 0.1)))
            material = "window" if rng.random() < 0.7 else str(rng.choice(["curtain", "blinds"]))
            _insert(rng, room, side, width, sill, top, material)
        elif end - start > 1.6 and rng.random() < 0.3:
            _insert(rng, room, side, DOOR_M[0], 0.0, min(DOOR_M[1], height - 0.1), "door")


def _insert(
    rng: np.random.Generator, room: _Room, side: int, width: float, bottom: float, top: float, material: str
) -> None:
    _, start, end = room.wall(side)
    at = float(rng.uniform(start + 0.2, end - 0.2 - width))
    if all(at > patch.end + 0.1 or at + width < patch.start - 0.1 for patch in room.patches[side]):
        room.patches[side].append(Patch(at, at + width, bottom, top, material))


def _add_shell(rng: np.random.Generator, room: _Room, height: float, parts: _Parts) -> None:
    """Floor, ceiling and four walls. Rims of floor and ceiling have a corner wherever a wall has one."""
    floor, wall, ceiling = (
        str(rng.choice(names, p=odds))
        for names, odds in ((FLOORS, _FLOOR_ODDS), (WALLS, _WALL_ODDS), (CEILINGS, _CEILING_ODDS))
    )
    rims: list[np.ndarray] = []
    for side in (2, 1, 3, 0):  # once around
        axis, start, end = room.wall(side)
        fixed = float((room.high if side % 2 else room.low)[1 - axis])
        patches = sorted(room.patches[side], key=lambda patch: patch.start)
        _add_wall(parts, wall, axis, fixed, start, end, height, patches)
        stops = [start, *(x for patch in patches for x in (patch.start, patch.end)), end]
        rim = np.full((len(stops), 2), fixed)
        rim[:, axis] = stops
        rims.append((rim if side in (2, 1) else rim[::-1])[:-1])
    outline = np.concatenate(rims)
    for material, y in ((floor, 0.0), (ceiling, height)):
        parts.polygon(material, np.insert(outline, 1, y, axis=1))


def _add_wall(
    parts: _Parts, wall: str, axis: int, fixed: float, start: float, end: float, height: float, patches: list[Patch]
) -> None:
    """Upright strips between and through the patches; strips beside a patch get its corners on their rim."""

    def place(points: list[tuple[float, float]]) -> np.ndarray:
        corners = np.full((len(points), 3), fixed)
        corners[:, 0 if axis == 0 else 2] = [u for u, _ in points]
        corners[:, 1] = [y for _, y in points]
        return corners

    previous: Patch | None = None
    left = start
    for patch in [*patches, None]:
        right = end if patch is None else patch.start
        ups = [] if patch is None else [y for y in (patch.bottom, patch.top) if 0 < y < height]
        downs = [] if previous is None else [y for y in (previous.top, previous.bottom) if 0 < y < height]
        rim = [(left, 0.0), (right, 0.0), *((right, y) for y in ups), (right, height), (left, height)]
        parts.polygon(wall, place(rim + [(left, y) for y in downs]))
        if patch is None:
            return
        for bottom, top, material in (
            (0.0, patch.bottom, wall),
            (patch.bottom, patch.top, patch.material),
            (patch.top, height, wall),
        ):
            if material is not None and top > bottom:
                a, b = patch.start, patch.end
                parts.polygon(material, place([(a, bottom), (b, bottom), (b, top), (a, top)]))
        previous, left = patch, patch.end


def _keep_free(room: _Room) -> list[Footprint]:
    """Floor in front of doors and openings, where no furniture may stand."""
    free = []
    for side, patches in enumerate(room.patches):
        axis, _, _ = room.wall(side)
        fixed = float((room.high if side % 2 else room.low)[1 - axis])
        for patch in patches:
            if patch.bottom == 0.0:
                reach = (fixed - 0.9, fixed) if side % 2 else (fixed, fixed + 0.9)
                span = (patch.start, patch.end)
                (x0, x1), (z0, z1) = (span, reach) if axis == 0 else (reach, span)
                free.append((x0, z0, x1, z1))
    return free
