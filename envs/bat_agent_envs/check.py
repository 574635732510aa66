"""``check_hearing_env``: what goes wrong most often between an environment's sound and its agent's ears."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from bat_agent.errors import BadInput
from bat_agent_envs.client import SAMPLE_RATE_HZ
from bat_agent_envs.options import PREFIX
from bat_agent_envs.wrapper import SpatialHearing, attribute

_SAME = 1e-4
_LOUD = 100.0
LATE_S = 1e-6


def check_hearing_env(env: gym.Env[Any, Any], *, steps: int = 12, seed: int = 0, **hearing: Any) -> list[str]:
    """Try an environment for some steps; returns what deserves a look.

    One without ears gets them for the trial, :class:`SpatialHearing` with the arguments ``hearing``.

    Checked are: that observations lie in their spaces; that directions are unit vectors where a slot is valid and 0
    elsewhere; that ``age`` is 0 in steps that listen; that the same seed and actions give the same sound and hearing,
    whatever was heard in the episode before. Noted are: silence throughout, ears that are always alike, samples far
    beyond full scale, and an environment that cannot be repeated.

    Raises :class:`~bat_agent.errors.BadInput` for the first thing that is wrong.
    """
    ears = _ears(env)
    if ears is None:
        env = ears = SpatialHearing(env, **hearing)
    elif hearing:
        raise BadInput(f"the environment has ears already: leave {', '.join(hearing)} out, or give it without them")
    env.action_space.seed(seed)
    actions = [env.action_space.sample() for _ in range(steps)]
    first = _episode(env, ears, actions, seed)
    _episode(env, ears, [env.action_space.sample() for _ in range(3)], seed + 1)
    again = _episode(env, ears, actions, seed)
    notes = []
    if len(first) != len(again) or not all(
        np.allclose(a["sound"], b["sound"], atol=_SAME) for a, b in zip(first, again, strict=True)
    ):
        notes.append(
            "the same seed and actions give another sound: draw everything from env.np_random, and begin each episode "
            "with a fresh acoustic context"
        )
    else:
        _check_no_leak(first, again)
    sound = np.concatenate([step["sound"] for step in first], axis=1)
    if not sound.any():
        notes.append("nothing at all is heard in the whole episode: are there sources, and are they started?")
    elif np.array_equal(sound[0], sound[1]):
        notes.append("both ears always hear the same, so there is no direction: does the environment render in mono?")
    if np.abs(sound).max() > _LOUD:
        notes.append(f"samples reach {np.abs(sound).max():.0f}, far beyond full scale ±1, so distances are wrong")
    return notes


def _ears(env: Any) -> SpatialHearing | None:
    wrapped = env
    while isinstance(wrapped, gym.Wrapper):
        if isinstance(wrapped, SpatialHearing):
            return wrapped
        wrapped = wrapped.env
    return None


def _episode(env: gym.Env[Any, Any], ears: SpatialHearing, actions: list[Any], seed: int) -> list[dict[str, Any]]:
    """What came and was heard in each step."""
    observation, info = env.reset(seed=seed)
    steps = [_checked(env, ears, observation, info)]
    for action in actions:
        observation, _, terminated, truncated, info = env.step(action)
        steps.append(_checked(env, ears, observation, info))
        if terminated or truncated:
            break
    return steps


def _checked(env: gym.Env[Any, Any], ears: SpatialHearing, observation: Any, info: dict[str, Any]) -> dict[str, Any]:
    hearing = ears.hearing
    heard = {name: values[0] for name, values in hearing.observation([0]).items()}
    if isinstance(env.observation_space, gym.spaces.Dict):
        for name, space in env.observation_space.spaces.items():
            if name not in observation or not space.contains(observation[name]):
                raise BadInput(f"observation[{name!r}] does not lie in its space {space}: check its dtype and shape")
    valid, direction = heard.get(PREFIX + "valid"), heard.get(PREFIX + "direction")
    if valid is not None and direction is not None:
        length = np.linalg.norm(direction, axis=-1)
        if not np.allclose(length, valid, atol=1e-3):
            raise BadInput(f"directions must have length 1 where valid and 0 elsewhere, got {length} for {valid}")
    fresh = info.get("bat", {}).get("fresh")
    if fresh and heard.get(PREFIX + "age", np.zeros(1))[0] > LATE_S:
        raise BadInput("audio/age must be 0 in a step that listens to the sound of that step")
    window = hearing.window(0)
    chunk_s = attribute(env, "step_s")
    newest = window if chunk_s is None else window[:, -round(chunk_s * SAMPLE_RATE_HZ) :]
    return {"sound": newest, "heard": heard}


def _check_no_leak(first: list[dict[str, Any]], again: list[dict[str, Any]]) -> None:
    """What was heard must depend on the episode alone."""
    for number, (before, after) in enumerate(zip(first, again, strict=True)):
        for name, values in before["heard"].items():
            if not np.allclose(values, after["heard"][name], atol=1e-2):
                raise BadInput(
                    f"step {number} of an episode hears another {name} the second time, from the same sound: "
                    "something of the episode before is left in the ears"
                )
