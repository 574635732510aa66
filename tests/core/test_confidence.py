"""Confidence: the mass around what is said, and curves that make it come true."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bat_agent.hearing.confidence import (
    Calibration,
    Curve,
    direction_confidence,
    distance_confidence,
    fit_curve,
)
from bat_agent.questions.answers import AXES


def one_hot(bins: int, at: int) -> np.ndarray:
    return np.eye(bins)[at]


@pytest.mark.parametrize(("true_deg", "inside"), [(90, 1.0), (109, 1.0), (111, 0.0), (270, 0.0)])
def test_all_mass_counts_within_20_degrees_and_none_beyond(true_deg: int, inside: float) -> None:
    found = direction_confidence(one_hot(360, true_deg), one_hot(180, 90), 90.0, 0.0)
    assert found == pytest.approx(inside)


def test_straight_up_every_azimuth_is_near() -> None:
    assert direction_confidence(np.full(360, 1 / 360), one_hot(180, 175), 10.0, 85.0) == pytest.approx(1)


def test_an_encoder_that_knows_nothing_is_as_sure_as_chance() -> None:
    """Bins are equally likely in azimuth and elevation, so that this holds near the horizon."""
    found = direction_confidence(np.full(360, 1 / 360), np.full(180, 1 / 180), 90.0, 0.0)
    assert found == pytest.approx(math.pi * 20**2 / (360 * 180), rel=0.05)


def test_distance_counts_the_bins_beside() -> None:
    probs = np.arange(21) / np.arange(21).sum()
    assert distance_confidence(probs, 2.0) == pytest.approx(probs[3:6].sum())
    assert distance_confidence(probs, 0.0) == pytest.approx(probs[:2].sum())
    assert distance_confidence(probs, 10.0) == pytest.approx(probs[19:].sum())


def test_a_fitted_curve_undoes_a_known_overconfidence() -> None:
    """Truth is drawn with p, the raw confidence has twice its logit plus 1: halve it and take 0.5 off."""
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 1.5, 40_000)
    right = rng.random(40_000) < 1 / (1 + np.exp(-logit))
    curve = fit_curve(1 / (1 + np.exp(-(2 * logit + 1))), right)
    assert (curve.scale, curve.offset) == (pytest.approx(0.5, abs=0.03), pytest.approx(-0.5, abs=0.05))
    assert [curve(p) for p in (0.1, 0.5, 0.9)] == sorted(curve(p) for p in (0.1, 0.5, 0.9))


@pytest.mark.parametrize("right", [np.ones(100, dtype=bool), np.zeros(100, dtype=bool), np.array([True, False])])
def test_nothing_to_fit_leaves_it_as_it_is(right: np.ndarray) -> None:
    curve = fit_curve(np.linspace(0.1, 0.9, len(right)), right)
    assert [curve(p) for p in (0.0, 0.3, 1.0)] == [0.0, 0.3, 1.0]


def test_a_confidence_against_the_truth_becomes_the_average() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(5000)
    curve = fit_curve(confidence, rng.random(5000) < 0.7 * (1 - confidence))
    assert curve(0.1) == curve(0.9) == pytest.approx(0.35, abs=0.03)


def test_where_a_curve_reaches_a_probability() -> None:
    for curve in (Curve(), Curve(1.7, -0.4), Curve(0.3, 0.9)):
        assert curve(curve.reaching(2 / 3)) == pytest.approx(2 / 3)
    assert Curve(0.0, 1.0).reaching(2 / 3) == 0.0  # 0.73 whatever the head says
    assert Curve(0.0, 0.5).reaching(2 / 3) == 1.0


def test_calibration_survives_json_and_what_is_missing_stays_raw() -> None:
    calibration = Calibration(direction=Curve(0.5, -0.1))
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    assert Calibration.from_dict({}) == Calibration()
    assert set(calibration.to_dict()) == {"source", "label", "direction", "distance", *AXES, "answers"}
