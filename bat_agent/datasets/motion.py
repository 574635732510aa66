"""Paths of moving sources: RIRs at points along a straight line, beside those of a set at rest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.datasets import layout
from bat_agent.datasets.draw_qa import MovingPath
from bat_agent.datasets.layout import SPLITS, position_text
from bat_agent.errors import BadInput
from bat_agent.files.writing import RESUMES, write_bytes
from bat_agent.interfaces import Simulator
from bat_agent.registry import load_simulator
from bat_agent.scene import Scene, Source, Vector

WAYPOINTS = 21
"""RIRs of a path: one each half second of a clip of 10 s."""
SHORTEST_M = 1.0
NEAREST_M = 0.5
"""Least distance from the listener anywhere on a path."""
_TRIES = 200


def make_paths(
    simulator: str, options: Mapping[str, Any], count: int, root: Path, *, split: str, seed: int
) -> list[MovingPath]:
    """``count`` paths in rooms of their own, rendered into ``root`` unless they are there.

    ``mp3d_reverb/<split>-moving_reverberation.json`` lists their RIRs, path by path. Raises
    :class:`~bat_agent.errors.BadInput` where the rooms leave no place to move.
    """
    renderer = load_simulator(simulator, **options)
    target = root / layout.REVERB / f"{split}-moving_reverberation.json"
    items, paths = [], []
    for number in range(count):
        scene = _path_scene(renderer, np.random.default_rng((seed, SPLITS.index(split), 2**20, number)))
        points = list(_points(scene))
        names = tuple(f"{simulator}-{split}-moving-{number:05d}/{n}.npy" for n in range(WAYPOINTS))
        positions = []
        for name, point in zip(names, points, strict=True):
            here = replace(scene, sources=(Source(point, ()),))
            positions.append(here.positions()[0])
            file = layout.rir_path(target, name)
            if not file.exists():
                write_bytes(file, layout.npy_bytes(renderer.render(here)[0].cpu().numpy()), folder=True, advice=RESUMES)
            items.append(_item(name, here))
        paths.append(MovingPath(names, positions[0], positions[-1]))
    write_bytes(target, (json.dumps({"data": items}, indent=0) + "\n").encode(), folder=True, durable=True)
    return paths


def _path_scene(simulator: Simulator, rng: np.random.Generator) -> Scene:
    """A scene whose two sources are the ends of a path that keeps away from the listener."""
    for _ in range(_TRIES):
        scene = simulator.sample_scene(rng, 2)
        start, end = (source.position_m for source in scene.sources)
        far = math.dist(start, end) >= SHORTEST_M
        if far and all(math.dist(point, scene.listener.position_m) >= NEAREST_M for point in _points(scene)):
            return scene
    raise BadInput(
        f"the rooms leave no path of {SHORTEST_M:g} m for a source to move along, {NEAREST_M:g} m from the listener; "
        "give larger rooms"
    )


def _points(scene: Scene) -> Iterator[Vector]:
    start, end = (np.array(source.position_m) for source in scene.sources)
    for share in np.linspace(0, 1, WAYPOINTS):
        x, y, z = (start + share * (end - start)).tolist()
        yield (x, y, z)


def _item(name: str, scene: Scene) -> dict[str, Any]:
    return {
        "fname": name,
        "sensor_position": position_text(scene.listener.position_m),
        "source_position": position_text(scene.sources[0].position_m),
        "heading_deg": scene.listener.heading_deg,
    }
