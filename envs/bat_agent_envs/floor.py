"""Where an agent may stand, and how far it has to walk: a grid over the floor of one room or of a house."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from bat_agent.scene import MeshRoom, Room, Scene

CELL_M = 0.1
_FLOOR_TOLERANCE_M = 0.12
# Straight, diagonal and knight's moves: the longest way along them is 2.7 % longer than the true one.
_MOVES = [(1, 0), (0, 1), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1)]

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""x from, z from, x to, z to, metres."""


@dataclass(frozen=True, eq=False)
class Floor:
    """Cells in which the middle of the agent may be; x and z are those of the scene."""

    origin_m: Point
    """x and z of the corner of cell (0, 0)."""
    free: NDArray[np.bool_]
    """(cells along x, cells along z)"""
    floor_y_m: float = 0.0

    def cell(self, x: float, z: float) -> tuple[int, int]:
        """The cell that holds a point, inside the grid or not."""
        return math.floor((x - self.origin_m[0]) / CELL_M), math.floor((z - self.origin_m[1]) / CELL_M)

    def centre(self, cell: tuple[int, int]) -> Point:
        """The middle of a cell, metres."""
        return self.origin_m[0] + (cell[0] + 0.5) * CELL_M, self.origin_m[1] + (cell[1] + 0.5) * CELL_M

    def is_free(self, x: float, z: float) -> bool:
        """Whether the agent may stand there."""
        return self._is_free_cell(*self.cell(x, z))

    def without_disc(self, x: float, z: float, radius_m: float) -> Floor:
        """The floor with a disc that something stands in taken out."""
        return Floor(self.origin_m, self.free & ~self.disc(x, z, radius_m), self.floor_y_m)

    def distances_to(self, x: float, z: float, within_m: float = 0.0) -> NDArray[np.float64]:
        """Metres to walk from every cell to a point, ``inf`` where there is no way; the disc around it counts as free.

        Raises ``ValueError`` for a point outside the grid.
        """
        i, k = self.cell(x, z)
        if not (0 <= i < self.free.shape[0] and 0 <= k < self.free.shape[1]):
            raise ValueError(f"({x:.2f}, {z:.2f}) lies outside the floor")
        open_cells = self.free | self.disc(x, z, max(within_m, CELL_M))
        graph = self._graph if not within_m and self.free[i, k] else moves(open_cells)
        metres = dijkstra(graph, indices=i * self.free.shape[1] + k)
        return np.where(open_cells, metres.reshape(self.free.shape), np.inf)

    def slide(self, x: float, z: float, dx: float, dz: float) -> tuple[float, float, bool]:
        """Where a step by (dx, dz) ends, sliding along what blocks it, and whether anything did."""
        length = math.hypot(dx, dz)
        pieces = max(1, math.ceil(length / (CELL_M / 2)))
        hit = False
        for _ in range(pieces):
            ways = ((dx, dz), (dx, 0.0), (0.0, dz))
            for number, (along, across) in enumerate(ways):
                to = x + along / pieces, z + across / pieces
                if (along or across) and self._passes((x, z), to):
                    x, z = to
                    hit = hit or number > 0
                    break
            else:
                return x, z, hit or length > 0
        return x, z, hit

    def _passes(self, here: Point, there: Point) -> bool:
        """Whether one gets to a place in the same cell or one next to it; no corner is cut, as by no way."""
        (i, k), (a, b) = self.cell(*here), self.cell(*there)
        if i != a and k != b and not (self._is_free_cell(a, k) and self._is_free_cell(i, b)):
            return False
        return self._is_free_cell(a, b)

    def _is_free_cell(self, i: int, k: int) -> bool:
        return 0 <= i < self.free.shape[0] and 0 <= k < self.free.shape[1] and bool(self.free[i, k])

    @cached_property
    def _graph(self) -> csr_matrix:
        return moves(self.free)

    def disc(self, x: float, z: float, radius_m: float) -> NDArray[np.bool_]:
        """The cells whose middle lies so near to a point."""
        i, k = np.ogrid[: self.free.shape[0], : self.free.shape[1]]
        across, along = self.origin_m[0] + (i + 0.5) * CELL_M - x, self.origin_m[1] + (k + 0.5) * CELL_M - z
        return np.asarray(across**2 + along**2 <= radius_m**2)


def floor_of(scene: Scene, radius_m: float, boxes: tuple[Box, ...] = ()) -> Floor:
    """The floor that an agent of a radius can use in a scene, less boxes that stand on it.

    A :class:`~bat_agent.scene.MeshRoom` is looked at from ear height: where the first surface below is the listener's
    floor, and not furniture, one can stand.
    """
    if isinstance(scene.room, Room):
        size = scene.room.size_m
        open_cells = np.ones((max(1, math.floor(size[0] / CELL_M)), max(1, math.floor(size[2] / CELL_M))), bool)
        origin, height = (0.0, 0.0), 0.0
    else:
        origin, open_cells, height = _seen_from_above(scene.room, scene.listener.position_m)
    floor = Floor(origin, open_cells, height)
    for x0, z0, x1, z1 in boxes:
        (i0, k0), (i1, k1) = floor.cell(x0, z0), floor.cell(x1, z1)
        open_cells[max(i0, 0) : i1 + 1, max(k0, 0) : k1 + 1] = False
    # The wall around the grid blocks too.
    room_to_move = distance_transform_edt(np.pad(open_cells, 1))[1:-1, 1:-1] * CELL_M
    return Floor(origin, room_to_move > radius_m, height)


def _seen_from_above(room: MeshRoom, ears_m: tuple[float, float, float]) -> tuple[Point, NDArray[np.bool_], float]:
    from bat_agent_soundspaces.library import open_mesh
    from bat_agent_soundspaces.meshes import inside

    mesh: Any = open_mesh(Path(room.path))[0]
    below, _ = mesh.rays.vertical(np.array([ears_m]))
    height = ears_m[1] - float(below[0])
    low, high = mesh.bounds_m
    cells = [max(1, math.ceil((high[axis] - low[axis]) / CELL_M)) for axis in (0, 2)]
    x = low[0] + (np.arange(cells[0]) + 0.5) * CELL_M
    z = low[2] + (np.arange(cells[1]) + 0.5) * CELL_M
    points = np.stack(np.broadcast_arrays(x[:, None], ears_m[1], z[None]), axis=-1).reshape(-1, 3)
    below, _ = mesh.rays.vertical(points)
    stands = np.abs(below - (ears_m[1] - height)) < _FLOOR_TOLERANCE_M
    stands[stands] = inside(mesh, points[stands])
    return (float(low[0]), float(low[2])), stands.reshape(cells), height


def moves(free: NDArray[np.bool_], cost: NDArray[np.float64] | None = None) -> csr_matrix:
    """Moves between free cells, both ways, with their lengths in metres, times what their cells cost; none cuts a
    corner.
    """
    number = np.arange(free.size).reshape(free.shape)
    starts, ends, lengths = [], [], []
    for di, dk in _MOVES:
        here, there = _shifted(free, di, dk)
        ok = here & there
        for ei, ek in _between(di, dk):
            ok = ok & _shifted(free, di, dk, (ei, ek))[1]
        a, b = _shifted(number, di, dk)
        starts.append(a[ok])
        ends.append(b[ok])
        length = np.full(int(ok.sum()), CELL_M * math.hypot(di, dk))
        if cost is not None:
            one, other = _shifted(cost, di, dk)
            length *= (one[ok] + other[ok]) / 2
        lengths.append(length)
    edges = (np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends)))
    graph = csr_matrix(edges, shape=(free.size, free.size))
    return csr_matrix(graph.maximum(graph.T))


def _between(di: int, dk: int) -> list[tuple[int, int]]:
    """Cells that a move passes."""
    side = 1 if dk > 0 else -1
    if abs(di) == abs(dk) == 1:
        return [(1, 0), (0, side)]
    if abs(dk) == 2:
        return [(0, side), (1, side)]
    if abs(di) == 2:
        return [(1, 0), (1, side)]
    return []


def _shifted(grid: Any, di: int, dk: int, by: tuple[int, int] | None = None) -> tuple[Any, Any]:
    """The cells from which the move (di, dk) stays inside, and those at ``by`` (default: the move) from them."""
    rows, columns = grid.shape
    i0, i1 = max(0, -di), rows - max(0, di)
    k0, k1 = max(0, -dk), columns - max(0, dk)
    ei, ek = (di, dk) if by is None else by
    return grid[i0:i1, k0:k1], grid[i0 + ei : i1 + ei, k0 + ek : k1 + ek]
