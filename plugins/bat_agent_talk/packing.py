"""Questions next to each other in one row: each sees itself alone, so none is padded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bat_agent_talk.decoder import Cache, Decoder


class Row:
    """A row of questions in a key-value cache, to which tokens of any of them are appended."""

    def __init__(self, model: Decoder, keep: bool) -> None:
        """``keep``: whether tokens will be appended to those that come first. Then nothing is learnt, and what several
        questions begin with alike ("Is the") is computed once.
        """
        self.model, self.keep = model, keep
        self.cache: Cache | None = None
        self.width = 0
        self.paths: dict[int, list[int]] = {}
        """By question: where in the row its tokens are."""

    def forget(self, number: int, tokens: int) -> None:
        """Hide the last tokens of a question from those that come."""
        self.paths[number] = self.paths[number][: len(self.paths[number]) - tokens]

    def extend(self, pieces: Sequence[tuple[int, Sequence[int]]]) -> Tensor:
        """Append tokens, (number of the question, tokens) each; their hidden states (tokens of all, H)."""
        ids: list[int] = []
        paths: list[list[int]] = []
        places: list[int] = []
        known: dict[tuple[int, int], int] = {}
        for number, tokens in pieces:
            path = self.paths.get(number, [])
            for token in tokens:
                follows = (path[-1] if path else -1, token)
                place = known.get(follows) if self.keep else None
                if place is None:
                    place = known[follows] = self.width + len(ids)
                    ids.append(token)
                    paths.append([*path, place])
                path = [*path, place]
                places.append(place - self.width)
            self.paths[number] = path
        self.width += len(ids)
        mask = torch.zeros(len(ids), self.width, dtype=torch.bool)
        for row, path in enumerate(paths):
            mask[row, path] = True
        device = self.model.norm.weight.device
        positions = torch.tensor([len(path) - 1 for path in paths], device=device)
        output = self.model(torch.tensor(ids, device=device), positions, mask.to(device), self.cache)
        if not self.keep:
            return output.hidden
        self.cache = output.cache
        shared: Tensor = output.hidden[torch.tensor(places, device=device)]
        return shared
