"""From questions behind a shared beginning to answers: one look at all of them, then only as much as each needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bat_agent_llama.choices import ClosedAnswers, Node
from bat_agent_llama.packing import Session


@dataclass
class Row:
    """A question on its way to an answer."""

    clip: int
    """Which clip of the session."""
    number: int
    """Which question of the clip, from 1."""
    prompt: list[int]
    """Its tokens behind the shared beginning."""
    first: Tensor = field(default_factory=lambda: torch.empty(0))
    """(V,) log probabilities of the first token."""
    ids: list[int] = field(default_factory=list)
    """Tokens of the answer, without the end-of-text token."""
    log_p: float = 0.0
    """Log probability of the answer; inside the tree of closed answers, among those allowed at each choice."""
    closed: bool = False
    """Whether it was decoded inside the tree."""


class Decoder:
    """Greedy decoding of packed questions."""

    def __init__(self, llm: Any, end: int, limit: int, closed: ClosedAnswers | None) -> None:
        """Answers end at token ``end``, after ``limit`` tokens at the latest; without ``closed`` all are free text."""
        self.llm, self.end, self.limit, self.closed = llm, end, limit, closed

    def run(self, session: Session, rows: Sequence[Row]) -> None:
        """Fill in the answers of all rows."""
        for _ in self.steps(session, rows):
            pass

    def steps(self, session: Session, rows: Sequence[Row]) -> Iterator[None]:
        """As :meth:`run`, with a stop after every look at the language model."""
        latest = self.look(session, [(row, row.prompt) for row in rows])
        for row, log_p in zip(rows, latest, strict=True):
            row.first = log_p
        running = [_Running(row, None) for row in rows]
        if self.closed is not None:
            firsts = latest.argmax(dim=-1).tolist()
            for one, token in zip(running, firsts, strict=True):
                if self.closed.begins(token) is not None:
                    one.node, one.row.closed = self.closed.root, True
        while True:
            feeds = [(one, self._take(one, log_p)) for one, log_p in zip(running, latest, strict=True)]
            yield
            feeds = [(one, tokens) for one, tokens in feeds if tokens]
            if not feeds:
                return
            running = [one for one, _ in feeds]
            latest = self.look(session, [(one.row, tokens) for one, tokens in feeds])

    def look(self, session: Session, feeds: Sequence[tuple[Row, list[int]]]) -> Tensor:
        """Log probabilities (rows, V) of what follows when each row goes on with its tokens."""
        hidden = session.extend([(row.clip, row.number, tokens) for row, tokens in feeds])
        return self.log_probabilities(torch.stack([states[-1] for states in hidden]))

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Of all tokens, (…, V) of hidden states (…, H)."""
        return self.llm.lm_head(hidden).float().log_softmax(dim=-1)

    def _take(self, one: _Running, log_p: Tensor) -> list[int]:
        """Choose the next token; what is to be fed before the next choice, nothing at the end of the answer."""
        if one.node is None:
            return self._take_free(one.row, log_p)
        assert self.closed is not None
        allowed = list(one.node.children)
        among = log_p[allowed].log_softmax(dim=0)
        best = int(among.argmax())
        token = allowed[best]
        one.row.log_p += float(among[best])
        if token == self.end:
            return []
        forced, one.node = self.closed.forced(one.node.children[token])
        one.row.ids += [token, *forced]
        return [] if self.closed.ends(one.node) else [token, *forced]

    def _take_free(self, row: Row, log_p: Tensor) -> list[int]:
        best, token = log_p.max(dim=-1)
        row.log_p += float(best)
        if int(token) == self.end:
            return []
        row.ids.append(int(token))
        return [int(token)] if len(row.ids) < self.limit else []


@dataclass
class _Running:
    row: Row
    node: Node | None
    """Where it is in the tree of closed answers; none outside."""
