"""Triangle meshes that sound travels in: reading, checking, and whether a point lies inside.

Frame and units are those of :mod:`bat_agent.scene` (+y up, −z front, metres). V vertices, F faces, P points.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.extras import needed
from bat_agent.scene import Vector
from bat_agent_soundspaces.gltf import read_gltf
from bat_agent_soundspaces.rays import RayCaster

FORMATS = (".glb", ".gltf", ".obj", ".ply")
UNNAMED = "default"
"""Category of faces that carry no name; the engine gives them its default material."""
Z_UP_TO_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""(x, y, z) ↦ (x, z, −y)."""
_MEANINGLESS = re.compile(r"(default|material|mat|lambert|phong|none)?[ ._-]*\d*", re.IGNORECASE)
_PROBES = 128


@dataclass(frozen=True)
class Region:
    """A room of a mesh: a box and, where its walls are not those of the box, its outline."""

    name: str
    min_m: Vector
    max_m: Vector
    outline_m: tuple[tuple[float, float], ...] = ()
    """Corners (x, z) of the floor, in order; empty where the box is the room."""

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which of the points (P, 3) lie in the room: (P,) bool."""
        points = np.atleast_2d(points)
        inside = np.all((points >= np.array(self.min_m)) & (points <= np.array(self.max_m)), axis=1)
        if self.outline_m:
            inside &= _in_polygon(points[:, [0, 2]], np.array(self.outline_m))
        return inside

    @property
    def size_m(self) -> Vector:
        """Extent of the box along x, y, z."""
        x, y, z = (high - low for low, high in zip(self.min_m, self.max_m, strict=True))
        return x, y, z

    @property
    def volume_m3(self) -> float:
        """Volume of the box."""
        return float(np.prod(self.size_m))


@dataclass(frozen=True, eq=False)
class AcousticMesh:
    """Triangles with a material name each. Winding does not matter."""

    vertices: np.ndarray
    """(V, 3) float32, metres."""
    faces: np.ndarray
    """(F, 3) int32 indices into ``vertices``."""
    materials: tuple[str, ...]
    """Names (categories) that the faces refer to; a material table turns them into acoustic properties."""
    face_material: np.ndarray
    """(F,) int32 indices into ``materials``."""
    regions: tuple[Region, ...] = ()
    """Rooms; empty where the file says nothing of rooms."""
    name: str = field(default="mesh")
    """For messages."""

    @cached_property
    def floor_y_m(self) -> float:
        """Height of the lowest floor: of the lowest room or, without rooms, of the lowest large level surface."""
        if self.regions:
            return min(region.min_m[1] for region in self.regions)
        levels = level_heights_m(self)
        return float(levels[0]) if len(levels) else float(self.vertices[:, 1].min())

    @cached_property
    def rays(self) -> RayCaster:
        """What answers questions about rays; built once."""
        return RayCaster(self.vertices[self.faces])

    @cached_property
    def openness(self) -> Openness:
        """How far the mesh is from closed; found once."""
        return _openness(self)

    @property
    def bounds_m(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner, (3,) each."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    def region_at(self, point: Sequence[float]) -> Region | None:
        """The smallest room that contains a point, or None."""
        found = [region for region in self.regions if region.contains(np.asarray(point, float))[0]]
        return min(found, key=lambda region: region.volume_m3, default=None)

    def groups(self) -> dict[str, np.ndarray]:
        """Faces (n, 3) int32 of each material that has any."""
        groups = {name: self.faces[self.face_material == i] for i, name in enumerate(self.materials)}
        return {name: faces for name, faces in groups.items() if len(faces)}


@dataclass(frozen=True)
class Openness:
    """How far a mesh is from closed."""

    boundary_edge_share: float
    """Share of edges that belong to one face only; 0 for a closed surface."""
    ray_hit_share: float
    """Share of rays from points inside that meet a surface; 1 for a closed one. What escapes is energy lost."""

    @property
    def is_closed(self) -> bool:
        """Whether practically no ray escapes."""
        return self.ray_hit_share > 0.999

    def __str__(self) -> str:
        lost = 1 - self.ray_hit_share
        if self.is_closed:
            return "mesh is closed"
        return (
            f"mesh has holes: {lost:.1%} of the rays from inside escape (ray efficiency {self.ray_hit_share:.2f}, "
            f"{self.boundary_edge_share:.1%} of its edges are open), so it sounds less reverberant than the real room"
        )


def load_mesh(path: str | Path, *, up: Literal["y", "z"] | None = None) -> AcousticMesh:
    """Read a GLB, GLTF, OBJ or PLY file; node transforms are applied and every face keeps its material name.

    The name is the glTF material's or, where that says nothing (``Material.001``), the node's; in OBJ files that of
    ``usemtl`` or else of the group; PLY files have none. ``up`` names the vertical axis of the file; ``None`` is the
    usual one, y. Raises :class:`~bat_agent.errors.BadInput` for a file that cannot be read or used.
    """
    path = Path(path)
    if up not in ("y", "z", None):
        raise BadInput(f"up must be 'y', 'z' or None, got {up!r}")
    if path.suffix.lower() not in FORMATS:
        raise BadInput(f"mesh {path} has the ending {path.suffix!r}; expected one of {', '.join(FORMATS)}")
    if not path.is_file():
        raise BadInput(f"mesh {path} does not exist; give the path of a GLB, GLTF, OBJ or PLY file")
    try:
        parts, metadata = _read_obj(path) if path.suffix.lower() == ".obj" else _read_scene(path)
    except BadInput:
        raise
    except Exception as error:  # the readers raise whatever their parsing stumbles over
        raise BadInput(f"mesh {path} cannot be read ({type(error).__name__}: {error}); is it complete?") from error
    mesh = join_parts(parts, _read_regions(metadata), path.name)
    if up == "z":
        turned = np.ascontiguousarray(mesh.vertices @ Z_UP_TO_Y_UP.T.astype(np.float32))
        mesh = AcousticMesh(turned, mesh.faces, mesh.materials, mesh.face_material, (), mesh.name)
    check_mesh(mesh)
    return mesh


def save_mesh(mesh: AcousticMesh, path: str | Path) -> None:
    """Write a GLB file that :func:`load_mesh` reads back: geometry, material names, rooms."""
    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise BadInput(f"meshes are saved as .glb, which keeps material names; got {path}")
    check_mesh(mesh)
    trimesh = import_trimesh()
    rooms = [
        {"name": r.name, "min_m": list(r.min_m), "max_m": list(r.max_m), "outline_m": [list(c) for c in r.outline_m]}
        for r in mesh.regions
    ]
    scene = trimesh.Scene(metadata={"regions": rooms})
    for i, (name, faces) in enumerate(mesh.groups().items()):
        used, local = np.unique(faces, return_inverse=True)
        visual = trimesh.visual.TextureVisuals(material=trimesh.visual.material.PBRMaterial(name=name))
        part = trimesh.Trimesh(mesh.vertices[used], local.reshape(-1, 3), visual=visual, process=False)
        scene.add_geometry(part, node_name=f"{i:04d} {name}", geom_name=f"{i:04d} {name}")
    path.write_bytes(scene.export(file_type="glb"))


def join_parts(
    parts: Sequence[tuple[str, np.ndarray, np.ndarray]], regions: tuple[Region, ...] = (), name: str = "mesh"
) -> AcousticMesh:
    """One mesh of parts (material name, vertices (v, 3), faces (f, 3))."""
    materials = tuple(dict.fromkeys(material for material, _, _ in parts))
    offsets = np.cumsum([0, *(len(vertices) for _, vertices, _ in parts)])
    faces = [f + offset for (_, _, f), offset in zip(parts, offsets, strict=False)]
    owner = [np.full(len(f), materials.index(material)) for material, _, f in parts]
    return AcousticMesh(
        np.concatenate([v for _, v, _ in parts] or [np.empty((0, 3))]).astype(np.float32),
        np.concatenate(faces or [np.empty((0, 3))]).astype(np.int32),
        materials,
        np.concatenate(owner or [np.empty(0)]).astype(np.int32),
        regions,
        name,
    )


def check_mesh(mesh: AcousticMesh) -> None:
    """Refuse what would crash the engine or make it silently wrong."""
    name, count = mesh.name, len(mesh.vertices)
    if mesh.vertices.ndim != 2 or mesh.vertices.shape[1:] != (3,) or mesh.faces.shape[1:] != (3,):
        raise BadInput(
            f"{name} must have vertices (V, 3) and triangles (F, 3), got {mesh.vertices.shape} and {mesh.faces.shape}"
        )
    if not count or not len(mesh.faces):
        raise BadInput(f"{name} has {count} vertices and {len(mesh.faces)} triangles; give a mesh with surfaces")
    if bad := int(np.count_nonzero(~np.isfinite(mesh.vertices).all(axis=1))):
        raise BadInput(f"{name} has {bad} vertices that are NaN or infinite; repair the file and try again")
    if mesh.faces.min() < 0 or mesh.faces.max() >= count:
        raise BadInput(f"{name} has faces that refer to vertices outside 0…{count - 1}; repair the file and try again")
    owner = mesh.face_material
    if owner.shape != (len(mesh.faces),) or owner.min() < 0 or owner.max() >= len(mesh.materials):
        raise BadInput(f"{name} must have one index into its {len(mesh.materials)} materials for each face")
    extent_m = float((mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0)).max())
    if extent_m > 10_000:
        raise BadInput(f"{name} is {extent_m:.3g} m wide; vertices must be in metres, so scale it")
    if not face_areas_m2(mesh).sum() > 0:
        raise BadInput(f"{name} has no area: all its triangles are degenerate; give a mesh with surfaces")


def inside(mesh: AcousticMesh, points: np.ndarray) -> np.ndarray:
    """Which points (P, 3) lie in the air that the mesh encloses, not in furniture or beyond the walls: (P,) bool.

    Rays in 18 directions vote: from the air they meet an odd number of surfaces. Those that escape through a hole
    abstain, and where more than half escape the point is outside.
    """
    counts = mesh.rays.count(np.atleast_2d(np.asarray(points, float)))
    met = counts > 0
    odd = counts % 2 == 1
    return (met.mean(axis=1) >= 0.5) & (2 * odd.sum(axis=1) > met.sum(axis=1))


def openness(mesh: AcousticMesh) -> Openness:
    """Open edges, and the share of rays that meet a surface from points inside; found once per mesh."""
    return mesh.openness


def face_areas_m2(mesh: AcousticMesh) -> np.ndarray:
    """(F,) areas."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(float), 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def level_heights_m(mesh: AcousticMesh) -> np.ndarray:
    """Heights of large level surfaces (floors, ceilings), ascending: at least 30 % of the largest one's area."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(float), 1, 0)
    normal = np.cross(b - a, c - a)
    doubled = np.linalg.norm(normal, axis=1)
    level = np.abs(normal[:, 1]) > 0.95 * np.maximum(doubled, 1e-12)
    if not level.any():
        return np.empty(0)
    height, area = (a + b + c)[level, 1] / 3, doubled[level] / 2
    bins = np.floor((height - height.min()) / 0.1).astype(int)
    total = np.bincount(bins, area)
    mean = np.bincount(bins, area * height) / np.maximum(total, 1e-12)
    return mean[total >= 0.3 * total.max()]


def weld(vertices: np.ndarray) -> np.ndarray:
    """(V,) index of each vertex's place; vertices closer than about 0.1 mm share one."""
    low = vertices.min(axis=0).astype(float)
    step = max(1e-4, float((vertices.max(axis=0) - low).max()) / 2**20)
    x, y, z = np.round((vertices - low) / step).astype(np.int64).T
    return np.unique((x << 42) + (y << 21) + z, return_inverse=True)[1].reshape(-1)


def import_trimesh() -> Any:
    """The library that reads meshes, imported when it is needed."""
    with needed("soundspaces", "reading meshes"):
        import trimesh
        import trimesh.visual.material
    return trimesh


def _openness(mesh: AcousticMesh) -> Openness:
    corner = weld(mesh.vertices)
    edges = np.sort(corner[mesh.faces][:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges = edges[edges[:, 0] != edges[:, 1]]
    _, uses = np.unique(edges[:, 0].astype(np.int64) * (corner.max() + 1) + edges[:, 1], return_counts=True)
    low, high = mesh.bounds_m
    points = np.random.default_rng(0).uniform(low, high, (_PROBES, 3))
    met = mesh.rays.count(points[inside(mesh, points)]) > 0
    return Openness(float((uses == 1).mean()) if len(uses) else 1.0, float(met.mean()) if met.size else 0.0)


def _read_scene(path: Path) -> tuple[list[tuple[str, np.ndarray, np.ndarray]], dict[str, Any]]:
    if path.suffix.lower() in (".glb", ".gltf"):
        parts, extras = read_gltf(path)
        return [(_category(material, node), vertices, faces) for material, node, vertices, faces in parts], extras
    trimesh = import_trimesh()
    scene = trimesh.load_scene(path, process=False)
    found = []
    for node in sorted(scene.graph.nodes_geometry):  # the library's own order changes from run to run
        transform, geometry = scene.graph[node]
        part = scene.geometry[geometry]
        if isinstance(part, trimesh.Trimesh):
            vertices = part.vertices @ transform[:3, :3].T + transform[:3, 3]
            found.append((UNNAMED, vertices, np.asarray(part.faces)))
    return found, {}


def _category(*candidates: str | None) -> str:
    return next((name for name in candidates if name and not _MEANINGLESS.fullmatch(name)), UNNAMED)


def _read_obj(path: Path) -> tuple[list[tuple[str, np.ndarray, np.ndarray]], dict[str, Any]]:
    """Vertices and faces by material; trimesh forgets the names where the .mtl file is missing."""
    vertices: list[list[float]] = []
    faces: dict[str, list[tuple[int, int, int]]] = {}
    material = group = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "v":
            vertices.append([float(value) for value in rest.split()[:3]])
        elif word == "usemtl":
            material = rest.strip()
        elif word in ("g", "o"):
            group = rest.strip()
        elif word == "f":
            corners = [int(corner.split("/")[0]) for corner in rest.split()]
            corners = [c - 1 if c > 0 else len(vertices) + c for c in corners]
            fan = [(corners[0], *pair) for pair in itertools.pairwise(corners[1:])]
            faces.setdefault(_category(material, group), []).extend(fan)
    places = np.array(vertices, float).reshape(-1, 3)
    if bad := [i for fan in faces.values() for face in fan for i in face if not 0 <= i < len(places)]:
        raise BadInput(f"mesh {path} has a face that refers to vertex {bad[0] + 1} of {len(places)}; repair the file")
    parts = []
    for name, fan in faces.items():
        used, local = np.unique(np.array(fan), return_inverse=True)
        parts.append((name, places[used], local.reshape(-1, 3)))
    return parts, {}


def _read_regions(metadata: dict[str, Any]) -> tuple[Region, ...]:
    return tuple(
        Region(
            str(entry["name"]),
            tuple(entry["min_m"]),
            tuple(entry["max_m"]),
            tuple((x, z) for x, z in entry.get("outline_m", ())),
        )
        for entry in metadata.get("regions", ())
        if isinstance(entry, dict) and {"name", "min_m", "max_m"} <= set(entry)
    )


def _in_polygon(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Even-odd rule for points (P, 2) and corners (n, 2): (P,) bool."""
    (x0, z0), (x1, z1) = corners.T, np.roll(corners, -1, axis=0).T
    x, z = points[:, :1], points[:, 1:]
    spans = (z0 > z) != (z1 > z)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = x < x0 + (z - z0) / (z1 - z0) * (x1 - x0)
    return np.count_nonzero(spans & right, axis=1) % 2 == 1
