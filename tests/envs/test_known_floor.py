"""The way of an agent that knows a floor only by bumping into what stands on it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bat_agent_envs.floor import Floor
from bat_agent_envs.known_floor import KnownFloor

STEP_M, TURN = 0.25, math.radians(30)


def walk(floor: Floor, start: tuple[float, float], goal: tuple[float, float], most: int = 120) -> tuple[float, int]:
    """How near the agent comes to the goal, as nearly as it may stand, and the steps of it."""
    known, (x, z), faces = KnownFloor(), start, 0
    for number in range(most):
        known.stands(x, z)
        if math.dist((x, z), goal) < 0.5:
            return math.dist((x, z), goal), number
        turns = sorted(range(faces - 6, faces + 7), key=lambda turn: abs(turn - faces))
        wanted = known.way((x, z), goal, [turn * TURN for turn in turns], STEP_M)
        faces = round(wanted / TURN)
        before = x, z
        x, z, hit = floor.slide(x, z, -STEP_M * math.sin(wanted), -STEP_M * math.cos(wanted))
        if hit:
            known.bumped(before, (x, z), wanted, STEP_M)
    return math.dist((x, z), goal), most


def hall(*boxes: tuple[float, float, float, float]) -> Floor:
    """8 by 8 m with boxes (x from, z from, x to, z to), already as wide as the agent needs them."""
    free = np.ones((80, 80), bool)
    for x0, z0, x1, z1 in boxes:
        free[round(x0 * 10) : round(x1 * 10), round(z0 * 10) : round(z1 * 10)] = False
    return Floor((0.0, 0.0), free)


def test_it_walks_straight_where_nothing_is() -> None:
    left_m, steps = walk(hall(), (4.0, 7.0), (4.0, 2.0))
    assert left_m < 0.5
    assert steps <= 20


@pytest.mark.parametrize(
    ("boxes", "most"),
    [
        ([(3.4, 3.8, 4.6, 4.6)], 34),  # a box across the way
        ([(3.0, 3.8, 5.4, 4.4)], 45),  # a wide one
        ([(3.0, 3.0, 3.4, 5.0), (4.6, 3.0, 5.0, 5.0), (3.0, 3.0, 5.0, 3.4)], 80),  # a pocket, open towards the agent
        ([(0.0, 4.0, 6.0, 4.4)], 80),  # a wall with a gap far on the right
    ],
)
def test_it_finds_its_way_around_what_it_bumps_into(boxes: list[tuple[float, ...]], most: int) -> None:
    left_m, steps = walk(hall(*boxes), (4.0, 6.5), (4.0, 1.5))  # type: ignore[arg-type]
    assert left_m < 0.5
    assert steps <= most


def test_among_furniture_by_lot_it_gets_there_nearly_always() -> None:
    """40 halls with nine boxes each; those with a way are told by the shortest one on the true floor."""
    rng = np.random.default_rng(0)
    found = []
    while len(found) < 40:
        corners = rng.uniform(0.3, 6.8, (9, 2))
        sizes = rng.uniform(0.6, 1.5, (9, 2))
        floor = hall(*(tuple(np.r_[low, low + size]) for low, size in zip(corners, sizes, strict=True)))  # type: ignore[arg-type]
        start, goal = (0.15, 7.85), (7.8, 0.2)
        if not (floor.is_free(*start) and math.isfinite(floor.distances_to(*start)[floor.cell(*goal)])):
            continue
        found.append(walk(floor, start, goal)[0] < 0.5)
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("turn_deg", [0.0, 30.0, -45.0, 150.0])
def test_a_bump_tells_how_what_was_in_the_way_lies(turn_deg: float) -> None:
    """A wall along z, whatever the angle at which it was met: taken is what lies behind it, not what lies beside."""
    known = KnownFloor()
    turn = math.radians(turn_deg)
    step = -STEP_M * math.sin(turn - math.pi / 2), -STEP_M * math.cos(turn - math.pi / 2)  # about to the right
    if step[0] <= 0:
        step = -step[0], step[1]
    turn = math.atan2(-step[0], -step[1])
    known.stands(0.0, 0.0)
    known.bumped((0.0, 0.0), (0.02, step[1]), turn, STEP_M)
    assert known.metres((0.0, step[1]), (0.0, step[1] - 1.0)) == pytest.approx(1.0, abs=0.1)
    assert known.way((0.02, step[1]), (2.0, step[1]), [-math.pi / 2, 0.0, math.pi], STEP_M) != -math.pi / 2


def test_the_length_of_the_way_is_that_around_what_is_known() -> None:
    known = KnownFloor()
    known.stands(0.0, 0.0)
    straight = known.metres((0.0, 0.0), (0.0, -2.0))
    for side in np.arange(-0.5, 0.51, 0.1):
        known.bumped((side, -0.7), (side, -0.75), 0.0, STEP_M)
    assert straight == pytest.approx(2.0, abs=0.06)
    assert known.metres((0.0, 0.0), (0.0, -2.0)) == pytest.approx(2 * math.hypot(0.65, 1.0), abs=0.25)
