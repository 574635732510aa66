"""The sources of a scene as the listener of a query hears them, and what a truth about them is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bat_agent.questions.answers import YES_NO, HeardSource, answer_labels
from bat_agent.questions.free.names import SOMEONE, VOICES, kindred
from bat_agent.questions.free.query import Query
from bat_agent.scene import Position, unit_vector

SIDE_LEAST = 0.15
"""Least direction cosine towards a side that is said (9° off the border)."""
CLOSER_LEAST_M = 0.5
NOTHING = "nothing"
"""The answer to what is there, where nothing is."""
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Place:
    """Where a source is, as an answer may say it."""

    must: tuple[str, ...]
    """One of these sides has to be said: the one that it lies farthest out on, or either of two alike."""
    may: tuple[str, ...]
    """All sides that may be said; above and below both, near the height of the ears."""
    distance_m: float


@dataclass(frozen=True)
class Truth:
    """What is true, in one of the forms that :func:`bat_agent.questions.free.marking.score_free` reads."""

    form: str
    """``yes no``, ``side``, ``place``, ``turn``, ``hour``, ``heading``, ``metres``, ``degrees``, ``count``, ``sounds``,
    ``scene``, ``not heard`` or ``cannot``."""
    answer: str
    """The answer as records have it."""
    accepted: tuple[str, ...] = ()
    """Other answers that are as true."""
    value: float = 0.0
    """The number, where the answer is one: metres, degrees (turns: left above 0), how many."""
    sources: tuple[tuple[str, ...], ...] = ()
    """The labels of each source that the answer names."""
    places: tuple[Place, ...] = ()
    """Where each of them is, if the answer says so."""


class Unclear(Exception):
    """Two answers are too close to tell apart."""


class Seen:
    """The sources as the listener of a query hears them: after its turn or walk, if it has one."""

    def __init__(self, query: Query, sources: Sequence[HeardSource]) -> None:
        self.query, self.sources = query, sources
        self.points = [after(point_of(source.position), query) for source in sources]

    def find(self, sound: str) -> int | None:
        """The source that a sound names; ``None`` where it is not there, unclear where it may be."""
        kin = [n for n, s in enumerate(self.sources) if any(kindred(sound, label) for label in s.labels)]
        named = [n for n in kin if bears(self.sources[n], sound)]
        if len(named) == 1 and len(kin) == 1:
            return named[0]
        if kin:
            raise Unclear
        return None

    def toward(self, number: int, side: str) -> float:
        """Direction cosine of a source towards a side."""
        x, y, z = self.points[number]
        value = {"right": x, "left": -x, "above": y, "below": -y, "behind": z, "front": -z}[side]
        return value / max(math.hypot(x, y, z), 1e-9)

    def on(self, number: int, side: str) -> bool:
        """Whether it is clearly on that side; unclear near the border."""
        value = self.toward(number, side)
        if abs(value) < SIDE_LEAST:
            raise Unclear
        return value > 0

    def distance_m(self, number: int) -> float:
        """How far it is."""
        return math.hypot(*self.points[number])

    def azimuth_deg(self, number: int) -> float:
        """Counter-clockwise from the right; unclear overhead and underfoot."""
        x, y, z = self.points[number]
        if math.hypot(x, z) < 0.5 * math.hypot(x, y, z):
            raise Unclear
        return math.degrees(math.atan2(-z, x)) % 360


def bears(source: HeardSource, sound: str) -> bool:
    """Whether a source is what a sound names."""
    labels = {label.lower() for label in source.labels}
    return bool(labels & VOICES) if sound == SOMEONE else sound.lower() in labels


def point_of(position: Position) -> Point:
    """(right, up, back) of a position, metres."""
    x, y, z = unit_vector(position.azimuth_deg, position.elevation_deg)
    return x * position.distance_m, y * position.distance_m, z * position.distance_m


def after(point: Point, query: Query) -> Point:
    """Where a point lies once the listener has turned or walked as the query says."""
    x, y, z = point
    step = query.walk_m
    x -= step * ((query.walk_to == "right") - (query.walk_to == "left"))
    z -= step * ((query.walk_to == "behind") - (query.walk_to == "front"))
    turn = math.radians(-query.turn_deg)  # the world turns the other way
    right, ahead = x * math.cos(turn) + z * math.sin(turn), -z * math.cos(turn) + x * math.sin(turn)
    return right, y, -ahead


def yes_no(true: bool) -> Truth:
    """The truth of what is true, or not."""
    return Truth("yes no", YES_NO[not true])


def named(seen: Seen, numbers: Sequence[int]) -> Truth:
    """The truth that names these sources."""
    if not numbers:
        return Truth("sounds", NOTHING)
    labels = [label for number in numbers for label in seen.sources[number].labels]
    return Truth("sounds", answer_labels(labels), sources=labels_of(seen, numbers))


def labels_of(seen: Seen, numbers: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    """The labels of these sources, in lower case."""
    return tuple(tuple(label.lower() for label in seen.sources[number].labels) for number in numbers)
