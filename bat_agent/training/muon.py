"""Muon for processors that have no bfloat16, in which PyTorch's iterates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def lacks_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is emulated there (an EPYC of 2017 multiplies matrices at 1.4 GFLOP/s in it, 34 in float32)."""
    return device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


class Float32Muon(torch.optim.Muon):
    """``torch.optim.Muon``, its options and state, with the Newton-Schulz iteration in the parameters' own precision.

    Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); the scale of an update
    is that of ``adjust_lr_fn="match_rms_adamw"``, the only one that is taken.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step along the gradients; ``closure`` is not taken."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                momentum = state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
                update = orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                scale = 0.2 * math.sqrt(max(parameter.shape))
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """The matrix (M, N) with all its singular values brought near 1, by a quintic Newton-Schulz iteration."""
    a, b, c = coefficients
    flat = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    flat = flat / flat.norm().clamp(min=eps)
    for _ in range(steps):
        gram = flat @ flat.T
        flat = torch.addmm(flat, torch.addmm(gram, gram, gram, beta=b, alpha=c), flat, beta=a)
    return flat.T if matrix.shape[0] > matrix.shape[1] else flat
