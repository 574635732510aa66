"""LoRA inside a frozen language model, by peft (Hu et al., arXiv 2106.09685): y = W·x + (α/r)·B·A·x, B = 0 at first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bat_agent.errors import BadInput
from bat_agent.extras import needed

PART = ".lora_"


def inject(llm: nn.Module, *, rank: int, alpha: int, dropout: float, targets: Sequence[str]) -> None:
    """Give every linear map whose name ends in one of ``targets`` an update in float32; all else is frozen.

    Raises :class:`~bat_agent.errors.BadInput` where no map is so called.
    """
    with needed("llm", "adapter=lora"):
        from peft import LoraConfig, inject_adapter_in_model
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), bias="none")
    try:
        inject_adapter_in_model(config, llm)
    except ValueError as error:
        raise BadInput(
            f"lora_targets={list(targets)}: the language model has no linear maps so called; expected names such as "
            "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
        ) from error
    for name, parameter in llm.named_parameters():
        if PART in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)


@torch.no_grad()
def merge(llm: nn.Module) -> None:
    """Add the updates to the weights, for good, and take the wrapping away."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(llm.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.merge(safe_merge=True)
            parent, _, own = name.rpartition(".")
            setattr(llm.get_submodule(parent), own, layer.get_base_layer())
