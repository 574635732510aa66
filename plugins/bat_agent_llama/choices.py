"""Answers of a fixed form (Yes and No, sides, locations, distances, hours …) as a tree of tokens.

An answer that begins as one of these is decoded inside the tree: only what keeps it well-formed is considered, and what
can only go on in one way needs no further look. It leaves the tree behind a single word, and where a closed answer
could end, if the language model would rather say what is not in it. Labels and free text are not in the tree.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bat_agent.interfaces import NUM_DISTANCE_BINS
from bat_agent.labels import labels
from bat_agent.questions.answers import (
    APPROACH,
    AXES,
    COUNTS,
    HOURS,
    LETTERS,
    NOT_HEARD,
    RISE,
    YES_NO,
    asks_yes_no,
    choices_for,
    format_distance,
    options_in,
)


def regions() -> list[str]:
    """The eight regions, ``left, front, above`` …"""
    return [", ".join(words) for words in itertools.product(*AXES.values())]


def distances() -> list[str]:
    """``0m``, ``0.5m`` … ``10m``."""
    return [format_distance(number / 2) for number in range(NUM_DISTANCE_BINS)]


def locations() -> list[str]:
    """Every location that an answer can name: region and distance."""
    return [f"{region}; {distance}" for region, distance in itertools.product(regions(), distances())]


def closed_answers() -> list[str]:
    """Every answer of a fixed form."""
    words = [*YES_NO, *itertools.chain(*AXES.values()), *APPROACH, *RISE, *LETTERS, *COUNTS, *HOURS, NOT_HEARD]
    angles = [f"azimuth {degrees} degrees" for degrees in range(360)]
    angles += [f"elevation {degrees} degrees" for degrees in range(-90, 91)]
    return [*words, *regions(), *distances(), *locations(), *angles]


def members_of(question: str, answer: str) -> tuple[str, ...]:
    """The closed set that an answer was taken from, of letters those that are offered; empty if there is none."""
    members = choices_for(answer) or ()
    if members != LETTERS:
        return members if answer in members else ()
    offered = tuple(options_in(question)) or LETTERS
    return offered if answer in offered else ()


@dataclass
class Node:
    """A place in the tree: which tokens may follow."""

    children: dict[int, Node] = field(default_factory=dict)
    loose: bool = False
    """Whether what was said up to here is one word, which may as well begin free text."""


class ClosedAnswers:
    """The tree for one tokenizer."""

    def __init__(self, encode: Callable[[Sequence[str]], list[list[int]]], end: int) -> None:
        """``encode`` gives the tokens of answers, the end-of-text token ``end`` included."""
        self.end = end
        self.root = Node()
        for tokens in encode(closed_answers()):
            self._add(tokens)
        # What a label may begin with says nothing yet.
        self.open = {tokens[0] for tokens in encode([name.lower() for name in labels()])}
        self._yes_no, self._letters = ({tuple(t[:-1]) for t in encode(words)} for words in (YES_NO, LETTERS))
        one_word = (*YES_NO, *itertools.chain(*AXES.values()), *APPROACH, *RISE, *LETTERS, *COUNTS)
        for tokens in encode([*one_word, NOT_HEARD.split()[0]]):
            self._add(tokens[:-1]).loose = True

    def _add(self, tokens: Iterable[int]) -> Node:
        node = self.root
        for token in tokens:
            node = node.children.setdefault(token, Node())
        return node

    def begins(self, token: int) -> Node | None:
        """The place behind the first token of a closed answer, if it can be nothing else."""
        return None if token in self.open else self.root.children.get(token)

    def asked_for(self, question: str) -> set[tuple[int, ...]]:
        """Tokens that are the whole answer where the question asks for it: Yes and No, or the letters of options.

        Behind any other single word an answer may turn out to be free text: ``A dog barks``, ``No idea``.
        """
        return (self._yes_no if asks_yes_no(question) else set()) | (self._letters if options_in(question) else set())

    def ahead(self, node: Node, most: int) -> list[tuple[int, ...]]:
        """Paths below a node at whose ends there is a choice, nearest first, as many as ``most`` tokens allow.

        They are what has to be looked at to go on from the node; a path may be empty.
        """
        paths: list[tuple[int, ...]] = []
        level: list[tuple[tuple[int, ...], Node]] = [((), node)]
        tokens = 0
        while level:
            below: list[tuple[tuple[int, ...], Node]] = []
            for path, at in level:
                if len(at.children) > 1:
                    paths.append(path)
                for token, child in at.children.items():
                    if token != self.end and tokens < most:
                        tokens += 1
                        below.append(((*path, token), child))
            level = below
        return paths
