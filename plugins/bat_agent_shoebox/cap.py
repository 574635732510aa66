"""What a measurement of a head leaves out below it, filled in from a sphere.

As for KEMAR, but for any scattered directions: what the measured ear has beyond a sphere's (canal, pinna), in each
frequency, is taken over from the directions around the gap; the farther from them, the more it is their mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
GAP_DEG = 12.0
"""Directions farther than this from all measured ones are filled."""
BELOW_DEG = -20.0
"""… below this elevation; a gap elsewhere is left to interpolation."""
DENSE = 200
"""A measurement of fewer directions has gaps everywhere, and is left as it is."""
_AROUND = 24


def gap_directions(directions: Array) -> Array:
    """(G, 3) unit vectors (z up) of a 10° grid that no measured direction (M, 3) is near to; none where M is small."""
    if len(directions) < DENSE:
        return np.zeros((0, 3))
    rings = []
    for elevation in np.radians(np.arange(-90.0, BELOW_DEG + 1, 10.0)):
        turn = np.arange(max(round(36 * np.cos(elevation)), 1))
        azimuth = turn * 2 * np.pi / len(turn)
        flat = np.cos(elevation)
        ring = [flat * np.cos(azimuth), flat * np.sin(azimuth), np.full(len(turn), np.sin(elevation))]
        rings.append(np.stack(ring, 1))
    grid = np.concatenate(rings)
    chord, _ = cKDTree(directions).query(grid)
    return np.asarray(grid[2 * np.degrees(np.arcsin(chord / 2)) > GAP_DEG])


def fill_gap(
    spectra: ComplexArray,
    delay: Array,
    directions: Array,
    sphere: Callable[[Array], tuple[ComplexArray, Array]],
    minimum_phase: Callable[[Array], ComplexArray],
) -> tuple[ComplexArray, Array, Array]:
    """Spectra without delay (M, F), delays (M,) in samples and directions (M, 3) of one ear, the gap below included.

    ``sphere`` gives spectra and delays of a sphere's ear in directions (G, 3).
    """
    gap = gap_directions(directions)
    if not len(gap):
        return spectra, delay, directions
    chord, near = cKDTree(directions).query(gap, k=_AROUND)
    weight = chord**-2 / (chord**-2).sum(1, keepdims=True)
    rim, place = np.unique(near, return_inverse=True)
    place = place.reshape(near.shape)
    on_rim, rim_delay = sphere(directions[rim])
    here, here_delay = sphere(gap)
    beyond = np.log(np.abs(spectra[rim]).clip(1e-9)) - np.log(np.abs(on_rim).clip(1e-9))
    magnitude = np.exp(np.einsum("gk,gkf->gf", weight, beyond[place])) * np.abs(here)
    late = (weight * (delay[rim] - rim_delay)[place]).sum(1)
    return (
        np.concatenate([spectra, minimum_phase(magnitude)]),
        np.concatenate([delay, here_delay + late]),
        np.concatenate([directions, gap]),
    )
