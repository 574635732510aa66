"""Which classes cannot be called absent: dog where something barks, music where a banjo plays.

The class table keeps the order of the AudioSet ontology, in which relatives stand side by side. So relatives are found
by cutting that order into blocks; no ontology file is needed. The cut is coarse on purpose: a class wrongly taken for a
relative only costs a question, one wrongly called absent teaches an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from bat_agent.labels import label_index, labels

# First class of each block, in class order. A realm holds everything from human voices to engines of one kind …
_REALMS = ("Speech", "Animal", "Music", "Wind", "Vehicle", "Door", "Alarm", "Mechanisms", "Explosion", "Wood")
# … a block the classes that sound alike or occur together.
_BLOCKS = (
    "Speech", "Laughter", "Crying, sobbing", "Singing", "Groan", "Whistling", "Breathing", "Cough", "Run",
    "Chewing, mastication", "Gargling", "Burping, eructation", "Hands", "Heart sounds, heartbeat", "Cheering",
    "Animal", "Dog", "Cat", "Livestock, farm animals, working animals", "Horse", "Cattle, bovinae", "Pig", "Goat",
    "Fowl", "Wild animals", "Bird", "Canidae, dogs, wolves", "Insect", "Frog", "Rattle", "Music",
    "Plucked string instrument", "Keyboard (musical)", "Percussion", "Orchestra", "Brass instrument",
    "Bowed string instrument", "Wind instrument, woodwind instrument", "Harp", "Bell", "Harmonica", "Wind",
    "Thunderstorm", "Water", "Fire", "Vehicle", "Motor vehicle (road)", "Rail transport", "Aircraft", "Bicycle",
    "Engine", "Door", "Dishes, pots, and pans", "Frying (food)", "Microwave oven", "Water tap, faucet", "Hair dryer",
    "Toilet flush", "Vacuum cleaner", "Zipper (clothing)", "Electric shaver, electric razor", "Shuffling cards",
    "Typing", "Writing", "Alarm", "Mechanisms", "Clock", "Pulleys", "Sewing machine", "Mechanical fan",
    "Cash register", "Printer", "Camera", "Tools", "Explosion", "Wood", "Glass", "Liquid", "Arrow",
)  # fmt: skip
# Classes that may mean any other of their realm, and so are related to all of it.
_BROAD = frozenset(
    name.lower()
    for name in (
        "Animal", "Domestic animals, pets", "Livestock, farm animals, working animals", "Wild animals",
        "Canidae, dogs, wolves", "Music", "Musical instrument", "Orchestra", "Vehicle", "Engine", "Engine starting",
        "Idling", "Accelerating, revving, vroom", "Light engine (high frequency)", "Medium engine (mid frequency)",
        "Boat, Water vehicle", "Mechanisms", "Tools", "Crowd", "Rattle", "Hiss", "Buzz", "Roar", "Howl",
    )
)  # fmt: skip
_WORDS = re.compile(r"[a-z]{3,}")


@cache
def _place(label: str) -> tuple[int, int] | None:
    """(realm, block) of a lower-case display name; ``None`` for a class that is not one of the 355."""
    index = label_index()
    number = {name.lower(): number for name, number in index.items()}.get(label)
    if number is None:
        return None
    return sum(index[n] <= number for n in _REALMS), sum(index[n] <= number for n in _BLOCKS)


@cache
def _words(label: str) -> frozenset[str]:
    return frozenset(_WORDS.findall(label)) - {"and", "etc"}


def related(first: str, second: str) -> bool:
    """Whether a clip with the one class may well contain the other (any case of letters)."""
    a, b = first.strip().lower(), second.strip().lower()
    if a == b or _words(a) & _words(b):
        return True
    place_a, place_b = _place(a), _place(b)
    if place_a is None or place_b is None:
        return False
    return place_a[1] == place_b[1] or (place_a[0] == place_b[0] and (a in _BROAD or b in _BROAD))


def kinship(first: str, second: str) -> int:
    """2 for classes of one block, 1 for those of one realm, else 0 (any case of letters)."""
    a, b = _place(first.strip().lower()), _place(second.strip().lower())
    return 0 if a is None or b is None else (a[1] == b[1]) + (a[0] == b[0])


def unrelated_labels(present: Iterable[str], known_labels: Sequence[str] | None = None) -> list[str]:
    """The known labels (all 355 if none are given) that are related to nothing that is present, in their order.

    Effects without a cause of their own (``Thump``, ``Hum`` … the last realm of the table) are never called absent.
    """
    here = [label.strip().lower() for label in present]
    last = len(_REALMS)
    found = []
    for name in labels() if known_labels is None else known_labels:
        place = _place(name.strip().lower())
        if not (place and place[0] == last) and not any(related(name, label) for label in here):
            found.append(name)
    return found
