"""Rows to compare a system with, computed from the questions and never quoted: what needs no ears, and what is perfect.

``random``: blind chance (the row of that name in BAT's table 4). ``prompt only``: what the wording of a question gives
away. ``majority``: the most frequent answer to each question type. ``oracle``: the true answers, which shows what the
measures themselves cost; with the lexical embedder, nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.evaluation.metrics import Asked, prompt_only_answers, random_answers
from bat_agent.questions import QuestionType, RecordFile

RANDOM, PROMPT_ONLY, MAJORITY, ORACLE = "random", "prompt only", "majority", "oracle"
_CHANCE, _HALVES = 101, 102  # so that no lot falls as the one by which a set of the same seed was drawn
Learner = Callable[[Iterable[Asked], Sequence[Asked]], list[str]]
"""(questions to learn from, questions to answer) → answers."""


def comparison_rows(records: Sequence[Asked], seed: int = 0, train: str | Path | None = None) -> dict[str, list[str]]:
    """Name of the row → one answer a record.

    What is learnt is learnt from the QA file ``train``, or, without one, from one half of the clips for the other half
    and the reverse, so that no question is answered by itself; a single clip therefore has no such rows. Raises
    :class:`~bat_agent.errors.BadInput` where ``train`` cannot be read or is empty.
    """
    rows = {RANDOM: random_answers(records, np.random.default_rng([seed, _CHANCE]))}
    for name, learner in ((PROMPT_ONLY, prompt_only_answers), (MAJORITY, majority_answers)):
        learnt = _learn(learner, train, records) if train is not None else _cross_fitted(learner, records, seed)
        rows |= {} if learnt is None else {name: learnt}
    return rows | {ORACLE: [record.answer for record in records]}


def majority_answers(train: Iterable[Asked], records: Iterable[Asked]) -> list[str]:
    """The most frequent answer to each question type in ``train``; of all where it lacks the type.

    Ties go to the answer seen first. Raises :class:`~bat_agent.errors.BadInput` where ``train`` is empty.
    """
    tallies: dict[QuestionType | None, Counter[str]] = defaultdict(Counter)
    for record in train:
        tallies[record.type][record.answer] += 1
        tallies[None][record.answer] += 1
    if not tallies:
        raise BadInput("the most frequent answers need at least one training question, got none")
    best = {kind: tally.most_common(1)[0][0] for kind, tally in tallies.items()}
    return [best.get(record.type, best[None]) for record in records]


def _learn(learner: Learner, train: str | Path, records: Sequence[Asked]) -> list[str]:
    file = RecordFile(train)
    if not len(file):
        raise BadInput(f"{train} has no record to learn from, expected some; give another file to --train, or none")
    return learner(file, records)


def _cross_fitted(learner: Learner, records: Sequence[Asked], seed: int) -> list[str] | None:
    """Each half of the clips answered by what the other half taught; ``None`` where there are no two halves."""
    clips = [_clip(record, number) for number, record in enumerate(records)]
    names = list(dict.fromkeys(clips))
    if len(names) < 2:
        return None
    # Halves of equal size, by lot.
    order = np.random.default_rng([seed, _HALVES]).permutation(len(names))
    half = {names[n]: place % 2 for place, n in enumerate(order)}
    answers = [""] * len(records)
    for asked in (0, 1):
        numbers = [n for n, clip in enumerate(clips) if half[clip] == asked]
        others = (record for record, clip in zip(records, clips, strict=True) if half[clip] != asked)
        for number, answer in zip(numbers, learner(others, [records[n] for n in numbers]), strict=True):
            answers[number] = answer
    return answers


def _clip(record: Asked, number: int) -> tuple[object, ...]:
    """What a record is about: questions about the same clip give each other away."""
    sources = getattr(record, "sources", None)
    return tuple(sources) if sources else (number,)
