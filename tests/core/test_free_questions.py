"""Free questions: true by a second opinion, level, the same again; and the second opinion notices what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.evaluation.metrics import prompt_only_answers
from bat_agent.labels import labels
from bat_agent.questions import HeardSource, QARecord, compatible
from bat_agent.questions.free import INTENTS, answer, ask_free, read_query
from bat_agent.questions.free.fixed import fixed_records
from bat_agent.questions.free.names import kindred, sounds_in
from bat_agent.questions.free.names_table import SHIPPED
from bat_agent.questions.free.voices import HELD_OUT, TRAIN
from bat_agent.questions.history import split_history
from bat_agent.questions.verify import verify
from bat_agent.scene import Position

EACH = 20
ASKED = len(INTENTS) * EACH


@pytest.fixture(scope="module")
def many() -> list[QARecord]:
    """Questions of training, of validation, and about all 355 classes."""
    found = []
    for seed in range(3):
        found += fixed_records(ASKED, seed, split="train", most_sources=4, moving=True)
        found += fixed_records(ASKED // 2, seed, split="eval", most_sources=4, moving=True)
    found += fixed_records(ASKED // 2, 7, split="judge", most_sources=4, moving=True)
    return found + fixed_records(ASKED // 2, 9, split="all", labels=labels(), most_sources=4, moving=True)


def test_thousands_are_true_by_the_second_opinion(many: list[QARecord]) -> None:
    assert len(many) > 6000
    wrong = [(record.question, record.query, what) for record in many if (what := verify(record))]
    assert wrong == []


def test_every_intent_is_asked_equally_often_by_every_voice(many: list[QARecord]) -> None:
    train = many[:ASKED]
    assert set(Counter((r.kind or "").partition(".")[0] for r in train).values()) == {EACH}
    assert {(r.kind or "").partition(".")[2] for r in train} == set(TRAIN)
    assert {(r.kind or "").partition(".")[2] for r in many[ASKED : ASKED * 3 // 2]} == set(HELD_OUT)
    assert {(r.kind or "").partition(".")[0] for r in train} == set(INTENTS)


def test_yes_and_no_are_level_by_intent() -> None:
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for record in fixed_records(len(INTENTS) * 40, 1, split="train", most_sources=3, moving=True):
        said[(record.kind or "").partition(".")[0]][record.answer] += 1
    for intent, counts in said.items():
        for first, second in (
            ("Yes", "No"),
            ("left", "right"),
            ("front", "behind"),
            ("above", "below"),
            ("closer", "away"),
        ):
            if counts[first] + counts[second] == counts.total():
                assert abs(counts[first] / counts.total() - 0.5) <= 0.03, (intent, counts)


def test_the_words_alone_are_worth_a_coin() -> None:
    """What was answered most often to the same kind of question with the same directions, in another set."""
    learnt = [r for r in fixed_records(2600, 1, split="train") if r.answer in ("Yes", "No")]
    asked = [r for r in fixed_records(2600, 2, split="train") if r.answer in ("Yes", "No")]
    right = [said == r.answer for said, r in zip(prompt_only_answers(learnt, asked), asked, strict=True)]
    assert len(right) > 800
    assert abs(np.mean(right) - 0.5) < 0.05


def test_the_same_seed_gives_the_same_and_fewer_are_the_first_of_more() -> None:
    first = fixed_records(130, 4)
    assert first == fixed_records(130, 4)
    assert first[:70] == fixed_records(70, 4)
    assert first != fixed_records(130, 5)


def test_a_wrong_answer_is_noticed(many: list[QARecord]) -> None:
    """Every answer out of two turned round; every distance, hour, count and name another one."""
    other = {"Yes": "No", "left": "right", "front": "behind", "above": "below", "closer": "away"}
    other |= {second: first for first, second in other.items()}
    for record in many[:ASKED]:
        changed = other.get(record.answer) or ("99m" if record.answer.endswith("m") else "none of it")
        assert verify(replace(record, answer=changed)) is not None, record


def test_words_that_ask_something_else_are_noticed(many: list[QARecord]) -> None:
    swapped = {"left": "right", "right": "left", "behind": "in front of", "closer": "farther", "farther": "closer"}
    noticed = Counter[bool]()
    for record in many[:ASKED]:
        if record.query is None or not any(part in record.query for part in ("; side ", "; turn left", "; turn right")):
            continue
        words = record.question.split(" ")
        turned = " ".join(swapped.get(word.strip("?.,:"), word) for word in words)
        if turned != record.question:
            noticed[verify(replace(record, question=turned)) is not None] += 1
    assert noticed[True] > 50
    assert noticed[False] == 0


def test_another_name_in_the_words_is_noticed(many: list[QARecord]) -> None:
    named = [r for r in many[:ASKED] if (r.query or "").startswith(("how", "where:", "distance:", "clock:", "turn:"))]
    for record in named:
        query = (record.query or "").partition(": ")
        other = "piano" if "piano" not in query[2] else "dog"
        assert verify(replace(record, query=f"{query[0]}: {other}")) is not None


@pytest.mark.parametrize(
    ("query", "right", "azimuths"),
    [
        # Rain straight ahead, the dog 40° to its left, the siren 60° to its right.
        ("is between: rain & dog & siren", "Yes", (90, 130, 30)),
        ("is between: dog & rain & siren", "No", (90, 130, 30)),
        # Across straight behind, where azimuth passes 270°, and across the right, where it passes 0°.
        ("is between: rain & dog & siren", "Yes", (265, 220, 320)),
        ("is between: rain & dog & siren", "Yes", (355, 40, 300)),
        ("is between: rain & dog & siren", "No", (175, 40, 300)),
        ("what between: dog & siren", "rain", (355, 40, 300)),
        ("what between: dog & siren", "nothing", (175, 40, 300)),
        # Too near one of them to tell, and ends that lie opposite each other.
        ("is between: rain & dog & siren", None, (92, 90, 30)),
        ("is between: rain & dog & siren", None, (90, 180, 0)),
        ("is between: rain & dog & piano", "not heard", (90, 180, 0)),
    ],
)
def test_between_two_is_seen_from_the_listener(query: str, right: str | None, azimuths: tuple[int, ...]) -> None:
    scene = [
        HeardSource((label,), Position(float(azimuth), 20.0, 2.0))
        for label, azimuth in zip(("Rain", "Dog", "Siren"), azimuths, strict=True)
    ]
    truth = answer(read_query(query), scene)
    assert (truth and truth.answer) == right


def test_few_sources_are_not_asked_what_needs_three() -> None:
    asked = {(r.kind or "").partition(".")[0] for r in fixed_records(200, 1, most_sources=2)}
    assert not asked & {"is_between", "what_between"}
    assert len(asked) > 50


def test_a_moved_source_is_noticed(many: list[QARecord]) -> None:
    """In the mirror left is right."""
    for record in many[:ASKED]:
        # After a turn, left and right are what was in front and behind, which the mirror leaves alone.
        if record.answer in ("left", "right") and record.geometry is not None and "turn " not in str(record.query):
            mirrored = tuple(
                HeardSource(
                    s.labels,
                    *(p and p._replace(azimuth_deg=(180 - p.azimuth_deg) % 360) for p in (s.position, s.moves_to)),
                )  # type: ignore[arg-type]
                for s in record.geometry
            )
            assert verify(replace(record, geometry=mirrored)) is not None


@pytest.mark.parametrize("query", [None, "", "where", "wherefore: dog", "where: dog; mood good"])
def test_a_record_without_a_query_is_told(query: str | None, many: list[QARecord]) -> None:
    assert "no query" in str(verify(replace(many[0], query=query)))


def test_what_is_named_is_what_the_query_names(many: list[QARecord]) -> None:
    """By the reader of answers, which is not the verifier's."""
    for record in many[:ASKED]:
        query = record.query or ""
        if not query.startswith(("where: ", "distance: ", "side: ", "clock: ")) or "someone" in query:
            continue
        history, question = split_history(record.question)
        said = sounds_in(question) or sounds_in(history[0][0])
        assert any(kindred(name, query.partition(": ")[2].partition(";")[0]) for name in said), record


def test_a_scene_is_asked_what_suits_it() -> None:
    rng = np.random.default_rng(0)
    scene = [HeardSource(("Dog",), Position(120.0, 20.0, 2.0)), HeardSource(("Rain",), Position(300.0, -20.0, 4.0))]
    assert compatible(*scene)
    found = ask_free(scene, rng, 40)
    assert len({q.text for q in found}) == len(found) == 40
    assert not any(INTENTS[q.intent].moving for q in found)
    assert {q.kind for q in ask_free(scene, rng, 3, intents=["apart"], split="eval")} <= {
        f"apart.{v}" for v in HELD_OUT
    }
    with pytest.raises(BadInput, match="no intent is called 'mood'"):
        ask_free(scene, rng, 1, intents=["mood"])
    with pytest.raises(BadInput, match="none of these intents suits 1 source"):
        ask_free(scene[:1], rng, 1, intents=["apart"])
    assert len(SHIPPED) == 36
