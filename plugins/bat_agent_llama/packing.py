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
        """``beginning`` (B, S, H): embedded prefix and shared tokens."""
        self.llm = llm
        self.clips, self.shared = beginning.shape[:2]
        self.device = beginning.device
        _, self.cache = forward(llm, inputs_embeds=beginning)
        self._segments = torch.full((self.clips, self.shared), SHARED, device=self.device)
        self._positions = torch.zeros_like(self._segments)
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
        new = max(map(len, ids))
        hidden = self._forward(self._padded(ids), self._positions[:, -new:], block_mask(self._segments, new))
        return [hidden[clip, begin:end] for clip, begin, end in where]

    def branch(self, tree: Tree, questions: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """Hidden states (B, N, H) of a tree of continuations behind the first ``lengths[b]`` tokens of question
        ``questions[b]`` of each clip b; they are not kept in the cache.
        """
        nodes = len(tree.ids)
        ids = torch.tensor(tree.ids, device=self.device).expand(self.clips, -1)
        asked = torch.tensor(list(questions), device=self.device)
        ends = self.shared + torch.tensor(list(lengths), device=self.device)[:, None]
        positions = ends + torch.tensor(tree.depths, device=self.device)
        seen = (self._segments == SHARED) | ((self._segments == asked[:, None]) & (self._positions < ends))
        own = tree.ancestors.to(self.device).expand(self.clips, -1, -1)
        mask = torch.cat([seen[:, None].expand(-1, nodes, -1), own], dim=2)[:, None]
        hidden = self._forward(ids, positions, mask)
        self._crop(nodes)
        return hidden

    def _crop(self, places: int) -> None:
        """Take the last places off the cache; a negative number is what every version of the library understands."""
        if places:
            self.cache.crop(-places)

    def _forward(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        embedded = self.llm.get_input_embeddings()(ids)
        hidden, self.cache = forward(
            self.llm, self.cache, inputs_embeds=embedded, attention_mask=mask, position_ids=positions
        )
        return hidden

    def _padded(self, rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
        tensors = [torch.tensor(list(row), dtype=torch.long) for row in rows]
        return pad_sequence(tensors, batch_first=True, padding_value=value).to(self.device)


class Tree:
    """Continuations merged where they begin alike: what they share is computed once."""

    def __init__(self, continuations: Sequence[list[int]]) -> None:
        """Each continuation is a list of tokens, its end-of-text token included, which is predicted but never fed."""
        self.ids: list[int] = []
        self.depths: list[int] = []
        parents: list[int] = []
        found: dict[tuple[int, ...], int] = {(): -1}
        self.steps: list[list[tuple[int, int]]] = []
        """For each continuation: (node that predicts, or −1 for the end of the question; token predicted)."""
        for tokens in continuations:
            steps = []
            for depth, token in enumerate(tokens):
                steps.append((found[tuple(tokens[:depth])], token))
                path = tuple(tokens[: depth + 1])
                if depth + 1 < len(tokens) and path not in found:
                    found[path] = len(self.ids)
                    parents.append(found[path[:-1]])
                    self.ids.append(token)
                    self.depths.append(depth)
            self.steps.append(steps)
        self.ancestors = torch.eye(len(self.ids), dtype=torch.bool)
        """(N, N): which nodes a node sees, itself among them."""
        for node, parent in enumerate(parents):
            if parent >= 0:
                self.ancestors[node] |= self.ancestors[parent]

    def totals(self, first: Tensor, log_probabilities: Tensor) -> Tensor:
        """Log probability (B, M) of each continuation, of those of the first token (B, V) and behind each node
        (B, N, V).
        """
        behind = torch.cat([log_probabilities, first[:, None]], dim=1)  # the last place is node −1
        rows, places, tokens = zip(
            *((row, node, token) for row, steps in enumerate(self.steps) for node, token in steps), strict=True
        )
        each = behind[:, list(places), list(tokens)]
        index = torch.tensor(rows, device=each.device).expand(len(each), -1)
        return each.new_zeros(len(each), len(self.steps)).scatter_add(1, index, each)
