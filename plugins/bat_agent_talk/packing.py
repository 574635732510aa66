"""Questions next to each other in one row: each sees itself alone, so none is padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Row:
    """A row of questions in a key-value cache, to which tokens of any of them are appended."""

    def __init__(self, model: Any, keep: bool) -> None:
        """``keep``: whether tokens will be appended to those that come first."""
        self.model, self.keep = model, keep
        self.cache: Any = None
        self.owners = torch.zeros(0, dtype=torch.long)
        self.lengths: dict[int, int] = {}

    def extend(self, pieces: Sequence[tuple[int, Sequence[int]]]) -> Tensor:
        """Append tokens, (number of the question, tokens) each; their hidden states (tokens of all, H)."""
        ids = [token for _, tokens in pieces for token in tokens]
        owners = torch.tensor([number for number, tokens in pieces for _ in tokens], dtype=torch.long)
        positions: list[int] = []
        for number, tokens in pieces:
            begin = self.lengths.get(number, 0)
            positions += range(begin, begin + len(tokens))
            self.lengths[number] = begin + len(tokens)
        self.owners = torch.cat([self.owners, owners])
        device = self.model.embed_tokens.weight.device
        places = torch.arange(len(self.owners))
        earlier = places[len(places) - len(ids) :, None] >= places
        mask = (earlier & (owners[:, None] == self.owners))[None, None].to(device)
        inputs: dict[str, Any] = {} if self.cache is None else {_cache_name(): self.cache}
        output = self.model(
            inputs_embeds=self.model.embed_tokens(torch.tensor([ids], device=device)),
            attention_mask=mask,
            position_ids=torch.tensor([positions], device=device),
            use_cache=self.keep,
            **inputs,
        )
        if self.keep:
            self.cache = getattr(output, _cache_name())
        hidden: Tensor = output.last_hidden_state[0]
        return hidden


def _cache_name() -> str:
    from transformers.modeling_outputs import BaseModelOutputWithPast

    # Transformers 5.24 renamed it, and warns of the old name.
    return "cache" if "cache" in BaseModelOutputWithPast.__dataclass_fields__ else "past_key_values"
