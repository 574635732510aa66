"""How sure an encoder is of each thing it says, as probabilities that can be taken at their word.

Each output has an event that makes it right: the source is there; its first label sounds; the true direction lies
within 20° of the one said, or on the likelier of both sides of an axis; the true distance within 0.5 m. The raw
confidence is the probability mass that the heads put on that event. Heads are often too sure, so a curve per output,
fitted on validation clips (Platt scaling), turns raw confidence c into σ(scale · logit(c) + offset). What is left is
the expected calibration error (ECE).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.extras import needed
from bat_agent.hearing.spread import along, sphere
from bat_agent.labels import labels
from bat_agent.questions.answers import AXES, parse_distance, parse_labels, parse_location, parse_yes_no
from bat_agent.registry import fitted

Floats = NDArray[np.float64]
WITHIN_DEG = 20.0
WITHIN_BINS = 1
_EDGE = 1e-4
FEWEST = 20
"""Fewer clips than this fit no curve."""


@dataclass(frozen=True)
class Curve:
    """From raw to calibrated confidence; as it is by default."""

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, confidence: float) -> float:
        """Calibrated probability of a raw one."""
        if (self.scale, self.offset) == (1.0, 0.0):
            return confidence
        clipped = min(max(confidence, _EDGE), 1 - _EDGE)
        return float(1 / (1 + np.exp(-self.scale * np.log(clipped / (1 - clipped)) - self.offset)))

    def reaching(self, probability: float) -> float:
        """The raw confidence from which on the calibrated one is at least ``probability``; 1 where none is."""
        logit = float(np.log(probability / (1 - probability)))
        if self.scale <= 0:
            return 0.0 if self.offset >= logit else 1.0
        return float(1 / (1 + np.exp(-(logit - self.offset) / self.scale)))


@dataclass(frozen=True)
class Calibration:
    """One curve for each output."""

    source: Curve = field(default_factory=Curve)
    """A source is there at all."""
    label: Curve = field(default_factory=Curve)
    """Its first label sounds in the clip."""
    direction: Curve = field(default_factory=Curve)
    """The true direction lies within 20°."""
    distance: Curve = field(default_factory=Curve)
    """The true distance lies within 0.5 m (one bin)."""
    left_right: Curve = field(default_factory=Curve)
    """It is on the likelier of both sides; likewise below."""
    front_behind: Curve = field(default_factory=Curve)
    above_below: Curve = field(default_factory=Curve)
    answers: dict[str, Curve] = field(default_factory=dict)
    """Form of an answer (:func:`answer_form`) → the answer is right, as :func:`answer_is_right` has it."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibration:
        """The inverse of :meth:`to_dict`; what is missing stays uncalibrated.

        Raises :class:`~bat_agent.errors.BadInput` for what is no curve.
        """
        outputs = {name: value for name, value in data.items() if name != "answers"}
        answers = {form: fitted(Curve, curve, f"answers.{form}") for form, curve in data.get("answers", {}).items()}
        return fitted(cls, {**outputs, "answers": answers}, "calibration")

    def answer(self, text: str, confidence: float) -> float:
        """Probability that an answer is right, from what its reasoner says."""
        return self.answers.get(answer_form(text), Curve())(confidence)


CHANCE: dict[str, float] = {"yes_no": 0.5, "side": 0.5, "location": 0.05, "distance": 0.35, "sound": 0.0}
"""How often a guess of each form is right."""
_SIDES = frozenset(word for words in AXES.values() for word in words)


def answer_form(text: str) -> str:
    """``yes_no``, ``side`` (one direction word), ``location``, ``distance``, ``sound`` (labels of the table), or
    ``other``: what is denied or not understood, and free text, which no curve fits.
    """
    if parse_yes_no(text) is not None:
        return "yes_no"
    if text.strip().lower() in _SIDES:
        return "side"
    if parse_location(text) is not None:
        return "location"
    if parse_distance(text) is not None:
        return "distance"
    return "other" if parse_labels(text, labels()) is None else "sound"


def answer_is_right(text: str, truth: str) -> bool:
    """A location is right with the true region and a distance within 0.5 m, a distance within 0.5 m; all else as it
    stands.
    """
    said, true = parse_location(text), parse_location(truth)
    if said is not None and true is not None:
        return said[0] == true[0] and abs(said[1] - true[1]) <= WITHIN_BINS / 2
    metres, true_metres = parse_distance(text), parse_distance(truth)
    if metres is not None and true_metres is not None:
        return abs(metres - true_metres) <= WITHIN_BINS / 2
    return text.strip().lower() == truth.strip().lower()


def is_sure(text: str, confidence: float, unsure: float) -> bool:
    """Whether a calibrated confidence is at least the share ``unsure`` of the way from chance to certainty: with 0.2,
    0.6 for yes or no, 0.24 for a location, 0.2 for a sound. What is denied is said as it is; what says nothing, as a
    question that was not understood (``other`` with confidence 0), is never sure.
    """
    chance = CHANCE.get(answer_form(text))
    if chance is None and confidence <= 0:
        return False
    return chance is None or not unsure or confidence >= chance + unsure * (1 - chance)


def fit_curve(confidence: NDArray[Any], right: NDArray[Any]) -> Curve:
    """The curve that makes raw ``confidence`` (N,) the likeliest given what was ``right`` (N, bool).

    Without clips of both kinds there is nothing to fit, and the confidence stays as it is.
    """
    with needed("train", "calibration"):
        from sklearn.linear_model import LogisticRegression

    right = np.asarray(right, dtype=bool)
    if len(right) < FEWEST or right.all() or not right.any():
        return Curve()
    clipped = np.clip(np.asarray(confidence, dtype=np.float64), _EDGE, 1 - _EDGE)
    logit = np.log(clipped / (1 - clipped))[:, None]
    fitted = LogisticRegression(C=1e6).fit(logit, right)
    scale = float(fitted.coef_[0, 0])
    if scale <= 0:  # the raw confidence says nothing: then what is right on average
        mean = right.mean()
        return Curve(0.0, float(np.log(mean / (1 - mean))))
    return Curve(scale, float(fitted.intercept_[0]))


def direction_confidence(
    azimuth_probs: NDArray[Any], elevation_probs: NDArray[Any], azimuth_deg: float, elevation_deg: float
) -> float:
    """Probability within 20° (great circle) of the direction said; azimuth (360,) and elevation (180,) independent."""
    azimuth, elevation = np.radians([azimuth_deg, elevation_deg])
    said = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    near = along(sphere()[0], said) >= np.cos(np.radians(WITHIN_DEG))
    return float((azimuth_probs * (near * elevation_probs).sum(axis=1)).sum())


def distance_confidence(probs: NDArray[Any], distance_m: float) -> float:
    """Probability (21,) within one bin of the distance said."""
    said = round(2 * distance_m)
    return float(probs[max(said - WITHIN_BINS, 0) : said + WITHIN_BINS + 1].sum())
