"""Reading a live habitat simulator: build, pose, rooms and mesh, whatever its generation.

Nothing here imports ``habitat_sim``, except :func:`open_simulator`; a live simulator is recognised by what it has. No
decision looks at ``habitat_sim.__version__``, which is wrong in several releases: what a build can do is asked of its
classes. habitat-sim itself was not run with this module; signatures are from its source (v0.2.2 … v0.3.4 and the branch
``RLRAudioPropagationUpdate``), and the tests use a stand-in with the same ones.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from bat_agent.errors import BadInput, PluginError
from bat_agent.scene import Listener, Vector, heading_from_habitat_quaternion

HOLDERS = ("sim", "_sim", "habitat_env", "_habitat_env", "unwrapped", "env", "_env")
"""Attributes under which environments and their wrappers keep a simulator or another environment."""
MESHES = (".glb", ".gltf", ".obj", ".ply")


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


def find_simulator(holder: Any) -> Any:
    """The ``habitat_sim.Simulator`` that ``holder`` is or holds, at whatever depth of wrappers.

    Raises :class:`~bat_agent.errors.BadInput` where there is none.
    """
    backend = getattr(sys.modules.get("habitat_sim"), "Simulator", None)
    queue, seen, alike = deque([(holder, 0)]), {id(holder)}, []
    while queue:
        thing, depth = queue.popleft()
        if backend is not None and isinstance(thing, backend):
            return thing
        if callable(_peek(thing, "get_agent")) and _peek(thing, "pathfinder") is not None:
            alike.append(thing)
        for name in HOLDERS if depth < 12 else ():
            inner = _peek(thing, name)
            if inner is not None and id(inner) not in seen and not isinstance(inner, str | int | float | bool):
                seen.add(id(inner))
                queue.append((inner, depth + 1))
    if alike:
        return alike[0]
    raise BadInput(
        f"'{type(holder).__name__}' neither is nor holds a habitat simulator; pass a habitat_sim.Simulator or an "
        f"environment that keeps one in .sim, .habitat_env.sim or .unwrapped"
    )


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
    found = []
    for region in _peek(_peek(sim, "semantic_scene"), "regions") or ():
        corners = _corners(_peek(region, "aabb"))
        if corners is None:
            continue
        level = _corners(_peek(_peek(region, "level"), "aabb"))
        floor = level[0][1] if level else corners[0][1]
        found.append(RoomBox(str(_peek(region, "id")), _category(region), *corners, floor))
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
    name = _peek(_peek(_peek(sim, "config"), "sim_cfg"), "scene_id")
    return str(name) if name and str(name).upper() != "NONE" else None


def dataset_file(sim: Any) -> str | None:
    """The scene data set configuration the simulator was opened with."""
    name = _peek(_peek(_peek(sim, "config"), "sim_cfg"), "scene_dataset_config_file")
    return str(name) if name and str(name) != "default" else None


def mesh_file(sim: Any, override: str | None = None) -> str:
    """File of the mesh of the present stage.

    Raises :class:`~bat_agent.errors.BadInput` where none of the names the simulator gives is a mesh file.
    """
    stage = _stage(sim)
    names = [override] if override else [_peek(stage, "render_asset_fullpath"), _peek(stage, "render_asset_handle")]
    for name in [*names, None if override else scene_file(sim)]:
        if name and Path(str(name)).suffix.lower() in MESHES and Path(str(name)).is_file():
            return str(name)
    tried = override or scene_file(sim) or "no scene at all"
    raise BadInput(
        f"the mesh of the habitat scene cannot be found ({tried} is no {', '.join(MESHES)} file here); give it as "
        f"option mesh"
    )


def up_axis(sim: Any) -> Literal["y", "z"]:
    """Vertical axis of the stage's mesh file, as its data set says; habitat-sim turns it to +y when it loads it."""
    up = _peek(_stage(sim), "orient_up")
    return "y" if up is None or abs(float(up[1])) >= abs(float(up[2])) else "z"


def has_vertex_semantics(mesh: str) -> bool:
    """Whether a semantic mesh with one object per vertex lies beside the stage, as Matterport3D and Gibson have it.

    Only with these can habitat's audio sensor use materials: Replica crashes it, and HM3D keeps its semantics in
    textures.
    """
    path = Path(mesh)
    return path.with_name(f"{path.stem}_semantic.ply").is_file()


def missing_habitat() -> tuple[str, str] | None:
    """What is missing to open a scene and what to do about it; ``None`` where all is there. Imports nothing."""
    for name in ("habitat_sim", "quaternion"):
        if sys.modules.get(name) is None and importlib.util.find_spec(name) is None:
            return (
                f"{name} is not installed, so it opens no scenes",
                "install habitat-sim with conda (channels conda-forge, aihabitat); it is on no package index",
            )
    return None


def open_simulator(scene: str, dataset: str | None) -> Any:
    """Open a scene in habitat-sim with one agent and no camera, so that no graphics context is needed.

    Raises :class:`~bat_agent.errors.PluginError` without habitat-sim, :class:`~bat_agent.errors.BadInput` without the
    scene.
    """
    try:
        # Imported after habitat_sim, numpy-quaternion ends the process: "free(): invalid pointer".
        importlib.import_module("quaternion")
        habitat_sim = importlib.import_module("habitat_sim")
    except ImportError as error:
        raise PluginError(
            f"simulator 'habitat' needs habitat-sim, which is on no package index ({error}); install it with conda "
            f"(channels conda-forge, aihabitat) or render the mesh with simulator 'soundspaces'"
        ) from error
    for what, name in (("scene", scene), ("dataset", dataset)):
        # Without a data set, a scene is a file; with one, it may also be a name from it.
        if name and (what == "dataset" or dataset is None) and not Path(name).is_file():
            raise BadInput(f"habitat {what} '{name}' does not exist; give the path of the file")
    settings = habitat_sim.SimulatorConfiguration()
    settings.scene_id = scene
    if dataset:
        settings.scene_dataset_config_file = dataset
    settings.load_semantic_mesh = True
    settings.enable_physics = False
    return habitat_sim.Simulator(habitat_sim.Configuration(settings, [habitat_sim.agent.AgentConfiguration()]))


def vector(value: Any) -> Vector:
    """Three floats of a numpy, Eigen or magnum vector."""
    return (float(value[0]), float(value[1]), float(value[2]))


def _peek(thing: Any, name: str) -> Any:
    """An attribute, or ``None``: wrappers raise all sorts of errors for names they do not pass on."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def _stage(sim: Any) -> Any:
    with contextlib.suppress(Exception):  # a scene without a stage raises one error or another
        return sim.get_stage_initialization_template()
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
    center, size = _peek(box, "center"), _peek(box, "sizes")
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
