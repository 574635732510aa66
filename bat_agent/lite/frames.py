"""What each frame by itself was made into, kept: of windows that overlap, only what is new is computed.

As :mod:`bat_agent_spatial_ast.memory` does it with torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing.graph_folder import FrameGraph
from bat_agent.sound.overlap import Before, Windows

Floats = NDArray[np.float32]
MOST_CLIPS = 32
"""A larger batch is not remembered."""


class _Plan(NamedTuple):
    """Which frames of a window are known, and where in the window before they are."""

    first: int
    """Frames before this one are computed: they see what is mirrored at the edge."""
    last: int
    """So are those from this one on."""
    start: int


class FrameMemory:
    """Computes frames of clips (B, 2, N), of which each may go on with a clip of some call before."""

    def __init__(self, graph: FrameGraph, run: Callable[[Floats], list[Any]]) -> None:
        """``run``: from a waveform to the outputs of the ``graph``."""
        self._graph, self._run = graph, run
        self._inside = -(-graph.reach // graph.hop)
        self._windows: Windows[list[Floats]] = Windows(graph.hop, 2 * graph.reach)

    def __call__(self, waveform: Floats) -> dict[str, Floats]:
        """Each of the graph's outputs."""
        if len(waveform) > MOST_CLIPS:
            return dict(zip(self._graph.outputs, self._run(waveform), strict=True))
        before = [self._windows.before(clip) for clip in waveform]
        plans = [self._plan(old, waveform.shape[2]) for old in before]
        found: list[list[Floats]] = [[] for _ in plans]
        for plan in set(plans):  # streams that go on alike are computed together
            rows = [row for row, other in enumerate(plans) if other == plan]
            parts = self._parts(waveform[rows], plan, [before[row] for row in rows])
            for place, row in enumerate(rows):
                found[row] = [part[place] for part in parts]
        for clip, made in zip(waveform, found, strict=True):
            self._windows.keep(clip, made)
        return {name: np.stack([made[number] for made in found]) for number, name in enumerate(self._graph.outputs)}

    def _plan(self, old: Before[list[Floats]] | None, samples: int) -> _Plan | None:
        """What may be taken over, if it is worth it."""
        if old is None:
            return None
        shared = min(old.samples - old.start, samples)
        last = (shared - self._graph.reach) // self._graph.hop + 1
        return _Plan(self._inside, last, old.start // self._graph.hop) if last > 2 * self._inside else None

    def _parts(self, waveform: Floats, plan: _Plan | None, before: list[Before[list[Floats]] | None]) -> list[Floats]:
        if plan is None:
            return self._run(waveform)
        # What is new at both ends in one run, one end after the other; frames that see both are left out.
        hop, first = self._graph.hop, plan.first
        early = first - 1 + self._inside
        ends = (waveform[:, :, : early * hop], waveform[:, :, (plan.last - self._inside) * hop :])
        known = zip(*(old.made for old in before if old is not None), strict=True)
        shared, late = slice(plan.start + first, plan.start + plan.last), early + self._inside
        return [
            np.concatenate((new[:, :, :first], np.stack(old)[:, :, shared], new[:, :, late:]), axis=2)
            for new, old in zip(self._run(np.concatenate(ends, axis=2)), known, strict=True)
        ]
