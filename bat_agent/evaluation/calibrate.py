"""Fitting an agent's confidence to what comes true: curves from half of the clips, checked on the other half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bat_agent.agent import Bat
from bat_agent.clips.recorded import Batches
from bat_agent.evaluation.hearing import Array, Progress, listen
from bat_agent.evaluation.metrics import expected_calibration_error
from bat_agent.evaluation.questions import answer_all, kept_confidence
from bat_agent.evaluation.report import Data
from bat_agent.hearing.confidence import Calibration, Curve, fit_curve
from bat_agent.hearing.perception import Thresholds


@dataclass(frozen=True)
class Check:
    """How far confidence is from what comes true, on clips that the curve was not fitted on."""

    output: str
    """As in :mod:`bat_agent.hearing.confidence`; ``answer, `` and a form of answers."""
    clips: int
    """Statements it was checked on."""
    before: float
    """Expected calibration error of the raw confidence."""
    after: float
    """The same after the curve."""


def calibrate(
    bat: Bat,
    data: Data,
    asked: Batches | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[Calibration, list[Check]]:
    """Curves for every output of an agent's encoder and, with questions ``asked``, for every form of answer; fitted on
    all there is, and how well such curves do on clips (or answers) they never saw.

    A confidence that curves make no truer stays as it is. What a source is and where comes from clips with one; whether
    there is one at all from those with two as well.
    """
    statements = dict(listen(bat.encoder, data.one, bat.device, progress=progress).confidence)
    if data.two is not None and "source" in statements:
        both = (statements["source"], listen(bat.encoder, data.two, bat.device, progress=progress).confidence["source"])
        sure, right = (np.concatenate(column) for column in zip(*both, strict=True))
        statements["source"] = (sure, right)
    curves, checks = _fit(statements)
    answers: dict[str, Curve] = {}
    if asked is not None:
        questions, said = answer_all(bat, {"agent": bat.reasoner}, asked)
        answers, more = _fit(kept_confidence(questions, said["agent"]))
        checks += [replace(check, output=f"answer, {check.output}") for check in more]
    return replace(Calibration(answers=answers), **curves), checks


NAMED_RIGHT = 2 / 3
"""A side is named from where on it is right with this probability: twice as often as not."""


def named_from(thresholds: Thresholds, curves: Calibration) -> Thresholds:
    """The thresholds with those of the sides where the curves reach :data:`NAMED_RIGHT`, at least an even chance."""
    reached = {axis: max(getattr(curves, axis).reaching(NAMED_RIGHT), 0.5) for axis in thresholds.sides}
    return replace(thresholds, **{axis: round(value, 4) for axis, value in reached.items()})


def _fit(statements: Mapping[str, tuple[Array, Array]]) -> tuple[dict[str, Any], list[Check]]:
    checks = [_check(output, *pair) for output, pair in statements.items()]
    return {c.output: fit_curve(*statements[c.output]) for c in checks if c.after < c.before}, checks


def _check(output: str, sure: Array, right: Array) -> Check:
    """Two folds, odd and even: each is checked with the curve of the other."""
    said = np.empty(len(sure))
    for fold in (0, 1):
        curve = fit_curve(sure[1 - fold :: 2], right[1 - fold :: 2])
        said[fold::2] = [curve(float(one)) for one in sure[fold::2]]
    return Check(output, len(sure), expected_calibration_error(sure, right), expected_calibration_error(said, right))
