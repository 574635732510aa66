"""How a head faced while something was heard, and how much of the newest sound a look is to be of."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing.sphere import Floats
from bat_agent.interfaces import SAMPLE_RATE_HZ

SWEEP_DEG, WIDE_DEG = 20.0, 100.0
"""A look is about as much of the newest sound as came within so many degrees of turn; within more, where that would be
less than ``ENOUGH_S``: of a quarter of a second the angle to the side is three times as far off as of a second."""
ENOUGH_S, SHORTEST_S = 1.0, 0.25
"""But about no less than that."""
FAINT, ONSET_ALONE_S = 0.15, 0.2
"""And so much that it begins before the last onset of at least that share of the strongest: an echo alone tells
nothing."""
ONSET_S, RECENT_FRAMES = 0.01, 10
"""A frame of sound counts by how much it is louder than all of so many before it."""
_TRACE_S = 12.0


class Headings:
    """The heading over time, in degrees; what was said last holds until something else is said."""

    def __init__(self, *, jumps: bool = False) -> None:
        """``jumps``: the head has a heading from the end of the stretch before on, as in an environment whose pose is
        that of all the sound that comes with it; else it turns evenly between two times.
        """
        self._jumps = jumps
        self._at: deque[tuple[float, float]] = deque()

    def __len__(self) -> int:
        return len(self._at)

    def clear(self) -> None:
        """Nothing is known any more."""
        self._at.clear()

    def copy(self) -> Headings:
        """The same, to be read while somebody else goes on."""
        other = Headings(jumps=self._jumps)
        other._at = self._at.copy()
        return other

    def say(self, t_s: float, heading_deg: float) -> None:
        """At ``t_s`` (never earlier than the last) the heading is this; turns by less than half a circle at a time."""
        if self._at:
            last = self._at[-1][1]
            heading_deg = last + (heading_deg - last + 180) % 360 - 180
        self._at.append((t_s, heading_deg))
        while self._at[-1][0] - self._at[0][0] > _TRACE_S:
            self._at.popleft()

    @property
    def now_deg(self) -> float:
        """The newest, unwrapped; 0 where nothing was said."""
        return self._at[-1][1] if self._at else 0.0

    def over(self, begin_s: float, end_s: float) -> Floats:
        """Headings at every 5 ms, and at least two, of a stretch of time."""
        times = np.linspace(begin_s, end_s, max(2, round((end_s - begin_s) / 0.005) + 1))
        return self.at(times)

    def at(self, times: Floats) -> Floats:
        """Headings at these times."""
        if not self._at:
            return np.zeros(len(times))
        known, headings = np.array(self._at).T
        if not self._jumps:
            return np.asarray(np.interp(times, known, headings))
        index = np.searchsorted(known, times - 1e-9, side="left")
        return np.asarray(headings[np.minimum(index, len(known) - 1)])

    def steady_s(self, end_s: float, sound: NDArray[np.floating]) -> float:
        """Seconds at the end of ``sound`` (2, N) at 32 kHz, which ended at ``end_s``, of which a look is to be."""
        longest_s = sound.shape[1] / SAMPLE_RATE_HZ
        if len(self._at) < 2 or longest_s <= SHORTEST_S:
            return longest_s
        headings = self.over(end_s - longest_s, end_s)[1:][::-1]
        swept = np.maximum.accumulate(headings) - np.minimum.accumulate(headings)

        def within(most_deg: float) -> float:
            return longest_s * int(np.searchsorted(swept, most_deg + 1e-6, side="right")) / len(headings)

        steady = max(within(SWEEP_DEG), min(within(WIDE_DEG), ENOUGH_S), SHORTEST_S)
        if steady < longest_s:
            steady = max(steady, reach_s(sound))
        return min(math.floor(100 * steady + 0.5) / 100, longest_s)


def onsets(sound: NDArray[np.floating]) -> Floats:
    """(n,) how much each 10 ms of a sound (2, N) at 32 kHz tell of where it comes from: by how much they are louder
    than all of the tenth of a second before. What comes first is direct sound, reflections follow; and it is by far the
    most of what the model goes by. Never all 0.
    """
    frame = round(ONSET_S * SAMPLE_RATE_HZ)
    count = max(sound.shape[1] // frame, 1)
    power = np.square(np.asarray(sound[:, -count * frame :], np.float64)).sum(axis=0).reshape(count, -1).sum(axis=1)
    before = np.concatenate((np.full(RECENT_FRAMES, power[0]), power[:-1]))
    loudest = np.lib.stride_tricks.sliding_window_view(before, RECENT_FRAMES).max(axis=1)
    weights = np.maximum(power - loudest, 0)
    return np.asarray(weights + 1e-3 * weights.max() + 1e-12)


def reach_s(sound: NDArray[np.floating]) -> float:
    """Seconds at the end of a sound (2, N) at 32 kHz that hold its last onset that is not faint beside the others."""
    weights = onsets(sound)
    last = int(np.flatnonzero(weights >= FAINT * weights.max())[-1])
    return (len(weights) - last) * ONSET_S + ONSET_ALONE_S
