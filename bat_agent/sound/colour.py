"""Smooth random responses, as those of loudspeakers and microphones are: where they are drawn, and how wide they vary.

A response is drawn in dB at :data:`KNOTS_HZ` and is linear between them over octaves. It has two parts: one that is
drawn at octaves (:data:`BROAD`) and one at each knot (:data:`FINE`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KNOTS_HZ = (62.5, 125.0, *(250.0 * 2 ** (third / 3) for third in range(19)))
"""Where smooth responses are drawn, linear in dB over octaves between: thirds of octaves, where they are wide enough
for a filter of 32 ms."""
OCTAVES = 9
"""Octaves from the first knot to the last, both counted, where the broad part is drawn."""
BROAD, FINE = 0.8, 0.6
"""Of the standard deviation of a response, how much changes over octaves and how much over thirds of them."""


def draw_response(rng: np.random.Generator) -> NDArray[np.float64]:
    """(knots,) a smooth random curve of variance 1 about."""
    octaves = np.log2(np.array(KNOTS_HZ) / KNOTS_HZ[0])
    broad = np.interp(octaves, np.arange(OCTAVES), rng.standard_normal(OCTAVES))
    return np.asarray(BROAD * broad + FINE * rng.standard_normal(len(octaves)))
