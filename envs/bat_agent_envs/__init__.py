"""Ears for Gymnasium environments, and environments that make sound; importing it registers them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bat_agent_envs.check import check_hearing_env
    from bat_agent_envs.client import HearingClient
    from bat_agent_envs.habitat import HabitatHearing
    from bat_agent_envs.record_sound import RecordSound, with_sound
    from bat_agent_envs.vector import VectorSpatialHearing
    from bat_agent_envs.wrapper import SpatialHearing

_HOME = {
    "HabitatHearing": "habitat",
    "HearingClient": "client",
    "RecordSound": "record_sound",
    "SpatialHearing": "wrapper",
    "VectorSpatialHearing": "vector",
    "check_hearing_env": "check",
    "with_sound": "record_sound",
}

__all__ = [
    "HabitatHearing",
    "HearingClient",
    "RecordSound",
    "SpatialHearing",
    "VectorSpatialHearing",
    "check_hearing_env",
    "with_sound",
]


if not TYPE_CHECKING:  # a type checker sees the imports above, and tells of names that are not there

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            return getattr(importlib.import_module(f"bat_agent_envs.{_HOME[name]}"), name)
        raise AttributeError(f"module 'bat_agent_envs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


# A process that only talks to a server may have no gymnasium.
if importlib.util.find_spec("gymnasium") is not None:
    from bat_agent_envs.registration import register

    register()
