"""Task sensors of habitat-lab against a stand-in of its registry, its base class and SoundSpaces' simulator."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soxr

from bat_agent.errors import BadInput
from bat_agent_envs import habitat_sensors
from bat_agent_envs.habitat_sensors import NAMES, SimulatorEars, register, resampled

RATE_HZ = 44_100


class Client:
    """In place of a server: says which ear was louder, and keeps what it was asked."""

    def __init__(self, url: Any = None, token: Any = None) -> None:
        self.heard: list[np.ndarray] = []

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"slot_probs": (2, 5), "embedding": (7,)}

    def arrays(self, sound: np.ndarray) -> dict[str, np.ndarray]:
        self.heard.append(sound[0])
        left, right = (sound[0] ** 2).sum(axis=1)
        direction = np.zeros((1, 2, 3))
        direction[0, 0] = (1, 0, 0) if right > left else (-1, 0, 0)
        return {
            "direction": direction, "distance": np.array([[2.5, 0]]), "class_probs": np.full((1, 5), 0.2),
            "valid": np.array([[True, False]]), "embedding": np.ones((1, 7)),
        }  # fmt: skip


class Simulator:
    """Of SoundSpaces: a step of 0.25 s, padded to a second. habitat's own cannot be hashed, nor can this."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        audio = types.SimpleNamespace(RIR_SAMPLING_RATE=RATE_HZ)
        self.config = types.SimpleNamespace(AUDIO=audio, STEP_TIME=0.25)
        self.asked, self.right = 0, 2.0

    def get_current_audiogoal_observation(self) -> np.ndarray:
        self.asked += 1
        sound = np.zeros((2, RATE_HZ))
        sound[:, : RATE_HZ // 4] = np.random.default_rng(self.asked).standard_normal(RATE_HZ // 4) * 0.1
        return sound * [[1.0], [self.right]]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """Modules ``habitat.core`` as habitat-lab 0.3 and 0.1.7 have them (``simulator.py``, ``registry.py``)."""
    found: dict[str, type] = {}

    class Sensor:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.config = kwargs.get("config")
            self.uuid = self._get_uuid(*args, **kwargs)
            self.sensor_type = self._get_sensor_type(*args, **kwargs)
            self.observation_space = self._get_observation_space(*args, **kwargs)

    def register_sensor(made: type, name: str) -> type:
        assert issubclass(made, Sensor)
        found[name] = made
        return made

    registry = types.SimpleNamespace(register_sensor=register_sensor)
    parts = {
        "habitat": {}, "habitat.core": {}, "habitat.core.registry": {"registry": registry},
        "habitat.core.simulator": {
            "Sensor": Sensor, "SensorTypes": types.SimpleNamespace(PATH="path", TENSOR="tensor")
        },
    }  # fmt: skip
    for name, held in parts.items():
        module = types.ModuleType(name)
        module.__dict__.update(held)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(habitat_sensors, "HearingClient", Client)
    return found


def suite(registered: dict[str, type], sim: Any) -> dict[str, Any]:
    """As a task makes its sensors."""
    return {
        name: registered[name](sim=sim, config=types.SimpleNamespace(type=name), dataset=None, task=None, name=name)
        for name in NAMES
    }


def look(sensors: dict[str, Any], **action: Any) -> dict[str, np.ndarray]:
    """As habitat-lab asks them: all in turn, without an action when a task is reset."""
    asked = {"observations": {}, "episode": None, "task": None, "should_time": True, **action}
    return {name: sensor.get_observation(**asked) for name, sensor in sensors.items()}


def test_a_configuration_can_name_what_is_heard(registered: dict[str, type]) -> None:
    assert register("http://127.0.0.1:1", "", window_s=0.5) == NAMES
    assert set(registered) == set(NAMES) >= {"bat_agent_direction", "bat_agent_distance"}
    sim = Simulator()
    sensors = suite(registered, sim)
    first = look(sensors)
    sim.right = 0.1
    for _ in range(2):
        last = look(sensors, action={"action": "turn_left"})
    assert sim.asked == 3, "one listening a step, whatever the number of sensors"
    assert first["bat_agent_direction"][0].tolist() == [1, 0, 0]
    assert last["bat_agent_direction"][0].tolist() == [-1, 0, 0]
    for name, sensor in sensors.items():
        assert sensor.uuid == name
        assert sensor.sensor_type == "tensor"
        assert sensor.observation_space.contains(last[name]), name
        assert last[name].dtype == np.float32
    assert sensors["bat_agent_distance"].observation_space.shape == (2,)


def test_a_window_is_of_one_episode_and_without_padding(registered: dict[str, type]) -> None:
    client = Client()
    ears, sim = SimulatorEars(client, 0.6), Simulator()
    lengths = []
    for begins in (True, False, False, False, True, False):
        ears.hear("direction", sim, {}, begins)
        lengths.append(client.heard[-1].shape[1])
    # 0.25 s of 44.1 kHz are 11025 samples.
    assert lengths == [8_000, 16_000, 19_200, 19_200, 8_000, 16_000]
    level = np.sqrt((client.heard[3][1].reshape(48, -1) ** 2).mean(axis=1))
    assert level.min() > 0.7 * level.max()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_resampling_is_that_of_a_library(rate_hz: int) -> None:
    """Sines in the band, against soxr: without numpy's company alone nothing better is at hand there."""
    time_s = np.arange(round(1.5 * rate_hz) + 7) / rate_hz
    sound = np.stack([np.sin(2 * np.pi * 440 * time_s), np.sin(2 * np.pi * 3_000 * time_s + 1)]).astype(np.float32)
    ours = resampled(sound, rate_hz)
    theirs = soxr.resample(sound.T, rate_hz, 32_000).T
    assert abs(ours.shape[1] - theirs.shape[1]) <= 1
    middle = slice(1_600, 46_000)
    assert np.abs(ours[:, middle] - theirs[:, middle]).max() < 3e-3
    exact = np.sin(2 * np.pi * 440 * np.arange(ours.shape[1]) / 32_000)
    assert np.abs(ours[0, middle] - exact[middle]).max() < 1e-3
    assert np.abs(ours).max() < 1.2, "no ringing at the ends"


@pytest.mark.parametrize(
    ("sim", "observations", "said"),
    [
        (types.SimpleNamespace(config=None), {}, "says no rate of its sound"),
        (types.SimpleNamespace(config=Simulator().config), {}, "makes no sound, and there is no observation"),
        (
            types.SimpleNamespace(config=Simulator().config),
            {"audiogoal": np.zeros(9)},
            r"must have shape \(2, samples\)",
        ),
    ],
)
def test_what_cannot_be_heard_is_told(sim: Any, observations: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        SimulatorEars(Client()).hear("direction", sim, observations, True)


def test_sound_may_come_from_a_function(registered: dict[str, type]) -> None:
    def audio(sim: Any, observations: Any) -> np.ndarray:
        return np.ones((2, 400)) * [[0.2], [0.1]]

    register("http://127.0.0.1:1", "", audio=audio, sample_rate_hz=32_000)
    sensors = suite(registered, types.SimpleNamespace())
    silent = look(sensors)
    assert not silent["bat_agent_valid"].any(), "12 ms are not listened to"
    heard = look(sensors, action=0)
    assert heard["bat_agent_direction"][0, 0] == -1


def test_newer_habitat_lab_finds_them_among_its_configurations(
    registered: dict[str, type], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: dict[str, Any] = {}
    store = types.SimpleNamespace(store=lambda **given: stored.update({given["name"]: given}))
    configs = types.ModuleType("habitat.config.default_structured_configs")
    hydra = types.ModuleType("hydra.core.config_store")
    configs.LabSensorConfig = _lab_sensor_config()  # type: ignore[attr-defined]
    hydra.ConfigStore = types.SimpleNamespace(instance=lambda: store)  # type: ignore[attr-defined]
    for name in ("habitat.config", "hydra", "hydra.core"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, configs.__name__, configs)
    monkeypatch.setitem(sys.modules, hydra.__name__, hydra)
    register("http://127.0.0.1:1", "")
    assert set(stored) == set(NAMES)
    given = stored["bat_agent_distance"]
    assert given["group"] == "habitat/task/lab_sensors"
    assert given["package"] == "habitat.task.lab_sensors.bat_agent_distance"
    assert given["node"]().type == "bat_agent_distance"


def _lab_sensor_config() -> Callable[[], Any]:
    import dataclasses

    @dataclasses.dataclass
    class LabSensorConfig:
        type: str = "???"

    return LabSensorConfig
