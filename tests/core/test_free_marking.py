"""How free answers are marked: lenient in words, exact in what they say."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from bat_agent.questions import HeardSource
from bat_agent.questions.free import INTENTS, answer, read_query
from bat_agent.questions.free.fixed import fixed_records
from bat_agent.questions.free.marking import score_free
from bat_agent.scene import Position
from bat_agent.scoring.free import ALL, by_intent, free_scores, mirrored, truth_of

DOG = HeardSource(("Dog",), Position(160.0, 0.0, 2.0))  # left, a little in front, at ear level
RAIN = HeardSource(("Rain",), Position(300.0, 40.0, 4.0))  # behind, a little right, above
VOICE = HeardSource(("Speech", "Male speech, man speaking"), Position(95.0, 30.0, 3.0))


@pytest.mark.parametrize(
    ("query", "right", "wrong"),
    [
        (
            "is heard: dog",
            ["Yes", "yes.", "Yep, there is.", "Yeah", "That's correct"],
            ["No", "nope", "not heard", "dog", ""],
        ),
        ("is heard: piano", ["No", "Nope.", "There is none", "No, I hear no piano"], ["Yes", "yes, no doubt", "maybe"]),
        (
            "side: dog; axis left right",
            ["left", "On your left.", "to the left, a bit in front"],
            ["right", "left or right"],
        ),
        (
            "where: dog",
            ["left, front, above; 2m", "On your left", "left, about 2.5 m away", "to your left and ahead, below"],
            ["right", "front", "left, 4m", "behind you on the left", "2m"],
        ),
        (
            "where: piano",
            ["not heard", "There is no piano.", "I don't hear one"],
            ["left", "I did not understand the question."],
        ),
        (
            "turn degrees: dog",
            ["70 degrees left", "turn left by about 60°", "80 to the left"],
            ["70 degrees right", "left", "120 left"],
        ),
        ("clock: dog", ["10 o'clock", "At ten o'clock"], ["2 o'clock", "eleven"]),
        ("heading: dog", ["left", "front left", "ahead and to the left"], ["front", "right", "behind"]),
        ("distance: rain", ["4m", "about 4 metres", "3.5 m", "four metres"], ["5m", "far", "between 3 and 5 m"]),
        ("angle: dog & rain", ["140 degrees", "about 130"], ["40 degrees"]),
        ("count", ["2", "two", "There are two sounds"], ["3", "one", "many"]),
        (
            "what",
            ["dog; rain", "A puppy and drizzle.", "the rain and a hound"],
            ["dog", "dog, rain and a piano", "nothing"],
        ),
        ("what; word nearest", ["dog", "The pooch is nearest"], ["rain", "dog and rain"]),
        ("which: dog & rain; word closer", ["dog", "The dog is closer than the rain."], ["the rain", "rain than dog"]),
        ("what; side below", ["nothing"], []),
        (
            "describe",
            ["dog: left, 2m. rain: behind, above, 4m", "A dog to your left; rain behind you"],
            ["a dog and rain", "dog left", "rain left. dog behind"],
        ),
        (
            "cannot be heard",
            ["cannot be heard", "I can't tell from sound", "Impossible to hear."],
            ["red", "I did not understand the question.", "Yes"],
        ),
    ],
)
def test_marks(query: str, right: list[str], wrong: list[str]) -> None:
    truth = answer(read_query(query), [DOG, RAIN])
    if truth is None:
        assert query == "what; side below"
        return
    assert [text for text in right if not score_free(truth, text)] == []
    assert [text for text in wrong if score_free(truth, text)] == []


@pytest.mark.parametrize("denial", ["- no", "No", "none", "nothing"])
def test_a_denial_is_no_distance_and_no_angle(denial: str) -> None:
    """It was read as 0, which is near 0.5 m and 10°."""
    near = [HeardSource(("Dog",), Position(95.0, 0.0, 0.5)), HeardSource(("Rain",), Position(85.0, 0.0, 1.5))]
    for query, right in (
        ("distance: dog", "half a metre"),
        ("angle: dog & rain", "10"),
        ("turn degrees: dog", "5 left"),
    ):
        truth = answer(read_query(query), near)
        assert truth is None or (score_free(truth, right) and not score_free(truth, denial))
    assert answer(read_query("distance: dog"), near) is not None


def test_any_name_of_any_label_will_do() -> None:
    truth = answer(read_query("what"), [VOICE])
    assert truth is not None
    for text in ("speech", "a man talking", "male speech, man speaking", "Somebody's voice: a man"):
        assert score_free(truth, text), text
    assert not score_free(truth, "a dog")


def test_true_answers_are_right_and_those_to_others_seldom() -> None:
    records = fixed_records(10 * len(INTENTS), 6, moving=True, most_sources=4)
    assert by_intent(records, [record.answer for record in records])[ALL].value == 1.0
    others: dict[str, list[str]] = defaultdict(list)
    for record in records:
        others[(record.kind or "").partition(".")[0]].append(record.answer)
    rng = np.random.default_rng(0)
    said = [others[(r.kind or "").partition(".")[0]][rng.integers(10)] for r in records]
    figures = by_intent(records, said)
    for intent in ("heard", "is_side", "closer_than", "turn_which", "describe", "how_far"):
        assert figures[intent].value < 0.95
    assert 0.25 < figures[ALL].value < 0.65


def test_the_mirror_turns_question_and_truth() -> None:
    for record in fixed_records(325, 8, moving=True):
        other = mirrored(record)
        truth = truth_of(other)
        assert truth is not None
        assert score_free(truth, other.answer), (other.question, other.answer)
        assert mirrored(other).question == record.question


def test_what_is_no_free_question_is_left_to_others() -> None:
    record = fixed_records(1)[0]
    assert free_scores(record, "I did not understand the question.") == {"accuracy": 0.0, "malformed": 1.0}
    assert free_scores("anything", "yes") is None
