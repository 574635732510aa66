"""A rigid sphere in a plane wave: the head of which everything is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RADIUS_M = 0.0875
SPEED_OF_SOUND = 343.0
_MORE_ORDERS = 25
"""Beyond ka, after which terms vanish."""
_LARGEST = 1e250
"""Hankel functions beyond are those of terms far below rounding."""


def rigid_sphere(cosines: NDArray[np.float64], frequency_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Pressure on a rigid sphere of radius a, per free-field pressure in its centre, for a plane wave.

    H(θ, f) = −j/(ka)² Σ_m (2m+1) j^m P_m(cos θ) / h'_m(ka), h the Hankel function of the second kind (Duda and
    Martens, JASA 104, 1998, in the limit of a distant source), θ between the wave's origin and the place on the
    sphere. Shapes (D,) cosines of θ, (F,) Hz → (D, F); H(0 Hz) is that of 1 Hz.
    """
    ka = 2 * np.pi * np.maximum(frequency_hz, 1.0) * RADIUS_M / SPEED_OF_SOUND
    hankel = 1j * np.exp(-1j * ka) / ka
    following = hankel * (1 / ka + 1j)
    legendre, further = np.ones_like(cosines), cosines
    found = np.zeros((len(cosines), len(ka)), complex)
    power = 1 + 0j
    for order in range(int(ka.max()) + _MORE_ORDERS):
        slope = order / ka * hankel - following
        counts = np.abs(slope) < _LARGEST
        found += legendre[:, None] * np.where(counts, (2 * order + 1) * power / np.where(counts, slope, 1.0), 0.0)
        legendre, further = further, ((2 * order + 3) * cosines * further - (order + 1) * legendre) / (order + 2)
        # Upwards is the stable way for Hankel functions, whose growing part is what counts.
        grown = np.abs(following) < _LARGEST
        hankel, following = following, np.where(grown, (2 * order + 3) / ka * following - hankel, following)
        power *= 1j
    return np.asarray(-1j / ka**2 * found)
