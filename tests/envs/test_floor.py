"""The floor: what is blocked stays blocked, and ways along it are as long as geometry says."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest

from bat_agent.scene import Listener, Room, Scene
from bat_agent_envs.floor import CELL_M, Floor, floor_of

RADIUS_M = 0.2


def _room(wide: float = 6.0, deep: float = 5.0) -> Scene:
    return Scene(Room((wide, 2.6, deep)), Listener((1.0, 1.5, 1.0)), ())


def _brute_force(free: np.ndarray, start: tuple[int, int], steps: int = 7) -> np.ndarray:
    """Ways with every move of up to ``steps`` cells whose straight line stays free: finer than what is tested."""
    ways = np.full(free.shape, np.inf)
    ways[start] = 0.0
    moves = [(a, b) for a in range(-steps, steps + 1) for b in range(-steps, steps + 1) if math.gcd(a, b) == 1]
    queue = [(0.0, start)]
    while queue:
        way, (i, k) = heapq.heappop(queue)
        if way > ways[i, k]:
            continue
        for a, b in moves:
            to, further = (i + a, k + b), way + CELL_M * math.hypot(a, b)
            inside = 0 <= to[0] < free.shape[0] and 0 <= to[1] < free.shape[1]
            if inside and further < ways[to] and _clear(free, (i, k), (a, b)):
                ways[to] = further
                heapq.heappush(queue, (further, to))
    return ways


def _clear(free: np.ndarray, start: tuple[int, int], move: tuple[int, int]) -> bool:
    """As wide as a third of a cell, so that nothing slips between two cells that touch at their corners."""
    across = np.array([-move[1], move[0]]) / math.hypot(*move) / 6
    along = np.array(start) + 0.5 + np.linspace(0, 1, 40)[:, None] * np.array(move)
    places = np.concatenate([along + across, along - across])
    return bool(free[tuple(np.floor(places).astype(int).T)].all())


def test_ways_agree_with_brute_force_around_obstacles() -> None:
    rng = np.random.default_rng(0)
    free = np.ones((20, 16), bool)
    for _ in range(6):
        i, k = rng.integers((0, 0), (16, 13))
        free[i : i + 4, k : k + 2] = False
    starts = np.argwhere(free)
    start = tuple(int(n) for n in starts[rng.integers(len(starts))])
    floor = Floor((0.0, 0.0), free)
    ways, true = floor.distances_to(*floor.centre(start)), _brute_force(free, start)
    assert ((ways < np.inf) == (true < np.inf)).all()
    reached = np.isfinite(true)
    assert (ways[reached] >= 0.999 * true[reached] - 1e-9).all()
    # Knight's moves are 2.7 % too long at worst; corners, where lines graze cells, add a cell.
    assert (ways[reached] <= 1.03 * true[reached] + CELL_M).all()


def test_a_wall_with_a_gap_makes_the_way_go_through_the_gap() -> None:
    floor = floor_of(_room(), RADIUS_M, ((2.9, 1.0, 3.1, 5.0),))  # a wall from z = 1 to the far side
    start, end = (1.0, 4.0), (5.0, 4.0)
    corner_z = 1.0 - RADIUS_M
    expected = 2 * math.hypot(3.0 - RADIUS_M - 0.1 - 1.0, 4.0 - corner_z) + 2 * (0.1 + RADIUS_M)
    i, k = floor.cell(*start)
    assert floor.distances_to(*end)[i, k] == pytest.approx(expected, rel=0.05)
    assert math.dist(start, end) < 0.6 * expected


def test_open_floor_is_as_far_as_the_crow_flies_and_the_other_way_round() -> None:
    floor, rng = floor_of(_room(), RADIUS_M), np.random.default_rng(1)
    for _ in range(10):
        a, b = (floor.centre(floor.cell(*rng.uniform((0.4, 0.4), (5.6, 4.6)))) for _ in range(2))
        there, back = floor.distances_to(*b)[floor.cell(*a)], floor.distances_to(*a)[floor.cell(*b)]
        assert there == pytest.approx(back)
        assert 0.999 * math.dist(a, b) - 1e-9 <= there <= 1.03 * math.dist(a, b) + 1e-9


def test_a_place_that_is_walled_in_cannot_be_reached() -> None:
    free = np.ones((12, 12), bool)
    free[4:9, 4:9] = False
    free[6, 6] = True
    floor = Floor((0.0, 0.0), free)
    assert floor.distances_to(0.05, 0.05)[6, 6] == np.inf
    with pytest.raises(ValueError, match="outside"):
        floor.distances_to(-1.0, 0.0)


def test_a_diagonal_gap_between_two_boxes_is_no_way_through() -> None:
    free = np.ones((6, 6), bool)
    free[:3, 3:], free[3:, :3] = False, False
    assert Floor((0.0, 0.0), free).distances_to(0.05, 0.05)[5, 5] == np.inf


def test_the_agent_keeps_its_radius_from_walls_and_boxes() -> None:
    box = (2.0, 2.0, 3.0, 2.5)
    floor = floor_of(_room(), RADIUS_M, (box,))
    for i, k in np.argwhere(floor.free):
        x, z = floor.centre((int(i), int(k)))
        apart = math.hypot(max(box[0] - x, x - box[2], 0), max(box[1] - z, z - box[3], 0))
        assert min(x, z, 6 - x, 5 - z, apart) > RADIUS_M - CELL_M / 2 - 1e-9


def test_steps_slide_along_walls_and_never_enter_what_is_blocked() -> None:
    floor, rng = floor_of(_room(), RADIUS_M, ((2.0, 2.0, 3.0, 2.5), (4.0, 0.0, 4.4, 3.0))), np.random.default_rng(2)
    x, z = 1.0, 1.0
    hits = 0
    for _ in range(500):
        dx, dz = rng.normal(0, 0.3, 2)
        to_x, to_z, hit = floor.slide(x, z, dx, dz)
        assert floor.is_free(to_x, to_z)
        assert math.hypot(to_x - x, to_z - z) <= math.hypot(dx, dz) + 1e-9
        if not hit:
            assert (to_x, to_z) == pytest.approx((x + dx, z + dz))
        hits, x, z = hits + hit, to_x, to_z
    assert 20 < hits < 480
    # Obliquely into the wall x = 0: the part along it is kept.
    x, z, hit = floor.slide(0.3, 2.0, -0.3, 0.4)
    assert hit
    assert z == pytest.approx(2.4)
    assert x >= RADIUS_M


def test_a_slide_leads_only_to_where_there_is_a_way_back_from() -> None:
    """It slipped between cells that touch at their corners, into pockets without a way: rewards there were −inf."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        free = rng.random((16, 16)) > 0.35
        floor = Floor((0.0, 0.0), free)
        cells = np.argwhere(free)
        start = tuple(int(n) for n in cells[rng.integers(len(cells))])
        ways = floor.distances_to(*floor.centre(start))
        x, z = floor.centre(start)
        for turn in rng.uniform(0, 2 * math.pi, 300):
            x, z, _ = floor.slide(x, z, 0.25 * math.cos(turn), 0.25 * math.sin(turn))
            assert floor.is_free(x, z)
            assert math.isfinite(ways[floor.cell(x, z)])
