"""Which rooms, listeners and sources the simulator ``shoebox`` draws (defaults: the statistics of BAT, section 3)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.scene import STANDING_HEIGHT_M, Listener, Room, Scene, Source, Vector
from bat_agent_shoebox.config import ShoeboxConfig
from bat_agent_shoebox.materials import random_materials
from bat_agent_shoebox.walls import least_rt60_s


def draw_scene(config: ShoeboxConfig, rng: np.random.Generator, num_sources: int, simulator: dict[str, Any]) -> Scene:
    """A room, a listener standing in it (ears at 1.5 m) and sources uniformly in its volume.

    Raises :class:`~bat_agent.errors.BadInput` where no source position satisfies ``config``.
    """
    size = _size(config, rng)
    rt60 = config.median_rt60_s * math.exp(config.rt60_sigma * rng.standard_normal())
    # A margin of 1 % keeps the drawn value reachable after rounding.
    rt60 = max(float(np.clip(rt60, config.min_rt60_s, config.max_rt60_s)), 1.01 * least_rt60_s(size))
    listener, sources = _placement(config, rng, size, num_sources)
    seed = int(rng.integers(2**31))
    # Drawn last: everything else is then the same with and without materials.
    materials = random_materials(rng) if config.materials == "random" else ()
    return Scene(Room(size, rt60, materials), listener, sources, seed, config.onset, simulator)


def draw_placement(config: ShoeboxConfig, rng: np.random.Generator, scene: Scene) -> Scene:
    """Another listener, as many sources and another seed in the room of ``scene``; errors as :func:`draw_scene`."""
    if not isinstance(scene.room, Room):
        raise BadInput(
            f"shoebox has rectangular rooms, not the mesh {scene.room.path}; use the simulator 'soundspaces'"
        )
    listener, sources = _placement(config, rng, scene.room.size_m, len(scene.sources))
    return replace(scene, listener=listener, sources=sources, seed=int(rng.integers(2**31)))


def _placement(
    config: ShoeboxConfig, rng: np.random.Generator, size: Vector, num_sources: int
) -> tuple[Listener, tuple[Source, ...]]:
    """A listener standing in a room of ``size`` and sources uniformly in its volume; margins shrink in a narrow one."""
    x_margin, z_margin = (min(config.listener_margin_m, 0.45 * extent) for extent in (size[0], size[2]))
    position = (
        float(rng.uniform(x_margin, size[0] - x_margin)),
        min(STANDING_HEIGHT_M, size[1] - 0.1),
        float(rng.uniform(z_margin, size[2] - z_margin)),
    )
    heading = float(rng.uniform(0, 360)) if config.random_heading else 0.0
    sources = tuple(Source(_source(config, rng, size, position)) for _ in range(num_sources))
    return Listener(position, heading), sources


def _size(config: ShoeboxConfig, rng: np.random.Generator) -> Vector:
    area = float(np.clip(config.median_area_m2 * math.exp(0.6 * rng.standard_normal()), 4, 90))
    aspect = rng.uniform(1, config.max_aspect)
    short = max(math.sqrt(area / aspect), 1.4)
    height = float(np.clip(rng.normal(config.mean_height_m, 0.25), 2.2, 4))
    sides = (short, area / short) if rng.random() < 0.5 else (area / short, short)
    return sides[0], height, sides[1]


def _source(config: ShoeboxConfig, rng: np.random.Generator, size: Vector, listener: Vector) -> Vector:
    margin = config.source_margin_m
    for _ in range(10_000):
        x, y, z = (float(rng.uniform(margin, extent - margin)) for extent in size)
        if config.min_distance_m <= math.dist((x, y, z), listener) < config.max_distance_m:
            return x, y, z
    raise BadInput(
        f"shoebox finds no source position between {config.min_distance_m} and {config.max_distance_m} m from the "
        f"listener in a room of {size} m; widen min_distance_m … max_distance_m"
    )
