"""Matterport3D scenes: the semantic mesh, its objects' categories as materials, and its rooms.

A scene folder as distributed for habitat holds ``<scene>.glb``, ``<scene>_semantic.ply`` (triangles, each with the
number of its object) and ``<scene>.house`` (an ASCII table of levels, rooms, objects and categories; its columns are
documented with the data set, file ``data_organization.md``). As in SoundSpaces, sound travels in the semantic mesh. All
three are Z-up; habitat turns them to (x, z, −y), which is this library's frame. Only files of this format that we wrote
ourselves were read so far, no real scene: its licence has to be accepted by each user.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent_soundspaces.meshes import UNNAMED, Z_UP_TO_Y_UP, AcousticMesh, Region, check_mesh, import_trimesh

ROOM_NAMES = {
    "a": "bathroom",
    "b": "bedroom",
    "c": "closet",
    "d": "dining room",
    "e": "entryway",
    "f": "family room",
    "g": "garage",
    "h": "hallway",
    "i": "library",
    "j": "laundry room",
    "k": "kitchen",
    "l": "living room",
    "m": "meeting room",
    "n": "lounge",
    "o": "office",
    "p": "porch",
    "r": "recreation room",
    "s": "stairs",
    "t": "toilet",
    "u": "utility room",
    "v": "television room",
    "w": "gym",
    "x": "outdoors",
    "y": "balcony",
    "z": "other room",
    "B": "bar",
    "C": "classroom",
    "D": "dining booth",
    "S": "spa",
    "Z": "junk",
}
_NOT_ROOMS = frozenset("pxyZ-")
"""Outdoors, reflections in mirrors, unlabelled: no place for a listener."""


@dataclass
class House:
    """What a ``.house`` file says, still Z-up."""

    levels: dict[int, str] = field(default_factory=dict)
    """Number of each storey → label."""
    rooms: dict[int, tuple[str, np.ndarray]] = field(default_factory=dict)
    """Number of each region → letter, and box (2, 3)."""
    outlines: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    """Number of each region → corners (x, y) of its floor."""
    categories: dict[int, str] = field(default_factory=dict)
    """Number of each category → mpcat40 name."""
    objects: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Number of each object → region and category (−1: none)."""

    def category_of(self, object_index: int) -> str:
        """Name of an object's category; ``default`` where the file has none."""
        return self.categories.get(self.objects.get(object_index, (-1, -1))[1], UNNAMED)


def is_matterport(path: str | Path) -> bool:
    """Whether the two files that make a mesh a Matterport3D scene lie beside it."""
    return all(sibling.is_file() for sibling in _siblings(Path(path)))


def load_matterport(glb_path: str | Path) -> AcousticMesh:
    """The acoustic mesh of a Matterport3D scene, in our frame: categories as materials, rooms as regions.

    Raises :class:`~bat_agent.errors.BadInput` where ``<scene>_semantic.ply`` or ``<scene>.house`` is missing beside
    ``glb_path`` or is malformed.
    """
    glb_path = Path(glb_path)
    ply, house_path = _siblings(glb_path)
    if missing := [sibling.name for sibling in (ply, house_path) if not sibling.is_file()]:
        raise BadInput(
            f"Matterport3D scene {glb_path} needs {' and '.join(missing)} beside it; download the scene with its "
            f"semantic files, or load the .glb as a plain mesh without materials"
        )
    house = read_house(house_path)
    vertices, faces, owner = _read_semantic(ply)
    numbers, index = np.unique(owner, return_inverse=True)
    categories = [house.category_of(int(number)) for number in numbers]
    materials = tuple(dict.fromkeys(categories))
    material_of_number = np.array([materials.index(category) for category in categories], np.int32)
    mesh = AcousticMesh(
        np.ascontiguousarray(vertices @ Z_UP_TO_Y_UP.T, np.float32),
        faces.astype(np.int32),
        materials,
        material_of_number[index.reshape(-1)],
        _regions(house),
        glb_path.name,
    )
    check_mesh(mesh)
    return mesh


def read_house(path: str | Path) -> House:
    """Read the rooms, objects and categories of a ``.house`` file; a bad line is named by its number."""
    path = Path(path)
    house = House()
    surfaces: dict[int, int] = {}
    readers = {"L": _level, "R": _room, "C": _category, "O": _object}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BadInput(f"house file {path} cannot be read: {error}") from error
    if not lines or not lines[0].startswith("ASCII") or not any(line.startswith("H ") for line in lines):
        raise BadInput(f"{path} is no Matterport3D house file: its first line must start with ASCII and a line with H")
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        try:
            if words[0] in readers:
                readers[words[0]](house, words)
            elif words[0] == "S":
                if int(words[2]) not in surfaces.values():  # a room's first surface is its floor
                    surfaces[int(words[1])] = int(words[2])
            elif words[0] == "V" and (room := surfaces.get(int(words[2]))) is not None:
                house.outlines.setdefault(room, []).append((float(words[4]), float(words[5])))
        except (IndexError, ValueError) as error:
            raise BadInput(
                f"line {number} of {path} is no valid {words[0]!r} entry ({error}): {line[:80]!r}"
            ) from error
    return house


def _level(house: House, words: list[str]) -> None:
    house.levels[int(words[1])] = words[3]


def _room(house: House, words: list[str]) -> None:
    box = np.array([float(word) for word in words[9:15]])
    if box.shape != (6,) or not np.isfinite(box).all():
        raise ValueError("a region needs a box of six numbers")
    house.rooms[int(words[1])] = (words[5], box.reshape(2, 3))


def _category(house: House, words: list[str]) -> None:
    # Spaces inside a name are written as #.
    house.categories[int(words[1])] = words[5].replace("#", " ").strip() or UNNAMED


def _object(house: House, words: list[str]) -> None:
    house.objects[int(words[1])] = (int(words[2]), int(words[3]))


def _regions(house: House) -> tuple[Region, ...]:
    regions = []
    for number, (letter, box) in sorted(house.rooms.items()):
        if letter in _NOT_ROOMS:
            continue
        corners = np.sort(box @ Z_UP_TO_Y_UP.T, axis=0)
        low, high = ((float(x), float(y), float(z)) for x, y, z in corners)
        outline = tuple((x, -y) for x, y in house.outlines.get(number, ()))
        name = f"{ROOM_NAMES.get(letter, 'room')} {number}"
        regions.append(Region(name, low, high, outline if len(outline) >= 3 else ()))
    return tuple(regions)


def _read_semantic(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3), triangles (F, 3) and object numbers (F,), Z-up."""
    trimesh = import_trimesh()
    try:
        mesh = trimesh.load_mesh(path, process=False)
        faces: Any = mesh.metadata["_ply_raw"]["face"]["data"]
    except Exception as error:  # the reader raises whatever its parsing stumbles over
        raise BadInput(f"semantic mesh {path} cannot be read ({type(error).__name__}: {error})") from error
    names = faces.dtype.names if isinstance(faces, np.ndarray) else tuple(faces)
    if "object_id" not in (names or ()):
        raise BadInput(f"semantic mesh {path} has faces without object_id; expected the file distributed for habitat")
    owner = np.asarray(faces["object_id"]).reshape(-1).astype(np.int64)
    if len(owner) != len(mesh.faces):
        raise BadInput(f"semantic mesh {path} must be all triangles; {len(owner)} faces make {len(mesh.faces)}")
    return np.asarray(mesh.vertices), np.asarray(mesh.faces), owner


def _siblings(path: Path) -> tuple[Path, Path]:
    stem = re.sub(r"_semantic$", "", path.stem)
    return path.with_name(f"{stem}_semantic.ply"), path.with_name(f"{stem}.house")
