"""The voices, and which of them are kept back: the wordings of every intent by who asks."""

from __future__ import annotations

from functools import cache

from bat_agent.errors import BadInput
from bat_agent.questions.free import (
    voice_blind,
    voice_child,
    voice_gamer,
    voice_guard,
    voice_operator,
    voice_plain,
    voice_rambling,
    voice_second_language,
    voice_terse,
    voice_typos,
)
from bat_agent.questions.grammar import Split

TRAIN: dict[str, dict[str, tuple[str, ...]]] = {
    "plain": voice_plain.WORDINGS,
    "operator": voice_operator.WORDINGS,
    "child": voice_child.WORDINGS,
    "gamer": voice_gamer.WORDINGS,
    "terse": voice_terse.WORDINGS,
    "rambling": voice_rambling.WORDINGS,
    "typos": voice_typos.WORDINGS,
}
"""Voices of training."""
HELD_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "blind": voice_blind.WORDINGS,
    "guard": voice_guard.WORDINGS,
    "second language": voice_second_language.WORDINGS,
}
"""Voices of validation, none of whose wordings is ever trained on."""


@cache
def voices(split: Split) -> dict[str, dict[str, tuple[str, ...]]]:
    """The voices of a split: ``train``, ``eval`` for those kept back, ``all``."""
    if split == "all":
        return TRAIN | HELD_OUT
    if split not in ("train", "eval"):
        raise BadInput(f"split of question wordings must be 'train', 'eval' or 'all', got {split!r}")
    return TRAIN if split == "train" else HELD_OUT
