"""From questions behind a shared beginning to answers: one look at all of them, then only as much as each needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bat_agent_llama.choices import ClosedAnswers, Node
from bat_agent_llama.packing import Session, Tree

TOKENS_AHEAD = 40
"""Tokens of choices to come that one look takes in, of all questions together: more would cost more than they save."""


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
    asked_for: set[tuple[int, ...]] = field(default_factory=set)
    """Tokens that are the whole answer (:meth:`ClosedAnswers.asked_for`)."""
    said_log_p: float = 0.0
    """Log probability, among all tokens, of what was chosen inside the tree."""
    leaves: bool = False
    """Whether it began like a closed answer and goes on as free text."""


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
        inside: list[tuple[Row, Node]] = []
        free: list[tuple[Row, Tensor]] = []
        for row, log_p, token in zip(rows, latest, latest.argmax(dim=-1).tolist(), strict=True):
            row.first = log_p
            if self.closed is not None and self.closed.begins(token) is not None:
                inside.append((row, self.closed.root))
            else:
                free.append((row, log_p))
        yield from self._inside(session, inside)
        if left := [row for row, _ in inside if row.leaves]:
            for row, log_p in zip(left, self.look(session, [(row, row.ids) for row in left]), strict=True):
                row.log_p = row.said_log_p
                free.append((row, log_p))
        yield from self._free(session, free)

    def look(self, session: Session, feeds: Sequence[tuple[Row, list[int]]]) -> Tensor:
        """Log probabilities (rows, V) of what follows when each row goes on with its tokens."""
        hidden = session.extend([(row.clip, row.number, tokens) for row, tokens in feeds])
        return self.log_probabilities(torch.stack([states[-1] for states in hidden]))

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Of all tokens, (…, V) of hidden states (…, H)."""
        return self.llm.lm_head(hidden).float().log_softmax(dim=-1)

    def _free(self, session: Session, running: list[tuple[Row, Tensor]]) -> Iterator[None]:
        """Token by token."""
        while running:
            feeds = []
            for row, log_p in running:
                best, token = log_p.max(dim=-1)
                row.log_p += float(best)
                if int(token) == self.end:
                    continue
                row.ids.append(int(token))
                if len(row.ids) < self.limit:
                    feeds.append((row, [int(token)]))
            yield
            if not feeds:
                return
            running = [(row, log_p) for (row, _), log_p in zip(feeds, self.look(session, feeds), strict=True)]

    def _inside(self, session: Session, running: list[tuple[Row, Node]]) -> Iterator[None]:
        """Inside the tree of closed answers: every look takes in the choices ahead as well, on all branches."""
        assert self.closed is not None or not running
        running = [(row, node) for row, at in running if (node := self._walk(row, at, {(): row.first})) is not None]
        yield
        while running:
            most = max(1, TOKENS_AHEAD // len(running))
            trees = [self._tree(row, node, most) for row, node in running]
            asked = [
                (row.clip, row.number, len(row.prompt), tree) for (row, _), tree in zip(running, trees, strict=True)
            ]
            states = self.log_probabilities(torch.cat(session.branch(asked))).split([len(tree.ids) for tree in trees])
            still = []
            for (row, node), tree, log_p in zip(running, trees, states, strict=True):
                seen = {path: log_p[number] for path, number in tree.places.items() if number >= 0}
                next_node = self._walk(row, node, seen)
                if next_node is not None:
                    still.append((row, next_node))
            running = still
            yield

    def _tree(self, row: Row, node: Node, most: int) -> Tree:
        assert self.closed is not None
        # Where the row stands is looked at as well if there is one way to go on: it may leave.
        paths = dict.fromkeys([(), *self.closed.ahead(node, most)])
        return Tree([[*row.ids, *path, self.end] for path in paths])

    def _walk(self, row: Row, node: Node, seen: dict[tuple[int, ...], Tensor]) -> Node | None:
        """Go on from ``node`` as far as what was seen tells, by path; ``None`` where the answer ends or leaves."""
        while True:
            allowed = list(node.children)
            token = allowed[0]
            loose = node.loose and tuple(row.ids) not in row.asked_for
            if len(allowed) > 1 or loose:
                log_p = seen.get(tuple(row.ids))
                if log_p is None:
                    return node
                if (loose or self.end in node.children) and int(log_p.argmax()) not in node.children:
                    row.leaves = True
                    return None
                among = log_p[allowed].log_softmax(dim=0)
                best = int(among.argmax())
                row.log_p += float(among[best])
                token = allowed[best]
                row.said_log_p += float(log_p[token])
            if token == self.end:
                return None
            row.ids.append(token)
            node = node.children[token]
