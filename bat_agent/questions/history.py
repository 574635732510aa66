"""A question behind those asked before it, as one text: ``Q: Where is the dog? A: … Q: And how far is it?``."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TURN = re.compile(r"Q: (.+?) A: (.+?)(?= Q: )", re.DOTALL)
History = Sequence[tuple[str, str]]
"""Questions with their answers, the oldest first."""


def with_history(history: History, question: str) -> str:
    """A question after those before it, with their answers: ``Q: Where is the dog? A: … Q: And how far is it?``."""
    if not history:
        return question
    return f"{' '.join(f'Q: {asked} A: {said}' for asked, said in history)} Q: {question}"


def split_history(text: str) -> tuple[list[tuple[str, str]], str]:
    """The inverse of :func:`with_history`."""
    if not text.startswith("Q: "):
        return [], text
    turns = list(_TURN.finditer(text))
    end = turns[-1].end() if turns else 0
    return [(turn[1], turn[2]) for turn in turns], text[end:].strip().removeprefix("Q: ")
