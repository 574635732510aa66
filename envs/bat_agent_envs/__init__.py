"""Ears for Gymnasium environments. Nothing is built here yet; importing a name from it says so."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"bat_agent_envs has no {name!r} yet: the Gymnasium wrapper is not built; call bat_agent.load().perceive() "
        "on the waveform of your environment meanwhile"
    )
