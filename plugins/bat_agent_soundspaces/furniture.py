"""Furniture as closed boxes on the floor of a room, without two of them in one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Footprint = tuple[float, float, float, float]
"""x low, z low, x high, z high; metres."""
Piece = tuple[str, np.ndarray, np.ndarray]
"""Material, lowest and highest corner of a box."""
COVER = 0.25
"""Share of the floor that furniture covers, at most; a small room holds less."""
_GAP_M = 0.05
_RANGE = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """A kind of furniture: ranges of its size in metres, and what it is made of."""

    material: str
    width_m: _RANGE
    depth_m: _RANGE
    height_m: _RANGE
    at_wall: bool = True
    parts: str = "block"
    """``block``; ``table``: a top on one foot; ``seat``: a low block with a back."""


KINDS = (
    Kind("sofa", (1.4, 2.4), (0.8, 1.0), (0.75, 0.9), parts="seat"),
    Kind("armchair", (0.7, 0.95), (0.75, 0.95), (0.75, 1.0), at_wall=False, parts="seat"),
    Kind("bed", (0.9, 1.8), (1.95, 2.1), (0.45, 0.6)),
    Kind("wardrobe", (0.8, 2.0), (0.55, 0.65), (1.8, 2.1)),
    Kind("bookshelf", (0.6, 1.6), (0.25, 0.35), (1.2, 2.0)),
    Kind("table", (0.9, 2.0), (0.7, 1.0), (0.7, 0.76), at_wall=False, parts="table"),
    Kind("desk", (1.0, 1.6), (0.6, 0.8), (0.7, 0.76), parts="table"),
    Kind("chair", (0.4, 0.5), (0.4, 0.5), (0.8, 0.95), at_wall=False, parts="seat"),
    Kind("cabinet", (0.6, 1.6), (0.4, 0.5), (0.7, 1.0)),
    Kind("refrigerator", (0.6, 0.7), (0.6, 0.7), (1.4, 1.9)),
    Kind("plant", (0.3, 0.6), (0.3, 0.6), (0.5, 1.5)),
    Kind("rug", (1.2, 2.4), (0.9, 1.8), (0.01, 0.015), at_wall=False),
)


def furnish(
    rng: np.random.Generator, low: np.ndarray, high: np.ndarray, height_m: float, keep_free: list[Footprint]
) -> list[Piece]:
    """Boxes of furniture for a room from ``low`` to ``high`` (x, z), clear of each other and of ``keep_free``."""
    taken, pieces = list(keep_free), []
    left = COVER * float(np.prod(high - low)) * rng.uniform(0.6, 1.0)
    for _ in range(60):
        kind = KINDS[int(rng.integers(len(KINDS)))]
        width, depth, tall = (float(rng.uniform(*limits)) for limits in (kind.width_m, kind.depth_m, kind.height_m))
        turn = int(rng.integers(4))
        size = np.array([width, depth] if turn % 2 == 0 else [depth, width])
        room = high - low - 2 * _GAP_M - size
        place, skip = rng.random(2), width * depth > left or tall > height_m - 0.1
        if skip or np.any(room <= 0):
            continue
        corner = low + _GAP_M + place * room
        if kind.at_wall:  # its back is at the wall that it is turned to
            axis = 1 if turn % 2 == 0 else 0
            corner[axis] = low[axis] + _GAP_M if turn < 2 else high[axis] - _GAP_M - size[axis]
        spot = (float(corner[0]), float(corner[1]), float((corner + size)[0]), float((corner + size)[1]))
        if any(_overlap(spot, other) for other in taken):
            continue
        taken.append(spot)
        left -= width * depth
        pieces += _boxes(kind, corner, corner + size, tall, turn)
    return pieces


def _overlap(a: Footprint, b: Footprint) -> bool:
    return a[0] < b[2] + _GAP_M and b[0] < a[2] + _GAP_M and a[1] < b[3] + _GAP_M and b[1] < a[3] + _GAP_M


def _boxes(kind: Kind, low: np.ndarray, high: np.ndarray, tall: float, turn: int) -> list[Piece]:
    def box(a: np.ndarray, b: np.ndarray, bottom: float, top: float) -> Piece:
        return kind.material, np.array([a[0], bottom, a[1]]), np.array([b[0], top, b[1]])

    if kind.parts == "table":
        middle, foot = (low + high) / 2, 0.15 * (high - low)
        return [box(middle - foot, middle + foot, 0.0, tall - 0.04), box(low, high, tall - 0.04, tall)]
    if kind.parts == "seat":
        axis, back_low, back_high = (1 if turn % 2 == 0 else 0), low.copy(), high.copy()
        if turn < 2:
            back_high[axis] = low[axis] + 0.2 * (high - low)[axis]
        else:
            back_low[axis] = high[axis] - 0.2 * (high - low)[axis]
        return [box(low, high, 0.0, 0.5 * tall), box(back_low, back_high, 0.5 * tall, tall)]
    return [box(low, high, 0.0, tall)]
