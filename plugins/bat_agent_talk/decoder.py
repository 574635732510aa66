"""The layers of a causal language model of the Llama family, from its folder alone.

Not transformers' classes, as those take five seconds and 200 MB before anything is read; what comes out is the same
(``tests/plugins/test_talk_decoder.py``). Parts are named as there, so that weights fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bat_agent.errors import WeightsError

FAMILY = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose parts are called as Llama's are."""
Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (1, key-value heads, tokens so far, D) each."""


@dataclass(frozen=True)
class Shape:
    """What a model's config.json says of its layers."""

    width: int
    layers: int
    heads: int
    groups: int
    """Key-value heads."""
    head_width: int
    inner: int
    vocabulary: int
    epsilon: float
    theta: float
    rope: Mapping[str, Any]
    """How the frequencies of the rotation are changed (``rope_scaling``)."""
    biased: tuple[bool, bool, bool]
    """Whether the maps to queries, keys and values, that of what is found, and the feed-forward add a bias."""
    normed: bool
    """Whether queries and keys are normalised, as Qwen3's are."""

    @classmethod
    def of(cls, config: Mapping[str, Any], name: str) -> Shape:
        """Raises :class:`~bat_agent.errors.WeightsError` for another family, and where something is missing."""
        kind = config.get("model_type")
        if kind not in FAMILY:
            raise WeightsError(
                f"{name} is of model type {kind!r}, expected the Llama architecture or a near relative "
                f"({', '.join(FAMILY)}); choose another llm=, for instance smollm2-135m"
            )
        if (act := config.get("hidden_act", "silu")) != "silu":
            raise WeightsError(f"{name} has other layers than Llama's (hidden_act is {act!r}); choose another llm=")
        rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
        biased = bool(config.get("attention_bias"))
        try:
            width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
            return cls(
                width=width, layers=int(config["num_hidden_layers"]), heads=heads,
                groups=int(config.get("num_key_value_heads") or heads),
                head_width=int(config.get("head_dim") or width // heads),
                inner=int(config["intermediate_size"]), vocabulary=int(config["vocab_size"]),
                epsilon=float(config.get("rms_norm_eps", 1e-6)),
                theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0), rope=rope,
                biased=(biased or kind == "qwen2", biased, bool(config.get("mlp_bias"))), normed=kind == "qwen3",
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"the config.json of {name} does not describe a language model ({error})") from error

    def frequencies(self) -> Tensor:
        """Angles per token (D / 2,) of the rotation, radians (Su et al. 2104.09864)."""
        steps = torch.arange(0, self.head_width, 2, dtype=torch.float32) / self.head_width
        plain = 1.0 / self.theta**steps
        kind = self.rope.get("rope_type", self.rope.get("type", "default"))
        if kind == "default":
            return plain
        if kind == "linear":
            return plain / self.rope["factor"]
        if kind == "llama3":
            return _llama3(plain, self.rope)
        raise WeightsError(f"the rotation {kind!r} of this language model is not known here; choose another llm=")


def _llama3(plain: Tensor, rope: Mapping[str, Any]) -> Tensor:
    """Llama 3.1: slow frequencies are divided by ``factor``, with a smooth passage to the fast ones."""
    turns = rope["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return plain * (kept + (1 - kept) / rope["factor"])


class Output(NamedTuple):
    """What the layers make of a row."""

    hidden: Tensor
    """(tokens, H), normalised."""
    cache: Cache


class RmsNorm(nn.Module):
    """Root mean square normalisation, computed in float32 (Zhang & Sennrich 1910.07467)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        """x (…, H) → (…, H)."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        out: Tensor = self.weight * wide.to(x.dtype)
        return out.to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention with rotated queries and keys."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, inside, shared = shape.width, shape.heads * shape.head_width, shape.groups * shape.head_width
        self.q_proj = nn.Linear(width, inside, bias=shape.biased[0])
        self.k_proj = nn.Linear(width, shared, bias=shape.biased[0])
        self.v_proj = nn.Linear(width, shared, bias=shape.biased[0])
        self.o_proj = nn.Linear(inside, width, bias=shape.biased[1])
        if shape.normed:
            self.q_norm = RmsNorm(shape.head_width, shape.epsilon)
            self.k_norm = RmsNorm(shape.head_width, shape.epsilon)
        self.shape = shape

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor, before: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x (1, T, H), ``mask`` (T, S) true where one may look → (1, T, H), and keys and values of all S tokens."""
        query, key, value = (
            part(x).unflatten(-1, (-1, self.shape.head_width)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.shape.normed:
            query, key = self.q_norm(query), self.k_norm(key)
        query, key = _rotated(query, turn), _rotated(key, turn)
        if before is not None:
            key, value = torch.cat([before[0], key], dim=2), torch.cat([before[1], value], dim=2)
        each = self.shape.heads // self.shape.groups
        found = F.scaled_dot_product_attention(
            query, key.repeat_interleave(each, dim=1), value.repeat_interleave(each, dim=1), attn_mask=mask
        )
        return self.o_proj(found.transpose(1, 2).flatten(2)), (key, value)


def _rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    cosine, sine = turn
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2002.05202)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        biased = shape.biased[2]
        self.gate_proj = nn.Linear(shape.width, shape.inner, bias=biased)
        self.up_proj = nn.Linear(shape.width, shape.inner, bias=biased)
        self.down_proj = nn.Linear(shape.inner, shape.width, bias=biased)

    def forward(self, x: Tensor) -> Tensor:
        """x (…, H) → (…, H)."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """Attention and feed-forward, each behind a normalisation and beside a skip connection."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(shape), FeedForward(shape)
        self.input_layernorm = RmsNorm(shape.width, shape.epsilon)
        self.post_attention_layernorm = RmsNorm(shape.width, shape.epsilon)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor, before: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As :meth:`Attention.forward`."""
        found, kept = self.self_attn(self.input_layernorm(x), turn, mask, before)
        x = x + found
        return x + self.mlp(self.post_attention_layernorm(x)), kept


class Decoder(nn.Module):
    """Embedding, layers and the last normalisation."""

    def __init__(self, shape: Shape, dtype: torch.dtype, embed_tokens: nn.Module) -> None:
        """Without weights; ``dtype`` is what is computed in, ``embed_tokens`` finds the rows (T, H) of tokens (T,)."""
        super().__init__()
        self.embed_tokens = embed_tokens
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.width, shape.epsilon)
        self.shape, self.dtype = shape, dtype
        self.again = False
        """Whether layers are computed again in the backward pass instead of being kept."""

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: Cache | None = None) -> Output:
        """ids (T,) at positions (T,), behind the S − T tokens of the cache; ``mask`` (T, S) true where one may look."""
        x = self.embed_tokens(ids)[None].to(self.dtype)
        angles = positions[:, None].float() * self.shape.frequencies().to(positions.device)
        turn = (angles.cos().to(x.dtype), angles.sin().to(x.dtype))
        kept: Cache = []
        for number, layer in enumerate(self.layers):
            before = cache[number] if cache else None
            if self.again and torch.is_grad_enabled():
                x, new = checkpoint(layer, x, turn, mask, before, use_reentrant=False)
            else:
                x, new = layer(x, turn, mask, before)
            kept.append(new)
        return Output(self.norm(x)[0], kept)
