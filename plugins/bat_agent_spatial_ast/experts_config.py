"""Options of a mixture of Spatial-ASTs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bat_agent.errors import BadInput, check_range
from bat_agent.registry import fitted
from bat_agent_spatial_ast.config import SpatialASTConfig

ALIKE = (
    "clip_seconds",
    "target_frames",
    "patch_frames",
    "patch_mels",
    "width",
    "num_slots",
    "tasks",
    "level",
    "mel_of",
)
"""What all experts must have in common, so that what they say can be joined."""
SMALL: dict[str, Any] = {
    "target_frames": None, "unit_ipd": True, "stem_channels": 4, "patch_frames": 8, "patch_mels": 128, "width": 256,
    "depth": 6, "heads": 4, "num_slots": 2, "summary_frames": 96, "slot_summary": True, "symmetric": True,
    "level": "token", "mask_time": 0.0, "mask_mels": 0.0, "store_front_end": False, "slot_hidden": 1024,
    "direct_sound": True,
}  # fmt: skip
"""Options of an expert of the size of bat-small."""


@dataclass(frozen=True)
class SpatialASTExpertsConfig:
    """Options of the experts and of the gate."""

    experts: tuple[dict[str, Any], ...] = (SMALL, SMALL)
    """Options of each Spatial-AST; all of them need ``slot_summary``."""
    gate_hidden: int = 64
    """Hidden width of the gate."""
    least_share: float = 0.05
    """An expert whose share of a clip would be less is not asked."""

    def __post_init__(self) -> None:
        check_range("spatial-ast-experts", self, 1, 65_536, "gate_hidden")
        check_range("spatial-ast-experts", self, 0, 0.5, "least_share")
        built = self.built()
        if len(built) < 2:
            raise BadInput(f"spatial-ast-experts needs the options of at least 2 experts, got {len(built)}")
        for one in built:
            if not one.slot_summary:
                raise BadInput("every expert of spatial-ast-experts needs slot_summary, by which the gate hears")
            for name in ALIKE:
                if getattr(one, name) != getattr(built[0], name):
                    raise BadInput(
                        f"the experts of spatial-ast-experts must have one {name}, got {getattr(built[0], name)!r} and "
                        f"{getattr(one, name)!r}"
                    )

    def built(self) -> list[SpatialASTConfig]:
        """The configuration of each expert."""
        return [fitted(SpatialASTConfig, each, "an expert of spatial-ast-experts") for each in self.experts]
