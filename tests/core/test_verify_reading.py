"""The verifier of records: truths worked out by hand, how it reads English, and what it says of what is no record."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bat_agent.questions import HeardSource, QARecord, QuestionType
from bat_agent.questions.grammar import FROM, OF, WHERE
from bat_agent.questions.records import RELEASED_TYPES
from bat_agent.questions.verify import verify
from bat_agent.questions.verify_reading import directions_in, named_in_order, norm
from bat_agent.questions.verify_truth import coordinates, region_of
from bat_agent.scene import Position

TYPES = (*RELEASED_TYPES, QuestionType.PLAIN)
DOG = HeardSource(("Dog", "Bark"), Position(126.8699, 0, 2.0))  # x −1.2, y 0, z −1.6
SIREN = HeardSource(("Siren",), Position(225.5730, 30, 2.3094))  # x −1.4, y 1.155, z +1.428


def ask(type_: str, question: str, answer: str, *sources: HeardSource, kind: str | None = None) -> QARecord:
    """A record about these sources; by default the dog, and the siren where the type is about two."""
    if not sources:
        sources = (DOG,) if 1 in QuestionType(type_).sources and type_ != "PLAIN" else (DOG, SIREN)
    second = ("train/audio/y", "s/1.npy") if len(sources) == 2 else (None, None)
    return QARecord("train/audio/x", "s/0.npy", *second, 0, type_, question, answer, geometry=tuple(sources), kind=kind)


# --- worked out by hand ---


@pytest.mark.parametrize(
    ("type_", "question", "answer", "problem"),
    [
        ("MIXUP_DIRECTION", "Is the dog left of the siren?", "No", None),
        (
            "MIXUP_DIRECTION",
            "Is the dog left of the siren?",
            "Yes",
            "the answer says Yes, but the dog (x -1.20 m) is not left of the siren (x -1.40 m)",
        ),
        ("MIXUP_DIRECTION", "is bark ahead of siren", "Yes", None),
        ("MIXUP_DIRECTION", "Is the dog lower than the siren's sound?", "Yes", None),
        ("MIXUP_DIRECTION", "Is the siren to the back of the dog?", "Yes", None),
        ("MIXUP_DIRECTION", "Are the dog and the siren both on your left?", "Yes", None),
        (
            "MIXUP_DIRECTION",
            "Are the dog and the siren both at your back?",
            "Yes",
            "the answer says Yes, but the dog (z -1.60 m) is not behind",
        ),
        ("MIXUP_DIRECTION", "Is the dog in front of you and the siren overhead?", "Yes", None),
        ("MIXUP_DIRECTION", "Is the dog in front of you and the siren underneath?", "No", None),
        ("MIXUP_DISTANCE_BOTH", "Is the siren further away from you than the dog?", "Yes", None),
        (
            "MIXUP_DISTANCE_BOTH",
            "Is the dog nearer than the siren?",
            "No",
            "the answer says No, but the dog (2.00 m) is closer than the siren (2.31 m)",
        ),
        ("MIXUP_NONBINARY_DIRECTION", "Is the dog to the left or right of the siren?", "right", None),
        (
            "MIXUP_NONBINARY_DIRECTION",
            "Is the dog above or below the siren?",
            "beneath",
            "the answer is 'beneath', expected 'below' or 'above'",
        ),
        # √(0.2² + 1.155² + 3.028²) = 3.247
        ("MIXUP_NONBINARY_DISTANCE", "How far apart are the bark and the siren?", "3m", None),
        ("MIXUP_NONBINARY_DISTANCE", "How far apart are the bark and the siren?", "2.5m", "3.25 m apart"),
        ("MIXUP_NONBINARY_SOURCE", "What do you hear in front of the siren?", "bark; dog", None),
        (
            "MIXUP_NONBINARY_SOURCE",
            "What do you hear behind the siren?",
            "bark; dog",
            "nothing is behind the siren (z 1.43 m): the dog (z -1.60 m) is not",
        ),
        ("MIXUP_SINGLE_DOA", "Where is the siren?", "left, behind, above; 2.5m", None),
        (
            "MIXUP_SINGLE_DOA",
            "Where is the siren?",
            "left, front, above; 2.5m",
            "the answer says left, front, above; 2.5m, but the siren is left, behind, above",
        ),
        (
            "MIXUP_SINGLE_DOA",
            "Where is the cat?",
            "left, behind, above; 2.5m",
            "the question cannot be read as MIXUP_SINGLE_DOA: 'Where is the cat?'; it names cat, which is not there",
        ),
        ("MIXUP_SINGLE_CLASSIFICATION", "What is left, behind, above, 2.5 meters away?", "siren", None),
        (
            "MIXUP_SINGLE_CLASSIFICATION",
            "What is left, behind, above, 3 meters away?",
            "siren",
            "what sounds left, behind, above is 2.5m away, not 3m",
        ),
        (
            "MIXUP_SINGLE_CLASSIFICATION",
            "What is right, front, above, 3 meters away?",
            "siren",
            "nothing sounds right, front, above",
        ),
        ("PLAIN", "IS THERE A CAT", "No", None),
        ("PLAIN", "Can you hear a cat?", "Yes", "the answer says Yes, but the cat is not there"),
        ("PLAIN", "Which is closer, the siren or the dog?", "dog", None),
        ("PLAIN", "Which is closer, the siren or the dog?", "bark", "expected 'dog' or 'siren'"),
        ("PLAIN", "Is the siren on your left?", "yes", "the answer is 'yes', expected Yes or No"),
    ],
)
def test_truths_worked_out_by_hand(type_: str, question: str, answer: str, problem: str | None) -> None:
    found = verify(ask(type_, question, answer))
    assert (found is None) if problem is None else (found is not None and problem in found), found


def test_coordinates_are_those_of_the_facts_sheet() -> None:
    """x right, y up, z back: each of the six directions lies on its own axis."""
    for position, expected in {
        Position(0, 0, 2): (2, 0, 0),
        Position(90, 0, 2): (0, 0, -2),
        Position(180, 0, 2): (-2, 0, 0),
        Position(270, 0, 2): (0, 0, 2),
        Position(0, 90, 2): (0, 2, 0),
        Position(0, -90, 2): (0, -2, 0),
    }.items():
        assert coordinates(HeardSource(("Dog",), position)) == pytest.approx(expected, abs=1e-12)
    assert coordinates(SIREN) == pytest.approx((-1.4, 1.1547, 1.4282), abs=1e-3)


def test_on_a_border_both_words_are_true() -> None:
    ahead = HeardSource(("Dog",), Position(90, 0, 2.25))
    assert [set(words) for words in region_of(ahead)] == [{"left", "right"}, {"front"}, {"above", "below"}]
    for answer in ("left, front, above; 2m", "right, front, below; 2.5m"):
        assert verify(ask("DOA", "Where is it?", answer, ahead)) is None
    for answer in ("left, behind, above; 2m", "left, front, above; 3m"):
        assert verify(ask("DOA", "Where is it?", answer, ahead))


# --- reading ---


def test_every_way_to_say_a_direction_is_read() -> None:
    for table in (WHERE, FROM, OF):
        for word, phrases in table.items():
            for phrase in phrases:
                assert directions_in(f"Is it {phrase} the X?") == [word], phrase
    assert directions_in("Is it right behind you?") == ["behind"]
    assert directions_in("Higher, lower, ahead, back: the right, behind, above") == [
        "above", "below", "front", "behind", "right", "behind", "above",
    ]  # fmt: skip
    assert directions_in("Upright leftovers in the background, copyright of the frontier") == []


def test_the_longest_name_is_meant() -> None:
    car, alarm = HeardSource(("Car",), Position(0, 0, 1)), HeardSource(("Car alarm", "Siren"), Position(90, 0, 1))
    engine = HeardSource(("Fire engine, fire truck (siren)",), Position(90, 0, 1))
    assert named_in_order("Is the car alarm left of the car?", [car, alarm]) == [alarm, car]
    assert named_in_order("Is the CAR'S sound left of the siren", [alarm, car]) == [car, alarm]
    assert named_in_order("is siren's sound above sound of fire engine, fire truck (siren)", [alarm, engine]) == [
        alarm,
        engine,
    ]
    assert named_in_order("Is the car alarm left of the carpet?", [car]) == []
    bee = HeardSource(("Bee, wasp, etc.",), Position(0, 0, 1))
    assert named_in_order("Is the bee, wasp, etc.'s sound there", [bee]) == [bee]
    assert named_in_order("where is bee, wasp, etc", [bee]) == [bee]
    assert named_in_order("Is my own thing left of it?", [HeardSource(("My Own Thing",), Position(0, 0, 1))])
    assert norm("  Is  THE dog of an Owl near the cat?? ") == "is dog of owl near cat"


# --- what is no record, or no question ---


def test_scenes_that_do_not_fit_are_told() -> None:
    asked = "MIXUP_DIRECTION", "Is the dog left of the siren?", "No"
    for second, problem in (
        (HeardSource(("siren", "DOG"), SIREN.position), "sources 1 and 2 share the label dog"),
        (HeardSource(("Siren",), Position(130, 5, 4)), "in the same region: left, front, above or below"),
        (HeardSource(("Siren",), Position(math.nan, 5, 4)), "source 2 has no finite position"),
        (HeardSource(("Siren",), Position(0, 5, -4)), "source 2 has no finite position"),
    ):
        assert problem in str(verify(ask(*asked, DOG, second)))
    whole = ask(*asked, kind="relation.left_right")
    assert verify(whole) is None
    assert "its sources" in str(verify(dataclasses.replace(whole, geometry=None)))
    for kind in ("both", "relation.above_below"):
        problem = f"the record calls its question {kind}, but it reads as relation.left_right"
        assert verify(dataclasses.replace(whole, kind=kind)) == problem


UNREADABLE = {
    "CLASSIFICATION": ("Where is the dog?", "Hm?", "How far away is the sound?"),
    "DOA": ("What do you hear?", "Where is the siren?", "Is the dog on the left or the right?"),
    "PLAIN": ("Hm?", "Is the cat on your left?", "Is the dog left and right?", "Where is the dog?",
              "Is it on the left?", "Is the dog not on the left?", "Is the dog closer?"),
    "MIXUP_DIRECTION": ("Is the dog left?", "Is the dog left or right of the siren?", "Is the dog near the siren?"),
    "MIXUP_DISTANCE_BOTH": ("Is the dog closer?", "Which is closer, the dog or the siren?", "Is the dog the siren?"),
    "MIXUP_NONBINARY_DIRECTION": ("Is the dog left of the siren?", "Is the dog left or above the siren?"),
    "MIXUP_NONBINARY_DISTANCE": ("How far away is the dog?", "Is the dog far from the siren?"),
    "MIXUP_NONBINARY_SOURCE": ("What is on the left?", "What is left of the cat?", "What is left of it, the dog?"),
    "MIXUP_SINGLE_CLASSIFICATION": ("What is left, front, 2 meters away?", "What is left, front, above?"),
    "MIXUP_SINGLE_DOA": ("Where is it?", "Where are the dog and the siren?", "What is the dog?"),
}  # fmt: skip


@pytest.mark.parametrize("type_", UNREADABLE)
def test_questions_that_cannot_be_read_are_told(type_: str) -> None:
    assert set(UNREADABLE) == {known.value for known in TYPES}
    for question in UNREADABLE[type_]:
        found = str(verify(ask(type_, question, "Yes")))
        assert found.startswith("the question cannot be read as "), (question, found)


def test_types_beyond_the_paper_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    item = ask("CLOCK", "At what hour is it?", "10 o'clock", DOG)
    module = "bat_agent.questions.verify."
    monkeypatch.setattr(f"{module}CHECKS", {})
    assert verify(item) == "no verifier for CLOCK"
    monkeypatch.setattr(f"{module}CHECKS", {QuestionType.CLOCK: lambda record, _: record.answer})
    assert verify(item) == "10 o'clock"


WORDS = [
    "the", "dog", "bark", "siren", "left", "right", "or", "above", "both", "closer", "which", "side", "how far", ",",
    ";", "2m", "dog's", "where", "hear", "not",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(TYPES),
    st.lists(st.sampled_from(WORDS), max_size=9),
    st.one_of(st.sampled_from(["Yes", "No", "left", "2m", "dog"]), st.text(max_size=9)),
)
def test_nothing_makes_it_fail(type_: QuestionType, words: list[str], answer: str) -> None:
    found = verify(ask(type_.value, " ".join(words), answer))
    assert found is None or found
