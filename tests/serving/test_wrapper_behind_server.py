"""An environment whose ears are in another process hears and answers what it would with ears of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bat_agent.agent import Bat
from bat_agent.errors import BatAgentError
from bat_agent_echo.echo import EchoEncoder
from bat_agent_envs import SpatialHearing

TOKEN = "open-sesame"
KEYS = ("direction", "distance", "class_probs", "slot_probs", "embedding", "valid", "age")


class Noisy(gym.Env[Any, Any]):
    sample_rate_hz = 32_000
    observation_space = gym.spaces.Dict({"audio": gym.spaces.Box(-np.inf, np.inf, (2, 8_000), np.float32)})
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._see(0), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._see(action), 0.0, False, False, {}

    def _see(self, action: int) -> dict[str, np.ndarray]:
        sides = [[0.1], [0.01]] if action else [[0.01], [0.1]]
        return {"audio": (self.np_random.standard_normal((2, 8_000)) * sides).astype(np.float32)}


def test_the_same_is_heard_and_answered(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    sized = {"name": "echo", "options": {"token_dim": served.bat.encoder.token_dim}}
    bat = Bat(replace(served.bat.config, encoder=sized), EchoEncoder(served.bat.encoder.config), served.bat.reasoner)
    bat.save_pretrained(tmp_path / "model")
    monkeypatch.setenv("BAT_AGENT_TOKEN", TOKEN)
    far, near = (SpatialHearing(Noisy(), model, keys=KEYS) for model in (served.url, str(tmp_path / "model")))
    assert far.observation_space == near.observation_space
    assert far.labels == near.labels
    for begin in (far, near):
        begin.reset(seed=1)
    for action in (0, 1):
        one, other = far.step(action), near.step(action)
        for name, values in other[0].items():
            np.testing.assert_array_equal(one[0][name], values, err_msg=name)
        np.testing.assert_equal(one[4], other[4])
    here, there = near.ask("Where is it?"), far.ask("Where is it?", later=True).result(timeout=60)
    assert (str(there), there.question, there.confidence) == (str(here), here.question, here.confidence)
    assert [str(answer) for answer in far.ask(["a?", "b?"])] == [str(answer) for answer in near.ask(["a?", "b?"])]


def test_a_wrong_token_is_told_when_it_is_wrapped(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAT_AGENT_TOKEN", "guess")
    with pytest.raises(BatAgentError, match="token"):
        SpatialHearing(Noisy(), serve().url)
