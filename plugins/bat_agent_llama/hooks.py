"""What this plugin offers; the only file here that knows pluggy."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_reasoners() -> list[Component]:
    """The reasoner ``llama``."""
    return [
        Component(
            name="llama",
            target="bat_agent_llama.reasoner:LlamaReasoner",
            config="bat_agent_llama.config:LlamaReasonerConfig",
            summary="Llama-architecture language model behind a projector: a tiny built-in one, or your own",
        )
    ]
