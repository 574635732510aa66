"""A stranger's plugin, as docs/plugins.md tells them to write it."""

from bat_agent import Component, hookimpl


@hookimpl
def bat_agent_encoders() -> list[Component]:
    return [Component("nightjar", "nightjar.encoder:Nightjar", "nightjar.encoder:NightjarConfig", "ear levels")]
