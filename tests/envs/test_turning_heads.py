"""Agents that turn: what is held turns with them, what is old is said to be old, copies hear what originals hear."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from bat_agent.errors import BadInput
from bat_agent_envs import SpatialHearing, VectorSpatialHearing, check_hearing_env
from bat_agent_envs.heading import Head
from bat_agent_envs.intake import places_of

Make = Callable[..., Any]
LEFT = 0
KEYS = ("direction", "valid", "sides", "age", "heading_error", "azimuth_probs")


class Turntable(gym.Wrapper[Any, Any, Any, Any]):
    """Adds the heading of an agent that turns left by so much in each step, and may be deaf in some."""

    def __init__(self, env: gym.Env[Any, Any], by_deg: float, deaf: tuple[int, ...] = ()) -> None:
        super().__init__(env)
        self.by_deg, self.deaf, self.number = by_deg, deaf, 0
        spaces = dict(env.observation_space.spaces)  # type: ignore[attr-defined]
        self.observation_space = gym.spaces.Dict({**spaces, "pose": gym.spaces.Box(-1, 1, (2,), np.float32)})

    def reset(self, **options: Any) -> Any:
        self.number = 0
        observation, info = self.env.reset(**options)
        return self._posed(observation), info

    def step(self, action: Any) -> Any:
        self.number += 1
        observation, *rest = self.env.step(action)
        return (self._posed(observation), *rest)

    def _posed(self, observation: dict[str, Any]) -> dict[str, Any]:
        turn = np.radians(self.by_deg * self.number)
        sound = observation["audio"][:, :0] if self.number in self.deaf else observation["audio"]
        return {**observation, "audio": sound, "pose": np.array([np.cos(turn), np.sin(turn)], np.float32)}


@pytest.mark.parametrize("by_deg", [0.5, 2.0, -30.0])
def test_what_is_held_turns_with_the_head(beeper: Make, echo: str, by_deg: float) -> None:
    """It stayed where it was before the head turned; and turns of less than 2° a step were none at all."""
    env = SpatialHearing(
        Turntable(beeper(30, step_s=0.05), by_deg), echo, keys=KEYS, window_s=0.1, every_k_steps=10, turn_key="pose"
    )
    env.reset(seed=0)
    held = None
    for number in range(1, 20):
        observation, _, _, _, info = env.step(LEFT)
        if info["bat"]["fresh"]:
            held, at = observation["audio/direction"][0].copy(), number
            continue
        if held is None or not held.any():
            continue
        was, now = (np.degrees(np.arctan2(-d[2], d[0])) for d in (held, observation["audio/direction"][0]))
        assert (was - now - by_deg * (number - at) + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)
        error = observation["audio/heading_error"][0]
        assert np.degrees(error) == pytest.approx((now - 90 + 180) % 360 - 180, abs=1e-3)
        assert info["bat"]["sources"][0]["heading_error"] == pytest.approx(error, abs=1e-6)
        assert observation["audio/azimuth_probs"][0].sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("by_deg", [0.0, 30.0])
def test_what_a_slot_holds_is_told_by_the_whole_window(
    beeper: Make, echo: str, by_deg: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that turns looks at some of it for directions, and at all of it for what sounds; one that stands still
    looks once. The names here are how long a look was.
    """
    env = SpatialHearing(
        Turntable(beeper(12), by_deg), echo, keys=("slot_arrivals", "arrival_probs", "arrivals", "slot_probs"),
        window_s=2.0, turn_key="pose",
    )  # fmt: skip
    hear, looks = env.hearing.ears.hear, []

    def counted(windows: np.ndarray) -> dict[str, np.ndarray]:
        looks.append(windows.shape[2])
        return {**hear(windows), "slot_probs": np.full((1, 1, 355), windows.shape[2] / 128_000, np.float32)}

    monkeypatch.setattr(env.hearing.ears, "hear", counted)
    env.reset(seed=0)
    for _ in range(12):
        looks.clear()
        observation, _, _, _, _ = env.step(LEFT)
        assert env.observation_space.contains(observation)
    np.testing.assert_allclose(observation["audio/slot_arrivals"][0], observation["audio/arrivals"], atol=1e-5)
    assert looks[-1] == 64_000
    assert observation["audio/arrival_probs"][0, 0] == pytest.approx(0.5)
    assert observation["audio/slot_probs"][0, 0] == pytest.approx(looks[0] / 128_000)
    assert (len(looks), looks[0] < 64_000) == ((2, True) if by_deg else (1, False))


@pytest.mark.parametrize("turn_key", ["pose", None])
def test_what_arrives_sticks_out_where_the_sound_is_and_turns_with_the_head(
    beeper: Make, echo: str, turn_key: str | None
) -> None:
    """Without a model: the beeper, on the left, on one cone of confusion; and held as directions are."""
    env = SpatialHearing(
        Turntable(beeper(12), 10.0), echo, keys=("arrivals", "direction"), window_s=1.0, every_k_steps=4,
        turn_key=turn_key,
    )  # fmt: skip
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    held = None
    for number in range(1, 12):
        observation, _, _, _, info = env.step(LEFT)
        arrivals = observation["audio/arrivals"]
        assert env.observation_space.contains(observation)
        if info["bat"]["fresh"]:
            held, at = arrivals.copy(), number
            assert arrivals.max() > 2
        elif held is not None:
            by_deg = 10.0 * (number - at) if turn_key else 0.0
            assert (int(held.argmax()) - by_deg - int(arrivals.argmax()) + 180) % 360 - 180 == pytest.approx(0, abs=1.5)
    observation, _ = env.reset(seed=0)  # in which it is silent
    assert not observation["audio/arrivals"].any()


def test_age_is_that_of_the_sound_heard_not_of_the_call(beeper: Make, echo: str) -> None:
    """It was 0, and fresh, in steps that brought no new sample."""
    env = SpatialHearing(Turntable(beeper(9), 5.0, deaf=(2, 3)), echo, keys=("age",), window_s=0.5, turn_key="pose")
    env.reset(seed=0)
    seen = []
    for _ in range(4):
        observation, _, _, _, info = env.step(LEFT)
        seen.append((float(observation["audio/age"][0]), info["bat"]["fresh"]))
    assert seen == [(0.0, True), (0.25, False), (0.5, False), (0.0, True)]


def test_a_named_sound_has_a_heading_of_its_own(beeper: Make, echo: str) -> None:
    options: dict[str, Any] = {"keys": ("heading_error", "slot_probs"), "window_s": 0.25}
    likely = SpatialHearing(beeper(), echo, **options).labels[0]
    env = SpatialHearing(beeper(), echo, named=(likely, "Siren"), **options)
    env.reset(seed=0)
    observation, *_ = env.step(LEFT)
    assert env.observation_space.contains(observation)
    strongest, named, other = observation["audio/heading_error"]
    assert (strongest, named, other) == (pytest.approx(np.pi / 2, abs=0.1), strongest, 0.0)
    with pytest.raises(BadInput, match="unknown sound class 'Sirene'"):
        SpatialHearing(beeper(), echo, named="Sirene")


def test_what_was_heard_is_moved_on_as_the_agent_walks() -> None:
    """A source 2 m ahead on the left lies to the left of who went there; where nobody says so, it stays ahead."""
    azimuths = {}
    for told in (True, False):
        head = Head(6.0)
        head.begin()
        for number in range(1, 10):
            head.face(0.25 * number, 4.0 * number)
            if told:
                head.stand((0.0, -0.25 * max(number - 3, 0)))
            heard = {
                "valid": np.array([number <= 3 or number == 9]),
                "direction": np.array([[-math.sqrt(0.5), 0.0, -math.sqrt(0.5)]]),
                "azimuth_probs": np.full((1, 360), 1 / 360) if number > 3 else near_deg(135.0 - 4.0 * number),
                "elevation_probs": near_deg(90.0, 180), "slot_probs": np.ones((1, 3)), "distance": np.full(1, 2.0),
                "sides": np.zeros((1, 3)), "masks": np.ones((1, 25, 128)),
            }  # fmt: skip
            noise = np.random.default_rng(0).standard_normal((2, 8_000)).astype(np.float32)
            head.look(heard, 0.25 * number, noise, 0.25)
        x, _, z = heard["direction"][0]
        azimuths[told] = np.degrees(np.arctan2(-z, x)) + 36.0
    truth = np.degrees(np.arctan2(math.sqrt(2) - 1.5, -math.sqrt(2)))
    assert azimuths[True] % 360 == pytest.approx(truth % 360, abs=12)
    assert azimuths[False] == pytest.approx(135.0, abs=5)
    with pytest.raises(BadInput, match="place_key is 'audio'"):
        places_of(gym.spaces.Dict({"audio": gym.spaces.Box(-1, 1, (2, 4))}), "audio")


def near_deg(place: float, bins: int = 360) -> np.ndarray:
    """(1, bins) probabilities about a bin."""
    apart = (np.arange(bins) - place + bins / 2) % bins - bins / 2
    near = np.exp(-0.5 * (apart / 5) ** 2)
    return np.asarray((near / near.sum())[None])


def test_environments_of_a_vector_turn_each_for_itself(beeper: Make, echo: str) -> None:
    options: dict[str, Any] = {"keys": KEYS, "window_s": 0.5, "every_k_steps": 2, "turn_key": "pose"}
    turns = (7.0, -40.0)
    envs = VectorSpatialHearing(
        SyncVectorEnv([partial(lambda by: Turntable(beeper(20), by), by) for by in turns]), echo, **options
    )
    singles = [SpatialHearing(Turntable(beeper(20), by), echo, **options) for by in turns]
    envs.reset(seed=[1, 2])
    for number, env in enumerate(singles):
        env.reset(seed=1 + number)
    for _ in range(5):
        together, *_ = envs.step(np.array([0, 1]))
        for number, env in enumerate(singles):
            alone, *_ = env.step(number)
            for key in KEYS:
                np.testing.assert_allclose(together[f"audio/{key}"][number], alone[f"audio/{key}"], atol=1e-6)


@pytest.mark.parametrize("rate_hz", [32_000, 44_100])
def test_a_copy_hears_what_the_original_hears(beeper: Make, echo: str, rate_hz: int) -> None:
    """copy.deepcopy raised TypeError: cannot pickle '_thread.lock' object."""
    env = SpatialHearing(beeper(9, rate_hz=rate_hz), echo, keys=("direction", "waveform"), window_s=0.5)
    env.reset(seed=0)
    env.step(LEFT)
    other = copy.deepcopy(env)
    assert other.hearing.ears is env.hearing.ears
    for action in (1, 0):
        one, two = (each.step(action)[0] for each in (env, other))
        np.testing.assert_allclose(one["audio/waveform"], two["audio/waveform"], atol=1e-4)
        np.testing.assert_allclose(one["audio/direction"], two["audio/direction"], atol=1e-4)
    other.step(1)
    assert env.get_wrapper_attr("steps") == 3


def test_an_environment_without_ears_gets_them_for_the_check(beeper: Make, echo: str) -> None:
    assert check_hearing_env(beeper(), model=echo, window_s=0.5) == []
    with pytest.raises(BadInput, match="has ears already"):
        check_hearing_env(SpatialHearing(beeper(), echo), model=echo)


def test_an_agent_that_walks_hears_how_far_by_all_looks() -> None:
    """`distance` was that of the newest look alone, whatever was heard on the way."""
    said_m = {}
    for told in (True, False):
        head = Head(6.0)
        head.begin()
        for number in range(12):
            ahead_m = 0.25 * number
            head.face(number * 0.25, 0.0)
            if told:
                head.stand((0.0, -ahead_m))
            azimuth = math.atan2(3.5 - ahead_m, 1.0)
            truth_m = math.hypot(3.5 - ahead_m, 1.0)
            heard = {
                "valid": np.array([True]), "direction": np.array([[math.cos(azimuth), 0.0, -math.sin(azimuth)]]),
                "azimuth_probs": near_deg(math.degrees(azimuth)), "elevation_probs": near_deg(90.0, 180),
                "slot_probs": np.ones((1, 3)), "distance": np.full(1, truth_m * (2.0 if number == 11 else 1.0)),
                "sides": np.zeros((1, 3)), "masks": np.ones((1, 25, 128)),
            }  # fmt: skip
            head.look(heard, number * 0.25, np.zeros((2, 8000), np.float32), 0.25)
        said_m[told] = float(heard["distance"][0])
    assert said_m[False] == pytest.approx(2 * truth_m)  # as the last look says
    assert said_m[True] == pytest.approx(truth_m, rel=0.25)
