"""What this room offers; the only file here that knows pluggy."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_simulators() -> list[Component]:
    """The simulator ``measured``."""
    return [
        Component(
            name="measured",
            target="bat_agent_measured.simulator:Measured",
            config="bat_agent_measured.config:MeasuredConfig",
            summary="real rooms: binaural responses that were measured, from a folder with a manifest",
        )
    ]
