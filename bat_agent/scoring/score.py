"""How good answers are: every measure of every question type, each with its interval (BAT, section 5.1, table 4).

``map``, ``f1`` and ``exact`` of answers that name sounds, ``region``, one share an axis and ``der`` of those that name
a place, ``accuracy`` of those out of a closed set; ``malformed`` of all: the share that cannot be read as what was
asked for, which is wrong everywhere. Shares lie in 0…1. Intervals are over records, as in
:mod:`bat_agent.evaluation.intervals`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.evaluation.intervals import LEVEL, RESAMPLES, Figure, resampled_figure
from bat_agent.evaluation.metrics import Asked, bootstrap_interval, score_answer
from bat_agent.questions import QARecord, QuestionType, mirror
from bat_agent.scoring.classes import ClassScorer, Precision, true_classes
from bat_agent.scoring.embedders import Embedder
from bat_agent.scoring.free import by_intent, free_scores, mirrored

Figures = dict[str, Figure]
BINARY = {"direction": QuestionType.MIXUP_DIRECTION, "distance": QuestionType.MIXUP_DISTANCE_BOTH}
"""The two kinds of yes/no question of table 4."""
ALL = "ALL"
_FEW_LEVELS = 64  # different values of a measure, up to which resamples are drawn by their counts


@dataclass(frozen=True)
class Scores:
    """What the answers to N records are worth."""

    count: int
    """N."""
    embedder: str
    """What class scores are of; figures of two embedders cannot be compared."""
    types: dict[str, Figures]
    """Question type → measure → figure."""
    binary: Figures = field(default_factory=dict)
    """``direction``, ``distance`` and ``accuracy``, the mean of the two that there are."""
    swap: Figures = field(default_factory=dict)
    """Question type (and ``ALL``) → share of questions about a side that are right both as they are and mirrored."""
    notes: tuple[str, ...] = ()
    """What to know about the figures."""
    intents: Figures = field(default_factory=dict)
    """Intent of free questions → share of right answers."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "count": self.count,
            "embedder": self.embedder,
            "types": {name: _plain(figures) for name, figures in self.types.items()},
            "binary": _plain(self.binary),
            "swap": _plain(self.swap),
            "notes": list(self.notes),
            **({"intents": _plain(self.intents)} if self.intents else {}),
        }


def score(
    records: Sequence[Asked],
    answers: Sequence[Any],
    *,
    embedder: Embedder | ClassScorer,
    seed: int = 0,
    swapped: Sequence[Any] | None = None,
) -> Scores:
    """Score one answer for each record; what is no text, such as a missing answer, is malformed.

    Args:
        records: Questions with their truth.
        answers: N answers.
        embedder: What embeds answers and class names; a :class:`~bat_agent.scoring.classes.ClassScorer` where class
            names are embedded already, or answers are to be embedded as a whole.
        seed: Of the resamples that intervals are taken from.
        swapped: N answers to the mirrored questions (:func:`bat_agent.questions.mirror`) about the same clips with the
            ears swapped; those to questions about no side are not looked at.

    Raises :class:`~bat_agent.errors.BadInput` where numbers differ, or there is no record.
    """
    said = _texts(records, answers)
    scorer = embedder if isinstance(embedder, ClassScorer) else ClassScorer(embedder)
    measures = [_measured(r, text) for r, text in zip(records, said, strict=True)]
    of_type: dict[QuestionType, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        of_type[record.type].append(number)
    types: dict[str, Figures] = {}
    unknown: set[str] = set()
    for kind in sorted(of_type, key=list(QuestionType).index):
        numbers = of_type[kind]
        named = [n for n in numbers if "f1" in measures[n]]
        precision, missing = _precision([records[n].answer for n in named], [said[n] for n in named], scorer, seed)
        unknown |= missing
        types[kind.value] = precision | _means([measures[n] for n in numbers], seed)
    notes = []
    if unknown:
        some = ", ".join(repr(name) for name in sorted(unknown)[:3])
        notes.append(f"mAP leaves out {len(unknown)} true name(s) that are none of the 355 classes, such as {some}")
    swap = {} if swapped is None else _swap(records, measures, _texts(records, swapped), seed)
    intents = by_intent(records, said, seed)
    return Scores(len(records), scorer.name, types, _binary(types, seed), swap, tuple(notes), intents)


def _measured(record: Asked, text: str) -> Mapping[str, float]:
    """A free answer is held against the scene, any other against the true answer."""
    return free_scores(record, text) or score_answer(record.type, record.answer, text)


def about_sides(records: Sequence[Asked]) -> list[int]:
    """Numbers of the records whose question or answer changes when left and right are swapped."""
    return [n for n, r in enumerate(records) if (mirror(r.text), mirror(r.answer)) != (r.text, r.answer)]


def _texts(records: Sequence[Asked], answers: Sequence[Any]) -> list[str]:
    if not len(records):
        raise BadInput("there is no question to score, expected at least one; choose other types or data")
    if len(records) != len(answers):
        raise BadInput(f"there are {len(records)} questions but {len(answers)} answers; give one answer each")
    return [str(answer) if isinstance(answer, str) else "" for answer in answers]


def _precision(truths: Sequence[str], said: Sequence[str], scorer: ClassScorer, seed: int) -> tuple[Figures, set[str]]:
    """mAP of answers that name sounds, where there is a class to name; and true names that are no class."""
    if not truths:
        return {}, set()
    targets, unknown = true_classes(truths)
    if not targets.any():
        return {}, unknown
    texts = {text: number for number, text in enumerate(dict.fromkeys(said))}
    which = np.array([texts[text] for text in said])
    figure = resampled_figure(Precision(targets, scorer(list(texts)), which), len(said), seed)
    return {"map": Figure(figure.value, figure.low, min(figure.high, 1.0), figure.count)}, unknown


def _means(measures: Sequence[Mapping[str, float]], seed: int) -> Figures:
    """The mean of each measure over the answers that have it."""
    values: dict[str, list[float]] = defaultdict(list)
    for found in measures:
        for name, value in found.items():
            values[name].append(value)
    return {name: mean(np.array(some), seed) for name, some in values.items()}


def mean(values: NDArray[Any], seed: int = 0) -> Figure:
    """As :func:`bat_agent.evaluation.intervals.mean_figure`, quickly where few values occur: how often each of them is
    resampled follows a multinomial law, so that nothing need be drawn answer by answer.
    """
    numbers = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    levels, counts = np.unique(numbers, return_counts=True)
    if len(levels) > _FEW_LEVELS:
        low, high = bootstrap_interval(numbers, rng, LEVEL, RESAMPLES)
    else:
        drawn = rng.multinomial(len(numbers), counts / len(numbers), RESAMPLES) @ levels / len(numbers)
        low, high = _percentiles(drawn)
    return Figure(float(numbers.mean()), low, high, len(numbers))


def _binary(types: Mapping[str, Figures], seed: int) -> Figures:
    """Yes/no answers as table 4 has them: the mean weighs direction and distance alike, whatever their numbers."""
    found = {s: types[k.value]["accuracy"] for s, k in BINARY.items() if "accuracy" in types.get(k.value, {})}
    if not found:
        return {}
    rng = np.random.default_rng(seed)
    drawn = [rng.binomial(f.count, f.value, RESAMPLES) / f.count for f in found.values()]
    low, high = _percentiles(np.mean(drawn, axis=0))
    value = float(np.mean([figure.value for figure in found.values()]))
    return found | {"accuracy": Figure(value, low, high, sum(figure.count for figure in found.values()))}


def _swap(records: Sequence[Asked], measures: Sequence[Mapping[str, float]], said: Sequence[str], seed: int) -> Figures:
    both: dict[str, list[float]] = defaultdict(list)
    for number in about_sides(records):
        record = records[number]
        other = _measured_in_mirror(record, said[number])
        both[record.type.value].append(float(right(measures[number]) and right(other)))
    everything = [value for some in both.values() for value in some]
    found = {name: mean(np.array(some), seed) for name, some in both.items()}
    return found | ({ALL: mean(np.array(everything), seed)} if everything else {})


def _measured_in_mirror(record: Asked, text: str) -> Mapping[str, float]:
    free = isinstance(record, QARecord) and record.type is QuestionType.FREE
    scores = free_scores(mirrored(record), text) if free else None  # type: ignore[arg-type]
    return scores or score_answer(record.type, mirror(record.answer), text)


def right(measures: Mapping[str, float]) -> bool:
    """Whether an answer counts as right as a whole: the answer of a closed set, the region of a place (its distance
    does not change in a mirror), exactly the true sounds, a distance within 0.5 m.
    """
    for name in ("accuracy", "region", "exact"):
        if name in measures:
            return measures[name] == 1.0
    return measures.get("der", 1.0) == 0.0


def _percentiles(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _plain(figures: Figures) -> dict[str, dict[str, float]]:
    # JSON knows no NaN: a figure that is none is left out.
    return {name: f.to_dict() for name, f in figures.items() if np.isfinite([f.value, f.low, f.high]).all()}
