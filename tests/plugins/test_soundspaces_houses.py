"""Generated houses: closed, furnished without overlap, of the sizes asked for, the same again."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent_soundspaces.furniture import COVER, furnish
from bat_agent_soundspaces.houses import AREA_SCALE, DOOR_M, WALL_M, generate_house
from bat_agent_soundspaces.materials import load_materials, match, unmatched
from bat_agent_soundspaces.meshes import check_mesh, face_areas_m2, inside, load_mesh, openness, save_mesh


@pytest.mark.parametrize("seed", range(12))
def test_a_house_is_closed_and_every_surface_has_a_material(seed: int) -> None:
    house = generate_house(np.random.default_rng(seed))
    check_mesh(house)
    found = openness(house)
    assert found.boundary_edge_share == 0.0
    assert found.ray_hit_share == 1.0
    assert unmatched(house.materials, load_materials()) == []
    assert house.floor_y_m == 0.0


def test_each_surface_gets_the_material_it_is_named_for() -> None:
    materials = load_materials()
    expected = {
        "floor wood": "Wood Floor",
        "floor carpet": "Carpet, Thin",
        "floor tile": "Ceramic Tile",
        "floor linoleum": "Linoleum",
        "floor concrete": "Concrete",
        "wall gypsum": "Gypsum Board",
        "wall plaster": "Plaster on Brick",
        "wall brick": "Brick",
        "wall concrete": "Concrete",
        "wall wood": "Wood Panelling",
        "ceiling plaster": "Plasterboard Ceiling",
        "ceiling concrete": "Concrete",
        "ceiling wood": "Wood Panelling",
        "ceiling acoustic tile": "Acoustic Tile",
        "window": "Window Glass",
        "door": "Solid Door",
        "curtain": "Curtain",
        "blinds": "Blinds",
        "sofa": "Upholstery",
        "armchair": "Upholstery",
        "bed": "Mattress",
        "bookshelf": "Bookshelf",
        "table": "Wood Furniture",
        "refrigerator": "Metal",
        "rug": "Carpet, Thick",
        "plant": "Foliage",
    }
    assert {category: match(category, materials).name for category in expected} == expected  # type: ignore[union-attr]
    used = {name for seed in range(60) for name in generate_house(np.random.default_rng(seed)).materials}
    assert set(expected) <= used


def test_the_same_generator_gives_the_same_house_and_another_seed_another() -> None:
    first, again, other = (generate_house(np.random.default_rng(seed), rooms=3) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.vertices, again.vertices)
    np.testing.assert_array_equal(first.face_material, again.face_material)
    assert first.regions == again.regions
    assert first.vertices.shape != other.vertices.shape or not np.allclose(first.vertices, other.vertices)


@pytest.mark.parametrize("rooms", [1, 2, 5, 8])
def test_rooms_do_not_overlap_and_openings_join_them(rooms: int) -> None:
    """The air is the rooms' boxes plus one tunnel for each room but the first: a Monte-Carlo volume says so."""
    house = generate_house(np.random.default_rng(rooms), rooms=rooms, furnished=False)
    assert len(house.regions) == rooms
    for a, b in itertools.combinations(house.regions, 2):
        gap = np.maximum(np.array(a.min_m) - b.max_m, np.array(b.min_m) - a.max_m)[[0, 2]]
        assert gap.max() >= WALL_M - 1e-5
    low, high = house.bounds_m
    points = np.random.default_rng(0).uniform(low, high, (4000, 3))
    air = inside(house, points)
    in_rooms = np.any([region.contains(points) for region in house.regions], axis=0)
    assert not np.any(in_rooms & ~air)
    assert np.mean(air & ~in_rooms) * np.prod(high - low) < (rooms - 1) * DOOR_M[0] * DOOR_M[1] * WALL_M * 4 + 1e-9
    # Every room has an opening: sideways rays at knee height, along each wall, leave its box somewhere.
    for region in house.regions if rooms > 1 else ():
        (x0, _, z0), (x1, _, z1) = region.min_m, region.max_m
        beyond = WALL_M / 2
        xs, zs = np.arange(x0, x1, 0.1), np.arange(z0, z1, 0.1)
        ring = [(x, z) for z in (z0 - beyond, z1 + beyond) for x in xs]
        ring += [(x, z) for x in (x0 - beyond, x1 + beyond) for z in zs]
        assert inside(house, np.array([(x, 0.5, z) for x, z in ring])).any()


def test_floor_areas_follow_the_distribution() -> None:
    """Lognormal with median 17.6 m², σ 0.6, cut to 4…90 m², enlarged; the mean is then 21.5 m² times the scale."""
    areas = np.array(
        [
            region.size_m[0] * region.size_m[2]
            for seed in range(150)
            for region in generate_house(np.random.default_rng(seed), rooms=1, furnished=False).regions
        ]
    )
    assert np.median(areas) / AREA_SCALE == pytest.approx(17.6, rel=0.15)
    assert areas.mean() / AREA_SCALE == pytest.approx(21.1, rel=0.15)
    assert areas.min() >= 4 * AREA_SCALE - 1e-3
    assert areas.max() <= 90 * AREA_SCALE + 1e-3


def test_furniture_stands_on_the_floor_clear_of_everything(rng: np.random.Generator) -> None:
    kinds, covers = set(), []
    for _ in range(150):
        low, size = rng.uniform(-5, 5, 2), rng.uniform(2, 7, 2)
        door = (low[0], low[1] + 0.5, low[0] + 0.9, low[1] + 1.4)
        boxes = furnish(rng, low, low + size, 2.6, [door])
        kinds |= {material for material, _, _ in boxes}
        covers.append(sum(np.prod((b - a)[[0, 2]]) for _, a, b in boxes if a[1] == 0) / np.prod(size))
        for material, a, b in boxes:
            assert np.all(b > a), material
            assert np.all(a[[0, 2]] > low)
            assert np.all(b[[0, 2]] < low + size)
            assert b[1] < 2.6
            on_floor = a[1] == 0 or any(
                (np.all(c[[0, 2]] >= a[[0, 2]] - 1e-9) and np.all(d[[0, 2]] <= b[[0, 2]] + 1e-9) and d[1] == a[1])
                or (np.all(c[[0, 2]] <= a[[0, 2]] + 1e-9) and np.all(d[[0, 2]] >= b[[0, 2]] - 1e-9) and d[1] == a[1])
                for _, c, d in boxes
            )
            assert on_floor, material
            clear_x = a[0] >= door[2] or b[0] <= door[0]
            clear_z = a[2] >= door[3] or b[2] <= door[1]
            assert clear_x or clear_z
        for (_, a, b), (_, c, d) in itertools.combinations(boxes, 2):
            assert np.any((b <= c + 1e-9) | (d <= a + 1e-9))
    assert len(kinds) == 12
    assert max(covers) <= COVER
    assert np.mean(covers) > 0.1


def test_reverberation_is_that_of_homes() -> None:
    """Eyring's T at 500 Hz from the surfaces' materials; furnished living rooms have about 0.3…0.8 s (ISO 3382-2)."""
    materials = load_materials()
    times = []
    for seed in range(60):
        house = generate_house(np.random.default_rng(seed), rooms=1)
        absorption = np.array([match(c, materials).absorption.at(500) for c in house.materials])  # type: ignore[union-attr]
        area = face_areas_m2(house)
        mean = float(np.sum(area * absorption[house.face_material]) / area.sum())
        times.append(0.161 * house.regions[0].volume_m3 / (-area.sum() * np.log(1 - mean)))
    low, median, high = np.percentile(times, [10, 50, 90])
    assert 0.35 < median < 0.8
    assert low > 0.15
    assert high < 1.6


def test_a_saved_house_comes_back_the_same(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    house = generate_house(np.random.default_rng(2), rooms=3)
    save_mesh(house, tmp_path / "house.glb")
    again = load_mesh(tmp_path / "house.glb")
    np.testing.assert_array_equal(again.vertices[again.faces], house.vertices[house.faces])
    assert [again.materials[i] for i in again.face_material] == [house.materials[i] for i in house.face_material]
    assert again.regions == house.regions


@pytest.mark.parametrize("rooms", [0, 13, -1])
def test_impossible_numbers_of_rooms_are_refused(rooms: int) -> None:
    with pytest.raises(BadInput, match="1…12 rooms"):
        generate_house(np.random.default_rng(0), rooms=rooms)
