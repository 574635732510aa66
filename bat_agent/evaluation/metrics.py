"""How well an encoder perceives and a reasoner answers: the measures of BAT (sections 5.1 to 5.3, tables 3 and 4).

Arrays only; N clips, C classes. Directions are arrays (N, 2) of azimuth and elevation in degrees, in the frame drawn in
:mod:`bat_agent.scene`. Shares lie in 0…1, not in per cent.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bat_agent.errors import BadInput
from bat_agent.extras import needed
from bat_agent.labels import labels
from bat_agent.questions.answers import (
    AXES,
    NOT_HEARD,
    choices_for,
    format_azimuth,
    format_distance,
    options_in,
    parse_angle,
    parse_distance,
    parse_location,
)
from bat_agent.questions.measures import score_answer
from bat_agent.questions.records import QuestionType

Floats = NDArray[np.float64]


class Asked(Protocol):
    """A question with its truth: a ``QARecord`` or a ``Question`` of :mod:`bat_agent.questions`."""

    @property
    def type(self) -> QuestionType:
        """Its type."""
        ...

    @property
    def text(self) -> str:
        """The question."""
        ...

    @property
    def answer(self) -> str:
        """The true answer."""
        ...


# --- perception ---


def mean_average_precision(targets: ArrayLike, scores: ArrayLike) -> float:
    """Mean over classes of average precision; (N, C) truth in {0, 1} and (N, C) scores, larger is likelier.

    Classes without a positive clip are left out. Raises :class:`~bat_agent.errors.BadInput` where none remains, where
    shapes differ or where a score is not a number.
    """
    return float(np.nanmean(average_precisions(targets, scores)))


def average_precisions(targets: ArrayLike, scores: ArrayLike) -> Floats:
    """Average precision of each of C classes, as :func:`mean_average_precision` takes the mean of; NaN where a class
    has no positive clip. Raises :class:`~bat_agent.errors.BadInput` as that function does.
    """
    with needed("train", "average precision"):
        from sklearn.metrics import average_precision_score  # a second of import that questions and answers never need

    truth, score = np.asarray(targets), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != score.shape:
        raise BadInput(f"targets and scores must both be (clips, classes), got {truth.shape} and {score.shape}")
    if not np.isfinite(score).all():
        raise BadInput("scores contain NaN or infinity; check the encoder's output")
    present = np.flatnonzero((truth > 0.5).any(axis=0))
    if not len(present):
        raise BadInput("no class has a positive clip, so average precision is undefined; check the labels")
    found = np.full(truth.shape[1], np.nan)
    found[present] = [average_precision_score(truth[:, c] > 0.5, score[:, c]) for c in present]
    return found


def angular_errors_deg(predicted_deg: ArrayLike, true_deg: ArrayLike) -> Floats:
    """Great-circle angle of each of N pairs of directions (N, 2), degrees in [0, 180]."""
    a, b = _unit_vectors(predicted_deg), _unit_vectors(true_deg)
    if a.shape != b.shape:
        raise BadInput(f"predicted and true directions differ in number: {len(a)} and {len(b)}")
    # atan2 of cross and dot keeps its precision at 0° and 180°, where arccos loses half the digits.
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def er20(predicted_deg: ArrayLike, true_deg: ArrayLike) -> float:
    """ER20°: share of clips whose direction is more than 20° off."""
    return float(np.mean(angular_errors_deg(predicted_deg, true_deg) > 20.0))


def mean_angular_error_deg(predicted_deg: ArrayLike, true_deg: ArrayLike) -> float:
    """MAE: mean great-circle angle between predicted and true direction, degrees."""
    return float(np.mean(angular_errors_deg(predicted_deg, true_deg)))


def distance_error_rate(predicted_bins: ArrayLike, true_bins: ArrayLike) -> float:
    """DER: share of clips whose distance bin is more than one bin (0.5 m) off."""
    predicted, true = np.asarray(predicted_bins, dtype=np.int64), np.asarray(true_bins, dtype=np.int64)
    if predicted.shape != true.shape:
        raise BadInput(f"predicted and true distance bins differ in shape: {predicted.shape} and {true.shape}")
    return float(np.mean(np.abs(predicted - true) > 1))


def direction_accuracies(predicted_deg: ArrayLike, true_deg: ArrayLike) -> dict[str, float]:
    """Share of clips on the right side of each axis (``left_right``, ``front_behind``, ``above_below``) and ``region``.

    ``region`` is the share with all three right. Borders count as right, front and above, as in
    :func:`bat_agent.scene.region`. Chance is 0.5, and 0.125 for the region.
    """
    return {name: float(hits.mean()) for name, hits in direction_hits(predicted_deg, true_deg).items()}


def direction_hits(predicted_deg: ArrayLike, true_deg: ArrayLike) -> dict[str, NDArray[np.bool_]]:
    """Clip by clip what :func:`direction_accuracies` takes the mean of: (N,) for each axis and the region."""
    right = sides(predicted_deg) == sides(true_deg)
    return dict(zip(AXES, right.T, strict=True)) | {"region": right.all(axis=1)}


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """ECE = Σ_b n_b/N · |share correct in b − mean confidence in b|, over ``bins`` equal stretches of [0, 1].

    ``confidence`` (N,) are probabilities, ``correct`` (N,) whether what they spoke of was so. 0 is perfect (Guo et al.,
    ICML 2017). Raises :class:`~bat_agent.errors.BadInput` for other shapes, or numbers that are no probabilities.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if sure.ndim != 1 or sure.shape != right.shape or not len(sure):
        raise BadInput(f"confidence and correct must be lists of one length above 0, got {sure.shape}, {right.shape}")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise BadInput("confidences must be probabilities between 0 and 1; check how they were computed")
    if bins < 1:
        raise BadInput(f"bins must be 1 or more, got {bins}; 15 is usual")
    number = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)  # a stretch holds its upper end
    gaps = np.bincount(number, right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(sure))


def _unit_vectors(directions_deg: ArrayLike) -> Floats:
    directions = np.asarray(directions_deg, dtype=np.float64)
    if directions.ndim != 2 or directions.shape[1] != 2:
        raise BadInput(f"directions must be (clips, 2) with azimuth and elevation in degrees, got {directions.shape}")
    azimuth, elevation = np.radians(directions).T
    return np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.sin(elevation), -np.cos(elevation) * np.sin(azimuth)], axis=-1
    )


def sides(directions_deg: ArrayLike) -> NDArray[np.bool_]:
    """(N, 3): whether each direction (N, 2) is left, behind, below; borders count as right, front, above."""
    x, y, z = _unit_vectors(directions_deg).T
    tiny = 1e-12  # as in scene.region: rounding must not decide on a border
    return np.stack([x < -tiny, z > tiny, y < -tiny], axis=-1)


# --- answers ---


def score_answers(questions: Sequence[Asked], answers: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean of each measure of :func:`score_answer` per released question type, with ``count``.

    Where there are yes/no questions of the release, ``BINARY`` holds their accuracy the way BAT's table 4 has it:
    ``direction``, ``distance`` and ``accuracy``, the mean of the two that there are.
    """
    if len(questions) != len(answers):
        raise BadInput(f"there are {len(questions)} questions but {len(answers)} answers; give one answer each")
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for question, answer in zip(questions, answers, strict=True):
        for measure, value in score_answer(question.type, question.answer, answer).items():
            values[question.type.value][measure].append(value)
    table: dict[str, dict[str, float]] = {}
    for name, measures in values.items():
        table[name] = {measure: float(np.mean(scores)) for measure, scores in measures.items()}
        table[name]["count"] = len(measures["malformed"])
    names = {"direction": QuestionType.MIXUP_DIRECTION.value, "distance": QuestionType.MIXUP_DISTANCE_BOTH.value}
    binary = {short: table[name]["accuracy"] for short, name in names.items() if name in table}
    if binary:
        table["BINARY"] = binary | {"accuracy": float(np.mean(list(binary.values())))}
    return table


def bootstrap_interval(
    values: ArrayLike, rng: np.random.Generator, level: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """Bootstrap interval (percentile) of the mean of N values, such as one measure over all answers."""
    sample = np.asarray(values, dtype=np.float64).ravel()
    if not len(sample):
        raise BadInput("an interval needs at least one value, got none")
    if not 0 < level < 1:
        raise BadInput(f"level of an interval must lie between 0 and 1, got {level}; 0.95 is usual")
    # One draw at a time: N·resamples indices at once would be gigabytes for a full evaluation.
    means = [sample[rng.integers(len(sample), size=len(sample))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


# --- rows to compare with ---


def random_answers(questions: Sequence[Asked], rng: np.random.Generator) -> list[str]:
    """What blind chance answers: the row ``random`` of BAT's table 4.

    Yes/no, sides, motions, hours and counts: any; letters: any that the question offers; azimuths: any whole degree;
    regions: any of the eight; distances, elevations and labels: those of another question, by lot. Whether something is
    heard: either.
    """
    distances = [d for q in questions if (d := _truth_distance(q.answer)) is not None]
    elevations = [q.answer for q in questions if (parse_angle(q.answer) or ("",))[0] == "elevation"]
    texts = defaultdict(list)
    for question in questions:
        if question.answer != NOT_HEARD:
            texts[question.type].append(question.answer)

    def draw(question: Asked) -> str:
        choices = tuple(options_in(question.text)) if question.type is QuestionType.CHOICE else ()
        choices = choices or getattr(question, "choices", None) or choices_for(question.answer) or ()
        if choices:
            return choices[rng.integers(len(choices))]
        if (angle := parse_angle(question.answer)) is not None:
            if angle[0] == "elevation":
                return elevations[rng.integers(len(elevations))]
            return format_azimuth(rng.uniform(0, 360))
        same_type = texts[question.type]
        if question.type is QuestionType.NOT_HEARD and (rng.random() < 0.5 or not same_type):
            return NOT_HEARD
        if _truth_distance(question.answer) is None:
            return same_type[rng.integers(len(same_type))]
        distance = format_distance(distances[rng.integers(len(distances))])
        if parse_location(question.answer) is None:
            return distance
        return f"{', '.join(words[rng.integers(2)] for words in AXES.values())}; {distance}"

    return [draw(question) for question in questions]


def prompt_only_answers(train_questions: Iterable[Asked], questions: Iterable[Asked]) -> list[str]:
    """What the question alone gives away: the most frequent training answer to the same wording, labels blanked out.

    A wording that training has seldom gets the most frequent answer to the directions it names (of its ``kind``, where
    questions have one), then of its type, then of all: of a few answers to one wording, the most frequent is chance,
    and would hide what the words give away. A reasoner that hears must beat this row.
    """
    tallies: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for question in train_questions:
        for key in _keys(question):
            tallies[key][question.answer] += 1
    if not tallies:
        raise BadInput("prompt-only answers need at least one training question, got none")

    totals = {key: tally.total() for key, tally in tallies.items()}

    def best(question: Asked) -> str:
        known = [key for key in _keys(question) if key in totals]
        key = next((key for key in known if totals[key] >= _OFTEN), known[0])
        # Ties go to the answer seen first, so that the row is the same in every run.
        return tallies[key].most_common(1)[0][0]

    return [best(question) for question in questions]


def blank_labels(text: str) -> str:
    """A question in lower case, without final mark, each of the 355 class names in it replaced by ``_``."""
    return _label_pattern().sub("_", text.lower()).rstrip("?. ")


_OFTEN = 10
# Evaluation asks in other words than training, so directions are compared by what they mean.
_DIRECTIONS = {"ahead": "front", "back": "behind", "over": "above", "overhead": "above", "higher": "above"}
_DIRECTIONS |= {"under": "below", "underneath": "below", "lower": "below"}
_DIRECTIONS |= {word: word for words in AXES.values() for word in words}
_DIRECTION = re.compile(rf"\b({'|'.join(sorted(_DIRECTIONS, key=len, reverse=True))})\b")


_WAYS = {"closer": "closer|nearer|approach", "away": "away|farther|reced", "up": "ris(?:e|ing)|up", "down": "sink|down"}
_WAY = re.compile("|".join(rf"(?P<{way}>\b(?:{words}))" for way, words in _WAYS.items()))


@cache
def _label_pattern() -> re.Pattern[str]:
    names = sorted((name.lower() for name in labels()), key=len, reverse=True)  # "car alarm" before "car"
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)")


def _keys(question: Asked) -> list[tuple[Any, ...]]:
    kind = getattr(question, "kind", None)
    blanked = blank_labels(question.text)
    directions = tuple(_DIRECTIONS[word] for word in _DIRECTION.findall(blanked))
    if question.type is QuestionType.MOTION:
        directions += tuple(dict.fromkeys(str(match.lastgroup) for match in _WAY.finditer(blanked)))
    exact, named = ("wording", question.type, blanked), ("directions", question.type, kind, directions)
    return [exact, named, ("kind", question.type, kind), ("type", question.type), ()]


def _truth_distance(answer: str) -> float | None:
    location = parse_location(answer)
    return location[1] if location else parse_distance(answer)
