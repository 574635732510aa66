"""What a question asks, read by keywords: which kind, about which sounds, on which sides, at which distance.

The wordings of :mod:`bat_agent.questions.grammar` are the measure, but none is looked for as a whole. Sounds become
``<0>``, ``<1>`` and directions ``@left`` … in a text without articles and marks; then a few patterns decide. Where a
word that ought to name a sound is none of the 355 classes, the question counts as not understood.
"""

from __future__ import annotations

import re
from functools import lru_cache

from bat_agent.questions.answers import AXES
from bat_agent_rules.clause import ANYTHING, NOUN, SIDE_END, TWO_WAY, Clause, Request, normal_form
from bat_agent_rules.everyday import read_everyday, read_rest
from bat_agent_rules.spelling import mended

_RELATIVE = re.compile(rf"@\w+{SIDE_END}(?P<of> of| than)?(?: that of)? <(?P<b>\d+)>")
_OPEN = re.compile(r"\b(?:what|which|who|identify|list|names?|enumerate|describe)\b")
_COMPARED = re.compile(
    r"\b(?:(?P<closer>closer|nearer|closest|nearest|less (?:distant|far)|(?:shorter|smaller) (?:than )?distance)"
    r"|farther|further|farthest|furthest|more distant|(?:longer|greater|larger) (?:than )?distance)\b"
)
_WHICH_COMPARED = re.compile(rf"\b(?:which|what|who)(?: one| {NOUN})?(?: of \w+)? (?:is|sounds|comes)\b")
_EITHER = re.compile(r"<0> or <1>")
_WHICH_SIDE = re.compile(r"\b(?:which|what) side\b")
_WHICH_SIDE_OF = re.compile(r"\b(?:which|what) side of <(?P<b>\d+)>")
_LOCATE = re.compile(r"\b(?:where|wherefrom|whereabouts|locate|location|position|direction|(?:which|what) place)\b")
_DISTANCE = re.compile(r"\b(?:how (?:far|close|near|distant)|distance|range|how many met(?:er|re)s?)\b")
_APART = re.compile(rf"{_DISTANCE.pattern}|\b(?:apart|between)\b")
_FAR_OFF = re.compile(r"\b(?:how (?:far|close|near|distant)|how many met(?:er|re)s?|what is distance)\b")
_METRES = re.compile(r"(\d+(?:\.\d+)?) (?:m|met(?:er|re)s?)\b")
_PRESENT = re.compile(
    rf"\b(?:hear|heard|hearing|there|audible|contains?|detect|recogni[sz]e|notice|present|sounding|that|this|it|{NOUN})\b"
    r"|^(?:is |are )?<0>$"
)
_DETECT = re.compile(
    rf"\b(?:{_OPEN.pattern}|recogni[sz]e)\b.*\b(?:{NOUN}|hear|heard|sounding|audible|audio|recording|clip)\b"
    r"|\b(?:what|who) (?:is|was) (?:that|this|it|there)$"
)
_BEYOND = re.compile(r"\bhow (?!would)|\b(?:why|when|loud\w*|quiet\w*|many|time|long|often)\b")


@lru_cache(maxsize=4096)
def parse(question: str) -> Request | None:
    """What the question asks; ``None`` where it is not understood, also with words mended that one slip spoilt."""
    found = _read(normal_form(question))
    if found is None and (guess := mended(question)) != question.lower():
        found = _read(normal_form(guess))
    return found


def _read(clause: Clause) -> Request | None:
    return read_everyday(clause) or _read_paper(clause) or read_rest(clause)


def _read_paper(clause: Clause) -> Request | None:
    """The questions of the paper, in any wording."""
    if re.search(r"\b(?:not|without|except)\b", clause.text) or len(clause.sounds) > 2:
        return None
    if clause.has(_COMPARED):
        return _comparison(clause)
    if clause.has(_EITHER) and len(clause.sides) == 1:
        return Request("which_on", clause.sounds, clause.sides)
    if relative := _RELATIVE.search(clause.text):
        return _relative(clause, int(relative["b"]), bool(relative["of"]))
    if clause.relative_to_unknown:
        return None
    if len(clause.sounds) == 2:
        return _about_two(clause)
    if clause.sides:
        return _about_sides(clause)
    return _about_one(clause)


def _comparison(clause: Clause) -> Request | None:
    """Closer or farther; never a question about one sound, as there is nothing to compare it with."""
    word = _COMPARED.search(clause.text)
    kind = "closer" if word and word["closer"] else "farther"
    choice = clause.has(_WHICH_COMPARED) or clause.has(_EITHER)
    if choice and len(clause.sounds) in (0, 2):
        return Request(f"which_{kind}", clause.sounds)
    if not choice and len(clause.sounds) == 2 and not clause.sides:
        return Request(kind, clause.sounds)
    return None


def _relative(clause: Clause, b: int, of: bool) -> Request | None:
    """One sound seen from another, number ``b``; ``of`` tells "left of b" from "left b"."""
    sounds = clause.sounds
    if len(sounds) == 2:
        if clause.two_way:
            return Request("which_side_of", (sounds[1 - b], sounds[b]), clause.sides)
        return None if clause.contradictory else Request("relation", (sounds[1 - b], sounds[b]), clause.sides)
    if clause.contradictory:
        return None
    if clause.has(_OPEN):
        return Request("source_on", sounds, clause.sides)
    # "Is there on the left a dog?"; but "is the unicorn left of the dog?" has a subject that is no sound.
    if not of and re.search(r"\b(?:hear|there) (?:(?:on|to|at|from|your|my) )*@", clause.text):
        return Request("is_side", sounds, clause.sides)
    return None


def _about_two(clause: Clause) -> Request | None:
    sounds = clause.sounds
    if not clause.sides:
        if side_of := _WHICH_SIDE_OF.search(clause.text):
            b = int(side_of["b"])
            return Request("which_side_of", (sounds[1 - b], sounds[b]), AXES["left_right"])
        if clause.has(_APART):
            return Request("between", sounds)
        asked = clause.has(_PRESENT) and not clause.has(_OPEN) and not clause.has(_LOCATE)
        return Request("presence", sounds) if asked and " or " not in clause.text else None
    if len(clause.sides) == 1:
        return Request("both", sounds, clause.sides)
    if len(clause.sides) == 2 and not clause.has(TWO_WAY):
        return Request("pair", sounds, clause.sides)
    return None


def _about_sides(clause: Clause) -> Request | None:
    """Directions as the listener sees them, and at most one named sound."""
    if clause.two_way:
        return Request("side", clause.sounds, clause.sides) if clause.has_subject else None
    if clause.contradictory:
        return None
    if clause.has(_FAR_OFF):
        return Request("distance", clause.sounds, clause.sides) if clause.has_subject else None
    if clause.has(_OPEN) and not clause.sounds:
        metres = _METRES.search(clause.text)
        return Request("detect_at", (), clause.sides, float(metres[1]) if metres else None)
    if clause.text.startswith(("where", "how")) or clause.has(_OPEN) or not clause.has_subject:
        return None
    anything = not clause.sounds and clause.has(ANYTHING)
    return Request("any_side" if anything else "is_side", clause.sounds, clause.sides)


def _about_one(clause: Clause) -> Request | None:
    """No direction word, and at most one named sound."""
    if clause.has_subject:
        for kind, pattern in (("which_side", _WHICH_SIDE), ("locate", _LOCATE), ("distance", _DISTANCE)):
            if clause.has(pattern):
                return Request(kind, clause.sounds)
    if clause.sounds:
        yes_no = clause.has(_PRESENT) and not clause.has(_OPEN) and not clause.has(_BEYOND)
        return Request("presence", clause.sounds) if yes_no else None
    return Request("detect") if clause.has(_DETECT) and not clause.has(_BEYOND) else None
