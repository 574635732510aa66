"""Queries as a language model writes them: first a shape, one word, then what that shape has, slot by slot.

A shape is a kind of query with the optional parts that it has, so nothing has to be said but what tells queries apart::

    is side: rain; side front; turn right 90     →   after | rain | front | right 90
    what; word nearest                           →   most | nearest

Whatever is written is a query: of every slot, all that may stand there is known beforehand (sounds: the classes, and
those words of the question itself that name no class).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from bat_agent.labels import labels
from bat_agent.questions.free.names import SOMEONE, spans_in
from bat_agent.questions.free.query import AXES, COMPARED, FIRST_OF_ALL, FLAT, SIDES, Query

SOUND, SIDE, STEP, AXIS, FIRST, THAN, WHICH, LIMIT, TURN, WALK = (
    "sound", "side", "step", "axis", "first", "than", "which", "limit", "turn", "walk",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A kind of query with the parts that it has."""

    word: str
    """What the language model writes for it."""
    kind: str
    """One of :data:`bat_agent.questions.free.query.KINDS`."""
    slots: tuple[str, ...] = ()
    """What follows."""


SHAPES: tuple[Shape, ...] = (
    Shape("sounds", "what"),
    Shape("there", "what", (SIDE,)),
    Shape("most", "what", (FIRST,)),
    Shape("others", "what else", (SOUND,)),
    Shape("anything", "is anything", (SIDE,)),
    Shape("besides", "is anything else", (SOUND,)),
    Shape("safe", "is safe", (STEP,)),
    Shape("count", "count"),
    Shape("number", "count", (SIDE,)),
    Shape("several", "is several"),
    Shape("heard", "is heard", (SOUND,)),
    Shape("where", "where", (SOUND,)),
    Shape("other", "where else", (SOUND,)),
    Shape("side", "side", (SOUND, AXIS)),
    Shape("turned", "side", (SOUND, AXIS, TURN)),
    Shape("is", "is side", (SOUND, SIDE)),
    Shape("both", "is side", (SOUND, SIDE, SIDE)),
    Shape("after", "is side", (SOUND, SIDE, TURN)),
    Shape("then", "is side", (SOUND, SIDE, WALK)),
    Shape("turn", "turn", (SOUND,)),
    Shape("degrees", "turn degrees", (SOUND,)),
    Shape("clock", "clock", (SOUND,)),
    Shape("heading", "heading", (SOUND,)),
    Shape("far", "distance", (SOUND,)),
    Shape("walked", "distance", (SOUND, WALK)),
    Shape("within", "is within", (SOUND, LIMIT)),
    Shape("beyond", "is beyond", (SOUND, LIMIT)),
    Shape("towards", "gets closer", (SOUND, WALK)),
    Shape("than", "compare", (SOUND, SOUND, THAN)),
    Shape("which", "which", (SOUND, SOUND, WHICH)),
    Shape("difference", "difference", (SOUND, SOUND)),
    Shape("apart", "apart", (SOUND, SOUND)),
    Shape("angle", "angle", (SOUND, SOUND)),
    Shape("same", "same side", (SOUND, SOUND)),
    Shape("opposite", "opposite sides", (SOUND, SOUND)),
    Shape("between", "am between", (SOUND, SOUND)),
    Shape("middle", "is between", (SOUND, SOUND, SOUND)),
    Shape("among", "what between", (SOUND, SOUND)),
    Shape("moving", "is moving", (SOUND,)),
    Shape("coming", "approach", (SOUND,)),
    Shape("going", "drift", (SOUND,)),
    Shape("describe", "describe"),
    Shape("cannot", "cannot be heard"),
    Shape("no", "not about sound"),
)
"""All shapes; every query but those with two sides and a turn or a walk has one."""
_BY_WORD = {shape.word: shape for shape in SHAPES}
_TURNS_DEG = (15, 30, 45, 60, 75, 90, 120, 135, 150)
_METRES = tuple(number / 2 for number in range(1, 41))
_WALKED_M = tuple(number / 2 for number in range(1, 21))
_WORD = re.compile(r"[a-z][a-z'’-]*")
_NUMBER = re.compile(r"(?<![\d.])\d+(?:\.\d+)?(?![\d.]\d)")
_LONGEST_SPAN = 3
_WITH_ARTICLE = re.compile(r"\b(?:the|an?|my|your|any|some) ([a-z][a-z'’-]*)")
# Words that are never (part of) the name of an unknown sound.
_PLAIN_WORDS = """
a an the this that these those it its i me my mine you your yours we us our he she they them his her their who whom
whose which what where when why how whatever whoever is are was were be been am do does did done can could would
should shall will may might must have has had having get got go goes going gone come comes coming came make makes
made making let tell say said show point give know think hear heard hearing listen sound sounds sounding noise
noises noisy source sources contact target thing things stuff something anything anyone somebody anybody someone one
ones two three four five six seven eight nine ten both either neither all any some none no not yes or and but if
then than else other others another besides except apart aside only just also too still yet now again ever here
there where's that's it's what's who's i'm i'd i've you're left right front back behind ahead above below over under
up down beneath overhead forward forwards backward backwards sideways around near nearer nearest close closer
closest far farther further farthest furthest away distant distance high higher highest low lower lowest loud
loudest between middle side sides hand shoulder ear ears head feet nose face facing turn turned turning walk walked
walking step stepped move moved moving rotate rotated spin spun metre metres meter meters m degrees degree o'clock
clock more less most least many much safe location position bearing range direction place spot of on in at to from
by for with within without about as into onto out off through across along via per vs versus please thanks thank
okay ok hey well so um uh sir mate first last same opposite different really actually maybe perhaps
"""
_PLAIN = frozenset(_PLAIN_WORDS.split())


def symbols(query: Query) -> tuple[str, ...] | None:
    """The word of a query's shape and what stands in its slots; ``None`` where no shape fits."""
    parts: dict[str, list[str]] = {
        SOUND: list(query.sounds), SIDE: list(query.sides), STEP: list(query.sides), AXIS: [query.axis],
        FIRST: [query.word], THAN: [query.word], WHICH: [query.word],
        LIMIT: [] if query.limit_m is None else [f"{query.limit_m:g}"],
        TURN: [_turn_text(query.turn_deg)] if query.turn_deg else [],
        WALK: [f"{query.walk_to} {query.walk_m:g}"] if query.walk_m else [],
    }  # fmt: skip
    given = {name: [text for text in texts if text] for name, texts in parts.items()}
    for shape in SHAPES:
        left = {name: list(texts) for name, texts in given.items()}
        if shape.kind == query.kind and all(left[slot] for slot in dict.fromkeys(shape.slots)):
            found = _taken(shape, left)
            if found is not None and query_of(found) == query:
                return found
    return None


def _taken(shape: Shape, left: dict[str, list[str]]) -> tuple[str, ...] | None:
    said = [shape.word]
    for slot in shape.slots:
        if not left[slot]:
            return None
        said.append(left[slot].pop(0))
    return tuple(said)


def query_of(said: Sequence[str]) -> Query:
    """The query of a shape's word and what stands in its slots; the inverse of :func:`symbols`."""
    shape = _BY_WORD[said[0]]
    sounds, sides = [], []
    values: dict[str, object] = {}
    for slot, text in zip(shape.slots, said[1:], strict=True):
        if slot == SOUND:
            sounds.append(text)
        elif slot in (SIDE, STEP):
            sides.append(text)
        elif slot == AXIS:
            values["axis"] = text
        elif slot == LIMIT:
            values["limit_m"] = float(text)
        elif slot == TURN:
            way, _, degrees = text.partition(" ")
            values["turn_deg"] = 180 if way == "around" else int(degrees) * (1 if way == "left" else -1)
        elif slot == WALK:
            way, _, metres = text.partition(" ")
            values |= {"walk_to": way, "walk_m": float(metres)}
        else:
            values["word"] = text
    return Query(shape.kind, tuple(sounds), tuple(sides), **values)  # type: ignore[arg-type]


def slots_after(word: str) -> tuple[str, ...]:
    """The slots of a shape by its word."""
    return _BY_WORD[word].slots


@cache
def fixed_choices(slot: str) -> tuple[str, ...]:
    """All that may stand in a slot, whatever the question; an empty name is that of the shape itself."""
    return {
        "": tuple(_BY_WORD),
        SOUND: (*dict.fromkeys(name.lower() for name in labels()), SOMEONE),
        SIDE: SIDES,
        STEP: FLAT,
        AXIS: AXES,
        FIRST: FIRST_OF_ALL,
        THAN: COMPARED,
        WHICH: ("closer", "farther", "higher", "lower"),
        LIMIT: tuple(f"{metres:g}" for metres in _METRES),
        TURN: ("around", *(f"{way} {degrees}" for way in ("left", "right") for degrees in _TURNS_DEG)),
        WALK: tuple(f"{way} {metres:g}" for way in FLAT for metres in _WALKED_M),
    }[slot]


def own_choices(slot: str, question: str) -> tuple[str, ...]:
    """What may stand in a slot because the question says it: a sound that is no class, a number."""
    if slot == SOUND:
        return unknown_names(question)
    if slot == LIMIT:
        found = [f"{float(text):g}" for text in _NUMBER.findall(question) if 0 < float(text) < 1000]
    elif slot == TURN:
        degrees = [int(float(text)) for text in _NUMBER.findall(question) if 0 < float(text) < 180]
        found = [f"{way} {number}" for number in degrees for way in ("left", "right")]
    elif slot == WALK:
        metres = [f"{float(text):g}" for text in _NUMBER.findall(question) if 0 < float(text) < 1000]
        found = [f"{way} {number}" for number in metres for way in FLAT]
    else:
        return ()
    return tuple(dict.fromkeys(text for text in found if text not in fixed_choices(slot)))


@lru_cache(maxsize=1024)
def named_classes(question: str) -> tuple[str, ...]:
    """The classes that a question names, by everyday names or their own."""
    classes = frozenset(fixed_choices(SOUND))
    return tuple(dict.fromkeys(name for name, _, _ in spans_in(question) if name in classes))


@lru_cache(maxsize=1024)
def names_in(question: str) -> int:
    """How many sounds a question names: classes, someone, and what stands behind an article and may be a name."""
    unknown = set(unknown_names(question))
    return len(named_classes(question)) + sum(word in unknown for word in _WITH_ARTICLE.findall(question.lower()))


def unknown_names(question: str) -> tuple[str, ...]:
    """Up to three words in a row that may name a sound that is no class."""
    classes = frozenset(fixed_choices(SOUND))
    text = question.lower()
    known = {text[start:end] for name, start, end in spans_in(text) if name in classes}
    found: list[str] = []
    for piece in re.split(r"[^a-z'’\- ]+", text):
        words = _WORD.findall(piece)
        for first in range(len(words)):
            for last in range(first, min(first + _LONGEST_SPAN, len(words))):
                if words[last].removesuffix("'s") in _PLAIN or words[last] in known:
                    break
                found.append(" ".join(words[first : last + 1]).removesuffix("'s"))
    return tuple(dict.fromkeys(name for name in found if name not in classes and name not in known))


def _turn_text(degrees: int) -> str:
    if abs(degrees) == 180:
        return "around"
    return f"{'left' if degrees > 0 else 'right'} {abs(degrees)}"
