"""Loosened questions ask for the same thing: what matters stays, and an independent parser reads them alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bat_agent.questions import RELEASED_TYPES, HeardSource, QuestionType, generate
from bat_agent.questions.answers import AXES
from bat_agent.questions.rewording import ADDED_WORDS, EMPTY_WORDS, loosen
from bat_agent.scene import Position
from bat_agent_rules.parsing import parse

QUESTION = "In terms of straight-line distance, does the dog reach you from a closer point compared to the wind?"


def test_words_that_carry_the_question_are_neither_dropped_nor_added() -> None:
    words = "what where how far near closer farther both not"
    matter = {word for pair in AXES.values() for word in pair} | set(words.split())
    assert not matter & (EMPTY_WORDS | set(ADDED_WORDS))


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_what_matters_stays_in_order(seed: int, share: float) -> None:
    said = loosen(QUESTION, np.random.default_rng(seed), share)
    kept = [word for word in QUESTION.split() if word.lower().strip("?.,'") not in EMPTY_WORDS]
    words = iter(said.split())
    assert all(word in words for word in kept)
    assert said == loosen(QUESTION, np.random.default_rng(seed), share)


def test_nothing_happens_without_a_share(rng: np.random.Generator) -> None:
    assert loosen(QUESTION, rng, 0.0) == QUESTION


@pytest.mark.parametrize("split", ["train", "all"])
def test_a_parser_reads_them_alike(rng: np.random.Generator, split: str) -> None:
    sources = [
        HeardSource(("Dog",), Position(170.0, 10.0, 2.0)),
        HeardSource(("Siren",), Position(20.0, -20.0, 4.0)),
    ]
    types = [kind for kind in (*RELEASED_TYPES, QuestionType.PLAIN) if 2 in kind.sources]
    asked = [
        question.text
        for _ in range(60)
        for question in generate(sources, types, rng, 8, split=split, typed=False)  # type: ignore[arg-type]
    ]
    alike = [parse(loosen(text, rng, 0.2)) == parse(text) for text in asked]
    # The parser itself needs a few of the empty words ("from behind"), so not all can survive.
    assert np.mean(alike) > 0.8
