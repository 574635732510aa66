"""Free questions about a scene: an intent, a query, its truth, and the words of a voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.questions.answers import HeardSource, choices_for
from bat_agent.questions.dice import Dice, Margins
from bat_agent.questions.free.intents import INTENTS, WORDED_AS, Intent
from bat_agent.questions.free.names_table import EVERYDAY
from bat_agent.questions.free.phrases import named, slots_of
from bat_agent.questions.free.query import Query
from bat_agent.questions.free.seen import Truth
from bat_agent.questions.free.truth import answer
from bat_agent.questions.free.voices import TRAIN, VoiceSplit, voices
from bat_agent.questions.generator import Balance, Question
from bat_agent.questions.history import with_history
from bat_agent.questions.records import QuestionType

_TRIES = 30
_SMALL = ("terse", "typos", "teenager")  # voices that begin in lower case
_HISTORY_KINDS = {"where": "where", "heard": "is heard", "how_far": "distance", "left_or_right": "side"}


@dataclass(frozen=True)
class FreeQuestion(Question):
    """A question in anybody's words; its kind is the intent and the voice, as in ``how_far.child``."""

    query: Query
    """What it asks."""
    truth: Truth
    """All that is true of it."""

    @property
    def intent(self) -> str:
        """Name of the intent."""
        return self.kind.partition(".")[0]

    @property
    def voice(self) -> str:
        """Who asks."""
        return self.kind.partition(".")[2]


def ask_free(
    sources: Sequence[HeardSource],
    rng: np.random.Generator,
    n: int,
    *,
    intents: Sequence[str] = (),
    split: VoiceSplit = "train",
    known_labels: Sequence[str] | None = None,
    balance: Balance | None = None,
) -> list[FreeQuestion]:
    """Up to ``n`` different free questions about a clip, with their true answers.

    Args:
        sources: What sounds where, one to four.
        rng: All randomness.
        n: How many are wanted; fewer come back where the scene does not admit more.
        intents: What may be asked (names of :data:`~.intents.INTENTS`); by default all that suit the scene.
        split: Whose voices: ``train``, ``eval``, ``judge`` or ``all``.
        known_labels: Classes that may be asked about without being there; by default those with an everyday name.
        balance: Levels answers over scenes; share one over all calls.
    """
    chosen = [intent_of(name) for name in intents or INTENTS]
    moving = any(source.moves_to for source in sources)
    fitting = [i for i in chosen if len(sources) in i.counts and (i.moving or not moving)]
    if not intents and not moving:  # without a moving source around, "is it moving" would always be no
        fitting = [i for i in fitting if not i.moving]
    if not fitting:
        raise BadInput(f"none of these intents suits {len(sources)} source(s); name others, or no intent for all")
    dice = dice_of(sources, rng, known_labels)
    found: dict[str, FreeQuestion] = {}
    for _ in range(_TRIES * n):
        if len(found) >= n:
            break
        asked = ask_one(dice.pick(fitting), dice, split, balance)
        if asked is not None:
            found.setdefault(asked.text, asked)
    return list(found.values())


def dice_of(
    sources: Sequence[HeardSource], rng: np.random.Generator, known_labels: Sequence[str] | None = None
) -> Dice:
    """Dice over a clip, for :func:`ask_one`; a class is called absent only if people have a name for it."""
    known = tuple(label for label in known_labels or EVERYDAY if label in EVERYDAY) or tuple(known_labels or EVERYDAY)
    return Dice(sources, rng, Margins(), known)


def ask_one(intent: Intent, dice: Dice, split: VoiceSplit, balance: Balance | None) -> FreeQuestion | None:
    """One question of an intent; ``None`` where the dice fell on what is unclear, or its answer is ahead of others."""
    query = intent.draw(dice)
    truth = None if query is None else answer(query, dice.sources)
    if query is None or truth is None or _unasked(intent, truth):
        return None
    voice = dice.pick(tuple(voices(split)))
    text = _worded(intent, query, voice, dice, held_out=voice not in TRAIN)
    if text is None or (balance is not None and not _admitted(intent, query, truth, balance)):
        return None
    choices = choices_for(truth.answer) if truth.form in ("yes no", "side") else None
    return FreeQuestion(QuestionType.FREE, text, truth.answer, choices, f"{intent.name}.{voice}", query, truth)


def words_of(intent: Intent, query: Query, dice: Dice, split: VoiceSplit) -> str | None:
    """A query in the words of one of the voices; ``None`` where what came before it has no clear answer."""
    voice = dice.pick(tuple(voices(split)))
    return _worded(intent, query, voice, dice, held_out=voice not in TRAIN)


def intent_of(name: str) -> Intent:
    """An intent by its name; :class:`~bat_agent.errors.BadInput` for an unknown one."""
    if name not in INTENTS:
        raise BadInput(f"no intent is called {name!r}, expected some of {', '.join(INTENTS)}")
    return INTENTS[name]


def _unasked(intent: Intent, truth: Truth) -> bool:
    """Absent sounds have an intent of their own; whoever talks is half of the time not there."""
    return (truth.form == "not heard") != (intent.name == "not_there") and intent.name != "where_someone"


def _worded(intent: Intent, query: Query, voice: str, dice: Dice, held_out: bool) -> str | None:
    slots = slots_of(query, dice, held_out)
    if not query.sounds:  # what cannot be heard is asked of something all the same
        slots |= named((dice.pick(dice.sources[dice.index()].labels).lower(),), dice)
    text = _filled(dice.pick(_templates(intent, query, voice)), slots, voice)
    if not intent.follows:
        return text
    before = Query(
        _HISTORY_KINDS[intent.follows], query.sounds[:1], axis="left right" if intent.follows == "left_or_right" else ""
    )
    truth = answer(before, dice.sources)
    if truth is None:
        return None
    asked = _filled(dice.pick(voices("all")[voice][intent.follows]), slots, voice)
    return with_history([(asked, truth.answer)], text)


def _templates(intent: Intent, query: Query, voice: str) -> tuple[str, ...]:
    """The wordings of an intent; those of the intent that its query belongs to, where it has none of its own."""
    name = WORDED_AS[query.kind] if intent.worded_as else intent.name
    return voices("all")[voice][name]


def _filled(template: str, slots: dict[str, str], voice: str) -> str:
    text = template.format(**slots)
    return text if voice in _SMALL else text[0].upper() + text[1:]


def _admitted(intent: Intent, query: Query, truth: Truth, balance: Balance) -> bool:
    """Answers out of two are kept level, for each intent and for each set of words that may give them away."""
    said_of, choices = _levelled(intent, truth)
    if choices is None:
        return True
    said = Query(query.kind, ("…",) * len(query.sounds), query.sides, query.axis, query.word, query.limit_m,
                 query.turn_deg, query.walk_m, query.walk_to)  # fmt: skip
    by_name = query.sounds[0] if query.kind in ("is heard", "is moving") else ""
    keys = (f"free {intent.name}", f"free {intent.name} {said} {by_name}")
    if any(balance.ahead(key, said_of, choices) >= balance.slack for key in keys):
        return False
    for key in keys:
        balance.counts[key, said_of] += 1
    return True


def _levelled(intent: Intent, truth: Truth) -> tuple[str, tuple[str, ...] | None]:
    """What is kept level, and among which; nothing where answers are open."""
    if intent.name == "where_someone":
        return truth.form, ("place", "not heard")
    return truth.answer, choices_for(truth.answer) if truth.form in ("yes no", "side") else None
