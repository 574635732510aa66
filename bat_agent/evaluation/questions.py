"""What answers are worth, each figure with its interval: measures by question type, ears swapped, confidence kept.

Questions about one clip are not independent of each other; intervals therefore draw whole clips, with all that was
asked about them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bat_agent.agent import Bat
from bat_agent.clips.recorded import Batches
from bat_agent.evaluation.figures import Figures, miscalibration
from bat_agent.evaluation.hearing import batches
from bat_agent.evaluation.intervals import Figure, resampled_figure
from bat_agent.evaluation.metrics import NOT_HEARD
from bat_agent.hearing.confidence import Calibration, answer_form, answer_is_right
from bat_agent.interfaces import Reasoner, Reply
from bat_agent.questions import Question, QuestionType
from bat_agent.questions.answers import mirror, parse_location
from bat_agent.questions.measures import score_answer
from bat_agent.sound.waveform import fit

BINARY = {"direction": QuestionType.MIXUP_DIRECTION, "distance": QuestionType.MIXUP_DISTANCE_BOTH}
"""The yes/no reasoning of BAT's table 4."""
MIRRORED = {"B": (QuestionType.DOA,), "D": (QuestionType.MIXUP_SINGLE_DOA,), "E": tuple(BINARY.values())}
"""Letter → types whose answers must follow when the ears are swapped."""


@torch.inference_mode()
def answer_all(
    bat: Bat, reasoners: dict[str, Reasoner], data: Batches, *, swapped: bool = False
) -> tuple[list[Question], dict[str, list[str]]]:
    """The questions of a data set, and what each reasoner answers from the encoding of the agent's encoder.

    With ``swapped`` ears, left and right change places in the questions as well; the questions that come back are those
    of the data set all the same.
    """
    questions: list[Question] = []
    answers: dict[str, list[str]] = {name: [] for name in reasoners}
    for batch in batches(data, bat.device):
        asked = [question for some in batch.questions for question in some]
        sound = batch.waveform.flip(1) if swapped else batch.waveform
        encoding = bat.encoder(fit(sound.to(bat.device), bat.encoder))
        texts = [mirror(question.text) if swapped else question.text for question in asked]
        for name, reasoner in reasoners.items():
            answers[name] += list(reasoner.answer(encoding, texts))
        questions += asked
    return questions, answers


def question_figures(
    questions: Sequence[Question], answers: Sequence[str], questions_per_clip: int
) -> dict[str, Figures]:
    """Question type → measure (:func:`~bat_agent.questions.measures.score_answer`) → figure; ``BINARY`` as table 4."""
    values: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        for measure, value in score_answer(question.type, question.answer, answer).items():
            values[question.type.value][measure].append((number // questions_per_clip, value))
    table = {
        name: {measure: clip_figure(each) for measure, each in measures.items()} for name, measures in values.items()
    }
    binary = {name: values[kind.value]["accuracy"] for name, kind in BINARY.items() if kind.value in values}
    if binary:
        table["BINARY"] = {name: clip_figure(each) for name, each in binary.items()}
        table["BINARY"]["accuracy"] = clip_figure(*binary.values())
    return table


def clip_figure(*parts: Sequence[tuple[int, float]]) -> Figure:
    """The mean of the parts' means of (clip, value) pairs, and its interval over clips."""
    columns = [tuple(np.array(column) for column in zip(*part, strict=True)) for part in parts]
    clips, places = np.unique(np.concatenate([clip for clip, _ in columns]), return_inverse=True)
    rows = np.split(places, np.cumsum([len(clip) for clip, _ in columns])[:-1])

    def mean(times: np.ndarray) -> float:
        weights = [times[row] for row in rows]
        means = [w @ value / w.sum() if w.any() else np.nan for w, (_, value) in zip(weights, columns, strict=True)]
        return float(np.mean(means))

    figure = resampled_figure(mean, len(clips), resamples=500)
    return Figure(figure.value, figure.low, figure.high, sum(len(part) for part in parts))


def swap_agreement(
    questions: Sequence[Question], answers: Sequence[str], swapped: Sequence[str], questions_per_clip: int
) -> Figures:
    """Share of answers to questions B, D and E that follow when ears and question are mirrored: the region of a place
    mirrors, yes and no stay. Nothing of it depends on the truth. ``all`` is the mean of the letters.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for letter, kinds in MIRRORED.items():
        agrees = [
            (number // questions_per_clip, float(_place_of(mirror(str(turned))) == _place_of(str(answer))))
            for number, (question, answer, turned) in enumerate(zip(questions, answers, swapped, strict=True))
            if question.type in kinds
        ]
        if agrees:
            found[letter] = agrees
    figures = {letter: clip_figure(agrees) for letter, agrees in found.items()}
    return {**figures, "all": clip_figure(*found.values())} if found else {}


def _place_of(answer: str) -> str:
    location = parse_location(answer)
    return answer.strip().lower() if location is None else location[0]


def kept_confidence(
    questions: Sequence[Question], answers: Sequence[str], calibration: Calibration | None = None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Form of an answer → the confidence it was given with, calibrated if so asked, and whether it is right.

    What is denied or not understood, and answers without confidence, do not count.
    """
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for question, answer in zip(questions, answers, strict=True):
        form = answer_form(str(answer))
        if isinstance(answer, Reply) and answer.confidence is not None and form != "other":
            sure = answer.confidence if calibration is None else calibration.answer(str(answer), answer.confidence)
            found[form].append((sure, answer_is_right(str(answer), question.answer)))
    return {
        form: (np.array([sure for sure, _ in pairs]), np.array([right for _, right in pairs]))
        for form, pairs in sorted(found.items())
    }


def answer_calibration(questions: Sequence[Question], answers: Sequence[str], calibration: Calibration) -> Figures:
    """ECE of each form of answer, with the model's own calibration."""
    kept = kept_confidence(questions, answers, calibration)
    return {f"answer, {form}": resampled_figure(miscalibration(*pair), len(pair[0])) for form, pair in kept.items()}


def denial(questions: Sequence[Question], answers: Sequence[str], questions_per_clip: int) -> dict[str, Any]:
    """Of questions about what may not be there: how often its absence is said (``absent``), and how often what is there
    is taken to be there (``present``).
    """
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        absent = question.answer == NOT_HEARD
        right = (str(answer) == NOT_HEARD) == absent
        found["absent" if absent else "present"].append((number // questions_per_clip, float(right)))
    return {name: clip_figure(pairs) for name, pairs in sorted(found.items())}
