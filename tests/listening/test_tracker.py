"""Tracks: one number for one source, whatever single looks say."""

from __future__ import annotations

import numpy as np
import pytest

from bat_agent.hearing.perception import PerceivedSource
from bat_agent.listening import words
from bat_agent.listening.events import TrackedSource
from bat_agent.listening.tracker import KEEP_S, Tracker

HOP_S = 0.25


def heard(
    label: str, azimuth_deg: float | None, distance_m: float | None = 2.0, confidence: float = 0.9
) -> PerceivedSource:
    return PerceivedSource((label,), azimuth_deg, None if azimuth_deg is None else 0.0, distance_m, confidence)


def run(looks: list[list[PerceivedSource]]) -> list[tuple[TrackedSource, ...]]:
    tracker = Tracker()
    return [tracker.look(sources, (number + 1) * HOP_S) for number, sources in enumerate(looks)]


def test_a_source_is_told_once_it_was_heard_twice_and_keeps_its_number() -> None:
    told = run([[heard("Dog", 90.0)]] * 6)
    assert told[0] == ()
    assert [one.track for tracks in told[1:] for one in tracks] == [1] * 5
    assert [one.state for (one,) in told[1:]] == ["appearing", "appearing", "steady", "steady", "steady"]


@pytest.mark.parametrize("speed_deg_s", [-40.0, 15.0, 40.0])
def test_a_walk_is_one_track_that_follows(speed_deg_s: float) -> None:
    angles = [(350 + speed_deg_s * HOP_S * n) % 360 for n in range(40)]
    told = run([[heard("Dog", angle)] for angle in angles])
    assert {one.track for tracks in told[1:] for one in tracks} == {1}
    behind = [
        abs((one.source.azimuth_deg - a + 180) % 360 - 180) for a, (one,) in zip(angles[8:], told[8:], strict=True)
    ]
    assert max(behind) <= abs(speed_deg_s) * 0.6 + 1  # the time constant of the track, and a degree


def test_one_look_behind_instead_of_in_front_moves_nothing_but_two_do() -> None:
    looks = (
        [[heard("Dog", 80.0)]] * 6 + [[heard("Dog", 280.0)]] + [[heard("Dog", 80.0)]] * 2 + [[heard("Dog", 280.0)]] * 3
    )
    told = run(looks)
    assert {one.track for tracks in told[1:] for one in tracks} == {1}
    assert told[6][0].source.azimuth_deg == pytest.approx(80.0)
    assert told[-1][0].source.azimuth_deg == pytest.approx(280.0)


def test_two_sources_that_cross_keep_their_names() -> None:
    looks = [[heard("Dog", 30.0 + 5 * n), heard("Siren", 150.0 - 5 * n, confidence=0.8)] for n in range(24)]
    rng = np.random.default_rng(0)
    told = run([[look[i] for i in rng.permutation(2)] for look in looks])
    for tracks in told[1:]:
        assert {one.track: one.source.labels[0] for one in tracks} == {
            one.track: one.source.labels[0] for one in told[-1]
        }


def test_a_single_wrong_name_is_outvoted() -> None:
    told = run([[heard("Dog", 90.0)]] * 5 + [[heard("Cat", 92.0)]] + [[heard("Dog", 90.0)]])
    assert [one.source.labels[0] for one in told[5]] == ["Dog"]
    assert len(told[-1]) == 1


def test_names_that_are_guesses_do_not_outvote_one_that_is_known() -> None:
    sure, guess = (
        PerceivedSource((name,), 90.0, 0.0, 2.0, 0.99, {"label": label}) for name, label in (("Dog", 0.9), ("Cat", 0.2))
    )
    told = run([[sure]] * 3 + [[guess]] * 3)
    assert [one.source.labels[0] for one in told[-1]] == ["Dog"]


def test_what_is_not_heard_fades_and_goes_and_comes_back_as_another() -> None:
    quiet = round(KEEP_S / HOP_S) + 1
    told = run([[heard("Dog", 90.0)]] * 3 + [[]] * quiet + [[heard("Dog", 90.0)]] * 2)
    assert told[4][0].state == "vanishing"
    assert told[4][0].unheard_s == pytest.approx(2 * HOP_S)
    assert told[3 + quiet - 1] == ()
    assert told[-1][0].track == 2


def test_without_direction_there_is_still_a_track() -> None:
    told = run([[heard("Dog", 90.0)]] * 3 + [[heard("Dog", None, None)]] * 2)
    assert told[-1][0].track == 1
    assert told[-1][0].source.azimuth_deg is None
    assert told[-1][0].source.region is None


def test_a_track_names_no_side_that_the_newest_look_denies() -> None:
    """A track stood at "behind right, 100 %" while the answer about the same sound was "left, behind"."""
    looks = [[heard("Dog", 310.0)]] * 6 + [[heard("Dog", 230.0)]]
    (before,), (after,) = run(looks)[-2:]
    assert (before.source.undecided, words.where(before.source)) == ((), "behind right")
    assert after.source.azimuth_deg == pytest.approx(310.0)  # one look may be a mistake, and is not followed
    assert after.source.undecided == ("left_right",)
    assert words.where(after.source) == "behind"
    assert after.to_dict()["undecided"] == ["left_right"]


@pytest.mark.parametrize(
    ("azimuth_deg", "elevation_deg", "undecided", "said"),
    [
        (135.0, 0.0, (), "front left"),
        (135.0, 40.0, ("front_behind",), "left, front or behind, above"),
        (90.0, 0.0, ("front_behind", "left_right"), "front or behind"),
        (315.0, 0.0, ("front_behind", "left_right"), "somewhere"),  # was ", front or behind"
        (180.0, 0.0, ("front_behind",), "left"),
        (180.0, 0.0, ("left_right",), "left or right"),
        (45.0, -40.0, ("above_below",), "front right, above or below"),
        (45.0, 5.0, ("above_below",), "front right"),
        (None, None, (), "somewhere"),
    ],
)
def test_where_leaves_out_what_cannot_be_told(
    azimuth_deg: float | None, elevation_deg: float | None, undecided: tuple[str, ...], said: str
) -> None:
    source = PerceivedSource(("Dog",), azimuth_deg, elevation_deg, 2.0, 0.9, undecided=undecided)
    assert words.where(source) == said
