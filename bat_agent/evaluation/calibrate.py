"""Fitting an agent's confidence to what comes true: curves from half of the clips, checked on the other half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bat_agent.confidence import Calibration, fit_curve
from bat_agent.evaluation.hearing import Array, Progress, listen
from bat_agent.evaluation.report import Data
from bat_agent.metrics import expected_calibration_error


@dataclass(frozen=True)
class Check:
    """How far confidence is from what comes true, on clips that the curve was not fitted on."""

    output: str
    """As in :mod:`bat_agent.confidence`."""
    clips: int
    """Statements it was checked on."""
    before: float
    """Expected calibration error of the raw confidence."""
    after: float
    """The same after the curve."""


def calibrate(
    encoder: object, data: Data, device: torch.device | str, progress: Progress = lambda done, total: None
) -> tuple[Calibration, list[Check]]:
    """Curves for every output of an encoder, fitted on all clips, and how well such curves do on clips they never saw.

    A confidence that curves make no truer stays as it is. What a source is and where comes from clips with one; whether
    there is one at all from those with two as well.
    """
    statements = dict(listen(encoder, data.one, device, progress=progress).confidence)
    if data.two is not None and "source" in statements:
        both = (statements["source"], listen(encoder, data.two, device, progress=progress).confidence["source"])
        sure, right = (np.concatenate(column) for column in zip(*both, strict=True))
        statements["source"] = (sure, right)
    checks = [_check(output, *pair) for output, pair in statements.items()]
    curves = {check.output: fit_curve(*statements[check.output]) for check in checks if check.after < check.before}
    return Calibration(**curves), checks


def _check(output: str, sure: Array, right: Array) -> Check:
    """Two folds, odd and even: each is checked with the curve of the other."""
    said = np.empty(len(sure))
    for fold in (0, 1):
        curve = fit_curve(sure[1 - fold :: 2], right[1 - fold :: 2])
        said[fold::2] = [curve(float(one)) for one in sure[fold::2]]
    return Check(output, len(sure), expected_calibration_error(sure, right), expected_calibration_error(said, right))
