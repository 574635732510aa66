"""What is true of two sounds, or three, beside each other: :mod:`bat_agent.questions.free.truth` has the rest."""

from __future__ import annotations

import math

from bat_agent.questions.answers import format_distance
from bat_agent.questions.free.seen import CLOSER_LEAST_M, Seen, Truth, Unclear, labels_of, named, yes_no

RELATION_LEAST_M = 0.4
BETWEEN_LEAST_DEG, BETWEEN_MOST_DEG = 30.0, 150.0
"""How wide two directions are apart that something may be between."""
BETWEEN_MARGIN_DEG = 10.0
"""How far off both of them what is between, or not, must be."""


def _ahead_m(seen: Seen, numbers: tuple[int, ...], word: str) -> float:
    """By how much the first is more so than the second, metres."""
    a, b = numbers
    p, q = seen.points[a], seen.points[b]
    return {
        "closer": seen.distance_m(b) - seen.distance_m(a),
        "farther": seen.distance_m(a) - seen.distance_m(b),
        "left": q[0] - p[0],
        "right": p[0] - q[0],
        "higher": p[1] - q[1],
        "lower": q[1] - p[1],
    }[word]


def _compared(seen: Seen, numbers: tuple[int, ...]) -> bool:
    word = seen.query.word
    ahead_m = _ahead_m(seen, numbers, word)
    if abs(ahead_m) < (CLOSER_LEAST_M if word in ("closer", "farther") else RELATION_LEAST_M):
        raise Unclear
    return ahead_m > 0


def compare(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    """Whether the first is so, compared with the second."""
    return yes_no(_compared(seen, numbers))


def which(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    """The one of the two that is so."""
    number = numbers[not _compared(seen, numbers)]
    return Truth("sounds", seen.query.sounds[numbers.index(number)], sources=labels_of(seen, [number]))


def difference(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    """By how much the first is nearer."""
    ahead_m = _ahead_m(seen, numbers, "closer")
    if ahead_m < CLOSER_LEAST_M:  # "by how much is A nearer" says that it is
        raise Unclear
    return Truth("metres", format_distance(ahead_m), value=ahead_m)


def apart(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    """How far apart two are."""
    apart_m = math.dist(*(seen.points[number] for number in numbers))
    return Truth("metres", format_distance(apart_m), value=apart_m)


def _angle_deg(seen: Seen, numbers: tuple[int, ...]) -> float:
    """Between two directions, seen from above."""
    first, second = (seen.azimuth_deg(number) for number in numbers)
    return abs((first - second + 180) % 360 - 180)


def angle(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    """The angle between two, seen from above."""
    degrees = _angle_deg(seen, numbers)
    return Truth("degrees", f"{round(degrees)} degrees", value=degrees)


def same_side(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    """Whether two are on the same side, left or right, or on opposite sides."""
    first, second = (seen.on(number, "left") for number in numbers)
    return yes_no((first == second) == (seen.query.kind == "same side"))


def am_between(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    """Whether the listener is between two."""
    degrees = _angle_deg(seen, numbers)
    if 90 < degrees < 135:
        raise Unclear
    return yes_no(degrees >= 135)


def _inside(seen: Seen, number: int, ends: tuple[int, ...]) -> bool:
    """Whether a direction lies in the smaller of the two angles between the ends, seen from above."""
    wide = _angle_deg(seen, ends)
    parts = [_angle_deg(seen, (number, end)) for end in ends]
    if not BETWEEN_LEAST_DEG <= wide <= BETWEEN_MOST_DEG or min(parts) < BETWEEN_MARGIN_DEG:
        raise Unclear
    return sum(parts) < wide + 1.0


def is_between(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    """Whether the first is between the two others, seen from the listener."""
    return yes_no(_inside(seen, numbers[0], numbers[1:]))


def what_between(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    """What is between two, seen from the listener."""
    others = [number for number in range(len(seen.sources)) if number not in numbers]
    return named(seen, [number for number in others if _inside(seen, number, numbers)])
