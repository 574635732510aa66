"""Which questions a stage of the curriculum asks (BAT, section 4.3: A and B, then A to D, then A to E)."""

from __future__ import annotations

from collections.abc import Sequence

from bat_agent.errors import BadInput
from bat_agent.questions import QuestionType

LETTERS: dict[str, tuple[QuestionType, ...]] = {
    "A": (QuestionType.CLASSIFICATION,),
    "B": (QuestionType.DOA,),
    "C": (QuestionType.MIXUP_SINGLE_CLASSIFICATION,),
    "D": (QuestionType.MIXUP_SINGLE_DOA,),
    "E": (QuestionType.MIXUP_DIRECTION, QuestionType.MIXUP_DISTANCE_BOTH),
    "N": (
        QuestionType.MIXUP_NONBINARY_DIRECTION,
        QuestionType.MIXUP_NONBINARY_DISTANCE,
        QuestionType.MIXUP_NONBINARY_SOURCE,
    ),
    "P": (QuestionType.PLAIN,),
    "H": (QuestionType.NOT_HEARD,),
}
"""The paper's letters; N the released non-binary reasoning. The paper lacks P, plain everyday questions, and H, where
something is that may not be heard at all.
"""


def question_types(letters: Sequence[str]) -> list[QuestionType]:
    """The types behind the letters; a letter given twice is asked twice as often."""
    if unknown := [letter for letter in letters if letter not in LETTERS]:
        raise BadInput(f"unknown question types {unknown}, expected letters out of {', '.join(LETTERS)}")
    return [kind for letter in letters for kind in LETTERS[letter]]
