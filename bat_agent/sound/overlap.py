"""Which window of sound goes on with which: seen from the samples, so that nobody has to say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from bat_agent.interfaces import SAMPLE_RATE_HZ

_PROBE = 8
_TRIES = 4
T = TypeVar("T")


@dataclass(frozen=True)
class Before(Generic[T]):
    """A window of before that goes over into a new one."""

    samples: int
    start: int
    """Its sample, a whole number of hops, at which the new one begins."""
    made: T
    """What was made of it."""


@dataclass(frozen=True, eq=False)
class _Window(Generic[T]):
    sound: NDArray[np.float32]
    made: T


class Windows(Generic[T]):
    """The last windows (2, N) float32 of several streams, in any order, each with what was made of it."""

    def __init__(self, hop: int, shortest: int, most_s: float = 64.0) -> None:
        """Two that overlap share ``shortest`` samples or more; beyond ``most_s`` of sound the oldest go."""
        self._hop, self._shortest, self._most = hop, shortest, round(most_s * SAMPLE_RATE_HZ)
        self._windows: list[_Window[T]] = []

    def before(self, sound: NDArray[np.float32]) -> Before[T] | None:
        """The window that ``sound`` goes on with, which is forgotten; ``None`` where there is none."""
        # Streams are mostly heard in the same order, so the first one is mostly it.
        for window in self._windows:
            start = overlap(window.sound, sound, self._hop, self._shortest)
            if start is not None:
                # Another list, as somebody may be looking through this one.
                self._windows = [other for other in self._windows if other is not window]
                return Before(window.sound.shape[1], start, window.made)
        return None

    def keep(self, sound: NDArray[np.float32], made: T) -> None:
        """Remember a window."""
        windows = [*self._windows, _Window(sound.copy(), made)]
        samples = sum(window.sound.shape[1] for window in windows)
        while len(windows) > 1 and samples > self._most:
            samples -= windows.pop(0).sound.shape[1]
        self._windows = windows


def overlap(old: NDArray[np.float32], new: NDArray[np.float32], hop: int, shortest: int) -> int | None:
    """From which sample of ``old`` (2, N) on, a whole number of hops, ``new`` (2, M) is the same as far as both go.

    At least ``shortest`` samples of either are shared; ``None`` where they are not.
    """
    starts = (old.shape[1] - shortest) // hop
    if starts < 1 or new.shape[1] <= shortest:
        return None
    begins = np.lib.stride_tricks.sliding_window_view(old[0], _PROBE)[: starts * hop : hop]
    for start in np.flatnonzero((begins == new[0, :_PROBE]).all(axis=1))[:_TRIES] * hop:
        shared = min(old.shape[1] - start, new.shape[1])
        if np.array_equal(old[:, start : start + shared], new[:, :shared]):
            return int(start)
    return None
