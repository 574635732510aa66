"""The Q-Former of BLIP-2 as BAT released it: learnable queries that look at each other and at the encoder's tokens.

Post-norm BERT layers; every second one also attends to the encoder. Module and parameter names are those of the
released checkpoint (``encoder_projector.…``), so that its tensors fit by name; the code is independent of the library
that it came from (Li et al., BLIP-2, arXiv 2301.12597; sizes: SLAM-LLM, examples/seld_spatialsoundqa).

Letters: B clips, K encoder tokens, D their width, Q queries, E query width, H language-model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bat_agent.training.helpers import clip_dropout

CROSS_EVERY = 2
EPS = 1e-12
"""ε of the norms inside; the one behind the last linear map has torch's 1e-5."""


class _Heads(nn.Module):
    """Query, key and value maps, and attention."""

    def __init__(self, dim: int, source_dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(source_dim, dim)
        self.value = nn.Linear(source_dim, dim)

    def forward(self, queries: Tensor, source: Tensor) -> Tensor:
        query, key, value = (
            self._split(self.query(queries)),
            self._split(self.key(source)),
            self._split(self.value(source)),
        )
        if self.dropout and self.training:
            # Written out: a fused kernel draws in an order of its own, which would depend on the number of processes.
            weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
            seen = clip_dropout(weights, self.dropout) @ value
        else:
            seen = F.scaled_dot_product_attention(query, key, value)
        return seen.transpose(1, 2).flatten(2)

    def _split(self, tensor: Tensor) -> Tensor:
        return tensor.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _AddNorm(nn.Module):
    """Linear map, dropout, sum with what came in, norm."""

    def __init__(self, in_dim: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.dense = nn.Linear(in_dim, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=EPS)

    def forward(self, new: Tensor, before: Tensor) -> Tensor:
        new = self.dense(new)
        return self.LayerNorm((clip_dropout(new, self.dropout) if self.training else new) + before)


class _Attention(nn.Module):
    def __init__(self, dim: int, source_dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = _Heads(dim, source_dim, heads, dropout)
        self.output = _AddNorm(dim, dim, dropout)

    def forward(self, queries: Tensor, source: Tensor) -> Tensor:
        return self.output(self.attention(queries, source), queries)


class _Dense(nn.Module):
    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, out_dim)

    def forward(self, tensor: Tensor) -> Tensor:
        return F.gelu(self.dense(tensor))


class _Layer(nn.Module):
    def __init__(self, dim: int, token_dim: int, heads: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.attention = _Attention(dim, dim, heads, dropout)
        self.crossattention = _Attention(dim, token_dim, heads, dropout) if cross else None
        self.intermediate_query = _Dense(dim, 4 * dim)
        self.output_query = _AddNorm(4 * dim, dim, dropout)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        queries = self.attention(queries, queries)
        if self.crossattention is not None:
            queries = self.crossattention(queries, tokens)
        return self.output_query(self.intermediate_query(queries), queries)


class _Encoder(nn.Module):
    def __init__(self, layers: int, dim: int, token_dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        each = (_Layer(dim, token_dim, heads, dropout, number % CROSS_EVERY == 0) for number in range(layers))
        self.layer = nn.ModuleList(each)


class _Stack(nn.Module):
    def __init__(self, layers: int, dim: int, token_dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.layernorm = nn.LayerNorm(dim, eps=EPS)
        self.encoder = _Encoder(layers, dim, token_dim, heads, dropout)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        queries = self.layernorm(queries)
        if self.training:
            queries = clip_dropout(queries, self.dropout)
        for layer in self.encoder.layer:
            queries = layer(queries, tokens)
        return queries


class QFormer(nn.Module):
    """The audio prefix of a prompt: Q queries of the language model's width.

    With the released sizes (64 queries, 8 layers of 768, 12 heads, tokens of 768, language model of 4096) it has
    69,367,296 parameters in 175 tensors, those of the released checkpoint.
    """

    def __init__(
        self,
        token_dim: int,
        llm_dim: int,
        *,
        num_queries: int = 64,
        layers: int = 8,
        dim: int = 768,
        heads: int = 12,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, num_queries, dim))
        self.qformer = _Stack(layers, dim, token_dim, heads, dropout)
        self.linear = nn.Linear(dim, llm_dim)
        self.norm = nn.LayerNorm(llm_dim)
        for module in self.qformer.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def num_tokens(self) -> int:
        """Q, length of the prefix."""
        return self.query.shape[1]

    def forward(self, tokens: Tensor) -> Tensor:
        """Prefix (B, Q, H) of encoder tokens (B, K, D)."""
        queries = self.qformer(self.query.expand(len(tokens), -1, -1), tokens)
        return self.norm(self.linear(queries).float())
