"""Stand-ins for habitat-lab's environments and for SoundSpaces' simulator; ``facts.py`` says of which versions."""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np


class EmptySpace:
    """Of an action without arguments."""


class Discrete:
    def __init__(self, n: int) -> None:
        self.n, self.shape = n, ()


class Box:
    def __init__(self, low: float, high: float, shape: tuple[int, ...], dtype: Any = np.float32) -> None:
        self.low, self.high = np.full(shape, low, dtype), np.full(shape, high, dtype)
        self.shape, self.dtype = shape, np.dtype(dtype)


class Dict:
    def __init__(self, spaces: dict[str, Any]) -> None:
        self.spaces = OrderedDict(spaces)


class ActionSpace(Dict):
    """Sorted by name, whatever the order of the configuration."""

    def __init__(self, spaces: dict[str, Any]) -> None:
        self.spaces = OrderedDict(sorted(spaces.items()))
        self.actions_select = Discrete(len(self.spaces))

    @property
    def n(self) -> int:
        return len(self.spaces)


class Env:
    """``habitat.Env``: a number counts in the order of the configuration, which is not that of the space."""

    def __init__(self, sim: Any, actions: dict[str, Any], spaces: dict[str, Any] | None = None) -> None:
        self.sim, self._order = sim, list(actions)
        self.action_space = ActionSpace(actions)
        self.observation_space = Dict(spaces or {"compass": Box(-np.pi, np.pi, (1,))})
        self.episode_over = False
        self.done: list[Any] = []

    def _look(self) -> dict[str, Any]:
        return {"compass": np.zeros(1, np.float32)}

    def reset(self) -> dict[str, Any]:
        self.episode_over = False
        self.sim.reset()
        return self._look()

    def step(self, action: Any, **kwargs: Any) -> dict[str, Any]:
        if isinstance(action, str | int | np.integer):
            action = {"action": action}
        name = action["action"]
        name = self._order[name] if isinstance(name, int | np.integer) else name
        self.done.append({**action, "action": name} if "action_args" in action else name)
        if name == "stop":
            self.episode_over = True
        elif "action_args" not in action:
            self.sim.step(name)
        return self._look()

    def get_metrics(self) -> dict[str, float]:
        return {"spl": 0.0}

    def close(self) -> None:
        self.sim.close()


class RLEnv:
    """``habitat.RLEnv`` as trainers make it: it reads ``kwargs["action"]``."""

    def __init__(self, env: Env) -> None:
        self._env, self.habitat_env = env, env
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(self) -> dict[str, Any]:
        return self._env.reset()

    def step(self, *args: Any, **kwargs: Any) -> tuple[Any, float, bool, dict[str, Any]]:
        self.previous_action = kwargs["action"]
        return self._env.step(*args, **kwargs), 0.5, self._env.episode_over, {}

    def seed(self, seed: int | None = None) -> None:
        pass

    def close(self) -> None:
        self._env.close()


class ContinuousSoundSpaces:
    """SoundSpaces' own simulator: holds habitat's, makes the sound of a step, pads it to a second, fades from the last.

    ``open_scene`` makes a ``habitat_sim.Simulator``.
    """

    def __init__(
        self, open_scene: Callable[[], Any], sound: np.ndarray, rate_hz: int, step_s: float, crossfade: bool = True
    ) -> None:
        audio = types.SimpleNamespace(RIR_SAMPLING_RATE=rate_hz, CROSSFADE=crossfade)
        self.config = self.habitat_config = types.SimpleNamespace(AUDIO=audio, STEP_TIME=step_s)
        self._open_scene, self._sim = open_scene, open_scene()
        self.sound, self.rate_hz, self.crossfade = sound, rate_hz, crossfade
        self.samples = int(rate_hz * step_s)
        self._index, self._last = 0, None

    @property
    def pathfinder(self) -> Any:
        return self._sim.pathfinder

    def get_agent(self, agent_id: int) -> Any:
        return self._sim.get_agent(agent_id)

    def change_scene(self) -> None:
        """What ``reconfigure`` does for another scene."""
        self._sim.close()
        del self._sim
        self._sim = self._open_scene()

    def reset(self) -> None:
        self._sim.reset()
        self._index, self._last = 0, None

    def step(self, action: Any) -> None:
        self._last = self._side()
        self._sim.step(action)
        self._index = (self._index + self.samples) % len(self.sound)

    def _side(self) -> float:
        """How far right of the agent the source is, which stands at +x: −1 … 1."""
        turn = self.get_agent(0).get_state().rotation
        return float(np.cos(2 * np.arctan2(turn.y, turn.w)))

    def _heard(self, side: float) -> np.ndarray:
        """Right of the agent is louder by 20 dB at the right ear, and there 0.6 ms earlier: two ears, not one."""
        later = [max(round(side * 0.0006 * self.rate_hz), 0), max(round(-side * 0.0006 * self.rate_hz), 0)]
        dry = [np.take(self.sound, np.arange(self.samples) + self._index - lag, mode="wrap") for lag in later]
        return np.array([[10 ** (-side / 2)], [10 ** (side / 2)]]) * dry

    def get_current_audiogoal_observation(self) -> np.ndarray:
        heard = self._heard(self._side())
        if self.crossfade and self._last is not None:
            fade = int(0.05 * self.rate_hz)
            rise = np.arange(fade + 1) / fade
            heard[:, : fade + 1] = heard[:, : fade + 1] * rise + self._heard(self._last)[:, : fade + 1] * rise[::-1]
        return np.pad(heard, [(0, 0), (0, self.rate_hz - heard.shape[1])]).astype(np.float32)


class SoundSpacesEnv(Env):
    """An environment of SoundSpaces: observation ``audiogoal``, a second long."""

    def __init__(self, sim: ContinuousSoundSpaces, actions: dict[str, Any]) -> None:
        super().__init__(sim, actions, {"audiogoal": Box(-np.inf, np.inf, (2, sim.rate_hz))})

    def _look(self) -> dict[str, Any]:
        return {"audiogoal": self.sim.get_current_audiogoal_observation()}
