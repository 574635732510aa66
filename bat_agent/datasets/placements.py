"""Several listeners and sources in one room."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.interfaces import Simulator
from bat_agent.scene import Listener, Room, Scene, Source, Vector

LISTENER_MARGIN_M = 0.4
SOURCE_MARGIN_M = 0.2
NEAREST_M, FARTHEST_M = 0.3, 10.0
_MOST_DRAWS = 10_000


def another_placement(simulator: Simulator, scene: Scene, rng: np.random.Generator) -> Scene:
    """A new scene in the room of ``scene``: listener, as many sources, and seed drawn anew.

    A simulator may offer ``sample_placements(scene, rng, count) -> list[Scene]`` for this. Without it, a rectangular
    room gets a listener as high as before and 0.4 m from the walls, sources uniformly in the volume, 0.3 … 10 m away,
    and any heading if the first listener had one other than 0. Raises :class:`~bat_agent.errors.BadInput` for a mesh.
    """
    if hasattr(simulator, "sample_placements"):
        return simulator.sample_placements(scene, rng, 1)[0]
    room = scene.room
    if not isinstance(room, Room):
        raise BadInput(
            "this simulator draws only one placement in a mesh, expected a method sample_placements for more; "
            "ask for as many rooms as RIRs"
        )
    x, _, z = _inside(rng, room.size_m, LISTENER_MARGIN_M)
    heading = float(rng.uniform(0, 360)) if scene.listener.heading_deg else 0.0
    listener = Listener((x, scene.listener.position_m[1], z), heading)
    sources = tuple(Source(_source(rng, room.size_m, listener.position_m)) for _ in scene.sources)
    return dataclasses.replace(scene, listener=listener, sources=sources, seed=int(rng.integers(2**31)))


def _source(rng: np.random.Generator, size_m: Vector, listener_m: Vector) -> Vector:
    for _ in range(_MOST_DRAWS):
        point = _inside(rng, size_m, SOURCE_MARGIN_M)
        if NEAREST_M <= math.dist(point, listener_m) < FARTHEST_M:
            return point
    raise BadInput(f"a room of {size_m} m has no place for a source {NEAREST_M} … {FARTHEST_M} m from the listener")


def _inside(rng: np.random.Generator, size_m: Vector, margin_m: float) -> Vector:
    """Uniform in the room, the margin shrinking to a quarter of an extent where the room is narrow."""
    x, y, z = (float(rng.uniform(m := min(margin_m, extent / 4), extent - m)) for extent in size_m)
    return (x, y, z)
