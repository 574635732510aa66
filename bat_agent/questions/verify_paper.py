"""Whether the answer of a record of the paper's types is true: a part of :mod:`bat_agent.questions.verify`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from bat_agent.questions.answers import HeardSource
from bat_agent.questions.records import QARecord
from bat_agent.questions.verify_kinds import kind_of
from bat_agent.questions.verify_reading import AXIS_NAMES, SIDES, Reading, norm_label
from bat_agent.questions.verify_truth import (
    AXES,
    coordinates,
    differing_distance,
    differing_labels,
    misfit,
    reach,
    region_of,
    spoken,
    wrong_choice,
    wrong_yes_no,
)

_AT = {word: word for word in SIDES} | {"front": "in front"}
_OF = {
    "left": "left of",
    "right": "right of",
    "front": "in front of",
    "behind": "behind",
    "above": "above",
    "below": "below",
}
_LOCATION = re.compile(r"(left|right), (front|behind), (above|below); (\d+(?:\.\d+)?m)")


def verify_paper(record: QARecord, sources: Sequence[HeardSource]) -> str | None:
    """As :func:`~bat_agent.questions.verify.verify`, of a record of one of the paper's types with these sources."""
    if problem := misfit(sources):
        return problem
    reading = Reading(record.question, sources)
    kind = kind_of(record.type, reading, len(sources))
    if kind is None:
        return _unread(reading, record)
    return _other_kind(kind, reading, record) or _TRUTHS[kind](_Clip(reading, sources), record.answer)


def _unread(reading: Reading, record: QARecord) -> str:
    strangers = [name.label for name in reading.names if name.source is None]
    also = f"; it names {strangers[0]}, which is not there" if strangers else ""
    return f"the question cannot be read as {record.question_type}: {record.question!r}{also}"


def _other_kind(kind: str, reading: Reading, record: QARecord) -> str | None:
    """A record may say what kind of question it is, and along which axis; both must be what the text says."""
    if record.kind is None:
        return None
    said, _, axis = record.kind.partition(".")
    axes = {AXIS_NAMES[SIDES[side.word][0]] for side in reading.sides} or {AXIS_NAMES[0]}
    if said == kind and (not axis or axis in axes):
        return None
    return f"the record calls its question {record.kind}, but it reads as {'.'.join((kind, *sorted(axes)))}"


class _Clip:
    """What a question is about: its sources, numbered as it names them."""

    def __init__(self, reading: Reading, sources: Sequence[HeardSource]) -> None:
        self.reading = reading
        order = [*reading.called, *(number for number in range(len(sources)) if number not in reading.called)]
        self.sources = [sources[number] for number in order]
        """Those that are named, in the order of naming, then the others."""
        labels = [reading.called[number].label for number in reading.called]
        self.names = [*labels, *(source.labels[0].lower() for source in self.sources[len(labels) :])]
        self.points = [coordinates(source) for source in self.sources]
        self.distances_m = [source.position.distance_m for source in self.sources]
        self.words = [side.word for side in reading.sides]

    def at(self, number: int, word: str) -> bool:
        return reach(self.points[number], word) > 0

    def beyond(self, word: str) -> bool:
        """Whether the first source is on a side of the second."""
        return reach(self.points[0], word) > reach(self.points[1], word)

    def told(self, number: int, word: str) -> str:
        """A source with the coordinate that decides, e.g. ``the dog (x −1.20 m)``."""
        axis = SIDES[word][0]
        return f"the {self.names[number]} ({'xyz'[axis]} {self.points[number][axis]:.2f} m)"

    def far(self, number: int) -> str:
        return f"the {self.names[number]} ({self.distances_m[number]:.2f} m)"


def _detect(clip: _Clip, answer: str) -> str | None:
    return differing_labels(answer, *clip.sources)


def _locate(clip: _Clip, answer: str) -> str | None:
    match = _LOCATION.fullmatch(answer)
    if match is None:
        return f"the answer is {answer!r}, expected a location such as 'left, front, above; 2.5m'"
    region = region_of(clip.sources[0])
    if not all(word in words for word, words in zip(match.groups(), region, strict=False)):
        return f"the answer says {answer}, but the {clip.names[0]} is {spoken(region)}"
    return _distance(clip, match[4])


def _distance(clip: _Clip, answer: str) -> str | None:
    right = differing_distance(answer, clip.distances_m[0])
    return right and f"the answer says {answer}, but {clip.far(0)} is {right} away"


def _detect_at(clip: _Clip, answer: str) -> str | None:
    place, said = ", ".join(clip.words), f"{clip.reading.metres[0]:g}m"
    for source, distance_m in zip(clip.sources, clip.distances_m, strict=True):
        if all(words & set(clip.words) for words in region_of(source)):
            right = differing_distance(said, distance_m)
            return f"what sounds {place} is {right} away, not {said}" if right else differing_labels(answer, source)
    return f"nothing sounds {place}"


def _all_at(clip: _Clip, answer: str) -> str | None:
    """Each source that is named at its own direction, or all at the only one."""
    count = max(len(clip.reading.called), 1)
    pairs = [(number, clip.words[-1] if len(clip.words) == 1 else clip.words[number]) for number in range(count)]
    wrong = [pair for pair in pairs if not clip.at(*pair)]
    number, word = (wrong or pairs)[0]
    return wrong_yes_no(answer, not wrong, f"{clip.told(number, word)} is {{}} {_AT[word]}")


def _relation(clip: _Clip, answer: str) -> str | None:
    (word,) = clip.words
    return wrong_yes_no(answer, clip.beyond(word), f"{clip.told(0, word)} is {{}} {_OF[word]} {clip.told(1, word)}")


def _closer(clip: _Clip, answer: str) -> str | None:
    (closer,) = clip.reading.comparisons
    true = (clip.distances_m[0] < clip.distances_m[1]) == closer
    return wrong_yes_no(answer, true, f"{clip.far(0)} is {{}} {'closer' if closer else 'farther'} than {clip.far(1)}")


def _which_side_of(clip: _Clip, answer: str) -> str | None:
    right, wrong = clip.words if clip.beyond(clip.words[0]) else clip.words[::-1]
    return wrong_choice(answer, right, wrong, f"{clip.told(0, right)} is {_OF[right]} {clip.told(1, right)}")


def _between(clip: _Clip, answer: str) -> str | None:
    apart_m = math.dist(*clip.points)
    right = differing_distance(answer, apart_m)
    return right and f"the answer says {answer}, but the {' and the '.join(clip.names)} are {apart_m:.2f} m apart"


def _source_on(clip: _Clip, answer: str) -> str | None:
    (word,) = clip.words
    if clip.beyond(word):  # the first source is the one named
        return f"nothing is {_OF[word]} {clip.told(0, word)}: {clip.told(1, word)} is not"
    return differing_labels(answer, clip.sources[1])


def _side(clip: _Clip, answer: str) -> str | None:
    first, second = clip.words or AXES[0]
    right, wrong = (first, second) if clip.at(0, first) else (second, first)
    return wrong_choice(answer, right, wrong, f"{clip.told(0, right)} is {_AT[right]}")


def _presence(clip: _Clip, answer: str) -> str | None:
    missing = [name.label for name in clip.reading.names if name.source is None]
    name = (missing or [clip.reading.names[0].label])[0]
    return wrong_yes_no(answer, not missing, f"the {name} is {{}} there")


def _which_closer(clip: _Clip, answer: str) -> str | None:
    (closer,) = clip.reading.comparisons
    first = 0 if (clip.distances_m[0] < clip.distances_m[1]) == closer else 1
    by_name = [{norm_label(label): label.strip().lower() for label in source.labels} for source in clip.sources]
    names = [table[name] for table, name in zip(by_name, clip.names, strict=True)]
    because = f"{clip.far(first)} is {'closer' if closer else 'farther'} than {clip.far(1 - first)}"
    return wrong_choice(answer, names[first], names[1 - first], because)


_TRUTHS: dict[str, Callable[[_Clip, str], str | None]] = {
    "detect": _detect,
    "locate": _locate,
    "locate_named": _locate,
    "detect_at": _detect_at,
    "both": _all_at,
    "pair": _all_at,
    "relation": _relation,
    "closer": _closer,
    "farther": _closer,
    "which_side_of": _which_side_of,
    "between": _between,
    "source_on": _source_on,
    "side": _side,
    "which_side": _side,
    "is_side": _all_at,
    "distance": _distance,
    "presence": _presence,
    "which_closer": _which_closer,
    "which_farther": _which_closer,
}
