"""One typed question about a scene, whatever words it came in: what a language model turns a question into.

Its text is short and in words, so that a small model can learn to write it::

    side: dog; axis left right
    is side: telephone bell ringing; side right
    is side: rain; side front; turn right 90
    distance: dog; walk front 2m
    compare: dog & rain; word closer
    what; word nearest

A kind, its sounds (lower-case names of classes, joined by ``&``), then what else it needs. ``someone`` is a person who
speaks, whoever it is. A side is the listener's; a turn or a walk is one that the listener has not made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bat_agent.errors import BadInput

SIDES = ("left", "right", "front", "behind", "above", "below")
"""Where something is."""
AXES = ("left right", "front behind", "above below")
"""Pairs of sides to choose from."""
FLAT = SIDES[:4]
"""Where one can step."""
FIRST_OF_ALL = ("nearest", "farthest", "highest", "lowest", "loudest")
"""Which of all."""
COMPARED = ("closer", "farther", "left", "right", "higher", "lower")
"""What one of two may be."""


@dataclass(frozen=True)
class Form:
    """What a kind of query has besides its name."""

    sounds: int = 0
    """How many sounds."""
    sides: tuple[int, ...] = (0,)
    """How many sides it may have."""
    needs: frozenset[str] = frozenset()
    """Fields that it must have: ``axis``, ``word``, ``limit_m``."""
    may: frozenset[str] = frozenset()
    """Fields that it may have."""


def _form(sounds: int = 0, sides: tuple[int, ...] = (0,), needs: str = "", may: str = "") -> Form:
    return Form(sounds, sides, frozenset(needs.split()), frozenset(may.split()))


KINDS: dict[str, Form] = {
    "what": _form(sides=(0, 1), may="word"),
    "what else": _form(1),
    "is anything": _form(sides=(1,)),
    "is anything else": _form(1),
    "is safe": _form(sides=(1,)),
    "count": _form(sides=(0, 1)),
    "is several": _form(),
    "is heard": _form(1),
    "where": _form(1),
    "where else": _form(1),
    "side": _form(1, needs="axis", may="turn_deg"),
    "is side": _form(1, (1, 2), may="turn_deg walk_m"),
    "turn": _form(1),
    "turn degrees": _form(1),
    "clock": _form(1),
    "heading": _form(1),
    "distance": _form(1, may="walk_m"),
    "is within": _form(1, needs="limit_m"),
    "is beyond": _form(1, needs="limit_m"),
    "gets closer": _form(1, needs="walk_m"),
    "compare": _form(2, needs="word"),
    "which": _form(2, needs="word"),
    "difference": _form(2),
    "apart": _form(2),
    "angle": _form(2),
    "same side": _form(2),
    "opposite sides": _form(2),
    "am between": _form(2),
    "is between": _form(3),
    "what between": _form(2),
    "is moving": _form(1),
    "approach": _form(1),
    "drift": _form(1),
    "describe": _form(),
    "cannot be heard": _form(),
    "not about sound": _form(),
}
"""Every kind, and what it has."""
_WORDS = {"what": FIRST_OF_ALL, "compare": COMPARED, "which": ("closer", "farther", "higher", "lower")}
_LIMIT = re.compile(r"(\d+(?:\.\d+)?)m")
_TURN = re.compile(r"(left|right) (\d{1,3})|(around)")
_WALK = re.compile(r"(left|right|front|behind) (\d+(?:\.\d+)?)m")


@dataclass(frozen=True)
class Query:
    """A question about a scene; checked when made.

    Raises :class:`~bat_agent.errors.BadInput`, one sentence, for an unknown kind or one with other parts than it has.
    """

    kind: str
    """One of :data:`KINDS`."""
    sounds: tuple[str, ...] = ()
    """What it is about, in the order of speaking: classes in lower case, :data:`~.names.SOMEONE`, or a sound that is no
    class."""
    sides: tuple[str, ...] = ()
    """One of :data:`SIDES`, or two of different axes."""
    axis: str = ""
    """One of :data:`AXES`."""
    word: str = ""
    """One of :data:`FIRST_OF_ALL` or :data:`COMPARED`."""
    limit_m: float | None = None
    """A distance to compare with, metres."""
    turn_deg: int = 0
    """How far the listener would have turned: left above 0, 180 for around."""
    walk_m: float = 0.0
    """How far the listener would have walked, metres."""
    walk_to: str = ""
    """Which way: one of :data:`FLAT`."""

    def __post_init__(self) -> None:
        form = KINDS.get(self.kind)
        if form is None:
            raise BadInput(f"no query is of the kind {self.kind!r}, expected one of {', '.join(KINDS)}")
        if len(self.sounds) != form.sounds or not all(sound.strip() for sound in self.sounds):
            raise BadInput(f"a query {self.kind!r} has {form.sounds} sound(s), got {list(self.sounds)}")
        if len(self.sides) not in form.sides or not set(self.sides) <= set(SIDES):
            raise BadInput(f"a query {self.kind!r} has {form.sides[-1]} side(s) of {', '.join(SIDES)}: {self.sides}")
        given = {name for name in ("axis", "word", "limit_m", "turn_deg", "walk_m") if getattr(self, name)}
        if wrong := sorted((form.needs - given) | (given - form.needs - form.may)):
            raise BadInput(f"a query {self.kind!r} lacks, or has no use for, {wrong[0]}")
        self._check_values()

    def _check_values(self) -> None:
        if self.axis and self.axis not in AXES:
            raise BadInput(f"the axis of a query is one of {', '.join(AXES)}, got {self.axis!r}")
        if self.word and self.word not in _WORDS[self.kind]:
            raise BadInput(f"the word of a query {self.kind!r} is one of {', '.join(_WORDS[self.kind])}: {self.word!r}")
        if bool(self.walk_m) != (self.walk_to in FLAT) or self.walk_m < 0 or (self.limit_m or 0) < 0:
            raise BadInput(f"a walk goes some metres {', '.join(FLAT)}, got {self.walk_m:g} m {self.walk_to!r}")
        if abs(self.turn_deg) > 180 or (self.turn_deg and self.walk_m):
            raise BadInput(f"a query turns by 180 degrees at most and does not walk as well, got {self.turn_deg}")

    def __str__(self) -> str:
        """The text form; :func:`read_query` is its inverse."""
        parts = [f"{self.kind}: {' & '.join(self.sounds)}" if self.sounds else self.kind]
        parts += [f"side {' '.join(self.sides)}"] if self.sides else []
        parts += [f"axis {self.axis}"] if self.axis else []
        parts += [f"word {self.word}"] if self.word else []
        parts += [f"limit {self.limit_m:g}m"] if self.limit_m is not None else []
        if self.turn_deg:
            way = "left" if self.turn_deg > 0 else "right"
            parts.append("turn around" if abs(self.turn_deg) == 180 else f"turn {way} {abs(self.turn_deg)}")
        parts += [f"walk {self.walk_to} {self.walk_m:g}m"] if self.walk_m else []
        return "; ".join(parts)


def read_query(text: str) -> Query:
    """The query of a text; :class:`~bat_agent.errors.BadInput`, one sentence, for what is none."""
    head, *rest = (part.strip() for part in text.strip().lower().split(";"))
    kind, colon, named = (part.strip() for part in head.partition(":"))
    sounds = tuple(sound.strip() for sound in named.split("&")) if colon else ()
    values: dict[str, object] = {}
    for part in rest:
        name, _, value = part.partition(" ")
        read = _READ.get(name)
        found = read(value.strip()) if read else None
        if found is None or found.keys() & values.keys():
            raise BadInput(f"{part!r} of the query {text.strip()!r:.200} was not understood, or stands there twice")
        values |= found
    return Query(kind, sounds, **values)  # type: ignore[arg-type]


def _turn(text: str) -> dict[str, object] | None:
    match = _TURN.fullmatch(text)
    if match is None:
        return None
    return {"turn_deg": 180 if match[3] else int(match[2]) * (1 if match[1] == "left" else -1)}


def _walk(text: str) -> dict[str, object] | None:
    match = _WALK.fullmatch(text)
    return {"walk_to": match[1], "walk_m": float(match[2])} if match else None


def _limit(text: str) -> dict[str, object] | None:
    match = _LIMIT.fullmatch(text)
    return {"limit_m": float(match[1])} if match else None


_READ = {
    "side": lambda text: {"sides": tuple(text.split())},
    "axis": lambda text: {"axis": text},
    "word": lambda text: {"word": text},
    "limit": _limit,
    "turn": _turn,
    "walk": _walk,
}
