"""Answers about what would be, had the listener walked."""

from __future__ import annotations

import math
from collections.abc import Callable

from bat_agent.hearing.posterior import Clip, Heard
from bat_agent.interfaces import Reply
from bat_agent.questions.answers import AXES, format_distance
from bat_agent_rules.clause import AXIS_OF, Request
from bat_agent_rules.everyday_answers import subject
from bat_agent_rules.replies import gaussian_share, yes_no

_STEPS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "front": (0.0, 1.0), "behind": (0.0, -1.0)}
"""Right and ahead of each way."""


def walked_far(clip: Clip, request: Request) -> Reply:
    """How far the source would be."""
    source = subject(clip, request)
    x, y, z = source.point_m
    right, ahead = (request.walk_m * part for part in _STEPS[request.walk_to])
    return Reply(format_distance(math.hypot(x - right, y, z + ahead)), source.distance_share)


def gets_closer(clip: Clip, request: Request) -> Reply:
    """Closer, if the source lies farther that way than half of the walk."""
    return yes_no(_farther_that_way(subject(clip, request), request.walk_to, request.walk_m / 2))


def walked_side(clip: Clip, request: Request) -> Reply:
    """Whether it would be on a side."""
    source, (side,) = subject(clip, request), request.sides
    if AXIS_OF[side] != AXIS_OF[request.walk_to]:
        return yes_no(source.side(side))
    farther = _farther_that_way(source, request.walk_to, request.walk_m)
    return yes_no(farther if side == request.walk_to else 1 - farther)


def _farther_that_way(source: Heard, way: str, limit_m: float) -> float:
    """Probability that it lies more than so many metres that way."""
    mean, variance = source.coordinate(AXIS_OF[way])
    ahead = mean if way == AXES[AXIS_OF[way]][0] else -mean
    return gaussian_share((ahead - limit_m) / max(math.sqrt(variance), 1e-3))


WALKS: dict[str, Callable[[Clip, Request], Reply]] = {
    "walked_far": walked_far, "gets_closer": gets_closer, "walked_side": walked_side,
}  # fmt: skip
"""Kind of a request → what answers it."""
