"""What this room offers; the only file here that knows pluggy."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_simulators() -> list[Component]:
    """The simulators ``soundspaces`` and ``habitat``."""
    return [
        Component(
            name="soundspaces",
            target="bat_agent_soundspaces.simulator:SoundSpaces",
            config="bat_agent_soundspaces.config:SoundspacesConfig",
            summary="meshes and furnished houses by the SoundSpaces 2.0 engine (Linux x86-64, non-commercial licence)",
            check="bat_agent_soundspaces.engine:missing_engine",
        ),
        Component(
            name="habitat",
            target="bat_agent_soundspaces.habitat:Habitat",
            config="bat_agent_soundspaces.habitat_config:HabitatConfig",
            summary="scenes of a live habitat-sim, by its audio sensor where that passes its test, else by soundspaces",
            check="bat_agent_soundspaces.habitat_opening:missing_habitat",
            trial="bat_agent_soundspaces.habitat_check:try_habitat",
        ),
    ]
