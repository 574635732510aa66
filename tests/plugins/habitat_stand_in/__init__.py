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
from pathlib import Path
from typing import Any

import numpy as np

from habitat_stand_in import audio as sound
from habitat_stand_in import facts, house
from habitat_stand_in.generations import GENERATIONS, Abort, Generation
from habitat_stand_in.simulator import simulator_class

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


def make_module(generation: Generation, *, audio: bool = True) -> Any:
    """A module ``habitat_sim`` of one generation; ``events`` tells what its audio sensors were made to do."""
    module: Any = types.ModuleType("habitat_sim")
    module.__version__, module.audio_enabled, module.events = generation.version, audio, []
    module.Simulator = simulator_class(module, generation)
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
