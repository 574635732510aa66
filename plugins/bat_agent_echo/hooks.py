"""What this package adds to bat-agent."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl

_MODULE = "bat_agent_echo.echo"
_CONFIG = "bat_agent_echo.config"


@hookimpl
def bat_agent_encoders() -> list[Component]:
    """The encoder ``echo``."""
    summary = "null encoder: levels of both ears, no weights"
    return [Component("echo", f"{_MODULE}:EchoEncoder", f"{_CONFIG}:EchoEncoderConfig", summary)]


@hookimpl
def bat_agent_reasoners() -> list[Component]:
    """The reasoner ``echo``."""
    summary = "null reasoner: repeats the question"
    return [Component("echo", f"{_MODULE}:EchoReasoner", f"{_CONFIG}:EchoReasonerConfig", summary)]


@hookimpl
def bat_agent_simulators() -> list[Component]:
    """The simulator ``echo``."""
    summary = "null simulator: delay and level of the direct sound, no walls"
    return [Component("echo", f"{_MODULE}:EchoSimulator", f"{_CONFIG}:EchoSimulatorConfig", summary)]
