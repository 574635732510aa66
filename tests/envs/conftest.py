"""What the tests of the environments share: a model that needs no weights, and an environment that beeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from bat_agent.agent import Bat, ModelConfig
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner

torch.set_num_threads(1)
STEP = 8_000


class Beeper(gym.Env[Any, Any]):
    """Noise from the left (action 0) or the right (action 1), from its own generator; silent when reset."""

    def __init__(
        self, length: int = 5, rate_hz: int = 32_000, step_s: float = 0.25, key: str = "audio", gain: float = 0.1
    ) -> None:
        self.sample_rate_hz, self.step_s, self.length, self.key, self.gain = rate_hz, step_s, length, key, gain
        self.size = round(step_s * rate_hz)
        box = gym.spaces.Box(-np.inf, np.inf, (2, self.size), np.float32)
        self.observation_space = gym.spaces.Dict({key: box, "clock": gym.spaces.Box(0, 1000, (1,), np.float32)})
        self.action_space = gym.spaces.Discrete(2)
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._see(np.zeros((2, self.size), np.float32)), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        sides = np.array([[1.0], [0.1]] if action == 0 else [[0.1], [1.0]])
        sound = (self.gain * self.np_random.standard_normal((2, self.size)) * sides).astype(np.float32)
        truth = {"azimuth_deg": 180.0 if action == 0 else 0.0, "elevation_deg": 0.0, "distance_m": 1.0}
        return self._see(sound), 0.0, self.steps >= self.length, False, {"truth": truth}

    def _see(self, sound: np.ndarray) -> dict[str, np.ndarray]:
        return {self.key: sound, "clock": np.array([self.steps], np.float32)}


gym.register("tests/Beeper-v0", f"{__name__}:Beeper", disable_env_checker=True)


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Directory of a model that hears left, right or front from level alone."""
    folder: Path = tmp_path_factory.mktemp("models") / "echo"
    config = ModelConfig(
        "echo", {"name": "echo", "options": {"token_dim": 8}}, {"name": "echo", "options": {"token_dim": 8}}
    )
    Bat(
        config, EchoEncoder(EchoEncoderConfig(token_dim=8)), EchoReasoner(EchoReasonerConfig(token_dim=8))
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def beeper() -> Callable[..., Beeper]:
    return Beeper
