"""Where sources are and what may be said of them, for the second opinion of :mod:`bat_agent.questions.verify`.

Cartesian coordinates in the listener's frame, metres, +x right, +y up, −z front:

    x = d cos(el) cos(az)        y = d sin(el)        z = −d cos(el) sin(az)

A is left of B if x is smaller, in front if z is smaller, above if y is larger; closer if its distance is smaller.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations

from bat_agent.questions.answers import HeardSource
from bat_agent.questions.verify_reading import SIDES

AXES = (("left", "right"), ("front", "behind"), ("above", "below"))
"""In the order in which a region names them."""
TIE = 1e-9
"""Closer to a border than this (metres, or half metres), rounding decides, and either side is true."""


def coordinates(source: HeardSource) -> tuple[float, float, float]:
    """(x, y, z) of a source in the listener's frame, metres."""
    azimuth, elevation = math.radians(source.position.azimuth_deg), math.radians(source.position.elevation_deg)
    flat = source.position.distance_m * math.cos(elevation)
    up = source.position.distance_m * math.sin(elevation)
    return flat * math.cos(azimuth), up, -flat * math.sin(azimuth)


def misfit(sources: Sequence[HeardSource]) -> str | None:
    """What is wrong with these sources in one clip: no finite position, a shared label or a shared region."""
    for number, source in enumerate(sources, 1):
        if not all(map(math.isfinite, source.position)) or source.position.distance_m < 0:
            return f"source {number} has no finite position: {tuple(source.position)}"
    for (i, first), (j, second) in combinations(enumerate(sources, 1), 2):
        if shared := {label.lower() for label in first.labels} & {label.lower() for label in second.labels}:
            return f"sources {i} and {j} share the label {min(shared)}"
        regions = region_of(first), region_of(second)
        if all(a & b for a, b in zip(*regions, strict=True)):
            return f"sources {i} and {j} lie in the same region: {spoken(regions[0])}"
    return None


def region_of(source: HeardSource) -> tuple[frozenset[str], ...]:
    """Per axis the words that are true of where a source is: one, or both where it is exactly on the border."""
    point = coordinates(source)
    return tuple(frozenset(word for word in words if reach(point, word) > -TIE) for words in AXES)


def differing_labels(answer: str, *sources: HeardSource) -> str | None:
    """What is wrong with an answer that ought to name these sources, lower case, alphabetical, joined by ``"; "``."""
    expected = "; ".join(sorted({label.strip().lower() for source in sources for label in source.labels}))
    return None if answer == expected else f"the answer names {answer!r}, but what sounds is {expected!r}"


def differing_distance(answer: str, distance_m: float) -> str | None:
    """The distance that the answer ought to say, in steps of 0.5 m; ``None`` where it does."""
    steps = 2 * distance_m
    right = [f"{round(near) / 2:g}m" for near in (steps, steps - TIE, steps + TIE)]
    return None if answer in right else right[0]


def wrong_yes_no(answer: str, true: bool, statement: str) -> str | None:
    """What is wrong with an answer to whether a statement holds; it has ``{}`` where a "not" belongs."""
    if answer not in ("Yes", "No"):
        return f"the answer is {answer!r}, expected Yes or No"
    if (answer == "Yes") == true:
        return None
    return f"the answer says {answer}, but {' '.join(statement.format('' if true else 'not').split())}"


def reach(point: Sequence[float], word: str) -> float:
    """How far a point lies in a direction, metres."""
    axis, sign = SIDES[word]
    return sign * point[axis]


def spoken(region: Iterable[frozenset[str]]) -> str:
    """A region in words."""
    return ", ".join(" or ".join(sorted(words)) for words in region)


def wrong_choice(answer: str, right: str, wrong: str, because: str) -> str | None:
    """What is wrong with an answer that chooses between two."""
    if answer == right:
        return None
    if answer != wrong:
        return f"the answer is {answer!r}, expected {right!r} or {wrong!r}"
    return f"the answer says {answer}, but {because}"
