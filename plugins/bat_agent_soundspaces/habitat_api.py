"""Reading a live habitat simulator: build, pose and rooms, whatever its generation.

Nothing here imports ``habitat_sim``; a live simulator is recognised by what it has. No decision looks at
``habitat_sim.__version__``, which is wrong in several releases: what a build can do is asked of its classes. Signatures
are from its source (v0.2.2 … v0.3.4 and the branch ``RLRAudioPropagationUpdate``); the tests use a stand-in with the
same ones, and with what a real 0.2.2 without audio did when it was run.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.scene import Listener, Vector, heading_from_habitat_quaternion

HOLDERS = ("sim", "_sim", "habitat_env", "_habitat_env", "unwrapped", "env", "_env")
"""Attributes under which environments and their wrappers keep a simulator or another environment."""
_CONFIGS = ("config", "habitat_config", "_config")
"""Under which they keep their configuration; ``config`` of a ``habitat_sim.Simulator`` is of another kind."""
_BRANCHES: tuple[tuple[str, ...], ...] = (
    (),
    ("SIMULATOR",),
    ("TASK_CONFIG", "SIMULATOR"),
    ("simulator",),
    ("habitat", "simulator"),
)
"""Where the simulator's part is in configurations of environments, of trainers, and of both generations."""


@dataclass(frozen=True)
class Build:
    """What a habitat-sim build can do, as its classes show."""

    audio: bool
    """Compiled with the audio sensor; without, every touch of an audio sensor ends the process."""
    generation: str
    """In words, for people; nothing depends on it."""


@dataclass(frozen=True)
class RoomBox:
    """A region of the semantic scene."""

    name: str
    """Id, ``level_region``."""
    category: str
    """``bedroom``, …; ``unknown`` where habitat-sim does not know the label."""
    low_m: Vector
    """Corner of the axis-aligned box with the smallest coordinates."""
    high_m: Vector
    """Corner with the greatest."""
    floor_m: float
    """Height of the floor of its level."""

    @property
    def volume_m3(self) -> float:
        """Volume of the box."""
        return math.prod(high - low for low, high in zip(self.low_m, self.high_m, strict=True))

    def contains(self, point_m: Vector, slack_m: float = 0.2) -> bool:
        """Whether the point lies in the box; ``slack_m`` downwards, as a navmesh may run below the scanned floor."""
        low = (self.low_m[0], self.low_m[1] - slack_m, self.low_m[2])
        return all(a <= p <= b for a, p, b in zip(low, point_m, self.high_m, strict=True))


def holders(holder: Any) -> Iterator[Any]:
    """``holder`` and all it holds that may be an environment or a simulator, the outermost first."""
    queue, seen = deque([(holder, 0)]), {id(holder)}
    while queue:
        thing, depth = queue.popleft()
        yield thing
        for name in HOLDERS if depth < 12 else ():
            inner = peek(thing, name)
            if inner is not None and id(inner) not in seen and not isinstance(inner, str | int | float | bool):
                seen.add(id(inner))
                queue.append((inner, depth + 1))


def find_simulator(holder: Any) -> Any:
    """The ``habitat_sim.Simulator`` that ``holder`` is or holds, at whatever depth of wrappers.

    Raises :class:`~bat_agent.errors.BadInput` where there is none, or none that is not closed.
    """
    backend = getattr(sys.modules.get("habitat_sim"), "Simulator", None)
    alike, closed = [], None
    for thing in holders(holder):
        found = backend is not None and isinstance(thing, backend)
        if found and not is_closed(thing):
            return thing
        if found:
            closed = thing
        elif callable(peek(thing, "get_agent")) and peek(thing, "pathfinder") is not None:
            alike.append(thing)
    if closed is not None:
        check_open(closed)
    if alike:
        return alike[0]
    raise BadInput(
        f"'{type(holder).__name__}' neither is nor holds a habitat simulator; pass a habitat_sim.Simulator or an "
        f"environment that keeps one in .sim, .habitat_env.sim or .unwrapped"
    )


def is_closed(sim: Any) -> bool:
    """Whether a simulator was closed; then its scene, its agents and ``reset`` must not be touched."""
    return peek(sim, "pathfinder") is None


def check_open(sim: Any) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` for a closed simulator: habitat-sim would end the process."""
    if is_closed(sim):
        raise BadInput(
            "the habitat simulator is closed; open a new one, and pass that or the environment that holds it"
        )


def setting(holder: Any, *names: str) -> Any:
    """A setting of the simulator that an environment holds, such as ``AUDIO``, ``RIR_SAMPLING_RATE``, or ``None``.

    The outermost configuration that has it counts: SoundSpaces' own simulator has it, the one inside does not. Names
    are found in lower case, too, as newer configurations write them.
    """
    for thing in holders(holder):
        for config in (peek(thing, name) for name in _CONFIGS):
            for branch in _BRANCHES if config is not None else ():
                for way in ((*branch, *names), (*branch, *(name.lower() for name in names))):
                    if (value := _follow(config, way)) is not None:
                        return value
    return None


def _follow(config: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        config = peek(config, name)
    return config


def module_of(sim: Any) -> ModuleType | None:
    """The module ``habitat_sim`` that a live simulator comes from, if it comes from one."""
    for ancestor in type(sim).__mro__:
        if ancestor.__module__.split(".")[0] == "habitat_sim":
            return sys.modules.get("habitat_sim")
    return None


def build_of(sim: Any) -> Build:
    """What the build can do; touches classes only, never an audio sensor."""
    module = module_of(sim)
    if module is None:
        return Build(False, "unknown, as the simulator is no habitat_sim.Simulator")
    if not getattr(module, "audio_enabled", False):
        return Build(False, "built without audio")
    if hasattr(getattr(module, "AudioSensor", None), "sourceIsVisible") or hasattr(
        getattr(module, "RLRAudioPropagationConfiguration", None), "maxIRLength"
    ):
        return Build(True, "branch RLRAudioPropagationUpdate")
    return Build(True, "main, 0.3.4 or later" if hasattr(sim, "create_sensor") else "main, up to 0.3.3")


def listener_of(sim: Any, agent_id: int, ear_height_m: float) -> Listener:
    """Where the agent's ears are and whither it faces; a tilt of the agent is dropped."""
    check_open(sim)
    try:
        state = sim.get_agent(agent_id).get_state()
    except (IndexError, KeyError) as error:
        raise BadInput(f"habitat has no agent {agent_id}; agents are counted from 0") from error
    x, y, z = vector(state.position)
    return Listener((x, y + ear_height_m, z), heading_from_habitat_quaternion(_wxyz(state.rotation)))


def rooms_of(sim: Any) -> list[RoomBox]:
    """Regions of the semantic scene that have an extent; empty where the data set has none.

    ``BBox`` (up to 0.3.2) has properties ``center`` and ``sizes``, ``Range3D`` (from 0.3.3) methods ``center`` and
    ``size``; both are read.
    """
    check_open(sim)
    found = []
    for region in peek(peek(sim, "semantic_scene"), "regions") or ():
        corners = _corners(peek(region, "aabb"))
        if corners is None:
            continue
        level = _corners(peek(peek(region, "level"), "aabb"))
        floor = level[0][1] if level else corners[0][1]
        found.append(RoomBox(str(peek(region, "id")), _category(region), *corners, floor))
    return found


def room_at(rooms: list[RoomBox], floor_point_m: Vector) -> RoomBox | None:
    """The room a point on the floor belongs to: of the boxes that hold it, the smallest on the nearest level.

    habitat-sim's own ``region.contains`` is always false for Matterport3D, whose reader fills no outline.
    """
    around = [room for room in rooms if room.contains(floor_point_m)]
    if not around:
        return None
    floor = min((room.floor_m for room in around), key=lambda height: abs(height - floor_point_m[1]))
    return min((room for room in around if abs(room.floor_m - floor) < 0.5), key=lambda room: room.volume_m3)


def scene_file(sim: Any) -> str | None:
    """What the simulator was told to open: a file, or the name of a scene of its data set."""
    name = peek(peek(peek(sim, "config"), "sim_cfg"), "scene_id")
    return str(name) if name and str(name).upper() != "NONE" else None


def dataset_file(sim: Any) -> str | None:
    """The scene data set configuration the simulator was opened with."""
    name = peek(peek(peek(sim, "config"), "sim_cfg"), "scene_dataset_config_file")
    return str(name) if name and str(name) != "default" else None


def vector(value: Any) -> Vector:
    """Three floats of a numpy, Eigen or magnum vector."""
    return (float(value[0]), float(value[1]), float(value[2]))


def peek(thing: Any, name: str) -> Any:
    """An attribute, or ``None``: wrappers raise all sorts of errors for names they do not pass on."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def _wxyz(rotation: Any) -> tuple[float, float, float, float]:
    if hasattr(rotation, "w"):  # numpy-quaternion
        return (float(rotation.w), float(rotation.x), float(rotation.y), float(rotation.z))
    if hasattr(rotation, "scalar"):  # magnum
        return (float(rotation.scalar), *vector(rotation.vector))
    x, y, z, w = (float(v) for v in rotation)  # habitat writes coefficients with w last
    return (w, x, y, z)


def _corners(box: Any) -> tuple[Vector, Vector] | None:
    if box is None:
        return None
    center, size = peek(box, "center"), peek(box, "sizes")
    if callable(center):
        center, size = center(), box.size()
    if center is None or size is None:
        return None
    middle, half = np.array(vector(center)), np.array(vector(size)) / 2
    if not (np.isfinite([middle, half]).all() and (half > 0).all()):  # an empty region has an inverted box
        return None
    return vector(middle - half), vector(middle + half)


def _category(region: Any) -> str:
    try:
        return str(region.category.name()) or "unknown"
    except Exception:  # label codes outside habitat-sim's own table raise a C++ error
        return "unknown"
