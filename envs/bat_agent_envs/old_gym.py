"""Environments of habitat, which still speak the old gym: as Gymnasium environments."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
import numpy as np

from bat_agent.errors import BadInput
from bat_agent_envs.old_spaces import NamedActions, converted

__all__ = ["OldGymEnv", "SimulatorEnv", "as_gymnasium", "converted"]

_SIMULATOR_ACTIONS = ("move_forward", "turn_left", "turn_right")
_POSE = ("position_m", "rotation_wxyz")
_SEEDS = 2**32
"""habitat-sim takes seeds below this."""


def as_gymnasium(env: Any, agent_id: int = 0) -> gym.Env[Any, Any]:
    """A Gymnasium environment from one of habitat's.

    That is: a Gymnasium environment itself; one of the old gym (``reset() -> observation``, ``step() -> (observation,
    reward, done, info)``), as ``habitat.gym.make_gym_from_config`` and ``habitat.RLEnv`` make them; a ``habitat.Env``,
    which has no reward (it is 0 here; ``info`` has the metrics); or a bare ``habitat_sim.Simulator``, of which the
    agent ``agent_id`` acts. Raises :class:`~bat_agent.errors.BadInput` for anything else.
    """
    if isinstance(env, gym.Env):
        return env
    if callable(getattr(env, "get_agent", None)) and hasattr(env, "pathfinder"):
        return SimulatorEnv(env, agent_id)
    if callable(getattr(env, "step", None)) and callable(getattr(env, "reset", None)):
        return OldGymEnv(env)
    raise BadInput(
        f"'{type(env).__name__}' is neither a habitat simulator nor an environment: it lacks reset and step; pass a "
        "habitat_sim.Simulator, a habitat.Env, or what make_gym_from_config returns"
    )


class OldGymEnv(gym.Env[Any, Any]):
    """An environment of the old gym, or a ``habitat.Env``, in Gymnasium's clothes.

    Where habitat's actions are named, an action here is the number of its name in ``actions``, in alphabetical order
    (:class:`~bat_agent_envs.old_spaces.NamedActions`); ``None`` otherwise.
    """

    def __init__(self, env: Any) -> None:
        self.old = env
        self._named = NamedActions.of(env.action_space)
        self.actions = None if self._named is None else self._named.names
        self.observation_space = converted(env.observation_space)
        self.action_space = converted(env.action_space) if self._named is None else self._named.space

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "old":
            raise AttributeError(name)
        return getattr(self.old, name)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the environment is seeded where it can be."""
        super().reset(seed=seed)
        if seed is not None and callable(getattr(self.old, "seed", None)):
            self.old.seed(seed)
        found = self.old.reset()
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict):
            return _plain(found[0]), dict(found[1])
        return _plain(found), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act; the end of an old episode is a truncation where its time limit says so."""
        # By keyword: trainers of habitat and SoundSpaces read kwargs["action"].
        found = self.old.step(action) if self._named is None else self.old.step(action=self._named.chosen(action))
        if not isinstance(found, tuple):  # habitat.Env gives the observation alone
            info = dict(self.old.get_metrics()) if callable(getattr(self.old, "get_metrics", None)) else {}
            return _plain(found), 0.0, bool(self.old.episode_over), False, info
        if len(found) == 5:
            observation, reward, terminated, truncated, info = found
            return _plain(observation), float(reward), bool(terminated), bool(truncated), dict(info)
        observation, reward, done, info = found
        cut = bool(info.get("TimeLimit.truncated", False))
        return _plain(observation), float(reward), bool(done) and not cut, bool(done) and cut, dict(info)

    def render(self) -> Any:
        """What the environment draws."""
        takes_mode = "mode" in inspect.signature(self.old.render).parameters
        return self.old.render(mode="rgb_array") if takes_mode else self.old.render()

    def close(self) -> None:
        """Close it."""
        if callable(getattr(self.old, "close", None)):
            self.old.close()


class SimulatorEnv(gym.Env[Any, Any]):
    """A bare ``habitat_sim.Simulator``: actions of one of its agents, no task and no end.

    The observation is the agent's pose, and what its cameras see under their own names. The simulator stays the
    caller's: it is not closed. Calls raise :class:`~bat_agent.errors.BadInput` once it is.
    """

    def __init__(self, sim: Any, agent_id: int = 0) -> None:
        self.sim, self.agent_id = sim, agent_id
        self._check()
        self.actions = _actions_of(sim, agent_id)
        self.action_space = gym.spaces.Discrete(len(self.actions))
        seen = self._seen(None)
        self._cameras = tuple(name for name, image in seen.items() if _is_image(image))
        spaces: dict[str, gym.Space[Any]] = {
            "position_m": gym.spaces.Box(-np.inf, np.inf, (3,), np.float32),
            "rotation_wxyz": gym.spaces.Box(-1.0, 1.0, (4,), np.float32),
        }
        self.observation_space = gym.spaces.Dict(spaces | {name: _box_of(seen[name]) for name in self._cameras})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Put the simulator back to where it began, if it can, and seed it; all simulators of a process share that."""
        super().reset(seed=seed)
        self._check()
        if seed is not None and callable(getattr(self.sim, "seed", None)):
            self.sim.seed(seed % _SEEDS)
        seen: dict[str, Any] | None = None
        if callable(getattr(self.sim, "reset", None)):
            seen = self.sim.reset() if self._is_default else self.sim.reset([self.agent_id])[self.agent_id]
        return self._observation(self._seen(seen)), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Let the agent act; ``info["collided"]`` where habitat says so."""
        self._check()
        name = self.actions[int(action)]
        if not callable(getattr(self.sim, "step", None)):
            self.sim.get_agent(self.agent_id).act(name)
            return self._observation(self._seen(None)), 0.0, False, False, {}
        # habitat-lab's simulators take no mapping, and have one agent.
        seen = self.sim.step(name) if self._is_default else self.sim.step({self.agent_id: name})[self.agent_id]
        info = {"collided": bool(seen["collided"])} if "collided" in seen else {}
        return self._observation(seen), 0.0, False, False, info

    @property
    def _is_default(self) -> bool:
        settings = getattr(getattr(self.sim, "config", None), "sim_cfg", None)
        return self.agent_id == int(getattr(settings, "default_agent_id", 0))

    def _check(self) -> None:
        if self.sim.pathfinder is None:  # habitat-sim would end the process
            raise BadInput("the habitat simulator is closed; open a new one and wrap that")

    def _seen(self, seen: Any) -> dict[str, Any]:
        """What the agent's sensors show; they are asked where no step has."""
        if isinstance(seen, dict):
            return seen
        if not callable(getattr(self.sim, "get_sensor_observations", None)):
            return {}
        if not self._is_default:
            return dict(self.sim.get_sensor_observations([self.agent_id])[self.agent_id])
        shown = self.sim.get_sensor_observations()
        # habitat-lab's simulators show them in another form, such as without alpha: as their steps do.
        suite = getattr(self.sim, "sensor_suite", None)
        return dict(shown if suite is None else suite.get_observations(shown))

    def _observation(self, seen: dict[str, Any]) -> dict[str, np.ndarray]:
        state = self.sim.get_agent(self.agent_id).get_state()
        turn = state.rotation
        parts = [turn.w, turn.x, turn.y, turn.z] if hasattr(turn, "w") else turn
        pose = {
            "position_m": np.asarray(state.position, np.float32),
            "rotation_wxyz": np.clip(np.asarray(parts, np.float32), -1, 1),
        }
        # Copied: habitat-sim fills the same buffers at every step.
        return pose | {name: np.array(seen[name]) for name in self._cameras}


def _actions_of(sim: Any, agent_id: int) -> list[Any]:
    """Keys of what an agent can do, as they are: habitat asks for the very key, which may be a number."""
    try:
        agent = sim.get_agent(agent_id)
    except (IndexError, KeyError) as error:
        raise BadInput(f"habitat has no agent {agent_id}; agents are counted from 0") from error
    named = getattr(getattr(agent, "agent_config", None), "action_space", None)
    return list(named) if named else list(_SIMULATOR_ACTIONS)


def _is_image(seen: Any) -> bool:
    """Not sound, which is a list whose length changes, nor ``collided``."""
    return isinstance(seen, np.ndarray) and seen.ndim > 0 and seen.dtype.kind in "fiu"


def _box_of(image: np.ndarray) -> gym.Space[Any]:
    if image.dtype.kind == "f":
        return gym.spaces.Box(-np.inf, np.inf, image.shape, image.dtype.type)
    limits = np.iinfo(image.dtype)
    return gym.spaces.Box(limits.min, limits.max, image.shape, image.dtype.type)


def _plain(observation: Any) -> Any:
    """Habitat's observations are a dict of its own kind."""
    return dict(observation) if isinstance(observation, dict) else observation
