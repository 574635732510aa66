"""PPO of RLlib (its new stack) on AudioGoal-v0: a configuration to begin from, stepped once or more.

Each of the ``runners`` has a process, environments and a model of its own; 0 keeps everything in this process. What is
heard reaches the policy flattened, beside the pose.

Run: python examples/rllib_audio_goal.py [--iterations 1] [--runners 1] [--envs 2]
Needs: pip install '.[rllib]' in a clone of bat-agent
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import gymnasium as gym
import torch

from bat_agent.extras import how_to_install
from bat_agent_envs import SpatialHearing

try:
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.connectors.env_to_module import FlattenObservations
    from ray.tune.registry import register_env
except ImportError as error:
    sys.exit(f"this example needs RLlib ({error}): {how_to_install('rllib')}")

KEYS = ("direction", "distance", "valid", "age")


def heard_room(options: dict[str, Any]) -> gym.Env[Any, Any]:
    """An environment with ears; ``options`` are those of the environment and ``model``."""
    torch.set_num_threads(1)
    options = dict(options)
    model = options.pop("model", "bat-small")
    room = gym.make("bat_agent_envs/AudioGoal-v0", disable_env_checker=True, **options)
    return SpatialHearing(room, model, keys=KEYS, window_s=1.0, turn_key="pose", place_key="pose")


def flattened(env: Any, spaces: Any = None, device: Any = None) -> FlattenObservations:
    """What comes between an environment and the policy."""
    return FlattenObservations()


def configuration(runners: int = 1, envs: int = 2, batch: int = 256, **options: Any) -> PPOConfig:
    """``options`` are those of :func:`heard_room`."""
    register_env("heard-audio-goal", heard_room)
    return (
        PPOConfig()
        .environment("heard-audio-goal", env_config=options)
        .env_runners(
            num_env_runners=runners,
            num_envs_per_env_runner=envs,
            env_to_module_connector=flattened,
        )
        .training(train_batch_size_per_learner=batch, minibatch_size=batch // 4, num_epochs=6, lr=1e-3, gamma=0.98)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--iterations", type=int, default=1, help="each gathers a batch of 256 steps and learns from it"
    )
    parser.add_argument("--runners", type=int, default=1)
    parser.add_argument("--envs", type=int, default=2, help="of each runner")
    given = parser.parse_args()
    algorithm = configuration(given.runners, given.envs).build_algo()
    for number in range(1, given.iterations + 1):
        found = algorithm.train()["env_runners"]
        reward = found.get("episode_return_mean", float("nan"))
        print(f"iteration {number}: {found['num_env_steps_sampled_lifetime']:.0f} steps, mean reward {reward:.2f}")
    algorithm.stop()


if __name__ == "__main__":
    main()
