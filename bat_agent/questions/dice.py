"""A question while it is made: the dice thrown over the sources of a clip, what is clear enough to ask, and a draft.

A question is made thousands of times a second when training data are written, so random numbers are drawn many at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np

from bat_agent.labels import labels as all_labels
from bat_agent.questions.answers import AXES, HeardSource
from bat_agent.questions.families import unrelated_labels
from bat_agent.questions.grammar import FROM, NAMED, UNNAMED, WHERE
from bat_agent.scene import unit_vector

AXIS_OF = {word: axis for axis, words in AXES.items() for word in words}
"""The axis of a direction word."""
OPPOSITE = {p: q for pair in AXES.values() for p, q in (pair, pair[::-1])}
"""The direction word at the other end of its axis."""
_AHEAD = 24  # numbers drawn at once; a question needs about ten, and one call costs as much as all of them
_TRIES = 24  # classes looked at for one that is not there
Option = TypeVar("Option")


@dataclass(frozen=True)
class Margins:
    """What counts as clear enough to ask about."""

    side: float = 0.1
    """Least direction cosine along an axis for a question about one source's side of it (0.1 is 6° off the border)."""
    relation_m: float = 0.3
    """Least difference along an axis between two sources, metres."""
    closer_m: float = 0.5
    """Least difference of distance between two sources, metres."""
    higher_deg: float = 10.0
    """Least difference of elevation between two sources for a question about the higher angle, degrees."""
    overhead_deg: float = 60.0
    """Elevation, up or down, beyond which no azimuth and no hour is asked for, as all are close together there."""
    options_m: float = 1.0
    """Least difference between two distances offered to choose from, metres."""
    moves_side: float = 0.3
    """Least change of the direction cosine to the right of a source that moves to a side."""
    moves_closer_m: float = 0.7
    """Least change of distance of a source that comes closer or moves away, metres."""
    moves_up_m: float = 0.5
    """Least change of height of a source that rises or sinks, metres."""


class Draft(NamedTuple):
    """A question before it is worded."""

    answer: str
    slots: dict[str, str]
    """What fills the template."""
    wording: str
    """Key of the wordings."""
    detail: str = ""
    """What else the kind is called by."""
    key: str = ""
    """The words of the question, but for its label, that may give the answer away; for ``Balance``."""
    choices: tuple[str, ...] | None = None
    """The closed set that the answer is taken from."""
    level: tuple[str, tuple[str, ...]] | None = None
    """What ``Balance`` levels in place of the answer and its choices."""
    debts: tuple[tuple[str, int], ...] = ()
    """(label, how often more it should be named without being there); below zero: it just was."""


class Dice:
    """The sources of one clip, and the dice thrown over them."""

    def __init__(
        self,
        sources: Sequence[HeardSource],
        rng: np.random.Generator,
        margins: Margins,
        known_labels: Sequence[str] | None = None,
        simple: bool = False,
        owed: Callable[[str], Mapping[str, int]] | None = None,
    ) -> None:
        """``simple``: everything is said in the first of its ways; ``owed``: see :meth:`stranger`."""
        self.sources, self.rng, self.margins = sources, rng, margins
        self.known_labels, self.simple, self.owed = known_labels, simple, owed
        self._numbers: list[float] = []

    @cached_property
    def points_m(self) -> list[tuple[float, float, float]]:
        """Per source: how far left, in front and above it is, metres (the order of AXES; first word positive)."""
        points = []
        for source in self.sources:
            azimuth_deg, elevation_deg, distance_m = source.position
            x, y, z = unit_vector(azimuth_deg, elevation_deg)
            points.append((-x * distance_m, -z * distance_m, y * distance_m))
        return points

    @cached_property
    def present(self) -> list[str]:
        """All labels of all sources."""
        return [label for source in self.sources for label in source.labels]

    def random(self) -> float:
        """A number in [0, 1)."""
        if not self._numbers:
            self._numbers = self.rng.random(_AHEAD).tolist()
        return self._numbers.pop()

    def below(self, end: int) -> int:
        """A whole number from 0 to ``end`` − 1, all as likely."""
        return int(self.random() * end)

    def coin(self) -> bool:
        """True or false, as likely."""
        return self.random() < 0.5

    def pick(self, options: Sequence[Option]) -> Option:
        """One of the options, all as likely."""
        return options[int(self.random() * len(options))]

    def manner(self, options: Sequence[object]) -> int:
        """Number of one of several ways to say the same."""
        return 0 if self.simple else int(self.random() * len(options))

    def index(self) -> int:
        """One of the sources."""
        return 0 if len(self.sources) == 1 else int(self.random() * len(self.sources))

    def order(self) -> tuple[int, int]:
        """Two different sources, in the order in which they are named."""
        a = self.index()
        b = int(self.random() * (len(self.sources) - 1)) if len(self.sources) > 2 else 1 - a
        return a, b + (b >= a and len(self.sources) > 2)

    def stranger(self, wording: str, but: Sequence[str] = ()) -> str | None:
        """A known class that surely is not there, nor related to what is, nor one of ``but``; ``None`` for none found.

        Those that were named in this wording while they sounded, and are ``owed`` to be named without, come first: else
        a class that sounds often would be known to be there from its name alone.
        """
        known, names = _known(None if self.known_labels is None else tuple(self.known_labels))
        owed = self.owed(wording) if self.owed else {}
        candidates, total = tuple(owed), list(accumulate(owed.values()))
        for tries in range(_TRIES):
            if 2 * tries < _TRIES and owed:
                label = candidates[bisect_right(total, self.random() * total[-1])]
            else:
                label = self.pick(known) if known else ""
            lower = label.lower()
            if lower in names and lower not in but and unrelated_labels(self.present, (label,)):
                return lower
        left = [label.lower() for label in unrelated_labels(self.present, known)]
        left = [label for label in left if label not in but]
        return self.pick(left) if left else None

    def clear_sides(self, index: int) -> dict[str, str]:
        """Axis → word, for the axes on which the source is clearly to one side."""
        least, sides = self.margins.side * self.sources[index].position.distance_m, {}
        for (axis, words), value in zip(AXES.items(), self.points_m[index], strict=True):
            if value >= least:
                sides[axis] = words[0]
            elif value <= -least:
                sides[axis] = words[1]
        return sides

    def name(self, index: int, unnamed: Sequence[str] = UNNAMED) -> str:
        """A noun for a source: by one of its labels, or, if there is no other, simply "the sound"."""
        if len(self.sources) == 1 and self.random() < 0.6:
            return unnamed[self.manner(unnamed)]
        return self.named(self.pick(self.sources[index].labels))

    def named(self, label: str) -> str:
        """Whoever bears the label, lower case: ``the sound of the dog``, ``the dog`` …"""
        return f"the {label.lower()}" if self.simple else self.pick(NAMED).format(label=label.lower())

    def direction_slots(self, first: str, second: str = "") -> dict[str, str]:
        """The ways to say one direction, as slots ``d``, ``where``, ``from_``; a second one as ``d2`` ….

        Both are said in the same manner ("on your left … on your right").
        """
        where, from_ = self.manner(WHERE[first]), self.manner(FROM[first])
        slots = {"d": first, "where": WHERE[first][where], "from_": FROM[first][from_]}
        if second:
            slots |= {"d2": second, "where2": WHERE[second][where], "from2": FROM[second][from_]}
        return slots

    def relation(self) -> tuple[int, int, str] | None:
        """(A, B, word) with A clearly on that side of B; order and axis by dice."""
        a, b = self.order()
        least, clear = self.margins.relation_m, []
        for words, p, q in zip(AXES.values(), self.points_m[a], self.points_m[b], strict=True):
            if abs(p - q) >= least:
                clear.append(words[p < q])
        return (a, b, self.pick(clear)) if clear else None

    def nearer_first(self, a: int, b: int) -> tuple[int, int] | None:
        """Two sources, the nearer first; ``None`` where that is not clear."""
        near, far = self.sources[a].position.distance_m, self.sources[b].position.distance_m
        if abs(near - far) < self.margins.closer_m:
            return None
        return (a, b) if near < far else (b, a)


@lru_cache(maxsize=64)
def _known(known_labels: tuple[str, ...] | None) -> tuple[tuple[str, ...], frozenset[str]]:
    """The classes that may be called absent, as given and in lower case."""
    known = all_labels() if known_labels is None else known_labels
    return known, frozenset(label.lower() for label in known)
