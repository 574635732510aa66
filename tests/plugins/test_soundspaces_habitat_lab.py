"""What users of habitat-lab and SoundSpaces do: each of these failed once."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent_envs import HabitatHearing
from bat_agent_envs.old_gym import as_gymnasium, converted
from bat_agent_soundspaces.habitat import Habitat

lab: Any = importlib.import_module("habitat_stand_in.lab")
fixtures = importlib.import_module("habitat_stand_in.fixtures")
engines, live, mesh, real_engine = fixtures.engines, fixtures.live, fixtures.mesh, fixtures.real_engine
Live = Callable[..., Any]
NOISE, TO_THE_RIGHT, echo = fixtures.NOISE, fixtures.TO_THE_RIGHT, fixtures.echo
ACTIONS = {"stop": lab.EmptySpace(), "move_forward": lab.EmptySpace(), "turn_left": lab.EmptySpace()}
"""In the order of a configuration, which is not the alphabet's."""


@pytest.mark.parametrize("outer", [lambda env: env, lab.RLEnv], ids=["Env", "RLEnv"])
def test_habitat_lab_s_named_actions_are_numbers(live: Live, echo: str, outer: Callable[[Any], Any]) -> None:
    """Their space was refused; and a number means another action to habitat than to its own space."""
    inner = lab.Env(live("0.3.4", audio=False), ACTIONS)
    env = HabitatHearing(outer(inner), [NOISE], [TO_THE_RIGHT], model=echo, window_s=0.25)
    assert env.action_space == gym.spaces.Discrete(3)
    assert env.get_wrapper_attr("actions") == ("move_forward", "stop", "turn_left")
    env.reset(seed=1)
    env.step(2)
    env.step(np.int64(0))
    *_, terminated, _, _ = env.step(1)
    assert inner.done == ["turn_left", "move_forward", "stop"]
    assert terminated


def test_actions_with_arguments_keep_them() -> None:
    inner = lab.Env(None, {"velocity_control": lab.Dict({"linear_velocity": lab.Box(-1, 1, (1,))}), **ACTIONS})
    env = as_gymnasium(inner)
    assert env.action_space["action"] == gym.spaces.Discrete(4)
    assert set(env.action_space["action_args"].spaces) == {"velocity_control"}
    arguments = {"velocity_control": {"linear_velocity": np.ones(1, np.float32)}}
    env.step({"action": 3, "action_args": arguments})
    assert inner.done == [{"action": "velocity_control", "action_args": arguments["velocity_control"]}]
    env.step({"action": 1, "action_args": arguments})
    assert inner.done[1:] == ["stop"]


def test_other_spaces_of_the_old_gym() -> None:
    binary, words, counted = lab.Discrete(3), lab.EmptySpace(), lab.Discrete(4)
    binary.shape, counted.start = (3,), 2
    words.space, words.max_seq_length = lab.Discrete(50), 20  # type: ignore[attr-defined]
    assert converted(binary) == gym.spaces.MultiBinary(3)
    assert converted(words) == gym.spaces.Sequence(gym.spaces.Discrete(50))
    assert converted(counted) == gym.spaces.Discrete(4, start=2)
    for nothing in (lab.EmptySpace(), lab.Discrete(0)):
        with pytest.raises(BadInput, match="no counterpart"):
            converted(nothing)


def soundspaces(live: Live, rate_hz: int = 16_000, step_s: float = 0.25, **options: Any) -> Any:
    sound = np.random.default_rng(1).standard_normal(3 * rate_hz) * 0.1
    return lab.ContinuousSoundSpaces(lambda: live("0.2.2", audio=False), sound, rate_hz, step_s, **options)


@pytest.mark.parametrize(("rate_hz", "step_s"), [(16_000, 0.25), (44_100, 0.29)])
def test_continuous_mode_is_heard_at_its_rate_without_padding(
    live: Live, echo: str, rate_hz: int, step_s: float
) -> None:
    """The simulator inside was found first, whose configuration says neither; 74 % of the window was padding.

    At 44.1 kHz a step of 0.29 s is cut off to 12788 samples: one more would be a zero.
    """
    env = HabitatHearing(lab.SoundSpacesEnv(soundspaces(live, rate_hz, step_s), ACTIONS), model=echo, window_s=1.0)
    env.reset()
    for _ in range(4):
        observation, *_ = env.step(0)
    heard = env.hearing.window(0)
    assert heard.shape == (2, 32_000)
    # Noise has no zeros: neither a step's padding nor one sample of it.
    level = np.sqrt((heard[1].reshape(100, -1) ** 2).mean(axis=1))
    assert level.min() > 0.7 * level.max()
    intake = env.hearing._intakes[0]
    assert intake._taken == int(rate_hz * step_s)
    assert observation["audio/direction"][0, 0] > 0.9


def test_the_crossfade_of_continuous_mode_is_heard_as_it_is(live: Live, echo: str) -> None:
    """At its own 32 kHz the window is, sample for sample, what SoundSpaces faded; turning leaves no click."""
    sim = soundspaces(live, 32_000)
    env = HabitatHearing(lab.SoundSpacesEnv(sim, ACTIONS), model=echo, window_s=0.5)
    env.reset()
    env.step(2)
    heard = env.hearing.window(0)
    dry = sim.sound[:16_000]
    np.testing.assert_allclose(heard[1, :8_000], dry[:8_000] * 10**0.5, atol=1e-5)
    gain = heard[1, 8_000:] / dry[8_000:]
    fade = 10**0.5 + (1 - 10**0.5) * np.minimum(np.arange(8_000) / 1_600, 1)  # to the source straight behind: 1
    np.testing.assert_allclose(gain, fade, rtol=1e-3)


def test_settings_are_found_where_trainers_keep_them(live: Live, echo: str) -> None:
    class Config(dict):
        __getattr__ = dict.__getitem__

    sim = soundspaces(live)
    settings = Config(audio=Config(rir_sampling_rate=24_000), step_time=0.5)
    del sim.config, sim.habitat_config
    inner = lab.SoundSpacesEnv(sim, ACTIONS)
    inner.config = Config(habitat=Config(simulator=settings))
    env = HabitatHearing(inner, model=echo)
    assert env.hearing._intakes[0].sample_rate_hz == 24_000
    assert env.hearing._intakes[0]._taken == 12_000
    rendered = HabitatHearing(inner, [NOISE], [TO_THE_RIGHT], model=echo)
    assert rendered._audio.step_s == 0.5


def test_another_scene_has_another_simulator(live: Live, echo: str) -> None:
    """SoundSpaces closes its simulator and makes a new one; the old one was kept: "habitat has no agent 0"."""
    sim = lab.ContinuousSoundSpaces(lambda: live("branch"), NOISE, 16_000, 0.25)
    env = HabitatHearing(lab.SoundSpacesEnv(sim, ACTIONS), [NOISE], [TO_THE_RIGHT], model=echo, window_s=0.25)
    for _ in range(2):
        env.reset()
        observation, *_ = env.step(0)
        assert observation["audio/direction"][0, 0] > 0.9
        sim.change_scene()


def test_a_sensor_goes_with_its_simulator(live: Live) -> None:
    """The node it hung on is destroyed: to delete it there would end the process."""
    holder = type("Holder", (), {})()
    holder.sim = live("branch")
    habitat = Habitat.from_simulator(holder)
    habitat.listen([TO_THE_RIGHT])
    events = sys.modules["habitat_sim"].events  # type: ignore[attr-defined]
    events.clear()
    holder.sim.close()
    habitat.close()
    assert not any(event[0] == "delete" for event in events)
    holder.sim = live("branch")
    habitat.listen([TO_THE_RIGHT])
    holder.sim.close()
    holder.sim = live("branch")
    habitat.listen([TO_THE_RIGHT])
    habitat.close()


def test_a_process_without_torch_hears_through_a_server() -> None:
    """``model="http://…"`` ended in ModuleNotFoundError: torch."""
    code = """
import sys
sys.modules["torch"] = sys.modules["torchaudio"] = None
import numpy as np
import bat_agent_envs.client as client
from bat_agent.errors import BadInput

class Server:
    labels = ("dog", "cat")
    def __init__(self, url): pass
    def shapes(self): return {"slot_probs": (1, 2), "embedding": (3,)}
    def health(self): return {"model": {"clip_seconds": 10.0}}
    def arrays(self, sound):
        ahead = np.tile(np.array([[[0, 0, -1]]], np.float32), (len(sound), 1, 1))
        one = np.ones((len(sound), 1), np.float32)
        two = np.ones((len(sound), 2), np.float32)
        return dict(direction=ahead, distance=one, class_probs=two, slot_probs=two[:, None], valid=one > 0,
                    embedding=np.ones((len(sound), 3), np.float32))

client.HearingClient = Server
from habitat_stand_in import lab
from bat_agent_envs import HabitatHearing

class Sim:
    config = type("C", (), {"AUDIO": type("A", (), {"RIR_SAMPLING_RATE": 16000}), "STEP_TIME": 0.25})
    pathfinder = 1
    def get_agent(self, number): pass
    def reset(self): pass
    def step(self, action): pass

class Env(lab.Env):
    def _look(self): return {"audiogoal": np.full((2, 16000), 0.1, np.float32)}

inner = Env(Sim(), {"turn_left": lab.EmptySpace()}, {"audiogoal": lab.Box(-1, 1, (2, 16000))})
env = HabitatHearing(inner, model="http://127.0.0.1:1")
env.reset()
observation, *_, info = env.step(0)
assert observation["audio/direction"].tolist() == [[0, 0, -1]], observation
assert "dog" in info["bat"]["text"], info
try:
    HabitatHearing(inner, [np.ones(100, np.float32)], [(0, 0, 0)], model="http://127.0.0.1:1")
except BadInput as error:
    assert "needs torch" in str(error), error
else:
    raise AssertionError
"""
    folder = str(Path(__file__).parent)
    path = os.pathsep.join([entry or os.getcwd() for entry in sys.path] + [folder])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
