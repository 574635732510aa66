"""From encoder tokens to the width of a language model: learnable queries, and a direct path beside them.

The queries are BAT's (learnable, 64 there) in a light form, pre-norm cross-attention as in the Perceiver resampler.
Alone they learn slowly, because nothing passes before they have learnt where to look; so the leading tokens, where an
encoder keeps its summary of the clip, also go through an MLP of their own and stand in front.

Letters: B clips, K encoder tokens, D their width, Q queries, E query width, C direct tokens, H language-model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CrossAttention(nn.Module):
    """One pre-norm layer: queries look at the encoder tokens, then an MLP."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Queries (B, Q, E) after looking at tokens (B, K, E)."""
        query = self._split(self.query(self.query_norm(queries)))
        key, value = (self._split(part) for part in self.key_value(tokens).chunk(2, dim=-1))
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        queries = queries + self.output(seen)
        return queries + self.mlp(queries)

    def _split(self, tensor: Tensor) -> Tensor:
        return tensor.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Projector(nn.Module):
    """The audio prefix of a prompt: C direct tokens, then Q queries, each of the language model's width; without any of
    either it has no parts.
    """

    def __init__(
        self,
        token_dim: int,
        llm_dim: int,
        *,
        num_queries: int = 16,
        num_direct: int = 3,
        layers: int = 1,
        dim: int = 256,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.llm_dim = llm_dim
        self.num_direct = num_direct
        self.num_queries = num_queries
        if not self.num_tokens:
            return
        self.token_norm = nn.LayerNorm(token_dim)
        if num_direct:
            # One MLP for all of them, so each says by its own vector which one it is.
            self.direct_place = nn.Parameter(torch.randn(num_direct, token_dim) * 0.02)
            self.direct = nn.Sequential(nn.Linear(token_dim, 2 * llm_dim), nn.GELU(), nn.Linear(2 * llm_dim, llm_dim))
        if num_queries:
            self.queries = nn.Parameter(torch.randn(num_queries, dim))
            self.input = nn.Linear(token_dim, dim)
            self.layers = nn.ModuleList(CrossAttention(dim, heads) for _ in range(layers))
            self.output = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, llm_dim))
        self.output_norm = nn.LayerNorm(llm_dim)

    @property
    def num_tokens(self) -> int:
        """P = C + Q, length of the prefix."""
        return self.num_direct + self.num_queries

    def forward(self, tokens: Tensor) -> Tensor:
        """Prefix (B, P, H) of encoder tokens (B, K, D) with K ≥ C."""
        if not self.num_tokens:
            return tokens.new_zeros(len(tokens), 0, self.llm_dim)
        tokens = self.token_norm(tokens)
        parts = []
        if self.num_direct:
            parts.append(self.direct(tokens[:, : self.num_direct] + self.direct_place))
        if self.num_queries:
            seen = self.input(tokens)
            queries = self.queries.expand(len(tokens), -1, -1)
            for layer in self.layers:
                queries = layer(queries, seen)
            parts.append(self.output(queries))
        return self.output_norm(torch.cat([part.float() for part in parts], dim=1))
