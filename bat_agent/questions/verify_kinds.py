"""Which kind of question a text is, by what it names and says: the middle of :mod:`bat_agent.questions.verify`.

A kind has the name that generated questions give it (``relation``, ``both`` …), but is found without their wordings.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bat_agent.questions.records import QuestionType
from bat_agent.questions.verify_reading import SIDES, Reading

_HEARING = re.compile(r"\b(?:hear\w*|sound\w*|audio|recording|clip|audible|noises?|listen\w*)\b")
_WHERE = re.compile(r"\b(?:where|wherefrom|whereabouts|locat\w+|position\w*|direction|place)\b")
_HOW_FAR = re.compile(r"\b(?:how (?:far|close|near|distant)|distance|how many met(?:er|re)s|apart|gap)\b")
_WHICH_SIDE = re.compile(r"\b(?:which|what) side\b")
_TOGETHER = re.compile(r"\b(?:both|each|as well|same|all)\b")
_NEGATED = re.compile(r"\b(?:not|never|without|except)\b|n['’]t\b")
_CHOICE = re.compile(r"\bor\b|\b(?:which|what|who)\b")
# Between the direction and the name of the other source in "left of the sound of the dog".
_OF = re.compile(r" ?(?:side)? ?(?:of|than|to|from)? ?(?:that of )?(?:(?:sound|noise) (?:source )?(?:of|from) )?")


def kind_of(question_type: QuestionType, reading: Reading, count: int) -> str | None:
    """The kind of a question of this type about ``count`` sources; ``None`` where it cannot be read as one."""
    return None if reading.has(_NEGATED) else _KINDS[question_type](reading, count)


def _detect_kind(reading: Reading, count: int) -> str | None:
    if reading.sides:  # a clip of two may be asked about by place under this type as well
        return _detect_at_kind(reading, count)
    plain = not (reading.called or reading.comparisons)
    return "detect" if plain and reading.has(_HEARING) and not reading.has(_HOW_FAR) else None


def _locate_kind(reading: Reading, count: int) -> str | None:
    named = len(reading.called) == 1 or (count == 1 and not reading.names)
    asked = named and reading.has(_WHERE) and not (reading.sides or reading.comparisons)
    return ("locate" if count == 1 else "locate_named") if asked else None


def _detect_at_kind(reading: Reading, count: int) -> str | None:
    whole = len(reading.sides) == 3 and len({SIDES[side.word][0] for side in reading.sides}) == 3
    return "detect_at" if whole and len(reading.metres) == 1 and not reading.called else None


def _direction_kind(reading: Reading, count: int) -> str | None:
    if len(reading.called) != 2 or reading.opposite or reading.comparisons:
        return None
    if len(reading.sides) == 2:
        return "pair"
    if len(reading.sides) != 1:
        return None
    if _relates(reading):
        return "relation"
    return "both" if reading.has(_TOGETHER) else None


def _relates(reading: Reading) -> bool:
    """Whether the last direction stands right before the name of the last source, as in "left of the dog"."""
    start, end = reading.sides[-1].end, list(reading.called.values())[-1].start
    return start < end and _OF.fullmatch(reading.blank[start:end]) is not None


def _closer_kind(reading: Reading, count: int) -> str | None:
    if len(reading.called) != 2 or len(reading.comparisons) != 1 or reading.sides or reading.has(_CHOICE):
        return None
    return "closer" if reading.comparisons[0] else "farther"


def _which_side_of_kind(reading: Reading, count: int) -> str | None:
    return "which_side_of" if len(reading.called) == 2 and reading.opposite and _relates(reading) else None


def _between_kind(reading: Reading, count: int) -> str | None:
    asked = len(reading.called) == 2 and not (reading.sides or reading.comparisons)
    return "between" if asked and reading.has(_HOW_FAR) else None


def _source_on_kind(reading: Reading, count: int) -> str | None:
    return "source_on" if len(reading.called) == len(reading.sides) == 1 and _relates(reading) else None


def _plain_kind(reading: Reading, count: int) -> str | None:
    if reading.comparisons:
        named = len(reading.called) == 2 and len(reading.comparisons) == 1 and reading.has(_CHOICE)
        return ("which_closer" if reading.comparisons[0] else "which_farther") if named else None
    kind = _plain_kind_of_one(reading)
    if kind == "presence":
        return kind
    known = len(reading.called) == 1 or (count == 1 and not reading.names)
    return kind if known else None


def _plain_kind_of_one(reading: Reading) -> str | None:
    if reading.sides:
        if reading.opposite:
            return "side"
        return "is_side" if len(reading.sides) == 1 and not reading.has(_HOW_FAR) else None
    if reading.has(_WHICH_SIDE):
        return "which_side"
    if reading.has(_HOW_FAR):
        return "distance"
    return "presence" if reading.names and not reading.has(_WHERE) else None


_KINDS: dict[QuestionType, Callable[[Reading, int], str | None]] = {
    QuestionType.CLASSIFICATION: _detect_kind,
    QuestionType.DOA: _locate_kind,
    QuestionType.MIXUP_SINGLE_CLASSIFICATION: _detect_at_kind,
    QuestionType.MIXUP_SINGLE_DOA: _locate_kind,
    QuestionType.MIXUP_DIRECTION: _direction_kind,
    QuestionType.MIXUP_DISTANCE_BOTH: _closer_kind,
    QuestionType.MIXUP_NONBINARY_DIRECTION: _which_side_of_kind,
    QuestionType.MIXUP_NONBINARY_DISTANCE: _between_kind,
    QuestionType.MIXUP_NONBINARY_SOURCE: _source_on_kind,
    QuestionType.PLAIN: _plain_kind,
}
READ = frozenset(_KINDS)
"""The types that are read here."""
