"""What can be asked of what sounds where: one small function for each kind of question.

A yes/no question begins with its answer: a coin decides, then a question is built that has this answer. So the question
alone is worth no more than the coin. Two relations are meant in the listener's frame and by position, in metres:

* A is left of B if A's coordinate x (to the right) is smaller; in front if −z is larger; above if y is larger.
* A is closer than B if its straight-line distance to the listener is smaller.

Where a difference is too small to hear, nothing is asked about it (:class:`Margins`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bat_agent.questions.answers import AXES, YES_NO, HeardSource, answer_labels, answer_location, format_distance
from bat_agent.questions.families import unrelated_labels
from bat_agent.questions.grammar import FROM, OF, UNNAMED, WHERE, named, thing
from bat_agent.questions.records import QuestionType
from bat_agent.scene import unit_vector

_AXIS_OF = {word: axis for axis, words in AXES.items() for word in words}
_OPPOSITE = {p: q for pair in AXES.values() for p, q in (pair, pair[::-1])}


@dataclass(frozen=True)
class Margins:
    """What counts as clear enough to ask about."""

    side: float = 0.1
    """Least direction cosine along an axis for a question about one source's side of it (0.1 is 6° off the border)."""
    relation_m: float = 0.3
    """Least difference along an axis between two sources, metres."""
    closer_m: float = 0.5
    """Least difference of distance between two sources, metres."""


@dataclass(frozen=True)
class Draft:
    """A question before it is worded."""

    answer: str
    slots: dict[str, str]
    wording: str
    """Key of the wordings."""
    detail: str = ""
    """What else the kind is called by."""
    key: str = ""
    """The words of the question, but for its label, that may give the answer away; for :class:`Balance`."""
    choices: tuple[str, ...] | None = None


@dataclass
class Dice:
    """The sources of one clip, and the dice thrown over them."""

    sources: Sequence[HeardSource]
    rng: np.random.Generator
    margins: Margins
    known_labels: Sequence[str] | None
    simple: bool = False
    """Everything is said in the first of its ways."""

    @cached_property
    def points_m(self) -> list[tuple[float, ...]]:
        """Per source: how far left, in front and above it is, metres (the order of AXES; first word positive)."""
        points: list[tuple[float, ...]] = []
        for source in self.sources:
            x, y, z = (
                source.position.distance_m * u
                for u in unit_vector(source.position.azimuth_deg, source.position.elevation_deg)
            )
            points.append((-x, -z, y))
        return points

    @cached_property
    def absent(self) -> list[str]:
        """Classes that are surely not there."""
        present = [label for source in self.sources for label in source.labels]
        return unrelated_labels(present, self.known_labels)

    def coin(self) -> bool:
        """True or false, as likely."""
        return bool(self.rng.integers(2))

    def pick(self, options: Sequence[str]) -> str:
        """One of the options, all as likely."""
        return options[int(self.rng.integers(len(options)))]

    def manner(self, options: Sequence[str]) -> int:
        """Number of one of several ways to say the same."""
        return 0 if self.simple else int(self.rng.integers(len(options)))

    def index(self) -> int:
        """One of the sources."""
        return int(self.rng.integers(len(self.sources)))

    def order(self) -> tuple[int, int]:
        """Which of two sources is named first."""
        return (0, 1) if self.coin() else (1, 0)

    def clear_sides(self, index: int) -> dict[str, str]:
        """Axis → word, for the axes on which the source is clearly to one side."""
        sides = {}
        for (axis, words), value in zip(AXES.items(), self.points_m[index], strict=True):
            if abs(value) >= self.margins.side * self.sources[index].position.distance_m:
                sides[axis] = words[0] if value > 0 else words[1]
        return sides

    def name(self, index: int) -> str:
        """A noun for a source: by one of its labels, or, if there is no other, simply "the sound"."""
        if len(self.sources) == 1 and self.rng.random() < 0.6:
            return UNNAMED[self.manner(UNNAMED)]
        label = self.pick(self.sources[index].labels)
        return f"the {label.lower()}" if self.simple else named(label, self.rng)

    def direction_slots(self, *words: str) -> dict[str, str]:
        """The ways to say one direction, as slots ``d``, ``where``, ``from_``; a second one as ``d2`` ….

        Both are said in the same manner ("on your left … on your right").
        """
        where, from_ = self.manner(WHERE[words[0]]), self.manner(FROM[words[0]])
        slots: dict[str, str] = {}
        for word, suffix in zip(words, ("", "2"), strict=False):
            slots |= {
                f"d{suffix}": word,
                f"where{suffix}": WHERE[word][where],
                f"from{suffix or '_'}": FROM[word][from_],
            }
        return slots

    def relation(self) -> tuple[int, int, str] | None:
        """(A, B, word) with A clearly on that side of B; order and axis by dice."""
        a, b = self.order()
        clear = [
            (axis, p - q)
            for axis, p, q in zip(AXES, self.points_m[a], self.points_m[b], strict=True)
            if abs(p - q) >= self.margins.relation_m
        ]
        if not clear:
            return None
        axis, difference = clear[self.rng.integers(len(clear))]
        return a, b, AXES[axis][0 if difference > 0 else 1]


# --- what can be asked; each builder returns None where the scene does not admit the question ---


def _detect(dice: Dice) -> Draft:
    return Draft(answer_labels(dice.sources[0].labels), {}, "detect")


def _locate(dice: Dice) -> Draft:
    index = dice.index()
    wording = "locate" if len(dice.sources) == 1 else "locate_named"
    return Draft(answer_location(dice.sources[index].position), {"a": dice.name(index)}, wording)


def _detect_at(dice: Dice) -> Draft:
    source = dice.sources[dice.index()]
    metres = format_distance(source.position.distance_m)[:-1]
    slots = {"region": source.position.region, "distance": f"{metres} meter{'' if metres == '1' else 's'}"}
    return Draft(answer_labels(source.labels), slots, "detect_at")


def _both(dice: Dice) -> Draft | None:
    first, second = dice.clear_sides(0), dice.clear_sides(1)
    axes = [axis for axis in AXES if axis in first and axis in second]
    shared = [axis for axis in axes if first[axis] == second[axis]]
    if not shared:  # "yes" is impossible, so "no" must not be asked either
        return None
    wanted = dice.coin()
    axis = dice.pick(shared if wanted else axes)
    word = first[axis]
    if not wanted:
        word = _OPPOSITE[word] if axis in shared else dice.pick(AXES[axis])
    a, b = dice.order()
    slots = {"a": dice.name(a), "b": dice.name(b), **dice.direction_slots(word)}
    return Draft(YES_NO[not wanted], slots, "both", key=word, choices=YES_NO)


def _pair(dice: Dice) -> Draft | None:
    a, b = dice.order()
    sides_a, sides_b = dice.clear_sides(a), dice.clear_sides(b)
    # Exchanging the two words must make the sentence false: then it is as likely with either answer.
    pairs = [
        (p, q)
        for p in sides_a.values()
        for q in sides_b.values()
        if p != q and (sides_a.get(_AXIS_OF[q]) == _OPPOSITE[q] or sides_b.get(_AXIS_OF[p]) == _OPPOSITE[p])
    ]
    if not pairs:
        return None
    first, second = pairs[dice.rng.integers(len(pairs))]
    wanted = dice.coin()
    if not wanted:
        first, second = second, first
    slots = {"a": dice.name(a), "b": dice.name(b)}
    slots |= dice.direction_slots(first, second)
    return Draft(YES_NO[not wanted], slots, "pair", key=f"{first} {second}", choices=YES_NO)


def _relation(dice: Dice) -> Draft | None:
    found = dice.relation()
    if found is None:
        return None
    a, b, word = found
    wanted = dice.coin()
    word = word if wanted else _OPPOSITE[word]
    slots = {"a": dice.name(a), "b": dice.name(b), "d": word, "of": OF[word][dice.manner(OF[word])]}
    return Draft(YES_NO[not wanted], slots, "relation", _AXIS_OF[word], word, YES_NO)


def _nearer_first(dice: Dice) -> tuple[int, int] | None:
    near, far = (source.position.distance_m for source in dice.sources)
    if abs(near - far) < dice.margins.closer_m:
        return None
    return (0, 1) if near < far else (1, 0)


def _closer(dice: Dice) -> Draft | None:
    order = _nearer_first(dice)
    if order is None:
        return None
    wording, wanted = ("closer", "farther")[dice.rng.integers(2)], dice.coin()
    a, b = order if wanted == (wording == "closer") else order[::-1]
    return Draft(YES_NO[not wanted], {"a": dice.name(a), "b": dice.name(b)}, wording, choices=YES_NO)


def _which_side_of(dice: Dice) -> Draft | None:
    found = dice.relation()
    if found is None:
        return None
    a, b, word = found
    words = AXES[_AXIS_OF[word]]
    manner = dice.manner(OF[word])  # the same way of speaking for both directions
    p, q = (OF[w][manner] for w in (words if dice.coin() else words[::-1]))
    if words == AXES["left_right"]:  # "to the left or to the right of", "to the left or right of"
        p = p.removesuffix(" of")
        q = q.removeprefix("to the ") if dice.coin() else q
    slots = {"a": dice.name(a), "b": dice.name(b), "p": p, "q": q}
    return Draft(word, slots, "which_side_of", _AXIS_OF[word], choices=words)


def _between(dice: Dice) -> Draft:
    a, b = dice.order()
    distance_m = math.dist(dice.points_m[a], dice.points_m[b])
    return Draft(format_distance(distance_m), {"a": dice.name(a), "b": dice.name(b)}, "between")


def _source_on(dice: Dice) -> Draft | None:
    found = dice.relation()
    if found is None:
        return None
    a, b, word = found
    slots = {"b": dice.name(b), "d": word, "of": OF[word][dice.manner(OF[word])]}
    return Draft(answer_labels(dice.sources[a].labels), slots, "source_on", _AXIS_OF[word])


def _side(dice: Dice) -> Draft | None:
    index = dice.index()
    sides = dice.clear_sides(index)
    if not sides:
        return None
    axis = dice.pick(list(sides))
    words, answer, slots = AXES[axis], sides[axis], {"a": dice.name(index)}
    if axis == "left_right" and dice.coin():
        return Draft(answer, slots, "which_side", axis, axis, words)
    first, second = words if dice.coin() else words[::-1]
    slots |= dice.direction_slots(first, second)
    return Draft(answer, slots, "side", axis, axis, words)


def _is_side(dice: Dice) -> Draft | None:
    index = dice.index()
    sides = dice.clear_sides(index)
    if not sides:
        return None
    axis, wanted = dice.pick(list(sides)), dice.coin()
    word = sides[axis] if wanted else _OPPOSITE[sides[axis]]
    slots = {"a": dice.name(index), **dice.direction_slots(word)}
    return Draft(YES_NO[not wanted], slots, "is_side", axis, word, YES_NO)


def _distance(dice: Dice) -> Draft:
    index = dice.index()
    return Draft(format_distance(dice.sources[index].position.distance_m), {"a": dice.name(index)}, "distance")


def _presence(dice: Dice) -> Draft | None:
    if not dice.absent:  # "no" is impossible, so "yes" must not be asked either
        return None
    wanted = dice.coin()
    label = dice.pick(dice.sources[dice.index()].labels if wanted else dice.absent)
    slots = {"thing": f"the {label.lower()}" if dice.simple else thing(label, dice.rng)}
    return Draft(YES_NO[not wanted], slots, "presence", key=label.lower(), choices=YES_NO)


def _which_closer(dice: Dice) -> Draft | None:
    order = _nearer_first(dice)
    if order is None:
        return None
    labels = [dice.pick(source.labels).lower() for source in dice.sources]
    nearest = dice.coin()
    a, b = dice.order()
    slots = {"a": f"the {labels[a]}", "b": f"the {labels[b]}"}
    answer = labels[order[0] if nearest else order[1]]
    return Draft(answer, slots, "which_closer" if nearest else "which_farther", choices=(labels[a], labels[b]))


Builder = Callable[[Dice], "Draft | None"]
PLAIN: dict[int, list[Builder]] = {
    1: [_side, _side, _is_side, _distance, _presence],
    2: [_side, _is_side, _distance, _presence, _which_closer],
}
BUILDERS: dict[QuestionType, list[Builder]] = {
    QuestionType.CLASSIFICATION: [_detect],
    QuestionType.DOA: [_locate],
    QuestionType.MIXUP_SINGLE_CLASSIFICATION: [_detect_at],
    QuestionType.MIXUP_SINGLE_DOA: [_locate],
    QuestionType.MIXUP_DIRECTION: [_both, _pair, _relation],
    QuestionType.MIXUP_DISTANCE_BOTH: [_closer],
    QuestionType.MIXUP_NONBINARY_DIRECTION: [_which_side_of],
    QuestionType.MIXUP_NONBINARY_DISTANCE: [_between],
    QuestionType.MIXUP_NONBINARY_SOURCE: [_source_on],
}
