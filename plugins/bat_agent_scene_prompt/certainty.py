"""How sure a language model is of its answer, whatever words stand around it.

``The answer is: no.`` has seven tokens, of which one decides. An answer out of a closed set (Yes and No, left and right
…) is weighed against the others of its set where it was said; of any other answer its own tokens count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bat_agent.questions import choices_for
from bat_agent.questions.answers import APPROACH, AXES, COUNTS, LETTERS, RISE, YES_NO, options_in

SETS = (YES_NO, *AXES.values(), APPROACH, RISE, COUNTS, LETTERS)
"""Closed sets whose answers begin differently."""
Weighed = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Token:
    """One token of what was said."""

    text: str
    """As it reads, with its blank."""
    log_p: float
    """Its log probability."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Log probability that an answer of a closed set begins here instead, by answer."""


def certainty(tokens: Sequence[Token], answer: str, question: str) -> tuple[float, Weighed]:
    """Probability of an answer in what was said (without its end), and the answers it was weighed against."""
    text = "".join(token.text for token in tokens)
    found = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, re.IGNORECASE)
    if found is None:  # mended in its form, so that all counts that is not punctuation at the end
        return _product(_without_marks(tokens)), ()
    said = _between(tokens, found.start(), found.end())
    members = tuple(options_in(question)) if answer in LETTERS and options_in(question) else choices_for(answer) or ()
    others = said[0].others
    if answer in members and all(member in others for member in members):
        most = max(others[member] for member in members)
        shares = {member: math.exp(others[member] - most) for member in members}
        ranked = sorted(((m, share / sum(shares.values())) for m, share in shares.items()), key=lambda each: -each[1])
        return dict(ranked)[answer], tuple(ranked)
    return _product(said), ()


def beginnings(encode: Callable[[str], list[int]]) -> dict[str, list[int]]:
    """Tokens that begin each answer of a closed set, in any case, with a blank or without, and no other of its set."""
    found: dict[str, list[int]] = {}
    for members in SETS:
        firsts = {
            member: {
                encode(blank + form)[0]
                for blank in ("", " ")
                for form in ((member,) if members == LETTERS else (member, member.lower(), member.title()))
            }
            for member in members
        }
        for member, tokens in firsts.items():
            own = tokens - set().union(*(others for other, others in firsts.items() if other != member))
            if own:
                found[member] = sorted(own)
    return found


def log_sum(log_probabilities: Sequence[float]) -> float:
    """Log of the sum of probabilities."""
    most = max(log_probabilities, default=-math.inf)
    if most == -math.inf:
        return most
    return most + math.log(sum(math.exp(value - most) for value in log_probabilities))


def _between(tokens: Sequence[Token], start: int, end: int) -> list[Token]:
    """Tokens that hold a part of the text from ``start`` to ``end``."""
    kept, at = [], 0
    for token in tokens:
        if at < end and at + len(token.text) > start:
            kept.append(token)
        at += len(token.text)
    return kept


def _without_marks(tokens: Sequence[Token]) -> Sequence[Token]:
    last = next((n for n in range(len(tokens), 0, -1) if re.search(r"\w", tokens[n - 1].text)), len(tokens))
    return tokens[:last]


def _product(tokens: Sequence[Token]) -> float:
    return min(1.0, math.exp(sum(token.log_p for token in tokens)))
