"""SpatialHearing: what its observations say, when it listens, what an episode leaves behind, what it refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import soxr
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from bat_agent.errors import BadInput, WeightsError
from bat_agent_envs import SpatialHearing, check_hearing_env
from bat_agent_envs.intake import Intake, Ring

LEFT, RIGHT = 0, 1
ALL_KEYS = (
    "direction", "distance", "class_probs", "embedding", "valid", "age", "slot_probs", "sides", "waveform", "logmel",
)  # fmt: skip
Make = Callable[..., Any]


def test_the_louder_side_is_heard_and_what_came_in_stays(beeper: Make, echo: str) -> None:
    env = SpatialHearing(beeper(), echo, window_s=0.25)
    observation, info = env.reset(seed=0)
    assert "audio" not in observation
    assert observation["clock"] == 0
    assert observation["audio/valid"].tolist() == [0]
    assert not observation["audio/direction"].any()
    assert info["bat"]["text"] == "nothing"
    for action, x in ((LEFT, -1.0), (RIGHT, 1.0)):
        observation, _, _, _, info = env.step(action)
        assert env.observation_space.contains(observation)
        np.testing.assert_allclose(observation["audio/direction"], [[x, 0, 0]], atol=0.05)
        assert info["bat"]["direction_error_deg"] < 3
        assert ("left" if x < 0 else "right") in info["bat"]["text"]
        assert info["bat"]["labels"][0][0] == env.labels[0]
        assert "truth" not in observation


def test_gymnasium_and_our_own_check_pass(beeper: Make, echo: str) -> None:
    env = SpatialHearing(beeper(), echo, keys=ALL_KEYS, window_s=1.0, keep_audio=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(infinity|unwrapped|not within|render).*")
        check_env(env, skip_render_check=True)
    assert check_hearing_env(env) == []
    observation, _ = env.reset(seed=1)
    assert observation["audio"].shape == (2, 8000)
    assert observation["audio/waveform"].shape == (2, 32_000)
    assert observation["audio/logmel"].shape == (2, 101, 128)


def test_a_spec_rebuilds_it(echo: str) -> None:
    env = SpatialHearing(gym.make("tests/Beeper-v0", length=3), echo, every_k_steps=2, keys=("valid", "age"))
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(again, SpatialHearing)
    assert set(again.observation_space.spaces) == {"clock", "audio/valid", "audio/age"}
    assert again.hearing.options.every_k_steps == 2
    assert again.get_wrapper_attr("length") == 3


def test_nothing_of_an_episode_is_heard_in_the_next(beeper: Make, echo: str) -> None:
    env = SpatialHearing(beeper(length=3, gain=100.0), echo, keys=ALL_KEYS, window_s=2.0)
    env.reset(seed=0)
    for _ in range(3):
        env.step(LEFT)
    observation, _ = env.reset()
    for key in ("waveform", "valid", "direction", "distance", "class_probs", "embedding", "slot_probs", "age"):
        assert not observation[f"audio/{key}"].any(), key
    assert observation["audio/logmel"].max() == -100


def test_at_other_rates_too_nothing_is_left_in_the_resampler(beeper: Make, echo: str) -> None:
    env = SpatialHearing(beeper(length=3, gain=100.0, rate_hz=44_100), echo, keys=("waveform",))
    env.reset(seed=0)
    for _ in range(3):
        env.step(LEFT)
    observation, _ = env.reset()
    assert not observation["audio/waveform"].any()


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_chunks_of_another_rate_are_resampled_without_seams_and_evenly(rate_hz: int) -> None:
    """Tones come as from the whole signal resampled at once, less than two samples later, both ears alike; and in
    every step alike: another kind of stream gave 0, 0 and 1660 samples in turn for steps of 20 ms.
    """
    tones_hz = np.array([300.0, 2_000.0, 5_000.0, 0.4 * min(rate_hz, 32_000)])
    times = np.arange(rate_hz) / rate_hz
    sound = np.stack([sum(gain * np.sin(2 * np.pi * f * times + f) for f in tones_hz) for gain in (0.1, 0.2)])
    intake, step = Intake(2.0, rate_hz, "chunk", None), rate_hz // 50
    came = []
    for start in range(0, rate_hz, step):
        before = intake.came
        intake.take(sound[:, start : start + step].astype(np.float32))
        came.append(intake.came - before)
    assert set(came[1:]) == {640}
    heard = intake.window()
    whole = soxr.resample(sound.T, rate_hz, 32_000).T
    middle = slice(3_200, 28_800)
    probes = np.exp(-2j * np.pi * tones_hz[:, None] * np.arange(32_000)[middle] / 32_000) * np.hanning(25_600)
    ratio = (probes @ heard[:, middle].T) / (probes @ whole[:, middle].T)
    np.testing.assert_allclose(np.abs(ratio), 1, atol=2e-3)
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 1], atol=1e-3)  # both ears alike
    delays = -np.angle(ratio[:3, 0]) / (2 * np.pi * tones_hz[:3]) * 32_000
    np.testing.assert_allclose(delays, delays[1], atol=0.1)
    assert abs(delays[1]) < 2


def test_it_listens_every_k_steps_and_at_the_end_and_says_how_old_it_is(beeper: Make, echo: str) -> None:
    env = SpatialHearing(beeper(length=6), echo, every_k_steps=3, window_s=0.25)
    observation, info = env.reset(seed=0)
    seen = [(float(observation["audio/age"][0]), info["bat"]["fresh"])]
    held = []
    for _ in range(6):
        observation, _, _, _, info = env.step(LEFT)
        seen.append((float(observation["audio/age"][0]), info["bat"]["fresh"]))
        held.append(observation["audio/embedding"].copy())
    assert seen == [
        (0, True), (0.25, False), (0.5, False), (0, True), (0.25, False), (0.5, False), (0, True),
    ]  # fmt: skip
    np.testing.assert_array_equal(held[2], held[3])
    assert not np.array_equal(held[2], held[5])


def test_questions_are_answered_now_later_and_every_few_steps(beeper: Make, echo: str) -> None:
    env = gym.wrappers.TimeLimit(SpatialHearing(beeper(), echo, questions="Where is it?", ask_every=2), 10)
    ask = env.get_wrapper_attr("ask")
    _, info = env.reset(seed=0)
    assert "answers" not in info["bat"]
    _, _, _, _, info = env.step(LEFT)
    assert [question for question, _ in info["bat"]["answers"]] == ["Where is it?"]
    assert "answers" not in env.step(LEFT)[4]["bat"]
    answer = ask("What sounds?")
    assert (answer.question, str(answer)) == ("What sounds?", str(ask("What sounds?", later=True).result(timeout=60)))
    assert len(ask(["one?", "two?"])) == 2


def test_asked_too_early_it_says_so(beeper: Make, echo: str) -> None:
    env = SpatialHearing(beeper(), echo)
    with pytest.raises(BadInput, match="nothing has been heard in this episode yet"):
        env.ask("Where is it?")


def test_sound_may_come_from_a_function_and_as_whole_windows(echo: str) -> None:
    env = gym.make("CartPole-v1")
    told = []

    class Sound:
        def reset(self, env: Any) -> None:
            told.append("reset")

        def __call__(self, env: Any) -> np.ndarray:
            told.append("heard")
            return np.random.default_rng(0).standard_normal((2, 16_000)) * [[0.1], [0.01]]

    heard = SpatialHearing(env, echo, audio=Sound(), sample_rate_hz=16_000, feed="window", chunk_s=0.5)
    observation, _ = heard.reset(seed=0)
    assert told == ["reset", "heard"]
    assert observation["obs"].shape == (4,)
    assert heard.hearing.window(0).shape == (2, 16_000)  # half a second of 16 kHz
    np.testing.assert_allclose(observation["audio/direction"], [[-1, 0, 0]], atol=0.05)
    observation, *_ = heard.step(0)
    assert heard.hearing.window(0).shape == (2, 16_000)
    named = SpatialHearing(env, echo, audio=f"{__name__}:faint_noise", sample_rate_hz=32_000, window_s=0.1)
    named.reset(seed=0)
    np.testing.assert_array_equal(named.hearing.window(0), faint_noise(env))


def faint_noise(env: Any) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, 3_200)).astype(np.float32)


def test_an_observation_that_is_the_sound_itself(beeper: Make, echo: str) -> None:
    class Bare(gym.ObservationWrapper[Any, Any, Any]):
        def __init__(self, env: Any) -> None:
            super().__init__(env)
            self.observation_space = env.observation_space["audio"]

        def observation(self, observation: Any) -> Any:
            return observation["audio"]

    env = SpatialHearing(Bare(beeper()), echo)
    observation, _ = env.reset(seed=0)
    assert all(name.startswith("audio/") for name in observation)
    kept = SpatialHearing(Bare(beeper()), echo, keep_audio=True)
    assert kept.reset(seed=0)[0]["obs"].shape == (2, 8000)


class Wrong(gym.Wrapper[Any, Any, Any, Any]):
    """Emits another sound than it declares."""

    def __init__(self, env: Any, sound: Any) -> None:
        super().__init__(env)
        self.sound = sound

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        return {**observation, "audio": self.sound}, *rest


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (np.full((2, 8000), np.nan, np.float32), "NaN or infinite"),
        (np.zeros((1, 8000), np.float32), "it looks mono"),
        (np.zeros(8000, np.float32), "it looks mono"),
        (np.zeros((8000, 2), np.float32), "transpose it"),
        (np.zeros((2, 8000), np.int16), "must be floats"),
    ],
)
def test_sound_that_cannot_be_heard_is_refused_when_it_comes(beeper: Make, echo: str, sound: Any, message: str) -> None:
    env = SpatialHearing(Wrong(beeper(), sound), echo)
    env.reset(seed=0)
    with pytest.raises(BadInput, match=message):
        env.step(LEFT)


def test_chunks_may_differ_in_length(beeper: Make, echo: str) -> None:
    for size in (0, 1, 5_000, 200_000):
        env = SpatialHearing(Wrong(beeper(), np.full((2, size), 0.1, np.float32)), echo, window_s=1.0, keys=("age",))
        env.reset(seed=0)
        env.step(LEFT)
        assert env.hearing.window(0).shape == (2, min(8000 + size, 32_000))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"audio": "sound"}, "no key 'sound', only 'audio', 'clock'"),
        ({"audio": "clock"}, r"observation\['clock'\]: .* looks mono"),
        ({"audio": "no_such_module:hear"}, "cannot be imported"),
        ({"audio": "math:pi"}, "is no function"),
        ({"keys": ("doa",)}, "keys has no 'doa'"),
        ({"every_k_steps": 0}, "every_k_steps must be a whole number of at least 1"),
        ({"window_s": 0.001}, "window_s must be at least"),
        ({"window_s": 1000.0}, "the model hears"),
        ({"feed": "stream"}, "feed must be 'chunk'"),
        ({"ask_every": 2}, "no questions"),
        ({"sample_rate_hz": 4000}, "sample_rate_hz must be"),
        ({"chunk_s": 0.0}, "chunk_s must be more"),
    ],
)
def test_what_cannot_be_is_said_at_once(beeper: Make, echo: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        SpatialHearing(beeper(), echo, **given)


def test_environments_without_sound_rate_or_model(beeper: Make, echo: str) -> None:
    with pytest.raises(BadInput, match="holds no binaural sound: give audio=function"):
        SpatialHearing(gym.make("CartPole-v1"), echo)
    silent = gym.make("CartPole-v1")
    with pytest.raises(BadInput, match="at which rate its sound is sampled"):
        SpatialHearing(silent, echo, audio=lambda env: np.zeros((2, 100)))
    with pytest.raises(WeightsError, match="no-such-model"):
        SpatialHearing(beeper(), "no-such-model")


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 25))
def test_a_ring_keeps_the_end_of_all_that_came(sizes: list[int], length: int) -> None:
    ring = Ring(length)
    every = np.zeros((2, 0), np.float32)
    count = 0
    for size in sizes:
        chunk = np.arange(count, count + 2 * size, dtype=np.float32).reshape(2, size)
        count += 2 * size
        ring.append(chunk)
        every = np.concatenate((every, chunk), axis=1)
        np.testing.assert_array_equal(ring.window(), every[:, -length:])
    ring.clear()
    assert ring.window().shape == (2, 0)
