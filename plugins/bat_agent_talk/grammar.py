"""What the language model may write next: the tokens of all that may stand in a slot, as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from bat_agent.questions.history import split_history
from bat_agent_talk.shapes import SOUND, fixed_choices, named_classes, names_in, own_choices, slots_after

END = ";"
"""Behind what may stand in a slot where something longer begins alike, such as "bell"."""
ARROW = " =>"
"""Between a question and its query."""


NAMED = 3.0
"""By how many nats a class is likelier that the question names by one of its everyday names: what has been written down
of names need not be learnt. The language model may still overrule it."""
LACKING = 8.0
"""By how many nats a shape is less likely that compares two sounds where the question names one, and none was asked
before."""


class Branch(NamedTuple):
    """One place of a query."""

    among: list[int]
    """The tokens that may stand there."""
    favour: list[float]
    """What speaks for each of them beforehand, nats."""
    right: int
    """The one that does."""


class Grammar:
    """The tokens of queries, for one tokenizer."""

    def __init__(self, tokenizer: Any, ends: frozenset[int] = frozenset()) -> None:
        """A tokenizer of the package tokenizers, and the tokens that end a text."""
        self.tokenizer = tokenizer
        (self.end,) = self._ids(END)[-1:]
        self._fixed: dict[str, dict[tuple[int, ...], str]] = {}
        self._lacks: dict[int, frozenset[int]] = {}
        self.arrow = self._ids(ARROW)
        self.start: list[int] = [token for token in tokenizer.encode("").ids if token not in ends]

    def prompt(self, question: str) -> list[int]:
        """The tokens in front of a query."""
        return self.start + self._ids(" ".join(question.split())) + self.arrow

    def choices(
        self, slot: str, question: str, said: Sequence[str], also: str | None = None
    ) -> dict[tuple[int, ...], str]:
        """Tokens of all that may stand in a slot behind what was said; no sound is named twice. ``also`` stands there
        in any case.
        """
        if slot not in self._fixed:
            self._fixed[slot] = {self.word(text): text for text in fixed_choices(slot)}
        table = self._fixed[slot] | {self.word(text): text for text in own_choices(slot, question)}
        if slot == SOUND:
            table = {tokens: text for tokens, text in table.items() if text not in said[1:]}
        if also is not None:
            table.setdefault(self.word(also), also)
        return table

    def branches(self, question: str, said: Sequence[str]) -> Iterator[Branch]:
        """Every token of a query that is known, with what could stand in its place."""
        for number, (slot, text) in enumerate(zip(("", *slots_after(said[0])), said, strict=True)):
            before, word = said[:number], self.word(text)
            known = frozenset(self.choices(slot, question, before, text))
            for place in range(len(word) + 1):
                among = self.next_of(known, word[:place])
                if place == len(word) and among == [self.end]:
                    break
                right = word[place] if place < len(word) else self.end
                yield Branch(among, self.favour(slot, question, before, word[:place], among), right)

    def favour(
        self, slot: str, question: str, said: Sequence[str], begun: tuple[int, ...], among: Sequence[int]
    ) -> list[float]:
        """What speaks for each token beforehand, nats: :data:`NAMED` where it goes on to a class that is named, minus
        :data:`LACKING` where it goes on to shapes alone that compare more sounds than are named.
        """
        if not slot and not begun:
            lacking = self._lacking(names_in(question)) if not split_history(question)[0] else frozenset()
            return [-LACKING * (token in lacking) for token in among]
        if slot != SOUND:
            return [0.0] * len(among)
        words = [self.word(text) for text in named_classes(question) if text not in said[1:]]
        nexts = {(*word, self.end)[len(begun)] for word in words if word[: len(begun)] == begun}
        return [NAMED * (token in nexts) for token in among]

    def _lacking(self, names: int) -> frozenset[int]:
        """First tokens of shapes that take two sounds and more than ``names``, and of no other shape."""
        if names not in self._lacks:
            takes: dict[int, bool] = {}
            for text in fixed_choices(""):
                first, sounds = self.word(text)[0], slots_after(text).count(SOUND)
                takes[first] = takes.get(first, True) and sounds > max(names, 1)
            self._lacks[names] = frozenset(first for first, lacks in takes.items() if lacks)
        return self._lacks[names]

    def next_of(self, choices: frozenset[tuple[int, ...]], said: tuple[int, ...]) -> list[int]:
        """What may follow what was said of a slot; the end alone where nothing longer may stand there."""
        return _next(choices, said, self.end)

    def word(self, text: str) -> tuple[int, ...]:
        """The tokens of a text as it stands in a slot."""
        return tuple(self._ids(f" {text}"))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


@lru_cache(maxsize=8192)
def _next(choices: frozenset[tuple[int, ...]], said: tuple[int, ...], end: int) -> list[int]:
    depth = len(said)
    found = {choice[depth] if len(choice) > depth else end for choice in choices if choice[:depth] == said}
    return sorted(found)
