"""Frames that a sound server lost and replaced by exact zeros, as PipeWire does under load, without a word.

A microphone is never exactly zero on both ears in the middle of sound. Where it is, for more than
:data:`FEWEST_FRAMES`, with sound right before and right after, frames were lost.
"""

from __future__ import annotations

import numpy as np

from bat_agent.listening.blocks import Samples

FEWEST_FRAMES = 64
"""So many exact zeros in a row, and fewer, may be anything."""
EDGE = 2**-11
"""So loud (16 steps of 16 bits) the sound must be right before and after: a very quiet one is zero by rounding."""
LONGEST_S = 1.0
"""A longer silence is a muted microphone."""


class LostFrames:
    """Counts them in blocks as they come; a stretch of zeros may lie across several."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.total = 0
        self._longest = round(LONGEST_S * sample_rate_hz)
        self._undecided = np.zeros((0, 2), np.float32)

    def take(self, samples: Samples) -> int:
        """How many lost frames are known since the last call; ``samples`` (n, 2) are the next ones."""
        heard = np.concatenate([self._undecided, samples])
        found, undecided = 0, max(len(heard) - FEWEST_FRAMES, 0)
        for begin, end in _zeros(heard):
            if len(heard) - end < FEWEST_FRAMES:  # what comes after is not there yet
                undecided = min(undecided, max(begin - FEWEST_FRAMES, 0))
                break
            if FEWEST_FRAMES < end - begin <= self._longest and _loud(heard, begin, end):
                found += end - begin
        # Where the zeros have been going on for too long to be lost frames, only their end is kept.
        self._undecided = heard[max(undecided, len(heard) - self._longest - 2 * FEWEST_FRAMES) :].copy()
        self.total += found
        return found


def _zeros(heard: Samples) -> list[tuple[int, int]]:
    """Begin and end of each stretch of exact zeros."""
    zero = np.concatenate([[False], (heard == 0).all(axis=1), [False]])
    edges = np.flatnonzero(zero[1:] != zero[:-1])
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _loud(heard: Samples, begin: int, end: int) -> bool:
    before, after = heard[max(begin - FEWEST_FRAMES, 0) : begin], heard[end : end + FEWEST_FRAMES]
    return all(len(side) and np.abs(side).max() > EDGE for side in (before, after))
