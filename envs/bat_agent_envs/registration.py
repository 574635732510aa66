"""Names under which ``gymnasium.make`` finds the environments."""

from __future__ import annotations

import gymnasium as gym

ENVIRONMENTS = {
    "bat_agent_envs/AudioGoal-v0": "bat_agent_envs.audio_goal:AudioGoalEnv",
    "bat_agent_envs/SemanticAudioGoal-v0": "bat_agent_envs.audio_goal:SemanticAudioGoalEnv",
    "bat_agent_envs/WhereIs-v0": "bat_agent_envs.where_is:WhereIsEnv",
}


def register() -> None:
    """Register what is not registered yet."""
    for name, target in ENVIRONMENTS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=target)
