"""What can be asked beyond the paper: angles, hours, counts, choices, what is not there, motion, the nearest of many.

Builders are as in :mod:`bat_agent.questions.builders`, and so is the rule that a yes/no question begins with its
answer. Angles and hours are those of the frame drawn in :mod:`bat_agent.scene`: an azimuth is counted counter-clockwise
from the right, an hour clockwise with twelve in front. Motion is the difference between where a source ends and where
it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bat_agent.questions.answers import (
    APPROACH,
    AXES,
    COUNTS,
    LETTERS,
    NOT_HEARD,
    RISE,
    YES_NO,
    HeardSource,
    answer_labels,
    answer_location,
    format_azimuth,
    format_clock,
    format_distance,
    format_elevation,
)
from bat_agent.questions.beyond_wordings import GOING, MOST, NEARER, UNNAMED
from bat_agent.questions.builders import BUILDERS, Builder
from bat_agent.questions.dice import Dice, Draft
from bat_agent.questions.families import related
from bat_agent.questions.records import QuestionType
from bat_agent.scene import Position, unit_vector

LEFT_RIGHT = AXES["left_right"]
_REGIONS = tuple(f"{x}, {z}, {y}" for x in LEFT_RIGHT for z in AXES["front_behind"] for y in AXES["above_below"])
_OTHER = {p: q for pair in (LEFT_RIGHT, APPROACH, RISE) for p, q in (pair, pair[::-1])}
_PRESENCE = ("heard", NOT_HEARD)
_STEPS_M = (1.0, 1.5, 2.0)  # between one distance offered and the next


# --- directions in degrees and hours ---


def _turned(dice: Dice) -> int | None:
    """One of the sources that are not overhead, nor underfoot."""
    limit = dice.margins.overhead_deg
    fit = [number for number, source in enumerate(dice.sources) if abs(source.position.elevation_deg) <= limit]
    return dice.pick(fit) if fit else None


def _azimuth(dice: Dice) -> Draft | None:
    index = _turned(dice)
    if index is None:
        return None
    answer = format_azimuth(dice.sources[index].position.azimuth_deg)
    return Draft(answer, {"a": dice.name(index, UNNAMED)}, "azimuth")


def _elevation(dice: Dice) -> Draft:
    index = dice.index()
    answer = format_elevation(dice.sources[index].position.elevation_deg)
    return Draft(answer, {"a": dice.name(index, UNNAMED)}, "elevation")


def _clock(dice: Dice) -> Draft | None:
    index = _turned(dice)
    if index is None:
        return None
    answer = format_clock(dice.sources[index].position.azimuth_deg)
    return Draft(answer, {"a": dice.name(index, UNNAMED)}, "clock")


def _higher(dice: Dice) -> Draft | None:
    high, low = dice.order()
    difference_deg = dice.sources[high].position.elevation_deg - dice.sources[low].position.elevation_deg
    if abs(difference_deg) < dice.margins.higher_deg:
        return None
    if difference_deg < 0:
        high, low = low, high
    word, wanted = "higher" if dice.coin() else "lower", dice.coin()
    a, b = (high, low) if wanted == (word == "higher") else (low, high)
    slots = {"a": dice.name(a), "b": dice.name(b), "higher": word}
    return Draft(YES_NO[not wanted], slots, "angle", word, word, YES_NO)


# --- how many, and which of many ---


def _count(dice: Dice) -> Draft:
    return Draft(COUNTS[len(dice.sources) - 1], {}, "count", choices=COUNTS)


def _most(dice: Dice) -> Draft | None:
    """The nearest or the farthest of all."""
    word = "closest" if dice.coin() else "farthest"
    ordered = sorted(dice.sources, key=lambda source: source.position.distance_m, reverse=word == "farthest")
    first, second = ordered[:2]
    if abs(first.position.distance_m - second.position.distance_m) < dice.margins.closer_m:
        return None
    slots = {"most": MOST[word][dice.manner(MOST[word])]}
    return Draft(answer_labels(first.labels), slots, "most", word)


# --- one of several answers, by its letter ---


def _offered(dice: Dice, right: str, others: Sequence[str]) -> tuple[str, str, tuple[str, ...]]:
    """(letter of the right answer, all answers as text, their letters); every place is as likely."""
    place, rest = dice.below(len(others) + 1), list(others)
    for number in range(len(rest) - 1, 0, -1):
        other = dice.below(number + 1)
        rest[number], rest[other] = rest[other], rest[number]
    texts = [*rest[:place], right, *rest[place:]]
    text = "; ".join(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False))
    return LETTERS[place], text, LETTERS[: len(texts)]


def _choice_region(dice: Dice) -> Draft:
    index = dice.index()
    right = dice.sources[index].position.region
    others: list[str] = []
    while len(others) < len(LETTERS) - 1:
        if (other := dice.pick(_REGIONS)) != right and other not in others:
            others.append(other)
    letter, text, letters = _offered(dice, right, others)
    slots, words = {"a": dice.name(index, UNNAMED), "options": text}, AXES["above_below"]
    # Most sources lie below the ears, and nobody should find the right one by that.
    return Draft(letter, slots, "choice_region", choices=letters, level=(right.split(", ")[2], words))


def _choice_class(dice: Dice) -> Draft | None:
    index = dice.index()
    source = dice.sources[index]
    right = dice.pick(source.labels).lower()
    wording = "choice_class" if len(dice.sources) == 1 else "choice_class_at"
    others = _elsewhere(dice, index)
    debts = [(right, len(LETTERS) - 1 - len(others))]
    while len(others) < len(LETTERS) - 1:
        other = dice.stranger(wording, others)
        if other is None:
            return None
        others.append(other)
        debts.append((other, -1))
    letter, text, letters = _offered(dice, right, others)
    slots = {"region": source.position.region, "options": text}
    return Draft(letter, slots, wording, choices=letters, debts=tuple(debts))


def _elsewhere(dice: Dice, index: int) -> list[str]:
    """Now and then what another source is called, so that hearing it is not enough; no relative of the right one."""
    if len(dice.sources) == 1 or dice.coin():
        return []
    others = [source for number, source in enumerate(dice.sources) if number != index]
    label = dice.pick(dice.pick(others).labels)
    return [] if any(related(label, own) for own in dice.sources[index].labels) else [label.lower()]


def _choice_distance(dice: Dice) -> Draft | None:
    """Four distances at even steps."""
    index = dice.index()
    right_m = round(2 * dice.sources[index].position.distance_m) / 2
    step_m, nearer = max(dice.pick(_STEPS_M), dice.margins.options_m), dice.below(len(LETTERS))
    # Given up, and not begun with another number of nearer ones: else the least would mostly be the right one. As most
    # sources are near, it would be still, hence the level.
    if right_m < nearer * step_m + 0.5:
        return None
    texts = [format_distance(right_m + (number - nearer) * step_m) for number in range(len(LETTERS))]
    letter, text, letters = _offered(dice, texts[nearer], texts[:nearer] + texts[nearer + 1 :])
    slots, level = {"a": dice.name(index, UNNAMED), "options": text}, (LETTERS[nearer], LETTERS)
    return Draft(letter, slots, "choice_distance", choices=letters, level=level)


def _choice_closer(dice: Dice) -> Draft | None:
    if len(dice.sources) == 1 or (order := dice.nearer_first(*dice.order())) is None:
        return None
    word = "closer" if dice.coin() else "farther"
    right, other = order if word == "closer" else order[::-1]
    names = [f"the {dice.pick(dice.sources[number].labels).lower()}" for number in (right, other)]
    letter, text, letters = _offered(dice, names[0], names[1:])
    slots = {"closer": NEARER[word][dice.manner(NEARER[word])], "options": text}
    return Draft(letter, slots, "choice_closer", word, word, letters)


# --- what may not be there ---


def _if_heard(dice: Dice, wording: str, say: Callable[[Position], str]) -> Draft | None:
    absent = dice.stranger(wording)
    if absent is None:  # "not heard" is impossible, so nothing else must be asked either
        return None
    source = dice.sources[dice.index()]
    heard = dice.coin()
    label = dice.pick(source.labels).lower() if heard else absent
    # Wordings, names and kind are the same whether it is heard or not, so that the question gives nothing away.
    level, debts = (_PRESENCE[not heard], _PRESENCE), ((label, 1 if heard else -1),)
    answer = say(source.position) if heard else NOT_HEARD
    return Draft(answer, {"a": dice.named(label)}, wording, key=label, level=level, debts=debts)


def _where_if_heard(dice: Dice) -> Draft | None:
    return _if_heard(dice, "where_if_heard", answer_location)


def _distance_if_heard(dice: Dice) -> Draft | None:
    return _if_heard(dice, "distance_if_heard", lambda position: format_distance(position.distance_m))


# --- what moves ---


def _moves(dice: Dice) -> dict[str, str]:
    """Kind of motion → word, for the ways in which the only source clearly moves."""
    source: HeardSource = dice.sources[0]
    if len(dice.sources) > 1 or source.moves_to is None:
        return {}
    begin, end = source.position, source.moves_to
    x, y, _ = unit_vector(begin.azimuth_deg, begin.elevation_deg)
    x_end, y_end, _ = unit_vector(end.azimuth_deg, end.elevation_deg)
    changes = (
        ("moves_side", x - x_end, dice.margins.moves_side, LEFT_RIGHT),
        ("moves_closer", begin.distance_m - end.distance_m, dice.margins.moves_closer_m, APPROACH),
        ("moves_up", y_end * end.distance_m - y * begin.distance_m, dice.margins.moves_up_m, RISE),
    )
    return {kind: words[change < 0] for kind, change, least, words in changes if abs(change) >= least}


def _which_way(dice: Dice) -> Draft | None:
    moves = _moves(dice)
    if not moves:
        return None
    kind = dice.pick(list(moves))
    word = moves[kind]
    words = next(pair for pair in (LEFT_RIGHT, APPROACH, RISE) if word in pair)
    manner = dice.manner(GOING[word])  # the same way of speaking for both
    p, q = (GOING[w][manner] for w in (words if dice.coin() else words[::-1]))
    slots = {"a": dice.name(0, UNNAMED), "goes": p[0], "going": p[1], "goes2": q[0], "going2": q[1]}
    return Draft(word, slots, "which_way", kind, kind, words)


def _is_moving(dice: Dice) -> Draft | None:
    moves = _moves(dice)
    if not moves:
        return None
    kind, wanted = dice.pick(list(moves)), dice.coin()
    word = moves[kind] if wanted else _OTHER[moves[kind]]
    goes, going = GOING[word][dice.manner(GOING[word])]
    slots = {"a": dice.name(0, UNNAMED), "goes": goes, "going": going}
    return Draft(YES_NO[not wanted], slots, "is_moving", kind, word, YES_NO)


BEYOND: dict[QuestionType, tuple[Builder, ...]] = {
    QuestionType.MANY_CLASSIFICATION: (*BUILDERS[QuestionType.MIXUP_SINGLE_CLASSIFICATION], _most),
    # Builders of the paper name as many sources as they need, whatever there are besides.
    QuestionType.MANY_DOA: BUILDERS[QuestionType.MIXUP_SINGLE_DOA],
    QuestionType.MANY_DIRECTION: BUILDERS[QuestionType.MIXUP_DIRECTION],
    QuestionType.MANY_DISTANCE: BUILDERS[QuestionType.MIXUP_DISTANCE_BOTH],
    QuestionType.ANGLE: (_azimuth, _elevation),
    QuestionType.CLOCK: (_clock,),
    QuestionType.ELEVATION: (_higher,),
    QuestionType.COUNT: (_count,),
    QuestionType.CHOICE: (_choice_region, _choice_class, _choice_distance, _choice_closer),
    QuestionType.NOT_HEARD: (_where_if_heard, _distance_if_heard),
    QuestionType.MOTION: (_which_way, _is_moving),
}
"""Builders of the types that the paper does not have."""
