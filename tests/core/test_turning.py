"""Heads that turn: what is joined over headings, against the geometry of the two ears."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from bat_agent.hearing.headings import Headings, onsets
from bat_agent.hearing.turning import Look, Placed, Turning, _paired
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
def test_as_much_is_looked_at_as_tells_of_one_stretch(step_s: float) -> None:
    """Of a step of 2°, which once was none: a head that turned at 100°/s in steps of 20 ms never turned."""
    noise = np.random.default_rng(0).standard_normal((2, 64_000))

    def steady_s(speed_deg: float) -> float:
        headings = Headings(jumps=True)
        for number in range(1, round(4 / step_s) + 1):
            headings.say(number * step_s, speed_deg * number * step_s)
        return headings.steady_s(4.0, noise)

    assert steady_s(14.0) == pytest.approx(20 / 14, abs=step_s + 0.01)
    assert steady_s(50.0) == pytest.approx(1.0, abs=0.011)
    assert steady_s(200.0) == pytest.approx(100 / 200, abs=step_s + 0.1)
    still = Headings()
    still.say(0.0, 7.0)
    still.say(4.0, 7.0)
    assert still.steady_s(4.0, noise) == 2.0


def test_a_look_reaches_back_to_the_last_sound_that_began() -> None:
    """Of an echo alone a direction is made up."""
    rng = np.random.default_rng(0)
    sound = 1e-4 * rng.standard_normal((2, 64_000))
    sound[:, 12_800:16_000] += rng.standard_normal((2, 3200))  # 1.6 s before the end
    headings = Headings()
    for t_s in (0.0, 4.0):
        headings.say(t_s, 50.0 * t_s)
    assert headings.steady_s(4.0, sound) == pytest.approx(1.8, abs=0.1)


def test_what_a_look_says_is_turned_by_the_headings_of_its_onsets() -> None:
    """A click in the middle of a sweep came while the head faced its middle."""
    for at_s in (0.3, 0.7):
        sound = 1e-4 * np.random.default_rng(0).standard_normal((2, 32_000))
        start = round(at_s * 32_000)
        sound[:, start : start + 320] += 1.0
        assert onsets(sound).argmax() == round(at_s * 100)
        for memory_s in (0.0, 6.0):
            turning = Turning(memory_s=memory_s)
            turning.headings.say(0.0, 0.0)
            turning.headings.say(1.0, 100.0)
            (placed,) = turning.look([confused(90.0 - 100 * at_s)], 1.0, 1.0, 1.0, sound)
            # As it is said: the image of what is at 90° at the heading of 0.
            assert angle_between_deg((placed.azimuth_deg, 0.0), (200 * at_s - 190, 0.0)) < 4
            assert placed.azimuth.sum() == pytest.approx(1, abs=1e-6)


def test_a_look_that_errs_begins_no_source() -> None:
    """It did, and later looks went on with that: 72° off at the end, where all but one look had been right."""
    turning = Turning(jumps=True)
    found: list[Placed] = []
    for number in range(1, 17):
        heading = 12.5 * number
        turning.headings.say(number * 0.25, heading)
        said = 60.0 - heading + (150.0 if number in (5, 9, 10) else 0.0)
        found = turning.look([confused(said)], number * 0.25, 0.25, 0.25)
    assert off_deg(found[0], 60.0 - 200.0) < 6


def test_a_sound_of_another_name_elsewhere_is_another_source() -> None:
    turning = Turning(jumps=True)
    for number in range(1, 9):
        turning.headings.say(number * 0.25, 12.5 * number)
        turning.look([confused(60.0 - 12.5 * number)], number * 0.25, 0.25, 0.25)
    found: list[Placed] = []
    for number in range(9, 17):
        turning.headings.say(number * 0.25, 12.5 * number)
        found = turning.look([confused(200.0 - 12.5 * number, name=1)], number * 0.25, 0.25, 0.25)
    assert off_deg(found[0], 0.0) < 6


def test_ears_that_walk_hear_as_from_where_they_are() -> None:
    """What was heard 2 m ahead on the left is to the left after 1.4 m; it stayed ahead on the left."""
    errors = {}
    for told in (True, False):
        turning = Turning(jumps=True)
        for number in range(1, 13):
            heading, ahead_m = 4.0 * number, max(number - 6, 0) * 0.25
            turning.headings.say(number * 0.25, heading)
            if told:
                turning.stand(0.0, ahead_m)
            place = np.degrees(np.arctan2(1.4 - ahead_m, -1.4))
            look = replace(confused(place - heading), distance_m=float(np.hypot(1.4 - ahead_m, 1.4)))
            found = turning.look([look], number * 0.25, 0.25, 0.25)
        errors[told] = off_deg(found[0], place - heading)
    assert errors[True] < 6
    assert errors[False] > 2 * errors[True]


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
            alike = rng.uniform(-1, 1, (looks, tracks))
            found = _paired(alike)
            assert len({row for row, _ in found}) == len({column for _, column in found}) == len(found)
            gains = np.maximum(alike, 0.0)
            rows, columns = linear_sum_assignment(-gains)
            assert sum(alike[pair] for pair in found) == pytest.approx(gains[rows, columns].sum())
