"""Measures of navigation against episodes worked out by hand (Anderson et al. 2018; Batra et al. 2020; SoundSpaces)."""

from __future__ import annotations

import math

import pytest

from bat_agent_envs.metrics import Walk, episode_metrics, least_actions


def test_a_detour_of_twice_the_way_halves_spl() -> None:
    found = episode_metrics(Walk(4.0, 8.0, 0.5, 40, 20, success=True, silent=True, direction_error_deg=7.0))
    # spl = 1 · 4/8; soft_spl = (1 − 0.5/4) · 4/8; sna = 1 · 20/40.
    assert found == {
        "success": 1.0, "spl": 0.5, "soft_spl": 0.4375, "na": 40.0, "sna": 0.5, "sws": 1.0, "distance_to_goal": 0.5,
        "direction_error_deg": 7.0,
    }  # fmt: skip


def test_a_failure_counts_nothing_but_the_share_of_the_way() -> None:
    found = episode_metrics(Walk(5.0, 3.0, 2.0, 12, 25, success=False, silent=True))
    assert (found["success"], found["spl"], found["sna"], found["sws"]) == (0, 0, 0, 0)
    assert found["soft_spl"] == pytest.approx(0.6)  # 1 − 2/5, and no detour
    assert math.isnan(found["direction_error_deg"])


def test_a_walk_shorter_than_the_way_to_the_very_goal_is_no_better_than_direct() -> None:
    """As success comes within a metre of the goal, fewer metres may be walked than there are to it."""
    found = episode_metrics(Walk(4.0, 3.1, 0.9, 10, 14, success=True))
    assert (found["spl"], found["sna"], found["sws"]) == (1.0, 1.0, 0.0)


def test_walking_away_is_worth_nothing() -> None:
    assert episode_metrics(Walk(2.0, 3.0, 5.0, 12, 9, success=False))["soft_spl"] == 0.0


@pytest.mark.parametrize(
    ("way_m", "turn_deg", "least"),
    [(0.0, 0.0, 1), (1.0, 0.0, 5), (1.01, 0.0, 6), (1.0, 90.0, 8), (1.0, -91.0, 9), (-0.5, 30.0, 2)],
)
def test_least_actions_turn_walk_and_stop(way_m: float, turn_deg: float, least: int) -> None:
    assert least_actions(way_m, turn_deg, forward_m=0.25, turn_step_deg=30.0) == least
