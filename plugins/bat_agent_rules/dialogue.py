"""What a question means behind those before it: "and how far is it?", "and the siren?", "is it louder than the dog?".

The last question that was understood is kept as its :class:`~bat_agent_rules.clause.Request`, with the sound that it
was about, or that its answer named. A later one takes from it what it leaves out: the sound, or the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from bat_agent.labels import label_index, labels
from bat_agent.questions.answers import parse_labels
from bat_agent.questions.history import split_history
from bat_agent_rules.clause import NOUN, Request, normal_form
from bat_agent_rules.parsing import parse

_LEAD = re.compile(r"^(?:(?:and|so|but|then|ok|okay|yes|no|what about|how about|also)[ ,]+)+", re.IGNORECASE)
_IT = re.compile(
    r"\b(?:it(?! (?:safe|clear|quiet|silent|true|correct|possible|ok|okay)\b)|its|he|him|she|her|they|them"
    r"|that one|this one)\b",
    re.IGNORECASE,
)
_THAT = re.compile(r"\b(?:that|this)\b", re.IGNORECASE)
_NAMELESS = re.compile(rf"\b{NOUN}\b|\b(?:anything|something|anyone|someone|anybody|somebody|one|thing)\b")
_OTHER = re.compile(rf"(?:where is )?other(?: one| {NOUN})?")
_WHAT = re.compile(r"(?:what|who)(?: is (?:it|that|there))?")
_ONE_SOUND = frozenset((
    "locate", "distance", "side", "which_side", "is_side", "clock", "azimuth", "elevation", "turn", "turn_degrees",
    "heading", "within", "beyond", "at_hour", "at_degrees", "moving", "where_else", "what_else", "any_else",
))  # fmt: skip
"""Kinds that are about one sound, named or meant."""
_OF_SIDES = frozenset(("any_side", "is_side", "detect_at", "count", "safe"))
"""Kinds that may be asked of one side after another."""
_NAMING = frozenset(("detect", "detect_at", "first", "which_closer", "which_farther", "which_more", "which_on",
                     "what_else", "source_on", "what_between"))  # fmt: skip


@dataclass(frozen=True)
class Before:
    """What is left of a conversation."""

    request: Request
    """The last question that was understood."""
    sound: tuple[int, ...] = ()
    """What "it" is; nothing where that is not clear."""
    nameless: bool = False
    """Whether the talk is of a sound without a name, "the other one": then nobody knows what "it" is."""


@lru_cache(maxsize=4096)
def understood(text: str) -> Request | None:
    """What a question asks, alone or behind others as :func:`bat_agent.questions.history.with_history` writes them."""
    history, question = split_history(text)
    before: Before | None = None
    for asked, said in history:
        before = _after(asked, said, before)
    return _read(question, before)


def _after(asked: str, said: str, before: Before | None) -> Before | None:
    """What is left of a conversation after one more question."""
    request = _read(asked, before)
    if request is None:  # what it named may be spoken of all the same
        spoken_of = set(normal_form(asked).sounds)
        return Before(Request("presence", tuple(spoken_of)), spoken_of.pop()) if len(spoken_of) == 1 else before
    if request.kind == "where_else":
        return Before(request, nameless=True)
    sounds = request.sounds or normal_form(asked).sounds
    sound = sounds[0] if sounds else ()
    if request.kind in _NAMING and (named := parse_labels(said, labels())):
        lower = {name.lower(): number for name, number in label_index().items()}
        sound = tuple(lower[name] for name in named)
    return Before(request, sound or (before.sound if before else ()))


def _read(question: str, before: Before | None) -> Request | None:
    if before is None:
        return parse(question)
    bare = _LEAD.sub("", question.strip())
    alone = parse(bare)
    if alone is not None and alone.sounds and _fragment(bare, bare != question.strip(), before) is None:
        return alone
    if before.sound:
        name = labels()[before.sound[0]].lower()
        for pronoun in (_IT, _THAT):
            named = pronoun.sub(f"the {name}", bare, count=1)
            if named != bare and (found := parse(named)) is not None:
                return replace(found, sounds=tuple(_meant(sound, before) for sound in found.sounds))
    found = _fragment(bare, bare != question.strip(), before) or alone or parse(question)
    if found is None and before.sound:  # "how far?", "where?"
        found = parse(f"{bare.rstrip('?!. ')} is the {labels()[before.sound[0]].lower()}")
    return _filled(found, bare, before)


def _meant(sound: tuple[int, ...], before: Before) -> tuple[int, ...]:
    """All classes of what "it" is, which was named by its first."""
    return before.sound if sound == before.sound[:1] else sound


def _fragment(text: str, led: bool, before: Before) -> Request | None:
    """ "And the siren?" and "behind me?": the last question again, of another sound or side."""
    clause, last = normal_form(text), before.request
    if _OTHER.fullmatch(clause.text) and before.sound:
        return Request("where_else", (before.sound,))
    if _WHAT.fullmatch(clause.text) and last.kind == "any_side":
        return Request("detect_at", (), last.sides)
    rest = re.sub(r"<\d>|@\w+|\b(?:on|to|from|at|in|of|my|me|your|you|is|it|one|other|sides?|hand)\b", "", clause.text)
    if rest.strip():
        return None
    if len(clause.sounds) == 1 and not clause.sides and len(last.sounds) == 1 and (led or last.kind != "presence"):
        return replace(last, sounds=clause.sounds)
    if clause.sounds or not clause.sides or clause.contradictory:
        return None
    if last.kind in _OF_SIDES:
        return replace(last, sides=clause.sides)
    return Request("is_side", (before.sound,), clause.sides) if before.sound else None


def _filled(found: Request | None, text: str, before: Before) -> Request | None:
    """A question about one sound that names none is about the last."""
    if found is None or found.sounds or found.kind not in _ONE_SOUND:
        return found
    if before.nameless and (_IT.search(text) or _THAT.search(text)):
        return None
    if not before.sound:
        return found
    if _NAMELESS.search(text.lower()) and found.kind not in ("where_else", "what_else", "any_else"):
        return found
    return replace(found, sounds=(before.sound,))
