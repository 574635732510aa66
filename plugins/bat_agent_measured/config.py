"""Options of the simulator ``measured``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bat_agent.errors import BadInput
from bat_agent.scene import Onset


@dataclass(frozen=True)
class MeasuredConfig:
    """Which responses, and how loud and late they are given."""

    folder: str = "."
    """Folder with ``manifest.csv`` (:mod:`bat_agent_measured.manifest`), or with SOFA files of rooms, or one such file
    (:mod:`bat_agent_measured.sofa_rooms`); ``~`` and ``$VARIABLES`` are filled in."""
    rooms: tuple[str, ...] = ()
    """Only these rooms of it; empty: all."""
    level: Literal["convention", "file"] = "convention"
    """``convention``: one gain for each room and head, by which direct sound is as loud as every simulator has it; or
    as the files have it, whose gain nobody knows."""
    onset: Onset = "physical"
    """Onset policy written into drawn scenes."""

    def __post_init__(self) -> None:
        if not self.folder:
            raise BadInput("measured needs the folder of its responses, got nothing; give folder=DIR")
        if self.level not in ("convention", "file"):
            raise BadInput(f"measured level must be 'convention' or 'file', got {self.level!r}")
        if self.onset not in ("physical", "direct_at_zero"):
            raise BadInput(f"measured onset must be 'physical' or 'direct_at_zero', got {self.onset!r}")
