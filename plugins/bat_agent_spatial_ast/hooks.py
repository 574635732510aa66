"""Registration of the Spatial-AST room."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_encoders() -> list[Component]:
    """The encoders ``spatial-ast``, ``spatial-ast-slots``, ``spatial-ast-experts`` and ``dspast``."""
    return [
        Component(
            name="spatial-ast",
            target="bat_agent_spatial_ast.encoder:SpatialAST",
            config="bat_agent_spatial_ast.config:SpatialASTConfig",
            summary="Spatial-AST of BAT (ICML 2024): class, distance, azimuth, elevation; loads the released layout",
        ),
        Component(
            name="spatial-ast-slots",
            target="bat_agent_spatial_ast.encoder:SpatialAST",
            config="bat_agent_spatial_ast.config:SpatialASTSlotsConfig",
            summary="Spatial-AST that tells several sources apart: class, place and activity of each",
        ),
        Component(
            name="spatial-ast-experts",
            target="bat_agent_spatial_ast.experts:SpatialASTExperts",
            config="bat_agent_spatial_ast.experts_config:SpatialASTExpertsConfig",
            summary="Several Spatial-ASTs, and a gate that hears how much each of them counts for a clip",
        ),
        Component(
            name="dspast",
            target="bat_agent_spatial_ast.dspast:DSpAST",
            config="bat_agent_spatial_ast.dspast_config:DSpASTConfig",
            summary="DSpAST (arXiv 2509.13927): three branches over one transformer; loads the released layout",
        ),
    ]
