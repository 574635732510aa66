"""Registration of the baselines room."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_encoders() -> list[Component]:
    """The encoders ``seldnet`` and ``audiomae``."""
    return [
        Component(
            name="seldnet",
            target="bat_agent_baselines.seldnet:SELDnet",
            config="bat_agent_baselines.config:SELDnetConfig",
            summary="SELDnet (2018) with a 12-block transformer, as BAT's table 3: class, distance, azimuth, elevation",
        ),
        Component(
            name="audiomae",
            target="bat_agent_baselines.audiomae:AudioMAE",
            config="bat_agent_baselines.config:AudioMAEConfig",
            summary="AudioMAE (NeurIPS 2022) ViT-B: what sounds, from the mean of the ears; loads the official layout",
            check="bat_agent_baselines.audiomae:missing",
        ),
    ]
