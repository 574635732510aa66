"""Options of the simulator ``habitat``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from bat_agent.errors import BadInput
from bat_agent.scene import STANDING_HEIGHT_M, Onset


@dataclass(frozen=True)
class HabitatConfig:
    """Which scene habitat-sim opens, who renders the sound, and how scenes are drawn in it."""

    scene: str | None = None
    """Scene file that habitat-sim opens (``.glb``); not needed with :meth:`Habitat.from_simulator`."""
    dataset: str | None = None
    """The data set's ``*.scene_dataset_config.json``; without it Matterport3D gets no rooms."""
    mesh: str | None = None
    """Mesh file of the scene for the SoundSpaces engine, where the simulator does not name one."""
    materials: str | None = None
    """JSON table of acoustic materials; ``None`` takes the default of whoever renders."""
    audio: Literal["auto", "sensor", "engine"] = "auto"
    """``auto``: habitat's audio sensor where it passes its self-test, else the SoundSpaces engine; ``sensor`` and
    ``engine`` insist on one of them."""
    engine: dict[str, Any] = field(default_factory=dict)
    """Options of the simulator ``soundspaces``, for when it renders."""
    agent_id: int = 0
    """Agent that listens."""
    ear_height_m: float = STANDING_HEIGHT_M
    """Height of the ears above the agent's base."""
    quality: Literal["fast", "high"] = "fast"
    """500 rays of depth 50, or 5000 of depth 200, whoever renders."""
    threads: int = 1
    """Threads of habitat's audio sensor; with more than one, renders are not repeatable."""
    max_seconds: float = 2.0
    """RIRs are cut here; they are shorter where the rays end before."""
    onset: Onset = "physical"
    """Onset policy written into drawn scenes."""
    random_heading: bool = False
    """Draw headings uniformly from 0…360°; otherwise 0, as in the released reverberations."""
    min_distance_m: float = 0.3
    """Least distance of a drawn source from the listener."""
    max_distance_m: float = 10.0
    """Greatest distance of a drawn source from the listener."""
    min_island_radius_m: float = 1.5
    """Parts of the navmesh smaller than this, such as table tops, hold no drawn listener."""

    def __post_init__(self) -> None:
        for name, known in (("audio", ("auto", "sensor", "engine")), ("quality", ("fast", "high"))):
            if getattr(self, name) not in known:
                raise BadInput(f"habitat {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.onset not in ("physical", "direct_at_zero"):
            raise BadInput(f"habitat onset must be 'physical' or 'direct_at_zero', got {self.onset!r}")
        if not 0 < self.ear_height_m < 3:
            raise BadInput(f"habitat ear_height_m must lie in (0, 3) metres, got {self.ear_height_m}")
        if not 0.2 <= self.min_distance_m < self.max_distance_m:
            raise BadInput(
                f"habitat needs 0.2 <= min_distance_m < max_distance_m, got {self.min_distance_m} and "
                f"{self.max_distance_m}"
            )
        if self.threads < 1 or not 0 < self.max_seconds <= 20 or self.agent_id < 0:
            raise BadInput("habitat threads must be at least 1, max_seconds in (0, 20] and agent_id not negative")
