"""What an agent knows of the floor it walks on, and its way over it: free is what it did not bump into.

A bump tells more than a point. What is lost of a step lies at right angles to what was in its way; furniture goes on
to both sides of where it was met, and behind. So cells next to a bump are taken, those about it are likely taken and
cost more, and where the agent stood is free. Each step is then the one whose end has the shortest way left, which
comes nearer with each step; places that the agent has been at cost a little, so that it never goes to and fro for long
(as in the search of Korf's LRTA*).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from bat_agent_envs.floor import CELL_M, Floor, Point, moves

TOUCHED_M, TOUCHED_DEEP_M = 0.06, 0.15
"""To each side of a bump, and behind it: taken, even where the agent has stood."""
TAKEN_M, TAKEN_DEEP_M = 0.1, 0.35
"""Taken, but for where the agent has stood."""
LIKELY_M, LIKELY_DEEP_M, LIKELY_COST = 0.5, 1.0, 4.0
"""Likely taken: a metre counts as so many."""
BEEN_M, BEEN_COST_M = 0.12, 0.1
"""Each time that the agent was so near to a place makes the way from it longer by so much."""
TURN_COST_M = 0.01
"""Of equal ways that with fewer turns."""
HELD_M = 0.06
"""A step that ends so near to where it began is not tried again from there."""
BESIDE_M, GOAL_M = 0.3, 0.6
"""What is looked for stands on the floor: so near to it the way leads through what is taken; and a bump so near to it
was a bump into it."""
_MARGIN_M = 2.0
"""Around all that is known, for ways around it."""


class KnownFloor:
    """The floor in the frame the agent began in: x to the right, z back, metres; turns in radians, to the left."""

    def __init__(self) -> None:
        self._bumps: list[tuple[Point, Point]] = []
        """Where the agent was held, and which way from there what held it lies."""
        self._been: list[Point] = []
        self._held: list[tuple[Point, float]] = []

    def stands(self, x: float, z: float) -> None:
        """The agent is there."""
        if not self._been or math.dist(self._been[-1], (x, z)) > CELL_M / 2:
            self._been.append((x, z))

    def bumped(self, before: Point, after: Point, turn: float, length_m: float) -> None:
        """A step of that length, turned so, led from one place to another only: something was in its way."""
        lost = -length_m * math.sin(turn) - (after[0] - before[0]), -length_m * math.cos(turn) - (after[1] - before[1])
        size = math.hypot(*lost)
        if size > 1e-3:
            self._bumps.append((after, (lost[0] / size, lost[1] / size)))
        if math.dist(before, after) < HELD_M:
            self._held.append((after, turn))

    def metres(self, here: Point, goal: Point) -> float:
        """How long the way to the goal is, as far as known; ``inf`` where there is none."""
        floor, _ = self._floor(here, goal)
        return _left_m(floor, _ways_m(floor, None, goal, GOAL_M), here)

    def way(self, here: Point, goal: Point, turns: Sequence[float], length_m: float) -> float:
        """Which of some turns a step is best made in; the first where none can be."""
        floor, cost = self._floor(here, goal)
        ways_m = _ways_m(floor, cost, goal, BESIDE_M)
        best, found = math.inf, turns[0]
        for number, turn in enumerate(turns):
            there = here[0] - length_m * math.sin(turn), here[1] - length_m * math.cos(turn)
            been = sum(math.dist(place, there) < BEEN_M for place in self._been)
            left_m = _left_m(floor, ways_m, there) + TURN_COST_M * number + BEEN_COST_M * been
            if left_m < best and not self._was_held(here, turn) and _is_free(floor, here, there):
                best, found = left_m, turn
        return found

    def _was_held(self, here: Point, turn: float) -> bool:
        return any(math.dist(place, here) < HELD_M and math.cos(turn - other) > 0.99 for place, other in self._held)

    def _floor(self, here: Point, goal: Point) -> tuple[Floor, NDArray[np.float64]]:
        """A floor that holds all that is known, and what its cells cost."""
        points = np.array([here, goal, *(bump for bump, _ in self._bumps), *self._been])
        low = np.floor((points.min(axis=0) - _MARGIN_M) / CELL_M).astype(int)
        high = np.ceil((points.max(axis=0) + _MARGIN_M) / CELL_M).astype(int)
        wide, long = (int(cells) for cells in high - low)
        floor = Floor((float(low[0]) * CELL_M, float(low[1]) * CELL_M), np.ones((wide, long), bool))
        cost = np.ones((wide, long))
        i, k = np.ogrid[:wide, :long]
        x, z = floor.origin_m[0] + (i + 0.5) * CELL_M, floor.origin_m[1] + (k + 0.5) * CELL_M
        touched = np.zeros(cost.shape, bool)
        for (at_x, at_z), (to_x, to_z) in self._bumps:
            deep = (x - at_x) * to_x + (z - at_z) * to_z
            beside = np.abs((z - at_z) * to_x - (x - at_x) * to_z)
            cost[(deep > 0) & (deep < LIKELY_DEEP_M) & (beside < LIKELY_M)] = LIKELY_COST
            ahead = deep > CELL_M / 3
            floor.free[ahead & (deep < TAKEN_DEEP_M) & (beside < TAKEN_M)] = False
            touched |= ahead & (deep < TOUCHED_DEEP_M) & (beside < TOUCHED_M)
        for place in self._been:
            cell = floor.cell(*place)
            floor.free[cell], cost[cell] = True, 1.0
        return Floor(floor.origin_m, floor.free & ~touched), cost


def _ways_m(floor: Floor, cost: NDArray[np.float64] | None, goal: Point, through_m: float) -> NDArray[np.float64]:
    """From each cell to the goal, through what is taken next to it."""
    graph = moves(floor.free | floor.disc(*goal, through_m), cost)
    i, k = floor.cell(*goal)
    return np.asarray(dijkstra(graph, indices=i * floor.free.shape[1] + k).reshape(floor.free.shape))


def _left_m(floor: Floor, ways_m: NDArray[np.float64], here: Point) -> float:
    """The way from any place: to one of the cells about it, and on from that."""
    i, k = floor.cell(*here)
    about = [(a, b) for a in (i - 1, i, i + 1) for b in (k - 1, k, k + 1)]
    return min(float(ways_m[cell]) + math.dist(here, floor.centre(cell)) for cell in about)


def _is_free(floor: Floor, here: Point, there: Point) -> bool:
    """Whether nothing is known to be in the way of a straight step, wherever in its cell it begins."""
    pieces = max(1, math.ceil(math.dist(here, there) / (CELL_M / 2)))
    x, z = (np.linspace(start, end, pieces + 1) for start, end in zip(here, there, strict=True))
    cells = {floor.cell(*place) for place in zip(x, z, strict=True)} - {floor.cell(*here)}
    return all(bool(floor.free[cell]) for cell in cells)
