"""A stand-in for ``habitat_sim``: the signatures of each generation, with sound and space simple enough to know.

Written from habitat-sim's source (bindings, ``simulator.py``, ``agent.py``, ``AudioSensor.cpp`` of v0.2.2 … v0.3.4 and
of the branch ``RLRAudioPropagationUpdate``); it is no copy and no measurement of it. What would end the process in C++
is an :class:`Abort` here, which no ``except Exception`` catches.

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
from habitat_stand_in import house
from habitat_stand_in.generations import GENERATIONS, Abort, Generation

__all__ = ["GENERATIONS", "Abort", "Generation", "house", "make_module", "open_house", "sound"]


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
            self, config: Any, *, semantics: bool = True, navmesh: bool = True, nan_share: float = 0.3
        ) -> None:
            self.config = config
            self.pathfinder = house.PathFinder(generation, navmesh, nan_share)
            box = house.BBox if generation.box == "BBox" else house.Range3D
            self.semantic_scene = house.semantic_scene(box) if semantics else None
            self._root = house.SceneNode()
            self.agents = [house.Agent(self._root.create_child())]
            self._registered: dict[str, Any] = {}
            self.closed = False

        def get_agent(self, agent_id: int) -> house.Agent:
            return self.agents[agent_id]

        def get_active_scene_graph(self) -> Any:
            return types.SimpleNamespace(get_root_node=lambda: self._root)

        def get_stage_initialization_template(self) -> Any:
            return types.SimpleNamespace(
                render_asset_handle=self.config.sim_cfg.scene_id, orient_up=np.array(self.config.sim_cfg.orient_up)
            )

        def add_sensor(self, spec: Any) -> None:
            self.agents[0].scene_node.own[spec.uuid] = self._registered[spec.uuid] = spec

        def get_sensor_observations(self) -> dict[str, Any]:
            """Renders whatever is registered; up to 0.3.3 audio must be called audio_sensor."""
            observed = OrderedDict()
            for uuid, spec in self._registered.items():
                if isinstance(spec, module.AudioSensorSpec) and uuid != "audio_sensor" and not generation.create_sensor:
                    raise KeyError("audio_sensor")
                observed[uuid] = spec
            return observed

        def close(self, destroy: bool = True) -> None:
            self.closed = True

    Simulator.__module__ = "habitat_sim.simulator"
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
        scene_id="NONE", scene_dataset_config_file="default", orient_up=(0.0, 1.0, 0.0), random_seed=0
    )
    module.Configuration = lambda sim_cfg, agents: types.SimpleNamespace(sim_cfg=sim_cfg, agents=agents)
    module.agent = types.SimpleNamespace(AgentConfiguration=types.SimpleNamespace)
    return module


def open_house(module: Any, scene: Path | str, **options: Any) -> Any:
    """A live simulator of the stand-in."""
    settings = module.SimulatorConfiguration()
    settings.scene_id = str(scene)
    return module.Simulator(module.Configuration(settings, [module.agent.AgentConfiguration()]), **options)
