"""Whether the letter that answers a question is the one true of those it offers: a part of the second opinion.

What is offered tells what is asked: regions, distances, or sounds; of sounds, the nearer or farther one of two, or the
one that is there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from bat_agent.questions.answers import HeardSource
from bat_agent.questions.families import related
from bat_agent.questions.verify_reading import Reading, norm, norm_label
from bat_agent.questions.verify_truth import differing_distance, region_of

_LETTER = re.compile(r"(?<![\w'-])([a-d])\. ")
_REGION = re.compile(r"(left|right), (front|behind), (above|below)")
_METRES = re.compile(r"(\d+(?:\.\d+)?)m")
_LEAST_M = 1.0  # between distances that one chooses from


def judge_choice(question: str, answer: str, sources: Sequence[HeardSource]) -> tuple[str, str | None] | None:
    """(kind, what is wrong with the answer); ``None`` where the question cannot be read as a choice."""
    stem, offered = _read(question)
    reading, texts = Reading(stem, sources), list(offered.values())
    if not 2 <= len(offered) <= 4 or len(set(texts)) < len(texts):
        return None
    if all(map(_REGION.fullmatch, texts)):
        kind, found = "choice_region", _regions(reading, texts, sources)
    elif all(map(_METRES.fullmatch, texts)):
        kind, found = "choice_distance", _distances(reading, texts, sources)
    elif reading.comparisons:
        kind, found = "choice_closer", _nearer(reading, texts, sources)
    else:
        kind = "choice_class_at" if reading.sides else "choice_class"
        found = _classes(reading, texts, sources)
    if found is None:
        return None
    right = [letter for letter, true in zip(offered, found, strict=True) if true]
    if len(right) != 1:
        return kind, f"of the answers offered {len(right)} are true, expected one"
    return kind, None if answer == right[0] else f"the answer is {answer}, but {right[0]} is true"


def _read(question: str) -> tuple[str, dict[str, str]]:
    """What is asked, and what is offered by letter, both as :func:`norm` makes them."""
    stem, *parts = _LETTER.split(norm(question))
    letters, texts = parts[::2], [text.strip("; ") for text in parts[1::2]]
    if letters != list("abcd"[: len(letters)]) or not texts:
        return stem, {}
    texts[-1] = re.split(r"\. |\?", texts[-1])[0]  # what follows says how to answer
    return stem, {letter.upper(): text.rstrip(".") for letter, text in zip(letters, texts, strict=True)}


def _asked_about(reading: Reading, sources: Sequence[HeardSource]) -> HeardSource | None:
    if len(reading.called) == 1 and len(reading.names) == 1:
        return sources[next(iter(reading.called))]
    return sources[0] if len(sources) == 1 and not reading.names else None


def _regions(reading: Reading, texts: Sequence[str], sources: Sequence[HeardSource]) -> list[bool] | None:
    source = _asked_about(reading, sources)
    return None if source is None else [_is_at(source, text.split(", ")) for text in texts]


def _is_at(source: HeardSource, words: Sequence[str]) -> bool:
    return all(set(words) & true for true in region_of(source))


def _distances(reading: Reading, texts: Sequence[str], sources: Sequence[HeardSource]) -> list[bool] | None:
    source = _asked_about(reading, sources)
    metres = sorted(float(text[:-1]) for text in texts)
    if source is None or any(b - a < _LEAST_M for a, b in pairwise(metres)):
        return None
    return [differing_distance(text, source.position.distance_m) is None for text in texts]


def _nearer(reading: Reading, texts: Sequence[str], sources: Sequence[HeardSource]) -> list[bool] | None:
    named = [list(Reading(text, sources).called) for text in texts]
    if len(reading.comparisons) != 1 or any(len(numbers) != 1 for numbers in named):
        return None
    distances_m = [sources[number].position.distance_m for (number,) in named]
    wanted = min(distances_m) if reading.comparisons[0] else max(distances_m)
    return [distance_m == wanted for distance_m in distances_m]


def _classes(reading: Reading, texts: Sequence[str], sources: Sequence[HeardSource]) -> list[bool] | None:
    words = [side.word for side in reading.sides]
    there = [source for source in sources if _is_at(source, words)] if len(words) == 3 else list(sources)
    if len(there) != 1 or len(words) not in (0, 3):
        return None
    labels = [norm_label(label) for label in there[0].labels]
    true = [text in labels for text in texts]
    # What is related to the one that is there may be heard in it as well, so it must not be offered as wrong.
    doubtful = any(
        related(text, label) for text, right in zip(texts, true, strict=True) for label in labels if not right
    )
    return None if doubtful else true
