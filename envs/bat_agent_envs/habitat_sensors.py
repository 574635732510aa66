"""What an agent hears as task sensors of habitat-lab, so that a configuration of habitat-baselines can name them.

``register(url, token)`` in the program that trains, before it reads its configuration; from then on
``habitat.task.lab_sensors`` may hold ``bat_agent_direction``, ``bat_agent_distance``, ``bat_agent_class_probs``,
``bat_agent_embedding`` and ``bat_agent_valid`` (types of the same names). All of them share one listening a step,
through ``bat-agent serve``.

Like ``client.py``, this file needs numpy and Python 3.8 or newer, beside habitat-lab: where bat-agent cannot be
installed, copy it there, and ``client.py`` beside it as ``bat_agent_client.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bat_agent_envs.client import SAMPLE_RATE_HZ, BadInput, HearingClient

    Audio = Callable[[Any, Any], Any]  # which Python 3.8 cannot evaluate
    """``(sim, observations) -> (2, n)``: what is heard in this step, left ear first."""
else:
    try:
        from bat_agent_envs.client import SAMPLE_RATE_HZ, BadInput, HearingClient
    except ImportError:  # the two files alone
        from bat_agent_client import SAMPLE_RATE_HZ, BadInput, HearingClient

__all__ = ["NAMES", "SimulatorEars", "register", "resampled"]

KEYS = ("direction", "distance", "class_probs", "embedding", "valid")
NAMES = tuple(f"bat_agent_{key}" for key in KEYS)
_LIMITS = {"direction": (-1.0, 1.0), "distance": (0.0, 10.0), "class_probs": (0.0, 1.0), "valid": (0.0, 1.0)}
_LEAST_S = 0.02
_EDGE_S = 0.05
_KEPT = "_bat_agent_ears"


def register(
    url: str | None = None,
    token: str | None = None,
    *,
    window_s: float = 2.0,
    audio: Audio | None = None,
    sample_rate_hz: int | None = None,
    step_s: float | None = None,
) -> tuple[str, ...]:
    """Make the sensors known to habitat-lab; their names.

    Args:
        url: Of ``bat-agent serve``; else from ``BAT_AGENT_URL``.
        token: Else from ``BAT_AGENT_TOKEN``.
        window_s: Seconds of its episode that an agent listens to.
        audio: What is heard in a step. Without, SoundSpaces' simulator is asked
            (``get_current_audiogoal_observation``), else the observation ``audiogoal`` is taken. One with a method
            ``begin(sim)`` is told when an episode begins, as :class:`~bat_agent_envs.served_sound.ServedSound` is.
        sample_rate_hz: Of that sound; else an attribute of that name of ``audio``, else ``AUDIO.RIR_SAMPLING_RATE`` of
            the simulator's configuration.
        step_s: Seconds at its beginning that count; else ``STEP_TIME`` of that configuration, else all.

    Raises ``ImportError`` where there is no habitat-lab.
    """
    from habitat.core.registry import registry
    from habitat.core.simulator import Sensor, SensorTypes

    owner = object()

    def ears_of(sim: Any) -> SimulatorEars:
        # Kept at the simulator, as long as it lives: habitat's cannot be hashed.
        known, ears = getattr(sim, _KEPT, (None, None))
        if known is not owner or ears is None:
            ears = SimulatorEars(HearingClient(url, token), window_s, audio, sample_rate_hz, step_s)
            setattr(sim, _KEPT, (owner, ears))
        return ears

    for key, name in zip(KEYS, NAMES):  # noqa: B905 - strict= is not in Python 3.9
        registry.register_sensor(_sensor(Sensor, SensorTypes, key, name, ears_of), name=name)
    _register_configs()
    return NAMES


class SimulatorEars:
    """The hearing of the agent of one simulator: a window of its episode, listened to once a step."""

    def __init__(
        self,
        client: Any,
        window_s: float = 2.0,
        audio: Audio | None = None,
        sample_rate_hz: int | None = None,
        step_s: float | None = None,
    ) -> None:
        self.client, self.window_s = client, window_s
        self._audio, self._rate_hz, self._step_s = audio, sample_rate_hz, step_s
        self._window = np.zeros((2, 0), np.float32)
        self._heard: dict[str, np.ndarray] = {}
        self._told: set[str] = set()
        shapes = client.shapes()
        slots, classes = shapes["slot_probs"]
        self.shapes: dict[str, tuple[int, ...]] = {
            "direction": (slots, 3), "distance": (slots,), "class_probs": (classes,), "valid": (slots,),
            "embedding": tuple(shapes["embedding"]),
        }  # fmt: skip

    def hear(self, key: str, sim: Any, observations: Any, begins: bool) -> np.ndarray:
        """The array of one sensor, float32; the first one asked in a step listens for all.

        A step ends when a sensor is asked again, or an episode ``begins``.
        """
        if not self._told or key in self._told:
            self._told.clear()
            self._listen(sim, observations, begins)
        self._told.add(key)
        return self._heard[key]

    def _listen(self, sim: Any, observations: Any, begins: bool) -> None:
        rate_hz = self._rate_of(sim)
        if begins:
            self._window = np.zeros((2, 0), np.float32)
            if callable(begin := getattr(self._audio, "begin", None)):
                begin(sim)
        step_s = self._step_s if self._step_s is not None else _setting(sim, "STEP_TIME")
        new = np.asarray(self._sound_of(sim, observations), np.float32)
        if new.ndim != 2 or len(new) != 2:
            raise BadInput(f"the sound of a step must have shape (2, samples), left ear first, got {new.shape}")
        # SoundSpaces pads a step to a second; a step is cut off to whole samples.
        new = new[:, : None if step_s is None else int(rate_hz * float(step_s))]
        self._window = np.concatenate([self._window, new], axis=1)[:, -round(self.window_s * rate_hz) :]
        self._heard = {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items()}
        if self._window.shape[1] < _LEAST_S * rate_hz:
            return
        arrays = self.client.arrays(resampled(self._window, rate_hz)[None])
        for name in self._heard:
            self._heard[name] = np.asarray(arrays[name][0], np.float32)

    def _rate_of(self, sim: Any) -> int:
        rate = self._rate_hz or getattr(self._audio, "sample_rate_hz", None)
        rate = rate or _setting(sim, "AUDIO", "RIR_SAMPLING_RATE")
        if rate is None:
            raise BadInput(
                "the simulator's configuration says no rate of its sound (AUDIO.RIR_SAMPLING_RATE): give register() "
                "sample_rate_hz"
            )
        return int(rate)

    def _sound_of(self, sim: Any, observations: Any) -> Any:
        if self._audio is not None:
            return self._audio(sim, observations)
        ask = getattr(sim, "get_current_audiogoal_observation", None)
        if callable(ask):
            return ask()
        try:
            return observations["audiogoal"]
        except (KeyError, TypeError):
            raise BadInput(
                "this simulator makes no sound, and there is no observation 'audiogoal': give register() audio, a "
                "function (sim, observations) that returns the (2, samples) heard in a step"
            ) from None


def resampled(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """Sound (2, n) of any whole rate at 32 kHz, float32, by Fourier transform; n·32000/rate samples, rounded up."""
    if rate_hz == SAMPLE_RATE_HZ:
        return sound
    common = math.gcd(rate_hz, SAMPLE_RATE_HZ)
    block, made = rate_hz // common, SAMPLE_RATE_HZ // common
    wanted = -(-sound.shape[1] * SAMPLE_RATE_HZ // rate_hz)
    # Reflected at both ends, since a Fourier transform takes what it is given for a circle.
    edge = block * math.ceil(_EDGE_S * rate_hz / block)
    tail = edge + (-sound.shape[1]) % block
    size = sound.shape[1] + edge + tail
    padded = np.pad(np.asarray(sound, np.float64), [(0, 0), (edge, tail)], mode="symmetric", reflect_type="odd")
    new_size = size // block * made
    spectrum = np.fft.rfft(padded, axis=1)
    kept = np.zeros((2, new_size // 2 + 1), complex)
    bins = min(kept.shape[1], spectrum.shape[1])
    kept[:, :bins] = spectrum[:, :bins]
    found = np.fft.irfft(kept, new_size, axis=1) * (new_size / size)
    begin = edge // block * made
    return np.ascontiguousarray(found[:, begin : begin + wanted], np.float32)


def _sensor(base: type, types: Any, key: str, name: str, ears_of: Callable[[Any], SimulatorEars]) -> type:
    low, high = _LIMITS.get(key, (-np.inf, np.inf))

    def __init__(self: Any, *args: Any, sim: Any, config: Any = None, **kwargs: Any) -> None:
        self._sim = sim
        base.__init__(self, *args, sim=sim, config=config, **kwargs)  # type: ignore[misc]

    def get_observation(self: Any, *args: Any, observations: Any = None, **kwargs: Any) -> np.ndarray:
        # A task is reset without an action.
        return ears_of(self._sim).hear(key, self._sim, observations, begins="action" not in kwargs)

    def space(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _spaces().Box(low=low, high=high, shape=ears_of(self._sim).shapes[key], dtype=np.float32)

    members = {
        "__doc__": f"``{name}``: {key} of what is heard; see :mod:`bat_agent_envs.habitat_sensors`.",
        "__init__": __init__,
        "cls_uuid": name,
        "_get_uuid": lambda self, *args, **kwargs: name,
        "_get_sensor_type": lambda self, *args, **kwargs: types.TENSOR if hasattr(types, "TENSOR") else types.PATH,
        "_get_observation_space": space,
        "get_observation": get_observation,
    }
    return type(base)("".join(part.title() for part in name.split("_")), (base,), members)


def _register_configs() -> None:
    """Under ``habitat/task/lab_sensors``, where habitat-lab has structured configurations (from 0.2.3)."""
    try:
        from habitat.config.default_structured_configs import LabSensorConfig
        from hydra.core.config_store import ConfigStore
    except ImportError:
        return
    from dataclasses import field, make_dataclass

    for name in NAMES:
        made = make_dataclass(f"{name}_config", [("type", str, field(default=name))], bases=(LabSensorConfig,))
        ConfigStore.instance().store(
            name=name, node=made, group="habitat/task/lab_sensors", package=f"habitat.task.lab_sensors.{name}"
        )


def _spaces() -> Any:
    try:
        from gym import spaces  # habitat's own, the old one
    except ImportError:
        from gymnasium import spaces
    return spaces


def _setting(sim: Any, *names: str) -> Any:
    """A setting of a simulator's configuration, in either case; ``None`` where it has none."""
    for config in (getattr(sim, "config", None), getattr(sim, "habitat_config", None)):
        for way in (names, tuple(name.lower() for name in names)):
            found = config
            for name in way:
                found = _peek(found, name)
            if found is not None:
                return found
    return None


def _peek(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except Exception:  # configurations raise errors of their own for what they lack
        return None
