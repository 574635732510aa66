"""``AudioGoal-v0``: walk to what sounds. ``SemanticAudioGoal-v0``: to what is named, among others."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from bat_agent.errors import BadInput
from bat_agent.labels import class_number, labels
from bat_agent_envs.navigation import NavigationEnv

STEP_COST, SUCCESS_REWARD = 0.01, 10.0


class AudioGoalEnv(NavigationEnv):
    """Find the sounding object in a furnished room.

    Observation: ``audio`` (2, step_s · 32 000) the sound of the step, left ear first; ``pose`` (4,) metres to the right
    and back from where the agent began, cosine and sine of how far it has turned; ``collided`` (1,). Actions: 0 ahead,
    1 turn left, 2 turn right, 3 stop; or, continuous, (3,) in −1 … 1: ahead, turn (right is positive), stop if above
    0.5. A step slides along what is in its way. Stopping ends the episode, with success within ``success_m`` of the
    goal. Reward (as in SoundSpaces): metres nearer to the goal along the floor, −0.01 a step, 10 for success.
    ``info["truth"]`` says where the goal is, ``info["episode_metrics"]`` in the end how it went
    (:func:`bat_agent_envs.metrics.episode_metrics`). The sound never stops. Arguments are those of
    :class:`~bat_agent_envs.navigation.NavigationEnv`.
    """

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Act for ``step_s`` seconds, and hear them."""
        before = self.world.way_m(self.world.x, self.world.z)
        collided, stopped = self._move(action)
        self._steps += 1
        way = self.world.way_m(self.world.x, self.world.z)
        success = stopped and way <= self.success_m
        observation = self._observe(collided)
        truncated = not stopped and self._steps >= self.max_steps
        info = self._info()
        if stopped or truncated:
            info["episode_metrics"] = self._metrics(success)
        reward = before - way - STEP_COST + SUCCESS_REWARD * success
        return observation, float(reward), bool(stopped), bool(truncated), info


class SemanticAudioGoalEnv(AudioGoalEnv):
    """Find what is named, while other things sound as well; it falls silent before most agents are there.

    As :class:`AudioGoalEnv`, with ``goal`` in the observation: the number of the class that is looked for, of
    ``bat_agent.labels.labels()``; ``info["goal"]`` is its name. The goal sounds for ``sounds_s`` seconds at least and
    ``sounds_s_most`` at most, drawn uniformly; the ``distractors``, of other classes, never stop.
    """

    def __init__(
        self, *args: Any, distractors: int = 1, sounds_s: float = 5.0, sounds_s_most: float = 15.0, **kwargs: Any
    ) -> None:
        if distractors < 1:
            raise BadInput(f"distractors must be at least 1, got {distractors}; without any, make AudioGoal-v0")
        if not 0 < sounds_s <= sounds_s_most:
            raise BadInput(f"needed 0 < sounds_s <= sounds_s_most, got {sounds_s} and {sounds_s_most}")
        self.num_sources = 1 + distractors
        self._sounds_s = (sounds_s, sounds_s_most)
        super().__init__(*args, **kwargs)

    def _spaces(self) -> dict[str, gym.Space[Any]]:
        return {**super()._spaces(), "goal": gym.spaces.Discrete(len(labels()))}

    def _stops_s(self) -> list[float | None]:
        return [float(self.np_random.uniform(*self._sounds_s))] + [None] * (self.num_sources - 1)

    def _extra(self) -> dict[str, Any]:
        return {"goal": class_number(self.world.goal.labels[0])}

    def _info(self) -> dict[str, Any]:
        return {**super()._info(), "goal": self.world.goal.labels[0]}
