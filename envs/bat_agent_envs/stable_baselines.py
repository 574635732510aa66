"""``HearingVecEnv``: a vector of environments with ears as Stable-Baselines3 wants one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from bat_agent.errors import BadInput
from bat_agent.extras import needed

with needed("sb3", "HearingVecEnv"):
    from stable_baselines3.common.vec_env import VecEnv


class HearingVecEnv(VecEnv):
    """Any vector of Gymnasium, such as :class:`~bat_agent_envs.VectorSpatialHearing`, for Stable-Baselines3.

    What the environments tell at the end of an episode is in the infos as Stable-Baselines3 has it:
    ``terminal_observation``, ``TimeLimit.truncated``, and, where the environment measures success
    (``episode_metrics``), ``is_success``; all else that they tell of a step is there under its own name.

    Args:
        envs: Must begin a new episode in the step that ends one (``AutoresetMode.SAME_STEP``).
        seed: Of the first episodes.

    Raises :class:`~bat_agent.errors.BadInput` for another autoreset mode.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], seed: int | None = None) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise BadInput(
                f"Stable-Baselines3 wants the next episode to begin in the step that ends one, but autoreset_mode is "
                f"{mode}: make the vector with autoreset_mode=AutoresetMode.SAME_STEP"
            )
        self.envs, self._first = envs, seed
        self._actions: Any = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> Any:
        """Begin all episodes; returns the observations."""
        seed = self._first if self._seeds[0] is None else self._seeds
        observations, infos = self.envs.reset(seed=seed)  # type: ignore[arg-type]
        self._first = None
        self._reset_seeds()
        self.reset_infos = [info_of(infos, index) for index in range(self.num_envs)]
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions of the step."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Observations, rewards, which episodes are over, and an info for each environment."""
        observations, rewards, terminations, truncations, infos = self.envs.step(self._actions)
        over = np.logical_or(terminations, truncations)
        told = [info_of(infos, index) for index in range(self.num_envs)]
        for index in np.flatnonzero(over).tolist():
            told[index] = self._last(infos, index, truncated=bool(truncations[index] and not terminations[index]))
        return observations, np.asarray(rewards, np.float32), over, told

    def _last(self, infos: dict[str, Any], index: int, truncated: bool) -> dict[str, Any]:
        said = info_of(infos.get("final_info", {}), index)
        metrics = said.get("episode_metrics")
        if isinstance(metrics, dict) and "success" in metrics:
            said["is_success"] = float(metrics["success"])
        elif "is_success" not in said and "success" in said:
            said["is_success"] = float(said["success"])
        return {**said, "terminal_observation": infos["final_obs"][index], "TimeLimit.truncated": truncated}

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of each environment."""
        if attr_name == "render_mode":
            return [self.envs.render_mode] * len(self._chosen(indices))
        found = self.envs.unwrapped.get_attr(attr_name)  # type: ignore[attr-defined]
        return [found[index] for index in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of all environments."""
        if len(self._chosen(indices)) != self.num_envs:
            raise BadInput("attributes can be set in all environments only: leave indices out")
        self.envs.unwrapped.set_attr(attr_name, [value] * self.num_envs)  # type: ignore[attr-defined]

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """What a method of each environment returns; it is called in all of them."""
        found = self.envs.unwrapped.call(method_name, *args, **kwargs)  # type: ignore[attr-defined]
        return [found[index] for index in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Nobody knows of environments in other processes; Stable-Baselines3 asks for its monitor, which is around."""
        return [False for _ in self._chosen(indices)]

    def _chosen(self, indices: Any) -> Sequence[int]:
        return list(self._get_indices(indices))


def info_of(infos: dict[str, Any], index: int) -> dict[str, Any]:
    """The info of one environment out of a vector's: without what others alone told."""
    found: dict[str, Any] = {}
    for name, values in infos.items():
        if name.startswith("_") or name in ("final_obs", "final_info"):
            continue
        told = infos.get(f"_{name}")
        if told is not None and not told[index]:
            continue
        found[name] = info_of(values, index) if isinstance(values, dict) else values[index]
    return found
