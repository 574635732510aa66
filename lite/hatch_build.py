"""What goes into the wheel of bat-agent-lite: the repository's own sources, without models and plugins of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLUGINS = ("plugins/bat_agent_rules", "envs/bat_agent_envs")
MODEL = "models/lite"


class Sources(BuildHookInterface):
    """Adds them by their places in the repository, which is one folder up."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        repository = Path(self.root).parent
        core = repository / "bat_agent"
        found = [*(part for part in sorted(core.iterdir()) if part.name not in ("models", "__pycache__")), core / MODEL]
        build_data["force_include"] |= {str(part): f"bat_agent/{part.relative_to(core).as_posix()}" for part in found}
        build_data["force_include"] |= {str(repository / place): Path(place).name for place in PLUGINS}
