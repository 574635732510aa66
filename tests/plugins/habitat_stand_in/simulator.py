"""The stand-in's ``Simulator``: what would end the process in C++ is an :class:`~.generations.Abort`."""

from __future__ import annotations

import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from habitat_stand_in import facts, house
from habitat_stand_in.generations import Abort, Generation


def simulator_class(module: Any, generation: Generation) -> type:
    """``Simulator`` of a module ``habitat_sim`` of one generation, under the name it has there."""
    made: Any = type("Simulator", (Simulator,), {"of_module": module, "generation": generation, "__hash__": None})
    made.__module__ = "habitat_sim.simulator"
    if generation.create_sensor:
        made.create_sensor = lambda self, spec, node=None: None
    return made


class Simulator:
    of_module: Any
    generation: Generation

    def __init__(self, config: Any, *, semantics: bool = True, navmesh: bool = True, nan_share: float = 0.0) -> None:
        self.config = config
        scene = config.sim_cfg.scene_id
        if not Path(scene).is_file() or Path(scene).read_bytes()[:4] != b"glTF":
            raise AssertionError("ESP_CHECK failed: No Stage Attributes exists for requested scene")
        self._finder: Any = house.PathFinder(self.generation, navmesh, nan_share)
        box = house.BBox if self.generation.box == "BBox" else house.Range3D
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
        if isinstance(spec, self.of_module.AudioSensorSpec) and not self.of_module.audio_enabled:
            raise Abort("CHECK_AUDIO_FLAG: AudioSensorSpec::sanityCheck")
        self.agents[0].scene_node.own[spec.uuid] = self._registered[spec.uuid] = spec

    def get_sensor_observations(self, agent_ids: Any = 0) -> dict[Any, Any]:
        """Renders whatever is registered; up to 0.3.3 audio must be called audio_sensor."""
        self._open()
        if not isinstance(agent_ids, int):
            return {agent: self.get_sensor_observations(agent) for agent in agent_ids}
        observed: dict[Any, Any] = OrderedDict()
        for uuid, spec in self._registered.items() if agent_ids == 0 else ():
            if (
                isinstance(spec, self.of_module.AudioSensorSpec)
                and uuid != "audio_sensor"
                and not self.generation.create_sensor
            ):
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
