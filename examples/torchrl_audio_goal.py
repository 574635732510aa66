"""AudioGoal-v0 with ears in TorchRL: its specifications are checked, and a policy by lot walks in it.

What is heard arrives as entries of a TensorDict (``audio/direction`` and so on), ready for TorchRL's collectors and
losses.

Run: python examples/torchrl_audio_goal.py [--steps 32]
Needs: bat-agent and torchrl, 0.14 or newer
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import gymnasium as gym
import torch

from bat_agent_envs import SpatialHearing

try:
    from torchrl.envs import GymWrapper
    from torchrl.envs.utils import check_env_specs
except ImportError as error:
    sys.exit(f"this example needs TorchRL ({error}): pip install 'torchrl>=0.14'")

KEYS = ("direction", "heading_error", "distance", "valid", "age")


def heard_room(model: str = "bat-small", **options: Any) -> GymWrapper:
    """An environment with ears, as TorchRL has it; ``options`` are those of the environment."""
    room = gym.make("bat_agent_envs/AudioGoal-v0", disable_env_checker=True, **options)
    return GymWrapper(SpatialHearing(room, model, keys=KEYS, window_s=1.0, turn_key="pose", place_key="pose"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=32)
    given = parser.parse_args()
    torch.set_num_threads(1)
    env = heard_room()
    check_env_specs(env)
    env.set_seed(0)
    walked = env.rollout(given.steps, break_when_any_done=False)
    error = walked["next", "audio/heading_error"]
    print(f"{walked.batch_size[0]} steps, heading error {tuple(error.shape)} {error.dtype}, in {sorted(walked.keys())}")
    env.close()


if __name__ == "__main__":
    main()
