"""Meshes: files read as they were written, rays against geometry with known answers, refusals in one sentence."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh")

from bat_agent.errors import BadInput  # noqa: E402
from bat_agent_soundspaces.meshes import (  # noqa: E402
    AcousticMesh,
    Region,
    check_mesh,
    inside,
    join_parts,
    level_heights_m,
    load_mesh,
    openness,
    save_mesh,
)


def mesh_of(*parts: tuple[str, trimesh.Trimesh], regions: tuple[Region, ...] = ()) -> AcousticMesh:
    return join_parts([(name, part.vertices, part.faces) for name, part in parts], regions)


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> trimesh.Trimesh:
    return trimesh.creation.box(bounds=[low, high])


def glb(path: Path, parts: list[tuple[str | None, str, trimesh.Trimesh, np.ndarray | None]]) -> Path:
    """Write (material, node, geometry, transform)."""
    scene = trimesh.Scene()
    for material, node, part, transform in parts:
        if material is not None:
            pbr = trimesh.visual.material.PBRMaterial(name=material)
            part.visual = trimesh.visual.TextureVisuals(material=pbr)
        scene.add_geometry(part, node_name=node, geom_name=node, transform=transform)
    path.write_bytes(scene.export(file_type="glb"))
    return path


# --- reading ---


def test_glb_keeps_materials_and_applies_node_transforms(tmp_path: Path) -> None:
    turn = trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0])
    turn[:3, 3] = [10, 0, 0]
    unit = box((0, 0, 0), (1, 2, 3))
    path = glb(tmp_path / "a.glb", [("brick", "n1", unit, turn), ("carpet", "n2", box((0, 0, 0), (1, 1, 1)), None)])
    mesh = load_mesh(path)
    assert set(mesh.materials) == {"brick", "carpet"}
    brick = mesh.vertices[np.unique(mesh.groups()["brick"])]
    # A quarter turn about +y takes (x, y, z) to (z, y, −x).
    np.testing.assert_allclose(brick.min(axis=0), [10, 0, -1], atol=1e-5)
    np.testing.assert_allclose(brick.max(axis=0), [13, 2, 0], atol=1e-5)
    assert mesh.vertices.dtype == np.float32
    assert mesh.faces.dtype == mesh.face_material.dtype == np.int32


@pytest.mark.parametrize("material", [None, "Material.001", "default", "material_0"])
def test_a_material_name_that_says_nothing_gives_way_to_the_node(tmp_path: Path, material: str | None) -> None:
    mesh = load_mesh(glb(tmp_path / "a.glb", [(material, "wall_north", box((0, 0, 0), (1, 1, 1)), None)]))
    assert mesh.materials == ("wall_north",)


def test_obj_names_come_from_usemtl_and_groups_without_a_material_file(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text(
        "mtllib missing.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\n"
        "g floor\nf 1/1/1 2/2/1 3/3/1 4/4/1\nusemtl brick\ng other\nf -1 1 2\nf 1 3 5\n"
    )
    mesh = load_mesh(path)
    assert {name: len(faces) for name, faces in mesh.groups().items()} == {"floor": 2, "brick": 2}
    area = mesh.vertices[mesh.groups()["floor"]]
    assert np.linalg.norm(np.cross(area[:, 1] - area[:, 0], area[:, 2] - area[:, 0]), axis=1).sum() / 2 == 1.0


def test_ply_is_one_material_and_up_z_turns_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(box((0, 0, 0), (1, 2, 3)).export(file_type="ply"))
    mesh = load_mesh(path, up="z")
    assert mesh.materials == ("default",)
    low, high = mesh.bounds_m
    np.testing.assert_allclose([low, high], [[0, 0, -2], [1, 3, 0]])


def test_saved_mesh_comes_back_the_same(tmp_path: Path) -> None:
    region = Region("den 0", (0.0, 0.0, 0.0), (4.0, 3.0, 5.0), ((0.0, 0.0), (4.0, 0.0), (4.0, 5.0)))
    mesh = mesh_of(
        ("wall brick", box((0, 0, 0), (4, 3, 5))), ("äöü sofa", box((1, 0, 1), (2, 1, 2))), regions=(region,)
    )
    save_mesh(mesh, tmp_path / "a.glb")
    again = load_mesh(tmp_path / "a.glb")
    assert again.regions == mesh.regions
    assert again.materials == mesh.materials
    np.testing.assert_array_equal(again.vertices[again.faces], mesh.vertices[mesh.faces])
    np.testing.assert_array_equal(again.face_material, mesh.face_material)
    save_mesh(again, tmp_path / "b.glb")
    assert (tmp_path / "b.glb").read_bytes() == (tmp_path / "a.glb").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.stl", b"solid", "expected one of"),
        ("a.glb", b"not a glb at all", "cannot be read"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "vertex 9 of 3"),
        ("a.obj", b"v 0 0 zero\n", "cannot be read"),
        ("a.obj", b"# nothing\n", "0 triangles"),
        ("a.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "NaN or infinite"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "no area"),
        ("a.obj", b"v 0 0 0\nv 90000 0 0\nv 0 1 0\nf 1 2 3\n", "metres"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=words) as caught:
        load_mesh(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_missing_file_bad_axis_and_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        load_mesh(tmp_path / "none.glb")
    with pytest.raises(BadInput, match="up must be"):
        load_mesh(tmp_path / "none.glb", up="x")  # type: ignore[arg-type]
    path = tmp_path / "a.ply"
    path.write_bytes(box((0, 0, 0), (1, 1, 1)).export(file_type="ply"))
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(BadInput, match=r"\.\[soundspaces\]"):
        load_mesh(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"faces": np.array([[0, 1, 99]], np.int32), "face_material": np.zeros(1, np.int32)}, "outside 0"),
        ({"face_material": np.full(12, 3, np.int32)}, "one index"),
        ({"face_material": np.zeros(5, np.int32)}, "one index"),
        ({"vertices": np.zeros((0, 3), np.float32)}, "0 vertices"),
    ],
)
def test_arrays_that_would_crash_the_engine_are_refused(change: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_mesh(dataclasses.replace(mesh_of(("a", box((0, 0, 0), (1, 1, 1)))), **change))


# --- rays ---


def test_inside_agrees_with_boxes_whatever_the_winding(rng: np.random.Generator) -> None:
    sofa, table = ((1.0, 0.0, 1.0), (3.0, 0.8, 2.0)), ((1.5, 1.0, 3.0), (2.5, 1.1, 4.0))
    mesh = mesh_of(("wall", box((0, 0, 0), (4, 2.5, 5))), ("sofa", box(*sofa)), ("table", box(*table)))
    mesh.faces[::3] = mesh.faces[::3, ::-1]  # as modelled by hand
    points = rng.uniform(-1, 6, (4000, 3))

    def within(low: tuple[float, ...], high: tuple[float, ...]) -> np.ndarray:
        return np.all((points > low) & (points < high), axis=1)

    air = within((0, 0, 0), (4, 2.5, 5)) & ~within(*sofa) & ~within(*table)
    np.testing.assert_array_equal(inside(mesh, points), air)
    assert 500 < air.sum() < 3500


def test_inside_agrees_with_a_sphere(rng: np.random.Generator) -> None:
    mesh = mesh_of(("ball", trimesh.creation.icosphere(subdivisions=3, radius=2.0)))
    points = rng.uniform(-2.5, 2.5, (3000, 3))
    radius = np.linalg.norm(points, axis=1)
    clear = (radius < 1.97) | (radius > 2.0)  # the polyhedron lies between
    np.testing.assert_array_equal(inside(mesh, points)[clear], (radius < 1.97)[clear])


def test_a_cube_without_one_face_loses_a_sixth_of_its_rays() -> None:
    """From points uniform in a cube, each face is hit by 1/6 of the rays, by symmetry."""
    cube = box((0, 0, 0), (2, 2, 2))
    top = cube.triangles_center[:, 1] > 1.99
    found = openness(mesh_of(("a", trimesh.Trimesh(cube.vertices, cube.faces[~top], process=False))))
    assert found.ray_hit_share == pytest.approx(5 / 6, abs=0.03)
    # 12 edges and 5 diagonals remain; the 4 edges around the hole belong to one face only.
    assert found.boundary_edge_share == pytest.approx(4 / 17)
    assert not found.is_closed
    assert "ray efficiency 0.8" in str(found)
    closed = openness(mesh_of(("a", cube)))
    assert (closed.ray_hit_share, closed.boundary_edge_share, closed.is_closed) == (1.0, 0.0, True)


def test_a_room_without_a_ceiling_still_has_an_inside() -> None:
    room = box((0, 0, 0), (5, 2.5, 4))
    open_top = trimesh.Trimesh(room.vertices, room.faces[room.triangles_center[:, 1] < 2.49], process=False)
    mesh = mesh_of(("a", open_top))
    points = np.array([[2.5, 1.2, 2.0], [0.5, 0.3, 3.5], [2.5, 4.0, 2.0], [8.0, 1.0, 2.0], [2.5, -1.0, 2.0]])
    assert inside(mesh, points).tolist() == [True, True, False, False, False]


def test_clearance_and_vertical_distances_are_those_of_the_geometry(rng: np.random.Generator) -> None:
    room, block = ((0.0, 0.0, 0.0), (4.0, 3.0, 5.0)), ((1.0, 0.0, 1.0), (2.0, 1.0, 2.5))
    mesh = mesh_of(("a", box(*room)), ("b", box(*block)))
    points = rng.uniform(0.01, [3.99, 2.99, 4.99], (500, 3))
    points = points[inside(mesh, points)]
    to_walls = np.minimum(points, np.array(room[1]) - points).min(axis=1)
    to_block = np.linalg.norm(points - np.clip(points, *np.array(block)), axis=1)
    expected = np.minimum(to_walls, to_block)
    np.testing.assert_allclose(mesh.rays.clearance_m(points, 0.6), np.minimum(expected, 0.6), atol=1e-6)
    down, up = mesh.rays.vertical(points)
    over = np.all((points > block[0]) & (points < block[1]) | [False, True, False], axis=1)
    np.testing.assert_allclose(down, points[:, 1] - over, atol=1e-6)
    np.testing.assert_allclose(up, 3.0 - points[:, 1], atol=1e-6)


def test_fine_meshes_give_the_same_answers(rng: np.random.Generator) -> None:
    """The grid behind the rays must lose no triangle where there are many in a cell."""
    coarse = trimesh.util.concatenate([box((0, 0, 0), (4, 3, 5)), box((1, 0, 1), (2, 1, 2))])
    fine = coarse.subdivide().subdivide().subdivide().subdivide()
    points = rng.uniform(-0.5, 5.5, (300, 3))
    first, second = mesh_of(("a", coarse)), mesh_of(("a", fine))
    assert len(second.faces) == 256 * len(first.faces)
    np.testing.assert_array_equal(first.rays.count(points), second.rays.count(points))


# --- what a mesh says of itself ---


def test_regions_by_box_and_outline() -> None:
    corner = Region("L", (0, 0, 0), (4, 3, 4), ((0, 0), (4, 0), (4, 2), (2, 2), (2, 4), (0, 4)))
    points = np.array([[1, 1, 3], [3, 1, 3], [3, 1, 1], [1, 4, 1]])
    assert corner.contains(points).tolist() == [True, False, True, False]
    mesh = mesh_of(("a", box((0, 0, 0), (4, 3, 4))), regions=(corner, Region("all", (0, 0, 0), (9, 9, 9))))
    assert mesh.region_at((1, 1, 3)).name == "L"  # type: ignore[union-attr]
    assert mesh.region_at((3, 1, 3)).name == "all"  # type: ignore[union-attr]
    assert mesh.region_at((10, 1, 1)) is None


def test_floor_is_the_lowest_large_level_surface() -> None:
    mesh = mesh_of(("a", box((0, 0.4, 0), (4, 3, 5))), ("pit", box((1, 0.0, 1), (1.3, 0.2, 1.3))))
    np.testing.assert_allclose(level_heights_m(mesh), [0.4, 3.0], atol=1e-5)
    assert mesh.floor_y_m == pytest.approx(0.4, abs=1e-5)
