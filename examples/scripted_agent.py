"""How well an agent finds what it hears: the scripted one beside one that acts by lot, over seeded episodes.

Run: python examples/scripted_agent.py [AudioGoal-v0|SemanticAudioGoal-v0] [episodes] [first seed] [model]
"""

from __future__ import annotations

import sys

import gymnasium as gym
import numpy as np

from bat_agent_envs import SpatialHearing
from bat_agent_envs.scripted import RandomAgent, ScriptedAgent, run_episode


def main(name: str = "AudioGoal-v0", episodes: int | str = 200, first: int | str = 0, model: str = "bat-small") -> None:
    bare = gym.make(f"bat_agent_envs/{name}", disable_env_checker=True)
    heard = SpatialHearing(bare, model, keys=ScriptedAgent.keys_for(bare), turn_key="pose", joined_s=0)
    for title, env, agent in (("scripted", heard, ScriptedAgent(heard)), ("random", bare, RandomAgent())):
        found = [run_episode(env, agent, seed) for seed in range(int(first), int(first) + int(episodes))]
        mean = {key: float(np.nanmean([one[key] for one in found])) for key in found[0] if key != "direction_error_deg"}
        print(title, ", ".join(f"{key} {value:.3f}" for key, value in mean.items()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
