"""The reasoner `talk` answers queries: next to the truth from geometry, and to the rules."""

from __future__ import annotations

import numpy as np
import pytest

from bat_agent.clips.batch import truth_of as targets_of
from bat_agent.clips.oracle import oracle_encoding
from bat_agent.hearing.perception import Thresholds
from bat_agent.hearing.posterior import hear
from bat_agent.questions import HeardSource, QARecord, generate
from bat_agent.questions.curriculum import question_types
from bat_agent.questions.free import Query, read_query
from bat_agent.questions.free.fixed import fixed_records
from bat_agent.questions.free.marking import score_free
from bat_agent.questions.free.seen import after, point_of
from bat_agent.questions.history import split_history, with_history
from bat_agent.scene import Position
from bat_agent.scoring.asked import oracle_encodings
from bat_agent.scoring.free import truth_of
from bat_agent_talk.answering import UNMOVED, answer
from bat_agent_talk.reasoner import _with_the_last
from bat_agent_talk.scene import Scene
from bat_agent_talk.set_forms import is_of_the_set
from bat_agent_talk.worlds import Worlds

DOG = HeardSource(("Dog",), Position(150.0, 10.0, 2.0))
RAIN = HeardSource(("Rain",), Position(20.0, -20.0, 5.0))
LIMITS = Thresholds(heard=0.025)


def scene(*sources: HeardSource) -> Scene:
    encoding = oracle_encoding(targets_of([sources]), 4, 1)
    return Scene(hear(encoding, LIMITS)[0], LIMITS)


def test_the_right_query_is_answered_rightly_by_one_who_hears_what_is_true() -> None:
    """The truth is computed elsewhere, from points instead of probabilities, and marked as any answer is."""
    records = fixed_records(260, seed=11, split="train")
    encode = oracle_encodings(dict(enumerate(records)), 4)
    wrong = []
    for number, record in enumerate(records):
        said = answer(Scene(hear(encode([number]), LIMITS)[0], LIMITS), _query(record))
        truth = truth_of(record)
        assert truth is not None
        if not score_free(truth, str(said)):
            wrong.append((record.query, str(said), record.answer))
        assert said.confidence is None or 0 <= said.confidence <= 1 + 1e-9
    assert len(wrong) <= 0.02 * len(records), wrong


def _query(record: QARecord) -> Query:
    assert record.query is not None
    return read_query(record.query)


def test_worlds_are_what_the_heads_say() -> None:
    heard = scene(DOG, RAIN)
    worlds = Worlds(heard.clip)
    for slot in heard.clip.slots:
        for side in ("left", "front", "above"):
            assert np.mean(worlds.toward(slot, side) > 0) == pytest.approx(slot.side(side), abs=0.02)
        assert np.mean(worlds.there(slot)) == pytest.approx(slot.perceived.confidence, abs=1e-3)
        metres = slot.head("distance") @ (np.arange(21) / 2)
        assert np.mean(worlds.distance_m(slot)) == pytest.approx(metres, abs=0.05)


@pytest.mark.parametrize("text", ["side: dog; axis left right; turn left 90", "is side: dog; side front; turn right 30",
                                  "distance: dog; walk left 1m"])  # fmt: skip
def test_turns_and_walks_are_those_of_the_geometry(text: str) -> None:
    query = read_query(text)
    worlds = Worlds(scene(DOG).clip)
    x, y, z = after(point_of(DOG.position), query)
    found = worlds.points(worlds.clip.slots[0], query)
    assert np.median(found, axis=0) == pytest.approx([x, y, z], abs=0.15)


def test_what_is_not_there_is_not_heard() -> None:
    assert str(answer(scene(DOG), read_query("where: rain"))) == "not heard"
    assert str(answer(scene(DOG), read_query("distance: zebra"))) == "not heard"
    assert str(answer(scene(DOG), read_query("compare: dog & zebra; word closer"))) == "not heard"
    assert str(answer(scene(DOG), read_query("is heard: zebra"))) == "No"
    assert str(answer(scene(DOG), read_query("what else: rain"))) == "dog"
    assert str(answer(scene(DOG), read_query("what else: dog"))) == "nothing"


def test_how_things_move_is_not_guessed() -> None:
    for text in ("is moving: dog", "approach: dog", "drift: dog"):
        said = answer(scene(DOG), read_query(text))
        assert (str(said), said.confidence) == (UNMOVED, None)


def test_every_question_of_the_set_is_known_and_few_others() -> None:
    rng = np.random.default_rng(0)
    for letter in ("A", "B", "C", "D", "E", "P"):
        for sources in ((DOG,), (DOG, RAIN)):
            types = [kind for kind in question_types([letter]) if len(sources) in kind.sources]
            for question in generate(sources, types, rng, 30, split="all") if types else ():
                assert is_of_the_set(question.text), question.text
    for text in (  # of the nonbinary questions, whose first side leaves out its end
        "Does the dog's sound seem to be to the right or to the left of the sound of the tabla?",
        "Would you say the sound of the dog is to the left or right of the sound of the rain?",
        "Do you perceive the dog's sound on the right side or on the left side of the rain's sound?",
    ):
        assert is_of_the_set(text), text
    free = [record.question for record in fixed_records(130, seed=2, split="train")]
    assert sum(map(is_of_the_set, free)) <= 3
    assert not is_of_the_set("Would I back into the dog if I stepped backwards?")


def test_a_conversation_is_read_with_the_question_before_alone() -> None:
    """As in training, which knows no longer ones; what the set asks word for word leaves nothing out."""
    before = [("Is there a siren?", "Yes"), ("Where is the dog?", "left, front, below; 2m")]
    said = _with_the_last(with_history(before, "And how far?"))
    assert split_history(said) == (before[1:], "And how far?")
    assert not is_of_the_set("And how far?")
    assert _with_the_last(with_history(before, "Where is the sound source?")) == "Where is the sound source?"
    assert _with_the_last("And how far?") == "And how far?"
