"""Whether the answer of a record beyond the paper is true: the part of :mod:`bat_agent.questions.verify` for its types.

As there, nothing is shared with what makes questions: the text is read as English and the truth computed from Cartesian
coordinates. Questions about two of several sources are judged as the paper's questions about two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

from bat_agent.questions.answers import HeardSource
from bat_agent.questions.families import unrelated_labels
from bat_agent.questions.records import QARecord, QuestionType
from bat_agent.questions.verify_choice import judge_choice
from bat_agent.questions.verify_paper import verify_paper
from bat_agent.questions.verify_reading import Reading
from bat_agent.questions.verify_truth import (
    coordinates,
    differing_distance,
    differing_labels,
    misfit,
    region_of,
    wrong_yes_no,
)

Judged = tuple[str, "str | None"]
"""(kind of question, what is wrong with its answer)."""
Judge = Callable[[QARecord, Reading, "tuple[HeardSource, ...]"], "Judged | None"]
"""What judges one type of question."""
Check = Callable[[QARecord, "tuple[HeardSource, ...]"], "str | None"]
"""(record, its sources) → what is wrong."""
_TIE = 1e-6  # degrees, metres or hours within which rounding may go either way
_OVER = re.compile(r"\b(higher|lower)\b")
_MOST = re.compile(r"\b(?:(closest|nearest)|farthest|furthest|most distant)\b")
_COUNTED = re.compile(r"\b(?:how many|number of|count|what number)\b")
_PLACE = re.compile(r"\b(?:where|direction|place|position|locate)\b")
_FAR = re.compile(r"\b(?:how (?:far|close|distant)|distance|how many meters)\b")
_FROM_RIGHT = re.compile(r"counter-?clockwise from (?:your )?right\b|\b90 (?:degrees )?(?:straight ahead|in front)\b")
_EAR_LEVEL = re.compile(r"\b(?:ear level|your ears|straight down)\b")
_WAYS = {
    "left": r"left", "right": r"right", "closer": r"closer|nearer|approach\w*", "away": r"away|reced\w*|farther",
    "up": r"rise|rising|up|upwards", "down": r"sink|sinking|down|downwards",
}  # fmt: skip
_WAY = re.compile("|".join(rf"(?P<{way}>\b(?:{words})\b)" for way, words in _WAYS.items()))
_OPPOSITES = ({"left", "right"}, {"closer", "away"}, {"up", "down"})


def _asked_about(reading: Reading, sources: tuple[HeardSource, ...]) -> HeardSource | None:
    """The one source that is named, or the only one there is."""
    if len(reading.called) == 1 and len(reading.names) == 1:
        return sources[next(iter(reading.called))]
    return sources[0] if len(sources) == 1 and not reading.names else None


def _angles_deg(source: HeardSource) -> tuple[float, float]:
    """Azimuth in [0, 360) and elevation, by the formulae of the frame."""
    x, y, z = coordinates(source)
    return math.degrees(math.atan2(-z, x)) % 360, math.degrees(math.atan2(y, math.hypot(x, z)))


def _wrong_number(answer: str, pattern: str, right: float, turn: float = math.inf) -> str | None:
    """What is wrong with a whole number that ought to be the nearest one; on a circle, if there is a ``turn``."""
    match = re.fullmatch(pattern, answer)
    if match is None:
        return f"the answer is {answer!r}, which is not of the form {pattern}"
    off = abs(int(match[1]) - right)
    off = min(off % turn, turn - off % turn) if math.isfinite(turn) else off
    return None if off <= 0.5 + _TIE else f"the answer says {answer}, but it is {right:.1f}"


# --- one function for each type; None for a question that cannot be read as one of the type ---


def _angle(record: QARecord, reading: Reading, sources: tuple[HeardSource, ...]) -> Judged | None:
    source, text = _asked_about(reading, sources), reading.blank
    if source is None:
        return None
    azimuth_deg, elevation_deg = _angles_deg(source)
    if "azimuth" in text and _FROM_RIGHT.search(text):
        return "azimuth", _wrong_number(record.answer, r"azimuth ([12]?\d?\d|3[0-5]\d) degrees", azimuth_deg, 360)
    if "azimuth" not in text and _EAR_LEVEL.search(text):
        return "elevation", _wrong_number(record.answer, r"elevation (-?[0-9]{1,2}) degrees", elevation_deg)
    return None


def _clock(record: QARecord, reading: Reading, sources: tuple[HeardSource, ...]) -> Judged | None:
    source = _asked_about(reading, sources)
    if source is None or "oclock" not in reading.blank:
        return None
    hours = (90 - _angles_deg(source)[0]) / 30 % 12
    return "clock", _wrong_number(record.answer, r"(1[0-2]|[1-9]) o'clock", hours, 12)


def _elevation(record: QARecord, reading: Reading, sources: tuple[HeardSource, ...]) -> Judged | None:
    words = _OVER.findall(reading.blank)
    if len(reading.called) != 2 or len(words) != 1 or not re.search(r"\b(?:elevation|angle)\b", reading.blank):
        return None
    first, second = (_angles_deg(sources[number])[1] for number in reading.called)
    names = [name.label for name in reading.called.values()]
    statement = f"the {names[0]} ({first:.0f}° up) is {{}} {words[0]} than the {names[1]} ({second:.0f}° up)"
    return "angle", wrong_yes_no(record.answer, first > second if words[0] == "higher" else first < second, statement)


def _count(record: QARecord, reading: Reading, sources: tuple[HeardSource, ...]) -> Judged | None:
    if not _COUNTED.search(reading.blank) or reading.called:
        return None
    right = str(len(sources))
    return "count", None if record.answer == right else f"the answer says {record.answer}, but there are {right}"


def _not_heard(record: QARecord, reading: Reading, sources: tuple[HeardSource, ...]) -> Judged | None:
    place, far = (pattern.search(reading.blank) for pattern in (_PLACE, _FAR))
    if len(reading.names) != 1 or not (place or far):
        return None
    kind, name, said = "where_if_heard" if place else "distance_if_heard", reading.names[0], record.answer
    if name.source is None:
        if said != "not heard":
            return kind, f"the answer says {said}, but no {name.label} is there"
        present = [label for source in sources for label in source.labels]
        known = unrelated_labels(present, (name.label,))
        return kind, None if known else f"the {name.label} may well be there, as one of its relatives is"
    source, match = sources[name.source], re.fullmatch(r"(?:(\w+), (\w+), (\w+); )?([\d.]+m)", said)
    if match is None or (match[1] is None) != (kind == "distance_if_heard"):
        return kind, f"the answer is {said!r}, but the {name.label} is there, and its place was asked for"
    if place and not all(word in true for word, true in zip(match.groups(), region_of(source), strict=False)):
        return kind, f"the answer says {said}, but the {name.label} is elsewhere"
    right = differing_distance(match[4], source.position.distance_m)
    return kind, right and f"the answer says {said}, but the {name.label} is {right} away"


def _motion(record: QARecord, reading: Reading, sources: tuple[HeardSource, ...]) -> Judged | None:
    source, said = sources[0], {str(match.lastgroup) for match in _WAY.finditer(reading.blank)}
    if source.moves_to is None:
        return None
    ways = next((pair for pair in _OPPOSITES if said and said <= pair), None)
    if ways is None or _asked_about(reading, sources) is None:
        return None
    begin, end = (coordinates(HeardSource(source.labels, place)) for place in (source.position, source.moves_to))
    near_m, far_m = source.position.distance_m, source.moves_to.distance_m
    growth = {
        "right": end[0] / (far_m or 1) - begin[0] / (near_m or 1),
        "away": far_m - near_m,
        "up": end[1] - begin[1],
    }
    (positive,) = ways & growth.keys()
    true = positive if growth[positive] > 0 else next(iter(ways - {positive}))
    if len(said) == 1:
        (way,) = said
        return "is_moving", wrong_yes_no(record.answer, way == true, f"it does {{}} go {way}")
    return "which_way", None if record.answer == true else f"the answer says {record.answer}, but it goes {true}"


def _choice(record: QARecord, reading: Reading, sources: tuple[HeardSource, ...]) -> Judged | None:
    return judge_choice(record.question, record.answer, sources)


# --- two of many, judged as two ---


def _as_two(record: QARecord, question_type: QuestionType, numbers: list[int]) -> str | None:
    """The verdict on the same question about these of the sources, and others until there are two."""
    assert record.geometry is not None
    numbers = [*numbers, *(number for number in range(len(record.geometry)) if number not in numbers)][:2]
    geometry = tuple(record.geometry[number] for number in numbers)
    fewer = {f"{part}_id{number}": None for part in ("audio", "reverb") for number in (3, 4)}
    pair = replace(record, question_type=question_type.value, geometry=geometry, **fewer)  # type: ignore[arg-type]
    return verify_paper(pair, geometry)


def _many(question_type: QuestionType) -> Judge:
    def judge(record: QARecord, reading: Reading, sources: tuple[HeardSource, ...]) -> Judged | None:
        wanted = 1 if question_type is QuestionType.MIXUP_SINGLE_DOA else 2
        if len(reading.called) != wanted:
            return None
        return "", _as_two(record, question_type, list(reading.called))

    return judge


def _many_classes(record: QARecord, reading: Reading, sources: tuple[HeardSource, ...]) -> Judged | None:
    if reading.called:
        return None
    if len(reading.sides) == 3:
        words = {side.word for side in reading.sides}
        there = [n for n, source in enumerate(sources) if all(words & true for true in region_of(source))]
        return "", _as_two(record, QuestionType.MIXUP_SINGLE_CLASSIFICATION, there[:1])
    found = list(_MOST.finditer(reading.blank))
    if len(found) != 1:
        return None
    choose = min if found[0][1] else max
    source = choose(sources, key=lambda one: one.position.distance_m)
    return "most", differing_labels(record.answer, source)


def _check(judge: Judge) -> Check:
    def check(record: QARecord, sources: tuple[HeardSource, ...]) -> str | None:
        if problem := misfit(sources):
            return problem
        # A clock is a sound as well.
        reading = Reading(re.sub(r"o['’]clock", "oclock", record.question, flags=re.IGNORECASE), sources)
        judged = judge(record, reading, sources)
        if judged is None:
            return f"the question cannot be read as {record.question_type}: {record.question!r}"
        kind, problem = judged
        if kind and record.kind is not None and record.kind.split(".")[0] != kind:
            return f"the record calls its question {record.kind}, but it reads as {kind}"
        return problem

    return check


CHECKS: dict[QuestionType, Check] = {
    QuestionType.MANY_CLASSIFICATION: _check(_many_classes),
    QuestionType.MANY_DOA: _check(_many(QuestionType.MIXUP_SINGLE_DOA)),
    QuestionType.MANY_DIRECTION: _check(_many(QuestionType.MIXUP_DIRECTION)),
    QuestionType.MANY_DISTANCE: _check(_many(QuestionType.MIXUP_DISTANCE_BOTH)),
    QuestionType.ANGLE: _check(_angle),
    QuestionType.CLOCK: _check(_clock),
    QuestionType.ELEVATION: _check(_elevation),
    QuestionType.COUNT: _check(_count),
    QuestionType.CHOICE: _check(_choice),
    QuestionType.NOT_HEARD: _check(_not_heard),
    QuestionType.MOTION: _check(_motion),
}
"""By type: ``None`` where the answer follows from geometry and question, else one sentence: what is wrong."""
