"""Scores: the truth is perfect, chance is chance, nonsense is malformed, and the mirror shows who listens."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bat_agent.errors import BadInput
from bat_agent.evaluation.intervals import mean_figure
from bat_agent.evaluation.metrics import mean_average_precision, random_answers, score_answers
from bat_agent.questions import QARecord, QuestionType, mirror
from bat_agent.scoring import ClassScorer, LexicalEmbedder, Scores, score
from bat_agent.scoring.classes import true_classes
from bat_agent.scoring.score import ALL, about_sides, mean, right

LEXICAL = ClassScorer(LexicalEmbedder())
LESS_IS_BETTER = ("der", "malformed")
T = QuestionType


def record(kind: QuestionType, answer: str, text: str = "What is it?") -> QARecord:
    other = ("b", "b.npy") if kind.num_sources == 2 else (None, None)
    return QARecord("a", "a.npy", *other, 0, kind.value, text, answer)


def scored(records: list[QARecord], answers: list[Any], **options: Any) -> Scores:
    return score(records, answers, embedder=LEXICAL, **options)


def test_true_answers_are_perfect_in_every_measure_of_every_type(records: list[QARecord]) -> None:
    """The lexical embedder costs nothing: no two class names are the same to it."""
    found = scored(records, [r.answer for r in records])
    assert list(found.types) == [kind.value for kind in tuple(T)[:10]]
    for kind, figures in found.types.items():
        for measure, figure in figures.items():
            best = 0.0 if measure in LESS_IS_BETTER else 1.0
            assert (figure.value, figure.low, figure.high) == (best, best, best), (kind, measure)
            assert figure.count == 40
    assert {"map", "f1", "exact"} <= set(found.types["MIXUP_NONBINARY_SOURCE"])
    assert {"region", "left_right", "front_behind", "above_below", "der"} <= set(found.types["MIXUP_SINGLE_DOA"])
    assert {name: f.value for name, f in found.binary.items()} == {"direction": 1.0, "distance": 1.0, "accuracy": 1.0}


def test_measures_are_those_of_the_metrics(records: list[QARecord]) -> None:
    """Means agree with score_answers, mAP with scikit-learn over the same class scores."""
    answers = random_answers(records, np.random.default_rng(5))
    found, wanted = scored(records, answers), score_answers(records, answers)
    for kind, figures in found.types.items():
        for measure, figure in figures.items():
            if measure != "map":
                assert figure.value == pytest.approx(wanted[kind][measure])
            assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9
    assert {name: f.value for name, f in found.binary.items()} == pytest.approx(wanted["BINARY"])
    some = [n for n, r in enumerate(records) if r.type is T.CLASSIFICATION]
    truth, _ = true_classes([records[n].answer for n in some])
    expected = mean_average_precision(truth, LEXICAL([answers[n] for n in some]))
    assert found.types["CLASSIFICATION"]["map"].value == pytest.approx(expected)


def test_precision_of_answers_by_hand() -> None:
    """Dog sounds in clips 1 and 3; the system names it in 1 and 2, and in 3 it says nothing: precision is 1/2 at the
    tied first two and 2/3 at the third. Rain sounds in clip 2, where "dog" is said as in clip 1: 1/2.
    """
    found = scored([record(T.CLASSIFICATION, a) for a in ("dog", "rain", "dog")], ["dog", "dog", None])
    dog = (1 / 2 + 2 / 3) / 2
    rain = 1 / 2
    assert found.types["CLASSIFICATION"]["map"].value == pytest.approx((dog + rain) / 2)


@pytest.mark.parametrize("nothing", ["", None, 3.5, True, ["left"], {}, "   ", "\n"], ids=repr)
def test_what_is_no_answer_is_malformed_and_wrong(records: list[QARecord], nothing: Any) -> None:
    found = scored(records, [nothing] * len(records))
    for figures in found.types.values():
        assert figures["malformed"].value == 1.0
        for measure in set(figures) & {"exact", "region", "accuracy", "f1"}:
            assert figures[measure].value == 0.0
        if "der" in figures:
            assert figures["der"].value == 1.0
    json.dumps(found.to_dict(), allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=60), st.none(), st.floats(), st.integers()), min_size=10, max_size=10))
@example([f"{'9' * 400}m"] * 10)
@example([f"left, front, above; {'9' * 400}m"] * 10)
@example(["\ud800; dog"] * 10)
@example(["٣m"] * 10)
@example([";;;"] * 10)
@example(["0" * 5000 + " o'clock"] * 10)
def test_no_answer_whatever_breaks_the_scorer(answers: list[Any]) -> None:
    truths = {
        T.CLASSIFICATION: "dog; rain", T.DOA: "left, front, above; 2m", T.MIXUP_SINGLE_CLASSIFICATION: "dog",
        T.MIXUP_SINGLE_DOA: "left, front, above; 2m", T.MIXUP_DIRECTION: "Yes", T.MIXUP_DISTANCE_BOTH: "No",
        T.MIXUP_NONBINARY_DIRECTION: "left", T.MIXUP_NONBINARY_DISTANCE: "1.5m", T.MIXUP_NONBINARY_SOURCE: "rain",
        T.PLAIN: "behind",
    }  # fmt: skip
    found = scored([record(kind, truth) for kind, truth in truths.items()], answers, swapped=answers)
    for figures in found.types.values():
        assert all(0.0 <= f.low <= f.high <= 1.0 and 0.0 <= f.value <= 1.0 for f in figures.values())
    json.dumps(found.to_dict(), allow_nan=False)


def test_types_beyond_the_paper_are_scored_by_what_their_truth_is() -> None:
    """Whatever score_answer measures is averaged; nothing here knows these types."""
    truths = {"ANGLE": "azimuth 120 degrees", "CLOCK": "3 o'clock", "COUNT": "2", "CHOICE": "B", "MOTION": "left",
              "NOT_HEARD": "not heard"}  # fmt: skip
    some = [
        QARecord("a", "a.npy", None, None, n, kind, "What?", truth) for n, (kind, truth) in enumerate(truths.items())
    ]
    true, none = scored(some, list(truths.values())), scored(some, ["banana"] * len(some))
    for kind in truths:
        assert true.types[kind]["malformed"].value == 0.0
        assert none.types[kind]["malformed"].value == 1.0
        assert "accuracy" not in true.types[kind] or true.types[kind]["accuracy"].value == 1.0


def test_names_that_are_no_class_cost_no_precision_and_are_told() -> None:
    found = scored([record(T.CLASSIFICATION, "dog; moonshine"), record(T.CLASSIFICATION, "rain")], ["dog", "rain"])
    assert found.types["CLASSIFICATION"]["map"].value == 1.0
    assert found.notes == ("mAP leaves out 1 true name(s) that are none of the 355 classes, such as 'moonshine'",)
    nothing = scored([record(T.CLASSIFICATION, "moonshine")], ["dog"])
    assert "map" not in nothing.types["CLASSIFICATION"]
    assert nothing.types["CLASSIFICATION"]["exact"].value == 0.0


# --- the mirror ---


def test_a_system_that_always_says_left_sees_nothing_in_the_mirror_and_the_truth_everything(
    records: list[QARecord],
) -> None:
    """Half of its answers are right, but none of them on both sides of the mirror."""
    some = [r for r in records if r.type in (T.MIXUP_NONBINARY_DIRECTION, T.DOA, T.MIXUP_DISTANCE_BOTH)]
    always = [r.answer if r.type is T.MIXUP_DISTANCE_BOTH else _as_left(r.answer) for r in some]
    found = scored(some, always, swapped=always)
    assert 0.2 < found.types["MIXUP_NONBINARY_DIRECTION"]["accuracy"].value < 0.8
    assert {name: f.value for name, f in found.swap.items()} == {
        "DOA": 0.0, "MIXUP_NONBINARY_DIRECTION": 0.0, ALL: 0.0
    }  # fmt: skip
    true = scored(records, [r.answer for r in records], swapped=[mirror(r.answer) for r in records])
    assert {f.value for f in true.swap.values()} == {1.0}
    assert set(true.swap) == {
        "DOA", "MIXUP_SINGLE_CLASSIFICATION", "MIXUP_SINGLE_DOA", "MIXUP_DIRECTION", "MIXUP_NONBINARY_DIRECTION",
        "MIXUP_NONBINARY_SOURCE", "PLAIN", ALL,
    }  # fmt: skip
    assert true.swap[ALL].count == len(about_sides(records)) == 7 * 40


def _as_left(answer: str) -> str:
    return answer.replace("right", "left")


def test_mirrored_yes_no_questions_keep_their_answer() -> None:
    asked = [
        record(T.MIXUP_DIRECTION, "Yes", "Is the dog on your left?"),
        record(T.MIXUP_DIRECTION, "No", "Is it above?"),
    ]
    assert about_sides(asked) == [0]
    assert scored(asked, ["Yes", "No"], swapped=["yes.", None]).swap[ALL].value == 1.0
    assert scored(asked, ["Yes", "No"], swapped=["No", "No"]).swap[ALL].value == 0.0
    assert scored(asked, ["Yes", "No"]).swap == {}


def test_what_counts_as_right() -> None:
    assert right({"accuracy": 1.0, "malformed": 0.0})
    assert right({"region": 1.0, "der": 1.0, "malformed": 0.0})
    assert not right({"f1": 0.8, "exact": 0.0, "malformed": 0.0})
    assert right({"der": 0.0, "malformed": 0.0})
    assert not right({"malformed": 1.0})


# --- intervals, errors ---


def test_quick_intervals_are_those_of_the_bootstrap(rng: np.random.Generator) -> None:
    for values in (rng.random(400) < 0.2, rng.integers(0, 5, 400) / 4, rng.random(400)):
        quick, slow = mean(values.astype(float)), mean_figure(values)
        assert quick.value == pytest.approx(slow.value)
        width = slow.high - slow.low
        assert [quick.low, quick.high] == pytest.approx([slow.low, slow.high], abs=0.1 * width)


def test_the_same_seed_gives_the_same_scores(records: list[QARecord]) -> None:
    answers = random_answers(records, np.random.default_rng(1))
    first, again, other = (scored(records, answers, seed=seed).to_dict() for seed in (3, 3, 4))
    assert first == again != other


def test_numbers_that_do_not_fit_are_refused(records: list[QARecord]) -> None:
    with pytest.raises(BadInput, match="400 questions but 1 answers"):
        scored(records, ["x"])
    with pytest.raises(BadInput, match="400 questions but 2 answers"):
        scored(records, ["x"] * 400, swapped=["x", "y"])
    with pytest.raises(BadInput, match="no question to score"):
        scored([], [])
