"""The pre-norm vision transformer inside Spatial-AST (AudioMAE's ViT-B); key names are those of the released layout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.training.helpers import clip_rand

LAYER_NORM_EPS = 1e-6
# Up to here three plain products are faster in training on a CPU than the fused kernel with its backward pass: a tenth
# at 291 tokens in float32, where 515 tokens are a quarter slower; 2.5 times at both in bfloat16.
LONGEST_PLAIN = {torch.float32: 320, torch.bfloat16: 640}


class Attention(nn.Module):
    """Multi-head self-attention with one fused, biased q/k/v projection."""

    inside: torch.dtype | None = None
    """Type in which queries, keys and values meet; None for the one that the projection gives."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "B K D"], first: int | None = None) -> Float[Tensor, "B Q D"]:
        """Attend among the K tokens of each clip; of the result, the ``first`` Q tokens alone are computed (or all)."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        if self.inside is not None:
            qkv = qkv.to(self.inside)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        heard = attend(query if first is None else query[:, :, :first], key, value)
        return self.proj(heard.transpose(1, 2).reshape(batch, -1, width))


def attend(
    query: Float[Tensor, "B H Q d"], key: Float[Tensor, "B H K d"], value: Float[Tensor, "B H K d"]
) -> Float[Tensor, "B H Q d"]:
    """softmax(q·kᵀ/√d)·v by the fastest way for this device, number of tokens and purpose."""
    short = query.shape[2] <= LONGEST_PLAIN.get(query.dtype, 0)
    if short and query.device.type == "cpu" and torch.is_grad_enabled():
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return scores.softmax(dim=-1).to(value.dtype) @ value  # autocast makes the softmax float32
    return F.scaled_dot_product_attention(query, key, value)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Apply to every token."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """x + attention(norm x), then x + mlp(norm x); a whole branch is dropped per clip with rate ``drop_path``."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.drop_path = drop_path

    def forward(self, x: Float[Tensor, "B K D"], first: int | None = None) -> Float[Tensor, "B Q D"]:
        """One transformer step; of its result, the ``first`` Q tokens alone are computed (or all)."""
        x = x[:, :first] + self._drop(self.attn(self.norm1(x), first))
        return x + self._drop(self.mlp(self.norm2(x)))

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        kept = clip_rand(len(branch), 1, 1, device=branch.device) < keep
        return branch * (kept / keep).to(branch.dtype)


class PatchEmbed(nn.Module):
    """Non-overlapping patches → tokens in time-major order: the strided convolution as one matrix product."""

    def __init__(self, channels: int, width: int, patch_frames: int, patch_mels: int) -> None:
        super().__init__()
        self.patch = (patch_frames, patch_mels)
        self.proj = nn.Conv2d(channels, width, self.patch, stride=self.patch)

    def forward(self, maps: Float[Tensor, "B C T M"]) -> Float[Tensor, "B P D"]:
        """Cut and project."""
        return F.linear(cut_patches(maps, *self.patch), self.proj.weight.flatten(1), self.proj.bias)


def cut_patches(maps: Float[Tensor, "B C T M"], frames: int, mels: int) -> Float[Tensor, "B P V"]:
    """Patches of so many frames and mel bands as rows, in time-major order; whole patches must fit."""
    batch, channels, time, bands = maps.shape
    cut = maps.view(batch, channels, time // frames, frames, bands // mels, mels)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, (time // frames) * (bands // mels), -1)


def sincos_positions(time: int, mels: int, width: int) -> Float[Tensor, "1 P D"]:
    """Fixed 2-D sine-cosine positions, frequency in the first half of D, time in the second; index 0 is zero (unused).

    P = 1 + time·mels, tokens in time-major order, as in AudioMAE.
    """
    omega = 1.0 / 10_000 ** (torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    time_index, mel_index = torch.meshgrid(
        torch.arange(time, dtype=torch.float64), torch.arange(mels, dtype=torch.float64), indexing="ij"
    )

    def encode(index: Tensor) -> Tensor:
        angle = index.flatten()[:, None] * omega
        return torch.cat((angle.sin(), angle.cos()), dim=1)

    table = torch.cat((encode(mel_index), encode(time_index)), dim=1)
    return torch.cat((torch.zeros(1, width, dtype=torch.float64), table))[None].float()
