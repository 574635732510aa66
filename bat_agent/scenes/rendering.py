"""From a scene to RIRs: which simulator renders it."""

from __future__ import annotations

from typing import Any

from bat_agent.errors import BadInput
from bat_agent.interfaces import Simulator
from bat_agent.registry import load_simulator
from bat_agent.scene import MeshRoom, Scene

DEFAULTS = {False: "shoebox", True: "soundspaces"}
"""Whether the room is a mesh → simulator for a scene that names none."""


def simulator_of(scene: Scene, **overrides: Any) -> Simulator:
    """The simulator that the scene names, with the options it was rendered with; ``overrides`` change some of them.

    A scene that names none gets the default for its kind of room. Raises :class:`~bat_agent.errors.BadInput` where the
    named simulator is not installed or does not know an option.
    """
    named = scene.simulator or {"name": DEFAULTS[isinstance(scene.room, MeshRoom)]}
    options = named.get("options") or {}
    if not isinstance(options, dict):
        raise BadInput(f"options of the scene's simulator must be a mapping, got {options!r}")
    return load_simulator(str(named["name"]), **{**options, **overrides})
