"""Large matrices of a state dict as int8 with a scale for each row: half the size of float16 on disk.

A scale has four significant bits and a number of int8 has seven, so that each product is exact in float16
(:mod:`.half`); the price is a step that is up to an eighth larger than it need be.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SMALLEST = 1 << 14
"""What has fewer numbers, or one row, stays as it is: little is gained by it."""
INT8, SCALE = ".int8", ".scale"
LARGEST = 127.0
FAINTEST = 1e-6
_SCALE_STEPS = 16


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each large matrix ``NAME`` as ``NAME.int8`` and ``NAME.scale``."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.ndim < 2 or value.numel() < SMALLEST or len(value) == 1 or not value.is_floating_point():
            found[name] = value
            continue
        largest = value.float().abs().amax(dim=tuple(range(1, value.ndim)), keepdim=True)
        scale = _short((largest / LARGEST).clamp(min=FAINTEST))
        found[name + INT8], found[name + SCALE] = (value / scale).round().to(torch.int8), scale
    return found


def unpacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The matrices again, float32; what was never packed stays as it is."""
    found = {}
    for name, value in state.items():
        if name.endswith(INT8) and (key := name.removesuffix(INT8)) + SCALE in state:
            found[key] = value.float() * state[key + SCALE].float()
        elif not (name.endswith(SCALE) and name.removesuffix(SCALE) + INT8 in state):
            found[name] = value
    return found


def _short(scale: Tensor) -> Tensor:
    """The next larger number of four significant bits."""
    mantissa, exponent = torch.frexp(scale)
    return torch.ldexp((mantissa * _SCALE_STEPS).ceil() / _SCALE_STEPS, exponent)
