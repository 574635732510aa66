"""The geometry of glTF 2.0 files, GLB and GLTF: triangles with material names, as the specification places them.

A reader of our own, because trimesh 4.12 and 5.2 read what some files need without a word as something else: integer
positions as metres, one of many instances, zeros for compressed or sparse data, no triangles for fans. What this one
does not know it refuses by name (``extensionsRequired``). Textures, normals, skins and animations say nothing of sound.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json

Part = tuple[str | None, str, np.ndarray, np.ndarray]
"""Material name, node name, vertices (V, 3) in metres, triangles (F, 3)."""
INSTANCING, QUANTIZATION = "EXT_mesh_gpu_instancing", "KHR_mesh_quantization"
_SHAPES_NOTHING = ("KHR_materials_", "EXT_materials_", "KHR_texture_", "EXT_texture_", "MSFT_texture_", "KHR_lights_")
"""Beginnings of names of extensions that change what is seen, not where it is."""
_COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_GLB, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_MOST_ITEMS = 1 << 28
_DEEPEST = 512


def read_gltf(path: Path) -> tuple[list[Part], dict[str, Any]]:
    """All triangles of a file's scene, node by node, and the ``extras`` of that scene.

    Raises :class:`~bat_agent.errors.BadInput` for a required extension that is not read here.
    """
    file = _File(path)
    needed = file.tree.get("extensionsRequired", [])
    for name in needed:
        if name not in (INSTANCING, QUANTIZATION) and not name.startswith(_SHAPES_NOTHING):
            what = "is compressed with" if name in _COMPRESSED else "requires"
            raise BadInput(f"mesh {path} {what} the glTF extension {name}, which is not read; export it without")
    scenes = file.tree.get("scenes", [])
    scene = scenes[file.tree.get("scene", 0)] if scenes else {}
    parts: list[Part] = []
    for root in scene.get("nodes", range(len(file.tree.get("nodes", []))) if not scenes else ()):
        parts += file.under(root, np.eye(4), 0)
    extras = scene.get("extras")
    return parts, extras if isinstance(extras, dict) else {}


class _File:
    def __init__(self, path: Path) -> None:
        self.path = path
        content = path.read_bytes()
        chunks = _chunks(content) if content[:4] == b"glTF" else {_JSON: content}
        self.tree: dict[str, Any] = parse_json(chunks[_JSON])
        version = str(self.tree.get("asset", {}).get("version", "2.0"))
        if not version.startswith("2."):
            raise BadInput(f"mesh {path} is glTF {version}, expected 2.0; export it again")
        self._inside = chunks.get(_BIN, b"")
        self._buffers: dict[int, bytes] = {}

    def under(self, number: int, above: np.ndarray, depth: int) -> Iterator[Part]:
        """The parts of a node and of those below it; ``above`` (4, 4) is where its parent is."""
        if depth > _DEEPEST:
            raise BadInput(f"mesh {self.path} has nodes inside themselves, or more than {_DEEPEST} deep; repair it")
        node = self.tree["nodes"][number]
        here = above @ _transform(node)
        if "mesh" in node:
            mesh = self.tree["meshes"][node["mesh"]]
            name = str(node.get("name") or mesh.get("name") or number)
            for place in self._instances(node):
                for primitive in mesh["primitives"]:
                    yield from self._part(primitive, name, here @ place)
        for child in node.get("children", ()):
            yield from self.under(child, here, depth + 1)

    def _instances(self, node: dict[str, Any]) -> list[np.ndarray]:
        """Where a node's mesh stands, (4, 4) each, within the node."""
        instancing = node.get("extensions", {}).get(INSTANCING)
        if instancing is None:
            return [np.eye(4)]
        given = {key.lower(): self.read(number) for key, number in instancing.get("attributes", {}).items()}
        rows = {key: given[key] for key in ("translation", "rotation", "scale") if key in given}
        count = len(next(iter(given.values()), ()))
        return [_transform({key: values[row] for key, values in rows.items()}) for row in range(count)]

    def _part(self, primitive: dict[str, Any], node: str, place: np.ndarray) -> Iterator[Part]:
        mode, attributes = primitive.get("mode", _TRIANGLES), primitive.get("attributes", {})
        # Lines and points are no surfaces; what has no positions is skipped, as glTF 2.0 says (3.7.2.1).
        if mode not in (_TRIANGLES, _STRIP, _FAN) or "POSITION" not in attributes:
            return
        vertices = self.read(attributes["POSITION"]) @ place[:3, :3].T + place[:3, 3]
        order = self.read(primitive["indices"]) if "indices" in primitive else np.arange(len(vertices))
        faces = _faces(order.reshape(-1).astype(np.int64), mode)
        material = None
        if "material" in primitive:
            material = self.tree["materials"][primitive["material"]].get("name")
        yield material, node, vertices, faces

    def read(self, number: int) -> np.ndarray:
        """An accessor's values, (count,) or (count, width): integers as they are, normalised ones as floats."""
        accessor = self.tree["accessors"][number]
        kind, width, count = _TYPES[accessor["componentType"]], _WIDTHS[accessor["type"]], accessor["count"]
        if not 0 <= count * width <= _MOST_ITEMS:
            raise BadInput(f"mesh {self.path} claims {count} values in one accessor; is it broken?")
        if "bufferView" in accessor:
            values = self._view(accessor["bufferView"], accessor.get("byteOffset", 0), kind, count, width)
        else:
            values = np.zeros((count, width), kind)
        if sparse := accessor.get("sparse"):
            values = values.copy()
            few, at, new = sparse["count"], sparse["indices"], sparse["values"]
            rows = self._view(at["bufferView"], at.get("byteOffset", 0), _TYPES[at["componentType"]], few, 1)
            values[rows[:, 0]] = self._view(new["bufferView"], new.get("byteOffset", 0), kind, few, width)
        if accessor.get("normalized") and values.dtype.kind in "iu":
            values = np.maximum(values.astype(np.float64) / np.iinfo(values.dtype).max, -1.0)
        return values if width > 1 else values[:, 0]

    def _view(self, number: int, offset: int, kind: str, count: int, width: int) -> np.ndarray:
        view = self.tree["bufferViews"][number]
        compressed = [name for name in _COMPRESSED if name in view.get("extensions", {})]
        # Where the compression is not required, the plain data may be there too; a buffer marked as fallback is empty.
        if compressed and self.tree["buffers"][view["buffer"]].get("extensions"):
            raise BadInput(f"mesh {self.path} is compressed with {compressed[0]}, which is not read; export it without")
        first = view.get("byteOffset", 0)
        begin = first + offset
        row = np.dtype(kind).itemsize * width
        step = view.get("byteStride") or row
        buffer = self._buffer(view["buffer"])
        end = begin + (count - 1) * step + row if count else begin
        there = min(len(buffer), first + view["byteLength"])
        if begin < 0 or step < 0 or end > there:
            raise BadInput(f"mesh {self.path} is cut off: {end} bytes were promised, {there} are there")
        rows = np.lib.stride_tricks.as_strided(
            np.frombuffer(buffer, np.uint8, end - begin, begin), (count, row), (step, 1), writeable=False
        )
        return np.ascontiguousarray(rows).view(kind).reshape(count, width)

    def _buffer(self, number: int) -> bytes:
        if number not in self._buffers:
            uri = self.tree["buffers"][number].get("uri")
            if uri is None:
                content = self._inside
            elif uri.startswith("data:"):
                content = base64.b64decode(uri.partition(",")[2])
            else:
                place = self.path.parent / unquote(uri)
                if not place.is_file():
                    raise BadInput(f"mesh {self.path} needs {place}, which is not there; keep both in one folder")
                content = place.read_bytes()
            self._buffers[number] = content
        return self._buffers[number]


def _chunks(content: bytes) -> dict[int, bytes]:
    """The first chunk of each kind in a GLB file."""
    found: dict[int, bytes] = {}
    at = 12
    while at + 8 <= len(content):
        length, kind = struct.unpack_from("<II", content, at)
        if at + 8 + length > len(content):
            raise ValueError(f"a chunk of {length} bytes where {len(content) - at - 8} are left")
        found.setdefault(kind, content[at + 8 : at + 8 + length])
        at += 8 + length
    return found


def _faces(order: np.ndarray, mode: int) -> np.ndarray:
    """(F, 3) triangles of vertex numbers as a list, a strip or a fan has them."""
    if mode == _TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    first = order[:-2] if mode == _STRIP else np.broadcast_to(order[:1], order[2:].shape)
    return np.stack([first, order[1:-1], order[2:]], axis=1)


def _transform(node: dict[str, Any]) -> np.ndarray:
    """(4, 4): the node's matrix, or translation · rotation · scale."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    place = np.eye(4)
    if "rotation" in node:
        x, y, z, w = (float(value) for value in node["rotation"])
        place[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    place[:3, :3] *= np.asarray(node.get("scale", (1, 1, 1)), dtype=np.float64)
    place[:3, 3] = node.get("translation", (0, 0, 0))
    return place
