"""Meshes whose axes are not those of a scene: turned so that what is called up is +y, and front −z."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.scene import MeshRoom
from bat_agent_soundspaces.library import cache_folder, open_mesh, room_file
from bat_agent_soundspaces.matterport import is_matterport
from bat_agent_soundspaces.meshes import AcousticMesh, save_mesh

_UP, _FRONT = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0])


def turn_of(up: Sequence[float] | None, front: Sequence[float] | None) -> np.ndarray:
    """The rotation (3, 3) that makes ``up`` to +y and ``front`` to −z; ``None`` is what they are in a scene.

    Raises :class:`~bat_agent.errors.BadInput` where the two axes are one, or are no axes.
    """
    upwards = _UP if up is None else _unit(up)
    ahead = (_FRONT if abs(upwards[1]) > 0.5 else _UP) if front is None else _unit(front)
    ahead = ahead - (ahead @ upwards) * upwards
    if not np.linalg.norm(ahead) > 1e-3:
        raise BadInput("the stage's configuration has front along up; give two axes at right angles")
    ahead /= np.linalg.norm(ahead)
    # Rows: what becomes +x, +y and +z; front becomes −z, so that x is front cross up.
    return np.stack([np.cross(ahead, upwards), upwards, -ahead])


def turned_copy(mesh: Path, turn: np.ndarray, cache: str | None) -> Path:
    """A copy whose name says of which content and how turned it is; safe for several processes at once."""
    given, fingerprint = open_mesh(mesh)
    what = hashlib.sha256(f"{fingerprint} {np.round(turn, 4).tolist()}".encode()).hexdigest()[:16]
    path = cache_folder(cache) / f"turned_{mesh.stem}_{what}.glb"
    if not path.exists():
        vertices = np.ascontiguousarray(given.vertices @ turn.T.astype(np.float32))
        turned = AcousticMesh(vertices, given.faces, given.materials, given.face_material, (), path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.glb")
        try:
            save_mesh(turned, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def upright_file(room: MeshRoom, cache: str | None) -> Path:
    """The mesh file of a room, turned where the room has options ``up`` and ``front``; Matterport3D has none."""
    path = room_file(room, cache)
    up, front = room.options.get("up"), room.options.get("front")
    if (up is None and front is None) or is_matterport(path):
        return path
    turn = turn_of(up, front)
    return path if np.allclose(turn, np.eye(3), atol=1e-4) else turned_copy(path, turn, cache)


def _unit(axis: Sequence[float]) -> np.ndarray:
    try:
        found = np.array([float(axis[0]), float(axis[1]), float(axis[2])])
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise BadInput(f"up and front of a mesh must be three numbers each, such as 0, 0, 1, got {axis!r}") from error
    return found / max(float(np.linalg.norm(found)), 1e-9)
