"""Questions next to each other in one row: each sees itself alone, so none is padded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bat_agent_talk.decoder import Cache, Decoder


class Row:
    """A row of questions in a key-value cache, to which tokens of any of them are appended."""

    def __init__(self, model: Decoder, keep: bool) -> None:
        """``keep``: whether tokens will be appended to those that come first."""
        self.model, self.keep = model, keep
        self.cache: Cache | None = None
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
        mask = (earlier & (owners[:, None] == self.owners)).to(device)
        output = self.model(torch.tensor(ids, device=device), torch.tensor(positions, device=device), mask, self.cache)
        if self.keep:
            self.cache = output.cache
        hidden: Tensor = output.hidden
        return hidden
