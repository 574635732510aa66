"""Checks of free questions for :mod:`bat_agent.questions.verify`: the truth anew, and whether the words ask for it.

Nothing is shared with what makes them but the names that people give to sounds. The query is read here by a reader of
its own, the geometry turned and moved in another way, and the text is read for what it says of names, sides, turns,
walks and distances (:mod:`bat_agent.questions.verify_free_text`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bat_agent.questions.answers import HeardSource
from bat_agent.questions.records import QARecord
from bat_agent.questions.verify_free_text import misworded, part_of_history
from bat_agent.questions.verify_truth import TIE, coordinates
from bat_agent.scene import Position

_AXIS = {"right": (0, 1), "left": (0, -1), "above": (1, 1), "below": (1, -1), "behind": (2, 1), "front": (2, -1)}
_PART = re.compile(r"(side|axis|word|limit|turn|walk) (.+)")
_TALK = frozenset(("speech", "conversation", "narration, monologue", "babbling", "whispering"))
_LOUDER = 2.0
_WAYS = ("front", "front right", "right", "back right", "behind", "back left", "left", "front left")
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Asked:
    """A query as this module reads it."""

    kind: str
    sounds: tuple[str, ...]
    parts: dict[str, str]

    @property
    def sides(self) -> list[str]:
        """The sides it names."""
        return self.parts.get("side", "").split()

    @property
    def turn_deg(self) -> float:
        """Left above 0."""
        words = self.parts.get("turn", "").split()
        if not words:
            return 0.0
        return 180.0 if words == ["around"] else float(words[1]) * (-1 if words[0] == "right" else 1)

    @property
    def walk(self) -> tuple[str, float]:
        """Which way, and how many metres."""
        way, _, far = self.parts.get("walk", "front 0m").partition(" ")
        return way, float(far.rstrip("m"))


def read_asked(text: str) -> Asked | None:
    """What the query of a record says; ``None`` where it cannot be read."""
    head, *rest = text.split("; ")
    kind, _, named = head.partition(": ")
    found = [_PART.fullmatch(part) for part in rest]
    if not all(found):
        return None
    return Asked(kind, tuple(named.split(" & ")) if named else (), {m[1]: m[2] for m in found if m})


def verify_free(record: QARecord, sources: Sequence[HeardSource]) -> str | None:
    """``None`` where query, words, geometry and answer agree; else one sentence."""
    try:
        return _verified(record, sources)
    except (IndexError, KeyError, ValueError, StopIteration, ZeroDivisionError):
        return f"the record has no query that fits its kind and its sources: {record.query!r}"


def _verified(record: QARecord, sources: Sequence[HeardSource]) -> str | None:
    asked = read_asked(record.query or "")
    if asked is None or asked.kind not in _CHECKS:
        return f"the record has no query that can be read: {record.query!r}"
    history, question = part_of_history(record.question)
    if wrong := misworded(asked.kind, asked.sounds, asked.parts, history, question, sources):
        return wrong
    owners = [_owners(sound, sources) for sound in asked.sounds]
    if asked.kind != "is heard" and any(len(found) > 1 for found in owners):
        return f"more than one source is called {asked.sounds}"
    if wrong := _wrong_history(history, owners, sources):
        return wrong
    present = [found[0] for found in owners if found]
    if len(present) < len(owners) and asked.kind not in ("is heard", "what else", "is anything else"):
        return _differs(record.answer, "not heard")
    if asked.kind in ("what else", "is anything else", "where else") and not present:
        return f"what the question leaves out, {asked.sounds[0]!r}, is not there"
    return _CHECKS[asked.kind](record.answer, asked, present, [_placed(source, asked) for source in sources], sources)


def _owners(sound: str, sources: Sequence[HeardSource]) -> list[int]:
    found = []
    for number, source in enumerate(sources):
        labels = {label.lower() for label in source.labels}
        talks = sound == "someone" and any(label in _TALK or label.endswith(" speaking") for label in labels)
        if talks or sound in labels:
            found.append(number)
    return found


def _placed(source: HeardSource, asked: Asked) -> Point:
    """Where it is after the turn or the walk: a turn changes the azimuth, a walk moves the origin."""
    azimuth_deg, elevation_deg, distance_m = source.position
    x, y, z = coordinates(replace(source, position=Position(azimuth_deg - asked.turn_deg, elevation_deg, distance_m)))
    way, metres = asked.walk
    point = [x, y, z]
    axis, sign = _AXIS[way]
    point[axis] -= sign * metres
    return point[0], point[1], point[2]


def _wrong_history(
    history: Sequence[tuple[str, str]], owners: Sequence[Sequence[int]], sources: Sequence[HeardSource]
) -> str | None:
    """Whether an earlier answer was not true of the first sound; it may say yes, a side, a distance or a place."""
    for _, said in history:
        if not owners or not owners[0]:
            return "the question before is about a sound that is not there"
        point = coordinates(sources[owners[0][0]])
        wrong = [word for word in re.findall(r"left|right|front|behind|above|below", said) if _toward(point, word) < 0]
        metres = re.findall(r"([\d.]+)m", said)
        if wrong or said == "No" or (metres and not _near(float(metres[0]), _far(point))):
            return f"the answer before, {said!r}, is not true"
    return None


# --- geometry ---


def _toward(point: Point, word: str) -> float:
    axis, sign = _AXIS[word]
    return sign * point[axis]


def _far(point: Point) -> float:
    return math.sqrt(sum(value * value for value in point))


def _near(said_m: float, true_m: float) -> bool:
    return abs(said_m - true_m) <= 0.25 + TIE


def _bearing(point: Point) -> float:
    """Clockwise from straight ahead, degrees in [−180, 180)."""
    return (math.degrees(math.atan2(point[0], -point[2])) + 180) % 360 - 180


def _differs(answer: str, right: str) -> str | None:
    return None if answer == right else f"the answer is {answer!r}, but {right!r} is true"


def _says(answer: str, true: bool) -> str | None:
    return _differs(answer, "Yes" if true else "No")


def _metres(answer: str, true_m: float) -> str | None:
    match = re.fullmatch(r"(\d+(?:\.\d)?)m", answer)
    return None if match and _near(float(match[1]), true_m) else f"the answer is {answer!r}, but it is {true_m:.2f} m"


def _list(answer: str, numbers: Sequence[int], sources: Sequence[HeardSource]) -> str | None:
    labels = sorted({label.strip().lower() for number in numbers for label in sources[number].labels})
    return _differs(answer, "; ".join(labels) or "nothing")


def _location(answer: str, source: HeardSource) -> str | None:
    point = coordinates(source)
    words, _, metres = answer.partition("; ")
    sides = words.split(", ")
    if len(sides) != 3 or any(_toward(point, word) < -TIE for word in sides):
        return f"the answer is {answer!r}, but it is at {tuple(round(v, 2) for v in point)}"
    return _metres(metres, _far(point))


# --- one check for each kind ---

Check = Callable[[str, Asked, list[int], list[Point], Sequence[HeardSource]], "str | None"]


def _what(answer: str, asked: Asked, _: list[int], points: list[Point], sources: Sequence[HeardSource]) -> str | None:
    numbers = [n for n, point in enumerate(points) if all(_toward(point, side) > 0 for side in asked.sides)]
    word = asked.parts.get("word")
    if word is not None:
        height, most = word in ("highest", "lowest"), word in ("farthest", "highest")
        value = {n: points[n][1] if height else _far(points[n]) for n in numbers}
        ranked = sorted(numbers, key=lambda n: -value[n] if most else value[n])
        if word == "loudest" and value[ranked[1]] < _LOUDER * value[ranked[0]]:
            return "no source is near enough to be the loudest for sure"
        numbers = ranked[:1]
    return _list(answer, numbers, sources)


def _count(answer: str, asked: Asked, _: list[int], points: list[Point], __: Sequence[HeardSource]) -> str | None:
    return _differs(answer, str(sum(all(_toward(p, side) > 0 for side in asked.sides) for p in points)))


def _step(answer: str, asked: Asked, _: list[int], points: list[Point], __: Sequence[HeardSource]) -> str | None:
    """Whether nothing nearer than 2 m lies within 45° of the way."""
    straight = {"front": 0.0, "right": 90.0, "behind": 180.0, "left": -90.0}[asked.sides[0]]
    off = [abs((_bearing(p) - straight + 180) % 360 - 180) for p in points]
    return _says(answer, not any(o < 45 and _far(p) < 2 for o, p in zip(off, points, strict=True)))


def _turn(answer: str, asked: Asked, at: list[int], points: list[Point], _: Sequence[HeardSource]) -> str | None:
    bearing = _bearing(points[at[0]])
    way = "right" if bearing > 0 else "left"
    if asked.kind == "turn":
        return _differs(answer, way)
    match = re.fullmatch(r"(\d+) degrees (left|right)", answer)
    right = match is not None and match[2] == way and abs(int(match[1]) - abs(bearing)) <= 0.5 + TIE
    return None if right else f"the answer is {answer!r}, but it is {abs(bearing):.1f} degrees to the {way}"


def _hour(answer: str, _: Asked, at: list[int], points: list[Point], __: Sequence[HeardSource]) -> str | None:
    match = re.fullmatch(r"(\d+) o'clock", answer)
    off = abs((_bearing(points[at[0]]) - 30 * int(match[1]) + 180) % 360 - 180) if match else 360.0
    return None if off <= 15 + TIE else f"the answer is {answer!r}, but it is at {_bearing(points[at[0]]):.0f} degrees"


def _way(answer: str, _: Asked, at: list[int], points: list[Point], __: Sequence[HeardSource]) -> str | None:
    return _differs(answer, _WAYS[round(_bearing(points[at[0]]) / 45) % 8])


def _axis(answer: str, asked: Asked, at: list[int], points: list[Point], _: Sequence[HeardSource]) -> str | None:
    first, second = asked.parts["axis"].split()
    return _differs(answer, first if _toward(points[at[0]], first) > 0 else second)


def _limit(answer: str, asked: Asked, at: list[int], points: list[Point], _: Sequence[HeardSource]) -> str | None:
    nearer = _far(points[at[0]]) < float(asked.parts["limit"].rstrip("m"))
    return _says(answer, nearer == (asked.kind == "is within"))


def _leads(asked: Asked, at: list[int], points: list[Point]) -> float:
    """By how much the first is more so than the second, metres."""
    (a, b), word = (points[at[0]], points[at[1]]), asked.parts.get("word", "closer")
    if word in ("closer", "farther"):
        return (_far(b) - _far(a)) * (1 if word == "closer" else -1)
    side = {"higher": "above", "lower": "below"}.get(word, word)
    return _toward(a, side) - _toward(b, side)


def _which(answer: str, asked: Asked, at: list[int], points: list[Point], _: Sequence[HeardSource]) -> str | None:
    return _differs(answer, asked.sounds[0 if _leads(asked, at, points) > 0 else 1])


def _spread(at: list[int], points: list[Point]) -> float:
    """Degrees between two directions, seen from above, by their scalar product."""
    (ax, _, az), (bx, _, bz) = (points[number] for number in at)
    cosine = (ax * bx + az * bz) / (math.hypot(ax, az) * math.hypot(bx, bz))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _angle(answer: str, _: Asked, at: list[int], points: list[Point], __: Sequence[HeardSource]) -> str | None:
    match, true = re.fullmatch(r"(\d+) degrees", answer), _spread(at, points)
    return None if match and abs(int(match[1]) - true) < 0.51 else f"the answer is {answer!r}, but it is {true:.1f}"


def _sides_alike(answer: str, asked: Asked, at: list[int], points: list[Point], _: Sequence[HeardSource]) -> str | None:
    alike = points[at[0]][0] * points[at[1]][0] > 0
    return _says(answer, alike == (asked.kind == "same side"))


def _cone(middle: Point, first: Point, last: Point) -> bool:
    """Whether one direction lies between two others seen from above, by the signs of cross products."""

    def cross(a: Point, b: Point) -> float:
        return a[0] * b[2] - a[2] * b[0]

    turn = cross(first, last)
    return cross(first, middle) * turn > 0 and cross(middle, last) * turn > 0


def _among(answer: str, _: Asked, at: list[int], points: list[Point], sources: Sequence[HeardSource]) -> str | None:
    rest = [number for number in range(len(points)) if number not in at]
    return _list(answer, [n for n in rest if _cone(points[n], points[at[0]], points[at[1]])], sources)


def _motion(
    answer: str, asked: Asked, at: list[int], points: list[Point], sources: Sequence[HeardSource]
) -> str | None:
    source = sources[at[0]]
    begin = points[at[0]]
    end = begin if source.moves_to is None else coordinates(replace(source, position=source.moves_to))
    if asked.kind == "is moving":
        return _says(answer, math.dist(begin, end) > 0)
    if asked.kind == "approach":
        return _differs(answer, "closer" if _far(end) < _far(begin) else "away")
    return _differs(answer, "right" if end[0] > begin[0] else "left")


def _scene(answer: str, _: Asked, __: list[int], points: list[Point], sources: Sequence[HeardSource]) -> str | None:
    told = answer.split(". ")
    if len(told) != len(sources):
        return f"the answer tells of {len(told)} sources, but there are {len(sources)}"
    for part, number in zip(told, sorted(range(len(sources)), key=lambda n: _far(points[n])), strict=True):
        names, _colon, place = part.partition(": ")
        if wrong := _list(names, [number], sources) or _location(place, sources[number]):
            return wrong
    return None


_CHECKS: dict[str, Check] = {
    "what": _what,
    "what else": lambda a, q, at, p, s: _list(a, [n for n in range(len(s)) if n not in at], s),
    "is anything": lambda a, q, at, p, s: _says(a, any(_toward(point, q.sides[0]) > 0 for point in p)),
    "is anything else": lambda a, q, at, p, s: _says(a, len(s) > len(at)),
    "is safe": _step,
    "count": _count,
    "is several": lambda a, q, at, p, s: _says(a, len(s) > 1),
    "is heard": lambda a, q, at, p, s: _says(a, bool(at)),
    "where": lambda a, q, at, p, s: _location(a, s[at[0]]),
    "where else": lambda a, q, at, p, s: _location(a, next(o for n, o in enumerate(s) if n not in at)),
    "side": _axis,
    "is side": lambda a, q, at, p, s: _says(a, all(_toward(p[at[0]], side) > 0 for side in q.sides)),
    "turn": _turn,
    "turn degrees": _turn,
    "clock": _hour,
    "heading": _way,
    "distance": lambda a, q, at, p, s: _metres(a, _far(p[at[0]])),
    "is within": _limit,
    "is beyond": _limit,
    "gets closer": lambda a, q, at, p, s: _says(a, _far(p[at[0]]) < _far(coordinates(s[at[0]]))),
    "compare": lambda a, q, at, p, s: _says(a, _leads(q, at, p) > 0),
    "which": _which,
    "difference": lambda a, q, at, p, s: _metres(a, _leads(q, at, p)),
    "apart": lambda a, q, at, p, s: _metres(a, math.dist(p[at[0]], p[at[1]])),
    "angle": _angle,
    "same side": _sides_alike,
    "opposite sides": _sides_alike,
    "am between": lambda a, q, at, p, s: _says(a, _spread(at, p) > 112.5),
    "is between": lambda a, q, at, p, s: _says(a, _cone(p[at[0]], p[at[1]], p[at[2]])),
    "what between": _among,
    "is moving": _motion,
    "approach": _motion,
    "drift": _motion,
    "describe": _scene,
    "cannot be heard": lambda a, q, at, p, s: _differs(a, "cannot be heard"),
    "not about sound": lambda a, q, at, p, s: _differs(a, "cannot be heard"),
}
