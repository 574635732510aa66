"""Environments of habitat, which still speak the old gym: as Gymnasium environments."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
import numpy as np

from bat_agent.errors import BadInput

_SIMULATOR_ACTIONS = ("move_forward", "turn_left", "turn_right")


def as_gymnasium(env: Any) -> gym.Env[Any, Any]:
    """A Gymnasium environment from one of habitat's.

    That is: a Gymnasium environment itself; one of the old gym (``reset() -> observation``, ``step() -> (observation,
    reward, done, info)``), as ``habitat.gym.make_gym_from_config`` and ``habitat.RLEnv`` make them; a ``habitat.Env``,
    which has no reward (it is 0 here; ``info`` has the metrics); or a bare ``habitat_sim.Simulator``. Raises
    :class:`~bat_agent.errors.BadInput` for anything else.
    """
    if isinstance(env, gym.Env):
        return env
    if callable(getattr(env, "get_agent", None)) and hasattr(env, "pathfinder"):
        return SimulatorEnv(env)
    if callable(getattr(env, "step", None)) and callable(getattr(env, "reset", None)):
        return OldGymEnv(env)
    raise BadInput(
        f"'{type(env).__name__}' is neither a habitat simulator nor an environment: it lacks reset and step; pass a "
        "habitat_sim.Simulator, a habitat.Env, or what make_gym_from_config returns"
    )


class OldGymEnv(gym.Env[Any, Any]):
    """An environment of the old gym, or a ``habitat.Env``, in Gymnasium's clothes."""

    def __init__(self, env: Any) -> None:
        self.old = env
        self.observation_space = converted(env.observation_space)
        self.action_space = converted(env.action_space)

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
        found = self.old.step(action)
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
    """A bare ``habitat_sim.Simulator``: actions of its agent, its pose as observation, no task and no end."""

    def __init__(self, sim: Any) -> None:
        self.sim = sim
        self.actions = _actions_of(sim)
        self.action_space = gym.spaces.Discrete(len(self.actions))
        self.observation_space = gym.spaces.Dict(
            {
                "position_m": gym.spaces.Box(-np.inf, np.inf, (3,), np.float32),
                "rotation_wxyz": gym.spaces.Box(-1.0, 1.0, (4,), np.float32),
            }
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Put the simulator back to where it began, if it can."""
        super().reset(seed=seed)
        if callable(getattr(self.sim, "reset", None)):
            self.sim.reset()
        return self._pose(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Let the agent act."""
        self.sim.get_agent(0).act(self.actions[int(action)])
        return self._pose(), 0.0, False, False, {}

    def _pose(self) -> dict[str, np.ndarray]:
        state = self.sim.get_agent(0).get_state()
        turn = state.rotation
        parts = [turn.w, turn.x, turn.y, turn.z] if hasattr(turn, "w") else turn
        return {
            "position_m": np.asarray(state.position, np.float32),
            "rotation_wxyz": np.clip(np.asarray(parts, np.float32), -1, 1),
        }


def _actions_of(sim: Any) -> list[str]:
    """Names of what the first agent can do."""
    config = getattr(sim.get_agent(0), "agent_config", None)
    named = getattr(config, "action_space", None)
    return [str(name) for name in named] if named else list(_SIMULATOR_ACTIONS)


def converted(space: Any) -> gym.Space[Any]:
    """A space of the old gym as one of Gymnasium, told apart by what it has.

    Raises :class:`~bat_agent.errors.BadInput` for one that has no counterpart.
    """
    if isinstance(space, gym.Space):
        return space
    if hasattr(space, "spaces"):
        inner = space.spaces
        if isinstance(inner, dict):
            return gym.spaces.Dict({name: converted(part) for name, part in inner.items()})
        return gym.spaces.Tuple([converted(part) for part in inner])
    if hasattr(space, "low") and hasattr(space, "high"):
        return gym.spaces.Box(np.asarray(space.low), np.asarray(space.high), tuple(space.shape), space.dtype)
    if hasattr(space, "nvec"):
        return gym.spaces.MultiDiscrete(space.nvec)
    if hasattr(space, "n"):
        return gym.spaces.Discrete(int(space.n))
    raise BadInput(
        f"a space of type {type(space).__name__} has no counterpart in Gymnasium; wrap the environment so that it has "
        "Box, Discrete, MultiDiscrete, Tuple or Dict spaces"
    )


def _plain(observation: Any) -> Any:
    """Habitat's observations are a dict of its own kind."""
    return dict(observation) if isinstance(observation, dict) else observation
