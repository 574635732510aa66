"""Habitat in Gymnasium's clothes: simulator, old environments, SoundSpaces' padded steps (against the stand-in)."""

from __future__ import annotations

import types
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent_envs import HabitatHearing
from bat_agent_envs.habitat import goals_of
from bat_agent_envs.old_gym import OldGymEnv, as_gymnasium, converted


class Box:
    """As in the old gym."""

    def __init__(self, low: float, high: float, shape: tuple[int, ...], dtype: Any) -> None:
        self.low, self.high = np.full(shape, low, dtype), np.full(shape, high, dtype)
        self.shape, self.dtype = shape, np.dtype(dtype)


class Discrete:
    def __init__(self, n: int) -> None:
        self.n = n


class Dict:
    def __init__(self, **spaces: Any) -> None:
        self.spaces = spaces


class SoundSpaces:
    """SoundSpaces' continuous mode: 0.25 s of sound at 16 kHz, padded to a second; the old step."""

    def __init__(self, limit: bool = False) -> None:
        self.observation_space = Dict(
            audiogoal=Box(-np.inf, np.inf, (2, 16_000), np.float32), depth=Box(0, 1, (4, 4), np.float32)
        )
        self.action_space = Discrete(4)
        config = types.SimpleNamespace(AUDIO=types.SimpleNamespace(RIR_SAMPLING_RATE=16_000), STEP_TIME=0.25)
        self.sim = types.SimpleNamespace(get_agent=lambda i: None, pathfinder=object(), config=config)
        self.limit, self.seeds, self.steps = limit, [], 0

    def seed(self, seed: int) -> None:
        self.seeds.append(seed)

    def reset(self) -> dict[str, np.ndarray]:
        self.steps = 0
        return self._see()

    def step(self, action: int) -> tuple[Any, float, bool, dict[str, Any]]:
        self.steps += 1
        info = {"spl": 0.5, **({"TimeLimit.truncated": True} if self.limit else {})}
        return self._see(), 1, self.steps >= 3, info

    def _see(self) -> dict[str, np.ndarray]:
        sound = np.zeros((2, 16_000), np.float32)
        # Each ear has a noise of its own: one noise at two levels would be one microphone, which has no direction.
        sound[:, :4_000] = np.random.default_rng(self.steps).standard_normal((2, 4_000)) * [[0.01], [0.1]]
        return {"audiogoal": sound, "depth": np.zeros((4, 4), np.float32)}

    def render(self, mode: str = "human") -> str:
        return mode

    def close(self) -> None:
        self.closed = True


def test_soundspaces_continuous_mode_is_heard_without_its_padding(echo: str) -> None:
    old = SoundSpaces()
    env = HabitatHearing(old, model=echo, window_s=1.0)
    observation, _ = env.reset(seed=3)
    assert old.seeds == [3]
    for _ in range(2):
        observation, reward, terminated, truncated, info = env.step(1)
    np.testing.assert_allclose(observation["audio/direction"], [[1, 0, 0]], atol=0.05)
    window = env.hearing.window(0)
    assert 0.7 * 32_000 < window.shape[1] <= 0.75 * 32_000  # what the resampler holds back is missing
    stretches = window[1, : window.shape[1] // 7 * 7].reshape(7, -1)
    level = np.sqrt((stretches**2).mean(axis=1))
    assert level.min() > 0.5 * level.max()
    assert (reward, terminated, truncated, info["spl"]) == (1.0, False, False, 0.5)
    assert env.observation_space.contains(observation)
    assert set(observation) >= {"depth", "audio/direction"}


@pytest.mark.parametrize(("limit", "ends"), [(False, (True, False)), (True, (False, True))])
def test_the_old_end_is_a_termination_or_a_truncation(limit: bool, ends: tuple[bool, bool]) -> None:
    env = as_gymnasium(SoundSpaces(limit))
    env.reset()
    assert [env.step(0)[2:4] for _ in range(3)][-1] == ends
    assert env.render() == "rgb_array"
    env.close()
    assert env.get_wrapper_attr("closed")


def test_a_habitat_env_gives_metrics_but_no_reward() -> None:
    class Env(SoundSpaces):
        episode_over = False

        def step(self, action: int) -> Any:
            observation, _, self.episode_over, _ = super().step(action)
            return observation

        def get_metrics(self) -> dict[str, float]:
            return {"success": 1.0}

    env = as_gymnasium(Env())
    env.reset()
    steps = [env.step(0) for _ in range(3)]
    assert [step[1:] for step in steps] == [(0.0, False, False, {"success": 1.0})] * 2 + [
        (0.0, True, False, {"success": 1.0})
    ]


def test_spaces_keep_what_they_are() -> None:
    space = converted(
        Dict(a=Box(0, 1, (2,), np.float32), b=Discrete(3), c=types.SimpleNamespace(nvec=np.array([2, 3])))
    )
    assert isinstance(space, gym.spaces.Dict)
    assert space["a"] == gym.spaces.Box(0, 1, (2,), np.float32)
    assert space["b"] == gym.spaces.Discrete(3)
    assert space["c"] == gym.spaces.MultiDiscrete([2, 3])
    with pytest.raises(BadInput, match="has no counterpart in Gymnasium"):
        converted(object())


def test_goals_sound_at_the_height_of_a_mouth() -> None:
    goal = types.SimpleNamespace(position=np.array([1, 0.1, -2], np.float32))
    env = types.SimpleNamespace(habitat_env=types.SimpleNamespace(current_episode=types.SimpleNamespace(goals=[goal])))
    np.testing.assert_allclose(goals_of(env), [(1, 1.6, -2)], atol=1e-6)
    with pytest.raises(BadInput, match="no current episode with goals"):
        goals_of(object())


def test_what_is_no_habitat_is_refused() -> None:
    with pytest.raises(BadInput, match="'int' is neither a habitat simulator nor an environment"):
        as_gymnasium(3)
    made = gym.make("CartPole-v1")
    assert as_gymnasium(made) is made
    assert isinstance(as_gymnasium(SoundSpaces()), OldGymEnv)
