"""Several processes that train one model: which share of a step is whose, and randomness that does not depend on it.

A step has B clips whatever the number of processes; process r of W takes clips r, r + W, r + 2W, … All processes seed
their global generator alike at every step, so what is drawn for a clip must be drawn for all B and then shared out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True)
class _Share:
    """Which of the clips of a step are computed now."""

    total: int
    start: int
    stop: int
    step: int


_now: _Share | None = None


def rank() -> int:
    """Number of this process, 0 where there is only one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def summed(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes; ``value`` itself where there is only one. Not differentiable."""
    if world_size() == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def whole(tensor: Tensor) -> Tensor:
    """The tensor as one process would hold it; where it is shared out (FSDP2), every process must ask for it."""
    # Only a DTensor has this; its module, which takes seconds to import, need not be asked.
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


@contextmanager
def computing(total: int, start: int, stop: int) -> Iterator[None]:
    """Within: clips ``start`` to ``stop`` (exclusive) of this process' share of a step of ``total`` clips are computed.

    :func:`clip_rand` then draws for all ``total`` clips, so that neither processes nor pieces change a clip's numbers.
    """
    global _now
    before, world = _now, world_size()
    whole = world == 1 and (start, stop) == (0, total)
    # Nothing to share out: the plain call is one that torch.compile need not look behind.
    _now = None if whole else _Share(total, rank() + world * start, rank() + world * (stop - 1) + 1, world)
    try:
        yield
    finally:
        _now = before


def clip_rand(clips: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Uniform numbers in [0, 1) of shape (clips, *shape), clip by clip the same whatever the number of processes.

    ``clips`` are those that this process computes now, or k times as many: k copies of the batch, one behind the other.
    Draws from the global generator of ``device``.
    """
    if _now is None:
        world = world_size()
        if world == 1:
            return torch.rand(clips, *shape, device=device)
        return torch.rand(clips * world, *shape, device=device)[rank() :: world]
    mine = slice(_now.start, _now.stop, _now.step)
    copies = clips // len(range(_now.total)[mine])
    return torch.rand(copies, _now.total, *shape, device=device)[:, mine].flatten(0, 1)


def clip_dropout(values: Tensor, share: float) -> Tensor:
    """Dropout of (clips, …) in training, clip by clip the same whatever the number of processes (:func:`clip_rand`)."""
    if not share:
        return values
    kept = clip_rand(len(values), *values.shape[1:], device=values.device) >= share
    return values * kept.to(values.dtype) / (1 - share)


class _Sum(torch.autograd.Function):
    """Σ over processes of a tensor; every process' loss depends on it, so the gradient is summed as well."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """The sum."""
        return summed(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The sum of the gradients."""
        return summed(gradients[0].contiguous())


class SyncedBatchNorm(_BatchNorm):
    """Batch norm over the batches of all processes, on any backend (torch's own works on GPUs alone).

    With one process, and in evaluation, it is the batch norm that it replaces. Sizes may differ between processes.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape (B, C, …)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, …) by mean and variance of each channel over everything else, in all processes."""
        if world_size() == 1 or not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        values = input.float()
        here = values.new_tensor([values.numel() // values.shape[1]])
        together = _Sum.apply(torch.cat((values.sum(axes), here)))
        count, mean = together[-1].detach(), together[:-1] / together[-1].detach()
        shape = [1, -1] + [1] * (input.ndim - 2)
        centred = values - mean.view(shape)
        # Twice over the values: the difference of two large sums would lose half of the digits of the variance.
        variance = _Sum.apply(centred.square().sum(axes)) / count
        self._keep(mean.detach(), variance.detach(), count)
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Update the running statistics as torch does: with the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), share)


def synchronise(module: nn.Module) -> nn.Module:
    """Make every batch norm inside one over all processes; parameters, buffers and state-dict keys stay what they are.

    Returns the module, which is changed in place (replaced where it is itself a batch norm); with one process nothing
    happens.
    """
    if world_size() == 1:
        return module
    if next((p.is_cuda for p in module.parameters()), False):
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    return _convert(module)


def _convert(module: nn.Module) -> nn.Module:
    if isinstance(module, _BatchNorm) and not isinstance(module, (SyncedBatchNorm, nn.SyncBatchNorm)):
        synced = SyncedBatchNorm(
            module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
        )
        synced._parameters, synced._buffers = module._parameters, module._buffers
        return synced.train(module.training)
    for name, child in module.named_children():
        if (converted := _convert(child)) is not child:
            module.add_module(name, converted)
    return module
