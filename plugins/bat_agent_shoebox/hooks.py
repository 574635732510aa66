"""What this room offers; the only file here that knows pluggy."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_simulators() -> list[Component]:
    """The simulator ``shoebox``."""
    return [
        Component(
            name="shoebox",
            target="bat_agent_shoebox.simulator:Shoebox",
            config="bat_agent_shoebox.config:ShoeboxConfig",
            summary="rectangular rooms by image sources with a KEMAR or spherical head; needs nothing but torch",
        )
    ]
