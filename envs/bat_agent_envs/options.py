"""What a hearing wrapper can be told, checked once for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from bat_agent.errors import BadInput
from bat_agent.hearing.turning import MEMORY_S
from bat_agent.interfaces import NUM_MELS
from bat_agent.labels import class_number
from bat_agent_envs.client import SAMPLE_RATE_HZ
from bat_agent_envs.ears import LEAST_S, Ears, RemoteEars, Shapes
from bat_agent_envs.intake import Feed

DEFAULT_KEYS = ("direction", "distance", "class_probs", "embedding", "valid", "age")
MORE_KEYS = (
    "slot_probs", "sides", "waveform", "logmel", "heading_error", "azimuth_probs", "elevation_probs", "arrivals",
    "slot_arrivals", "arrival_probs",
)  # fmt: skip
PREFIX = "audio/"
FRAME_S = 0.01
"""Log-mel frames are 10 ms apart."""


@dataclass(frozen=True)
class HearingOptions:
    """Arguments of the wrappers; see :class:`bat_agent_envs.SpatialHearing`."""

    audio: str | Callable[[Any], Any]
    keys: tuple[str, ...]
    every_k_steps: int
    window_s: float
    feed: Feed
    chunk_s: float | None
    keep_audio: bool
    top_k: int
    questions: tuple[str, ...]
    ask_every: int
    named: tuple[str, ...] = ()
    goal: str | None = None
    joined_s: float = MEMORY_S

    def __post_init__(self) -> None:
        known = DEFAULT_KEYS + MORE_KEYS
        if unknown := [key for key in self.keys if key not in known]:
            raise BadInput(f"keys has no {unknown[0]!r}, expected some of {', '.join(known)}")
        for name in self.named:
            class_number(name)  # refuses what is none
        for name in ("every_k_steps", "top_k"):
            _check_whole(name, getattr(self, name), 1)
        _check_whole("ask_every", self.ask_every, 0)
        if self.ask_every and not self.questions:
            raise BadInput("ask_every is given, but no questions: give questions=['where is the sound?'] or the like")
        if not (isinstance(self.window_s, int | float) and math.isfinite(self.window_s) and self.window_s >= LEAST_S):
            raise BadInput(f"window_s must be at least {LEAST_S} s, got {self.window_s!r}")
        if not (isinstance(self.joined_s, int | float) and math.isfinite(self.joined_s) and self.joined_s >= 0):
            raise BadInput(f"joined_s must be a number of seconds from 0, got {self.joined_s!r}")
        if self.feed not in ("chunk", "window"):
            raise BadInput(f"feed must be 'chunk' (each step brings the next samples) or 'window', got {self.feed!r}")
        if self.chunk_s is not None and not self.chunk_s > 0:
            raise BadInput(f"chunk_s must be more than 0 s, got {self.chunk_s!r}")

    def check_window(self, ears: Ears | RemoteEars) -> None:
        """Refuse a window that the model would not hear to its end."""
        if self.window_s > ears.longest_s:
            raise BadInput(f"window_s is {self.window_s:g}, but the model hears {ears.longest_s:g} s at most: lower it")

    def spaces(self, shapes: Shapes) -> dict[str, gym.spaces.Box]:
        """The Box of each observation that is added, by its full name."""
        samples = round(self.window_s * SAMPLE_RATE_HZ)
        boxes = {
            "direction": _box(-1, 1, shapes.slots, 3),
            "distance": _box(0, 10, shapes.slots),
            "class_probs": _box(0, 1, shapes.classes),
            "slot_probs": _box(0, 1, shapes.slots, shapes.classes),
            "sides": _box(0, 1, shapes.slots, 3),
            "embedding": _box(-np.inf, np.inf, shapes.width),
            "valid": _box(0, 1, shapes.slots),
            "age": _box(0, np.inf, 1),
            "heading_error": _box(-np.pi, np.pi, 1 + len(self.named) + (self.goal is not None)),
            "azimuth_probs": _box(0, 1, shapes.slots, 360),
            "elevation_probs": _box(0, 1, shapes.slots, 180),
            "arrivals": _box(-np.inf, np.inf, 360),
            "slot_arrivals": _box(-np.inf, np.inf, shapes.slots, 360),
            "arrival_probs": _box(0, 1, shapes.slots, shapes.classes),
            "waveform": _box(-np.inf, np.inf, 2, samples),
            "logmel": _box(-np.inf, np.inf, 2, samples // round(FRAME_S * SAMPLE_RATE_HZ) + 1, NUM_MELS),
        }
        return {PREFIX + key: boxes[key] for key in self.keys}


def split_named(space: gym.Space[Any], named: str | Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The classes of ``named``, and the one that is a Discrete of the observation, such as the ``goal`` of
    ``SemanticAudioGoal-v0``: it stands for the class of that number in each step.
    """
    spaces = space.spaces if isinstance(space, gym.spaces.Dict) else {}
    goals = [name for name in as_tuple(named) if isinstance(spaces.get(name), gym.spaces.Discrete)]
    if len(goals) > 1:
        raise BadInput(f"named has {' and '.join(goals)}, which both change from step to step: leave one out")
    return tuple(name for name in as_tuple(named) if name not in goals), goals[0] if goals else None


def as_tuple(texts: str | Sequence[str]) -> tuple[str, ...]:
    """One or several strings as a tuple."""
    return (texts,) if isinstance(texts, str) else tuple(texts)


def _box(low: float, high: float, *shape: int) -> gym.spaces.Box:
    return gym.spaces.Box(low, high, shape, np.float32)


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise BadInput(f"{name} must be a whole number of at least {least}, got {value!r}")
