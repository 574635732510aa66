"""What is true of a query in a scene, from its geometry: the answer, all others that are true as well, or none at all.

Where two answers are too close to tell apart by ear there is no truth, and nothing is asked: sides and relations within
a margin of their border, distances within a quarter of a metre of a limit, and so on. Sides are those of the eight
regions (:mod:`bat_agent.scene`): half of the world is left, half right. What is asked of a sound that is not there is
``not heard``; what no sound can tell ``cannot be heard``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from bat_agent.questions.answers import NOT_HEARD, HeardSource, answer_labels, answer_location, format_distance
from bat_agent.questions.free import truth_of_two as two
from bat_agent.questions.free.names import kindred
from bat_agent.questions.free.query import Query
from bat_agent.questions.free.seen import (
    CLOSER_LEAST_M,
    SIDE_LEAST,
    Place,
    Seen,
    Truth,
    Unclear,
    bears,
    labels_of,
    named,
    point_of,
    yes_no,
)  # fmt: skip

CANNOT_BE_HEARD = "cannot be heard"
"""The answer to what no sound can tell."""
SECTORS = ("right", "front right", "front", "front left", "left", "back left", "behind", "back right")
"""Eight ways to walk, counter-clockwise from the right, 45 degrees each."""
TURN_LEAST_DEG = 15.0
STRAIGHT_DEG = 45.0
"""How far off straight ahead of a step something is in its way."""
SAFE_M = 2.0
"""Nearer than this, in the way of a step, something makes it unsafe."""
LOUDER_RATIO = 2.0
"""How many times nearer the loudest must be, 6 dB of direct sound: all recordings of a set have one level."""
MOVES_LEAST_M = 0.7
DOMINANT = 2.0
"""How much farther out on one side than on another a source is that is said to be there before all."""


def answer(query: Query, sources: Sequence[HeardSource]) -> Truth | None:
    """What is true of a query; ``None`` where that is not clear enough to ask."""
    try:
        if query.kind in _OF_OTHERS:
            return _PROGRAMS[query.kind](Seen(query, sources), ())
        seen = Seen(query, sources)
        numbers = tuple(seen.find(sound) for sound in query.sounds)
        if None in numbers:
            return Truth("not heard", NOT_HEARD)
        if len(set(numbers)) < len(numbers):
            return None
        return _PROGRAMS[query.kind](seen, tuple(n for n in numbers if n is not None))
    except Unclear:
        return None


def _each(clear: Iterable[bool]) -> list[bool]:
    """All of them, so that one that is unclear is noticed even where others decide."""
    return list(clear)


# --- what and how many ---


def _what(seen: Seen, _: tuple[int, ...]) -> Truth:
    query, numbers = seen.query, range(len(seen.sources))
    if query.word:
        return named(seen, [_first(seen, query.word)])
    return named(seen, [n for n in numbers if all(seen.on(n, side) for side in query.sides)])


def _first(seen: Seen, word: str) -> int:
    height = word in ("highest", "lowest")
    values = [seen.points[n][1] if height else seen.distance_m(n) for n in range(len(seen.sources))]
    order = sorted(range(len(values)), key=values.__getitem__, reverse=word in ("farthest", "highest"))
    if len(order) < 2:
        raise Unclear
    first, second = values[order[0]], values[order[1]]
    clear = second >= LOUDER_RATIO * first if word == "loudest" else abs(first - second) >= CLOSER_LEAST_M
    if not clear:
        raise Unclear
    return order[0]


def _what_else(seen: Seen, _: tuple[int, ...]) -> Truth:
    number = seen.find(seen.query.sounds[0])
    return named(seen, [n for n in range(len(seen.sources)) if n != number])


def _is_anything_else(seen: Seen, _: tuple[int, ...]) -> Truth:
    number = seen.find(seen.query.sounds[0])
    return yes_no(any(n != number for n in range(len(seen.sources))))


def _is_anything(seen: Seen, _: tuple[int, ...]) -> Truth:
    return yes_no(any(_each(seen.on(n, seen.query.sides[0]) for n in range(len(seen.sources)))))


def _count(seen: Seen, _: tuple[int, ...]) -> Truth:
    count = sum(all(seen.on(n, side) for side in seen.query.sides) for n in range(len(seen.sources)))
    return Truth("count", str(count), value=count)


def _is_several(seen: Seen, _: tuple[int, ...]) -> Truth:
    return yes_no(len(seen.sources) > 1)


def _is_heard(seen: Seen, _: tuple[int, ...]) -> Truth:
    sound = seen.query.sounds[0]
    if any(bears(source, sound) for source in seen.sources):
        return yes_no(True)
    if any(kindred(sound, label) for source in seen.sources for label in source.labels):
        raise Unclear
    return yes_no(False)


# --- where one is ---


def _where(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    if any(abs(seen.toward(numbers[0], side)) < SIDE_LEAST for side in ("right", "front")):
        raise Unclear
    text = answer_location(seen.sources[numbers[0]].position)
    return Truth("place", text, sources=labels_of(seen, numbers[:1]), places=(_place(seen, numbers[0]),))


def _place(seen: Seen, number: int) -> Place:
    across = "left" if seen.toward(number, "left") > 0 else "right"
    along = "front" if seen.toward(number, "front") > 0 else "behind"
    ratio = seen.toward(number, across) / seen.toward(number, along)
    must = (across,) if ratio > DOMINANT else (along,) if ratio < 1 / DOMINANT else (across, along)
    height = tuple(side for side in ("above", "below") if seen.toward(number, side) > -SIDE_LEAST)
    return Place(must, (across, along, *height), seen.distance_m(number))


def _where_else(seen: Seen, _: tuple[int, ...]) -> Truth:
    """Where the one other sound is; there must be one."""
    number = seen.find(seen.query.sounds[0])
    others = tuple(n for n in range(len(seen.sources)) if n != number)
    if number is None or len(others) != 1:
        raise Unclear
    return _where(seen, others)


def _side(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    first, second = seen.query.axis.split()
    return Truth("side", first if seen.on(numbers[0], first) else second)


def _is_side(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    return yes_no(all(_each(seen.on(numbers[0], side) for side in seen.query.sides)))


def _turn_deg(seen: Seen, number: int) -> float:
    """How far to turn to face it, left above 0."""
    return (seen.azimuth_deg(number) - 90 + 180) % 360 - 180


def _turn(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    turn = _turn_deg(seen, numbers[0])
    if not TURN_LEAST_DEG <= abs(turn) <= 180 - TURN_LEAST_DEG:
        raise Unclear
    return Truth("side", "left" if turn > 0 else "right")


def _turn_degrees(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    turn = _turn_deg(seen, numbers[0])
    if not TURN_LEAST_DEG <= abs(turn) <= 180 - TURN_LEAST_DEG:
        raise Unclear
    return Truth("turn", f"{round(abs(turn))} degrees {'left' if turn > 0 else 'right'}", value=turn)


def _clock(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    exact = -_turn_deg(seen, numbers[0]) / 30
    hours = [(round(exact + off) - 1) % 12 + 1 for off in (0.0, 0.17, -0.17)]  # 5° off the border both are true
    texts = tuple(dict.fromkeys(f"{hour} o'clock" for hour in hours))
    return Truth("hour", texts[0], texts[1:])


def _heading(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    azimuth = seen.azimuth_deg(numbers[0])
    near = sorted(range(8), key=lambda n: abs((azimuth - 45 * n + 180) % 360 - 180))
    return Truth("heading", SECTORS[near[0]], (SECTORS[near[1]],), value=azimuth)


def _distance(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    distance_m = seen.distance_m(numbers[0])
    return Truth("metres", format_distance(distance_m), value=distance_m)


def _limit(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    limit_m, distance_m = seen.query.limit_m or 0.0, seen.distance_m(numbers[0])
    if abs(limit_m - distance_m) < CLOSER_LEAST_M / 2:
        raise Unclear
    return yes_no((distance_m < limit_m) == (seen.query.kind == "is within"))


# --- steps ---


def _is_safe(seen: Seen, _: tuple[int, ...]) -> Truth:
    """Nothing stands in the way of a step: nothing within 45° of that way that is nearer than 2 m."""
    side, safe = seen.query.sides[0], True
    for number in range(len(seen.sources)):
        x, _y, z = seen.points[number]
        ahead = {"right": x, "left": -x, "behind": z, "front": -z}[side] / max(math.hypot(x, z), 1e-9)
        off_deg, distance_m = math.degrees(math.acos(max(-1.0, min(1.0, ahead)))), seen.distance_m(number)
        if off_deg < STRAIGHT_DEG - 10 and distance_m < SAFE_M - 0.25:
            safe = False
        elif off_deg < STRAIGHT_DEG + 15 and distance_m < SAFE_M + 0.5:
            raise Unclear
    return yes_no(safe)


def _gets_closer(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    before_m = math.hypot(*point_of(seen.sources[numbers[0]].position))
    change_m = seen.distance_m(numbers[0]) - before_m
    if abs(change_m) < 0.25 * seen.query.walk_m:
        raise Unclear
    return yes_no(change_m < 0)


# --- what moves, and all of it ---


def _is_moving(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    end = seen.sources[numbers[0]].moves_to
    if end is None:
        return yes_no(False)
    if math.dist(seen.points[numbers[0]], point_of(end)) < MOVES_LEAST_M:
        raise Unclear
    return yes_no(True)


def _approach(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    end = seen.sources[numbers[0]].moves_to
    change_m = 0.0 if end is None else math.hypot(*point_of(end)) - seen.distance_m(numbers[0])
    if abs(change_m) < MOVES_LEAST_M:
        raise Unclear
    return Truth("side", "away" if change_m > 0 else "closer")


def _drift(seen: Seen, numbers: tuple[int, ...]) -> Truth:
    end = seen.sources[numbers[0]].moves_to
    change_m = 0.0 if end is None else point_of(end)[0] - seen.points[numbers[0]][0]
    if abs(change_m) < MOVES_LEAST_M:
        raise Unclear
    return Truth("side", "right" if change_m > 0 else "left")


def _describe(seen: Seen, _: tuple[int, ...]) -> Truth:
    numbers = tuple(sorted(range(len(seen.sources)), key=seen.distance_m))
    for number in numbers:
        seen.on(number, "left")
        seen.on(number, "front")
    parts = [f"{answer_labels(s.labels)}: {answer_location(s.position)}" for s in (seen.sources[n] for n in numbers)]
    places = tuple(_place(seen, number) for number in numbers)
    return Truth("scene", ". ".join(parts), sources=labels_of(seen, numbers), places=places)


def _cannot(seen: Seen, _: tuple[int, ...]) -> Truth:
    return Truth("cannot", CANNOT_BE_HEARD)


_OF_OTHERS = frozenset(("is heard", "what else", "is anything else", "where else"))  # the named one may be missing
_PROGRAMS: dict[str, Callable[[Seen, tuple[int, ...]], Truth]] = {
    "what": _what,
    "what else": _what_else,
    "is anything": _is_anything,
    "is anything else": _is_anything_else,
    "is safe": _is_safe,
    "count": _count,
    "is several": _is_several,
    "is heard": _is_heard,
    "where": _where,
    "where else": _where_else,
    "side": _side,
    "is side": _is_side,
    "turn": _turn,
    "turn degrees": _turn_degrees,
    "clock": _clock,
    "heading": _heading,
    "distance": _distance,
    "is within": _limit,
    "is beyond": _limit,
    "gets closer": _gets_closer,
    "compare": two.compare,
    "which": two.which,
    "difference": two.difference,
    "apart": two.apart,
    "angle": two.angle,
    "same side": two.same_side,
    "opposite sides": two.same_side,
    "am between": two.am_between,
    "is between": two.is_between,
    "what between": two.what_between,
    "is moving": _is_moving,
    "approach": _approach,
    "drift": _drift,
    "describe": _describe,
    "cannot be heard": _cannot,
    "not about sound": _cannot,
}
