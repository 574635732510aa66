"""Many questions about a clip in one sequence: each sees what all share, and itself.

    [prefix and beginning of the prompt, shared] [question 1 … answer 1] [question 2 … answer 2] …

Positions start again behind the shared part, so every question is computed as if it stood there alone. Training packs
questions and answers at once; answering keeps the shared part in a key-value cache (:class:`Session`) and appends
tokens of all questions as they come, without a copy of the cache.

Letters: B clips, S shared places, L places in all, H width, N new places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from transformers.cache_utils import DynamicCache

SHARED, PADDING = 0, -1
"""Segments; questions are numbered from 1."""


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """How many leading numbers all sequences share, leaving each at least one of its own."""
    limit = min(len(sequence) for sequence in sequences) - 1
    first = sequences[0]
    for place in range(limit):
        if any(sequence[place] != first[place] for sequence in sequences):
            return place
    return limit


def pack(clips: Sequence[Sequence[tuple[list[int], list[int]]]], start: int) -> tuple[Tensor, ...]:
    """One sequence per clip out of its (rest of prompt, answer) pairs, behind ``start`` shared places.

    Returns ids (B, L − start), segments (B, L), positions (B, L), and for the M answer tokens of all clips the places
    (M,) that predict them in the flattened B·L and the tokens (M,).
    """
    length = start + max(sum(len(prompt) + len(target) for prompt, target in pairs) for pairs in clips)
    ids = torch.zeros(len(clips), length - start, dtype=torch.long)
    segments = torch.full((len(clips), length), PADDING)
    segments[:, :start] = SHARED
    positions = torch.zeros(len(clips), length, dtype=torch.long)
    positions[:, :start] = torch.arange(start)
    places: list[int] = []
    labels: list[int] = []
    for clip, pairs in enumerate(clips):
        at = start
        for number, (prompt, target) in enumerate(pairs, start=1):
            end = at + len(prompt) + len(target)
            ids[clip, at - start : end - start] = torch.tensor(prompt + target)
            segments[clip, at:end] = number
            positions[clip, at:end] = torch.arange(start, start + end - at)
            predictor = clip * length + at + len(prompt) - 1
            places += range(predictor, predictor + len(target))
            labels += target
            at = end
    return ids, segments, positions, torch.tensor(places), torch.tensor(labels)


def block_mask(segments: Tensor, new: int | None = None) -> Tensor:
    """(B, 1, N, L) bool: a place sees earlier places of the shared part and of its own question.

    ``segments`` (B, L) are those of all places, the last ``new`` of which (default: all) ask.
    """
    length = segments.shape[1]
    first = 0 if new is None else length - new
    places = torch.arange(length, device=segments.device)
    earlier = places[first:, None] >= places
    same = segments[:, first:, None] == segments[:, None, :]
    return ((same | (segments == SHARED)[:, None, :]) & earlier)[:, None]


def forward(llm: Any, cache: DynamicCache | None = None, **inputs: Tensor) -> tuple[Tensor, DynamicCache]:
    """The last hidden states (B, N, H), and the key-value cache with these inputs behind what it held."""
    from transformers.modeling_outputs import BaseModelOutputWithPast

    # Transformers 5.24 renamed it, and warns of the old name.
    name = "cache" if "cache" in BaseModelOutputWithPast.__dataclass_fields__ else "past_key_values"
    before = {} if cache is None else {name: cache}
    output = llm.model(**inputs, **before, use_cache=True)
    return output.last_hidden_state, getattr(output, name)


class Session:
    """The shared beginning of some clips in a key-value cache, and questions behind it."""

    def __init__(self, llm: Any, beginning: Tensor) -> None:
        """``beginning`` (B, S, H): embedded prefix and shared tokens, computed together with the first questions."""
        self.llm = llm
        self.clips, self.shared = beginning.shape[:2]
        self.device = beginning.device
        self.cache: DynamicCache | None = None
        self._beginning: Tensor | None = beginning
        self._segments = torch.full((self.clips, self.shared), SHARED, device=self.device)
        self._positions = torch.arange(self.shared, device=self.device).expand(self.clips, -1)
        self._lengths: dict[tuple[int, int], int] = {}

    def restart(self) -> None:
        """Forget all questions, keep the beginning."""
        self._crop(self._segments.shape[1] - self.shared)
        self._segments, self._positions = (t[:, : self.shared] for t in (self._segments, self._positions))
        self._lengths.clear()

    def extend(self, rows: Sequence[tuple[int, int, list[int]]]) -> list[Tensor]:
        """Append tokens: (clip, number of the question, tokens) each; their hidden states (tokens, H), row by row."""
        ids: list[list[int]] = [[] for _ in range(self.clips)]
        segments: list[list[int]] = [[] for _ in range(self.clips)]
        positions: list[list[int]] = [[] for _ in range(self.clips)]
        where: list[tuple[int, int, int]] = []
        for clip, question, tokens in rows:
            begin, length = len(ids[clip]), self._lengths.get((clip, question), 0)
            where.append((clip, begin, begin + len(tokens)))
            ids[clip] += tokens
            segments[clip] += [question] * len(tokens)
            positions[clip] += range(self.shared + length, self.shared + length + len(tokens))
            self._lengths[clip, question] = length + len(tokens)
        self._segments = torch.cat([self._segments, self._padded(segments, PADDING)], dim=1)
        self._positions = torch.cat([self._positions, self._padded(positions)], dim=1)
        new = max(map(len, ids)) + (self.shared if self._beginning is not None else 0)
        hidden = self._forward(self._padded(ids), self._positions[:, -new:], block_mask(self._segments, new))
        return [hidden[clip, begin:end] for clip, begin, end in where]

    def branch(self, rows: Sequence[tuple[int, int, int, Tree]]) -> list[Tensor]:
        """Look at trees of continuations: (clip, number of the question, tokens of it to stand behind, tree) each.

        Returns the hidden states (N, H) of each tree's nodes, in the order of the rows. Nothing is kept in the cache.
        """
        ids: list[list[int]] = [[] for _ in range(self.clips)]
        positions: list[list[int]] = [[] for _ in range(self.clips)]
        where: list[tuple[int, int, int]] = []
        for clip, _, length, tree in rows:
            begin = len(ids[clip])
            where.append((clip, begin, begin + len(tree.ids)))
            ids[clip] += tree.ids
            positions[clip] += [self.shared + length + depth for depth in tree.depths]
        new, old = max(map(len, ids)), self._segments.shape[1]
        mask = torch.zeros(self.clips, 1, new, old + new, dtype=torch.bool, device=self.device)
        mask[:, :, :, : self.shared] = True
        for (clip, question, length, tree), (_, begin, end) in zip(rows, where, strict=True):
            before = (self._segments[clip] == question) & (self._positions[clip] < self.shared + length)
            mask[clip, 0, begin:end, :old] |= before
            mask[clip, 0, begin:end, old + begin : old + end] = tree.ancestors.to(self.device)
        hidden = self._forward(self._padded(ids), self._padded(positions), mask)
        self._crop(new)
        return [hidden[clip, begin:end] for clip, begin, end in where]

    def _crop(self, places: int) -> None:
        """Take the last places off the cache; a negative number is what every version of the library understands."""
        if places and self.cache is not None:
            self.cache.crop(-places)

    def _forward(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        embedded = self.llm.get_input_embeddings()(ids)
        if self._beginning is not None:
            embedded = torch.cat([self._beginning, embedded], dim=1)
        hidden, self.cache = forward(
            self.llm, self.cache, inputs_embeds=embedded, attention_mask=mask, position_ids=positions
        )
        self._beginning = None
        return hidden[:, -ids.shape[1] :]

    def _padded(self, rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
        tensors = [torch.tensor(list(row), dtype=torch.long) for row in rows]
        return pad_sequence(tensors, batch_first=True, padding_value=value).to(self.device)


class Tree:
    """Continuations merged where they begin alike: what they share is computed once."""

    def __init__(self, continuations: Sequence[Sequence[int]]) -> None:
        """Each continuation is a list of tokens, the last of which is predicted but not fed."""
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.places: dict[tuple[int, ...], int] = {(): -1}
        """Number of the node at the end of each path; −1 before the first token."""
        parents: list[int] = []
        self.steps: list[list[tuple[int, int]]] = []
        """For each continuation: (node that predicts, or −1 for the end of the question; token predicted)."""
        for continuation in continuations:
            tokens, steps = tuple(continuation), []
            for depth, token in enumerate(tokens):
                steps.append((self.places[tokens[:depth]], token))
                path = tokens[: depth + 1]
                if depth + 1 < len(tokens) and path not in self.places:
                    self.places[path] = len(self.ids)
                    parents.append(self.places[path[:-1]])
                    self.ids.append(token)
                    self.depths.append(depth)
            self.steps.append(steps)
        self.ancestors = torch.eye(len(self.ids), dtype=torch.bool)
        """(N, N): which nodes a node sees, itself among them."""
        for node, parent in enumerate(parents):
            if parent >= 0:
                self.ancestors[node] |= self.ancestors[parent]

    def totals(self, first: Tensor, log_probabilities: Tensor) -> Tensor:
        """Log probability (M,) of each continuation, of those of the first token (V,) and behind each node (N, V)."""
        behind = torch.cat([log_probabilities, first[None]])  # the last place is node −1
        rows, places, tokens = zip(
            *((row, node, token) for row, steps in enumerate(self.steps) for node, token in steps), strict=True
        )
        each = behind[list(places), list(tokens)]
        return each.new_zeros(len(self.steps)).index_add(0, torch.tensor(rows, device=each.device), each)
