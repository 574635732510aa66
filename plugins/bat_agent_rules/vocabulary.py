"""Which words name which of the 355 sound classes: display names, their parts, plurals and some everyday words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from bat_agent.labels import label_index, labels
from bat_agent.questions.free.names import VOICES, is_human, names_of
from bat_agent.questions.free.names_table import DOING, EVERYDAY

WORDS = re.compile(r"\d+(?:\.\d+)?|[a-z]+|'s(?![a-z])")
"""A question, lower case, falls into these; marks, hyphens and brackets are dropped, in labels as well."""

_BRACKETS = re.compile(r"\s*\([^)]*\)")
# Plurals and parts that mean something else in a question: "on the left hand side".
_NEVER = {("hand",), ("etc",), ("filling",)}
# What people say where the table has another word; the left column never replaces a name of the table.
_EVERYDAY = {
    "Baby cry, infant cry": "baby, infant",
    "Bicycle": "bike",
    "Bird": "birdsong",
    "Cat": "kitten, kitty",
    "Cattle, bovinae": "cow",
    "Child speech, kid speaking": "child, kid, boy, girl",
    "Clapping": "clap",
    "Dog": "puppy",
    "Female speech, woman speaking": "woman, female voice, female speaker",
    "Fixed-wing aircraft, airplane": "plane, aeroplane",
    "Gunshot, gunfire": "shot, gun",
    "Hair dryer": "hairdryer",
    "Laughter": "laugh, laughing",
    "Male speech, man speaking": "man, male voice, male speaker",
    "Mechanical fan": "fan",
    "Motorcycle": "motorbike",
    "Music": "stereo, hi fi, song",
    "Speech": "voice, person, talker, talking, speaking, someone talking, someone speaking, people talking",
    "Television": "tv, telly",
    "Thunderstorm": "storm",
    "Truck": "lorry",
    "Vacuum cleaner": "vacuum, hoover",
    "Walk, footsteps": "walking, steps",
}


# Names of what cannot be counted take no article, as those that end in -ing.
_UNCOUNTED = frozenset(
    ("music", "speech", "laughter", "wind", "rain", "water", "fire", "thunder", "traffic", "applause", "noise",
     "static", "silence", "reverberation", "electronica", "techno", "funk", "jazz", "disco", "reggae", "rock", "opera",
     "mastication", "steam", "surf", "breeze")
)  # fmt: skip


def sounding(label: str) -> str:
    """``a piano sounds``, ``music sounds``, ``footsteps sound``: a display name in a sentence."""
    name = label.split(",")[0].split(" (")[0].lower()
    last = name.split()[-1]
    if last.endswith("s") and not last.endswith("ss"):
        return f"{name} sound"
    if last.endswith("ing") or last in _UNCOUNTED:
        return f"{name} sounds"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} sounds"


_PEOPLE = ("someone", "somebody", "anyone", "anybody", "people", "person", "person who is", "one who is", "whoever is")
_FAMILIES = {
    "phone": ("Telephone", "Telephone bell ringing", "Ringtone", "Telephone dialing, DTMF"),
    "gun": ("Gunshot, gunfire", "Machine gun"),
    "footstep": ("Walk, footsteps", "Run"),
}


def find_label(words: Sequence[str]) -> tuple[tuple[int, ...], int] | None:
    """(class numbers, how many words) of the longest name at the beginning of ``words``; ``None`` where none begins.

    A name is of one class, but for those of families: whoever talks, a phone, whatever it does.
    """
    table, longest = _table()
    for length in range(min(longest, len(words)), 0, -1):
        if (number := table.get(tuple(words[:length]))) is not None:
            return _families().get(tuple(words[:length]), (number,)), length
    return None


@cache
def _families() -> dict[tuple[str, ...], tuple[int, ...]]:
    """Names of several classes, the plainest first."""
    number = label_index()
    voices = [name for name in labels() if name.lower() in VOICES]
    speech = (number["Speech"], *(number[name] for name in voices if name != "Speech"))
    found = {tuple(WORDS.findall(name)): speech for name in _EVERYDAY["Speech"].split(",")}
    found |= {(*who.split(), verb): speech for who in _PEOPLE for verb in ("talking", "speaking", "chatting")}
    own = {tuple(WORDS.findall(name.lower())) for name in labels()}
    parts = {tuple(WORDS.findall(part)): name for name in reversed(labels()) for part in _parts(name)}
    for name in EVERYDAY:  # a rooster is "Crowing" by its everyday name, and part of "Chicken, rooster"
        for noun in names_of(name):
            phrase = tuple(WORDS.findall(noun.bare))
            if phrase not in own and parts.get(phrase, name) != name:
                found[phrase] = (number[name], number[parts[phrase]])
    for name, kinds in _FAMILIES.items():
        for said in (name, f"{name}s"):
            found[(said,)] = tuple(number[kind] for kind in kinds)
    return found


@cache
def humans() -> tuple[int, ...]:
    """The classes that are what people do: somebody is there."""
    return tuple(number for number, name in enumerate(labels()) if is_human(name))


@cache
def _table() -> tuple[dict[tuple[str, ...], int], int]:
    """Class number by words, and the length of the longest name. What stands first wins: names before their parts."""
    table: dict[tuple[str, ...], int] = {}
    whole = [(tuple(WORDS.findall(name.lower())), number) for number, name in enumerate(labels())]
    parts = [(tuple(WORDS.findall(part)), number) for number, name in enumerate(labels()) for part in _parts(name)]
    everyday = [
        (tuple(WORDS.findall(words)), label_index()[name])
        for name, listed in _EVERYDAY.items()
        for words in listed.split(",")
    ]
    for phrases in (whole, _other_numbers(whole), parts, _other_numbers(parts), _doing(whole + parts), everyday):
        for phrase, number in phrases:
            if phrase and phrase not in _NEVER:
                table.setdefault(phrase, number)
    spoken = [(tuple(WORDS.findall(noun.bare)), label_index()[name]) for name in EVERYDAY for noun in names_of(name)]
    doing = {name.lower(): number for number, name in enumerate(labels())}
    spoken += [(tuple(WORDS.findall(phrase)), doing[name]) for name, phrase in DOING.items()]
    families = [(phrase, numbers[0]) for phrase, numbers in _families().items()]
    for phrase, number in (*_other_numbers(everyday), *spoken, *families):
        if phrase not in _NEVER:
            table.setdefault(phrase, number)
    return table, max(map(len, table))


def _parts(name: str) -> list[str]:
    """``Dishes, pots, and pans`` is also called dishes, pots or pans; ``Pump (liquid)`` a pump."""
    bare = _BRACKETS.sub("", name.lower())
    return [bare, *(part.strip().removeprefix("and ") for part in bare.split(","))]


def _other_numbers(phrases: Sequence[tuple[tuple[str, ...], int]]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Plurals, and the singular where the phrase is a plural."""
    for phrase, number in phrases:
        *rest, last = phrase or ("",)
        forms = [last + "s", last + "es"]
        if last.endswith("y"):
            forms.append(last[:-1] + "ies")
        if last.endswith("s") and not last.endswith("ss"):
            forms.append(last[:-1])
        yield from (((*rest, form), number) for form in forms)


def _doing(phrases: Sequence[tuple[tuple[str, ...], int]]) -> Iterator[tuple[tuple[str, ...], int]]:
    """``barking`` for ``bark``."""
    for phrase, number in phrases:
        if len(phrase) == 1 and not phrase[0].endswith("ing"):
            yield (phrase[0].removesuffix("e") + "ing",), number
