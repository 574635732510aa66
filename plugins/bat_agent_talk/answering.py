"""A query is answered from what is heard: for every kind a program, with the probability that what it says is true."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bat_agent.hearing.posterior import Heard
from bat_agent.interfaces import Reply
from bat_agent.questions.answers import AXES, NOT_HEARD, answer_labels, format_clock, format_distance
from bat_agent.questions.free.query import Query
from bat_agent.questions.free.truth import CANNOT_BE_HEARD, SAFE_M, SECTORS, STRAIGHT_DEG
from bat_agent_talk import relations
from bat_agent_talk.scene import (
    NEAR_DEG,
    Scene,
    azimuth_deg,
    classes_of,
    either,
    label_share,
    metres,
    named,
    share_of,
    yes_no,
)

NOT_ABOUT_SOUND = "not about sound"
"""The answer to what has nothing to do with sound."""
UNMOVED = "how things move cannot be heard in one clip"
"""The answer to what moves and where to: the heads speak of one place for the whole of a clip."""
OF_A_PAIR = 0.1
"""Two sounds cover each other, and one may go by another name: of each of several that are named so much less is
asked."""


def answer(scene: Scene, query: Query) -> Reply:
    """The answer to a query, with its probability."""
    if query.sounds and query.kind not in _OF_OTHERS:
        shares = [scene.share_of(sound) for sound in query.sounds]
        unknown = not all(map(classes_of, query.sounds))
        least = scene.thresholds.heard * (1 if len(shares) == 1 else OF_A_PAIR)
        if unknown or min(shares) < least:
            return Reply(NOT_HEARD, 1 - min(shares))
    return _PROGRAMS[query.kind](scene, query)


# --- what and how many ---


def _what(scene: Scene, query: Query) -> Reply:
    sources = scene.clip.sources
    scene.clip.classes()
    if query.word:
        return _first(scene, query)
    shares = [scene.on(source, query) for source in sources]
    there = [source for source, share in zip(sources, shares, strict=True) if share > 0.5]
    return named(there, math.prod(max(share, 1 - share) for share in shares))


def _first(scene: Scene, query: Query) -> Reply:
    """The nearest …; the loudest is the nearest, as the heads say nothing of how loud a sound is by itself."""
    sources = scene.clip.sources
    if query.word in ("highest", "lowest"):
        values = np.stack([scene.worlds.points(source)[:, 1] for source in sources])
    else:
        values = np.stack([scene.worlds.distance_m(source) for source in sources])
    best = values.argmax(axis=0) if query.word in ("farthest", "highest") else values.argmin(axis=0)
    shares = [share_of(best == number) for number in range(len(sources))]
    number = int(np.argmax(shares))
    return named([sources[number]], shares[number])


def _what_else(scene: Scene, query: Query) -> Reply:
    others = scene.others(query.sounds[0])
    elsewhere = scene.clip.slots[scene.clip.audible :]
    none = math.prod(1 - slot.perceived.confidence for slot in elsewhere) if not others else 1.0
    return named(others, none)


def _is_anything(scene: Scene, query: Query) -> Reply:
    elsewhere = [1 - scene.on(source, query) for source in scene.clip.sources]
    return yes_no(1 - math.prod(elsewhere))


def _is_anything_else(scene: Scene, query: Query) -> Reply:
    named = scene.find(query.sounds)[0] if scene.share_of(query.sounds[0]) >= scene.thresholds.heard else None
    others = [slot.perceived.confidence for slot in scene.clip.slots if slot is not named]
    return yes_no(1 - math.prod(1 - share for share in others), bool(scene.others(query.sounds[0])))


def _several(scene: Scene, query: Query) -> Reply:
    counts = _counts(scene, query)
    return yes_no(share_of(counts > 1), scene.clip.audible > 1)


def _count(scene: Scene, query: Query) -> Reply:
    if not query.sides:
        number = scene.clip.audible
    else:
        number = sum(scene.on(source, query) > 0.5 for source in scene.clip.sources)
    return Reply(str(number), share_of(_counts(scene, query) == number))


def _counts(scene: Scene, query: Query) -> np.ndarray:
    """(N,) how many sources there are on the sides of a query."""
    each = [scene.worlds.there(slot) & scene.is_on(slot, query) for slot in scene.clip.slots]
    return np.sum(each, axis=0)


def _is_heard(scene: Scene, query: Query) -> Reply:
    share = scene.share_of(query.sounds[0])
    return yes_no(share, share >= scene.thresholds.label)


def _describe(scene: Scene, query: Query) -> Reply:
    parts, share = [], 1.0
    for source in sorted(scene.clip.sources, key=lambda each: each.distance_m):
        place = _place(source)
        parts.append(f"{answer_labels(source.perceived.labels)}: {place}")
        share *= (place.confidence or 0.0) * label_share(source)
    return Reply(". ".join(parts), share)


# --- where one is ---


def _place(source: Heard) -> Reply:
    # The words that perceiving says, so that one clip has one region wherever it is told.
    words = source.perceived.sides or [max(axis, key=source.side) for axis in AXES.values()]
    share = math.prod(source.side(word) for word in words) * source.distance_share
    return Reply(f"{', '.join(words)}; {format_distance(source.distance_m)}", share)


def _where(scene: Scene, query: Query) -> Reply:
    return _place(scene.find(query.sounds)[0])


def _where_else(scene: Scene, query: Query) -> Reply:
    others = scene.others(query.sounds[0])
    return _place(others[0]) if others else Reply(NOT_HEARD, 1 - scene.clip.slots[-1].perceived.confidence)


def _side(scene: Scene, query: Query) -> Reply:
    (source,) = scene.find(query.sounds)
    first, second = query.axis.split()
    turned = scene.worlds.toward(source, first, query) > 0
    return either((first, second), share_of(turned) if query.turn_deg else source.side(first))


def _is_side(scene: Scene, query: Query) -> Reply:
    return yes_no(scene.on(scene.find(query.sounds)[0], query))


def _turn(scene: Scene, query: Query) -> Reply:
    return either(("left", "right"), scene.find(query.sounds)[0].side("left"))


def _turn_degrees(scene: Scene, query: Query) -> Reply:
    source, turn = _turn_deg(scene, query)
    share = share_of(np.abs((scene.worlds.azimuth_deg(source) - 90 - turn + 180) % 360 - 180) <= NEAR_DEG)
    return Reply(f"{round(abs(turn))} degrees {'left' if turn > 0 else 'right'}", share)


def _turn_deg(scene: Scene, query: Query) -> tuple[Heard, float]:
    """The source, and how far to turn to face it, left above 0."""
    (source,) = scene.find(query.sounds)
    return source, (azimuth_deg(source) - 90 + 180) % 360 - 180


def _clock(scene: Scene, query: Query) -> Reply:
    (source,) = scene.find(query.sounds)
    off = (scene.worlds.azimuth_deg(source) - azimuth_deg(source) + 180) % 360 - 180
    return Reply(format_clock(azimuth_deg(source)), share_of(np.abs(off) <= NEAR_DEG))


def _heading(scene: Scene, query: Query) -> Reply:
    (source,) = scene.find(query.sounds)
    sectors = np.round(scene.worlds.azimuth_deg(source) / 45).astype(int) % len(SECTORS)
    number = round(azimuth_deg(source) / 45) % len(SECTORS)
    return Reply(SECTORS[number], share_of(sectors == number))


def _distance(scene: Scene, query: Query) -> Reply:
    (source,) = scene.find(query.sounds)
    if not query.walk_m:
        return Reply(format_distance(source.distance_m), source.distance_share)
    return metres(scene.worlds.distance_m(source, query))


def _limit(scene: Scene, query: Query) -> Reply:
    assert query.limit_m is not None
    nearer = scene.worlds.distance_m(scene.find(query.sounds)[0]) < query.limit_m
    return yes_no(share_of(nearer if query.kind == "is within" else ~nearer))


def _gets_closer(scene: Scene, query: Query) -> Reply:
    (source,) = scene.find(query.sounds)
    return yes_no(share_of(scene.worlds.distance_m(source, query) < scene.worlds.distance_m(source)))


def _is_safe(scene: Scene, query: Query) -> Reply:
    """Whether nothing within 45° of that way is nearer than 2 m."""
    ahead_deg = {"right": 0.0, "front": 90.0, "left": 180.0, "behind": 270.0}[query.sides[0]]
    safe = np.ones(scene.worlds.count, dtype=bool)
    for source in scene.clip.sources:
        off_deg = np.abs((scene.worlds.azimuth_deg(source) - ahead_deg + 180) % 360 - 180)
        safe &= ~((off_deg < STRAIGHT_DEG) & (scene.worlds.distance_m(source) < SAFE_M))
    return yes_no(share_of(safe))


def _moves(scene: Scene, query: Query) -> Reply:
    return Reply(UNMOVED, None)


_OF_OTHERS = frozenset(("is heard", "what else", "is anything else", "where else"))  # the named one may be missing
_PROGRAMS: dict[str, Callable[[Scene, Query], Reply]] = {
    "what": _what,
    "what else": _what_else,
    "is anything": _is_anything,
    "is anything else": _is_anything_else,
    "is safe": _is_safe,
    "count": _count,
    "is several": _several,
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
    "compare": relations.compare,
    "which": relations.which,
    "difference": relations.difference,
    "apart": relations.apart,
    "angle": relations.angle,
    "same side": relations.same_side,
    "opposite sides": relations.same_side,
    "am between": relations.am_between,
    "is between": relations.is_between,
    "what between": relations.what_between,
    "is moving": _moves,
    "approach": _moves,
    "drift": _moves,
    "describe": _describe,
    "cannot be heard": lambda scene, query: Reply(CANNOT_BE_HEARD, 1.0),
    "not about sound": lambda scene, query: Reply(NOT_ABOUT_SOUND, 1.0),
}
