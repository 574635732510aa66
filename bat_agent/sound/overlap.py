"""Whether one window of sound goes on with another: seen from the samples, so that nobody has to say it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PROBE = 8
_TRIES = 4


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
