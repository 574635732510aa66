"""Questions to learn queries from: in no word of validation, always the same, never with another query."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from bat_agent.clips.rehearsed import Rehearsed
from bat_agent.errors import BadInput
from bat_agent.questions.free import loosened, phrases, read_query
from bat_agent.questions.free.rehearsal import rehearse
from bat_agent.questions.free.unanswerable import CANNOT_BE_HEARD, NOT_ABOUT_SOUND
from bat_agent.questions.free.voices import TRAIN, voices
from bat_agent.recipes.loading import load_recipe

HELD_BACK = [
    phrase
    for name in ("_WHERE_HELD_OUT", "_STEP_HELD_OUT")
    for ways in getattr(phrases, name).values()
    for phrase in ways
] + [phrase for ways in phrases._TURN_HELD_OUT.values() for pair in ways for phrase in pair]


def test_no_way_to_loosen_is_one_of_those_kept_back() -> None:
    ways = {way.lower() for some in loosened._WAYS.values() for way in some}
    assert not ways & {phrase.lower() for phrase in HELD_BACK}


def test_no_wording_that_is_kept_back_is_learnt() -> None:
    kept = {
        text.lower().rstrip("?.! ")
        for voice, table in voices("all").items()
        if voice not in TRAIN
        for some in table.values()
        for text in some
    }
    assert not kept & {text.lower().rstrip("?.! ") for text in (*CANNOT_BE_HEARD, *NOT_ABOUT_SOUND)}


def test_the_same_numbers_give_the_same_questions() -> None:
    first, second = (rehearse(np.random.default_rng((0, 5)), 60) for _ in range(2))
    assert first == second
    assert len({text for text, _ in first}) > 55


def test_left_and_right_stay_what_they_are() -> None:
    """A question that names one side asks of that side, however loosened."""
    checked = 0
    for text, query in rehearse(np.random.default_rng(1), 1500):
        last = text.rpartition("Q: ")[2].lower()
        for idiom in ("right behind", "right in", "right round", "right now", "right,"):
            last = last.replace(idiom, "")
        said = set(re.findall(r"\b(left|right)(?:wards|ward)?\b", last))
        if len(said) == 1 and query.sides and query.sides[0] in ("left", "right") and not query.turn_deg:
            checked += 1
            assert said == {query.sides[0]} or query.walk_m, (text, query)
    assert checked > 20


def test_a_batch_holds_queries_and_no_sound() -> None:
    data = Rehearsed(questions=6, steps=3, seed=1)
    batch = data[2]
    assert len(data) == 3
    assert batch.waveform.shape == (1, 2, 0)
    assert batch.encoding is not None
    assert [str(read_query(question.answer)) for question in batch.questions[0]] == [
        q.answer for q in batch.questions[0]
    ]
    halves = [Rehearsed(questions=6, steps=3, seed=1, shard=(rank, 2))[2].questions[0] for rank in (0, 1)]
    assert [q.text for q in batch.questions[0]][::2] == [q.text for q in halves[0]]
    assert len(halves[1]) == 3
    assert torch.equal(data[2].truth.active, batch.truth.active)
    with pytest.raises(BadInput, match="cannot be shared evenly by 4 processes"):
        Rehearsed(questions=6, steps=3, seed=1, shard=(0, 4))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("stages.0.question_types=[A]", "have questions of their own"),
        ("stages.0.trains=encoder", "free_queries are for a reasoner"),
        ("stages.0.questions_per_clip=0", "questions_per_clip 1 or more"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(change: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load_recipe("bat-talk", [change])
