"""What an encoder is trained to say of a position, in bins, and the position that bins stand for."""

from __future__ import annotations

from bat_agent.interfaces import NUM_AZIMUTH_BINS, NUM_DISTANCE_BINS, NUM_ELEVATION_BINS
from bat_agent.scene import Position


def targets_from_position(position: Position) -> tuple[int, int, int]:
    """(distance bin, azimuth bin, elevation bin) as the encoder is trained on them.

    round(2·distance) of 21, (round(azimuth) + 360) mod 360, round(elevation) + 90 of 180. Unlike in the released code,
    which takes the last mod 180, straight up (+90°) is the last bin, 179, and not the first, straight down; and what is
    farther than 10 m is bin 20 instead of a class that the head does not have.
    """
    distance = min(max(round(2 * position.distance_m), 0), NUM_DISTANCE_BINS - 1)
    azimuth = round(position.azimuth_deg) % NUM_AZIMUTH_BINS
    elevation = min(max(round(position.elevation_deg) + 90, 0), NUM_ELEVATION_BINS - 1)
    return distance, azimuth, elevation


def decode_bins(distance_bin: int, azimuth_bin: int, elevation_bin: int) -> Position:
    """The position that three bins stand for; the inverse of :func:`targets_from_position` up to rounding."""
    return Position(float(azimuth_bin), float(elevation_bin) - 90.0, distance_bin / 2)
