"""Questions with their true answers, made from what sounds where (BAT, section 3.2 and appendix F).

What can be asked is in :mod:`bat_agent.questions.builders`, how it is worded in :mod:`bat_agent.questions.grammar`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.questions.answers import AXES, YES_NO, HeardSource, choices_for
from bat_agent.questions.builders import BUILDERS, PLAIN, Dice, Draft, Margins
from bat_agent.questions.grammar import WORDINGS, Split, vary, wordings
from bat_agent.questions.records import QuestionType

_TRIES = 20  # attempts per question wanted, as a scene may not admit a kind or an answer


@dataclass(frozen=True)
class Question:
    """A question with its true answer."""

    type: QuestionType
    """Its released type, or ``PLAIN``."""
    text: str
    """The question as asked."""
    answer: str
    """The true answer."""
    choices: tuple[str, ...] | None
    """The closed set that the answer was taken from; ``None`` for labels, locations and distances."""
    kind: str
    """What is asked, finer than the type, e.g. ``relation.left_right`` or ``presence``."""


@dataclass
class Balance:
    """Keeps answers of two-way questions level over many scenes; give the same one to all calls of :func:`generate`.

    Within one scene a coin balances the answers. Over scenes a bias of the world may remain (most sources lie below the
    ears, so "are both below?" is mostly true); this refuses an answer that is ahead of the other one of the same
    question. Presence is levelled per class.
    """

    slack: int = 1
    """By how many questions one answer may be ahead."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Questions taken so far by (question, answer)."""

    def take(self, key: str, answer: str, choices: Sequence[str]) -> bool:
        """Count this answer, or refuse it because it is ahead."""
        others = min(self.counts[key, choice] for choice in choices if choice != answer)
        if self.counts[key, answer] - others >= self.slack:
            return False
        self.counts[key, answer] += 1
        return True


def compatible(first: HeardSource, second: HeardSource) -> bool:
    """Whether two sources may share a clip: no label in common and different regions (BAT, appendix F)."""
    shared = {label.lower() for label in first.labels} & {label.lower() for label in second.labels}
    return not shared and first.position.region != second.position.region


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
    """Up to ``n`` different questions about a clip with one or two sources, with their true answers.

    Args:
        sources: What sounds where. Two sources must be :func:`compatible`, as a source is named by one of its labels.
        types: What may be asked; one is drawn per question, so a type given twice comes twice as often. Types for
            another number of sources are passed over.
        rng: All randomness; the same generator state gives the same questions.
        n: How many are wanted. Fewer come back where the scene does not admit more.
        split: Which wordings: ``train``, ``eval`` for those kept back from it, or ``all``.
        known_labels: Classes that "can you hear a …?" may ask about without their being there; those related to what is
            there are left out (:func:`~bat_agent.questions.families.unrelated_labels`). Default: all 355.
        margins: What is clear enough to ask about.
        balance: Levels answers over scenes; share one over all calls.
        simple: Always the first wording, and names and directions said in one way, as typed by nobody: for a language
            model that has yet to find out what is asked. ``split`` and ``typed`` then play no part.
        kinds: Beginnings of the kinds (:attr:`Question.kind`) that are asked, e.g. ``is_side``; all if there are none.
        typed: Whether case, articles and marks vary as people type (:func:`~bat_agent.questions.grammar.vary`).

    Raises :class:`~bat_agent.errors.BadInput` for a wrong number of sources, two that cannot be told apart by name or
    region, or types that cannot be asked of that number of sources.
    """
    if len(sources) not in (1, 2):
        raise BadInput(f"questions need one or two sources, got {len(sources)}; ask about the two strongest")
    if len(sources) == 2 and not compatible(*sources):
        raise BadInput("two sources must share no label and lie in different regions; draw another pair (compatible)")
    fitting = [t for t in types if QuestionType(t).num_sources in (None, len(sources))]
    if not fitting:
        names = ", ".join(QuestionType(t).value for t in types) or "no type"
        raise BadInput(f"{names} cannot be asked of {len(sources)} source(s); give a type that fits")
    dice = Dice(sources, rng, margins or Margins(), known_labels, simple)
    found: dict[str, Question] = {}
    for _ in range(_TRIES * n):
        if len(found) >= n:
            break
        question_type = QuestionType(fitting[rng.integers(len(fitting))])
        builders = BUILDERS.get(question_type) or PLAIN[len(sources)]
        draft = builders[rng.integers(len(builders))](dice)
        if draft is None or (kinds and not _kind(draft).startswith(tuple(kinds))):
            continue
        text = _worded(draft, dice, split, typed)
        if text in found or not _admitted(draft, balance):
            continue
        choices = draft.choices or choices_for(draft.answer)
        found[text] = Question(question_type, text, draft.answer, choices, _kind(draft))
    return list(found.values())


def _worded(draft: Draft, dice: Dice, split: Split, typed: bool) -> str:
    template = wordings(draft.wording)[0] if dice.simple else dice.pick(wordings(draft.wording, split))
    text = template.format(**draft.slots)
    text = text[0].upper() + text[1:]
    return vary(text, dice.rng) if typed and not dice.simple else text


def known_kinds(beginnings: Sequence[str]) -> tuple[str, ...]:
    """The same beginnings of kinds; one that no kind of question has raises :class:`~bat_agent.errors.BadInput`."""
    for beginning in beginnings:
        if not any(kind.startswith(beginning.split(".")[0]) for kind in WORDINGS):
            raise BadInput(f"no kind of question begins with {beginning!r}, expected some of {', '.join(WORDINGS)}")
    return tuple(beginnings)


def _kind(draft: Draft) -> str:
    return f"{draft.wording}.{draft.detail}" if draft.detail else draft.wording


def _admitted(draft: Draft, balance: Balance | None) -> bool:
    # Questions with labels as choices differ from clip to clip and have nothing to be levelled.
    if balance is None or draft.choices not in (YES_NO, *AXES.values()):
        return True
    assert draft.choices is not None
    return balance.take(f"{draft.wording} {draft.key}".rstrip(), draft.answer, draft.choices)
