"""The scripted agent with perfect ears: what is left is how it walks."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.scene import unit_vector
from bat_agent_envs import SpatialHearing, registration
from bat_agent_envs.belief import NAMED, Beliefs, GoalMap, Heard, shares
from bat_agent_envs.scripted import RandomAgent, ScriptedAgent, run_episode

registration.register()


def nearly(azimuth_deg: float) -> np.ndarray:
    """(360,) probabilities within some 3° of an azimuth."""
    apart = (np.arange(360) - azimuth_deg + 180) % 360 - 180
    near = np.exp(-0.5 * (apart / 3) ** 2)
    return np.asarray(near / near.sum())


class PerfectEars(gym.Wrapper[Any, Any, Any, Any]):
    """Says where the sources truly are, in two slots; of a goal that is silent, nothing."""

    def reset(self, **options: Any) -> Any:
        observation, info = self.env.reset(**options)
        return self._hear(observation, info), info

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._hear(observation, info), reward, terminated, truncated, info

    def _hear(self, observation: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
        direction, distance, probs = np.zeros((2, 3)), np.zeros(2), np.zeros((2, 355), np.float32)
        valid, azimuth = np.zeros(2), np.zeros((2, 360))
        for number, place in enumerate(self.env.get_wrapper_attr("scene").positions()):
            if number == 0 and info["truth"]["silent"]:
                continue
            direction[number], distance[number] = unit_vector(place.azimuth_deg, place.elevation_deg), place.distance_m
            valid[number], azimuth[number] = 1, nearly(place.azimuth_deg)
            if "goal" in observation:
                probs[number, observation["goal"] if number == 0 else observation["goal"] - 1] = 0.9
        added = {
            "direction": direction, "azimuth_probs": azimuth, "distance": distance, "valid": valid,
            "slot_probs": probs, "age": np.zeros(1), "arrivals": np.zeros(360),
            "slot_arrivals": np.zeros((2, 360)), "arrival_probs": probs,
        }  # fmt: skip
        return observation | {f"audio/{key}": value for key, value in added.items()}


def run(name: str, episodes: int) -> dict[str, dict[str, float]]:
    bare = gym.make(f"bat_agent_envs/{name}", disable_env_checker=True, sounds="procedural:2")
    heard = PerfectEars(bare)
    found = {}
    for title, env, agent in (("scripted", heard, ScriptedAgent(heard)), ("random", bare, RandomAgent())):
        runs = [run_episode(env, agent, seed) for seed in range(episodes)]
        found[title] = {key: float(np.mean([one[key] for one in runs])) for key in ("success", "spl")}
    return found


@pytest.mark.parametrize(("name", "spl"), [("AudioGoal-v0", 0.85), ("SemanticAudioGoal-v0", 0.8)])
@pytest.mark.slow
def test_with_perfect_ears_it_finds_nearly_everything_and_walks_straight(name: str, spl: float) -> None:
    found = run(name, 24)
    assert found["scripted"]["success"] >= 0.9
    assert found["scripted"]["spl"] >= spl
    assert found["random"]["success"] <= 0.4


def test_it_repeats_itself() -> None:
    env = PerfectEars(gym.make("bat_agent_envs/AudioGoal-v0", disable_env_checker=True, sounds="procedural:2"))
    agent = ScriptedAgent(env)
    first, _, again = (run_episode(env, agent, seed) for seed in (3, 4, 3))
    assert {k: v for k, v in first.items() if not math.isnan(v)} == {
        k: v for k, v in again.items() if not math.isnan(v)
    }


def test_two_bearings_meet_where_the_goal_is() -> None:
    """Heard twice from places apart, in directions and distances of plain geometry, it is where both point."""
    goal = np.array([2.0, -3.0])
    found = GoalMap(Beliefs())
    for x, z, turn in ((0.0, 0.0, 0.0), (2.0, 0.0, math.pi / 2), (0.0, -2.0, -1.0)):
        dx, dz = goal - (x, z)
        azimuth = math.atan2(-dz, dx) - turn
        for _ in range(3):
            found.hear((x, z, turn), [Heard(nearly(math.degrees(azimuth)), math.hypot(dx, dz), 1.0)])
    assert np.hypot(*(np.array(found.best()) - goal)) < 0.3
    assert found.within(float(goal[0]), float(goal[1]), 1.0) > 0.5


def test_where_the_other_sound_goes_on_the_goal_is_not() -> None:
    """Once it was heard under the goal's name; then, for long, as what it is."""
    believed = {}
    for apart_m in (NAMED.apart_m, 0.0):
        found = GoalMap(dataclasses.replace(NAMED, apart_m=apart_m))
        for turn in np.arange(0.0, 2.0, 0.5):
            ahead, aside = (Heard(nearly(place - math.degrees(turn)), 3.0, 0.4) for place in (90.0, 200.0))
            found.hear((0.0, 0.0, turn), [ahead, aside])
        for x in (0.0, 0.5, 1.0, 1.5):
            azimuth_deg = math.degrees(math.atan2(3.0, -x))
            for _ in range(6):
                found.hear((x, 0.0, 0.0), [Heard(nearly(azimuth_deg), math.hypot(3.0, x), 0.005)])
        believed[apart_m] = found.within(0.0, -3.0, 0.8)
        assert found.believed().sum() == pytest.approx(1)
    assert believed[NAMED.apart_m] < 0.5 * believed[0.0]


def test_what_arrived_counts_from_wherever_it_was_heard() -> None:
    """Two bearings of nobody knows what, without a look: they meet where it is."""
    goal = np.array([2.0, -3.0])
    found = GoalMap(Beliefs())
    for x, z, turn in ((0.0, 0.0, 0.0), (2.0, 0.0, math.pi / 2), (0.0, -2.0, -1.0)):
        azimuth_deg = math.degrees(math.atan2(-(goal[1] - z), goal[0] - x) - turn)
        for _ in range(10):
            found.arrive((x, z, turn), 10 * nearly(azimuth_deg) / nearly(azimuth_deg).max())
    assert np.hypot(*(np.array(found.best()) - goal)) < 0.4


def test_what_is_surely_not_the_goal_says_nothing() -> None:
    found = GoalMap(Beliefs())
    before = found.log.copy()
    found.hear((0.0, 0.0, 0.0), [Heard(nearly(57.0), 2.0, 0.0)])
    np.testing.assert_allclose(found.log, before)


@pytest.mark.parametrize(
    ("own", "likest", "sounding", "least", "most"),
    [
        ([0.9, 0.0], [0.9, 0.8], 1.0, [0.8, 0.0], [0.95, 0.1]),  # named beside another
        ([0.0, 0.0], [0.7, 0.8], 1.0, [0.1, 0.1], [0.5, 0.5]),  # it sounds, but which one is it?
        ([0.0, 0.0], [0.7, 0.8], 0.1, [0.0, 0.0], [0.05, 0.05]),  # it has most likely stopped
        ([0.9, 0.0], [0.9, 0.8], 0.0, [0.0, 0.0], [0.0, 0.0]),  # it has stopped: that is something else
    ],
)
def test_how_likely_each_sound_is_the_one_that_is_named(
    own: list[float], likest: list[float], sounding: float, least: list[float], most: list[float]
) -> None:
    found = shares(np.array(own), np.array(likest), np.array([True, True]), sounding, NAMED)
    assert np.all(found >= least)
    assert np.all(found <= most)
    assert found.sum() <= 1


def test_ears_that_lack_what_it_needs_are_refused(echo: str) -> None:
    env = SpatialHearing(
        gym.make("bat_agent_envs/SemanticAudioGoal-v0", disable_env_checker=True, sounds="procedural:2"), echo,
        keys=ScriptedAgent.keys,
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"no audio/arrival_probs.*keys_for"):
        ScriptedAgent(env)
