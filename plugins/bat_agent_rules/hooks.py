"""What this plugin offers; the only file here that knows pluggy."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_reasoners() -> list[Component]:
    """The reasoner ``rules``."""
    return [
        Component(
            name="rules",
            target="bat_agent_rules.reasoner:RulesReasoner",
            without_torch="bat_agent_rules.rules:Rules",
            config="bat_agent_rules.config:RulesConfig",
            summary="no language model: parses the question and answers from the encoder's heads; fits every encoder",
        )
    ]
