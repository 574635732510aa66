"""Probabilities of directions on a grid of the sphere.

The grid is (AZIMUTHS, ELEVATIONS) cells of a frame that does not turn: azimuths counter-clockwise from above from the
right, elevations from straight below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing.spread import along

Floats = NDArray[np.float64]

AZIMUTHS, ELEVATIONS = 120, 36
"""Cells of the sphere."""
FARTHER = (0.55, 1.0, 1.8)
"""How far what is heard may be, beside what is heard of it."""


@dataclass(frozen=True)
class Sphere:
    """The cells."""

    azimuth: Floats
    """(AZIMUTHS,) radians."""
    elevation: Floats
    """(ELEVATIONS,) radians."""
    area: Floats
    """(1, ELEVATIONS) of each cell, up to a factor."""
    vectors: Floats
    """(AZIMUTHS, ELEVATIONS, 3): right, front, up."""


@cache
def sphere() -> Sphere:
    """The cells, made once."""
    azimuth: Floats = np.asarray((np.arange(AZIMUTHS) + 0.5) * (2 * math.pi / AZIMUTHS), np.float64)
    elevation = ((np.arange(ELEVATIONS) + 0.5) / ELEVATIONS - 0.5) * math.pi
    level = np.cos(elevation)
    vectors = np.stack(
        [
            np.cos(azimuth)[:, None] * level,
            np.sin(azimuth)[:, None] * level,
            np.broadcast_to(np.sin(elevation), (AZIMUTHS, ELEVATIONS)),
        ],
        axis=-1,
    )
    return Sphere(azimuth, elevation, np.asarray(level[None], np.float64), vectors)


def mass_of(log: Floats) -> Floats:
    """(AZIMUTHS, ELEVATIONS) probability of each cell."""
    mass = np.exp(log - log.max()) * sphere().area
    return np.asarray(mass / mass.sum())


def density_of(azimuth: NDArray[np.floating], elevation: NDArray[np.floating]) -> Floats:
    """(AZIMUTHS, ELEVATIONS) in the frame of the head; its mean over the sphere is 1."""
    across = np.asarray(azimuth, float).reshape(AZIMUTHS, -1).sum(axis=1)
    across = 0.5 * across + 0.25 * (np.roll(across, 1) + np.roll(across, -1))
    up = np.asarray(elevation, float).reshape(ELEVATIONS, -1).sum(axis=1)
    density = across[:, None] * (up / np.cos(sphere().elevation))
    return np.asarray(density / np.average(density, weights=np.broadcast_to(sphere().area, density.shape)))


def peak_of(mass: Floats) -> Floats:
    """Unit vector to where most of the probability is, within some 15°."""
    vectors = sphere().vectors
    density = mass / sphere().area
    at = vectors[np.unravel_index(int(density.argmax()), mass.shape)]
    for _ in range(4):
        weight = mass * np.exp((along(vectors, at) - 1) / 0.035)  # a standard deviation of 10.7°
        at = (weight[..., None] * vectors).sum(axis=(0, 1))
        at = at / np.linalg.norm(at)
    return np.asarray(at)


def walked(log: Floats, distance_m: float, right_m: float, front_m: float) -> Floats:
    """The logarithm of a posterior for ears that went so far, of a source that was heard to be so far away.

    Each direction is that of a point, whose new direction is what counts; how far the point was is known roughly, so
    that what is left of several guesses is wider.
    """
    grid, gone_m = sphere(), math.hypot(right_m, front_m)
    said = np.exp(log - log.max())
    found = np.zeros_like(said)
    along_walk = grid.vectors[..., 0] * right_m + grid.vectors[..., 1] * front_m
    for times in FARTHER:
        radius = max(times * distance_m, 1.25 * gone_m)
        reach = np.sqrt(along_walk**2 - gone_m**2 + radius**2) - along_walk
        point = grid.vectors * reach[..., None]
        point[..., 0] += right_m
        point[..., 1] += front_m
        azimuth = np.arctan2(point[..., 1], point[..., 0]) % (2 * math.pi) * (AZIMUTHS / (2 * math.pi)) - 0.5
        elevation = np.arcsin(np.clip(point[..., 2] / radius, -1, 1)) * (ELEVATIONS / math.pi) + ELEVATIONS / 2 - 0.5
        found += between_cells(said, azimuth, np.clip(elevation, 0, ELEVATIONS - 1))
    return np.asarray(np.log(np.maximum(found / found.max(), 1e-30)))


def between_cells(values: Floats, azimuth: Floats, other: Floats) -> Floats:
    """Values (AZIMUTHS, n) at any places of a grid, in cells of azimuth, which go around, and along the other axis."""
    low, lower = np.floor(azimuth).astype(int), np.minimum(np.floor(other).astype(int), values.shape[1] - 2)
    share, up = azimuth - low, other - lower
    near, far = low % AZIMUTHS, (low + 1) % AZIMUTHS
    below = (1 - share) * values[near, lower] + share * values[far, lower]
    above = (1 - share) * values[near, lower + 1] + share * values[far, lower + 1]
    return np.asarray((1 - up) * below + up * above)


def shifted(probs: Floats, by_deg: float) -> Floats:
    """(…, 360) probabilities of azimuths, turned by any angle."""
    index = (np.arange(360) - by_deg) % 360
    low = np.floor(index).astype(int)
    share = index - low
    return np.asarray((1 - share) * probs[..., low % 360] + share * probs[..., (low + 1) % 360])


def azimuths_of(mass: Floats, heading_deg: float) -> Floats:
    """(360,) probabilities in the frame of the head, from those of cells in the frame that does not turn."""
    return shifted(np.repeat(mass, 360 // AZIMUTHS) / (360 // AZIMUTHS), -heading_deg)


def elevations_of(mass: Floats) -> Floats:
    """(180,) probabilities, from those of the rows of cells."""
    return np.repeat(mass, 180 // ELEVATIONS) / (180 // ELEVATIONS)
