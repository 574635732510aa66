"""Many environments, one encoder batch: each hears what it would hear alone, in every autoreset mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from bat_agent.errors import BadInput
from bat_agent_envs import SpatialHearing, VectorSpatialHearing
from bat_agent_envs import ears as module

LENGTHS = (2, 3, 5)
KEYS = ("direction", "distance", "class_probs", "embedding", "valid", "age", "slot_probs", "waveform")
Make = Callable[..., Any]


def makers(beeper: Make) -> list[Any]:
    return [lambda length=length: beeper(length=length) for length in LENGTHS]


def alone(beeper: Make, echo: str, mode: AutoresetMode, actions: np.ndarray) -> list[list[dict[str, Any]]]:
    """Observations of each environment by itself, reset as the mode has it."""
    found = []
    for index, length in enumerate(LENGTHS):
        env = SpatialHearing(beeper(length=length), echo, keys=KEYS, window_s=0.6)
        observations, over = [env.reset(seed=index)[0]], False
        for action in actions[:, index]:
            if over and mode == AutoresetMode.NEXT_STEP:
                observations.append(env.reset()[0])
                over = False
                continue
            observation, _, over, _, _ = env.step(int(action))
            if over and mode == AutoresetMode.SAME_STEP:
                observation = {**env.reset()[0], "final": observation}
            observations.append(observation)
        found.append(observations)
    return found


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_each_hears_as_if_alone(beeper: Make, echo: str, mode: AutoresetMode, kind: Any) -> None:
    actions = np.random.default_rng(0).integers(2, size=(9, len(LENGTHS)))
    single = alone(beeper, echo, mode, actions)
    envs = VectorSpatialHearing(kind(makers(beeper), autoreset_mode=mode), echo, keys=KEYS, window_s=0.6)
    observations, infos = envs.reset(seed=[0, 1, 2])
    finals = 0
    for step in range(len(actions) + 1):
        assert envs.observation_space.contains(observations)
        for index in range(len(LENGTHS)):
            wanted = dict(single[index][step])
            final = wanted.pop("final", None)
            if final is not None:
                finals += 1
                for name, values in final.items():
                    np.testing.assert_allclose(infos["final_obs"][index][name], values, atol=1e-5, err_msg=name)
                assert infos["final_info"]["bat"]["text"][index] not in (None, "nothing")
            assert wanted.keys() == observations.keys()
            for name, values in wanted.items():
                np.testing.assert_allclose(observations[name][index], values, atol=1e-5, err_msg=f"{name} {step}")
        if step < len(actions):
            observations, _, _, _, infos = envs.step(actions[step])
            assert len(infos["bat"]["text"]) == len(LENGTHS)
    assert (finals > 3) == (mode == AutoresetMode.SAME_STEP)
    envs.close()


def test_environments_that_are_reset_one_by_one(beeper: Make, echo: str) -> None:
    inner = SyncVectorEnv(makers(beeper), autoreset_mode=AutoresetMode.DISABLED)
    envs = VectorSpatialHearing(inner, echo, keys=("waveform", "age"), window_s=1.0)
    envs.reset(seed=0)
    for _ in range(2):
        observations, _, terminations, _, _ = envs.step(np.zeros(3, int))
    assert terminations.tolist() == [True, False, False]
    observations, infos = envs.reset(options={"reset_mask": terminations})
    assert not observations["audio/waveform"][0].any()
    assert observations["audio/waveform"][1:].any(axis=(1, 2)).all()
    assert infos["_bat"].tolist() == [True, False, False]
    envs.step(np.zeros(3, int))
    assert [envs.hearing.window(index).shape[1] for index in range(3)] == [16_000, 32_000, 32_000]


def test_all_that_listen_are_one_batch(beeper: Make, echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    hear = module.Ears.hear
    monkeypatch.setattr(
        module.Ears, "hear", lambda self, windows: (batches.append(len(windows)), hear(self, windows))[1]
    )
    envs = VectorSpatialHearing(SyncVectorEnv([lambda: beeper(length=50)] * 4), echo, window_s=0.5, every_k_steps=2)
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.zeros(4, int))
    assert batches == [4, 4, 4]


def test_questions_go_to_all_or_some(beeper: Make, echo: str) -> None:
    envs = VectorSpatialHearing(SyncVectorEnv(makers(beeper)), echo)
    envs.reset(seed=0)
    envs.step(np.zeros(3, int))
    assert len(envs.ask("Where is it?")) == 3
    assert str(envs.ask("Where is it?", envs=[1], later=True)[0].result(timeout=60))


def test_wrapped_one_by_one_they_run_in_a_vector_too(beeper: Make, echo: str) -> None:
    envs = SyncVectorEnv([lambda: SpatialHearing(beeper(), echo)] * 2)
    envs.reset(seed=0)
    observations, _, _, _, infos = envs.step(np.zeros(2, int))
    assert observations["audio/direction"].shape == (2, 1, 3)
    assert infos["bat"]["text"].shape == (2,)
    assert len(envs.call("ask", "Where is it?")) == 2


def test_what_cannot_be_is_said(beeper: Make, echo: str) -> None:
    inner = SyncVectorEnv(makers(beeper))
    with pytest.raises(BadInput, match="in a vector environment the sound must be in the observation"):
        VectorSpatialHearing(inner, echo, audio="math:sqrt")
    with pytest.raises(BadInput, match="no key 'sound'"):
        VectorSpatialHearing(inner, echo, audio="sound")
    mixed = SyncVectorEnv([lambda: beeper(), lambda: Renamed(beeper())])
    with pytest.raises(BadInput, match="different sample_rate_hz"):
        VectorSpatialHearing(mixed, echo)


class Renamed(gym.Wrapper[Any, Any, Any, Any]):
    sample_rate_hz = 16_000
