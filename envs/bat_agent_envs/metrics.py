"""How well an episode of audio navigation went; the measures of SoundSpaces and habitat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.scene import unit_vector


@dataclass(frozen=True)
class Walk:
    """What the measures need of an episode. All lengths are along the floor, metres."""

    shortest_m: float
    """From where the agent began to the goal."""
    walked_m: float
    left_m: float
    """From where it ended to the goal."""
    actions: int
    least_actions: int
    """The fewest actions with which the goal could be reached and called."""
    success: bool
    silent: bool = False
    """Whether the goal had fallen silent when the episode ended."""
    direction_error_deg: float = math.nan
    """Angle between the direction said in the end and the true one; NaN where none is said."""


def episode_metrics(walk: Walk) -> dict[str, float]:
    """Success, and how directly it was reached.

    * ``success``: 1 if the agent stopped at the goal
    * ``spl`` = success · shortest / max(walked, shortest); ``soft_spl`` has the share of the way that was covered in
      place of success
    * ``na``: number of actions; ``sna`` = success · least / max(actions, least)
    * ``sws``: success while the goal is silent
    * ``distance_to_goal`` in metres, ``direction_error_deg``
    """
    success = float(walk.success)
    directness = walk.shortest_m / max(walk.walked_m, walk.shortest_m) if walk.shortest_m > 0 else 1.0
    covered = max(0.0, 1 - walk.left_m / walk.shortest_m) if walk.shortest_m > 0 else success
    return {
        "success": success,
        "spl": success * directness,
        "soft_spl": covered * directness,
        "na": float(walk.actions),
        "sna": success * walk.least_actions / max(walk.actions, walk.least_actions, 1),
        "sws": success * float(walk.silent),
        "distance_to_goal": walk.left_m,
        "direction_error_deg": walk.direction_error_deg,
    }


def direction_error_deg(said: NDArray[Any], azimuth_deg: float, elevation_deg: float) -> float:
    """Angle between the true direction and the nearest of those said, unit vectors (N, 3); NaN where N is 0."""
    if not len(said):
        return math.nan
    true = np.array(unit_vector(azimuth_deg, elevation_deg))
    return float(np.degrees(np.arccos(np.clip(said @ true, -1, 1))).min())


def least_actions(way_m: float, turn_deg: float, forward_m: float, turn_step_deg: float) -> int:
    """A lower bound on the actions: turn to where the way begins, walk it without a turn, stop."""
    return math.ceil(abs(turn_deg) / turn_step_deg - 1e-6) + math.ceil(max(0.0, way_m) / forward_m - 1e-6) + 1
