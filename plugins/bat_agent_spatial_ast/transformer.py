"""The pre-norm vision transformer inside Spatial-AST (AudioMAE's ViT-B); key names are those of the released layout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-6
SHORT = 256


class Attention(nn.Module):
    """Multi-head self-attention with one fused, biased q/k/v projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """Attend among the K tokens of each clip."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        heard = _attend(query, key, value)
        return self.proj(heard.transpose(1, 2).reshape(batch, tokens, width))


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    if torch.is_grad_enabled() and query.device.type == "cpu" and query.shape[2] <= SHORT:
        # Forward and backward of the fused CPU kernel take 3 to 4 times as long as three plain products here.
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return scores.softmax(dim=-1) @ value
    return F.scaled_dot_product_attention(query, key, value)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
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

    def forward(self, x: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """One transformer step."""
        x = x + self._drop(self.attn(self.norm1(x)))
        return x + self._drop(self.mlp(self.norm2(x)))

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        return branch * torch.empty_like(branch[:, :1, :1]).bernoulli_(keep).div_(keep)


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
