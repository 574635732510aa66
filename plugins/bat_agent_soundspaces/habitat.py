"""The simulator ``habitat``: pose, navmesh and rooms of a live habitat simulator, with sound that can be trusted.

habitat-sim is never a dependency and never imported before a scene is opened. Its own audio sensor renders only where
the build has audio and the sensor passes a test with sources to the right, to the left and in front
(:mod:`bat_agent_soundspaces.habitat_sensor` says why); otherwise the simulator ``soundspaces`` renders the same mesh
with the same acoustic engine. The tests use a stand-in with the signatures of each generation of habitat-sim and with
what a real 0.2.2 did when it was run; ``tests/habitat_real`` asks the same of whichever build is installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bat_agent.errors import BadInput, BatAgentError
from bat_agent.interfaces import SAMPLE_RATE_HZ, Simulator
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, MeshRoom, Scene, Source, Vector, check_outside_head
from bat_agent_soundspaces import habitat_api as api
from bat_agent_soundspaces import habitat_stage as stage
from bat_agent_soundspaces.config import PRESETS
from bat_agent_soundspaces.engine import LEAST_DISTANCE_M
from bat_agent_soundspaces.habitat_config import HabitatConfig
from bat_agent_soundspaces.habitat_navmesh import Navmesh, draw_places, placements
from bat_agent_soundspaces.habitat_opening import open_simulator
from bat_agent_soundspaces.habitat_sensor import AudioSensor, SelfTest, SensorRefused, SensorSettings, align, self_test
from bat_agent_soundspaces.library import open_materials, open_mesh
from bat_agent_soundspaces.materials import default_materials_path
from bat_agent_soundspaces.placement import check_position

__all__ = ["Habitat", "HabitatConfig", "report"]

TEST_PLACES = 3
logger = logging.getLogger(__name__)


class Habitat:
    """Room impulse responses in the scene of a habitat simulator; see :class:`bat_agent.interfaces.Simulator`.

    Build it with :meth:`from_simulator` from a live simulator or environment, or from a config that names a scene,
    which is then opened on first use.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, config: HabitatConfig | None = None) -> None:
        self.config = config or HabitatConfig()
        self._holder: Any = None
        self._sim: Any = None
        self._opened = False
        self._test: SelfTest | None = None
        self._renderer: Literal["sensor", "engine"] | None = None
        self._engine: Any = None
        self._sensor: AudioSensor | None = None
        self._sensor_mesh = ""
        self._heard: Scene | None = None

    @classmethod
    def from_simulator(cls, sim_or_env: Any, **options: Any) -> Habitat:
        """Listen in a live ``habitat_sim.Simulator``, or in an environment or wrapper that holds one.

        ``options`` are the fields of :class:`HabitatConfig`. Raises :class:`~bat_agent.errors.BadInput` for an object
        without a simulator and for an unknown option.
        """
        known = [field.name for field in dataclasses.fields(HabitatConfig)]
        if unknown := sorted(set(options) - set(known)):
            raise BadInput(f"simulator 'habitat' has no option '{unknown[0]}', expected one of {', '.join(known)}")
        habitat = cls(HabitatConfig(**options))
        habitat._holder, habitat._sim = sim_or_env, api.find_simulator(sim_or_env)
        return habitat

    @property
    def sim(self) -> Any:
        """The live simulator, opened if need be.

        An environment may have closed its simulator and made another one, as SoundSpaces does for another scene: then
        that is found. Raises :class:`~bat_agent.errors.BadInput` where there is none but a closed one.
        """
        if self._sim is not None and not self._opened and api.is_closed(self._sim):
            self._leave_sensor()
            self._sim = api.find_simulator(self._holder)
        if self._sim is None:
            if self.config.scene is None:
                raise BadInput(
                    "simulator 'habitat' has no scene; give option scene, or use Habitat.from_simulator with a live one"
                )
            self._sim = open_simulator(self.config.scene, self.config.dataset)
            self._opened = True
        return self._sim

    @property
    def renderer(self) -> Literal["sensor", "engine"]:
        """Who renders: habitat's audio ``sensor`` or the SoundSpaces ``engine``; decided, and logged, once."""
        if self._renderer is None:
            self._renderer = self._decide()
        return self._renderer

    @property
    def options(self) -> dict[str, Any]:
        """What ``load_simulator("habitat", …)`` needs to render the same scenes in the same way."""
        config = self.config
        return {
            "scene": config.scene or api.scene_file(self.sim),
            "dataset": config.dataset or api.dataset_file(self.sim),
            "mesh": config.mesh,
            "materials": config.materials,
            "audio": self.renderer,
            "quality": config.quality,
            "threads": config.threads,
            "max_seconds": config.max_seconds,
            "engine": dict(config.engine),
        }

    # --- where things are ---

    def listener(self) -> Listener:
        """The agent's head, as it stands now."""
        return api.listener_of(self.sim, self.config.agent_id, self.config.ear_height_m)

    def rooms(self) -> list[api.RoomBox]:
        """Rooms of the scene; empty where its data set has none."""
        return api.rooms_of(self.sim)

    def room(self) -> api.RoomBox | None:
        """The room the agent stands in."""
        return self.room_of(self.listener())

    def room_of(self, listener: Listener) -> api.RoomBox | None:
        """The room a listener stands in; ``None`` outside, and where the scene has none."""
        x, y, z = listener.position_m
        return api.room_at(self.rooms(), (x, y - self.config.ear_height_m, z))

    @property
    def navmesh(self) -> Navmesh:
        """Where one can stand."""
        return Navmesh(self.sim.pathfinder)

    # --- scenes ---

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        """Draw a listener who stands on the navmesh, ears at 1.5 m, and sources in the same room; the agent stays.

        Reseeds habitat-sim's random points, whose generator is global to the process. Raises
        :class:`~bat_agent.errors.BadInput` without a navmesh.
        """
        ears, sources = draw_places(self.navmesh, self.rooms(), self.config, rng, num_sources, self._in_air)
        heading = float(rng.uniform(0, 360)) if self.config.random_heading else 0.0
        return self._scene(Listener(ears, heading), tuple(Source(s) for s in sources), int(rng.integers(2**31)))

    def sample_placements(self, scene: Scene, rng: np.random.Generator, count: int) -> list[Scene]:
        """Other listeners, and as many sources, in the room in which the listener of ``scene`` stands.

        In a scene without rooms they may stand anywhere. Raises :class:`~bat_agent.errors.BadInput` where nothing fits.
        """
        self._check(scene)
        drawn = placements(
            self.navmesh, self.rooms(), self.config, rng, scene.listener.position_m, len(scene.sources), self._in_air
        )
        found = []
        for _ in range(count):
            ears, sources = next(drawn)
            heading = float(rng.uniform(0, 360)) if self.config.random_heading else 0.0
            placed = tuple(Source(source) for source in sources)
            seed = int(rng.integers(2**31))
            found.append(dataclasses.replace(scene, listener=Listener(ears, heading), sources=placed, seed=seed))
        return found

    def scene(self, sources: Sequence[Source | Vector] | np.ndarray, seed: int = 0) -> Scene:
        """The scene that the agent hears from where it stands; positions of sources are in habitat's world, metres."""
        placed = tuple(source if isinstance(source, Source) else Source(source) for source in sources)
        return self._scene(self.listener(), placed, seed)

    def _scene(self, listener: Listener, sources: tuple[Source, ...], seed: int) -> Scene:
        simulator = {"name": "habitat", "options": self.options}
        if self.renderer == "engine":  # then the scene can be rendered again where there is no habitat-sim
            simulator = {"name": "soundspaces", "options": self._engine_options()}
        return Scene(self._mesh_room(), listener, sources, seed, self.config.onset, simulator)

    def _mesh_room(self) -> MeshRoom:
        mesh, materials = self._mesh(), self.config.materials
        if self.renderer == "sensor":
            return MeshRoom(mesh, materials)
        fingerprints = {"mesh_sha256": open_mesh(Path(mesh))[1], "materials_sha256": open_materials(materials)[1]}
        return MeshRoom(mesh, materials, fingerprints)

    def _mesh(self) -> str:
        """File of the stage's mesh, and for the engine one whose frame is habitat's."""
        mesh = stage.mesh_file(self.sim, self.config.mesh)
        if self.config.mesh is not None or self.renderer == "sensor":
            return mesh
        return stage.upright_mesh(self.sim, mesh, self.config.engine.get("cache"))

    def _in_air(self, place: Vector) -> bool:
        """Whether a place is in enclosed air: the engine takes no other, and of the navmesh roofs are part, too."""
        if self.renderer == "sensor" and self.rooms():
            return True
        try:
            mesh = open_mesh(Path(self._mesh()))[0]
        except BatAgentError:
            if self.renderer == "engine":
                raise
            return True  # a file that habitat reads and we do not
        with contextlib.suppress(BadInput):
            check_position(mesh, place, "a drawn place")
            return True
        return False

    # --- sound ---

    def render(self, scene: Scene) -> list[Tensor]:
        """One RIR (2, taps) float32 per source, left ear first; the same scene gives the same bytes.

        For that, every call takes a fresh acoustic context, which costs loading the mesh; :meth:`render_next` does not.
        """
        self._check(scene)
        if self.renderer == "engine":
            return self._the_engine().render(scene)
        self._drop_sensor()
        return self._render_with_sensor(scene)

    def render_next(self, scene: Scene, previous: Scene | None = None) -> list[Tensor]:
        """As :meth:`render`; with habitat's sensor in the context of the scene one step ago: faster, and random.

        The engine renders each step anew: directions are heard worse in reflections that it decodes for a turned head.
        """
        self._check(scene)
        if self.renderer == "sensor":
            return self._render_with_sensor(scene)
        return self._the_engine().render(scene)

    def listen(self, sources: Sequence[Source | Vector] | np.ndarray) -> list[Tensor]:
        """RIRs of sources at the agent's present pose, a step after the last call: see :meth:`render_next`."""
        scene = self.scene(sources)
        rirs = self.render_next(scene, self._heard)
        self._heard = scene
        return rirs

    def begin(self) -> None:
        """An episode begins: what is rendered next has a fresh acoustic context."""
        self._drop_sensor()
        self._heard = None

    def close(self) -> None:
        """Take the sensor out of the scene, end the engine; close the simulator too if it was opened here."""
        self.begin()
        if hasattr(self._engine, "close"):
            self._engine.close()
        if self._opened:
            self._sim.close()
            self._sim, self._opened = None, False

    def _check(self, scene: Scene) -> None:
        mesh = self._mesh()
        if not isinstance(scene.room, MeshRoom) or Path(scene.room.path).resolve() != Path(mesh).resolve():
            asked = scene.room.path if isinstance(scene.room, MeshRoom) else "a rectangular room"
            raise BadInput(f"habitat has {mesh} open but the scene is in {asked}; open that scene first")
        check_outside_head(scene.listener.position_m, [source.position_m for source in scene.sources], LEAST_DISTANCE_M)

    # --- habitat's own sensor ---

    def _render_with_sensor(self, scene: Scene) -> list[Tensor]:
        assert self._test is not None  # the renderer is the sensor only after its test
        sensor = self._live_sensor(scene)
        rirs, most = [], round(self.config.max_seconds * SAMPLE_RATE_HZ)
        for source in scene.sources:
            try:
                samples = sensor.render(scene.listener, source.position_m)
            except SensorRefused as refused:
                raise BadInput(
                    f"habitat's audio sensor gives nothing for the source at {source.position_m}: {refused}; is it "
                    f"outside the scene? Otherwise set audio='engine'"
                ) from refused
            distance = math.dist(source.position_m, scene.listener.position_m)
            aligned = align(samples, distance, self._test, scene.onset)
            rirs.append(torch.from_numpy(np.ascontiguousarray(aligned[:, :most])))
        return rirs

    def _live_sensor(self, scene: Scene) -> AudioSensor:
        assert isinstance(scene.room, MeshRoom)
        if self._sensor is not None and self._sensor_mesh != scene.room.path:
            self._leave_sensor()
        if self._sensor is None:
            self._sensor = AudioSensor(self.sim, self._settings(scene.room))
            self._sensor_mesh = scene.room.path
        return self._sensor

    def _settings(self, room: MeshRoom) -> SensorSettings:
        rays, depth = PRESETS[self.config.quality]
        table = room.materials or str(default_materials_path())
        materials = table if stage.has_vertex_semantics(room.path) else None
        return SensorSettings(rays, depth, self.config.threads, self.config.max_seconds, materials)

    def _drop_sensor(self) -> None:
        if self._sensor is not None and not api.is_closed(self._sim):
            if self._sensor_mesh == stage.mesh_file(self._sim, self.config.mesh):
                self._sensor.close()
            self._sensor = None
        self._leave_sensor()

    def _leave_sensor(self) -> None:
        """With its scene, habitat-sim has destroyed the node the sensor hung on: it must not be touched."""
        if self._sensor is not None:
            self._sensor.abandon()
        self._sensor = None

    # --- the SoundSpaces engine ---

    def _engine_options(self) -> dict[str, Any]:
        engine = self._the_engine()
        return dict(getattr(engine, "options", None) or self._wanted_of_engine())

    def _wanted_of_engine(self) -> dict[str, Any]:
        return {"quality": self.config.quality, "max_seconds": self.config.max_seconds, **self.config.engine}

    def _the_engine(self) -> Simulator:
        if self._engine is None:
            self._engine = load_simulator("soundspaces", **self._wanted_of_engine())
        return self._engine

    # --- which of the two ---

    def _decide(self) -> Literal["sensor", "engine"]:
        if self.config.audio == "engine":
            logger.info("habitat: the SoundSpaces engine renders, as asked")
            return "engine"
        test = self.test_sensor()
        if test.passed:
            logger.info("habitat: its audio sensor renders; self-test %s", test)
            return "sensor"
        if self.config.audio == "sensor":
            raise BadInput(f"habitat's audio sensor cannot be used: {test.reason}; set audio='auto' or audio='engine'")
        logger.warning("habitat: the SoundSpaces engine renders, not habitat's audio sensor: %s", test.reason)
        return "engine"

    def test_sensor(self) -> SelfTest:
        """Test habitat's audio sensor, once; a build without audio is not touched."""
        if self._test is None:
            build = api.build_of(self.sim)
            if build.audio:
                self._test = self_test(self.sim, self._test_places())
            else:
                self._test = SelfTest(False, build.generation, {})
        return self._test

    def _test_places(self) -> list[tuple[Vector, float]]:
        """The clearest places of the scene at ear height; where the agent stands, without a navmesh."""
        ears = self.listener().position_m
        navmesh, height = self.navmesh, self.config.ear_height_m
        if not navmesh.loaded:
            return [(ears, 0.5)]
        clear = navmesh.clear_places((ears[0], ears[1] - height, ears[2]))[:TEST_PLACES]
        return [((x, y + height, z), 0.9 * free) for free, (x, y, z) in clear]


def report(sim_or_env: Any) -> list[str]:
    """What ``bat-agent`` finds in a habitat simulator, a line each: build, self-test, navmesh, rooms, meshes.

    Runs the self-test, if the build has audio. Raises :class:`~bat_agent.errors.BadInput` for any other object.
    """
    habitat = Habitat.from_simulator(sim_or_env)
    sim, build = habitat.sim, api.build_of(habitat.sim)
    lines = [f"habitat-sim: {'audio' if build.audio else 'no audio'} ({build.generation})"]
    test = habitat.test_sensor()
    lines.append(
        f"audio sensor: {f'self-test {test}' if build.audio else 'not touched, as this would end the process'}"
    )
    lines.append(f"renders with: {'habitat audio sensor' if test.passed else 'SoundSpaces engine'}")
    navmesh = habitat.navmesh
    lines.append(f"navmesh: {'loaded' if navmesh.loaded else 'not loaded, so no scenes can be drawn'}")
    rooms = habitat.rooms()
    lines.append(f"rooms: {len(rooms) or 'none, so sources are drawn where one can walk in a straight line'}")
    mesh = None
    with contextlib.suppress(BadInput):
        mesh = stage.mesh_file(sim)
    lines.append(f"mesh: {mesh or 'not found; give it as option mesh'}")
    semantic = mesh is not None and stage.has_vertex_semantics(mesh)
    lines.append(f"semantic mesh: {'beside the stage' if semantic else 'none, so one material for everything'}")
    habitat.close()
    return lines
