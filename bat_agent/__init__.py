"""Ears for embodied agents: two microphones in; what sounds, where and how far, and answers in plain language, out.

The public names are imported when first used, so that ``import bat_agent`` stays fast and free of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bat_agent.agent import Bat
    from bat_agent.errors import BadInput, BatAgentError, PluginError, WeightsError
    from bat_agent.hearing.answers import Answer
    from bat_agent.hearing.perception import PerceivedSource, Perception
    from bat_agent.hookspecs import Component, hookimpl
    from bat_agent.interfaces import Encoder, Encoding, Reasoner, Reply, Simulator, SlotEncoding
    from bat_agent.listening.opening import listen
    from bat_agent.loading import load
    from bat_agent.registry import load_encoder, load_reasoner, load_simulator
    from bat_agent.scene import Listener, MeshRoom, Position, Room, Scene, Source
    from bat_agent.sound.audio import read_audio

from bat_agent._moved import find_moved_modules

__version__ = "0.1.0"
find_moved_modules()

_HOME = {
    "agent": ["Bat"],
    "loading": ["load"],
    "sound.audio": ["read_audio"],
    "errors": ["BadInput", "BatAgentError", "PluginError", "WeightsError"],
    "hookspecs": ["Component", "hookimpl"],
    "listening.opening": ["listen"],
    "interfaces": ["Encoder", "Encoding", "Reasoner", "Reply", "Simulator", "SlotEncoding"],
    "hearing.answers": ["Answer"],
    "hearing.perception": ["PerceivedSource", "Perception"],
    "registry": ["load_encoder", "load_reasoner", "load_simulator"],
    "scene": ["Listener", "MeshRoom", "Position", "Room", "Scene", "Source"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Answer",
    "BadInput",
    "Bat",
    "BatAgentError",
    "Component",
    "Encoder",
    "Encoding",
    "Listener",
    "MeshRoom",
    "PerceivedSource",
    "Perception",
    "PluginError",
    "Position",
    "Reasoner",
    "Reply",
    "Room",
    "Scene",
    "Simulator",
    "SlotEncoding",
    "Source",
    "WeightsError",
    "hookimpl",
    "listen",
    "load",
    "load_encoder",
    "load_reasoner",
    "load_simulator",
    "read_audio",
]


if not TYPE_CHECKING:  # a type checker sees the imports above, and tells of names that are not there

    def __getattr__(name: str) -> Any:
        if name in _MODULE_OF:
            return getattr(importlib.import_module(f"bat_agent.{_MODULE_OF[name]}"), name)
        raise AttributeError(f"module 'bat_agent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
