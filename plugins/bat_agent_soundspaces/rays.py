"""Rays against triangles in numpy: how many surfaces a ray meets, where a vertical one lands, how near a surface is.

Rays run along few directions, so for each of them all triangles are projected once onto the plane across it and sorted
into a square grid; a ray then asks only the triangles of its cell. Thousands of rays against a million triangles take
well under a second, with no spatial index to install. F faces, P points, K pairs of a point and a candidate face.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

_MAX_GRID = 512
_MAX_PAIRS = 1_000_000
_EDGE = 1e-9
_VERTICAL = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class Beams:
    """All triangles (F, 3, 3) as seen along one direction; rows of ``axes`` are across, across, along."""

    def __init__(self, triangles: np.ndarray, axes: np.ndarray) -> None:
        # Turned triangles are not kept: nine directions of a million of them would fill a gigabyte.
        self._triangles, self._axes = triangles, axes
        flat = triangles @ axes[:2].T
        area = _cross(flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0])
        faces = np.flatnonzero(np.abs(area) > 1e-14)  # others are seen edge-on
        low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
        self._grid = int(np.clip(np.sqrt(len(triangles)), 1, _MAX_GRID))
        self._low, self._step = low, np.maximum((high - low) / self._grid, 1e-9)
        first = self._cells(flat[faces].min(axis=1) - 1e-6)
        last = self._cells(flat[faces].max(axis=1) + 1e-6)
        span = last - first + 1
        index, offset = _expand(span[:, 0] * span[:, 1])
        column, row = np.divmod(offset, span[index, 1])
        cell = (first[index, 0] + column) * self._grid + first[index, 1] + row
        order = np.argsort(cell, kind="stable")
        self._faces = faces[index[order]].astype(np.int32)
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=self._grid**2))])

    def _cells(self, flat: np.ndarray) -> np.ndarray:
        return np.clip(((flat - self._low) / self._step).astype(int), 0, self._grid - 1)

    def meet(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the lines through points (P, 3) meet triangles: point (K,), face (K,), signed distance along (K,)."""
        seen = points @ self._axes.T
        beyond = np.any((seen[:, :2] < self._low) | (seen[:, :2] > self._low + self._grid * self._step), axis=1)
        column, row = self._cells(seen[:, :2]).T
        cell = column * self._grid + row
        count = np.where(beyond, 0, self._starts[cell + 1] - self._starts[cell])
        found = []
        for some in _chunks(count):
            point, offset = _expand(count[some])
            point = some[point]
            face = self._faces[self._starts[cell[point]] + offset]
            found.append(self._test(seen, point, face))
        if not found:
            return np.empty(0, int), np.empty(0, int), np.empty(0)
        point, face, distance = (np.concatenate(column) for column in zip(*found, strict=True))
        return point, face, distance

    def _test(self, seen: np.ndarray, point: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        corners = self._triangles[face] @ self._axes.T
        ap, ab, ac = seen[point] - corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        area = _cross(ab, ac)
        s, t = _cross(ap, ac) / area, _cross(ab, ap) / area
        hit = (s >= -_EDGE) & (t >= -_EDGE) & (s + t <= 1 + _EDGE)
        along = s * ab[:, 2] + t * ac[:, 2] - ap[:, 2]
        return point[hit], face[hit], along[hit]


class RayCaster:
    """Answers about rays through the triangles (F, 3, 3); each direction is prepared when it is first used."""

    def __init__(self, triangles: np.ndarray) -> None:
        self._triangles = triangles

    @cached_property
    def _vertical(self) -> Beams:
        return Beams(self._triangles, _VERTICAL)

    @cached_property
    def _voters(self) -> list[Beams]:
        """Nine lines, skew to every wall and to each other, so that no ray runs along an edge."""
        rng = np.random.default_rng(20240)
        turns = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(3)]
        return [Beams(self._triangles, np.roll(turn, k, axis=0)) for turn in turns for k in range(3)]

    @cached_property
    def _boxes(self) -> tuple[np.ndarray, np.ndarray]:
        return self._triangles.min(axis=1), self._triangles.max(axis=1)

    def count(self, points: np.ndarray) -> np.ndarray:
        """Surfaces met by 18 rays from each point (P, 3): (P, 18) int; opposite rays are next to each other."""
        counts = np.zeros((len(points), 2 * len(self._voters)), int)
        for k, beams in enumerate(self._voters):
            point, _, distance = beams.meet(points)
            counts[:, 2 * k] = np.bincount(point[distance > 0], minlength=len(points))
            counts[:, 2 * k + 1] = np.bincount(point[distance < 0], minlength=len(points))
        return counts

    def vertical(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance (P,) from points (P, 3) straight down and straight up to the next surface; inf where none is."""
        point, _, distance = self._vertical.meet(points)
        down, up = np.full(len(points), np.inf), np.full(len(points), np.inf)
        np.minimum.at(down, point[distance < 0], -distance[distance < 0])
        np.minimum.at(up, point[distance >= 0], distance[distance >= 0])
        return down, up

    def clearance_m(self, points: np.ndarray, limit_m: float) -> np.ndarray:
        """Distance (P,) from points (P, 3) to the nearest surface, or ``limit_m`` where it is farther than that."""
        low, high = self._boxes
        nearest = np.full(len(points), float(limit_m))
        step = max(1, _MAX_PAIRS // len(low))
        for start in range(0, len(points), step):
            some = points[start : start + step, None]
            near = np.all((low <= some + limit_m) & (high >= some - limit_m), axis=2)
            point, face = np.nonzero(near)
            distance = _point_triangle_m(some[point, 0], self._triangles[face].astype(float))
            np.minimum.at(nearest, start + point, distance)
        return nearest


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _expand(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0 repeated counts[0] times, 1 repeated counts[1] times …; and the running number within each."""
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)


def _chunks(counts: np.ndarray) -> list[np.ndarray]:
    """Indices in runs whose counts add up to a bounded number of pairs."""
    group = np.cumsum(counts) // _MAX_PAIRS
    return np.split(np.arange(len(counts)), np.flatnonzero(np.diff(group)) + 1) if len(counts) else []


def _point_triangle_m(p: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    """Distance (K,) of points (K, 3) from triangles (K, 3, 3): to the plane if p projects inside, else to an edge."""
    a, b, c = triangle[:, 0], triangle[:, 1], triangle[:, 2]
    normal = np.cross(b - a, c - a)
    length = np.maximum(np.linalg.norm(normal, axis=1), 1e-30)
    edges = ((a, b), (b, c), (c, a))
    over = np.all([np.sum(np.cross(v - u, p - u) * normal, axis=1) >= 0 for u, v in edges], axis=0)
    plane = np.abs(np.sum((p - a) * normal, axis=1)) / length
    rim = np.min([_point_segment_m(p, u, v) for u, v in edges], axis=0)
    return np.where(over & (length > 1e-30), plane, rim)


def _point_segment_m(p: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    along = v - u
    share = np.sum((p - u) * along, axis=1) / np.maximum(np.sum(along * along, axis=1), 1e-30)
    return np.linalg.norm(p - u - np.clip(share, 0, 1)[:, None] * along, axis=1)
