"""Questions with their true answers, made from what sounds where (BAT, section 3.2 and appendix F).

What can be asked is in :mod:`bat_agent.questions.builders` and :mod:`~bat_agent.questions.beyond`, how it is worded in
:mod:`bat_agent.questions.grammar` and :mod:`~bat_agent.questions.beyond_wordings`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.questions.answers import APPROACH, AXES, LETTERS, RISE, YES_NO, HeardSource, choices_for
from bat_agent.questions.beyond import BEYOND
from bat_agent.questions.beyond_wordings import BEYOND_WORDINGS
from bat_agent.questions.builders import BUILDERS, PLAIN, Builder
from bat_agent.questions.dice import Dice, Draft, Margins
from bat_agent.questions.grammar import WORDINGS, Split, vary, wordings
from bat_agent.questions.records import MAX_SOURCES, QuestionType

_TRIES = 20  # attempts per question wanted, as a scene may not admit a kind or an answer
CREDIT = 12
"""By how much a class may be ahead in being named where it is, and all classes together in one answer."""
TOGETHER = "all "
"""What the key of all classes together begins with in :class:`Balance`."""
_LEVELLED = frozenset((YES_NO, *AXES.values(), APPROACH, RISE, LETTERS[:2]))  # answers that Balance keeps level


@dataclass(frozen=True)
class Question:
    """A question with its true answer."""

    type: QuestionType
    """Its type: of the release, ``PLAIN`` or beyond the paper."""
    text: str
    """The question as asked."""
    answer: str
    """The true answer."""
    choices: tuple[str, ...] | None
    """The closed set that the answer was taken from; ``None`` for labels, locations, distances and angles."""
    kind: str
    """What is asked, finer than the type, e.g. ``relation.left_right`` or ``presence``."""


@dataclass
class Balance:
    """Keeps answers of two-way questions level over many scenes; give the same one to all calls of :func:`generate`.

    Within one scene a coin balances the answers. Over scenes a bias of the world may remain (most sources lie below the
    ears, so "are both below?" is mostly true); this refuses an answer that is ahead of the other one of the same
    question. Presence is levelled per class, and so is whether something is heard.
    """

    slack: int = 1
    """By how many questions one answer may be ahead."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Questions taken so far by (question, answer)."""
    debts: dict[str, Counter[str]] = field(default_factory=dict)
    """By wording and class: how often more the class should be named where it is not."""

    def take(self, key: str, answer: str, choices: Sequence[str]) -> bool:
        """Count this answer, or refuse it because it is ahead."""
        if self.ahead(key, answer, choices) >= self.slack:
            return False
        self.counts[key, answer] += 1
        return True

    def ahead(self, key: str, answer: str, choices: Sequence[str]) -> int:
        """By how many questions this answer is ahead of the rarest other one; below zero if it is behind."""
        return self.counts[key, answer] - min(self.counts[key, choice] for choice in choices if choice != answer)

    def owed(self, wording: str) -> dict[str, int]:
        """Classes that should yet be named in this wording without being there, and how often."""
        debts: Counter[str] = self.debts.get(wording, Counter())
        return {label: debt for label, debt in debts.items() if debt > 0}

    def lends(self, wording: str, label: str) -> bool:
        """Whether a class may be named in this wording once more while it is there: not if it is owed too much."""
        return wording not in self.debts or self.debts[wording][label] < CREDIT

    def owe(self, wording: str, label: str, times: int) -> None:
        """Note that a class should be named so many times more without being there; below zero: that it just was."""
        self.debts.setdefault(wording, Counter())[label] += times


def compatible(first: HeardSource, second: HeardSource) -> bool:
    """Whether two sources may share a clip: no label in common and different regions (BAT, appendix F)."""
    return first.position.region != second.position.region and not _share_label(first, second)


def _share_label(first: HeardSource, second: HeardSource) -> bool:
    return not {label.lower() for label in first.labels}.isdisjoint(label.lower() for label in second.labels)


def generate(
    sources: Sequence[HeardSource],
    types: Sequence[QuestionType],
    rng: np.random.Generator,
    n: int,
    *,
    split: Split = "train",
    known_labels: Sequence[str] | None = None,
    margins: Margins | None = None,
    balance: Balance | None = None,
    typed: bool = True,
    simple: bool = False,
    kinds: Sequence[str] = (),
) -> list[Question]:
    """Up to ``n`` different questions about a clip with one to four sources, with their true answers.

    Args:
        sources: What sounds where. Any two must be :func:`compatible`, as a source is named by one of its labels.
        types: What may be asked; one is drawn per question, so a type given twice comes twice as often. Types for
            another number of sources (:attr:`QuestionType.sources`) are passed over.
        rng: All randomness; the same generator state gives the same questions.
        n: How many are wanted. Fewer come back where the scene does not admit more.
        split: Which wordings: ``train``, ``eval`` for those kept back from it, or ``all``.
        known_labels: Classes that may be asked about, or offered to choose from, without their being there; those
            related to what is there are left out (:func:`~bat_agent.questions.families.unrelated_labels`). Default: all
            355.
        margins: What is clear enough to ask about.
        balance: Levels answers over scenes; share one over all calls.
        simple: Always the first wording, and names and directions said in one way, as typed by nobody: for a language
            model that has yet to find out what is asked. ``split`` and ``typed`` then play no part.
        kinds: Beginnings of the kinds (:attr:`Question.kind`) that are asked, e.g. ``is_side``; all if there are none.
        typed: Whether case, articles and marks vary as people type (:func:`~bat_agent.questions.grammar.vary`).

    Raises :class:`~bat_agent.errors.BadInput` for a wrong number of sources, two that cannot be told apart by name or
    region, or types that are unknown or cannot be asked of that number of sources.
    """
    _check(sources)
    fitting, beginnings = _fitting(tuple(types), len(sources)), tuple(kinds)
    dice = Dice(sources, rng, margins or Margins(), known_labels, simple, balance.owed if balance else None)
    found: dict[str, Question] = {}
    for _ in range(_TRIES * n):
        if len(found) >= n:
            break
        question_type, builders = dice.pick(fitting)
        draft = (builders[0] if len(builders) == 1 else dice.pick(builders))(dice)
        if draft is None or (beginnings and not _kind(draft).startswith(beginnings)):
            continue
        text = _worded(draft, dice, split, typed)
        if text in found or (balance is not None and not _admitted(draft, balance)):
            continue
        choices = draft.choices or choices_for(draft.answer)
        found[text] = Question(question_type, text, draft.answer, choices, _kind(draft))
    return list(found.values())


def _check(sources: Sequence[HeardSource]) -> None:
    count = len(sources)
    if not 1 <= count <= MAX_SOURCES:
        raise BadInput(
            f"questions need one or two sources, three or four with types made for them, got {count}; ask about the "
            "strongest"
        )
    alike = len({source.position.region for source in sources}) < count
    if alike or any(_share_label(sources[a], sources[b]) for a in range(count) for b in range(a)):
        raise BadInput("two sources must share no label and lie in different regions; draw another pair (compatible)")


@lru_cache(maxsize=256)
def _fitting(types: tuple[QuestionType, ...], count: int) -> tuple[tuple[QuestionType, tuple[Builder, ...]], ...]:
    """The types that can be asked of so many sources, each with its builders."""
    try:
        known = [QuestionType(name) for name in types]
    except ValueError as error:
        raise BadInput(f"{error}; expected some of {', '.join(QuestionType)}") from None
    fitting = tuple((kind, _builders(kind, count)) for kind in known if count in kind.sources)
    if not fitting:
        names = ", ".join(kind.value for kind in known) or "no type"
        raise BadInput(f"{names} cannot be asked of {count} source(s); give a type that fits")
    return fitting


def _builders(question_type: QuestionType, count: int) -> tuple[Builder, ...]:
    if question_type is QuestionType.PLAIN:
        return PLAIN[count]
    for table in (BUILDERS, BEYOND):
        if question_type in table:
            return table[question_type]
    if question_type is QuestionType.FREE:
        raise BadInput("free questions are not made here; bat_agent.questions.free.ask_free makes them")
    raise BadInput(f"nothing builds questions of type {question_type.value}; add it to BUILDERS or BEYOND")


def _worded(draft: Draft, dice: Dice, split: Split, typed: bool) -> str:
    template = _templates(draft.wording, "train")[0] if dice.simple else dice.pick(_templates(draft.wording, split))
    text = template.format(**draft.slots).replace("source of the sound source", "source of the sound")
    text = text[0].upper() + text[1:]
    return vary(text, dice.rng) if typed and not dice.simple else text


@lru_cache(maxsize=256)
def _templates(wording: str, split: Split) -> tuple[str, ...]:
    chosen = BEYOND_WORDINGS.get(wording)
    if chosen is None:
        return wordings(wording, split)
    if split not in ("train", "eval", "all"):
        raise BadInput(f"split of question wordings must be 'train', 'eval' or 'all', got {split!r}")
    return {"train": chosen.train, "eval": chosen.held_out, "all": chosen.train + chosen.held_out}[split]


def known_kinds(beginnings: Sequence[str]) -> tuple[str, ...]:
    """The same beginnings of kinds; one that no kind of question has raises :class:`~bat_agent.errors.BadInput`."""
    for beginning in beginnings:
        known = (*WORDINGS, *BEYOND_WORDINGS)
        if not any(kind.startswith(beginning.split(".")[0]) for kind in known):
            raise BadInput(f"no kind of question begins with {beginning!r}, expected some of {', '.join(known)}")
    return tuple(beginnings)


def _kind(draft: Draft) -> str:
    return f"{draft.wording}.{draft.detail}" if draft.detail else draft.wording


def _admitted(draft: Draft, balance: Balance) -> bool:
    if any(times > 0 and not balance.lends(draft.wording, label) for label, times in draft.debts):
        return False
    # Questions with labels as choices differ from clip to clip and have nothing to be levelled.
    answer, choices = draft.level or (draft.answer, draft.choices)
    if choices is not None and (draft.level or choices in _LEVELLED):
        # Classes may each be ahead by one, so all of them together are levelled as well.
        together = f"{TOGETHER}{draft.wording}" if draft.debts else ""
        if together and balance.ahead(together, answer, choices) >= CREDIT:
            return False
        key = f"{draft.wording} {draft.key}" if draft.key else draft.wording
        if not balance.take(key, answer, choices):
            return False
        if together:
            balance.counts[together, answer] += 1
    for label, times in draft.debts:
        balance.owe(draft.wording, label, times)
    return True
