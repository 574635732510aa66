"""What the language model may write next: the tokens of all that may stand in a slot, as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from bat_agent_talk.shapes import fixed_choices, own_choices, slots_after

END = ";"
"""Behind what may stand in a slot where something longer begins alike, such as "bell"."""
ARROW = " =>"
"""Between a question and its query."""


class Grammar:
    """The tokens of queries, for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        (self.end,) = self._ids(END)[-1:]
        self._fixed: dict[str, dict[tuple[int, ...], str]] = {}
        self.arrow = self._ids(ARROW)
        self.start: list[int] = [t for t in tokenizer("").input_ids if t != tokenizer.eos_token_id]

    def prompt(self, question: str) -> list[int]:
        """The tokens in front of a query."""
        return self.start + self._ids(" ".join(question.split())) + self.arrow

    def choices(self, slot: str, question: str, also: str | None = None) -> dict[tuple[int, ...], str]:
        """Tokens of all that may stand in a slot; ``also`` stands there in any case."""
        if slot not in self._fixed:
            self._fixed[slot] = {self.word(text): text for text in fixed_choices(slot)}
        own = {self.word(text): text for text in own_choices(slot, question)}
        if also is not None:
            own.setdefault(self.word(also), also)
        return self._fixed[slot] | own if own else self._fixed[slot]

    def branches(self, question: str, said: Sequence[str]) -> Iterator[tuple[list[int], list[list[int]], list[int]]]:
        """For each slot of a query that is known: its tokens, what could be said at each of them, which of these is."""
        for slot, text in zip(("", *slots_after(said[0])), said, strict=True):
            yield self.written(slot, question, text)

    def written(self, slot: str, question: str, text: str) -> tuple[list[int], list[list[int]], list[int]]:
        """The same for one slot."""
        known = frozenset(self.choices(slot, question, text))
        tokens, options, right = list(self.word(text)), [], []
        for place in range(len(tokens) + 1):
            allowed = self.next_of(known, tuple(tokens[:place]))
            if place == len(tokens):
                if allowed == [self.end]:
                    break
                tokens.append(self.end)
            options.append(allowed)
            right.append(allowed.index(tokens[place]))
        return tokens, options, right

    def next_of(self, choices: frozenset[tuple[int, ...]], said: tuple[int, ...]) -> list[int]:
        """What may follow what was said of a slot; the end alone where nothing longer may stand there."""
        return _next(choices, said, self.end)

    def word(self, text: str) -> tuple[int, ...]:
        """The tokens of a text as it stands in a slot."""
        return tuple(self._ids(f" {text}"))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


@lru_cache(maxsize=8192)
def _next(choices: frozenset[tuple[int, ...]], said: tuple[int, ...], end: int) -> list[int]:
    depth = len(said)
    found = {choice[depth] if len(choice) > depth else end for choice in choices if choice[:depth] == said}
    return sorted(found)
