"""Where meshes come from: files a user names, generated houses in a cache; and what identifies their content."""

from __future__ import annotations

import functools
import glob
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.files.writing import whole_path
from bat_agent.scene import MeshRoom
from bat_agent_soundspaces.materials import Material, default_materials_path, load_materials
from bat_agent_soundspaces.matterport import is_matterport, load_matterport
from bat_agent_soundspaces.meshes import FORMATS, AcousticMesh, load_mesh, save_mesh

KEPT_MESHES = 8


@dataclass(frozen=True)
class House:
    """A generated house: the same three numbers give the same house."""

    seed: int
    index: int
    rooms: int | None

    @property
    def file_name(self) -> str:
        """Where it lies in a cache folder."""
        return f"house-{self.seed}-{self.index}-{self.rooms or 'any'}.glb"


def house_file(house: House, cache: str | None) -> Path:
    """The file of a house, generated where it is not there yet; safe for several processes at once."""
    path = cache_folder(cache) / house.file_name
    if not path.exists():
        from bat_agent_soundspaces.houses import generate_house

        path.parent.mkdir(parents=True, exist_ok=True)
        mesh = generate_house(np.random.default_rng((house.seed, house.index)), rooms=house.rooms)
        with whole_path(path) as temporary:
            save_mesh(mesh, temporary)
    return path


def cache_folder(cache: str | None) -> Path:
    """``cache``, or ``bat-agent/houses`` in the user's cache folder."""
    if cache is not None:
        return Path(cache).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bat-agent" / "houses"


def find_meshes(scenes: str) -> list[Path]:
    """Mesh files, sorted: one file, those of a folder and its subfolders, or those of a pattern with ``*``."""
    named = Path(scenes).expanduser()
    if named.is_file():
        return [named.absolute()]
    if named.is_dir():
        found = [path for path in named.rglob("*") if path.suffix.lower() in FORMATS]
    else:
        found = [Path(path) for path in glob.glob(str(named), recursive=True) if path.lower().endswith(FORMATS)]
    # The semantic mesh of a Matterport3D scene is half of a scene, not one of its own.
    found = [path.absolute() for path in found if path.is_file() and not path.name.endswith("_semantic.ply")]
    if not found:
        raise BadInput(
            f"soundspaces scenes {scenes!r} names no mesh ({', '.join(FORMATS)}); give a file, a folder, a pattern "
            "with *, or 'houses' for generated ones"
        )
    return sorted(found)


def room_file(room: MeshRoom, cache: str | None) -> Path:
    """The mesh file of a room; a generated house whose file is elsewhere is generated again."""
    path = Path(room.path).expanduser()
    house = room.options.get("house")
    if path.exists() or house is None:
        return path
    try:
        return house_file(House(int(house["seed"]), int(house["index"]), house["rooms"]), cache)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the scene's room has house {house!r}, expected seed, index and rooms") from error


def open_mesh(path: Path) -> tuple[AcousticMesh, str]:
    """The mesh of a file and the fingerprint of its content; the last few are kept until their file changes."""
    try:
        stat = path.stat()
    except OSError as error:
        raise BadInput(f"mesh {path} does not exist; give the path of a file ({', '.join(FORMATS)})") from error
    return _open(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=KEPT_MESHES)
def _open(path: Path, changed_ns: int, size: int) -> tuple[AcousticMesh, str]:
    mesh = load_matterport(path) if is_matterport(path) else load_mesh(path)
    digest = hashlib.sha256("\n".join(mesh.materials).encode())
    for array in (mesh.vertices, mesh.faces, mesh.face_material):
        digest.update(np.ascontiguousarray(array).tobytes())
    return mesh, digest.hexdigest()


def open_materials(path: str | None) -> tuple[tuple[Material, ...], str]:
    """A material table (``None``: the one that ships) and the fingerprint of its file."""
    file = default_materials_path() if path is None else Path(path).expanduser()
    if not file.is_file():
        raise BadInput(
            f"material table {file} does not exist; give a JSON file, or leave it out for the one that ships"
        )
    return _open_materials(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=KEPT_MESHES)
def _open_materials(path: Path, changed_ns: int) -> tuple[tuple[Material, ...], str]:
    return load_materials(path), file_sha256(path)


def file_sha256(path: str | Path) -> str:
    """Fingerprint of a file's bytes."""
    return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()


def check_unchanged(what: str, now: str, stored: Any, field: str) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` where a fingerprint stored with the scene is another one."""
    if stored is not None and stored != now:
        raise BadInput(
            f"{what} has changed since the scene was drawn ({field} is {now[:12]}…, the scene says "
            f"{str(stored)[:12]}…); restore it, or remove {field} from the options of the scene's room"
        )
