"""A stranger's plugin as they were written before bat-agent 0.2: by the module paths of then."""

from bat_agent.hookspecs import Component, hookimpl


@hookimpl
def bat_agent_encoders() -> list[Component]:
    return [Component("corncrake", "corncrake.encoder:Corncrake", "corncrake.encoder:CorncrakeConfig", "old paths")]
