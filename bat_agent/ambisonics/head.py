"""A head as a table of responses, taken from a simulator: what its ears get of plane waves from all around.

Directions are those of :mod:`bat_agent.ambisonics.harmonics`: x front, y left, z up.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bat_agent.interfaces import DIRECT_GAIN_AT_1M, SAMPLE_RATE_HZ
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Room, Scene, Source, from_front_left_up

Array = NDArray[np.float64]
DIRECTIONS = 2000
"""As many points evenly on the sphere: about 4.5° apart, so none is further from one than 3°."""
TAPS = 256
LEAD = 64
"""Where in a response sound arrives that passes the centre of the head at time 0."""
_DISTANCE_M = 343.0 * 200 / SAMPLE_RATE_HZ
"""A whole number of samples away."""
_STEP_DEG = 2


@dataclass(frozen=True)
class HeadTable:
    """What a head makes of plane waves of pressure 1."""

    directions: Array
    """(D, 3) unit vectors."""
    responses: NDArray[np.float32]
    """(D, 2, TAPS), left ear first, 32 kHz."""
    _rows: NDArray[np.int32]
    """(elevations, azimuths) the nearest direction to each point of a grid of 2°."""

    def nearest(self, x: Any, y: Any, z: Any) -> NDArray[np.int32]:
        """The number of the direction nearest to vectors of any length."""
        azimuth = np.rint(np.degrees(np.arctan2(y, x)) / _STEP_DEG).astype(np.int32) % (360 // _STEP_DEG)
        elevation = np.rint(np.degrees(np.arctan2(z, np.hypot(x, y))) / _STEP_DEG).astype(np.int32) + 90 // _STEP_DEG
        return np.asarray(self._rows[elevation, azimuth])


@functools.lru_cache(maxsize=4)
def head_table(head: str = "kemar") -> HeadTable:
    """The head that ``shoebox`` hears with, by its name there; a second or two once in a process."""
    directions = points_on_sphere(DIRECTIONS)
    centre_m = (10.0, 10.0, 10.0)
    sources = []
    for direction in directions:
        away = from_front_left_up((float(direction[0]), float(direction[1]), float(direction[2])))
        sources.append(Source(tuple(c + _DISTANCE_M * d for c, d in zip(centre_m, away, strict=True))))  # type: ignore[arg-type]
    scene = Scene(Room((20.0, 20.0, 20.0), None), Listener(centre_m), tuple(sources))
    simulator: Any = load_simulator("shoebox", head=head)
    rirs = simulator.render_batch([scene], 200 + TAPS).cpu().numpy()
    first = round(_DISTANCE_M / 343.0 * SAMPLE_RATE_HZ) - LEAD
    responses = rirs[..., first : first + TAPS] * (_DISTANCE_M / DIRECT_GAIN_AT_1M)
    elevation, azimuth = np.meshgrid(
        np.radians(np.arange(-90, 91, _STEP_DEG)), np.radians(np.arange(0, 360, _STEP_DEG)), indexing="ij"
    )
    grid = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    )
    rows = cKDTree(directions).query(grid)[1].astype(np.int32)
    return HeadTable(directions, np.ascontiguousarray(responses, dtype=np.float32), rows)


def points_on_sphere(count: int) -> Array:
    """(count, 3) unit vectors, evenly: a spiral from top to bottom by the golden angle."""
    height = 1 - (2 * np.arange(count) + 1) / count
    azimuth = math.pi * (3 - math.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - height * height)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), height], axis=-1)
