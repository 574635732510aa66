"""Through the whole stack, from the walls to the observation: turning the head the other way mirrors what is heard."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import bat_agent
from bat_agent.scene import Listener, Room, Scene, Source
from bat_agent.scenes.moving import StreamState, render_step
from bat_agent_envs import SpatialHearing

NOISE = torch.from_numpy(0.3 * np.random.default_rng(0).standard_normal(64_000).astype(np.float32))


class Turning(gym.Env[Any, Any]):
    """A head that turns by 25° a step, to the left or to the right, before a source straight ahead.

    Walls, head and source are alike on both sides of the plane in which source and listener lie.
    """

    sample_rate_hz, step_s = 32_000, 0.25

    def __init__(self, sign: float) -> None:
        self.sign = sign
        self.observation_space = gym.spaces.Dict({"audio": gym.spaces.Box(-np.inf, np.inf, (2, 8_000), np.float32)})
        self.action_space = gym.spaces.Discrete(1)
        self.simulator = bat_agent.load_simulator("shoebox")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state: StreamState | None = None
        # Straight ahead the two mirror images are one and the same, but its diffuse tail differs between the ears.
        self.heading_deg = self.sign * 10.0
        return self._hear(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.heading_deg += self.sign * 25.0
        return self._hear(), 0.0, False, False, {}

    def _hear(self) -> dict[str, np.ndarray]:
        head = Listener((3.0, 1.5, 3.5), self.heading_deg)
        scene = Scene(Room((6.0, 3.0, 5.0), 0.3), head, (Source((3.0, 1.2, 1.5)),), seed=1)
        sound, self.state = render_step(self.simulator, scene, [NOISE], 8_000, self.state)
        return {"audio": sound.numpy()}


def test_turning_the_other_way_mirrors_what_is_heard() -> None:
    left, right = (SpatialHearing(Turning(sign), window_s=1.0) for sign in (1.0, -1.0))
    seen = [left.reset(seed=0)[0], right.reset(seed=0)[0]]
    sides = []
    for _ in range(5):
        seen = [env.step(0)[0] for env in (left, right)]
        one, other = seen
        for key in ("valid", "distance", "class_probs"):
            np.testing.assert_allclose(one[f"audio/{key}"], other[f"audio/{key}"], atol=1e-4, err_msg=key)
        mirrored = other["audio/direction"] * np.array([-1, 1, 1], np.float32)
        np.testing.assert_allclose(one["audio/direction"], mirrored, atol=1e-3)
        sides.append(float(one["audio/direction"][0, 0]))
    assert sides[-1] > 0.5  # turned to the left, what was ahead is to the right
    window = left.hearing.window(0)
    assert window == pytest.approx(right.hearing.window(0)[::-1], abs=1e-5)
    one, other = (left.hearing.ears.hear(sound[None]) for sound in (window, window[::-1].copy()))
    np.testing.assert_allclose(one["direction"], other["direction"] * np.array([-1, 1, 1]), atol=1e-6)
    np.testing.assert_array_equal(one["distance"], other["distance"])
