"""Registration of the Spatial-AST room."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_encoders() -> list[Component]:
    """The encoder ``spatial-ast``."""
    return [
        Component(
            name="spatial-ast",
            target="bat_agent_spatial_ast.encoder:SpatialAST",
            config="bat_agent_spatial_ast.config:SpatialASTConfig",
            summary="Spatial-AST of BAT (ICML 2024): class, distance, azimuth, elevation; loads the released layout",
        )
    ]
