"""Ambisonic recordings, turned and rendered to the ears of the head that the model knows.

What renders is imported when it is first used: telling what a file is needs neither scipy nor a simulator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bat_agent.ambisonics.formats import FORMS, Form, to_ambix

if TYPE_CHECKING:
    from bat_agent.ambisonics.rendering import Renderer, to_ears

__all__ = ["FORMS", "Form", "Renderer", "to_ambix", "to_ears"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in ("Renderer", "to_ears"):
            from bat_agent.ambisonics import rendering

            return getattr(rendering, name)
        raise AttributeError(f"module 'bat_agent.ambisonics' has no attribute {name!r}")
