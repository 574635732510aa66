"""A module whose parameters are shared out among processes (FSDP2): how it is cut, gathered and filled again.

Sharding is by parameter, so a frozen base in bfloat16 and what is trained in float32 may stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from bat_agent.distributed import whole

METHODS = ("loss", "answer", "score")
"""Methods of a reasoner that use its parameters without passing through ``forward``."""


def shard(module: Any) -> None:
    """Share the parameters out, in place: of each part that ``module.shard_blocks()`` names, and of the rest.

    A part is gathered when it computes and let go afterwards. Gradients are then means over the processes.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    blocks: Iterable[nn.Module] = module.shard_blocks() if hasattr(module, "shard_blocks") else ()
    for block in blocks:
        fully_shard(block)
    fully_shard(module)
    for method in METHODS:
        if hasattr(module, method):
            register_fsdp_forward_method(module, method)


def is_sharded(module: nn.Module) -> bool:
    """Whether any parameter is shared out."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


@contextmanager
def unsynchronised(module: nn.Module) -> Iterator[None]:
    """Within: backward passes add up where they are; the last one, outside, brings them together."""
    from torch.distributed.fsdp import FSDPModule

    roots = [part for part in module.modules() if isinstance(part, FSDPModule)][:1]
    for root in roots:
        root.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        for root in roots:
            root.set_requires_gradient_sync(True)


def placed_like(value: Tensor, model: Tensor) -> Tensor:
    """``value``, shared out as ``model`` is."""
    if not isinstance(model, DTensor) or isinstance(value, DTensor) or value.shape != model.shape:
        return value
    return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)


def trained_state(module: Any) -> dict[str, Tensor]:
    """What is kept of a module, whole: its ``trained_state_dict()`` if it has one, else its state dict.

    A module that holds a large frozen model names in ``trained_state_dict`` what it trains, and takes it up again in
    ``load_trained_state_dict``.
    """
    state = module.trained_state_dict() if hasattr(module, "trained_state_dict") else module.state_dict()
    return {name: whole(tensor.detach()) for name, tensor in state.items()}


@torch.no_grad()
def load_trained_state(module: Any, state: dict[str, Tensor], where: str) -> None:
    """Take up what :func:`trained_state` gave; ``where`` names its origin in errors.

    Raises :class:`~bat_agent.errors.WeightsError` for tensors that do not fit.
    """
    from bat_agent.checkpoint import check_state, load_state

    if not hasattr(module, "trained_state_dict"):
        load_state(module, state, where)
        return
    own = module.trained_state_dict()
    check_state(own, state, where, type(module).__name__)
    module.load_trained_state_dict({name: placed_like(value, own[name]) for name, value in state.items()})
