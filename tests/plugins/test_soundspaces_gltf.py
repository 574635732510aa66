"""GLB files written by hand, byte by byte as glTF 2.0 has them: loaded right, or refused by the extension's name."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent_soundspaces.meshes import AcousticMesh, face_areas_m2, load_mesh

ROOM_M = (5.0, 3.0, 4.0)
AREA_M2 = 2 * (5 * 3 + 5 * 4 + 3 * 4)
UNIT = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
QUADS = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))
BOX = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))], np.uint16)
KINDS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}


class Glb:
    """A file in the making: arrays become accessors."""

    def __init__(self, **tree: Any) -> None:
        self.tree: dict[str, Any] = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": [], **tree}
        self.binary = b""

    def view(self, values: np.ndarray, **more: Any) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        content = np.ascontiguousarray(values).tobytes()
        entry = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(content), **more}
        self.tree["bufferViews"].append(entry)
        self.binary += content
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, values: np.ndarray, **more: Any) -> int:
        kind = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
        entry = {"componentType": KINDS[values.dtype.str[1:]], "count": len(values), "type": kind, **more}
        if "sparse" not in entry and "bufferView" not in entry:
            entry["bufferView"] = self.view(values)
        self.tree["accessors"].append(entry)
        return len(self.tree["accessors"]) - 1

    def write(self, path: Path) -> Path:
        """As GLB, or by its ending as GLTF with the buffer inside."""
        binary = self.binary + b"\0" * (-len(self.binary) % 4)
        buffer: dict[str, Any] = {"byteLength": len(binary)}
        if path.suffix == ".gltf":
            buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
            path.write_text(json.dumps(self.tree | {"buffers": [buffer]}))
            return path
        text = json.dumps(self.tree | {"buffers": [buffer]}).encode()
        text += b" " * (-len(text) % 4)
        body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
        path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body)
        return path


def a_room(glb: Glb, position: int, node: dict[str, Any] | None = None, **primitive: Any) -> Glb:
    mesh = {
        "primitives": [{"attributes": {"POSITION": position}, "indices": glb.accessor(BOX.reshape(-1)), **primitive}]
    }
    glb.tree |= {"meshes": [mesh], "nodes": [{"mesh": 0, "name": "wall", **(node or {})}], "scenes": [{"nodes": [0]}]}
    return glb


def check_is_the_room(mesh: AcousticMesh, atol: float = 1e-4) -> None:
    low, high = mesh.bounds_m
    np.testing.assert_allclose(low, [0, 0, 0], atol=atol)
    np.testing.assert_allclose(high, ROOM_M, atol=atol)
    assert face_areas_m2(mesh).sum() == pytest.approx(AREA_M2, rel=1e-3)


@pytest.mark.parametrize(("kind", "full"), [("i1", 127), ("u1", 255), ("i2", 32767), ("u2", 65535)])
def test_quantised_positions_are_scaled_as_normalised_says(tmp_path: Path, kind: str, full: int) -> None:
    """A 5 m room in 8 or 16 bits was accepted as one of hundreds of metres: trimesh ignores ``normalized``."""
    glb = Glb(extensionsRequired=["KHR_mesh_quantization"], extensionsUsed=["KHR_mesh_quantization"])
    whole = (UNIT * full).astype(np.dtype(f"<{kind}"))
    # Three bytes or shorts are padded to a multiple of four bytes.
    padded = np.zeros((8, 4), whole.dtype)
    padded[:, :3] = whole
    view = glb.view(padded, byteStride=4 * whole.itemsize)
    position = glb.accessor(whole, normalized=True, bufferView=view)
    check_is_the_room(load_mesh(a_room(glb, position, {"scale": list(ROOM_M)}).write(tmp_path / "a.glb")))


def test_quantised_positions_without_normalised_are_whole_numbers(tmp_path: Path) -> None:
    glb = Glb(extensionsRequired=["KHR_mesh_quantization"])
    padded = np.zeros((8, 4), np.uint16)
    padded[:, :3] = UNIT * np.array(ROOM_M) * 1000
    position = glb.accessor(padded[:, :3], bufferView=glb.view(padded, byteStride=8))
    check_is_the_room(load_mesh(a_room(glb, position, {"scale": [0.001] * 3}).write(tmp_path / "a.glb")))


@pytest.mark.parametrize("listed", ["extensionsRequired", "extensionsUsed"])
def test_every_instance_is_there(tmp_path: Path, listed: str) -> None:
    """Four pillars were heard as one: 12 of 48 triangles."""
    glb = Glb(**{listed: ["EXT_mesh_gpu_instancing"]})
    places = np.array([[0, 0, 0], [4, 0, 0], [4, 0, 3], [0, 0, 3]], np.float32)
    half = np.sqrt(0.5)
    turns = np.array([[0, 0, 0, 1], [0, half, 0, half], [0, 0, 0, 1], [0, 0, 0, 1]], np.float32)
    scales = np.array([[1, 3, 1], [1, 3, 2], [1, 3, 1], [1, 3, 1]], np.float32)
    attributes = {"TRANSLATION": glb.accessor(places), "ROTATION": glb.accessor(turns), "SCALE": glb.accessor(scales)}
    node = {"extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}}, "translation": [10, 0, 0]}
    mesh = load_mesh(a_room(glb, glb.accessor(UNIT), node).write(tmp_path / "a.glb"))
    assert len(mesh.faces) == 48
    corners = mesh.vertices.reshape(4, 8, 3)
    np.testing.assert_allclose(corners.min(axis=1), [[10, 0, 0], [14, 0, -1], [14, 0, 3], [10, 0, 3]], atol=1e-5)
    # The second is turned a quarter about +y, which takes its 2 m along z to x.
    np.testing.assert_allclose(corners.max(axis=1), [[11, 3, 1], [16, 3, 0], [15, 3, 4], [11, 3, 4]], atol=1e-5)


@pytest.mark.parametrize(
    "name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_node_visibility", "ACME_boxes"]
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """Draco's accessors hold nothing, which was read as zeros."""
    glb = Glb(extensionsRequired=["KHR_texture_basisu", name])
    empty = glb.accessor(UNIT, sparse=None)
    with pytest.raises(BadInput, match=name) as caught:
        load_mesh(a_room(glb, empty).write(tmp_path / "a.glb"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["KHR_texture_transform", "KHR_texture_basisu", "EXT_texture_webp", "MSFT_texture_dds", "KHR_materials_unlit"],
)
def test_extensions_of_textures_stay_allowed(tmp_path: Path, name: str) -> None:
    glb = Glb(extensionsRequired=[name], materials=[{"name": "brick"}])
    position = glb.accessor(UNIT * np.array(ROOM_M, np.float32))
    mesh = load_mesh(a_room(glb, position, material=0).write(tmp_path / "a.glb"))
    check_is_the_room(mesh)
    assert mesh.materials == ("brick",)


def test_a_primitive_without_positions_is_skipped(tmp_path: Path) -> None:
    """glTF 2.0, 3.7.2.1: "Clients SHOULD skip it". trimesh stops at it."""
    glb = Glb()
    glb = a_room(glb, glb.accessor(UNIT * np.array(ROOM_M, np.float32)))
    glb.tree["meshes"][0]["primitives"].insert(0, {"attributes": {"_CUSTOM": 0}})
    check_is_the_room(load_mesh(glb.write(tmp_path / "a.glb")))


def test_sparse_positions_are_filled_in(tmp_path: Path) -> None:
    """Zeros, or another accessor's values, of which some are replaced."""
    glb = Glb()
    room = UNIT * np.array(ROOM_M, np.float32)
    rows = np.flatnonzero(room.any(axis=1)).astype(np.uint8)
    sparse = {
        "count": len(rows),
        "indices": {"bufferView": glb.view(rows), "componentType": 5121},
        "values": {"bufferView": glb.view(room[rows])},
    }
    check_is_the_room(load_mesh(a_room(glb, glb.accessor(room, sparse=sparse)).write(tmp_path / "a.glb")))


@pytest.mark.parametrize(("mode", "order"), [(5, (0, 1, 3, 2)), (6, (0, 1, 2, 3))])
def test_strips_and_fans_are_triangles(tmp_path: Path, mode: int, order: tuple[int, ...]) -> None:
    glb = Glb()
    square = np.array([[0, 0, 0], [2, 0, 0], [2, 0, 3], [0, 0, 3]], np.float32)
    position = glb.accessor(square[list(order)])
    glb.tree |= {
        "meshes": [{"primitives": [{"attributes": {"POSITION": position}, "mode": mode}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    mesh = load_mesh(glb.write(tmp_path / "a.glb"))
    assert len(mesh.faces) == 2
    assert face_areas_m2(mesh).sum() == pytest.approx(6.0)


def test_nodes_below_a_camera_keep_their_place(tmp_path: Path) -> None:
    """And those inside themselves are refused, not followed for ever."""
    glb = Glb(cameras=[{"type": "perspective", "perspective": {"yfov": 1.0, "znear": 0.1}}])
    glb = a_room(glb, glb.accessor(UNIT * np.array(ROOM_M, np.float32)), {"translation": [-1, 0, 0]})
    glb.tree["nodes"].append({"camera": 0, "children": [0], "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1]})
    glb.tree["scenes"] = [{"nodes": [1]}]
    check_is_the_room(load_mesh(glb.write(tmp_path / "a.gltf")))
    glb.tree["nodes"][0]["children"] = [1]
    with pytest.raises(BadInput, match="inside themselves"):
        load_mesh(glb.write(tmp_path / "b.glb"))


@pytest.mark.parametrize(("count", "words"), [(9, "cut off"), (1 << 40, "broken")])
def test_more_promised_than_there_is_is_told(tmp_path: Path, count: int, words: str) -> None:
    glb = Glb()
    glb = a_room(glb, glb.accessor(BOX.reshape(-1)))
    position = glb.accessor(UNIT, count=count)
    glb.tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = position
    with pytest.raises(BadInput, match=words):
        load_mesh(glb.write(tmp_path / "a.glb"))
