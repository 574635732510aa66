"""The mesh of a habitat scene as a file whose frame is habitat's world.

habitat-sim turns the mesh of a stage so that what its configuration calls up (``orient_up``) is +y and what it calls
front (``orient_front``) is −z. Without a data set configuration it takes every ``.glb`` for one with z upwards.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent_soundspaces.habitat_api import check_open, dataset_file, peek, scene_file, vector
from bat_agent_soundspaces.matterport import is_matterport
from bat_agent_soundspaces.turned import turn_of, turned_copy

MESHES = (".glb", ".gltf", ".obj", ".ply")


def mesh_file(sim: Any, override: str | None = None) -> str:
    """File of the mesh of the present stage.

    Raises :class:`~bat_agent.errors.BadInput` where none of the names the simulator gives is a mesh file.
    """
    check_open(sim)
    stage = _stage(sim)
    names = [override] if override else [peek(stage, "render_asset_fullpath"), peek(stage, "render_asset_handle")]
    for name in [*names, None if override else scene_file(sim)]:
        if name and Path(str(name)).suffix.lower() in MESHES and Path(str(name)).is_file():
            return str(name)
    tried = override or scene_file(sim) or "no scene at all"
    raise BadInput(
        f"the mesh of the habitat scene cannot be found ({tried} is no {', '.join(MESHES)} file here); give it as "
        f"option mesh"
    )


def upright_mesh(sim: Any, mesh: str, cache: str | None = None) -> str:
    """``mesh`` as habitat-sim turned it: the file itself, or a turned copy in the cache.

    Matterport3D is turned by whoever reads it. Raises :class:`~bat_agent.errors.BadInput` where habitat-sim has laid a
    ``.glb`` on its side because no configuration told it which axis is up.
    """
    if is_matterport(mesh):
        return mesh
    turn = rotation_of(sim)
    if np.allclose(turn, np.eye(3), atol=1e-4):
        return mesh
    if dataset_file(sim) is None and Path(mesh).suffix.lower() == ".glb":
        raise BadInput(
            f"habitat takes a .glb without a data set configuration for one with z upwards, and so lies {mesh} on its "
            'side if y is up in it: open it with a scene data set configuration whose stages say "up": [0, 1, 0], '
            '"front": [0, 0, -1] (or "up": [0, 0, 1], "front": [0, 1, 0] if z is); of Matterport3D, put the '
            "_semantic.ply and .house files beside it"
        )
    return str(turned_copy(Path(mesh), turn, cache))


def rotation_of(sim: Any) -> np.ndarray:
    """The rotation (3, 3) by which habitat-sim turned the mesh's file into its world."""
    check_open(sim)
    stage = _stage(sim)
    up, front = peek(stage, "orient_up"), peek(stage, "orient_front")
    return turn_of(None if up is None else vector(up), None if front is None else vector(front))


def has_vertex_semantics(mesh: str) -> bool:
    """Whether a semantic mesh with one object per vertex lies beside the stage, as Matterport3D and Gibson have it.

    Only with these can habitat's audio sensor use materials: Replica crashes it, and HM3D keeps its semantics in
    textures.
    """
    path = Path(mesh)
    return path.with_name(f"{path.stem}_semantic.ply").is_file()


def _stage(sim: Any) -> Any:
    with contextlib.suppress(Exception):  # a scene without a stage raises one error or another
        return sim.get_stage_initialization_template()
    return None
