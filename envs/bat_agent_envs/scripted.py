"""Agents without learning: one that walks to where it believes the sound is (:mod:`.belief`), and one by lot."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent_envs.belief import NAMED, Beliefs, Floats, GoalMap, Heard, shares
from bat_agent_envs.known_floor import KnownFloor
from bat_agent_envs.navigation import FORWARD, LEFT, RIGHT, STOP
from bat_agent_envs.options import PREFIX


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
    give :meth:`keys_for` them; as it has a map of its own, each look by itself (``joined_s=0``, with ``turn_key``).
    """

    keys = ("direction", "azimuth_probs", "distance", "valid", "slot_probs", "age", "arrivals")
    """What it needs to hear of one sound alone."""
    named_keys = ("slot_arrivals", "arrival_probs")
    """What else of a sound that is named among others."""

    @classmethod
    def keys_for(cls, env: gym.Env[Any, Any]) -> tuple[str, ...]:
        """What it needs to hear in an environment."""
        return (*cls.keys, *cls.named_keys) if _names_goal(env) else cls.keys

    def __init__(self, env: gym.Env[Any, Any], beliefs: Beliefs | None = None) -> None:
        given = [name for name in env.observation_space.spaces if name.startswith(PREFIX)]  # type: ignore[attr-defined]
        if given and (missing := {PREFIX + key for key in self.keys_for(env)} - {*given}):
            raise BadInput(
                f"this environment gives no {min(missing)}, which the scripted agent needs in it: make SpatialHearing "
                "with keys=ScriptedAgent.keys_for(env)"
            )
        self._turn = math.radians(env.get_wrapper_attr("turn_deg"))
        self._forward_m: float = env.get_wrapper_attr("forward_m")
        self._step_s: float = env.get_wrapper_attr("step_s")
        self._beliefs = beliefs or (NAMED if _names_goal(env) else Beliefs())
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self._map = GoalMap(self._beliefs)
        self._floor = KnownFloor()
        self._stood, self._turns = (0.0, 0.0), 0
        self._heard, self._last = 0.0, FORWARD
        self._unheard = self._steps = 0
        self._places: list[tuple[float, float]] = []

    def act(self, observation: dict[str, Any]) -> int:
        """An action."""
        x, z, cosine, sine = (float(value) for value in observation["pose"])
        self._floor.stands(x, z)
        if bool(observation["collided"][0]) and self._last == FORWARD:
            self._floor.bumped(self._stood, (x, z), self._turns * self._turn, self._forward_m)
        self._stood = x, z
        self._listen(observation, x, z, math.atan2(sine, cosine))
        self._last = self._choose(x, z)
        self._turns += (self._last == LEFT) - (self._last == RIGHT)
        return self._last

    def _listen(self, observation: dict[str, Any], x: float, z: float, turn: float) -> None:
        self._steps += 1
        self._unheard = self._unheard + 1 if self._sounding() < 1 else 0  # it sounds, heard or not
        if observation["audio/age"][0] > 0:
            return
        valid = observation["audio/valid"] > 0.5
        if "goal" in observation:
            share = self._shares(observation["audio/slot_probs"], observation["goal"], valid)
            probs, arrived = observation["audio/arrival_probs"], observation["audio/slot_arrivals"].astype(float)
            own = self._shares(probs, observation["goal"], probs.any(axis=1))
            self._map.arrive((x, z, turn), own @ arrived, (1 - own) @ arrived)
        else:
            share = valid / max(valid.sum(), 1)
            self._map.arrive((x, z, turn), observation["audio/arrivals"].astype(float))
        if not valid.any():
            return
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

    def _shares(self, probs: NDArray[np.floating], goal: int, there: NDArray[np.bool_]) -> Floats:
        """How likely each slot is the goal, from the probabilities of its classes."""
        said = np.asarray(probs, np.float64)
        return shares(said[:, goal], said.max(axis=1), there, self._sounding(), self._beliefs)

    def _sounding(self) -> float:
        """Probability that the goal still sounds, before anything is heard: its length is drawn uniformly."""
        least, most = self._beliefs.sounds_s
        now = self._steps * self._step_s
        if now <= least:
            return 1.0
        return max((most - now) / (most - least), 0.0) if math.isfinite(most) else 1.0

    def _choose(self, x: float, z: float) -> int:
        if (look := self._look()) is not None:
            return look
        goal, trust = self._map.best(), self._beliefs
        away = math.dist(goal, (x, z))
        if self._is_there(x, z, goal, trust.stop_m, trust.stop_sure, trust.stop_way_m):
            return STOP
        # Of what is silent no more is learnt: the longer it takes to get there, the farther off is near enough.
        silent = self._unheard - trust.silent_steps
        if silent >= 0 and away < 0.4 + trust.impatience_m * silent:
            return STOP
        if away < 0.4:
            self._map.not_at(x, z, 0.4)
        if self._is_stuck(x, z):
            if self._is_there(x, z, goal, trust.stuck_m, trust.stuck_sure, trust.stuck_way_m):  # in front of it
                return STOP
            self._places.clear()
        half = round(math.pi / self._turn)
        # By counting, not by the pose: what is in the way of a turn from here stays in the way of it, rounding or not.
        turns = sorted(range(self._turns - half, self._turns + half + 1), key=lambda number: abs(number - self._turns))
        wanted = self._floor.way((x, z), goal, [number * self._turn for number in turns], self._forward_m)
        apart = round(wanted / self._turn) - self._turns
        return FORWARD if apart == 0 else LEFT if apart > 0 else RIGHT

    def _is_there(
        self, x: float, z: float, goal: tuple[float, float], within_m: float, sure: float, way_m: float
    ) -> bool:
        """Whether the goal is so near, with so much probability, and nothing known between."""
        return self._map.within(x, z, within_m) > sure and self._floor.metres((x, z), goal) < way_m

    def _look(self) -> int | None:
        """Look around before walking anywhere."""
        return LEFT if self._steps < self._beliefs.look_steps and self._heard < 1.5 else None

    def _is_stuck(self, x: float, z: float) -> bool:
        """Whether it has been about here for some time."""
        self._places = [*self._places, (x, z)][-self._beliefs.stuck_steps :]
        return len(self._places) == self._beliefs.stuck_steps and all(
            math.hypot(x - px, z - pz) < 0.3 for px, pz in self._places
        )


def _names_goal(env: gym.Env[Any, Any]) -> bool:
    return "goal" in env.observation_space.spaces  # type: ignore[attr-defined]


def run_episode(env: gym.Env[Any, Any], agent: Any, seed: int) -> dict[str, float]:
    """The measures of one seeded episode."""
    observation, _ = env.reset(seed=seed)
    agent.reset(seed)
    while True:
        observation, _, terminated, truncated, info = env.step(agent.act(observation))
        if terminated or truncated:
            return dict(info["episode_metrics"])
