"""How sure a figure is: bootstrap intervals over clips, also for those that are no mean over clips.

A clip is drawn with all that belongs to it, so that what its classes have in common stays together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from bat_agent.evaluation.metrics import bootstrap_interval

LEVEL = 0.95
RESAMPLES = 1000
FEW_RESAMPLES = 200
"""For figures whose every resample is work: the ends of the interval then waver by a tenth of its width."""

Floats = NDArray[np.float64]
Resampled = Callable[[NDArray[np.int64]], float]
"""The figure of N clips when clip n is there as often as entry n says."""


@dataclass(frozen=True)
class Figure:
    """One figure of an evaluation and its 95 % interval."""

    value: float
    low: float
    high: float
    count: int
    """Clips (or sources) it was taken over."""

    def to_dict(self) -> dict[str, float]:
        """JSON-able."""
        return asdict(self)


def mean_figure(values: NDArray[np.generic], seed: int = 0) -> Figure:
    """The mean of one number for each clip."""
    numbers = np.asarray(values, dtype=np.float64)
    low, high = bootstrap_interval(numbers, np.random.default_rng(seed), LEVEL, RESAMPLES)
    return Figure(float(numbers.mean()), low, high, len(numbers))


def resampled_figure(statistic: Resampled, clips: int, seed: int = 0, resamples: int = FEW_RESAMPLES) -> Figure:
    """Any figure of ``clips`` clips; percentiles of its resamples, moved by what resampling itself adds to it.

    Without that, mAP would lie below its own interval: a clip drawn twice stands in front of the same false ones twice.
    """
    rng = np.random.default_rng(seed)
    value = statistic(np.ones(clips, dtype=np.int64))
    drawn = [
        statistic(np.bincount(rng.integers(clips, size=clips), minlength=clips).astype(np.int64))
        for _ in range(resamples)
    ]
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    bias = float(np.nanmean(drawn)) - value
    most = max(1.0, float(np.nanmax(drawn)))  # a share is never more than 1
    return Figure(value, max(float(low) - bias, 0.0), min(float(high) - bias, most), clips)


class RankedClasses:
    """Mean average precision of weighted clips; sorts each class once, so that a resample costs no sorting."""

    def __init__(self, targets: NDArray[np.bool_], scores: NDArray[np.floating]) -> None:
        """Truth and scores, (N, C); classes without a positive clip are left out."""
        present = targets.any(axis=0)
        truth, score = targets[:, present].T, scores[:, present].T
        self._order = np.argsort(-score, axis=1, kind="stable").astype(np.int32)
        ranked = np.take_along_axis(score, self._order, axis=1)
        classes, clips = ranked.shape
        # Clips of equal score share a threshold: each is counted where the last of them stands.
        last = np.concatenate([ranked[:, 1:] != ranked[:, :-1], np.ones((classes, 1), dtype=bool)], axis=1)
        places = np.where(last, np.arange(clips, dtype=np.int32), clips)
        end = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]
        self._class, rank = np.nonzero(np.take_along_axis(truth, self._order, axis=1))
        self._clip = self._order[self._class, rank]
        self._end = end[self._class, rank]
        # Positives lie class by class, best first; those up to the threshold are a stretch of them.
        key = self._class * clips + rank
        self._from = np.searchsorted(self._class, self._class)
        self._to = np.searchsorted(key, self._class * clips + self._end, side="right")

    def __call__(self, weights: NDArray[np.int64]) -> float:
        """mAP when clip n counts ``weights[n]`` times; classes without a positive clip are again left out."""
        if not len(self._class):
            return float("nan")
        said = np.cumsum(weights.astype(np.float32)[self._order], axis=1)[self._class, self._end]
        weight = weights[self._clip].astype(np.float64)
        sums = np.concatenate([[0.0], np.cumsum(weight)])
        precision = (sums[self._to] - sums[self._from]) / np.maximum(said, 1)
        positives = np.bincount(self._class, weight)
        found = np.bincount(self._class, weight * precision)[positives > 0] / positives[positives > 0]
        return float(found.mean()) if len(found) else float("nan")
