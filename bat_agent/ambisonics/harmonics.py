"""Spherical harmonics as ambisonics has them, and the field they describe as it is turned.

Directions here are unit vectors x front, y left, z up (those of SOFA; :func:`bat_agent.scene.to_front_left_up`).
Channels are in the order ACN, n² + n + m for degree n and order m, normalised as SN3D: a plane wave of pressure 1 has 1
in channel 0 (Nachbar, Zotter, Deleflie and Sontacchi, *AmbiX: a suggested ambisonics format*, 2011).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ORDERS = (1, 2, 3)


def num_channels(order: int) -> int:
    """(order + 1)²."""
    return (order + 1) ** 2


def order_of(channels: int) -> int | None:
    """The order with so many channels, of 4, 9 and 16; ``None`` for other numbers."""
    return next((order for order in ORDERS if num_channels(order) == channels), None)


def harmonics(directions: Array, order: int) -> Array:
    """(…, (order + 1)²) what plane waves of pressure 1 from ``directions`` (…, 3) have in each channel."""
    from scipy.special import lpmv

    x, y, z = np.moveaxis(np.asarray(directions, dtype=np.float64), -1, 0)
    azimuth, sine = np.arctan2(y, x), np.clip(z, -1, 1)
    channels = []
    for degree in range(order + 1):
        for m in range(-degree, degree + 1):
            size = abs(m)
            ratio = math.factorial(degree - size) / math.factorial(degree + size)
            # scipy's Legendre functions alternate in sign with m (Condon and Shortley), those of ambisonics do not.
            height = (-1) ** size * math.sqrt((2 if m else 1) * ratio) * lpmv(size, degree, sine)
            channels.append(height * (np.sin(size * azimuth) if m < 0 else np.cos(size * azimuth)))
    return np.stack(channels, axis=-1)


def n3d_weights(order: int) -> Array:
    """((order + 1)²,) factors from SN3D to N3D, √(2n + 1) for degree n; a diffuse field is then alike in all."""
    return np.sqrt([2.0 * degree + 1 for degree in range(order + 1) for _ in range(2 * degree + 1)])


def turn(channels: Any, heading_deg: float) -> Any:
    """The field ((order + 1)², …) for a listener who has turned by ``heading_deg``, counter-clockwise from above."""
    order = math.isqrt(len(channels)) - 1
    turned = channels.copy()
    for degree in range(1, order + 1):
        middle = degree * degree + degree
        for m in range(1, degree + 1):
            cos, sin = math.cos(math.radians(m * heading_deg)), math.sin(math.radians(m * heading_deg))
            even, odd = channels[middle + m], channels[middle - m]
            # The world turns the other way: cos m(φ − h) and sin m(φ − h).
            turned[middle + m], turned[middle - m] = cos * even + sin * odd, cos * odd - sin * even
    return turned
