"""The parser of the reasoner `rules` understands every wording of every kind, whatever fills its slots."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import pytest

from bat_agent.labels import labels
from bat_agent.questions import HeardSource, QuestionType, generate, vary, wordings
from bat_agent.questions.answers import AXES
from bat_agent.questions.grammar import FROM, NAMED, OF, UNNAMED, WHERE, WORDINGS
from bat_agent.scene import Position
from bat_agent_rules.parsing import parse

Case = tuple[dict[str, str], tuple[tuple[int, ...], ...], tuple[str, ...]]
"""What fills the slots, and the sounds and sides that must be found."""
WORDS = tuple(WHERE)
UNNAMED_KINDS = ("locate", "side", "which_side", "is_side", "distance")


def cases(kind: str, rng: np.random.Generator) -> Iterator[Case]:
    """Names by dice; every direction, and every way to say it."""
    for sides in said(kind):
        first, second = rng.choice(len(labels()), 2, replace=False)
        names = {"a": int(first), "b": int(second)}
        slots = {slot: str(rng.choice(NAMED)).format(label=labels()[n].lower()) for slot, n in names.items()}
        slots["thing"] = f"a {labels()[first].lower()}"
        if kind in UNNAMED_KINDS and rng.random() < 0.5:
            slots["a"] = str(rng.choice(UNNAMED))
            del names["a"]
        elif kind in ("which_closer", "which_farther"):
            slots |= {slot: f"the {labels()[n].lower()}" for slot, n in names.items()}
        for manner in range(4):
            yield slots | directions(sides, manner), tuple((n,) for n in used(kind, names)), sides


def said(kind: str) -> list[tuple[str, ...]]:
    """The directions of one question."""
    if kind == "detect_at":
        return list(product(*AXES.values()))
    if kind == "pair":
        return list(permutations(WORDS, 2))
    if kind in ("side", "which_side_of"):
        return [words for pair in AXES.values() for words in (pair, pair[::-1])]
    if kind in ("both", "relation", "source_on", "is_side"):
        return [(word,) for word in WORDS]
    return [()] * 6


def directions(sides: tuple[str, ...], manner: int) -> dict[str, str]:
    slots = {"region": ", ".join(sides), "distance": ("0 meters", "1 meter", "2.5 meters", "10 meters")[manner]}
    for word, suffix in zip(sides, ("", "2"), strict=False):
        slots |= {f"d{suffix}": word, f"where{suffix}": WHERE[word][manner]}
        slots[f"from{suffix or '_'}"] = FROM[word][manner % 2]
    if sides:
        slots["of"] = OF[sides[0]][manner]
    if len(sides) == 2:
        slots["p"], slots["q"] = (OF[word][manner] for word in sides)
        if set(sides) == {"left", "right"}:
            slots["p"] = slots["p"].removesuffix(" of")
    return slots


def used(kind: str, names: dict[str, int]) -> list[int]:
    """The sounds that the wordings of a kind name."""
    slots = {slot for template in wordings(kind) for slot in ("a", "b") if f"{{{slot}}}" in template}
    return [names["a"]] if kind == "presence" else [number for slot, number in names.items() if slot in slots]


@pytest.mark.parametrize("kind", WORDINGS)
def test_every_wording_is_understood(rng: np.random.Generator, kind: str) -> None:
    """As written, and as people type it."""
    for template in wordings(kind, "all"):
        for slots, sounds, sides in cases(kind, rng):
            text = template.format(**slots)
            for question in (text, vary(text, rng)):
                request = parse(question)
                assert request is not None, question
                assert request.kind == kind.removesuffix("_named"), question
                assert (request.sounds, request.sides) == (sounds, sides), question
                if kind == "detect_at":
                    assert request.distance_m == float(slots["distance"].split()[0]), question


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Is the dog more distant than the music?", "farther"),
        ("Is the dog less far away than the music?", "closer"),
        ("Is the dog at a smaller distance from you than the music?", "closer"),
        ("Is the distance to the dog greater than the distance to the music?", "farther"),
        ("Is the dog larger than the music?", None),
        ("Is the dog more or less like the music?", None),
        ("Is the distance between the dog and the music large?", "between"),
        ("What is the distance between the dog and the music?", "between"),
    ],
)
def test_comparisons_are_of_distances(question: str, kind: str | None) -> None:
    request = parse(question)
    assert (request.kind if request else None) == kind


def test_what_may_not_be_there_is_asked_for_as_if_it_were() -> None:
    """In all wordings, with or without being told what to say where it is not heard."""
    sources = [HeardSource(("Dog",), Position(150.0, -20.0, 2.0)), HeardSource(("Siren",), Position(20.0, 10.0, 4.5))]
    rng = np.random.default_rng(0)
    known = ["Cat", "Male singing", "Typing", "Gunshot, gunfire", "Bell"]
    kinds = {"where_if_heard": "locate", "distance_if_heard": "distance"}
    seen = set()
    for _ in range(100):
        for question in generate(sources, [QuestionType.NOT_HEARD], rng, 3, split="all", known_labels=known):
            request = parse(question.text)
            assert request is not None, question.text
            assert request.kind == kinds[question.kind.split(".")[0]], question.text
            (numbers,) = request.sounds
            assert labels()[numbers[0]].lower() in question.text.lower()
            seen.add(question.answer == "not heard")
    assert seen == {True, False}
