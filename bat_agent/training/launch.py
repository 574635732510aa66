"""The processes of a run: how they were launched, what they share out, and when they exchange gradients."""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import DistributedType
from torch import nn

from bat_agent import distributed
from bat_agent.distributed.sharding import unsynchronised
from bat_agent.errors import BadInput
from bat_agent.recipes.schema import Recipe, Stage
from bat_agent.training.muon import lacks_bfloat16

# One process renders rooms and validates while the others wait for it.
LONGEST_WAIT = timedelta(hours=12)


def accelerator_of_run() -> Accelerator:
    """The processes of this run; one where it was not launched with more."""
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no",  # the recipe's precision is applied here, the same way for one process and for many
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )
    known = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.FSDP)
    if accelerator.distributed_type not in known:
        raise BadInput(
            f"training cannot be launched as {accelerator.distributed_type.value}; use torchrun, or accelerate launch "
            "with --multi_gpu"
        )
    return accelerator


def shares_out(recipe: Recipe, accelerator: Accelerator) -> bool:
    """Whether the reasoner's parameters are shared out, by the recipe or by how the run was launched."""
    # accelerate launch says so in the environment; on CPUs its own type stays another one.
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    launched = asked or accelerator.distributed_type == DistributedType.FSDP
    if launched and os.environ.get("FSDP_VERSION", "1") != "2":
        raise BadInput(
            "FSDP1 cannot hold a bfloat16 language model and a float32 adapter together; launch with --fsdp_version 2"
        )
    return (launched or recipe.sharding == "full") and distributed.world_size() > 1


def slow_precision(recipe: Recipe, device: torch.device) -> str | None:
    """What to say where bfloat16 is computed by a processor that has no instructions for it."""
    if recipe.precision != "bf16" or not lacks_bfloat16(device):
        return None
    return "precision is bf16, which this processor computes many times slower than float32; add precision=no"


def too_large(stage: Stage, number: int, step: int, error: torch.OutOfMemoryError) -> BadInput:
    """What to say when the GPU is full: which knobs make a step smaller."""
    options = f"stages.{number}"
    deeper = "" if stage.trains == "encoder" else "set reasoner.options.gradient_checkpointing=true where it has that, "
    return BadInput(
        f"stage {stage.name}: the GPU is full at step {step} ({str(error).splitlines()[0]}); raise "
        f"{options}.accumulate above {stage.accumulate}, which changes no result, {deeper}set precision=bf16, or lower "
        f"{options}.seconds_per_step below {stage.seconds_per_step:g}; python -m bat_agent.train --dry-run estimates"
    )


def held_back(objective: nn.Module, held: bool) -> Any:
    """Within: gradients are kept here, not exchanged, as more of this step is to come."""
    if not held:
        return nullcontext()
    if isinstance(objective, nn.parallel.DistributedDataParallel):
        return objective.no_sync()
    return unsynchronised(objective)
