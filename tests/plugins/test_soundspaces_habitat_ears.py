"""``HabitatHearing`` in the stand-in of habitat-sim: what is heard follows the pose and is forgotten at the end."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent_envs import HabitatHearing

stand_in: Any = importlib.import_module("habitat_stand_in")
fixtures = importlib.import_module("habitat_stand_in.fixtures")
engines, live, mesh, real_engine = fixtures.engines, fixtures.live, fixtures.mesh, fixtures.real_engine
house = stand_in.house
NOISE, TO_THE_RIGHT, echo = fixtures.NOISE, fixtures.TO_THE_RIGHT, fixtures.echo


def with_actions(sim: Any) -> Any:
    """An agent that can turn left by a quarter."""
    agent = sim.agents[0]
    agent.agent_config = types.SimpleNamespace(action_space={"turn_left": None, "wait": None})
    turned = 0

    def act(name: str) -> None:
        nonlocal turned
        turned += name == "turn_left"
        half = math.radians(90 * turned) / 2
        agent.set_state(
            dataclasses.replace(agent.get_state(), rotation=house.Quaternion(math.cos(half), 0.0, math.sin(half), 0.0))
        )

    agent.act = act
    return sim


def test_turning_moves_what_is_heard(live: Callable[..., Any], echo: str) -> None:
    # Each look by itself: echo hears front where sound comes from behind, which joined looks would not believe.
    sim = with_actions(live("branch"))
    env = HabitatHearing(sim, [NOISE], [TO_THE_RIGHT], model=echo, window_s=0.25, joined_s=0)
    observation, _ = env.reset(seed=0)
    assert env.action_space.n == 2
    heard = [observation["audio/direction"][0, 0]]
    for action in (0, 0, 1):
        env.step(action)
        observation, *_ = env.step(1)  # the step of the turn still fades out what was before
        heard.append(observation["audio/direction"][0, 0])
    assert env.observation_space.contains(observation)
    # Right, then behind, then left, and there it stays.
    np.testing.assert_allclose(heard, [1, 0, -1, -1], atol=0.05)


def test_an_episode_begins_in_silence_with_its_own_sources(live: Callable[..., Any], echo: str) -> None:
    sim, places = with_actions(live("branch")), iter([[TO_THE_RIGHT], [(1.5, 1.5, 2.5)]])
    tone = np.zeros(64_000, np.float32)
    tone[:8_000] = NOISE[:8_000]
    env = HabitatHearing(sim, [tone], lambda env: next(places), model=echo, keys=("waveform", "direction"))
    first, _ = env.reset()
    env.step(1)
    second, _ = env.reset()
    newest = second["audio/waveform"]
    assert not newest[:, :-8_000].any()
    assert first["audio/direction"][0, 0] > 0.9 > -0.9 > second["audio/direction"][0, 0]


def test_without_audio_in_the_build_the_engine_renders(live: Callable[..., Any], echo: str, engines: list[Any]) -> None:
    env = HabitatHearing(with_actions(live("0.3.3", audio=False)), [NOISE], [TO_THE_RIGHT], model=echo)
    env.reset()
    env.step(1)
    assert [engine.name for engine in engines] == ["soundspaces"]


def test_each_source_needs_its_sound(live: Callable[..., Any], echo: str) -> None:
    env = HabitatHearing(with_actions(live("branch")), [NOISE, NOISE], [TO_THE_RIGHT], model=echo)
    with pytest.raises(BadInput, match="there are 1 sources but 2 sounds"):
        env.reset()
    silent = HabitatHearing(with_actions(live("branch")), [NOISE], model=echo)
    with pytest.raises(BadInput, match="no current episode with goals"):
        silent.reset()
