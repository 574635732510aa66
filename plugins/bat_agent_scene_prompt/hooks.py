"""What this plugin offers; the only file here that knows pluggy."""

from __future__ import annotations

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_reasoners() -> list[Component]:
    """The reasoner ``scene-prompt``."""
    return [
        Component(
            name="scene-prompt",
            target="bat_agent_scene_prompt.reasoner:ScenePromptReasoner",
            config="bat_agent_scene_prompt.config:ScenePromptConfig",
            summary="any chat model, in a folder or behind a local server, told in words what the encoder perceives",
        )
    ]
