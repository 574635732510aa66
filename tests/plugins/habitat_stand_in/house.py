"""The house of the stand-in: navmesh, semantic scene, scene graph and agent, in each generation's signatures.

Which build each fact about a navmesh is from: see ``facts.py``.
"""

from __future__ import annotations

import math
import random
import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from habitat_stand_in import facts
from habitat_stand_in.generations import Abort, Generation

NAN = np.full(3, np.nan, dtype=np.float32)


@dataclass(frozen=True)
class Rect:
    """Part of the navmesh: a level rectangle."""

    x0: float
    x1: float
    z0: float
    z1: float
    y: float
    island: int

    def holds(self, x: float, z: float) -> bool:
        return self.x0 - 1e-5 <= x <= self.x1 + 1e-5 and self.z0 - 1e-5 <= z <= self.z1 + 1e-5  # float32 rounds

    def nearest(self, p: Any) -> np.ndarray:
        return np.array([min(max(p[0], self.x0), self.x1), self.y, min(max(p[2], self.z0), self.z1)], np.float32)


LIFT = facts.NAVMESH_LIFT_M
FLOORS = [
    Rect(0.2, 5.8, 0.2, 4.8, LIFT, 0),
    Rect(6.2, 11.8, 0.2, 4.8, LIFT, 0),
    Rect(5.8, 6.2, 2.0, 3.0, LIFT, 0),
    Rect(0.2, 5.8, 0.2, 4.8, 3 + LIFT, 1),
    Rect(1.0, 1.6, 1.0, 1.6, 0.8, 2),
]
ROOFS = [Rect(0.2, 5.8, 0.2, 4.8, 6 + LIFT, 3), Rect(6.2, 11.8, 0.2, 4.8, 3 + LIFT, 4)]
"""Navigable like any floor that is free above."""
EVERYWHERE = FLOORS + ROOFS


class Vector3:
    """magnum's: indexed, but no array."""

    def __init__(self, values: Any) -> None:
        self.x, self.y, self.z = map(float, values)

    def __getitem__(self, index: int) -> float:
        return (self.x, self.y, self.z)[index]


SHARED = random.Random(0)
"""The generator of random points: one for all simulators of a process."""


class PathFinder:
    """``nan_share`` of its random points fail, as the source says of max_tries; none did in 300 that were drawn."""

    def __init__(self, generation: Generation, loaded: bool, nan_share: float) -> None:
        self._loaded, self._nan_share, self._rand = loaded, nan_share, SHARED
        self.seeds: list[int] = []
        if generation.islands:
            self.num_islands = 3

    @property
    def is_loaded(self) -> bool:
        return self._loaded

    def _ask(self) -> None:
        if not self._loaded:
            raise Abort("segmentation fault: query on an unloaded PathFinder")

    def seed(self, seed: int) -> None:
        assert isinstance(seed, int)
        assert 0 <= seed < 2**32
        self.seeds.append(seed)
        self._rand.seed(seed)

    def get_random_navigable_point(self, max_tries: int = 10) -> np.ndarray:
        if not self._loaded:
            raise RuntimeError("NavMesh has no navigable area, this indicates an issue with the NavMesh")
        if self._rand.random() < self._nan_share:
            return NAN
        rect = self._rand.choice(EVERYWHERE)
        return np.array(
            [self._rand.uniform(rect.x0, rect.x1), rect.y, self._rand.uniform(rect.z0, rect.z1)], np.float32
        )

    def snap_point(self, point: Any) -> Any:
        self._ask()
        as_given = isinstance(point, np.ndarray) and point.dtype == np.float32
        place = np.array([point[0], point[1], point[2]], np.float32)
        near = (rect.nearest(place) for rect in EVERYWHERE)
        found = min(near, key=lambda one: float(np.linalg.norm(one - place)))
        found = found if abs(found - place).max() < 4 else NAN
        return found if as_given else Vector3(found)

    def island_radius(self, point: np.ndarray) -> float:
        self._ask()
        rect = _under(point)
        return 0.0 if rect is None else 0.4 if rect.island == 2 else 4.0

    def get_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        self._ask()
        return np.array([0.2, LIFT, 0.2], np.float32), np.array([11.8, 6 + LIFT, 4.8], np.float32)

    def distance_to_closest_obstacle(self, point: np.ndarray, max_search_radius: float = 2.0) -> float:
        self._ask()
        if _under(point) is None:
            return float("inf")
        x, _, z = map(float, point)
        walls = [x, abs(x - 6), 12 - x if point[1] < 2 else 6 - x, z, 5 - z]
        return max(0.0, min(*walls, max_search_radius))

    def try_step_no_sliding(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        self._ask()
        reached = start
        for share in np.linspace(0, 1, 200):
            here = start + share * (end - start)
            if not any(rect.holds(here[0], here[2]) and abs(rect.y - here[1]) < 0.3 for rect in EVERYWHERE):
                return reached
            reached = here
        return end


def _under(point: Any) -> Rect | None:
    """The part of the navmesh that a point is on."""
    x, y, z = map(float, point)
    return next((rect for rect in EVERYWHERE if rect.holds(x, z) and abs(rect.y - y) < 0.3), None)


# --- semantics ---


class BBox:
    """habitat's box up to 0.3.2: properties."""

    def __init__(self, low: Any, high: Any) -> None:
        self._low, self._high = np.array(low, np.float32), np.array(high, np.float32)

    @property
    def center(self) -> np.ndarray:
        return (self._low + self._high) / 2

    @property
    def sizes(self) -> np.ndarray:
        return self._high - self._low


class Range3D:
    """magnum's box from 0.3.3: methods."""

    def __init__(self, low: Any, high: Any) -> None:
        self.min, self.max = np.array(low, np.float32), np.array(high, np.float32)

    def center(self) -> np.ndarray:
        return (self.min + self.max) / 2

    def size(self) -> np.ndarray:
        return self.max - self.min


class Category:
    def __init__(self, name: str | None) -> None:
        self._name = name

    def name(self, mapping: str = "") -> str:
        if self._name is None:
            raise IndexError("map::at")
        return self._name


def semantic_scene(box: type) -> Any:
    ground = types.SimpleNamespace(id="0", aabb=box((0, 0, 0), (12, 3, 5)))
    upper = types.SimpleNamespace(id="1", aabb=box((0, 3, 0), (6, 6, 5)))
    rows = [
        ("0_0", ground, (0, 0, 0), (6, 3, 5), "familyroom/lounge"),
        ("0_1", ground, (6, 0, 0), (12, 3, 5), "bedroom"),
        ("0_5", ground, (0, 0, 3.5), (1.5, 3, 5), "closet"),
        ("1_2", upper, (0, 2.8, 0), (6, 6, 5), None),
        ("0_9", ground, (0, 0, 0), (12, 6, 5), "junk"),
        ("0_8", ground, (1, 1, 1), (-1, -1, -1), "nothing"),
    ]

    def region(row: tuple[Any, ...]) -> Any:
        name, level, low, high, category = row
        never = lambda point: False  # noqa: E731
        return types.SimpleNamespace(
            id=name, level=level, aabb=box(low, high), category=Category(category), contains=never
        )

    return types.SimpleNamespace(levels=[ground, upper], regions=[region(row) for row in rows], objects=[])


# --- scene graph, agent ---


class SceneNode:
    def __init__(self) -> None:
        self.children: list[SceneNode] = []
        self.own: dict[str, Any] = {}

    def create_child(self) -> SceneNode:
        self.children.append(SceneNode())
        return self.children[-1]

    @property
    def subtree_sensors(self) -> dict[str, Any]:
        found = dict(self.own)
        for child in self.children:
            found |= child.subtree_sensors
        return found


@dataclass
class Quaternion:
    """numpy-quaternion's attributes."""

    w: float
    x: float
    y: float
    z: float


@dataclass
class AgentState:
    position: np.ndarray
    rotation: Any
    sensor_states: dict[str, Any] = field(default_factory=dict)


class Agent:
    """Turns by a quarter, walks a quarter of a metre; its actions have whatever names the configuration gives them."""

    def __init__(self, node: SceneNode, config: Any = None) -> None:
        self.scene_node = node
        self.agent_config = config
        self.initial_state = AgentState(np.array([3.0, LIFT, 2.5]), Quaternion(*facts.FIRST_ROTATION_WXYZ))
        self.back()

    def back(self) -> None:
        start = self.initial_state
        self._state = AgentState(start.position.copy(), start.rotation)

    def act(self, action_id: Any) -> bool:
        assert action_id in self.agent_config.action_space, f"No action {action_id} in action space"
        what = self.agent_config.action_space[action_id]
        state, turn = self._state, self._state.rotation
        if what in ("turn_left", "turn_right"):
            half = math.atan2(turn.y, turn.w) + math.radians(45 if what == "turn_left" else -45)
            turn = Quaternion(math.cos(half), 0.0, math.sin(half), 0.0)
            self._state = AgentState(state.position, turn)
        elif what == "move_forward":
            heading = 2 * math.atan2(turn.y, turn.w)
            ahead = np.array([-math.sin(heading), 0.0, -math.cos(heading)])
            self._state = AgentState(state.position + 0.25 * ahead, turn)
        return False

    def get_state(self) -> AgentState:
        return self._state

    def set_state(self, state: AgentState, reset_sensors: bool = True) -> None:
        self._state = state


def occluded(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the wall at x = 6 is in between, outside the door."""
    if (a[0] - 6) * (b[0] - 6) >= 0:
        return False
    share = (6 - a[0]) / (b[0] - a[0])
    return not 2 < a[2] + share * (b[2] - a[2]) < 3


def in_wardrobe(point: Any) -> bool:
    """Furniture that stands on the navmesh: the engine's mesh has it, the navmesh does not."""
    return 8 <= point[0] <= 11.8 and 0.2 <= point[2] <= 2 and point[1] < 2
