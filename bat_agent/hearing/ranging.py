"""How far away a source is, for ears that walk: what looks from several places tell together.

What one look says of a distance is rough: it goes by level and reverberation, of a room that it does not know. Who
walks knows by how much, and the direction of a source changes by more the nearer it is (motion parallax). So a source
has a map of where it may be around the ears: looks multiply into it, and a walk moves it on.

The map is (AZIMUTHS, DISTANCES) logarithms of a posterior, in a frame that does not turn: azimuths as in
:mod:`bat_agent.hearing.sphere`, distances from the ears to the source, on a scale of logarithms. How high the source is
told to be counts where the ears walk, which is on the level.
"""

from __future__ import annotations

import math

import numpy as np

from bat_agent.hearing.sphere import AZIMUTHS, Floats, between_cells, sphere

NEAREST_M, FARTHEST_M, DISTANCES = 0.3, 10.0, 20
OFF = 0.5
"""Standard deviation of the natural logarithm of a distance that one look says."""
STRAY = 0.05
"""A distance that is wrong altogether, against 1 of one that is right."""
STEEPEST = math.radians(80.0)
"""What is straight above or below is taken to be a little beside."""
_LOG_M = np.linspace(math.log(NEAREST_M), math.log(FARTHEST_M), DISTANCES)
_METRES = np.exp(_LOG_M)


def anywhere() -> Floats:
    """The map of what was not heard yet."""
    return np.zeros((AZIMUTHS, DISTANCES))


def said(azimuth: Floats, distance_m: float) -> Floats:
    """The logarithm of how well each place explains a look: ``azimuth`` (AZIMUTHS,) is that of how well each azimuth
    does; a distance of 0 is one that is not known.
    """
    if distance_m <= 0:
        return np.broadcast_to(azimuth[:, None], (AZIMUTHS, DISTANCES))
    off = (_LOG_M - math.log(max(distance_m, NEAREST_M))) / OFF
    return np.asarray(azimuth[:, None] + np.log(np.exp(-0.5 * off**2) + STRAY))


def walked(log: Floats, elevation: float, right_m: float, front_m: float) -> Floats:
    """The map for ears that went so far; of a source at that elevation, in radians."""
    azimuth = sphere().azimuth[:, None]
    cosine, sine = np.cos(azimuth), np.sin(azimuth)
    # Of a place at this azimuth and distance now: how far it is along the floor, as it was at the elevation before.
    steep = math.tan(min(abs(elevation), STEEPEST)) ** 2
    ahead = cosine * right_m + sine * front_m
    root = (steep * ahead) ** 2 - (1 + steep) * (steep * (right_m**2 + front_m**2) - _METRES**2)
    across = np.maximum((np.sqrt(np.maximum(root, 0)) - steep * ahead) / (1 + steep), 0)
    x, y = cosine * across + right_m, sine * across + front_m
    before = np.sqrt((x**2 + y**2) * (1 + steep))
    row = np.arctan2(y, x) % (2 * math.pi) * (AZIMUTHS / (2 * math.pi)) - 0.5
    column = np.clip((np.log(np.maximum(before, NEAREST_M)) - _LOG_M[0]) / (_LOG_M[1] - _LOG_M[0]), 0, DISTANCES - 1)
    found = between_cells(np.exp(log - log.max()), row, column)
    found = np.where(root < 0, 0.0, found)  # nearer than it is high
    if not found.any():  # so far away that nothing of it is left
        return anywhere()
    return np.asarray(np.log(np.maximum(found / found.max(), 1e-30)))


def distance_of(log: Floats) -> float:
    """Metres: the geometric mean of what the map holds likely."""
    mass = np.exp(log - log.max()).sum(axis=0)
    return math.exp(float(mass @ _LOG_M / mass.sum()))
