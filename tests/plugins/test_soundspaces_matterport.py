"""Matterport3D scenes, in files that follow the documented columns; no real scene may be kept here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh")

from bat_agent.errors import BadInput  # noqa: E402
from bat_agent_soundspaces.materials import load_materials, match, unmatched  # noqa: E402
from bat_agent_soundspaces.matterport import is_matterport, load_matterport, read_house  # noqa: E402
from bat_agent_soundspaces.meshes import inside  # noqa: E402
from bat_agent_soundspaces.placement import sample_placement  # noqa: E402

HOUSE = """ASCII 1.1
H scene - 0 1 4 1 3 3 4 3 0 1  0 0 0 0 0  0 0 0 4 6 2.5  0 0 0 0 0
L 0 3 -  2 3 1  0 0 0 4 6 2.5  0 0 0 0 0
R 0 0 0 0 b  2 1.5 1  -0.05 -0.05 -0.05 4.05 3 2.55  2.5 0 0 0 0
R 1 0 0 0 k  2 4.5 1  -0.05 3 -0.05 4.05 6.05 2.55  2.5 0 0 0 0
R 2 0 0 0 Z  9 9 9  8 8 8 10 10 10  2 0 0 0 0
S 0 1 0 -  2 4.5 0  0 0 1  0 3 0 4 6 0  0 0 0 0 0
V 0 0 -  0 3 0  0 0 1  0 0 0
V 1 0 -  4 3 0  0 0 1  0 0 0
V 2 0 -  4 6 0  0 0 1  0 0 0
V 3 0 -  0 6 0  0 0 1  0 0 0
P abc 0 0 0  2 1 1.5  0 0 0 0 0
I 0 0 abc 0 0 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1 1 0 0 0 1 0 0 0 1 1280 1024  2 1 1.5  0 0 0 0 0
C 0 1 wall 1 wall 0 0 0
C 1 2 floor/outside 2 floor 0 0 0
C 2 3 chest#of#drawers 13 chest_of_drawers 0 0 0
C 3 4 thing 41 odd#thing 0 0 0
O 0 0 0  2 3 1  1 0 0 0 1 0  2 3 1  0 0 0 0 0 0 0 0
O 1 0 1  2 3 0  1 0 0 0 1 0  2 3 0  0 0 0 0 0 0 0 0
O 2 1 2  3 5 0.5  1 0 0 0 1 0  0.5 0.5 0.5  0 0 0 0 0 0 0 0
O 3 1 -1  3 5 0.5  1 0 0 0 1 0  0.5 0.5 0.5  0 0 0 0 0 0 0 0
E 0 0 1 1.0 2 3 1 0 0 0 4 6 2.5  0 0 0 0 0
"""


def semantic_ply(path: Path, with_objects: bool = True, text: bool = False) -> None:
    """One hall of 4 × 6 × 2.5 m (Z-up) with a chest of drawers, objects numbered as in HOUSE."""
    hall = trimesh.creation.box(bounds=[[0, 0, 0], [4, 6, 2.5]])
    chest = trimesh.creation.box(bounds=[[2.5, 4.5, 0], [3.5, 5.5, 1]])
    vertices = np.concatenate([hall.vertices, chest.vertices]).astype("<f4")
    faces = np.concatenate([hall.faces, chest.faces + len(hall.vertices)])
    owner = np.where(hall.triangles_center[:, 2] < 0.01, 1, 0).tolist() + [2] * 11 + [3]
    head = (
        f"ply\nformat {'ascii' if text else 'binary_little_endian'} 1.0\nelement vertex {len(vertices)}\n"
        f"property float x\nproperty float y\nproperty float z\nelement face {len(faces)}\n"
        "property list uchar int vertex_indices\n" + "property int object_id\n" * with_objects + "end_header\n"
    )
    if text:
        rows = [" ".join(f"{v:g}" for v in vertex) for vertex in vertices]
        rows += [f"3 {a} {b} {c} {o}" for (a, b, c), o in zip(faces, owner, strict=True)]
        path.write_text(head + "\n".join(rows) + "\n")
        return
    kind = [("count", "u1"), ("corners", "<i4", 3)] + [("object_id", "<i4")] * with_objects
    table = np.zeros(len(faces), dtype=kind)
    table["count"], table["corners"] = 3, faces
    if with_objects:
        table["object_id"] = owner
    path.write_bytes(head.encode() + vertices.tobytes() + table.tobytes())


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    (tmp_path / "s.glb").write_bytes(b"")
    (tmp_path / "s.house").write_text(HOUSE)
    semantic_ply(tmp_path / "s_semantic.ply")
    return tmp_path / "s.glb"


@pytest.mark.parametrize("text", [False, True])
def test_categories_frame_and_rooms(scene: Path, text: bool) -> None:
    semantic_ply(scene.with_name("s_semantic.ply"), text=text)
    mesh = load_matterport(scene)
    groups = {name: len(faces) for name, faces in mesh.groups().items()}
    assert groups == {"wall": 10, "floor": 2, "chest_of_drawers": 11, "default": 1}
    low, high = mesh.bounds_m
    np.testing.assert_allclose([low, high], [[0, 0, -6], [4, 2.5, 0]])
    # The floor is what was lowest along z.
    np.testing.assert_allclose(mesh.vertices[mesh.groups()["floor"]][..., 1], 0.0)
    assert [region.name for region in mesh.regions] == ["bedroom 0", "kitchen 1"]  # junk is no room
    bedroom, kitchen = mesh.regions
    np.testing.assert_allclose([bedroom.min_m, bedroom.max_m], [[-0.05, -0.05, -3], [4.05, 2.55, 0.05]])
    assert kitchen.outline_m == ((0.0, -3.0), (4.0, -3.0), (4.0, -6.0), (0.0, -6.0))
    assert mesh.region_at((1, 1, -5)) == kitchen
    assert mesh.region_at((1, 1, -1)) == bedroom
    # The chest lies at Z-up (3, 5, 0.5).
    assert inside(mesh, np.array([[3, 0.5, -5], [1, 0.5, -5]])).tolist() == [False, True]


def test_its_categories_have_materials_and_its_rooms_take_listeners(scene: Path, rng: np.random.Generator) -> None:
    mesh = load_matterport(scene)
    materials = load_materials()
    assert unmatched(mesh.materials, materials) == []
    assert match("chest_of_drawers", materials).name == "Wood Furniture"  # type: ignore[union-attr]
    seen = set()
    for _ in range(12):
        placed = sample_placement(mesh, rng)
        room = next(r for r in mesh.regions if r.name == placed.region)
        assert room.contains(np.array(placed.source_positions_m)).all()
        assert placed.listener_position_m[1] == pytest.approx(1.5, abs=1e-5)  # the box reaches 5 cm below the floor
        seen.add(placed.region)
    assert seen == {"bedroom 0", "kitchen 1"}


def test_names_with_spaces_and_objects_without_category(scene: Path) -> None:
    house = read_house(scene.with_suffix(".house"))
    assert house.categories[3] == "odd thing"
    assert house.category_of(2) == "chest_of_drawers"
    assert house.category_of(3) == house.category_of(77) == "default"
    assert house.levels == {0: "-"}
    with pytest.raises(BadInput, match="cannot be read"):
        read_house(scene.with_suffix(".none"))


def test_missing_siblings_are_named(scene: Path) -> None:
    assert is_matterport(scene)
    scene.with_suffix(".house").unlink()
    assert not is_matterport(scene)
    with pytest.raises(BadInput, match=r"needs s\.house beside it"):
        load_matterport(scene)
    scene.with_name("s_semantic.ply").unlink()
    with pytest.raises(BadInput, match=r"needs s_semantic\.ply and s\.house"):
        load_matterport(scene)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ASCII 1.1\n", "", "no Matterport3D house file"),
        ("R 1 0 0 0 k  2 4.5 1  -0.05 3 -0.05 4.05 6.05 2.55  2.5 0 0 0 0", "R 1 0 0 0 k 2", "line 5 .*'R' entry"),
        ("C 0 1 wall 1 wall 0 0 0", "C zero 1 wall 1 wall 0 0 0", "line 14 .*'C' entry"),
        ("O 1 0 1  2", "O 1\n#", "line 19 .*'O' entry"),
    ],
)
def test_a_broken_line_is_named(scene: Path, old: str, new: str, words: str) -> None:
    assert old in HOUSE
    scene.with_suffix(".house").write_text(HOUSE.replace(old, new))
    with pytest.raises(BadInput, match=words):
        load_matterport(scene)


def test_broken_semantic_meshes_are_refused(scene: Path) -> None:
    ply = scene.with_name("s_semantic.ply")
    semantic_ply(ply, with_objects=False)
    with pytest.raises(BadInput, match="without object_id"):
        load_matterport(scene)
    ply.write_bytes(b"garbage")
    with pytest.raises(BadInput, match="cannot be read"):
        load_matterport(scene)
