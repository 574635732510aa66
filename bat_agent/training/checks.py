"""What a stage of a recipe may say; needs no torch, as recipes are read before it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.config import Stage


def check_schedule(stage: Stage) -> None:
    """Refuse, with one sentence, contradictions in how long a stage is and how its learning rate goes."""
    who = f"stage {stage.name!r}"
    if stage.steps and stage.epochs is not None:
        raise BadInput(f"{who} has both steps and epochs, give one: got {stage.steps} and {stage.epochs}")
    if stage.steps == 0 and stage.epochs is None:
        raise BadInput(f"{who} has neither steps nor epochs, so it would train nothing: give one of them")
    if stage.epochs is not None and not (stage.epochs > 0 and stage.epoch_fraction > 0):
        raise BadInput(f"{who}: epochs and epoch_fraction must be above 0, got {stage.epochs}, {stage.epoch_fraction}")
    if stage.warmup_epochs is not None and not 0 <= stage.warmup_epochs <= (stage.epochs or 0):
        raise BadInput(f"{who}: warmup_epochs must be 0 to epochs ({stage.epochs}), got {stage.warmup_epochs}")
    if not 0 < stage.layer_decay <= 1:
        raise BadInput(f"{who}: layer_decay is a factor above 0 and at most 1, got {stage.layer_decay}")
    if stage.accumulate < 1:
        raise BadInput(f"{who}: accumulate must be 1 or more, got {stage.accumulate}")
    if not 0 <= stage.min_learning_rate <= max(stage.learning_rate, 0):
        raise BadInput(f"{who}: min_learning_rate must be 0 to learning_rate, got {stage.min_learning_rate}")
