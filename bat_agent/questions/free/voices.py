"""The voices, and which of them are kept back: the wordings of every intent by who asks."""

from __future__ import annotations

from typing import Literal

from bat_agent.errors import BadInput
from bat_agent.questions.free import (
    voice_blind,
    voice_child,
    voice_drone,
    voice_editor,
    voice_elder,
    voice_firefighter,
    voice_gamer,
    voice_guard,
    voice_hiker,
    voice_nurse,
    voice_operator,
    voice_parent,
    voice_plain,
    voice_rambling,
    voice_sailor,
    voice_second_language,
    voice_teenager,
    voice_terse,
    voice_tourist,
    voice_trucker,
    voice_typos,
    voice_warehouse,
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
    "nurse": voice_nurse.WORDINGS,
    "trucker": voice_trucker.WORDINGS,
    "teenager": voice_teenager.WORDINGS,
    "elder": voice_elder.WORDINGS,
    "warehouse": voice_warehouse.WORDINGS,
    "editor": voice_editor.WORDINGS,
    "drone": voice_drone.WORDINGS,
    "parent": voice_parent.WORDINGS,
    "hiker": voice_hiker.WORDINGS,
}
"""Voices of training."""
HELD_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "blind": voice_blind.WORDINGS,
    "guard": voice_guard.WORDINGS,
    "second language": voice_second_language.WORDINGS,
}
"""Voices of validation, none of whose wordings is ever trained on."""
JUDGES: dict[str, dict[str, tuple[str, ...]]] = {
    "sailor": voice_sailor.WORDINGS,
    "firefighter": voice_firefighter.WORDINGS,
    "tourist": voice_tourist.WORDINGS,
}
"""Voices that judge what is finished: neither trained on, nor looked at to choose between what was trained."""
VoiceSplit = Split | Literal["judge"]
"""Parts of the voices."""
_VOICES = {"train": TRAIN, "eval": HELD_OUT, "judge": JUDGES, "all": TRAIN | HELD_OUT | JUDGES}


def voices(split: VoiceSplit) -> dict[str, dict[str, tuple[str, ...]]]:
    """The voices of a split: ``train``, ``eval`` for those kept back, ``judge`` for those kept apart, ``all``."""
    if split not in _VOICES:
        raise BadInput(f"split of question wordings must be 'train', 'eval', 'judge' or 'all', got {split!r}")
    return _VOICES[split]
