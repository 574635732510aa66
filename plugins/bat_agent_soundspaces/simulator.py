"""The simulator ``soundspaces``: meshes and houses, rendered by the SoundSpaces 2.0 engine in processes of its own."""

from __future__ import annotations

import functools
import json
import logging
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bat_agent.errors import BadInput
from bat_agent.scene import Listener, MeshRoom, Room, Scene, Source
from bat_agent_soundspaces.ambisonics import Field, listen, make_decoder, to_head_frame
from bat_agent_soundspaces.boxes import box_depth, box_geometry
from bat_agent_soundspaces.config import HOUSES, SoundspacesConfig
from bat_agent_soundspaces.engine import (
    HEAD_GAIN_DB,
    HEAD_LATENCY,
    RATE_HZ,
    Acoustics,
    EngineError,
    Floats,
    Geometry,
    HeadQuery,
    Trace,
    Traced,
    align_onset,
    check_hrtf,
    require_engine,
)
from bat_agent_soundspaces.heads import engine_head
from bat_agent_soundspaces.library import (
    House,
    check_unchanged,
    file_sha256,
    find_meshes,
    house_file,
    open_materials,
    open_mesh,
)
from bat_agent_soundspaces.materials import Curve, Material, find_material, match, unmatched
from bat_agent_soundspaces.meshes import AcousticMesh, Region
from bat_agent_soundspaces.placement import Placement, check_positions, sample_placement
from bat_agent_soundspaces.turned import upright_file
from bat_agent_soundspaces.worker import Pool

CLOSED_FROM = 0.95
"""Ray efficiency of a mesh without holes worth mentioning (SoundSpaces' own figure)."""
KEPT_FIELDS = 8
logger = logging.getLogger(__name__)


class SoundSpaces:
    """Room impulse responses by ray tracing; see :class:`bat_agent.interfaces.Simulator`.

    Rooms: :class:`~bat_agent.scene.MeshRoom`, or a rectangular :class:`~bat_agent.scene.Room` as a closed box. Level:
    direct pressure 0.282/d before the head, and a head that passes white noise from straight ahead at 0 dB (option
    ``head_level``). Time: with onset ``physical`` the largest sample of a frontal source falls on d/343 s, with
    ``direct_at_zero`` on sample 32, for each source on its own. The engine takes no
    seed: the same scene gives the same bytes in any process, whatever its ``seed``. Its processes start with the first
    render and end with :meth:`close`, with the ``with`` block, or with the interpreter. Usable from several threads
    and after a fork; pickling keeps the options only.
    """

    sample_rate_hz = RATE_HZ

    def __init__(self, config: SoundspacesConfig | None = None) -> None:
        require_engine()
        _say_licence()
        config = config or SoundspacesConfig()
        # Absolute, because the options are stored with scenes and read wherever those are.
        self.config = replace(config, hrtf=_absolute(config.hrtf), materials=_absolute(config.materials))
        self._hrtf = self.config.hrtf
        check_hrtf(self._hrtf)
        self._materials, _ = open_materials(self.config.materials)
        self._pool = Pool(self.config.workers, self.config.timeout_s, int(self.config.memory_limit_gb * 2**30))
        self._examined: dict[str, float] = {}
        self._fields: OrderedDict[str, list[Field]] = OrderedDict()
        self.ray_traces = 0
        """Ray traces so far; what a turned head costs none of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return SoundSpaces, (self.config,)

    def __enter__(self) -> SoundSpaces:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the engine's processes; they start again when needed."""
        self._pool.close()

    @property
    def options(self) -> dict[str, Any]:
        """What ``load_simulator("soundspaces", …)`` needs to render the same."""
        return self.config.acoustic_options()

    # --- scenes ---

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        """Draw a mesh or a house, a listener standing on its floor (ears at 1.5 m) and sources in the same room."""
        config = self.config
        path, house = self._draw_mesh(rng)
        mesh, fingerprint = open_mesh(path)
        placement = self._place(mesh, rng, num_sources)
        options: dict[str, Any] = {"mesh_sha256": fingerprint, "materials_sha256": open_materials(config.materials)[1]}
        if self._hrtf is not None:
            options["hrtf_sha256"] = file_sha256(self._hrtf)
        if house is not None:
            options["house"] = {"seed": house.seed, "index": house.index, "rooms": house.rooms}
        return Scene(
            MeshRoom(str(path), config.materials, options),
            Listener(placement.listener_position_m, placement.heading_deg),
            tuple(Source(position) for position in placement.source_positions_m),
            int(rng.integers(2**31)),
            config.onset,
            {"name": "soundspaces", "options": self.options},
        )

    def sample_placements(self, scene: Scene, rng: np.random.Generator, count: int) -> list[Scene]:
        """Other listeners, and as many sources, in the room of a mesh in which the listener of ``scene`` stands."""
        if not isinstance(scene.room, MeshRoom):
            raise BadInput("soundspaces draws placements in meshes only; draw rectangular rooms with shoebox")
        mesh, _ = open_mesh(upright_file(scene.room, self.config.cache))
        region = mesh.region_at(scene.listener.position_m)
        if mesh.regions and region is None:
            raise BadInput(
                f"the listener at {scene.listener.position_m} stands in no room of {mesh.name}; move it into one"
            )
        scenes = []
        for _ in range(count):
            placement = self._place(mesh, rng, len(scene.sources), region)
            listener = Listener(placement.listener_position_m, placement.heading_deg)
            sources = tuple(Source(position) for position in placement.source_positions_m)
            scenes.append(replace(scene, listener=listener, sources=sources, seed=int(rng.integers(2**31))))
        return scenes

    def _place(
        self, mesh: AcousticMesh, rng: np.random.Generator, num_sources: int, region: Region | None = None
    ) -> Placement:
        config = self.config
        return sample_placement(
            mesh,
            rng,
            num_sources=num_sources,
            region=region,
            min_distance_m=config.min_distance_m,
            max_distance_m=config.max_distance_m,
            random_heading=config.random_heading,
        )

    def _draw_mesh(self, rng: np.random.Generator) -> tuple[Path, House | None]:
        config = self.config
        if config.scenes == HOUSES:
            house = House(config.houses_seed, int(rng.integers(config.houses)), config.rooms_per_house)
            return house_file(house, config.cache), house
        found = find_meshes(config.scenes)
        return found[int(rng.integers(len(found)))], None

    # --- sound ---

    def render(self, scene: Scene) -> list[Tensor]:
        """One RIR (2, taps) float32 per source, left ear first; (1, taps) for mono, (4, taps) for ambisonics."""
        return self.render_many([scene])[0]

    def render_many(self, scenes: Sequence[Scene]) -> list[list[Tensor]]:
        """As :meth:`render` for each scene, in order, by as many processes at once as ``workers`` says."""
        traces = [self._trace(scene) for scene in scenes]
        wanted = [trace for trace in traces if trace.sources_m]
        results = iter(self._run(wanted))
        traced = [next(results).rirs if trace.sources_m else [] for trace in traces]
        return [self._finish(scene, rirs) for scene, rirs in zip(scenes, traced, strict=True)]

    def render_next(self, scene: Scene, previous: Scene | None = None) -> list[Tensor]:
        """As :meth:`render`, made so that a turned head needs no new ray trace.

        The rays of a position are traced once, as ambisonics, and decoded for the heading; the last eight positions are
        kept, so ``previous`` need not be passed. Direct sound is exactly the head's; reflections have the right levels
        but other random details than :meth:`render` gives.
        """
        if self.config.output != "binaural":
            return self.render(scene)
        if not scene.sources:
            return []
        fields = self._fields_of(scene)
        places = np.array([source.position_m for source in scene.sources]) - scene.listener.position_m
        heading = scene.listener.heading_deg
        directions = np.stack([to_head_frame(place, heading) for place in places])
        responses = self._pool.head(HeadQuery(self._engine_hrtf, directions))
        heard = [
            listen(field, self._decoder, response, heading) for field, response in zip(fields, responses, strict=True)
        ]
        return self._finish(scene, heard)

    def ray_efficiency(self, scene: Scene) -> float:
        """Share of rays from the listener that stay inside: 1 for a closed mesh, less the more it leaks."""
        trace = self._trace(scene, examine=False)
        return self._efficiency(trace)

    # --- from a scene to what the engine is asked ---

    def _trace(self, scene: Scene, examine: bool = True) -> Trace:
        config, room = self.config, scene.room
        depth = config.ray_depth
        if isinstance(room, Room):
            what, geometry = f"the room of {room.size_m} m", box_geometry(room, self._material)
            if config.depth is None:
                depth = max(depth, box_depth(room, geometry))
        else:
            what, geometry = f"the mesh {room.path}", self._mesh_geometry(room, scene)
        acoustics = Acoustics(
            config.ray_count,
            depth,
            config.output,
            self._engine_hrtf,
            config.indirect_sh_order,
            config.transmission,
            indirect=geometry is not None,
        )
        places = tuple(source.position_m for source in scene.sources)
        listener = scene.listener
        what += f" with the listener at {listener.position_m} and {len(places)} sources"
        # Without ears the heading would only change which rays are drawn.
        heading = listener.heading_deg if config.output == "binaural" else 0.0
        trace = Trace(acoustics, geometry, listener.position_m, heading, places, what)
        if examine and isinstance(room, MeshRoom):
            self._examine(room, trace)
        return trace

    def _mesh_geometry(self, room: MeshRoom, scene: Scene) -> Geometry:
        path = upright_file(room, self.config.cache)
        mesh, fingerprint = open_mesh(path)
        table, table_fingerprint = open_materials(room.materials or self.config.materials)
        stored = room.options
        check_unchanged(f"mesh {path}", fingerprint, stored.get("mesh_sha256"), "mesh_sha256")
        check_unchanged("the material table", table_fingerprint, stored.get("materials_sha256"), "materials_sha256")
        if self._hrtf is not None and "hrtf_sha256" in stored:
            check_unchanged(f"HRTF {self._hrtf}", file_sha256(self._hrtf), stored["hrtf_sha256"], "hrtf_sha256")
        check_positions(mesh, scene.listener.position_m, [source.position_m for source in scene.sources])
        return _geometry(mesh, table)

    def _material(self, name: str) -> Material:
        return find_material(name, self._materials)

    def _examine(self, room: MeshRoom, trace: Trace) -> None:
        """Say once for each mesh if it leaks."""
        key = f"{room.path} {room.options.get('mesh_sha256')}"
        with self._pool.lock:
            if key in self._examined:
                return
            self._examined[key] = math.nan
        efficiency = self._examined[key] = self._efficiency(trace)
        if efficiency < CLOSED_FROM:
            logger.warning(
                "mesh %s has holes: ray efficiency %.2f (1 is a closed mesh), so it sounds less reverberant than the "
                "real room; close them, or take it as it is",
                room.path,
                efficiency,
            )

    def _efficiency(self, trace: Trace) -> float:
        # What passes a wall on purpose counts as lost, too: without transmission only holes are left.
        acoustics = replace(trace.acoustics, rays=500, depth=20, output="mono", hrtf=None, transmission=False)
        return self._pool.trace(replace(trace, acoustics=acoustics)).ray_efficiency

    # --- from what the engine gives to RIRs ---

    def _run(self, traces: Sequence[Trace]) -> list[Traced]:
        if self._hrtf is not None and traces:
            _ = self._head  # a SOFA file that the engine ignores has to be noticed before it is used
        with self._pool.lock:
            self.ray_traces += sum(trace.acoustics.indirect for trace in traces)
        return self._pool.map(traces)

    def _finish(self, scene: Scene, rirs: Sequence[Floats]) -> list[Tensor]:
        out = []
        most = round(self.config.max_seconds * RATE_HZ)
        for source, rir in zip(scene.sources, rirs, strict=True):
            if not np.isfinite(rir).all():
                raise EngineError(f"the engine gave numbers that are not finite for the source at {source.position_m}")
            distance = math.dist(source.position_m, scene.listener.position_m)
            latency, gain = self._head if self.config.output == "binaural" else (0, 1.0)
            placed = align_onset(rir, distance, latency, scene.onset)[:, :most] * np.float32(gain)
            out.append(torch.from_numpy(np.ascontiguousarray(placed)))
        return out

    @functools.cached_property
    def _engine_hrtf(self) -> str | None:
        """The head's file as the engine reads it."""
        config = self.config
        return self._hrtf and engine_head(self._hrtf, config.head_distance_m, config.allow_implausible)

    @functools.cached_property
    def _head(self) -> tuple[int, float]:
        """Latency in samples, from the arrival of sound to the peak of a frontal source, and gain to apply."""
        latency, gain_db = HEAD_LATENCY, HEAD_GAIN_DB
        if self._hrtf is not None:
            around = np.array([[0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0]], dtype=np.float64)
            heads = (self._engine_hrtf, None)
            mine, default = (self._pool.head(HeadQuery(hrtf, around, f"HRTF {self._hrtf}")) for hrtf in heads)
            if mine.shape == default.shape and np.array_equal(mine, default):
                raise BadInput(
                    f"the engine cannot read HRTF {self._hrtf}; it must be a SOFA file of the convention "
                    "SimpleFreeFieldHRIR"
                )
            latency = int(np.abs(mine[0]).max(axis=0).argmax())
            # Rounded, so that no machine's way of adding up reaches the samples.
            gain_db = round(float(10 * np.log10(np.square(mine[0], dtype=np.float64).sum() / 2)), 4)
        return latency, 10 ** (-gain_db / 20) if self.config.head_level == "unity" else 1.0

    @functools.cached_property
    def _decoder(self) -> Floats:
        return make_decoder(lambda directions: self._pool.head(HeadQuery(self._engine_hrtf, directions)), self._head[0])

    def _fields_of(self, scene: Scene) -> list[Field]:
        """Ambisonics of the scene's position, traced where they are not kept."""
        key = _position_key(scene)
        with self._pool.lock:
            if key in self._fields:
                self._fields.move_to_end(key)
                return self._fields[key]
        trace = replace(self._trace(scene), heading_deg=0.0)
        ambisonics = replace(trace.acoustics, output="ambisonics", hrtf=None)
        [direct] = self._run([replace(trace, acoustics=replace(ambisonics, indirect=False))])
        reflected = [np.zeros((4, 1), dtype=np.float32)] * len(direct.rirs)
        if ambisonics.indirect:
            [traced] = self._run([replace(trace, acoustics=replace(ambisonics, direct=False))])
            reflected = traced.rirs
        fields = [Field(alone[0], indirect) for alone, indirect in zip(direct.rirs, reflected, strict=True)]
        with self._pool.lock:
            self._fields[key] = fields
            while len(self._fields) > KEPT_FIELDS:
                self._fields.popitem(last=False)
        return fields


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def _position_key(scene: Scene) -> str:
    """All that the sound of a position depends on: everything but the heading."""
    data = scene.to_dict()
    return json.dumps([data["room"], data["listener"]["position_m"], [one["position_m"] for one in data["sources"]]])


@functools.lru_cache(maxsize=8)
def _geometry(mesh: AcousticMesh, table: tuple[Material, ...]) -> Geometry:
    if missing := unmatched(mesh.materials, table):
        logger.warning(
            "%s: no acoustic material fits %s, so these absorb 0.1 at all frequencies; give a table with materials",
            mesh.name,
            ", ".join(repr(name) for name in missing[:8]),
        )
    materials = tuple(match(category, table) or _UNKNOWN for category in mesh.materials)
    return Geometry(mesh.vertices, mesh.faces, mesh.face_material, materials)


def _constant(value: float) -> Curve:
    return Curve((1000.0,), (value,))


_UNKNOWN = Material(
    "unknown", (), _constant(0.1), _constant(0.5), _constant(0.0), _constant(0.0), density=1000.0, speed=3000.0
)
"""What the engine itself takes for a category that no label fits (measured)."""


@functools.cache
def _say_licence() -> None:
    logger.warning(
        "simulator 'soundspaces': its engine (rlr-audio-propagation, Meta) is licensed CC-BY-NC 4.0, "
        "for non-commercial use only"
    )
