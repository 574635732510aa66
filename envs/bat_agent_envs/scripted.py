"""Agents without learning: one that walks to where it believes the sound is (:mod:`.belief`), and one by lot."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from bat_agent_envs.belief import NAMED, Beliefs, GoalMap, Heard, shares
from bat_agent_envs.navigation import FORWARD, LEFT, RIGHT, STOP


class RandomAgent:
    """Acts by lot, and stops in one of 25 actions."""

    def __init__(self) -> None:
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self._rng = np.random.default_rng(seed)

    def act(self, observation: dict[str, Any]) -> int:
        """An action."""
        return int(self._rng.choice([FORWARD, LEFT, RIGHT, STOP], p=[0.5, 0.23, 0.23, 0.04]))


class ScriptedAgent:
    """Walks to where it believes the goal is, around what it bumps into, and stops there.

    For ``AudioGoal-v0`` and ``SemanticAudioGoal-v0`` with discrete actions inside :class:`SpatialHearing`, which must
    give :attr:`keys`; as it has a map of its own, each look by itself (``joined_s=0``, with ``turn_key``).
    """

    keys = ("direction", "azimuth_probs", "distance", "valid", "slot_probs", "age")
    """What it needs to hear."""

    def __init__(self, env: gym.Env[Any, Any], beliefs: Beliefs | None = None) -> None:
        self._turn = math.radians(env.get_wrapper_attr("turn_deg"))
        self._forward_m: float = env.get_wrapper_attr("forward_m")
        self._step_s: float = env.get_wrapper_attr("step_s")
        named = "goal" in env.observation_space.spaces  # type: ignore[attr-defined]
        self._beliefs = beliefs or (NAMED if named else Beliefs())
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self._map = GoalMap(self._beliefs)
        self._blocked: list[tuple[float, float]] = []
        self._rng = np.random.default_rng(seed)
        self._detour, self._collided = 0, False
        self._heard, self._last = 0.0, FORWARD
        self._unheard = self._steps = self._wander = 0
        self._wandering = 0.0
        self._places: list[tuple[float, float]] = []

    def act(self, observation: dict[str, Any]) -> int:
        """An action."""
        x, z, cosine, sine = (float(value) for value in observation["pose"])
        turn = math.atan2(sine, cosine)
        self._collided = bool(observation["collided"][0]) and self._last == FORWARD
        if self._collided:
            self._blocked.append((x - self._forward_m * math.sin(turn), z - self._forward_m * math.cos(turn)))
        self._listen(observation, x, z, turn)
        self._last = self._choose(x, z, turn)
        return self._last

    def _listen(self, observation: dict[str, Any], x: float, z: float, turn: float) -> None:
        self._unheard, self._steps = self._unheard + 1, self._steps + 1
        if observation["audio/age"][0] > 0:
            return
        valid = observation["audio/valid"] > 0.5
        if not valid.any():
            return
        if "goal" in observation:
            probs = observation["audio/slot_probs"].astype(float)
            share = shares(probs[:, observation["goal"]], probs.max(axis=1), valid, self._sounding(), self._beliefs)
        else:
            share = valid / valid.sum()
        sources = []
        for slot in np.flatnonzero(valid):
            x_right, _, z_back = observation["audio/direction"][slot]
            level, distance = math.hypot(x_right, z_back), float(observation["audio/distance"][slot])
            azimuth = observation["audio/azimuth_probs"][slot].astype(float)
            sources.append(Heard(azimuth, distance * level, float(share[slot]), level > 0.2))
        self._map.hear((x, z, turn), sources)
        self._heard += float(share.sum())
        if share.sum() > 0.3:
            self._unheard = 0

    def _sounding(self) -> float:
        """Probability that the goal still sounds, before anything is heard: its length is drawn uniformly."""
        least, most = self._beliefs.sounds_s
        now = self._steps * self._step_s
        if now <= least:
            return 1.0
        return max((most - now) / (most - least), 0.0) if math.isfinite(most) else 1.0

    def _choose(self, x: float, z: float, turn: float) -> int:
        if (look := self._look()) is not None:
            return look
        goal_x, goal_z = self._map.best()
        away = math.hypot(goal_x - x, goal_z - z)
        if self._map.within(x, z, self._beliefs.stop_m) > self._beliefs.stop_sure:
            return STOP
        # Of what is silent no more is learnt: the longer it takes to get there, the farther off is near enough.
        silent = self._unheard - self._beliefs.silent_steps
        if silent >= 0 and away < 0.4 + self._beliefs.impatience_m * silent:
            return STOP
        if away < 0.4:
            self._map.not_at(x, z, 0.4)
        if self._is_stuck(x, z):
            if self._map.within(x, z, self._beliefs.stuck_m) > self._beliefs.stuck_sure:  # in front of it
                return STOP
            self._wander, self._wandering = self._beliefs.wander_steps, float(self._rng.uniform(-math.pi, math.pi))
            self._places.clear()
        if self._wander > 0:
            self._wander -= 1
            return self._towards(self._around(x, z, self._wandering), turn)
        if self._detour > 0:
            self._detour -= 1
            return FORWARD
        # Heading counter-clockwise from straight ahead of the start, where −z is ahead.
        wanted = math.atan2(-(goal_x - x), -(goal_z - z))
        return self._towards(self._around(x, z, wanted), turn)

    def _look(self) -> int | None:
        """Look around before walking anywhere."""
        return LEFT if self._steps < self._beliefs.look_steps and self._heard < 1.5 else None

    def _is_stuck(self, x: float, z: float) -> bool:
        """Whether it has been about here for some time."""
        self._places = [*self._places, (x, z)][-self._beliefs.stuck_steps :]
        return len(self._places) == self._beliefs.stuck_steps and all(
            math.hypot(x - px, z - pz) < 0.3 for px, pz in self._places
        )

    def _around(self, x: float, z: float, wanted: float) -> float:
        """The heading nearest to the one wanted in which nothing was bumped into."""
        for number in range(12):
            side = (1 if number % 2 else -1) * math.ceil(number / 2) * self._turn
            heading = wanted + side
            if all(
                math.hypot(x - reach * math.sin(heading) - bx, z - reach * math.cos(heading) - bz) > 0.2
                for bx, bz in self._blocked
                for reach in (self._forward_m, 2 * self._forward_m)
            ):
                if number > 1:
                    self._detour = 1
                return heading
        return wanted + float(self._rng.uniform(-math.pi, math.pi))

    def _towards(self, heading: float, turn: float) -> int:
        apart = (heading - turn + math.pi) % (2 * math.pi) - math.pi
        if abs(apart) <= 0.55 * self._turn:
            return FORWARD
        return LEFT if apart > 0 else RIGHT


def run_episode(env: gym.Env[Any, Any], agent: Any, seed: int) -> dict[str, float]:
    """The measures of one seeded episode."""
    observation, _ = env.reset(seed=seed)
    agent.reset(seed)
    while True:
        observation, _, terminated, truncated, info = env.step(agent.act(observation))
        if terminated or truncated:
            return dict(info["episode_metrics"])
