"""Agents without learning: one that walks to where it believes the sound is, and one that acts by lot.

The belief is a map around where the agent began. Each perception multiplies into it: a direction along a ray, wide as
the ears err, with a share for the mistaken side of the cone of confusion (front for behind) and one for being wrong
altogether; a distance, wider still. What one perception leaves open, the next settles, as the agent has turned or
walked in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from bat_agent_envs.navigation import FORWARD, LEFT, RIGHT, STOP

Floats = NDArray[np.float64]
_HIDDEN = 0.3
"""What any source counts where the named one was never heard."""


@dataclass(frozen=True)
class Beliefs:
    """How much the agent trusts what it hears."""

    reach_m: float = 12.0
    """Half the side of the map."""
    cell_m: float = 0.25
    width_deg: float = 10.0
    """Standard deviation of the azimuth, where it is right."""
    right: tuple[float, ...] = (0.50, 0.62, 0.72, 0.75, 0.82)
    """Share of perceptions that are right, 0, 1, 2, … steps after the last turn: what is heard of a head that turns is
    short, then longer."""
    mistaken: tuple[float, ...] = (0.20, 0.20, 0.15, 0.15, 0.10)
    """Share that take front for behind; the rest is wrong altogether."""
    log_distance: float = 0.9
    """Standard deviation of the natural logarithm of the distance."""
    sharpen: float = 0.3
    """Power of each perception: those of overlapping windows, and of one place, are wrong together."""
    stop_m: float = 0.85
    stop_sure: float = 0.8
    """The agent stops where it believes with so much probability that the goal is within ``stop_m``."""
    look_steps: int = 12
    """Steps at most to look around before walking anywhere."""
    stuck_steps: int = 14
    """Who stays in one place for so many steps is stuck: and stops, where the goal is believed within ``stuck_m``
    (twice that where it is silent), or walks somewhere else for ``wander_steps``."""
    stuck_m: float = 1.1
    wander_steps: int = 8
    silent_steps: int = 8
    """What was not heard for so many steps will not be heard again: then the likeliest place must do."""


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


@dataclass
class _Map:
    """Log-probability of where the goal is; x to the right and z back, from where the agent began."""

    beliefs: Beliefs
    log: Floats = field(init=False)
    x: Floats = field(init=False)
    z: Floats = field(init=False)

    def __post_init__(self) -> None:
        axis = np.arange(-self.beliefs.reach_m, self.beliefs.reach_m + 1e-6, self.beliefs.cell_m)
        self.x, self.z = np.meshgrid(axis, axis, indexing="ij")
        self.log = -0.02 * np.hypot(self.x, self.z)  # nearer is likelier, before anything is heard

    def hear(
        self, pose: tuple[float, float, float], azimuth: float, distance_m: float, weight: float, still: int
    ) -> None:
        """One source, at an azimuth (0 right, π/2 front) and a distance, ``still`` steps after the last turn."""
        trust = self.beliefs
        bearing, away = self._seen_from(*pose)
        width = math.radians(trust.width_deg)
        right, mistaken = (shares[min(still, len(shares) - 1)] for shares in (trust.right, trust.mistaken))
        said = right * self._ray(bearing, azimuth, width) + mistaken * self._ray(bearing, -azimuth, width)
        said += (1 - right - mistaken) / (2 * math.pi)
        off = (np.log(away + 0.1) - math.log(distance_m + 0.1)) / trust.log_distance
        near = np.exp(-0.5 * off**2) + 0.1
        self.log += weight * trust.sharpen * (np.log(said) + np.log(near))

    def within(self, x: float, z: float, radius_m: float) -> float:
        """Probability that the goal is so near to a place."""
        share = np.exp(self.log - self.log.max())
        return float(share[np.hypot(self.x - x, self.z - z) < radius_m].sum() / share.sum())

    def not_at(self, x: float, z: float, radius_m: float) -> None:
        """The agent went there, and it is not."""
        self.log[np.hypot(self.x - x, self.z - z) < radius_m] -= 0.5

    def best(self) -> tuple[float, float]:
        """The likeliest place: the mean of what is believed within 0.75 m of the likeliest cell."""
        share = np.exp(self.log - self.log.max())
        i, k = np.unravel_index(int(share.argmax()), share.shape)
        near = np.hypot(self.x - self.x[i, k], self.z - self.z[i, k]) < 0.75
        inside = share[near]
        return float(np.average(self.x[near], weights=inside)), float(np.average(self.z[near], weights=inside))

    def _seen_from(self, x: float, z: float, turn: float) -> tuple[Floats, Floats]:
        """Azimuth and distance of each cell for an agent there, turned counter-clockwise by so much."""
        dx, dz = self.x - x, self.z - z
        return np.arctan2(-dz, dx) - turn, np.hypot(dx, dz)

    @staticmethod
    def _ray(bearing: Floats, azimuth: float, width: float) -> Floats:
        apart = np.abs((bearing - azimuth + math.pi) % (2 * math.pi) - math.pi)
        return np.asarray(np.exp(-0.5 * (apart / width) ** 2) / (width * math.sqrt(2 * math.pi)))


class ScriptedAgent:
    """Walks to where it believes the goal is, around what it bumps into, and stops there.

    For ``AudioGoal-v0`` and ``SemanticAudioGoal-v0`` with discrete actions inside :class:`SpatialHearing`, which must
    give ``direction``, ``distance``, ``valid`` and, for a named goal, ``slot_probs``.
    """

    keys = ("direction", "distance", "valid", "slot_probs", "age")
    """What it needs to hear."""

    def __init__(self, env: gym.Env[Any, Any], beliefs: Beliefs | None = None) -> None:
        self._turn = math.radians(env.get_wrapper_attr("turn_deg"))
        self._forward_m: float = env.get_wrapper_attr("forward_m")
        self._beliefs = beliefs or Beliefs()
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self._map = _Map(self._beliefs)
        self._blocked: list[tuple[float, float]] = []
        self._rng = np.random.default_rng(seed)
        self._detour = 0
        self._heard, self._last, self._still = 0.0, FORWARD, 0
        self._unheard = self._steps = self._wander = 0
        self._wandering = 0.0
        self._places: list[tuple[float, float]] = []

    def act(self, observation: dict[str, Any]) -> int:
        """An action."""
        x, z, cosine, sine = (float(value) for value in observation["pose"])
        turn = math.atan2(sine, cosine)
        if observation["collided"][0] and self._last == FORWARD:
            self._blocked.append((x - self._forward_m * math.sin(turn), z - self._forward_m * math.cos(turn)))
        self._listen(observation, x, z, turn)
        self._last = self._choose(x, z, turn)
        self._still = 0 if self._last in (LEFT, RIGHT) else self._still + 1
        return self._last

    def _listen(self, observation: dict[str, Any], x: float, z: float, turn: float) -> None:
        self._unheard, self._steps = self._unheard + 1, self._steps + 1
        if observation["audio/age"][0] > 0:
            return
        weights = observation["audio/valid"].astype(float)
        if "goal" in observation:
            named = _named(observation["audio/slot_probs"], int(observation["goal"]))
            # What is named was never heard: then it is hidden in what is heard.
            lost = self._heard == 0 and self._steps > self._beliefs.look_steps
            weights = weights * (_HIDDEN if lost else named)
        for direction, distance, weight in zip(
            observation["audio/direction"], observation["audio/distance"], weights, strict=True
        ):
            # A source overhead tells nothing of where to go.
            level = math.hypot(direction[0], direction[2])
            if weight > 0 and level > 0.2:
                azimuth = math.atan2(-direction[2], direction[0])
                self._map.hear((x, z, turn), azimuth, float(distance) * level, float(weight), self._still)
                self._heard += weight
                self._unheard = 0

    def _choose(self, x: float, z: float, turn: float) -> int:
        if self._heard < 1.5 and self._steps < self._beliefs.look_steps:  # look around before walking anywhere
            return LEFT
        goal_x, goal_z = self._map.best()
        away = math.hypot(goal_x - x, goal_z - z)
        if self._map.within(x, z, self._beliefs.stop_m) > self._beliefs.stop_sure:
            return STOP
        if away < 0.4 and self._unheard >= self._beliefs.silent_steps:
            return STOP
        if away < 0.4:
            self._map.not_at(x, z, 0.4)
        if self._is_stuck(x, z):
            silent = self._unheard >= self._beliefs.silent_steps
            if away < self._beliefs.stuck_m * (2 if silent else 1):  # in front of it, with something in the way
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


def _named(slot_probs: NDArray[np.float32], goal: int) -> Floats:
    """How far each slot is the goal rather than anything else."""
    own = slot_probs[:, goal].astype(float)
    share = own / np.maximum(slot_probs.max(axis=1), 1e-6)
    return np.asarray(np.where(own > 0.02, share, 0.0))


def run_episode(env: gym.Env[Any, Any], agent: Any, seed: int) -> dict[str, float]:
    """The measures of one seeded episode."""
    observation, _ = env.reset(seed=seed)
    agent.reset(seed)
    while True:
        observation, _, terminated, truncated, info = env.step(agent.act(observation))
        if terminated or truncated:
            return dict(info["episode_metrics"])
