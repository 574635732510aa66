"""What each frame by itself was made into, kept: of windows that overlap, only what is new is computed.

As :mod:`bat_agent_spatial_ast.memory` does it with torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing.graph_folder import FrameGraph
from bat_agent.sound.overlap import overlap

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
    """Computes frames of clips (B, 2, N); clips of a batch are taken to go on in their order."""

    def __init__(self, graph: FrameGraph, run: Callable[[Floats], list[Any]]) -> None:
        """``run``: from a waveform to the outputs of the ``graph``."""
        self._graph, self._run = graph, run
        self._inside = -(-graph.reach // graph.hop)
        self._before: list[tuple[Floats, list[Floats]]] = []

    def __call__(self, waveform: Floats) -> dict[str, Floats]:
        """Each of the graph's outputs."""
        before = self._before
        plans = [self._plan(before[n][0], clip) if n < len(before) else None for n, clip in enumerate(waveform)]
        shared = set(plans)
        # Environments step together, so all their windows go on alike; others are computed whole.
        plan = shared.pop() if len(shared) == 1 else None
        if plan is None:
            found = self._run(waveform)
        else:
            known = [np.stack(parts) for parts in zip(*(old for _, old in before[: len(waveform)]), strict=True)]
            found = self._gone_on(waveform, known, plan)
        keep = len(waveform) <= MOST_CLIPS
        self._before = [(clip.copy(), [part[n] for part in found]) for n, clip in enumerate(waveform)] if keep else []
        return dict(zip(self._graph.outputs, found, strict=True))

    def _plan(self, old: Floats, new: Floats) -> _Plan | None:
        """What may be taken over, if it is worth it."""
        hop, reach = self._graph.hop, self._graph.reach
        begin = overlap(old, new, hop, 2 * reach)
        if begin is None:
            return None
        shared = min(old.shape[1] - begin, new.shape[1])
        last = (shared - reach) // hop + 1
        return _Plan(self._inside, last, begin // hop) if last > 2 * self._inside else None

    def _gone_on(self, waveform: Floats, known: list[Floats], plan: _Plan) -> list[Floats]:
        hop, reach = self._graph.hop, self._graph.reach
        begin = self._run(waveform[:, :, : plan.first * hop + 2 * reach])
        end = self._run(waveform[:, :, (plan.last - self._inside) * hop :])
        return [
            np.concatenate(
                (
                    early[:, :, : plan.first],
                    old[:, :, plan.start + plan.first : plan.start + plan.last],
                    late[:, :, self._inside :],
                ),
                axis=2,
            )
            for early, old, late in zip(begin, known, end, strict=True)
        ]
