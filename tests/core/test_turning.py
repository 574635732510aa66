"""Heads that turn: what is joined over headings, against the geometry of the two ears."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from bat_agent.hearing.turning import LIKE, Headings, Look, Placed, Turning, _paired
from bat_agent.scene import angle_between_deg

CLASSES = np.eye(3)


def confused(azimuth_deg: float, elevation_deg: float = 0.0, name: int = 0) -> Look:
    """What ears on a sphere without pinnae tell: the angle to the side, and nothing of front or behind."""
    bins, up = np.arange(360), np.arange(180) - 90
    both = np.zeros(360)
    for place in (azimuth_deg, -azimuth_deg):
        apart = (bins - place + 180) % 360 - 180
        both += np.exp(-0.5 * (apart / 6) ** 2)
    high = np.exp(-0.5 * ((up - elevation_deg) / 12) ** 2)
    # The mirror image is as likely, and said.
    return Look(-azimuth_deg % 360, elevation_deg, both / both.sum(), high / high.sum(), CLASSES[name])


def turned(truths_deg: list[float], speed_deg: float, seconds: float = 4.0, step_s: float = 0.25) -> list[Placed]:
    """What is heard at last of sources at these world azimuths by a head that turns left."""
    turning = Turning(jumps=True)
    found: list[Placed] = []
    for t_s in np.arange(step_s, seconds + 1e-9, step_s):
        heading = speed_deg * t_s
        turning.headings.say(t_s, heading)
        looks = [confused(truth - heading, name=number) for number, truth in enumerate(truths_deg)]
        found = turning.look(looks, t_s, step_s, step_s)
    return found


def off_deg(placed: Placed, azimuth_deg: float) -> float:
    return angle_between_deg((placed.azimuth_deg, placed.elevation_deg), (azimuth_deg, 0.0))


@pytest.mark.parametrize("azimuth_deg", [10.0, 80.0, 130.0, 200.0, 265.0, 340.0])
@pytest.mark.parametrize("speed_deg", [10.0, -25.0, 50.0])
def test_turning_tells_front_from_behind(azimuth_deg: float, speed_deg: float) -> None:
    """The one that every look says is always the image of the source; only the source stays where it is."""
    (placed,) = turned([azimuth_deg], speed_deg)
    assert placed.fused
    assert off_deg(placed, azimuth_deg - 4 * speed_deg) < 6
    assert placed.azimuth.sum() == pytest.approx(1, abs=1e-6)
    assert placed.elevation.sum() == pytest.approx(1, abs=1e-6)


def test_each_of_two_sources_has_its_own_place() -> None:
    first, second = turned([60.0, 300.0], 25.0)
    assert off_deg(first, 60.0 - 100.0) < 6
    assert off_deg(second, 300.0 - 100.0) < 6


def test_a_head_at_rest_hears_what_its_look_says() -> None:
    (placed,) = turned([60.0], 0.0)
    assert not placed.fused
    assert (placed.azimuth_deg, placed.elevation_deg) == (300.0, 0.0)


@pytest.mark.parametrize("step_s", [0.02, 0.05, 0.25])
def test_as_much_is_looked_at_as_came_near_one_heading(step_s: float) -> None:
    """Of a step of 2°, which once was none: a head that turned at 100°/s in steps of 20 ms never turned."""
    headings = Headings(jumps=True)
    for number in range(1, round(4 / step_s) + 1):
        headings.say(number * step_s, 25.0 * number * step_s)
    steady = headings.steady_s(4.0, 2.0)
    assert steady == pytest.approx(20 / 25, abs=step_s + 0.01)
    fast = Headings(jumps=True)
    for number in range(1, round(4 / step_s) + 1):
        fast.say(number * step_s, 400.0 * number * step_s)
    assert fast.steady_s(4.0, 2.0) == 0.25
    still = Headings()
    still.say(0.0, 7.0)
    still.say(4.0, 7.0)
    assert still.steady_s(4.0, 2.0) == 2.0


def test_headings_go_on_beyond_a_circle_and_between_two_times() -> None:
    headings = Headings()
    for t_s, heading in ((0.0, 170.0), (1.0, -170.0), (2.0, -150.0)):
        headings.say(t_s, heading)
    np.testing.assert_allclose(headings.at(np.array([0.5, 1.0, 1.5, 9.0])), [180, 190, 200, 210])


def test_looks_and_tracks_are_paired_as_scipy_pairs_them() -> None:
    """Many tracks cost little: all orders of them were tried once, minutes for four looks beside forty tracks."""
    rng = np.random.default_rng(4)
    for looks, tracks in ((1, 1), (2, 5), (4, 3), (4, 40)):
        for _ in range(20):
            alike = rng.uniform(0, 2, (looks, tracks))
            found = _paired(alike)
            assert len({row for row, _ in found}) == len({column for _, column in found}) == len(found)
            gains = np.where(alike > LIKE, alike, 0.0)
            rows, columns = linear_sum_assignment(-gains)
            assert sum(alike[pair] for pair in found) == pytest.approx(gains[rows, columns].sum())
