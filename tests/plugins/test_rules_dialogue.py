"""Rules in conversation: what a question leaves out comes from those before it; and slips of the keyboard."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from bat_agent.clips.batch import truth_of
from bat_agent.clips.oracle import oracle_encoding
from bat_agent.labels import labels
from bat_agent.questions import HeardSource
from bat_agent.questions.free.fixed import fixed_records
from bat_agent.questions.history import with_history
from bat_agent.scene import Position
from bat_agent.scoring.free import ALL, by_intent
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.dialogue import understood
from bat_agent_rules.parsing import parse
from bat_agent_rules.reasoner import NOT_UNDERSTOOD, RulesReasoner
from bat_agent_rules.spelling import mended

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from everyday_questions import everyday, of_an_ideal_ear

DOG = HeardSource(("Dog",), Position(150.0, -20.0, 2.0))  # left, front, below
SIREN = HeardSource(("Siren",), Position(315.0, 25.0, 5.0))  # right, behind, above


@pytest.fixture
def reasoner() -> RulesReasoner:
    return RulesReasoner(RulesConfig(token_dim=4))


def talk(reasoner: RulesReasoner, *questions: str) -> list[str]:
    """The answers to questions of one conversation about the dog and the siren."""
    encoding = oracle_encoding(truth_of([[DOG, SIREN]]), 4, 2, torch.Generator().manual_seed(0))
    turns: list[tuple[str, str]] = []
    for question in questions:
        (reply,) = reasoner.answer(encoding, [with_history(turns, question)])
        turns.append((question, str(reply)))
    return [said for _, said in turns]


@pytest.mark.parametrize(
    ("questions", "answers"),
    [
        (("Where is the dog?", "And how far?", "Is it behind me?", "left or right?"),
         ("left, front, below; 2m", "2m", "No", "left")),
        (("where's the dog", "and the siren?", "how far is that"),
         ("left, front, below; 2m", "right, behind, above; 5m", "5m")),
        (("Is there a dog?", "Is it louder than the siren?", "Which way do I turn to it?"), ("Yes", "Yes", "left")),
        (("Is there a siren?", "is it closer than the dog?", "And at what o'clock is it?"), ("Yes", "No", "4 o'clock")),
        (("What is the nearest sound?", "where is it?", "and the other one?"),
         ("dog", "left, front, below; 2m", "right, behind, above; 5m")),
        (("Is anything behind me?", "and in front of me?", "above me?", "what is it?"), ("Yes", "Yes", "Yes", "siren")),
        (("What is on my right?", "what about the left?", "How far is it?"), ("siren", "dog", "2m")),
        (("Which is closer, the dog or the siren?", "And where is it?"), ("dog", "left, front, below; 2m")),
        (("How many are on my left?", "and on my right?"), ("1", "1")),
        # What is named is meant, whatever was talked of before; and "the sound" is the strongest, as ever.
        (("Where is the dog?", "How far is the siren?", "and is it above me?"),
         ("left, front, below; 2m", "5m", "Yes")),
        # What "it" is nobody knows here.
        (("Where is the dog?", "And the other one?", "How far is that?"),
         ("left, front, below; 2m", "right, behind, above; 5m", NOT_UNDERSTOOD)),
    ],
)  # fmt: skip
def test_what_is_left_out_comes_from_before(
    reasoner: RulesReasoner, questions: tuple[str, ...], answers: tuple[str, ...]
) -> None:
    assert tuple(talk(reasoner, *questions)) == answers


def test_answers_are_of_what_is_heard_now(reasoner: RulesReasoner) -> None:
    """The dog has gone over to the right since its place was told."""
    moved = HeardSource(("Dog",), Position(30.0, -20.0, 4.0))
    encoding = oracle_encoding(truth_of([[moved]]), 4, 2, torch.Generator().manual_seed(0))
    before = [("Where is the dog?", "left, front, below; 2m")]
    replies = reasoner.answer(encoding, [with_history(before, "Is it on my left?"), with_history(before, "how far?")])
    assert list(map(str, replies)) == ["No", "4m"]


def test_a_conversation_leaves_whole_questions_as_they_are() -> None:
    """A question with its sound, behind a talk about another, is read as alone; so are those of validation."""
    before = [("Where is the piano?", "left, front, below; 2m")]
    alike = 0
    for record in fixed_records(200, 3):
        alone = parse(record.question)
        if record.question.startswith("Q: ") or alone is None or not alone.sounds:
            continue
        alike += understood(with_history(before, record.question)) == alone
        assert understood(with_history(before, record.question)) == alone, record.question
    assert alike > 30


def test_follow_ups_of_free_questions_are_understood(reasoner: RulesReasoner) -> None:
    """Of imagined scenes, with true heads: "and how far is it?" in the voice of training that writes plainly."""
    records = [r for r in fixed_records(670, 5, split="train") if (r.kind or "").endswith(".plain")]
    follow = [r for r in records if (r.kind or "").startswith(("then_far", "then_where", "then_side", "then_height"))]
    said = []
    for record in follow:
        encoding = oracle_encoding(truth_of([record.geometry or ()]), 4, 2, torch.Generator().manual_seed(0))
        said.append(str(reasoner.answer(encoding, [record.question])[0]))
    assert len(follow) >= 2
    assert by_intent(follow, said)[ALL].value >= 0.75, list(zip([r.question for r in follow], said, strict=True))


# --- everyday questions ---


def test_of_74_everyday_questions_nine_in_ten_are_answered_rightly(reasoner: RulesReasoner) -> None:
    """By true heads; how many ears get right, and every answer, tells docs/everyday_questions.md."""
    asked, said = everyday(), of_an_ideal_ear(reasoner)
    right = [each.right(text) for each, text in zip(asked, said, strict=True)]
    assert len(asked) == 74
    for kind in {each.kind for each in asked}:
        of_kind = [ok for each, ok in zip(asked, right, strict=True) if each.kind == kind]
        assert sum(of_kind) >= 0.9 * len(of_kind), kind
    page = (Path(__file__).parents[2] / "docs" / "everyday_questions.md").read_text(encoding="utf-8")
    for each, text in zip(asked, said, strict=True):
        assert f"| {each.kind} | {each.scene} | {each.question} | {text} |" in page


def test_what_is_not_understood_has_no_confidence(reasoner: RulesReasoner) -> None:
    for question in ("Is the dog hungry?", "Why?", "Turn left.", "Is the unicorn behind me?", "asdf"):
        (said,) = talk(reasoner, question)
        assert said == NOT_UNDERSTOOD


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("where is teh dgo", "where is the dog"), ("whre is the siren", "where is the siren"),
        ("is the sirne behind me", "is the siren behind me"), ("waht do you haer", "what do you hear"),
        ("is the helicoptr above me", "is the helicopter above me"), ("how fra is the phnoe", "how far is the phone"),
        ("is the siren neerer than the rain", "is the siren nearer than the rain"),
        ("is the raain on my lfet", "is the rain on my left"),
    ],
)  # fmt: skip
def test_one_slip_a_word_is_mended(typed: str, meant: str) -> None:
    assert mended(typed) == meant


@pytest.mark.parametrize(
    "word",
    ["house", "cart", "moose", "cog", "unicorn", "plate", "hungry", "coat", "train", "god", "xyzzy", "ab", "fog"],
)
def test_other_words_are_no_slips(word: str) -> None:
    assert mended(f"where is the {word}") == f"where is the {word}"
    assert all(mended(label) == label.lower() for label in labels())


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("If I walked two metres to the left, how far would the dog be?", "1m"),
        ("If I went 1 m forward, would I get closer to the siren?", "No"),
        ("If I walked 1 metre backwards, would the siren be behind me?", "Yes"),
        ("If I walked 8 metres backwards, would the siren be behind me?", "No"),
        ("If I turned left, would the dog be in front of me?", "Yes"),
        ("If I turned around, would the dog be on my left or on my right?", "right"),
    ],
)
def test_what_would_be_after_a_walk_or_a_turn(reasoner: RulesReasoner, question: str, answer: str) -> None:
    """The dog lies 1.63 m left and 0.94 m ahead, the siren 3.20 m right and 3.20 m behind, by trigonometry."""
    assert talk(reasoner, question) == [answer]
