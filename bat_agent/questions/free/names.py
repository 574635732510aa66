"""Sounds by their everyday names: from a class to what people say, and back from a text to the classes it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from bat_agent.labels import labels
from bat_agent.questions.families import related
from bat_agent.questions.free.names_table import DOING, EVERYDAY, STRANGE

SOMEONE = "someone"
"""What a query calls a person who speaks, whoever it is."""
_PEOPLE_END = "Animal"  # the class table begins with what people do
_VOICES = (
    "Speech", "Male speech, man speaking", "Female speech, woman speaking", "Child speech, kid speaking",
    "Conversation", "Narration, monologue", "Babbling", "Whispering",
)  # fmt: skip
VOICES = frozenset(name.lower() for name in _VOICES)
"""Classes that are somebody talking."""
_BRACKETS = re.compile(r"\s*\([^)]*\)")
_WORD = re.compile(r"[a-z0-9'’-]+")


@dataclass(frozen=True)
class Noun:
    """One name of a sound, in the forms that wordings need."""

    bare: str
    """``dog``, ``engine``, ``rain``."""
    a: str
    """``a dog``, ``an engine``, ``rain``."""

    @property
    def the(self) -> str:
        """``the dog``."""
        return f"the {self.bare}"


@cache
def names_of(label: str) -> tuple[Noun, ...]:
    """The names of a class (any case), or of a sound that is none: ``the zither sound`` for a class without its own."""
    found = _everyday().get(label.lower())
    if found is None:
        first = _BRACKETS.sub("", label.lower()).split(",")[0].strip()
        noun = first if first in _strange() else f"{first} sound"
        found = (f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}",)
    return tuple(_noun(name) for name in found)


def _noun(name: str) -> Noun:
    first, _, rest = name.partition(" ")
    if first in ("a", "an"):
        return Noun(rest, name)
    return Noun(rest, name) if first == "the" else Noun(name, name)


@cache
def _everyday() -> dict[str, tuple[str, ...]]:
    return {label.lower(): names for label, names in EVERYDAY.items()}


@cache
def _strange() -> dict[str, str]:
    return {name.split(" ", 1)[1]: kin for name, kin in STRANGE.items()}


def kin_of(sound: str) -> str:
    """The class that a sound would be taken for: itself if it is one."""
    return _strange().get(sound.lower(), sound)


def is_human(label: str) -> bool:
    """Whether a class is what people do with their bodies: talk, cough, walk, clap."""
    return label.lower() in _people()


@cache
def _people() -> frozenset[str]:
    table = labels()
    return frozenset(name.lower() for name in table[: table.index(_PEOPLE_END)])


def kindred(first: str, second: str) -> bool:
    """Whether one sound may be taken for the other (:func:`~bat_agent.questions.families.related`)."""
    if SOMEONE in (first, second):
        return all(name == SOMEONE or is_human(name) for name in (first, second))
    return related(kin_of(first), kin_of(second))


def sounds_in(text: str) -> list[str]:
    """The classes, lower case, that a text names, by display name, part of one or everyday name; longest name first."""
    return [label for label, _, _ in spans_in(text)]


def spans_in(text: str) -> list[tuple[str, int, int]]:
    """As :func:`sounds_in`, with where each name begins and ends."""
    words, found, place = list(_WORD.finditer(text.lower())), [], 0
    table, longest = _readable()
    while place < len(words):
        for length in range(min(longest, len(words) - place), 0, -1):
            label = table.get(" ".join(word[0] for word in words[place : place + length]))
            if label is not None:
                found.append((label, words[place].start(), words[place + length - 1].end()))
                place += length
                break
        else:
            place += 1
    return found


@cache
def _readable() -> tuple[dict[str, str], int]:
    """Words → class, and how many words the longest has; also plurals. Whole names win over parts of others."""
    table: dict[str, str] = {}
    lower = [name.lower() for name in labels()]
    every = [(noun.bare, label) for label in _everyday() for noun in names_of(label)]
    whole = [(name, name) for name in lower]
    parts = [(part, name) for name in lower for part in _BRACKETS.sub("", name).split(",")]
    strange = [(name, name) for name in _strange()]
    doing = [(phrase, label) for label, phrase in DOING.items()]
    for said, label in [*whole, *doing, *every, *strange, *parts, *[(f"{s}s", label) for s, label in every + parts]]:
        if key := " ".join(_WORD.findall(said)):
            table.setdefault(key, label)
    table.pop("etc", None)
    return table, max(len(key.split()) for key in table)
