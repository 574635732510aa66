"""A stand-in for ``habitat_sim``: the signatures of each generation, with sound and space simple enough to know.

Written from habitat-sim's source (bindings, ``simulator.py``, ``agent.py``, ``AudioSensor.cpp`` of v0.2.2 … v0.3.4 and
of the branch ``RLRAudioPropagationUpdate``), and corrected by what a real one did when it was run: ``facts.py`` lists
that, with the build. It is no copy. What would end the process in C++ is an :class:`Abort` here, which no
``except Exception`` catches.

The house: living room (x 0…6) and bedroom (x 6…12), z 0…5, 3 m high, with a door at z 2…3, a closet in a
corner of the living room (x 0…1.5, z 3.5…5), and an attic over it. A table top is an island of the navmesh.
"""

from __future__ import annotations

import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from habitat_stand_in import audio as sound
from habitat_stand_in import facts, house
from habitat_stand_in.generations import GENERATIONS, Abort, Generation

__all__ = ["GENERATIONS", "Abort", "Camera", "Generation", "facts", "house", "make_module", "open_house", "sound"]


def _factory_class(module: Any) -> type:
    class SensorFactory:
        @staticmethod
        def create_sensors(node: house.SceneNode, specs: list[Any]) -> dict[str, Any]:
            made = {}
            for spec in specs:
                if isinstance(spec, module.AudioSensorSpec) and not module.audio_enabled:
                    raise Abort("CHECK_AUDIO_FLAG: AudioSensorSpec::sanityCheck")
                child = node.create_child()
                made[spec.uuid] = child.own[spec.uuid] = module.AudioSensor(child, spec)
            return made

        @staticmethod
        def delete_sensor(sensor: Any) -> None:
            module.events.append(("delete", sensor._spec.uuid))
            sensor.node.own.clear()

    return SensorFactory


def _simulator_class(module: Any, generation: Generation) -> type:
    class Simulator:
        def __init__(
            self, config: Any, *, semantics: bool = True, navmesh: bool = True, nan_share: float = 0.0
        ) -> None:
            self.config = config
            scene = config.sim_cfg.scene_id
            if not Path(scene).is_file() or Path(scene).read_bytes()[:4] != b"glTF":
                raise AssertionError("ESP_CHECK failed: No Stage Attributes exists for requested scene")
            self._finder: Any = house.PathFinder(generation, navmesh, nan_share)
            box = house.BBox if generation.box == "BBox" else house.Range3D
            self._semantics = house.semantic_scene(box) if semantics else None
            self._root = house.SceneNode()
            self.agents = [house.Agent(self._root.create_child(), agent) for agent in config.agents]
            self._registered: dict[str, Any] = {}
            self.seeds: list[int] = []
            self.closed = False

        def _open(self) -> None:
            if self.closed:
                raise Abort("segmentation fault: the simulator is closed")

        @property
        def pathfinder(self) -> Any:
            return self._finder

        @property
        def semantic_scene(self) -> Any:
            self._open()
            return self._semantics

        def seed(self, new_seed: int) -> None:
            self._open()
            assert 0 <= new_seed < facts.SEEDS
            self.seeds.append(new_seed)
            self._finder.seed(new_seed)

        def get_agent(self, agent_id: int) -> house.Agent:
            return self.agents[agent_id]

        def get_active_scene_graph(self) -> Any:
            self._open()
            return types.SimpleNamespace(get_root_node=lambda: self._root)

        def get_stage_initialization_template(self) -> Any:
            self._open()
            settings = self.config.sim_cfg
            laid = str(settings.scene_id).endswith(".glb") and settings.scene_dataset_config_file == "default"
            up, front = ((0, 0, 1), (0, 1, 0)) if laid else (settings.orient_up, settings.orient_front)
            return types.SimpleNamespace(
                render_asset_handle=settings.scene_id, orient_up=np.array(up), orient_front=np.array(front)
            )

        def add_sensor(self, spec: Any) -> None:
            self._open()
            if isinstance(spec, module.AudioSensorSpec) and not module.audio_enabled:
                raise Abort("CHECK_AUDIO_FLAG: AudioSensorSpec::sanityCheck")
            self.agents[0].scene_node.own[spec.uuid] = self._registered[spec.uuid] = spec

        def get_sensor_observations(self, agent_ids: Any = 0) -> dict[Any, Any]:
            """Renders whatever is registered; up to 0.3.3 audio must be called audio_sensor."""
            self._open()
            if not isinstance(agent_ids, int):
                return {agent: self.get_sensor_observations(agent) for agent in agent_ids}
            observed: dict[Any, Any] = OrderedDict()
            for uuid, spec in self._registered.items() if agent_ids == 0 else ():
                if isinstance(spec, module.AudioSensorSpec) and uuid != "audio_sensor" and not generation.create_sensor:
                    raise KeyError("audio_sensor")
                observed[uuid] = spec.draw() if hasattr(spec, "draw") else spec
            return observed

        def reset(self, agent_ids: Any = None) -> dict[Any, Any]:
            self._open()
            for agent in self.agents:
                agent.back()
            return self.get_sensor_observations(0 if agent_ids is None else agent_ids)

        def step(self, action: Any, dt: float = 1 / 60) -> dict[Any, Any]:
            self._open()
            if not isinstance(action, dict):
                return self.step({0: action})[0]
            found = {}
            for agent, one in action.items():
                collided = self.get_agent(agent).act(one)
                found[agent] = self.get_sensor_observations(agent) | {"collided": collided}
            return found

        def close(self, destroy: bool = True) -> None:
            self.closed, self._finder, self.agents = True, None, []

    Simulator.__module__ = "habitat_sim.simulator"
    Simulator.__hash__ = None  # type: ignore[assignment]
    if generation.create_sensor:
        Simulator.create_sensor = lambda self, spec, node=None: None  # type: ignore[attr-defined]
    return Simulator


def make_module(generation: Generation, *, audio: bool = True) -> Any:
    """A module ``habitat_sim`` of one generation; ``events`` tells what its audio sensors were made to do."""
    module: Any = types.ModuleType("habitat_sim")
    module.__version__, module.audio_enabled, module.events = generation.version, audio, []
    module.Simulator = _simulator_class(module, generation)
    if audio:
        sound.add_audio_classes(module, generation)
        module.AudioSensor = sound.sensor_class(generation, module.events, module.Simulator)
    else:
        sound.add_silent_classes(module)
    module.SensorFactory = _factory_class(module)
    module.SimulatorConfiguration = lambda: types.SimpleNamespace(
        scene_id="NONE", scene_dataset_config_file="default", random_seed=0,
        orient_up=(0.0, 1.0, 0.0), orient_front=(0.0, 0.0, -1.0),
    )  # fmt: skip
    module.Configuration = lambda sim_cfg, agents: types.SimpleNamespace(sim_cfg=sim_cfg, agents=agents)
    actions = {name: name for name in ("move_forward", "turn_left", "turn_right")}
    module.agent = types.SimpleNamespace(AgentConfiguration=lambda: types.SimpleNamespace(action_space=dict(actions)))
    return module


def open_house(
    module: Any, scene: Path | str, *, agents: int = 1, actions: dict[Any, str] | None = None, **options: Any
) -> Any:
    """A live simulator of the stand-in; ``actions``: key of each action of its agents → what it does."""
    settings = module.SimulatorConfiguration()
    settings.scene_id, settings.scene_dataset_config_file = str(scene), "house.scene_dataset_config.json"
    agent_configs = [module.agent.AgentConfiguration() for _ in range(agents)]
    for config in agent_configs if actions else ():
        config.action_space = actions
    return module.Simulator(module.Configuration(settings, agent_configs), **options)


class Camera:
    """What ``add_sensor`` takes for a camera that sees the number of the images it took."""

    uuid = "color_sensor"

    def __init__(self) -> None:
        self.taken = 0

    def draw(self) -> np.ndarray:
        self.taken += 1
        return np.full((4, 6, 4), self.taken % 256, np.uint8)
