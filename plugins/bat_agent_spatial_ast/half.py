"""Layers whose weights are stored as float16: read as they are stored, computed in float32, at half the memory traffic.

For a few rows a linear layer takes as long as its weights take to arrive. Those of a shipped model are float16 numbers,
so nothing is lost by leaving them so: a product of a float32 row with them is the same number, but for the order of the
sums. For many rows the ordinary product is faster, and is taken.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.errors import BadInput

MOST_ROWS = 16
FEWEST_WEIGHTS = 100_000
"""A smaller layer stays in the cache."""


class HalfLinear(nn.Module):
    """x·Wᵀ + b of a layer whose W is exact in float16; for inference, and never saved."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        bias = None if layer.bias is None else layer.bias.detach()
        self._packed = torch.ops.quantized.linear_prepack_fp16(layer.weight.detach(), bias)

    def forward(self, x: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch N"]:
        """float32."""
        rows = x.reshape(-1, self.in_features)
        if len(rows) > MOST_ROWS:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.quantized.linear_dynamic_fp16(rows, self._packed).view(*x.shape[:-1], self.out_features)

    def _save_to_state_dict(self, *_: Any, **__: Any) -> None:
        raise BadInput("this is a copy for inference and cannot be saved: save the encoder it was made from")


def is_half(layer: nn.Linear) -> bool:
    """Whether it may be left in float16, and gains by it."""
    weight = layer.weight.detach()
    large = weight.numel() >= FEWEST_WEIGHTS and weight.dtype == torch.float32 and weight.device.type == "cpu"
    return large and bool((weight.half().float() == weight).all())


@cache
def reads_half() -> bool:
    """Whether this processor's torch has the product."""
    if torch.backends.quantized.engine not in ("x86", "fbgemm"):
        return False
    weight, row = torch.eye(16), torch.linspace(-1, 1, 16)[None]
    try:
        found = torch.ops.quantized.linear_dynamic_fp16(row, torch.ops.quantized.linear_prepack_fp16(weight, None))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return bool(torch.equal(found, row))
