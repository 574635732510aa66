"""Faster inference on a CPU: the linear layers of the transformer in int8 (VNNI, AMX) or bfloat16.

int8: one scale for each output of a layer, W ≈ s_w·Q_w, found once, and one for each token, x ≈ s_x·(Q_x − 128), found
as it comes; the sums of products are exact in int32. Tokens are unsigned, as the instruction of VNNI wants its first
factor: of two signed ones, oneDNN makes a product a thousand times slower where there is no AMX. Between the layers
everything is float32, but attention and the hidden layer of the MLP, which are bfloat16. The int8 product is oneDNN's,
the one ``torch.compile`` itself would call, so that neither a C++ compiler nor the retired ``torch.ao`` modules are
needed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int8, UInt8
from torch import Tensor, nn

from bat_agent.errors import BadInput
from bat_agent_spatial_ast.half import HalfLinear, is_half
from bat_agent_spatial_ast.transformer import Attention, Mlp

LARGEST = 127.0
MIDDLE = 128
"""What stands for zero in a token."""
FAINTEST = 1e-30  # the scale of a row of zeros
# A few channels of what enters this layer are far larger than the rest and leave them few of the 255 steps: with it in
# int8, most of the error of bat-small comes from here. It stays in bfloat16.
WITH_OUTLIERS = {"fc1"}
CACHED_TOKENS = 176  # a quarter faster than all 515 at once, on one core with 2 MB
Network = TypeVar("Network", bound=nn.Module)


def quantise(encoder: Network) -> Network:
    """The encoder with the linear layers of its ``blocks`` in int8, for inference on the CPU.

    ``encoder`` itself stays as it is, float weights and all, and can still be trained, loaded and saved; everything
    that is not quantised is shared with it. Later changes of its blocks do not reach the quantised one.

    Raises :class:`~bat_agent.errors.BadInput` where the processor has no exact int8 product.
    """
    return _with_blocks(encoder, quantise_layers(encoder.get_submodule("blocks")))


def narrow(encoder: Network) -> Network:
    """As :func:`quantise`, with bfloat16 in place of int8: closer to float32, slower, and right on any processor."""
    return _with_blocks(encoder, narrow_layers(encoder.get_submodule("blocks")))


def quantise_layers(module: Network) -> Network:
    """``module`` with every ``nn.Linear`` in it in int8, but those named in ``WITH_OUTLIERS``; see :func:`quantise`."""
    if not exact_int8():
        raise BadInput(
            "int8 needs an x86-64 processor with VNNI or AMX, which this one lacks: use bfloat16 or float32 here"
        )
    return _replaced(module, _int8_linear, _InPieces)


def narrow_layers(module: Network) -> Network:
    """``module`` with every ``nn.Linear`` in it in bfloat16; see :func:`narrow`."""
    return _replaced(module, lambda _, layer: BFloat16Linear(layer), lambda mlp: mlp)


def half_layers(module: Network) -> Network:
    """``module`` with every ``nn.Linear`` that is exact in float16 left in that (:mod:`.half`); the same numbers."""
    return _replaced(module, lambda _, layer: HalfLinear(layer) if is_half(layer) else layer, lambda mlp: mlp)


@cache
def exact_int8() -> bool:
    """Whether oneDNN's int8 product is here, exact and fast: without VNNI it is slow, or adds up in too few bits."""
    rows, weight = torch.full((4, 256), 255, dtype=torch.uint8), torch.full((4, 256), 127, dtype=torch.int8)
    try:
        fast = torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()
        product = _product(rows, _packed(weight), torch.ones(4), torch.zeros(4, dtype=torch.int64))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return bool(fast and (product == 256 * 127 * 127).all())


class _Narrow(nn.Module):
    """A layer for inference that cannot be saved, because nothing could load it."""

    def _save_to_state_dict(self, *_: Any, **__: Any) -> None:
        raise BadInput("this encoder is in int8 or bfloat16 and cannot be saved: save the float32 one it was made from")


class Int8Linear(_Narrow):
    """x·Wᵀ + b with W and x in int8: W by output, x by token."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float().cpu()
        self.scale = (weight.abs().amax(dim=1) / LARGEST).clamp(min=FAINTEST)
        self.packed = _packed((weight / self.scale[:, None]).round().to(torch.int8))
        self.zero = torch.zeros(len(weight), dtype=torch.int64)
        self.bias = None if layer.bias is None else layer.bias.detach().float().cpu()

    def forward(self, x: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch N"]:
        """float32, whatever the type of ``x``."""
        rows, scale = quantise_rows(x.reshape(-1, x.shape[-1]).float())
        out = _product(rows, self.packed, self.scale, self.zero).mul_(scale)
        if self.bias is not None:
            out += self.bias
        return out.view(*x.shape[:-1], -1)


def _int8_linear(name: str, layer: nn.Linear) -> nn.Module:
    return BFloat16Linear(layer) if name in WITH_OUTLIERS else Int8Linear(layer)


class _InPieces(nn.Module):
    """A network that treats every token alike, fed few tokens at a time: what lies between stays in the cache."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        return torch.cat([self.inside(rows) for rows in x.flatten(0, 1).split(CACHED_TOKENS)]).view(x.shape)


class BFloat16Linear(_Narrow):
    """x·Wᵀ + b in bfloat16, summed in float32; W lies in the order the processor wants, which saves a third."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().bfloat16().cpu()
        self.fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if self.fast else weight
        self.bias = None if layer.bias is None else layer.bias.detach().bfloat16().cpu()

    def forward(self, x: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch N"]:
        """bfloat16, whatever the type of ``x``."""
        rows = x.reshape(-1, x.shape[-1]).bfloat16()
        if not self.fast:
            out = F.linear(rows, self.weight, self.bias)
        else:
            out = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return out.view(*x.shape[:-1], -1)


def quantise_rows(rows: Float[Tensor, "R K"]) -> tuple[UInt8[Tensor, "R K"], Float[Tensor, "R 1"]]:
    """Q and s with rows ≈ s·(Q − 128): the largest magnitude of each row becomes 127."""
    largest = torch.maximum(rows.amax(dim=1, keepdim=True), -rows.amin(dim=1, keepdim=True))
    scale = (largest / LARGEST).clamp_(min=FAINTEST)
    return (rows / scale).round_().add_(MIDDLE).to(torch.uint8), scale


def _packed(weight: Int8[Tensor, "N K"]) -> Tensor:
    return torch.ops.onednn.qlinear_prepack(weight, None)


def _product(rows: Tensor, packed: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """(Q_x − 128)·Q_wᵀ times the scale of each output, float32."""
    return torch.ops.onednn.qlinear_pointwise(
        rows, 1.0, MIDDLE, packed, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
    )


def _with_blocks(encoder: Network, blocks: nn.Module) -> Network:
    other = _shallow(encoder)
    other._modules["blocks"] = blocks
    return other.eval()


def _replaced(
    module: Network,
    linear: Callable[[str, nn.Linear], nn.Module],
    mlp: Callable[[nn.Module], nn.Module],
    name: str = "",
) -> Network:
    if isinstance(module, nn.Linear):
        return linear(name, module)  # type: ignore[return-value]
    other = _shallow(module)
    for child, part in module._modules.items():
        other._modules[child] = part and _replaced(part, linear, mlp, child)
    if isinstance(other, Attention) and not isinstance(other.qkv, nn.Linear | HalfLinear):
        other.inside = torch.bfloat16
    return mlp(other) if isinstance(other, Mlp) else other  # type: ignore[return-value]


def _shallow(module: Network) -> Network:
    """Another module with the same parameters and the same children, whose children can be replaced."""
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other
