"""Worlds that fit what the heads say: so many draws of where each source is, to ask any statement of.

The probability of a statement is its share among the worlds. Azimuth, elevation, distance and the sources are taken as
independent of each other, as the heads give no more. Draws are spread evenly over each head and always the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing.posterior import Clip, Heard
from bat_agent.questions.free.query import Query

COUNT = 2048
_LEAST_M = 0.05
Numbers = NDArray[np.float64]
Statements = NDArray[np.bool_]


class Worlds:
    """The worlds of one clip. Letters: N worlds."""

    def __init__(self, clip: Clip, count: int = COUNT) -> None:
        self.clip, self.count = clip, count
        self._points: dict[int, Numbers] = {}

    def there(self, slot: Heard) -> Statements:
        """(N,) whether the slot holds a source."""
        rng = np.random.default_rng((7, self._number(slot)))
        return _even(rng, self.count) < slot.perceived.confidence

    def points(self, slot: Heard, query: Query | None = None) -> Numbers:
        """(N, 3): right, up, back, metres; after the turn or the walk of a query."""
        number = self._number(slot)
        if number not in self._points:
            self._points[number] = _drawn(slot, number, self.count)
        points = self._points[number]
        return points if query is None else after(points, query)

    def toward(self, slot: Heard, side: str, query: Query | None = None) -> Numbers:
        """(N,) direction cosine towards a side."""
        points = self.points(slot, query)
        return _along(points, side) / np.maximum(np.linalg.norm(points, axis=1), 1e-9)

    def distance_m(self, slot: Heard, query: Query | None = None) -> Numbers:
        """(N,) metres."""
        found: Numbers = np.linalg.norm(self.points(slot, query), axis=1)
        return found

    def azimuth_deg(self, slot: Heard, query: Query | None = None) -> Numbers:
        """(N,) counter-clockwise from the right."""
        x, _, z = self.points(slot, query).T
        return np.degrees(np.arctan2(-z, x)) % 360

    def _number(self, slot: Heard) -> int:
        return next(number for number, known in enumerate(self.clip.slots) if known is slot)


def after(points: Numbers, query: Query) -> Numbers:
    """Where points lie once the listener has turned or walked as the query says."""
    x, y, z = points.T
    x = x - query.walk_m * ((query.walk_to == "right") - (query.walk_to == "left"))
    z = z - query.walk_m * ((query.walk_to == "behind") - (query.walk_to == "front"))
    turn = np.radians(query.turn_deg)  # the world turns the other way
    return np.stack([x * np.cos(turn) - z * np.sin(turn), y, z * np.cos(turn) + x * np.sin(turn)], axis=1)


def _along(points: Numbers, side: str) -> Numbers:
    x, y, z = points.T
    return {"right": x, "left": -x, "above": y, "below": -y, "behind": z, "front": -z}[side]


def _drawn(slot: Heard, number: int, count: int) -> Numbers:
    rng = np.random.default_rng((11, number))
    azimuth = np.radians(_of_bins(slot.head("azimuth"), rng, count))
    elevation = np.radians(np.clip(_of_bins(slot.head("elevation"), rng, count) - 90, -90, 90))
    distance = np.maximum(_of_bins(slot.head("distance"), rng, count) / 2, _LEAST_M)
    level = np.cos(elevation)
    unit = np.stack([np.cos(azimuth) * level, np.sin(elevation), -np.sin(azimuth) * level], axis=1)
    return unit * distance[:, None]


def _of_bins(probs: NDArray[np.float64], rng: np.random.Generator, count: int) -> Numbers:
    """Draws from bins, each of which reaches half a bin to either side."""
    ends = np.concatenate([[0.0], np.cumsum(probs)])
    places = _even(rng, count) * ends[-1]
    return np.interp(places, ends, np.arange(len(ends)) - 0.5)


def _even(rng: np.random.Generator, count: int) -> Numbers:
    return (rng.permutation(count) + 0.5) / count
