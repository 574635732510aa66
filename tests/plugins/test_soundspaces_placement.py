"""Placement: where listeners and sources may be, how they are distributed, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bat_agent.errors import BadInput
from bat_agent_soundspaces.houses import generate_house
from bat_agent_soundspaces.meshes import AcousticMesh, Region, inside
from bat_agent_soundspaces.placement import check_position, check_positions, floor_heights_m, sample_placement


def boxes(*corners: tuple[tuple[float, ...], tuple[float, ...]], regions: tuple[Region, ...] = ()) -> AcousticMesh:
    """Closed boxes from (low, high)."""
    trimesh = pytest.importorskip("trimesh")
    whole = trimesh.util.concatenate([trimesh.creation.box(bounds=pair) for pair in corners])
    faces = np.asarray(whole.faces, np.int32)
    return AcousticMesh(
        np.asarray(whole.vertices, np.float32), faces, ("wall",), np.zeros(len(faces), np.int32), regions, "test mesh"
    )


HALL = ((0.0, 0.0, 0.0), (6.0, 3.0, 8.0))


@pytest.mark.parametrize("seed", range(10))
def test_listener_stands_on_the_floor_and_sources_are_in_the_same_rooms_air(seed: int) -> None:
    rng = np.random.default_rng(seed)
    house = generate_house(rng)
    for _ in range(3):
        placed = sample_placement(house, rng, num_sources=3)
        room = next(region for region in house.regions if region.name == placed.region)
        listener, sources = np.array([placed.listener_position_m]), np.array(placed.source_positions_m)
        assert sources.shape == (3, 3)
        assert room.contains(np.concatenate([listener, sources])).all()
        assert inside(house, np.concatenate([listener, sources])).all()
        down, up = house.rays.vertical(listener)
        assert down[0] == pytest.approx(1.5, abs=1e-4)
        assert listener[0, 1] <= 1.5 + 0.02  # on the floor or a rug, not on a table
        assert up[0] > 0.3
        assert house.rays.clearance_m(listener, 1.0)[0] >= 0.3
        assert house.rays.clearance_m(sources, 1.0).min() >= 0.1
        distance = np.linalg.norm(sources - listener, axis=1)
        assert distance.min() >= 0.3
        assert distance.max() < 10
        assert placed.heading_deg == 0.0
        check_positions(house, placed.listener_position_m, placed.source_positions_m)


def test_distances_have_the_mode_of_the_paper() -> None:
    """BAT, figure 3: most sources lie 1.5…2.5 m from the listener."""
    distances = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        house = generate_house(rng, rooms=2)
        for _ in range(4):
            placed = sample_placement(house, rng, num_sources=3)
            distances += [math.dist(placed.listener_position_m, source) for source in placed.source_positions_m]
    counts, edges = np.histogram(distances, np.arange(0, 10.5, 0.5))
    metre = counts[:-1] + counts[1:]
    assert 1.0 <= edges[np.argmax(metre)] <= 2.0
    assert 2.2 < np.median(distances) < 3.0


def test_sources_are_uniform_in_the_rooms_volume() -> None:
    mesh = boxes(HALL, regions=(Region("hall", *HALL),))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    placed = [sample_placement(mesh, rng, num_sources=4, min_distance_m=0.1, max_distance_m=20) for _ in range(100)]
    sources = np.array([source for one in placed for source in one.source_positions_m])
    listeners = np.array([one.listener_position_m for one in placed])
    for axis, extent in enumerate(HALL[1]):
        assert stats.kstest(sources[:, axis], "uniform", (0.1, extent - 0.2)).pvalue > 0.01
        if axis != 1:
            assert stats.kstest(listeners[:, axis], "uniform", (0.3, extent - 0.6)).pvalue > 0.01
    np.testing.assert_allclose(listeners[:, 1], 1.5, atol=1e-5)


def test_options_do_what_they_say() -> None:
    mesh = boxes(HALL, regions=(Region("hall", *HALL),))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    placed = [
        sample_placement(
            mesh, rng, num_sources=2, listener_height_m=1.1, min_distance_m=2, max_distance_m=2.5, random_heading=True
        )
        for _ in range(30)
    ]
    for one in placed:
        assert one.listener_position_m[1] == pytest.approx(1.1, abs=1e-5)
        assert all(2 <= math.dist(one.listener_position_m, source) < 2.5 for source in one.source_positions_m)
    headings = [one.heading_deg for one in placed]
    assert min(headings) < 60 < 300 < max(headings)
    assert sample_placement(mesh, rng, num_sources=0).source_positions_m == ()
    twice = [sample_placement(mesh, np.random.default_rng(3), num_sources=2) for _ in range(2)]
    assert twice[0] == twice[1]


def test_other_rooms_only_where_asked_for() -> None:
    house = generate_house(np.random.default_rng(1), rooms=4)
    rng = np.random.default_rng(0)
    placed = [sample_placement(house, rng, same_room=False) for _ in range(25)]
    rooms = [house.region_at(one.source_positions_m[0]) for one in placed]
    assert None not in rooms
    other = [room.name != one.region for room, one in zip(rooms, placed, strict=True)]  # type: ignore[union-attr]
    assert 0 < sum(other) < 25


def test_nobody_stands_on_a_table_or_in_a_cupboard() -> None:
    table, cupboard = ((0.5, 0.0, 0.5), (5.5, 0.8, 4.0)), ((1.0, 0.0, 5.0), (5.0, 2.5, 7.0))
    mesh = boxes(HALL, table, cupboard, regions=(Region("hall", *HALL),))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for _ in range(25):
        placed = sample_placement(mesh, rng, num_sources=2)
        for low, high in (table, cupboard):
            x, _, z = placed.listener_position_m
            assert not (low[0] < x < high[0] and low[2] < z < high[2])
            for source in placed.source_positions_m:
                assert not all(a < value < b for a, value, b in zip(low, source, high, strict=True))


def test_a_mesh_without_rooms_has_storeys_and_one_without_a_ceiling_works() -> None:
    rng = np.random.default_rng(0)
    two = boxes(HALL, ((0.0, 3.3, 0.0), (6.0, 6.0, 8.0)))
    np.testing.assert_allclose(floor_heights_m(two), [0, 3.0, 3.3, 6.0], atol=0.02)
    heights = set()
    for _ in range(12):
        placed = sample_placement(two, rng)
        storey = 0.0 if placed.listener_position_m[1] < 3 else 3.3
        heights.add(round(placed.listener_position_m[1], 2))
        assert storey < placed.source_positions_m[0][1] < storey + 3
        assert placed.region == ""
    assert heights == {1.5, 4.8}
    closed = boxes(HALL)
    up = closed.vertices[closed.faces][..., 1].min(axis=1) < 2.9
    open_top = AcousticMesh(closed.vertices, closed.faces[up], ("wall",), np.zeros(int(up.sum()), np.int32))
    placed = sample_placement(open_top, rng, num_sources=2)
    assert placed.listener_position_m[1] == pytest.approx(1.5, abs=1e-5)


@pytest.mark.parametrize(
    ("high", "options", "words"),
    [
        ((6.0, 1.4, 8.0), {}, "no place for a listener 1.5 m above a floor"),
        ((0.5, 3.0, 0.5), {}, "0.3 m from all surfaces"),
        ((3.0, 2.5, 3.0), {"min_distance_m": 8.0}, "8…10 m away"),
        ((3.0, 2.5, 3.0), {"min_distance_m": 5.0, "max_distance_m": 1.0}, "min_distance_m < max_distance_m"),
        ((3.0, 2.5, 3.0), {"num_sources": -1}, "0 or more"),
    ],
)
def test_where_nothing_fits_it_says_so(high: tuple[float, ...], options: dict[str, float], words: str) -> None:
    mesh = boxes(((0.0, 0.0, 0.0), high))
    with pytest.raises(BadInput, match=words) as caught:
        sample_placement(mesh, np.random.default_rng(0), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ((9.0, 1.0, 1.0), "lies outside test mesh, which spans"),
        ((3.0, -1.0, 1.0), "lies outside"),
        ((2.0, 0.5, 2.0), "in a wall or in furniture"),
        ((0.0, 1.0, 1.0), "in a surface"),
        ((2.0, 1.001, 2.0), "in a surface"),
        ((math.nan, 1.0, 1.0), "three finite coordinates"),
        ((1.0, 1.0), "three finite coordinates"),
    ],
)
def test_bad_places_are_refused(point: tuple[float, ...], words: str) -> None:
    mesh = boxes(HALL, ((1.0, 0.0, 1.0), (3.0, 1.0, 3.0)))
    with pytest.raises(BadInput, match=f"^source 1 .*{words}"):
        check_position(mesh, point, "source 1")
    check_position(mesh, (2.0, 1.1, 2.0), "source 1")


def test_between_two_rooms_is_a_wall() -> None:
    mesh = boxes(HALL, ((6.2, 0.0, 0.0), (9.0, 3.0, 8.0)))
    with pytest.raises(BadInput, match="in a wall"):
        check_position(mesh, (6.1, 1.0, 4.0), "the listener")


def test_a_source_in_the_head_is_refused() -> None:
    mesh = boxes(HALL)
    with pytest.raises(BadInput, match=r"source 1 is 0\.050 m from the centre of the head"):
        check_positions(mesh, (3, 1.5, 3), [(1, 1, 1), (3, 1.5, 3.05)])
    with pytest.raises(BadInput, match=r"the listener at .* lies outside"):
        check_positions(mesh, (30, 1.5, 3), [(1, 1, 1)])
