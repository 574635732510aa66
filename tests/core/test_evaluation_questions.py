"""Figures of answers: the means of the scores, intervals over clips, mirrors, denials, and confidence that is kept."""

from __future__ import annotations

import numpy as np
import pytest

from bat_agent.evaluation.metrics import random_answers, score_answers
from bat_agent.evaluation.questions import (
    answer_calibration,
    clip_figure,
    denial,
    kept_confidence,
    question_figures,
    swap_agreement,
)
from bat_agent.hearing.confidence import Calibration, Curve
from bat_agent.interfaces import Reply
from bat_agent.questions import HeardSource, Question, QuestionType, generate
from bat_agent.scene import Position

PLACE = QuestionType.DOA
SOURCES = [HeardSource(("Dog",), Position(150.0, -20.0, 2.0)), HeardSource(("Siren",), Position(20.0, 10.0, 4.5))]


def ask(kind: QuestionType, truth: str) -> Question:
    return Question(kind, "Where is it?", truth, None, "locate")


def test_values_are_those_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    types = [QuestionType.MIXUP_SINGLE_DOA, QuestionType.MIXUP_DIRECTION, QuestionType.MIXUP_DISTANCE_BOTH]
    questions = [question for _ in range(40) for question in generate(SOURCES, types, rng, 4)]
    answers = random_answers(questions, rng)
    found, wanted = question_figures(questions, answers, 4), score_answers(questions, answers)
    assert found.keys() == wanted.keys()
    for kind, measures in found.items():
        for measure, figure in measures.items():
            assert figure.value == pytest.approx(wanted[kind][measure])
            assert figure.low <= figure.value <= figure.high
    assert found["BINARY"]["accuracy"].count == sum(len(q.text) > 0 for q in questions if q.answer in ("Yes", "No"))


def test_what_is_asked_about_one_clip_counts_as_one_draw() -> None:
    """Four alike answers a clip: the interval is that of a quarter as many independent ones, twice as wide."""
    rng = np.random.default_rng(0)
    values = (rng.random(200) < 0.5).astype(float)
    together = clip_figure([(clip, float(value)) for clip, value in enumerate(values) for _ in range(4)])
    apart = clip_figure([(4 * clip + n, float(value)) for clip, value in enumerate(values) for n in range(4)])
    assert together.value == apart.value == values.mean()
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(2.0, rel=0.25)


def test_answers_follow_a_mirror_or_do_not() -> None:
    binary = QuestionType.MIXUP_DIRECTION
    cases = [
        (PLACE, "left, front, above; 2m", "right, front, above; 3.5m", True),
        (PLACE, "left, front, above; 2m", "left, front, above; 2m", False),
        (PLACE, "left, front, above; 2m", "right, behind, above; 2m", False),
        (binary, "Yes", "Yes", True),
        (binary, "No", "Yes", False),
        (QuestionType.CLASSIFICATION, "dog", "cat", None),
    ]
    questions = [ask(kind, "") for kind, *_ in cases]
    found = swap_agreement(questions, [said for _, said, _, _ in cases], [turned for _, _, turned, _ in cases], 1)
    assert {name: figure.value for name, figure in found.items()} == {
        "B": pytest.approx(1 / 3), "E": 0.5, "all": pytest.approx(5 / 12)
    }  # fmt: skip


def test_denials_are_counted_both_ways() -> None:
    kind = QuestionType.NOT_HEARD
    questions = [ask(kind, truth) for truth in ("not heard", "not heard", "2m", "2m", "2m", "2m")]
    found = denial(questions, ["not heard", "2m", "3m", "not heard", "2m", "1m"], 1)
    assert (found["absent"].value, found["absent"].count) == (0.5, 2)
    assert (found["present"].value, found["present"].count) == (0.75, 4)


def test_confidence_is_kept_by_form_and_calibrated() -> None:
    questions = [ask(PLACE, "left, front, above; 2m")] * 2 + [ask(QuestionType.MIXUP_DIRECTION, "Yes")] * 2
    answers = [
        Reply("left, front, above; 2.5m", 0.3),
        Reply("left, front, above; 3m", 0.2),
        Reply("Yes", 0.9),
        Reply("not heard", 0.8),
    ]
    kept = kept_confidence(questions, answers)
    assert {form: (list(sure), list(right)) for form, (sure, right) in kept.items()} == {
        "location": ([0.3, 0.2], [True, False]), "yes_no": ([0.9], [True])
    }  # fmt: skip
    sure = answer_calibration(questions, answers, Calibration(answers={"yes_no": Curve(0.0, 50.0)}))
    assert sure["answer, yes_no"].value == pytest.approx(0.0, abs=1e-9)
    assert sure["answer, location"].value == pytest.approx((0.7 + 0.2) / 2)
