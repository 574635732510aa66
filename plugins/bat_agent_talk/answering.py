"""A query is answered from what is heard: for every kind a program, with the probability that what it says is true."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from bat_agent.hearing.perception import Thresholds
from bat_agent.hearing.posterior import Clip, Heard
from bat_agent.interfaces import Reply
from bat_agent.labels import labels
from bat_agent.questions.answers import AXES, NOT_HEARD, YES_NO, answer_labels, format_clock, format_distance
from bat_agent.questions.free.names import SOMEONE, VOICES
from bat_agent.questions.free.query import Query
from bat_agent.questions.free.seen import NOTHING
from bat_agent.questions.free.truth import CANNOT_BE_HEARD, SAFE_M, SECTORS, STRAIGHT_DEG
from bat_agent_talk.worlds import Statements, Worlds

NOT_ABOUT_SOUND = "not about sound"
"""The answer to what has nothing to do with sound."""
UNMOVED = "how things move cannot be heard in one clip"
"""The answer to what moves and where to: the heads speak of one place for the whole of a clip."""
OF_A_PAIR = 0.1
"""Two sounds cover each other, and one may go by another name: of each of several that are named so much less is
asked."""
UNKNOWN_SHARE = 0.05
"""How likely a sound is there that is no class: it would be heard as something else."""
_BETWEEN_DEG = 112.5  # the middle between what is clearly between two, 135, and what clearly is not, 90
_NEAR_DEG, _NEAR_M = 20.0, 0.5


class Scene:
    """What is heard in one clip, for queries."""

    def __init__(self, clip: Clip, thresholds: Thresholds) -> None:
        self.clip, self.thresholds = clip, thresholds
        self.worlds = Worlds(clip)

    def share_of(self, sound: str) -> float:
        """How likely a named sound is there: it is if it is anywhere in the clip or in one of the slots."""
        numbers = list(classes_of(sound))
        if not numbers:
            return UNKNOWN_SHARE
        probs = self.clip.classes()
        for slot in self.clip.slots:
            probs = np.maximum(probs, slot.perceived.confidence * slot.class_probs)
        return float(max(probs[numbers]))

    def find(self, sounds: Sequence[str]) -> list[Heard]:
        """The slot of each sound; different ones for different sounds, as far as there are enough."""
        known = [classes_of(sound) or tuple(range(len(labels()))) for sound in sounds]
        if len(known) <= 2:
            return self.clip.find(known)
        return [self.clip.find([numbers])[0] for numbers in known]

    def others(self, sound: str) -> list[Heard]:
        """The sources besides a named one."""
        named = self.find([sound])[0] if self.share_of(sound) >= max(self.thresholds.heard, 1e-9) else None
        return [source for source in self.clip.sources if source is not named]

    def on(self, slot: Heard, query: Query) -> float:
        """How likely a slot is on all sides of a query, after its turn or walk."""
        if not query.turn_deg and not query.walk_m:
            return math.prod(slot.side(side) for side in query.sides)
        return _share(self.is_on(slot, query))

    def is_on(self, slot: Heard, query: Query) -> Statements:
        """(N,) the same, world by world."""
        sides = [self.worlds.toward(slot, side, query) > 0 for side in query.sides]
        return np.all(sides, axis=0) if sides else np.ones(self.worlds.count, dtype=bool)


def answer(scene: Scene, query: Query) -> Reply:
    """The answer to a query, with its probability."""
    if query.sounds and query.kind not in _OF_OTHERS:
        shares = [scene.share_of(sound) for sound in query.sounds]
        unknown = not all(map(classes_of, query.sounds))
        least = scene.thresholds.heard * (1 if len(shares) == 1 else OF_A_PAIR)
        if unknown or min(shares) < least:
            return Reply(NOT_HEARD, 1 - min(shares))
    return _PROGRAMS[query.kind](scene, query)


def classes_of(sound: str) -> tuple[int, ...]:
    """The numbers of the classes that a sound of a query may be; none for a sound that is no class."""
    table = [name.lower() for name in labels()]
    if sound == SOMEONE:
        return tuple(number for number, name in enumerate(table) if name in VOICES)
    return (table.index(sound),) if sound in table else ()


# --- what and how many ---


def _what(scene: Scene, query: Query) -> Reply:
    sources = scene.clip.sources
    scene.clip.classes()
    if query.word:
        return _first(scene, query)
    shares = [scene.on(source, query) for source in sources]
    there = [source for source, share in zip(sources, shares, strict=True) if share > 0.5]
    return _named(there, math.prod(max(share, 1 - share) for share in shares))


def _first(scene: Scene, query: Query) -> Reply:
    """The nearest …; the loudest is the nearest, as the heads say nothing of how loud a sound is by itself."""
    sources = scene.clip.sources
    if query.word in ("highest", "lowest"):
        values = np.stack([scene.worlds.points(source)[:, 1] for source in sources])
    else:
        values = np.stack([scene.worlds.distance_m(source) for source in sources])
    best = values.argmax(axis=0) if query.word in ("farthest", "highest") else values.argmin(axis=0)
    shares = [_share(best == number) for number in range(len(sources))]
    number = int(np.argmax(shares))
    return _named([sources[number]], shares[number])


def _what_else(scene: Scene, query: Query) -> Reply:
    others = scene.others(query.sounds[0])
    elsewhere = [slot for slot in scene.clip.slots[scene.clip.audible :]]
    none = math.prod(1 - slot.perceived.confidence for slot in elsewhere) if not others else 1.0
    return _named(others, none)


def _is_anything(scene: Scene, query: Query) -> Reply:
    elsewhere = [1 - scene.on(source, query) for source in scene.clip.sources]
    return _yes_no(1 - math.prod(elsewhere))


def _is_anything_else(scene: Scene, query: Query) -> Reply:
    named = scene.find(query.sounds)[0] if scene.share_of(query.sounds[0]) >= scene.thresholds.heard else None
    others = [slot.perceived.confidence for slot in scene.clip.slots if slot is not named]
    return _yes_no(1 - math.prod(1 - share for share in others), bool(scene.others(query.sounds[0])))


def _several(scene: Scene, query: Query) -> Reply:
    counts = _counts(scene, query)
    return _yes_no(_share(counts > 1), scene.clip.audible > 1)


def _count(scene: Scene, query: Query) -> Reply:
    if not query.sides:
        number = scene.clip.audible
    else:
        number = sum(scene.on(source, query) > 0.5 for source in scene.clip.sources)
    return Reply(str(number), _share(_counts(scene, query) == number))


def _counts(scene: Scene, query: Query) -> np.ndarray:
    """(N,) how many sources there are on the sides of a query."""
    each = [scene.worlds.there(slot) & scene.is_on(slot, query) for slot in scene.clip.slots]
    return np.sum(each, axis=0)


def _is_heard(scene: Scene, query: Query) -> Reply:
    share = scene.share_of(query.sounds[0])
    return _yes_no(share, share >= scene.thresholds.label)


def _describe(scene: Scene, query: Query) -> Reply:
    parts, share = [], 1.0
    for source in sorted(scene.clip.sources, key=lambda each: each.distance_m):
        place = _place(source)
        parts.append(f"{answer_labels(source.perceived.labels)}: {place}")
        share *= (place.confidence or 0.0) * _label_share(source)
    return Reply(". ".join(parts), share)


def _named(sources: Sequence[Heard], share: float) -> Reply:
    """The labels of sources; ``share``: how likely it is that these are meant."""
    if not sources:
        return Reply(NOTHING, share)
    named = dict.fromkeys(label for source in sources for label in source.perceived.labels)
    return Reply(answer_labels(named), share * math.prod(_label_share(source) for source in sources))


def _label_share(source: Heard) -> float:
    """How likely the first label is right."""
    return float(max(source.class_probs))


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
    if query.turn_deg:
        share = _share(scene.worlds.toward(source, first, query) > 0)
    else:
        share = source.side(first)
    return _either((first, second), share)


def _is_side(scene: Scene, query: Query) -> Reply:
    return _yes_no(scene.on(scene.find(query.sounds)[0], query))


def _turn(scene: Scene, query: Query) -> Reply:
    return _either(("left", "right"), scene.find(query.sounds)[0].side("left"))


def _turn_degrees(scene: Scene, query: Query) -> Reply:
    source, turn = _turn_deg(scene, query)
    share = _share(np.abs((scene.worlds.azimuth_deg(source) - 90 - turn + 180) % 360 - 180) <= _NEAR_DEG)
    return Reply(f"{round(abs(turn))} degrees {'left' if turn > 0 else 'right'}", share)


def _turn_deg(scene: Scene, query: Query) -> tuple[Heard, float]:
    """The source, and how far to turn to face it, left above 0."""
    (source,) = scene.find(query.sounds)
    return source, (_azimuth_deg(source) - 90 + 180) % 360 - 180


def _azimuth_deg(source: Heard) -> float:
    source.head("azimuth")
    assert source.perceived.azimuth_deg is not None
    return source.perceived.azimuth_deg


def _clock(scene: Scene, query: Query) -> Reply:
    (source,) = scene.find(query.sounds)
    off = (scene.worlds.azimuth_deg(source) - _azimuth_deg(source) + 180) % 360 - 180
    return Reply(format_clock(_azimuth_deg(source)), _share(np.abs(off) <= _NEAR_DEG))


def _heading(scene: Scene, query: Query) -> Reply:
    (source,) = scene.find(query.sounds)
    sectors = np.round(scene.worlds.azimuth_deg(source) / 45).astype(int) % len(SECTORS)
    number = round(_azimuth_deg(source) / 45) % len(SECTORS)
    return Reply(SECTORS[number], _share(sectors == number))


def _distance(scene: Scene, query: Query) -> Reply:
    (source,) = scene.find(query.sounds)
    if not query.walk_m:
        return Reply(format_distance(source.distance_m), source.distance_share)
    return _metres(scene.worlds.distance_m(source, query))


def _limit(scene: Scene, query: Query) -> Reply:
    assert query.limit_m is not None
    nearer = scene.worlds.distance_m(scene.find(query.sounds)[0]) < query.limit_m
    return _yes_no(_share(nearer if query.kind == "is within" else ~nearer))


def _gets_closer(scene: Scene, query: Query) -> Reply:
    (source,) = scene.find(query.sounds)
    return _yes_no(_share(scene.worlds.distance_m(source, query) < scene.worlds.distance_m(source)))


def _is_safe(scene: Scene, query: Query) -> Reply:
    """Whether nothing within 45° of that way is nearer than 2 m."""
    ahead_deg = {"right": 0.0, "front": 90.0, "left": 180.0, "behind": 270.0}[query.sides[0]]
    safe = np.ones(scene.worlds.count, dtype=bool)
    for source in scene.clip.sources:
        off_deg = np.abs((scene.worlds.azimuth_deg(source) - ahead_deg + 180) % 360 - 180)
        safe &= ~((off_deg < STRAIGHT_DEG) & (scene.worlds.distance_m(source) < SAFE_M))
    return _yes_no(_share(safe))


def _moves(scene: Scene, query: Query) -> Reply:
    return Reply(UNMOVED, None)


# --- two of them, or three ---


def _ahead(scene: Scene, query: Query) -> float:
    """How likely the first is more so than the second."""
    a, b = scene.find(query.sounds)
    word = query.word
    if word in ("closer", "farther"):
        first, second = scene.worlds.distance_m(a), scene.worlds.distance_m(b)
        return _share(first < second if word == "closer" else first > second)
    axis, sign = {"left": (0, -1), "right": (0, 1), "higher": (1, 1), "lower": (1, -1)}[word]
    return _share(sign * (scene.worlds.points(a)[:, axis] - scene.worlds.points(b)[:, axis]) > 0)


def _compare(scene: Scene, query: Query) -> Reply:
    return _yes_no(_ahead(scene, query))


def _which(scene: Scene, query: Query) -> Reply:
    return _either((query.sounds[0], query.sounds[1]), _ahead(scene, query))


def _difference(scene: Scene, query: Query) -> Reply:
    """By how much the first is nearer, or that it is the other one."""
    a, b = scene.find(query.sounds)
    ahead_m = b.distance_m - a.distance_m
    off = np.abs(scene.worlds.distance_m(b) - scene.worlds.distance_m(a) - ahead_m)
    text = format_distance(abs(ahead_m))
    return Reply(text if ahead_m >= 0 else f"{query.sounds[1]} is nearer by {text}", _share(off <= _NEAR_M))


def _apart(scene: Scene, query: Query) -> Reply:
    a, b = scene.find(query.sounds)
    said_m = math.dist(a.point_m, b.point_m)
    apart_m = np.linalg.norm(scene.worlds.points(a) - scene.worlds.points(b), axis=1)
    return Reply(format_distance(said_m), 0.0 if a is b else _share(np.abs(apart_m - said_m) <= _NEAR_M))


def _angle(scene: Scene, query: Query) -> Reply:
    a, b = scene.find(query.sounds)
    said_deg = abs((_azimuth_deg(a) - _azimuth_deg(b) + 180) % 360 - 180)
    return Reply(f"{round(said_deg)} degrees", _share(np.abs(_angles(scene, a, b) - said_deg) <= _NEAR_DEG))


def _angles(scene: Scene, a: Heard, b: Heard) -> np.ndarray:
    apart: np.ndarray = (scene.worlds.azimuth_deg(a) - scene.worlds.azimuth_deg(b) + 180) % 360 - 180
    return np.abs(apart)


def _same_side(scene: Scene, query: Query) -> Reply:
    a, b = (source.side("left") for source in scene.find(query.sounds))
    same = a * b + (1 - a) * (1 - b)
    return _yes_no(same if query.kind == "same side" else 1 - same)


def _am_between(scene: Scene, query: Query) -> Reply:
    a, b = scene.find(query.sounds)
    return _yes_no(_share(_angles(scene, a, b) > _BETWEEN_DEG))


def _inside(scene: Scene, source: Heard, ends: Sequence[Heard]) -> float:
    """How likely a direction lies in the smaller of the two angles between the ends, seen from above."""
    wide = _angles(scene, *ends)
    parts = sum(_angles(scene, source, end) for end in ends)
    return _share(parts < wide + 1.0)


def _is_between(scene: Scene, query: Query) -> Reply:
    source, *ends = scene.find(query.sounds)
    return _yes_no(_inside(scene, source, ends))


def _what_between(scene: Scene, query: Query) -> Reply:
    ends = scene.find(query.sounds)
    others = [source for source in scene.clip.sources if not any(source is end for end in ends)]
    shares = [_inside(scene, source, ends) for source in others]
    there = [source for source, share in zip(others, shares, strict=True) if share > 0.5]
    return _named(there, math.prod(max(share, 1 - share) for share in shares))


# --- into words ---


def _share(true: Statements) -> float:
    return float(np.mean(true))


def _metres(found: np.ndarray) -> Reply:
    said_m = float(np.median(found))
    return Reply(format_distance(said_m), _share(np.abs(found - said_m) <= _NEAR_M / 2))


def _yes_no(share: float, yes: bool | None = None) -> Reply:
    """``Yes`` if the statement is likelier than not, or as the caller has decided."""
    yes = share > 0.5 if yes is None else yes
    return _weighed(YES_NO[not yes], {YES_NO[0]: share, YES_NO[1]: 1 - share})


def _either(words: tuple[str, str], first: float) -> Reply:
    if words[0] == words[1]:
        return Reply(words[0], 1.0)
    return _weighed(words[first <= 0.5], {words[0]: first, words[1]: 1 - first})


def _weighed(text: str, shares: dict[str, float]) -> Reply:
    return Reply(text, shares[text], sorted(shares.items(), key=lambda item: -item[1]))


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
    "compare": _compare,
    "which": _which,
    "difference": _difference,
    "apart": _apart,
    "angle": _angle,
    "same side": _same_side,
    "opposite sides": _same_side,
    "am between": _am_between,
    "is between": _is_between,
    "what between": _what_between,
    "is moving": _moves,
    "approach": _moves,
    "drift": _moves,
    "describe": _describe,
    "cannot be heard": lambda scene, query: Reply(CANNOT_BE_HEARD, 1.0),
    "not about sound": lambda scene, query: Reply(NOT_ABOUT_SOUND, 1.0),
}
