"""How far away a source is, for ears that walk: against the geometry of the walk."""

from __future__ import annotations

import numpy as np
import pytest

from bat_agent.hearing import ranging
from bat_agent.hearing.sphere import AZIMUTHS, sphere
from bat_agent.hearing.turning import Look, Turning

STEP_M = 0.25


def towards(azimuth: float) -> np.ndarray:
    """Logarithm of how well each azimuth explains a source that is heard there, within 5°; no front is confused."""
    apart = (sphere().azimuth - azimuth + np.pi) % (2 * np.pi) - np.pi
    return np.asarray(np.log(np.exp(-0.5 * (apart / np.radians(5)) ** 2) + 0.02))


@pytest.mark.parametrize("away_m", [0.7, 1.5, 3.0])
def test_walking_past_tells_how_far_away_a_source_is(away_m: float) -> None:
    """Nothing is said of distance: the change of the direction alone tells it, by triangulation."""
    around = ranging.anywhere()
    for number in range(13):
        passed_m = number * STEP_M
        if number:
            around = ranging.walked(around, 0.0, 0.0, STEP_M)
        around = around + ranging.said(towards(np.arctan2(1.0 - passed_m, away_m)), 0.0)
    truth_m = np.hypot(1.0 - 12 * STEP_M, away_m)
    assert ranging.distance_of(around) == pytest.approx(truth_m, rel=0.2)


def test_of_what_is_above_the_walk_on_the_level_counts() -> None:
    """3 m ahead and 1.5 m up, after 2 m towards it: 1 m ahead, 1.5 m up."""
    elevation = np.arctan2(1.5, 3.0)
    around = ranging.anywhere() + 20 * ranging.said(towards(np.pi / 2), float(np.hypot(3.0, 1.5)))
    assert ranging.distance_of(around) == pytest.approx(np.hypot(3.0, 1.5), rel=0.1)
    around = ranging.walked(around, float(elevation), 0.0, 2.0)
    assert ranging.distance_of(around) == pytest.approx(np.hypot(1.0, 1.5), rel=0.15)


def test_a_walk_and_back_leaves_the_map_where_it_was() -> None:
    around = ranging.anywhere() + 10 * ranging.said(towards(1.0), 2.5)
    back = ranging.walked(ranging.walked(around, 0.0, 0.3, -0.4), 0.0, -0.3, 0.4)
    assert ranging.distance_of(back) == pytest.approx(ranging.distance_of(around), rel=0.1)
    assert abs(int(back.max(axis=1).argmax()) - int(around.max(axis=1).argmax())) <= 1
    assert back.shape == (AZIMUTHS, ranging.DISTANCES)


def heard_at(azimuth_deg: float, distance_m: float) -> Look:
    """A look that knows the azimuth within 6°, on the level."""
    bins, up = np.arange(360), np.arange(180) - 90
    across = np.exp(-0.5 * (((bins - azimuth_deg + 180) % 360 - 180) / 6) ** 2)
    high = np.exp(-0.5 * (up / 12) ** 2)
    return Look(azimuth_deg % 360, 0.0, across / across.sum(), high / high.sum(), np.ones(1), distance_m)


@pytest.mark.parametrize("elevation", [0.0, 1.2, np.pi / 2])
def test_ears_that_are_carried_far_away_know_nothing_wrong(elevation: float) -> None:
    around = ranging.walked(ranging.anywhere() + ranging.said(towards(1.0), 2.0), elevation, 80.0, -300.0)
    assert np.isfinite(around).all()
    assert ranging.NEAREST_M <= ranging.distance_of(around) <= ranging.FARTHEST_M + 1e-9


def off_by(*, stands: bool) -> tuple[float, float]:
    """By what part the distances of looks are off that are a third off, in walks past a source; and those that are
    joined.
    """
    alone, joined = [], []
    rng = np.random.default_rng(0)
    for _ in range(20):
        turning = Turning(jumps=True)
        for number in range(16):
            ahead_m = number * STEP_M
            turning.headings.say(number * STEP_M, 0.0)
            if stands:
                turning.stand(0.0, ahead_m)
            truth_m = float(np.hypot(3.0 - ahead_m, 1.0))
            said_m = truth_m * float(np.exp(rng.normal(0, 0.4)))
            look = heard_at(float(np.degrees(np.arctan2(3.0 - ahead_m, -1.0))), said_m)
            (placed,) = turning.look([look], number * STEP_M, 0.25, 0.25)
            if number >= 4:
                alone.append(abs(np.log(max(said_m, 1e-3) / truth_m)))
                joined.append(abs(np.log(max(placed.distance_m, 1e-3) / truth_m)))
    return float(np.mean(alone)), float(np.mean(joined))


def test_ears_that_walk_hear_the_distance_by_all_that_they_heard() -> None:
    alone, joined = off_by(stands=True)
    assert joined < 0.6 * alone


def test_ears_whose_place_is_unknown_say_what_the_newest_look_does() -> None:
    alone, joined = off_by(stands=False)
    assert joined == pytest.approx(alone)


def test_a_model_that_says_no_distance_is_given_none() -> None:
    turning = Turning(jumps=True)
    for number in range(4):
        turning.headings.say(number * STEP_M, 0.0)
        turning.stand(0.0, number * STEP_M)
        (placed,) = turning.look([heard_at(90.0, 0.0)], number * STEP_M, 0.25, 0.25)
        assert placed.distance_m == 0.0
