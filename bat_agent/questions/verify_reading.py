"""What a question says, read from its text alone: which sounds it names, which sides, whether closer or farther.

This is the reading half of :mod:`bat_agent.questions.verify` and knows no wordings: a question is taken as words of
everyday English, in any case of letters, with or without articles and final marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from bat_agent.labels import labels
from bat_agent.questions.answers import HeardSource

SIDES: dict[str, tuple[int, int]] = {
    "left": (0, -1),
    "right": (0, 1),
    "front": (2, -1),
    "behind": (2, 1),
    "above": (1, 1),
    "below": (1, -1),
}
"""Direction word → (axis of x, y, z; sign that the coordinate has there)."""
AXIS_NAMES = ("left_right", "above_below", "front_behind")
"""Names of the axes x, y and z in the kinds of questions."""
_SYNONYMS = {
    "front": "ahead forward forwards",
    "behind": "back rear backward backwards",
    "above": "over overhead higher up upward upwards",
    "below": "under underneath beneath lower down downward downwards",
}
_SIDE_OF_WORD = {word: word for word in SIDES} | {w: side for side, ws in _SYNONYMS.items() for w in ws.split()}
# "right behind you" is not on the right; in the region "right, behind" a comma stands between.
_SIDE = re.compile(
    r"\b(?!right (?:behind|in front|ahead|above|over|below|under))"
    rf"(?:{'|'.join(sorted(_SIDE_OF_WORD, key=len, reverse=True))})\b"
)
_CLOSER = re.compile(
    r"\b(?:(?P<closer>closer|nearer|closest|nearest|less (?:far|distant)|(?:shorter|smaller|less) (?:than )?distance)"
    r"|farther|further|farthest|furthest|more distant|(?:longer|larger|greater|more) (?:than )?distance)\b"
)
_METRES = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) ?(?:m|meters?|metres?)\b")
_ARTICLES = re.compile(r"(?<![\w-])(?:the|a|an|any)\s+")
_WORD = re.compile(r"(?<![\w-])\w+")
_SPACE = re.compile(r"\s+")


def norm(text: str) -> str:
    """Lower case, without articles and final marks, single blanks: what typing may change is gone."""
    return _SPACE.sub(" ", _ARTICLES.sub("", text.lower())).strip().rstrip("?.! ")


@dataclass(frozen=True)
class Name:
    """A sound that a question names."""

    start: int
    """Where the name begins in the normal text."""
    end: int
    """Where it ends."""
    label: str
    """The label, as :func:`norm` makes it."""
    source: int | None
    """Number of the source that it names; ``None`` for a sound that is not there."""


@dataclass(frozen=True)
class Side:
    """A direction that a question says."""

    start: int
    """Where the word begins in the normal text."""
    end: int
    """Where it ends."""
    word: str
    """One of :data:`SIDES`."""


class Reading:
    """One question about these sources; properties are found when they are asked for."""

    def __init__(self, question: str, sources: Sequence[HeardSource]) -> None:
        """Read ``question``; the longest name wins where one is part of another ("car" in "car alarm")."""
        self.text = norm(question)
        """The question as :func:`norm` makes it."""
        self.names: tuple[Name, ...] = tuple(_names(self.text, sources))
        """Every sound it names, whether it is there or not."""
        blank, position = [], 0
        for name in self.names:
            blank += [self.text[position : name.start], "#" * (name.end - name.start)]
            position = name.end
        self.blank = "".join((*blank, self.text[position:]))
        """The same text with ``#`` for each letter of a name: what is left are the words of the question itself."""

    @cached_property
    def called(self) -> dict[int, Name]:
        """Number of a source → where it is first named, in the order of speaking."""
        found: dict[int, Name] = {}
        for name in self.names:
            if name.source is not None:
                found.setdefault(name.source, name)
        return found

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The directions it says, in the order of speaking."""
        return tuple(Side(m.start(), m.end(), _SIDE_OF_WORD[m[0]]) for m in _SIDE.finditer(self.blank))

    @cached_property
    def comparisons(self) -> tuple[bool, ...]:
        """For each comparison of distances that it says: whether it is "closer" (else "farther")."""
        return tuple(match["closer"] is not None for match in _CLOSER.finditer(self.blank))

    @cached_property
    def metres(self) -> tuple[float, ...]:
        """The distances it says."""
        return tuple(float(number) for number in _METRES.findall(self.blank))

    @property
    def opposite(self) -> bool:
        """Whether it says two opposite directions with "or" between them."""
        if len(self.sides) != 2:
            return False
        (first, second), between = self.sides, self.blank[self.sides[0].end : self.sides[1].start]
        axes = [SIDES[side.word][0] for side in (first, second)]
        return first.word != second.word and axes[0] == axes[1] and " or " in between

    def has(self, pattern: re.Pattern[str]) -> bool:
        """Whether a pattern is found outside the names."""
        return pattern.search(self.blank) is not None


def named_in_order(text: str, sources: Sequence[HeardSource]) -> list[HeardSource]:
    """The sources in the order in which the question names them, each once."""
    return [sources[number] for number in Reading(text, sources).called]


def directions_in(text: str) -> list[str]:
    """The directions (:data:`SIDES`) in the order in which a text says them; names in it should be blanked first."""
    return [_SIDE_OF_WORD[match[0]] for match in _SIDE.finditer(text.lower())]


@lru_cache(maxsize=4096)
def norm_label(label: str) -> str:
    """A label as it stands in a text after :func:`norm`."""
    return norm(label)


def _names(text: str, sources: Sequence[HeardSource]) -> Iterable[Name]:
    owner = {norm_label(label): number for number, source in enumerate(sources) for label in source.labels}
    beginnings, end = _beginnings(frozenset(owner.keys() - _known())), 0
    for match in _WORD.finditer(text):
        start = match.start()
        if start < end or match[0] not in beginnings:
            continue
        for label in beginnings[match[0]]:
            if text.startswith(label, start) and not _goes_on(text, start + len(label)):
                end = start + len(label)
                yield Name(start, end, label, owner.get(label))
                break


def _goes_on(text: str, end: int) -> bool:
    """Whether a word goes on where a name ends; "(dog)" ends one."""
    return text[end : end + 1].isalnum() or text[end : end + 1] in ("_", "-")


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(norm_label(label) for label in labels())


@lru_cache(maxsize=256)
def _beginnings(more: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Word → the names that begin with it, longest first: those of the class table, and ``more``."""
    found: dict[str, list[str]] = {}
    for label in sorted(_known() | more, key=lambda label: (-len(label), label)):
        if word := _WORD.match(label):
            found.setdefault(word[0], []).append(label)
    return {word: tuple(names) for word, names in found.items()}
