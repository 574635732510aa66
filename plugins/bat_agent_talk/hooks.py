"""What this plugin offers; the only file here that knows pluggy."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_reasoners() -> list[Component]:
    """The reasoner ``talk``."""
    return [
        Component(
            name="talk",
            target="bat_agent_talk.reasoner:TalkReasoner",
            config="bat_agent_talk.config:TalkConfig",
            summary="a small language model turns any question into a query, which the encoder's heads answer",
        )
    ]
