"""PPO of Stable-Baselines3 learns AudioGoal-v0 from what ears hear; draws how it went.

Rooms are rendered in worker processes, and all of them are heard as one batch here. Goals are near unless told
otherwise: 20 000 steps, seven minutes on two cores, show that it learns, not how well it might.

Run: python examples/ppo_audio_goal.py [--steps 20000] [--envs 8] [--model lite] [--farthest 4] [--picture FILE]
Needs: pip install '.[sb3]' in a clone
"""

from __future__ import annotations

import argparse
import cmath
from collections.abc import Sequence
from functools import partial
from math import cos, log, pi, radians, sin
from typing import Any

import gymnasium as gym
import matplotlib
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor, VecNormalize

from bat_agent_envs import VectorSpatialHearing
from bat_agent_envs.stable_baselines import HearingVecEnv

KEYS = ("direction", "distance", "valid")
"""What is heard: little, as the policy has few steps to learn in. Classes matter where several things sound."""
BUMP_M, BUMPS_DEG = 0.4, (30.0, 0.0, -30.0)
"""What was bumped into counts so near to the agent, and in these directions: to the left, ahead, to the right."""
UNHEARD = 3j
"""Where a sound is taken to be until it is heard: 3 m ahead."""
EPISODES_MEANED = 100


class Episodes(BaseCallback):
    """Keeps steps, reward and success of every episode."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, float, float]] = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.found.append((self.num_timesteps, float(info["episode"]["r"]), info["is_success"]))
        return True


class Senses(VecEnvWrapper):
    """What the policy gets to know, (envs, 7): sine and cosine of how far to turn left to the sound, logarithm of the
    metres to it along the floor, whether it bumps into something now, and whether it ever did to the left, ahead and to
    the right of where it stands. Between two barks the sound stays where it was heard; and without a memory of bumps an
    agent walks into a piece of furniture until its time is over.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv, gym.spaces.Box(-np.inf, np.inf, (7,), np.float32))
        self._sounds, self._bumps = [UNHEARD] * venv.num_envs, [list[complex]() for _ in range(venv.num_envs)]

    def _forget(self, *which: int) -> None:
        for index in which:
            # Places, to the right and ahead as the agent began: the sound's, and where it bumped into something.
            self._sounds[index], self._bumps[index] = UNHEARD, []

    def reset(self) -> Any:
        self._forget(*range(self.num_envs))
        return self._known(self.venv.reset())

    def step_wait(self) -> Any:
        heard, rewards, over, infos = self.venv.step_wait()
        for index in np.flatnonzero(over).tolist():
            infos[index]["terminal_observation"] = self._sensed(index, infos[index]["terminal_observation"])
            self._forget(index)
        return self._known(heard), rewards, over, infos

    def _known(self, heard: Any) -> np.ndarray:
        return np.stack([self._sensed(n, {k: v[n] for k, v in heard.items()}) for n in range(self.num_envs)])

    def _sensed(self, index: int, heard: dict[str, np.ndarray]) -> np.ndarray:
        right, back, cosine, sine = heard["pose"].tolist()
        here, ahead = complex(right, -back), complex(-sine, cosine)
        if heard["audio/valid"][0]:
            x, _, z = (heard["audio/distance"][0] * heard["audio/direction"][0]).tolist()
            self._sounds[index] = here + complex(-z, -x) * ahead
        if hit := bool(heard["collided"][0]):
            self._bumps[index].append(here + BUMP_M / 2 * ahead)
        sound = (self._sounds[index] - here) / ahead  # how far ahead and, times i, to the left
        near = [(bump - here) / ahead for bump in self._bumps[index] if abs(bump - here) < BUMP_M]
        bumps = [
            any(abs(cmath.phase(bump / cmath.rect(1, radians(to)))) < pi / 12 for bump in near) for to in BUMPS_DEG
        ]
        turn = cmath.phase(sound)
        return np.array([sin(turn), cos(turn), log(abs(sound) + 0.1), hit, *bumps], np.float32)


def room(**options: Any) -> gym.Env[Any, Any]:
    torch.set_num_threads(1)
    return gym.make("bat_agent_envs/AudioGoal-v0", disable_env_checker=True, **options)


def learn(
    steps: int, count: int, model: str = "bat-small", seed: int = 0, n_steps: int = 64, **options: Any
) -> list[tuple[int, float, float]]:
    """Steps so far, reward and success of each episode; ``options`` are those of the environment."""
    rooms = [partial(room, **options)] * count
    mode = AutoresetMode.SAME_STEP
    inner = AsyncVectorEnv(rooms, autoreset_mode=mode) if count > 1 else SyncVectorEnv(rooms, autoreset_mode=mode)
    heard = VectorSpatialHearing(inner, model, keys=KEYS, window_s=1.0, turn_key="pose", place_key="pose")
    gamma = 0.98
    envs = VecNormalize(Senses(VecMonitor(HearingVecEnv(heard, seed))), norm_obs=False, gamma=gamma)
    ppo = PPO(
        "MlpPolicy", envs, n_steps=n_steps, batch_size=min(64, n_steps * count),
        learning_rate=lambda left: 1.5e-3 * left, ent_coef=0.001, gamma=gamma, seed=seed, device="cpu",
        policy_kwargs={"activation_fn": torch.nn.ReLU},
    )  # fmt: skip
    episodes = Episodes()
    ppo.learn(steps, callback=episodes)
    envs.close()
    return episodes.found


def draw(episodes: Sequence[tuple[int, float, float]], path: str, title: str = "PPO on AudioGoal-v0") -> None:
    """Success and reward over steps: each episode faint, the moving mean bold."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    steps, rewards, successes = np.array(episodes).T
    wide = min(EPISODES_MEANED, len(steps))
    figure, axes = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    for axis, values, name in zip(axes, (100 * successes, rewards), ("success, %", "reward"), strict=True):
        if name == "reward":
            axis.plot(steps, values, ".", color="0.8", markersize=2, label="an episode")
        mean = np.convolve(values, np.ones(wide) / wide, mode="valid")
        axis.plot(steps[wide - 1 :], mean, color="C0", label=f"mean of {wide} episodes")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[0].set_ylim(bottom=0)
    axes[0].set_title(title)
    axes[1].set_xlabel("steps")
    axes[1].legend(loc="upper left")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000, help="of all environments together")
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--model", default="bat-small", help="what hears; lite takes less time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--farthest", type=float, default=4.0, help="metres of way to the goal at most; 12 is the task")
    parser.add_argument("--picture", default="ppo_audio_goal.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    episodes = learn(given.steps, given.envs, given.model, seed=given.seed, most_way_m=given.farthest)
    for name, some in (("first", episodes[:EPISODES_MEANED]), ("last", episodes[-EPISODES_MEANED:])):
        _, reward, success = np.mean(some, axis=0)
        print(f"{name} {len(some)} of {len(episodes)} episodes: success {success:.2f}, reward {reward:.2f}")
    title = f"PPO on AudioGoal-v0, heard by {given.model}, goals 2 to {given.farthest:g} m away"
    draw(episodes, given.picture, title)
    print(f"drawn: {given.picture}")


if __name__ == "__main__":
    main()
