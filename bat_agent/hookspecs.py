"""The three hooks a plugin may implement. A hook returns descriptions, so that listing plugins imports nothing heavy.

A distribution joins in with one entry point whose name is the import name of its package::

    [project.entry-points.bat_agent]
    my_package = "my_package.hooks"
"""

from __future__ import annotations

from dataclasses import dataclass

import pluggy

PROJECT = "bat_agent"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin, named as a hook, as what answers it."""


@dataclass(frozen=True)
class Component:
    """One encoder, reasoner or simulator, described but not imported."""

    name: str
    """What users type, e.g. ``spatial-ast``; unique among components of its kind."""
    target: str
    """Where the class is, ``module:Class``. It is built as ``Class(config)``."""
    config: str
    """Where its options are, ``module:Class``: a dataclass whose fields all have defaults."""
    summary: str
    """One line for ``bat-agent plugins``."""
    check: str = ""
    """Where ``bat-agent doctor`` asks what is missing to run it, ``module:function``; the function returns ``None`` or
    (what is missing, what to do about it). Empty where installing the package is all there is to it."""
    trial: str = ""
    """Where it is tried for real, ``module:function``, when a user asks for that: a list of (what was tried, whether it
    went well, what was found, what to do about it). Empty where there is no such trial."""
    without_torch: str = ""
    """Of a reasoner: where a class is that answers alike and imports no torch, ``module:Class``, for
    :mod:`bat_agent.lite`. Its encodings hold numpy arrays. Empty where there is none."""


@hookspec
def bat_agent_encoders() -> list[Component]:  # type: ignore[empty-body]
    """Encoders of this plugin (:class:`bat_agent.interfaces.Encoder`); called once, when plugins are listed."""


@hookspec
def bat_agent_reasoners() -> list[Component]:  # type: ignore[empty-body]
    """Reasoners of this plugin (:class:`bat_agent.interfaces.Reasoner`); called once, when plugins are listed."""


@hookspec
def bat_agent_simulators() -> list[Component]:  # type: ignore[empty-body]
    """Simulators of this plugin (:class:`bat_agent.interfaces.Simulator`); called once, when plugins are listed."""
