"""What learns from the environments takes them as they are: Stable-Baselines3, vectors in processes, the examples."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import warnings
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from bat_agent.errors import BadInput
from bat_agent_envs import SpatialHearing, VectorSpatialHearing, registration

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = tuple(registration.ENVIRONMENTS)


def make(name: str, **options: Any) -> gym.Env[Any, Any]:
    torch.set_num_threads(1)
    return gym.make(name, disable_env_checker=True, **{"sounds": "procedural:2", "max_steps": 12, **options})


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- Stable-Baselines3 ---


@pytest.mark.parametrize("name", NAMES)
def test_stable_baselines_finds_no_fault_in_what_is_heard(name: str, echo: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        # It advises to bound and to flatten; neither is an error.
        warnings.simplefilter("ignore")
        checker.check_env(SpatialHearing(make(name), echo))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_ppo_learns_from_one_environment(name: str, echo: str) -> None:
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    env = SpatialHearing(make(name), echo, window_s=0.5)
    ppo = stable_baselines3.PPO("MultiInputPolicy", env, n_steps=32, batch_size=32, n_epochs=1, device="cpu", seed=0)
    before = [weight.clone() for weight in ppo.policy.parameters()]
    ppo.learn(64)
    assert ppo.num_timesteps == 64
    assert any(not torch.equal(old, new) for old, new in zip(before, ppo.policy.parameters(), strict=True))


def test_the_example_of_ppo_learns_and_draws(echo: str, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    module = example("ppo_audio_goal")
    episodes = module.learn(128, 2, echo, n_steps=32, sounds="procedural:2", max_steps=12)
    steps, rewards, successes = np.array(episodes).T
    assert len(steps) > 5
    assert (np.diff(steps) >= 0).all()
    assert np.isfinite(rewards).all()
    assert set(successes) <= {0.0, 1.0}
    module.draw(episodes, str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_example_of_ppo_keeps_in_mind_what_it_heard_and_bumped_into() -> None:
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.vec_env import DummyVecEnv

    module = example("ppo_audio_goal")
    senses = module.Senses(DummyVecEnv([lambda: gym.make("CartPole-v1")]))

    def sensed(pose: tuple[float, ...], hit: bool = False, heard: bool = False) -> Any:
        # 2 m away, 30° to the left and 20° up, where it is heard
        level = np.cos(np.radians(20))
        x, z = -np.sin(np.radians(30)) * level, -np.cos(np.radians(30)) * level
        return senses._sensed(0, {
            "pose": np.array(pose), "collided": np.array([float(hit)]), "audio/valid": np.array([float(heard), 0.0]),
            "audio/distance": np.array([2.0, 0.0]),
            "audio/direction": np.array([[x, np.sin(np.radians(20)), z], [0, 0, 0]]),
        })  # fmt: skip

    away = 2 * np.cos(np.radians(20))
    ahead = (0.0, 0.0, 1.0, 0.0)
    np.testing.assert_allclose(sensed(ahead), [0, 1, np.log(3.1), 0, 0, 0, 0], atol=1e-6)  # nothing was heard yet
    np.testing.assert_allclose(sensed(ahead, heard=True), [0.5, 0.75**0.5, np.log(away + 0.1), 0, 0, 0, 0], atol=1e-6)
    # A step ahead, where something was in the way; it is silent now.
    left, further = away * 0.5, away * 0.75**0.5 - 0.1
    turn, metres = np.arctan2(left, further), np.hypot(left, further)
    expected = [np.sin(turn), np.cos(turn), np.log(metres + 0.1)]
    np.testing.assert_allclose(sensed((0.0, -0.1, 1.0, 0.0), hit=True), [*expected, 1, 0, 1, 0], atol=1e-6)
    # Turned left by 30°, what was ahead is to the right.
    turned = (0.0, -0.1, np.cos(np.pi / 6), np.sin(np.pi / 6))
    expected[:2] = np.sin(turn - np.pi / 6), np.cos(turn - np.pi / 6)
    np.testing.assert_allclose(sensed(turned), [*expected, 0, 0, 0, 1], atol=1e-6)
    senses._forget(0)
    np.testing.assert_allclose(sensed(turned)[2:], [np.log(3.0), 0, 0, 0, 0], atol=1e-6)


def test_any_vector_is_one_of_stable_baselines(echo: str, beeper: Any) -> None:
    """The example broke with KeyError: 'episode_metrics' on environments that measure no success."""
    pytest.importorskip("stable_baselines3")
    from gymnasium.vector import AutoresetMode
    from stable_baselines3 import PPO

    from bat_agent_envs.stable_baselines import HearingVecEnv

    inner = SyncVectorEnv([partial(beeper, 3)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    envs = HearingVecEnv(VectorSpatialHearing(inner, echo, keys=("direction", "heading_error")), seed=3)
    envs.reset()
    for step in range(3):
        observations, rewards, over, infos = envs.step(np.array([0, 1]))
        assert over.tolist() == [step == 2] * 2
    assert rewards.dtype == np.float32
    ended = infos[0]["terminal_observation"]
    np.testing.assert_allclose(ended["audio/heading_error"], [np.pi / 2], atol=0.1)  # the left
    assert not observations["audio/direction"].any()  # the next episode begins in silence
    assert infos[1]["truth"]["azimuth_deg"] == 0.0
    assert infos[1]["bat"]["sources"][0]["direction"][0] == pytest.approx(1, abs=0.05)
    assert infos[0]["TimeLimit.truncated"] is False
    assert envs.get_attr("length") == [3, 3]
    PPO("MultiInputPolicy", envs, n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(16)
    with pytest.raises(BadInput, match="SAME_STEP"):
        HearingVecEnv(VectorSpatialHearing(SyncVectorEnv([beeper]), echo))


# --- vectors ---


@pytest.mark.parametrize("name", NAMES)
def test_processes_change_nothing_of_what_is_heard(name: str, echo: str) -> None:
    makers = [partial(make, name, max_steps=3)] * 2
    both = [VectorSpatialHearing(kind(makers), echo) for kind in (SyncVectorEnv, AsyncVectorEnv)]
    seen = [envs.reset(seed=[7, 8])[0] for envs in both]
    for step in range(6):  # beyond the end of an episode
        assert seen[0].keys() == seen[1].keys()
        for key in seen[0]:
            np.testing.assert_array_equal(seen[0][key], seen[1][key], err_msg=f"{key}, step {step}")
        seen = [envs.step(np.array([0, 1]))[0] for envs in both]
    for envs in both:
        envs.close()


# --- ROS 2, as far as it goes without it ---


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    contents: dict[str, dict[str, Any]] = {
        "rclpy": {},
        "rclpy.node": {"Node": FakeNode},
        "std_msgs": {},
        "std_msgs.msg": dict.fromkeys(("Float32", "Float32MultiArray", "String"), SimpleNamespace),
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return example("ros2_hearing_node")


class FakeNode:
    """Keeps what is declared, subscribed and published."""

    given: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.parameters: dict[str, Any] = {}
        self.published: list[str] = []
        self.errors: list[str] = []

    def declare_parameter(self, name: str, value: Any) -> None:
        self.parameters[name] = self.given.get(name, value)

    def get_parameter(self, name: str) -> Any:
        return SimpleNamespace(value=self.parameters[name])

    def create_publisher(self, kind: Any, topic: str, depth: int) -> Any:
        return SimpleNamespace(publish=lambda message: self.published.append(message.data))

    def create_subscription(self, kind: Any, topic: str, told: Any, depth: int) -> None:
        self.subscribed = {**getattr(self, "subscribed", {}), topic: told}

    def create_timer(self, every_s: float, call: Any) -> None:
        self.call = call

    def get_logger(self) -> Any:
        return SimpleNamespace(error=self.errors.append)


def test_the_node_tells_in_the_frame_of_ros(node: ModuleType, echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeNode, "given", {"model": echo})
    hearing = node.HearingNode()
    hearing.call()
    assert not hearing.published  # nothing has been heard yet
    noise = np.random.default_rng(0).standard_normal((16_000, 2))
    hearing.subscribed["audio"](SimpleNamespace(data=(noise * [0.1, 0.01]).ravel()))
    hearing.call()
    (source,) = json.loads(hearing.published[0])["sources"]
    assert source["direction"] == pytest.approx({"x": 0.0, "y": 1.0, "z": 0.0}, abs=1e-3)  # left
    assert source["labels"]
    hearing.subscribed["audio"](SimpleNamespace(data=[0.1, 0.2, 0.3]))
    assert "send two channels" in hearing.errors[0]


def test_the_node_tells_no_direction_of_one_microphone(
    node: ModuleType, echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised a TypeError: there is no angle."""
    monkeypatch.setattr(FakeNode, "given", {"model": echo})
    hearing = node.HearingNode()
    noise = np.random.default_rng(0).standard_normal(16_000)
    hearing.subscribed["audio"](SimpleNamespace(data=np.stack([0.1 * noise, 0.01 * noise], axis=1).ravel()))
    hearing.call()
    told = json.loads(hearing.published[0])
    assert told["sources"][0]["direction"] is None
    assert told["sources"][0]["labels"]
    assert any("no direction can be heard" in note for note in told["notes"])


def test_the_node_tells_in_the_frame_of_the_heading_of_now(
    node: ModuleType, echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The echo model hears the louder side: at the left of a head that has turned by 90° to the right since."""
    monkeypatch.setattr(FakeNode, "given", {"model": echo, "window_s": 0.25})
    hearing = node.HearingNode()
    noise = np.random.default_rng(0).standard_normal((8_000, 2)) * [0.1, 0.01]
    noise[:3_900] *= 1e-3  # so that it begins in the middle of the turn
    for heading in (0.0, 0.0, -math.pi / 2):
        hearing.subscribed["heading"](SimpleNamespace(data=heading))
        hearing.subscribed["audio"](SimpleNamespace(data=noise.ravel()))
    hearing.call()
    (source,) = json.loads(hearing.published[0])["sources"]
    # It turned evenly while this quarter of a second came, so what was heard on the left lies 45° further to the left.
    assert source["direction"] == pytest.approx({"x": -math.sqrt(0.5), "y": math.sqrt(0.5), "z": 0.0}, abs=0.05)


def test_the_node_takes_samples_of_both_ears_in_turn(node: ModuleType) -> None:
    np.testing.assert_array_equal(node.both_ears([1, 2, 3, 4, 5, 6]), [[1, 3, 5], [2, 4, 6]])
    with pytest.raises(BadInput, match="send two channels"):
        node.both_ears(np.zeros((2, 3)))


def test_torchrl_finds_no_fault_in_what_is_heard(echo: str) -> None:
    utils = pytest.importorskip("torchrl.envs.utils")
    env = example("torchrl_audio_goal").heard_room(echo, sounds="procedural:2", max_steps=12)
    utils.check_env_specs(env)
    walked = env.rollout(5)
    assert walked["next", "audio/heading_error"].shape == (walked.batch_size[0], 1)


def test_rllib_steps_what_is_heard(echo: str) -> None:
    """The runner of RLlib's new stack, in this process: a cluster of Ray is not what is tested."""
    runners = pytest.importorskip("ray.rllib.env.single_agent_env_runner", exc_type=ImportError)
    configuration = example("rllib_audio_goal").configuration
    runner = runners.SingleAgentEnvRunner(
        config=configuration(0, 2, model=echo, sounds="procedural:2", max_steps=12), worker_index=0
    )
    episodes = runner.sample(num_timesteps=8, random_actions=True)
    assert sum(map(len, episodes)) >= 8
    runner.stop()


@pytest.mark.parametrize(
    ("name", "missing"),
    [("ros2_hearing_node", "rclpy"), ("rllib_audio_goal", "ray"), ("torchrl_audio_goal", "torchrl")],
)
def test_an_example_says_what_it_lacks(name: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    for loaded in [module for module in sys.modules if module.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(SystemExit, match=r"this example needs .*install"):
        example(name)
