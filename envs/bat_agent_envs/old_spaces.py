"""Spaces of the old gym and of habitat as Gymnasium's, told apart by what they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from bat_agent.errors import BadInput


@dataclass(frozen=True)
class NamedActions:
    """Habitat's ``ActionSpace``: a choice among named actions, most of which take no arguments (``EmptySpace``)."""

    names: tuple[str, ...]
    """In the order of the space, which is alphabetical. ``habitat.Env`` counts in another one, so it gets the name."""
    space: gym.Space[Any]
    """Discrete over the names; with arguments a Dict of that, ``action``, and of ``action_args``: those of every action
    that takes some, under its name."""

    @classmethod
    def of(cls, space: Any) -> NamedActions | None:
        """Of an ``ActionSpace`` of habitat; ``None`` for any other space."""
        inner = getattr(space, "spaces", None)
        if isinstance(space, gym.Space) or not isinstance(inner, dict) or not hasattr(space, "actions_select"):
            return None
        arguments = {name: converted(part) for name, part in inner.items() if not _is_empty(part)}
        choice = gym.spaces.Discrete(len(inner))
        if not arguments:
            return cls(tuple(inner), choice)
        return cls(tuple(inner), gym.spaces.Dict({"action": choice, "action_args": gym.spaces.Dict(arguments)}))

    def chosen(self, action: Any) -> Any:
        """What ``habitat.Env.step`` takes for an action of :attr:`space`; names and habitat's own dicts pass."""
        if isinstance(action, str):
            return action
        if not isinstance(action, dict):
            return self.names[int(action)]
        if isinstance(action["action"], str):
            return action
        name = self.names[int(action["action"])]
        arguments = action.get("action_args", {})
        return {"action": name, "action_args": arguments[name]} if name in arguments else name


def converted(space: Any) -> gym.Space[Any]:
    """A space of the old gym as one of Gymnasium.

    Raises :class:`~bat_agent.errors.BadInput` for one that has no counterpart.
    """
    if isinstance(space, gym.Space):
        return space
    if hasattr(space, "spaces"):
        inner = space.spaces
        if isinstance(inner, dict):
            return gym.spaces.Dict({name: converted(part) for name, part in inner.items()})
        return gym.spaces.Tuple([converted(part) for part in inner])
    if hasattr(space, "low") and hasattr(space, "high"):
        return gym.spaces.Box(np.asarray(space.low), np.asarray(space.high), tuple(space.shape), space.dtype)
    if hasattr(space, "nvec"):
        return gym.spaces.MultiDiscrete(space.nvec)
    if hasattr(space, "n") and getattr(space, "shape", None):
        return gym.spaces.MultiBinary(space.n)
    if hasattr(space, "n") and int(space.n) > 0:
        return gym.spaces.Discrete(int(space.n), start=int(getattr(space, "start", 0)))
    if hasattr(space, "space") and hasattr(space, "max_seq_length"):  # habitat's ListSpace, of words
        return gym.spaces.Sequence(converted(space.space))
    raise BadInput(
        f"a space of type {type(space).__name__} has no counterpart in Gymnasium; wrap the environment so that it has "
        "Box, Discrete, MultiDiscrete, MultiBinary, Tuple or Dict spaces"
    )


def _is_empty(space: Any) -> bool:
    """Whether an action takes no arguments: habitat's ``EmptySpace``, or a mapping of nothing."""
    return type(space).__name__ == "EmptySpace" or getattr(space, "spaces", None) == {}
