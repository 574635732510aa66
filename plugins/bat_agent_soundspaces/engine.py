"""The engine itself: what may go in, what comes out. ``perform`` runs inside a worker process only (:mod:`.worker`).

The engine (``rlr-audio-propagation`` 0.0.1) has no errors worth the name: NaN positions allocate without bound, a bad
index is a segmentation fault, order 4 returns uninitialised memory, an unreadable SOFA file is ignored. So everything
is checked here, on the caller's side, before it goes in. Axes are those of :mod:`bat_agent.scene`. Measured on it:

* a fresh context with one thread gives the same samples each time, in any process; a used one does not;
* direct sound of a source d metres away begins at sample round((d − 0.1)/344·rate): 0.1 m is its listener's radius;
* its own head has the largest sample of a frontal source 32 samples later, mono and ambisonics 0.
"""

from __future__ import annotations

import functools
import json
import math
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput, BatAgentError, PluginError
from bat_agent.extras import how_to_install
from bat_agent.scene import check_outside_head
from bat_agent_soundspaces.config import CHANNELS
from bat_agent_soundspaces.materials import CURVES, Curve, Material

Floats = NDArray[np.float32]

RATE_HZ = 32_000
SPEED_OF_SOUND = 343.0
ENGINE_SPEED_OF_SOUND = 344.0
LISTENER_RADIUS_M = 0.1
HEAD_LATENCY = 32
"""Samples from the arrival of sound to the largest sample of a frontal source: the engine's own head."""
HEAD_GAIN_DB = 7.4929
"""Gain of the engine's own head for white noise from straight ahead, at each ear."""
LATENCY_AT_ZERO = 32
"""Where the largest sample of a frontal source falls with onset ``direct_at_zero``, as in the released RIRs."""
LEAST_DISTANCE_M = 0.2
"""Nearer than this, the engine gives the direct sound hardly any direction."""
HEAD_DISTANCE_M = 2.0
MOST_METRES = 10_000.0


class EngineError(BatAgentError):
    """The engine died, hung or gave numbers that are none, although what went in was checked."""


@dataclass(frozen=True)
class Acoustics:
    """What the engine is told about the kind of rendering."""

    rays: int
    depth: int
    output: str = "binaural"
    hrtf: str | None = None
    indirect_sh_order: int = 1
    transmission: bool = True
    direct: bool = True
    indirect: bool = True


@dataclass(frozen=True)
class Geometry:
    """Surfaces and what they are made of."""

    vertices: Floats
    """(V, 3) metres."""
    faces: NDArray[np.int32]
    """(F, 3) rows of ``vertices``."""
    face_material: NDArray[np.int32]
    """(F,) rows of ``materials``."""
    materials: tuple[Material, ...]
    """What ``face_material`` refers to."""


@dataclass(frozen=True)
class Trace:
    """One rendering: RIRs of all sources at one listener."""

    acoustics: Acoustics
    geometry: Geometry | None
    """``None`` is free field."""
    listener_m: tuple[float, float, float]
    heading_deg: float
    sources_m: tuple[tuple[float, float, float], ...]
    what: str
    """The scene in words, for error messages."""


@dataclass(frozen=True)
class Traced:
    """What a :class:`Trace` gives."""

    rirs: list[Floats]
    """(channels, taps) per source, at :data:`RATE_HZ`."""
    ray_efficiency: float
    """Share of the rays that hit something: about 1 in a closed mesh without transmission."""


@dataclass(frozen=True)
class HeadQuery:
    """The head alone: responses in free field from the given directions."""

    hrtf: str | None
    directions: NDArray[np.float64]
    """(D, 3) unit vectors in the listener's frame."""
    what: str = "the head"


# --- what may go in ---


def require_engine() -> None:
    """Raise :class:`~bat_agent.errors.PluginError` where the engine cannot run; imports nothing of it."""
    if (found := missing_engine()) is not None:
        raise PluginError(
            f"simulator 'soundspaces' cannot run: {found[0]}; {found[1]}, or use the simulator 'shoebox', "
            "which runs everywhere"
        )


def missing_engine() -> tuple[str, str] | None:
    """What is missing to run the engine and what to do about it; ``None`` where all is there."""
    elsewhere = "run it on Linux x86-64 with glibc 2.29 or newer"
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return (
            f"its engine exists for Linux x86-64 only and this is {platform.system()} {platform.machine()}",
            elsewhere,
        )
    library, version = platform.libc_ver()
    if library != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 29):
        return f"its engine needs glibc 2.29 and this is {library or 'another C library'} {version}".strip(), elsewhere
    lacking = [name for name in ("rlr_audio_propagation", "trimesh") if find_spec(name) is None]
    if lacking:
        return f"{' and '.join(lacking)} not installed", how_to_install("soundspaces")
    return None


def check_trace(trace: Trace) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` for anything the engine would crash on, hang on or silently ignore."""
    acoustics = trace.acoustics
    if acoustics.indirect_sh_order not in (0, 1, 2, 3):
        raise BadInput(f"indirect_sh_order must be 0, 1, 2 or 3 for the engine, got {acoustics.indirect_sh_order!r}")
    if acoustics.output not in CHANNELS:
        raise BadInput(f"output must be one of {sorted(CHANNELS)}, got {acoustics.output!r}")
    if not (1 <= acoustics.rays <= 100_000 and 1 <= acoustics.depth <= 1000):
        raise BadInput(f"rays must lie in 1…100000 and depth in 1…1000, got {acoustics.rays} and {acoustics.depth}")
    check_hrtf(acoustics.hrtf)
    if not math.isfinite(trace.heading_deg):
        raise BadInput(f"heading of the listener must be a finite number of degrees, got {trace.heading_deg}")
    _check_point(trace.listener_m, "the listener")
    for number, source in enumerate(trace.sources_m):
        _check_point(source, f"source {number}")
    check_outside_head(trace.listener_m, trace.sources_m, LEAST_DISTANCE_M)
    if trace.geometry is not None:
        _check_geometry(trace.geometry, trace.what)


def check_hrtf(path: str | None) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` where a SOFA file is missing or is no HDF5 file."""
    if path is None:
        return
    if not path.lower().endswith(".sofa"):
        raise BadInput(f"HRTF {path} must be a file ending in .sofa (SimpleFreeFieldHRIR), the engine reads no other")
    if not Path(path).is_file():
        raise BadInput(f"HRTF {path} does not exist; give the path of a SOFA file, or none for the engine's own head")
    with open(path, "rb") as file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n":
            raise BadInput(f"HRTF {path} is no SOFA file (SOFA files are HDF5 files); write it again")


def _check_point(point: tuple[float, float, float], what: str) -> None:
    if len(point) != 3 or not all(math.isfinite(value) and abs(value) <= MOST_METRES for value in point):
        raise BadInput(f"{what} must be at three finite numbers within ±{MOST_METRES:g} m, got {tuple(point)}")


def _check_geometry(geometry: Geometry, what: str) -> None:
    vertices, faces, rows = geometry.vertices, geometry.faces, geometry.face_material
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
        raise BadInput(f"{what} must have vertices (V, 3) and at least one face (F, 3), got {vertices.shape} and "
                       f"{faces.shape}")  # fmt: skip
    if not (np.isfinite(vertices).all() and np.abs(vertices).max() <= MOST_METRES):
        raise BadInput(f"{what} has vertices that are not finite numbers within ±{MOST_METRES:g} m; repair the mesh")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise BadInput(f"{what} has faces that name vertices outside 0…{len(vertices) - 1}; repair the mesh")
    if rows.shape != (len(faces),) or rows.min() < 0 or rows.max() >= len(geometry.materials):
        raise BadInput(
            f"{what} must name one of its {len(geometry.materials)} materials for each of {len(faces)} faces"
        )


# --- time ---


def direct_sample(distance_m: float) -> int:
    """Sample at which the engine lets the direct sound of a source begin."""
    return max(round((distance_m - LISTENER_RADIUS_M) / ENGINE_SPEED_OF_SOUND * RATE_HZ), 0)


def align_onset(rir: Floats, distance_m: float, latency: int, onset: str) -> Floats:
    """(channels, taps) shifted so that a frontal source peaks at d/343 (``physical``) or at sample 32.

    ``latency``: samples from the arrival to that peak in ``rir``. What would come before sample 0 is cut.
    """
    peak = round(distance_m / SPEED_OF_SOUND * RATE_HZ) if onset == "physical" else LATENCY_AT_ZERO
    shift = peak - direct_sample(distance_m) - latency
    return np.pad(rir, ((0, 0), (shift, 0))) if shift >= 0 else rir[:, -shift:]


# --- inside the worker ---


def perform(job: Trace | HeadQuery) -> Traced | Floats:
    """Do one job; the caller has checked it."""
    return _head(job) if isinstance(job, HeadQuery) else _trace(job)


def _trace(trace: Trace) -> Traced:
    from rlr_audio_propagation import Context

    # A used context draws other random numbers, and one whose sources are replaced leaks: each trace has its own.
    context = Context(_config(trace.acoustics))
    if trace.geometry is not None:
        _add_geometry(context, trace.geometry)
    _add_listener(context, trace.acoustics, trace.listener_m, trace.heading_deg)
    for number, source in enumerate(trace.sources_m):
        context.add_source()
        context.set_source_position(number, list(source))
    context.simulate()
    channels = CHANNELS[trace.acoustics.output]
    rirs = [_audio(context, number, channels) for number in range(len(trace.sources_m))]
    return Traced(rirs, float(context.get_indirect_ray_efficiency()))


def _config(acoustics: Acoustics) -> Any:
    from rlr_audio_propagation import Config

    config = Config()
    config.sample_rate = RATE_HZ
    config.thread_count = 1
    config.global_volume = 1.0
    config.indirect_ray_count = acoustics.rays
    config.indirect_ray_depth = acoustics.depth
    config.indirect_sh_order = acoustics.indirect_sh_order
    config.transmission = acoustics.transmission
    config.direct = acoustics.direct
    config.indirect = acoustics.indirect
    return config


def _add_geometry(context: Any, geometry: Geometry) -> None:
    # After the first mesh the engine ignores a material database.
    with _database(geometry.materials) as file:
        context.set_material_database_json(file)
    context.add_object()
    context.add_mesh_vertices(geometry.vertices.astype(np.float32).ravel().tolist())
    for row in np.unique(geometry.face_material):
        faces = geometry.faces[geometry.face_material == row]
        context.add_mesh_indices(faces.ravel().tolist(), 3, _category(int(row)))
    context.finalize_object_mesh(0)


@contextmanager
def _database(materials: Sequence[Material]) -> Iterator[str]:
    """A file with the materials as the engine wants them, in memory: a killed worker leaves nothing behind."""
    # The engine picks a material by substrings of its labels: only names of our own leave it no choice.
    table = []
    for row, material in enumerate(materials):
        curves = {name: _flat(getattr(material, name)) for name in CURVES}
        numbers = {"density": material.density, "speed": material.speed}
        table.append({"name": _category(row), "labels": [_category(row)], **curves, **numbers})
    file = os.memfd_create("materials")
    try:
        os.write(file, json.dumps({"materials": table}).encode())
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


def _flat(curve: Curve) -> list[float]:
    return [float(number) for pair in zip(curve.frequency_hz, curve.value, strict=True) for number in pair]


def _category(row: int) -> str:
    return f"material{row:06d}"


def _add_listener(context: Any, acoustics: Acoustics, position: tuple[float, float, float], heading_deg: float) -> None:
    from rlr_audio_propagation import ChannelLayout, ChannelLayoutType

    kinds = {"binaural": "Binaural", "mono": "Mono", "ambisonics": "Ambisonics"}
    kind = getattr(ChannelLayoutType, kinds[acoustics.output])
    context.add_listener(ChannelLayout(kind, CHANNELS[acoustics.output]))
    context.set_listener_radius(0, LISTENER_RADIUS_M)
    if acoustics.hrtf is not None:
        context.set_listener_hrtf(0, acoustics.hrtf)
    half = math.radians(heading_deg) / 2
    context.set_listener_position(0, list(position))
    context.set_listener_orientation_quaternion(0, [math.cos(half), 0.0, math.sin(half), 0.0])


def _audio(context: Any, source: int, channels: int) -> Floats:
    audio = np.asarray(context.get_listener_source_audio(0, source), dtype=np.float32)
    if audio.ndim != 2 or len(audio) != channels:
        # Nothing reaches the listener: no direct sound asked for, no ray that finds it.
        return np.zeros((channels, 1), dtype=np.float32)
    return audio


def _head(query: HeadQuery) -> Floats:
    context, level = _head_context(query.hrtf)
    start = direct_sample(HEAD_DISTANCE_M)
    responses = []
    for direction in query.directions:
        context.set_source_position(0, (HEAD_DISTANCE_M * direction).tolist())
        context.simulate()
        responses.append(_audio(context, 0, 2)[:, start:] / level)
    taps = max(response.shape[1] for response in responses)
    return np.stack([np.pad(one, ((0, 0), (0, taps - one.shape[1]))) for one in responses])


@functools.lru_cache(maxsize=4)
def _head_context(hrtf: str | None) -> tuple[Any, float]:
    """A context in free field, kept because a SOFA file costs 0.7 s to load; and the level of sound without a head."""
    from rlr_audio_propagation import Context

    made = []
    for output in ("mono", "binaural"):
        acoustics = Acoustics(1, 1, output, hrtf if output == "binaural" else None, indirect=False)
        context = Context(_config(acoustics))
        _add_listener(context, acoustics, (0.0, 0.0, 0.0), 0.0)
        context.add_source()
        made.append(context)
    mono, binaural = made
    mono.set_source_position(0, [0.0, 0.0, -HEAD_DISTANCE_M])
    mono.simulate()
    return binaural, float(np.abs(_audio(mono, 0, 1)).max())
