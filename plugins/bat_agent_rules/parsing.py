"""What a question asks, read by keywords: which kind, about which sounds, on which sides, at which distance.

The wordings of :mod:`bat_agent.questions.grammar` are the measure, but none is looked for as a whole. Sounds become
``<0>``, ``<1>`` and directions ``@left`` … in a text without articles and marks; then a few patterns decide. Where a
word that ought to name a sound is none of the 355 classes, the question counts as not understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from bat_agent.questions.answers import AXES
from bat_agent_rules.vocabulary import WORDS, find_label

AXIS_OF = {word: axis for axis, words in AXES.items() for word in words}
"""Direction word → axis."""


@dataclass(frozen=True)
class Request:
    """A question that was understood."""

    kind: str
    """Key of the wordings in :data:`bat_agent.questions.grammar.WORDINGS`, or ``any_side`` (is
    anything there?), or ``which_on`` (which of two is there?)."""
    sounds: tuple[tuple[int, ...], ...] = ()
    """The sounds it names, in the order of speaking; each by one or more class numbers (``dog barking``)."""
    sides: tuple[str, ...] = ()
    """The direction words, in the order of speaking."""
    distance_m: float | None = None
    """The distance it mentions."""


# In all patterns articles are gone already.
_SHORT = (
    # What to say where nothing is heard is said anyway.
    (re.compile(r"""[,.?!]?\s*(?:(?:or is it|say|answer|reply)\s*)?["'“]not heard["'”].*$"""), ""),
    (re.compile(r"[’`´]"), "'"),
    (re.compile(r"\bcan't\b|\bcannot\b"), "can"),
    (re.compile(r"n't\b"), ""),
    (re.compile(r"\b(where|what|who|how|it|that|there)'?s\b"), r"\1 is"),
    # "right behind you" is not on the right; the region "right, behind, above" has a comma.
    (re.compile(r"\bright (?=behind|in front|above|below|ahead|over|under|now|here|there)"), ""),
)
_ARTICLES = frozenset(("the", "a", "an", "any"))
_LEAD = re.compile(
    r"^(?:please |would you say (?:that )?|is it (?:true|correct) (?:that )?|is it right that |do you think (?:that )?"
    r"|seen from where you are )+"
)
_SIDE_WORDS = {
    "left": r"left(?:wards?|most)?",
    "right": r"right(?:wards?|most)?",
    "front": r"(?:in )?front|ahead|forwards?",
    "behind": r"behind|at (?:your|my) back|back(?:wards?)?|rear",
    "above": r"above|overhead|over (?:your|my) head|higher|upwards?|(?<=from )up|(?<=is )up|(?<=or )up|up(?= or)",
    "below": r"below|under(?:neath)?|beneath|lower|downwards?|(?<=from )down|(?<=is )down|(?<=or )down|down(?= or)",
}
_SIDE = re.compile("|".join(rf"(?P<{word}>\b(?:{pattern})\b)" for word, pattern in _SIDE_WORDS.items()))
_NOUN = r"(?:sounds?|noises?|source|sources)"
_NAMED_SOUND = re.compile(rf"(?:\b{_NOUN} (?:source )?(?:of|from|made by|coming from) )+(?=<)")
_SOUND_AFTER = re.compile(rf"(<\d+>)(?: 's)?(?: {_NOUN}\b)?")

_SIDE_END = r"(?: hand)?(?: sides?)?"
_RELATIVE = re.compile(rf"@\w+{_SIDE_END}(?P<of> of| than)?(?: that of)? <(?P<b>\d+)>")
_TWO_WAY = re.compile(r"@\w+.*\bor\b.*@\w+")
_AFTER_SIDE = re.compile(rf"@\w+{_SIDE_END}(?: of| than)? (?P<next>[a-z]+)")
_AFTER_SOUND = re.compile(rf"\b{_NOUN} (?:of|from|made by) (?P<next>[a-z]+)")
# Words that may follow a direction, or "the sound of", without being a sound that is no class.
_HARMLESS = re.compile(
    r"you|your|me|my|us|here|there|and|or|of|than|as|while|both|where|how|far|distance|it|that|this|audio|clip|recording"
    r"|is|are|do|does|can|hear|heard|coming|comes?|emanating|reach|reaches|originates?|located|making|please|now|with"
    r"|from|on|in|at|to|by|some|about|around|roughly|approximately|nearly|almost|away|sides?|hand|direction|namely"
    r"|what|which|respectively"
    rf"|{_NOUN}"
)
_ANYTHING = re.compile(r"\b(?:something|anything|someone|anyone|somebody|anybody)\b")
_GENERIC = re.compile(rf"\b(?:{_NOUN}|it|that|this|audio|clip|recording|events?)\b|{_ANYTHING.pattern}")
_BARE = re.compile(
    r"(?:(?:is|are|on|at|to|from|in|of|your|my|you|me|or|and|sides?|hand|do|does|come|coming|@\w+)\b ?)+"
)
_OPEN = re.compile(r"\b(?:what|which|who|identify|list|names?|enumerate|describe)\b")
_COMPARED = re.compile(
    r"\b(?:(?P<closer>closer|nearer|closest|nearest|less (?:distant|far)|(?:shorter|smaller) (?:than )?distance)"
    r"|farther|further|farthest|furthest|more distant|(?:longer|greater|larger) (?:than )?distance)\b"
)
_WHICH_COMPARED = re.compile(rf"\b(?:which|what|who)(?: one| {_NOUN})?(?: of \w+)? (?:is|sounds|comes)\b")
_EITHER = re.compile(r"<0> or <1>")
_WHICH_SIDE = re.compile(r"\b(?:which|what) side\b")
_WHICH_SIDE_OF = re.compile(r"\b(?:which|what) side of <(?P<b>\d+)>")
_LOCATE = re.compile(r"\b(?:where|wherefrom|whereabouts|locate|location|position|direction|(?:which|what) place)\b")
_DISTANCE = re.compile(r"\b(?:how (?:far|close|near|distant)|distance|how many met(?:er|re)s?)\b")
_APART = re.compile(rf"{_DISTANCE.pattern}|\b(?:apart|between)\b")
_FAR_OFF = re.compile(r"\b(?:how (?:far|close|near|distant)|how many met(?:er|re)s?|what is distance)\b")
_METRES = re.compile(r"(\d+(?:\.\d+)?) (?:m|met(?:er|re)s?)\b")
_PRESENT = re.compile(
    rf"\b(?:hear|heard|hearing|there|audible|contains?|detect|recogni[sz]e|notice|present|sounding|that|this|it|{_NOUN})\b"
    r"|^(?:is |are )?<0>$"
)
_DETECT = re.compile(
    rf"\b(?:{_OPEN.pattern}|recogni[sz]e)\b.*\b(?:{_NOUN}|hear|heard|sounding|audible|audio|recording|clip)\b"
    r"|\b(?:what|who) (?:is|was) (?:that|this|it|there)$"
)
_BEYOND = re.compile(r"\bhow (?!would)|\b(?:why|when|loud\w*|quiet\w*|many|time|long|often)\b")


@dataclass(frozen=True)
class _Clause:
    """A question in the normal form of this module."""

    text: str
    sounds: tuple[tuple[int, ...], ...]

    def has(self, pattern: re.Pattern[str]) -> bool:
        return pattern.search(self.text) is not None

    @cached_property
    def sides(self) -> tuple[str, ...]:
        return tuple(re.findall(r"@(\w+)", self.text))

    @property
    def axes(self) -> list[str]:
        return [AXIS_OF[word] for word in self.sides]

    @property
    def two_way(self) -> bool:
        """``left or right``: two opposite words to choose from."""
        opposite = len(self.sides) == 2 and self.sides[0] != self.sides[1] and self.axes[0] == self.axes[1]
        return opposite and self.has(_TWO_WAY)

    @property
    def contradictory(self) -> bool:
        """Several words of one axis, as in ``left and right``."""
        return len(set(self.axes)) < len(self.axes)

    @property
    def relative_to_unknown(self) -> bool:
        """``left of the unicorn``, ``the sound of the unicorn``."""
        after = [*_AFTER_SIDE.finditer(self.text), *_AFTER_SOUND.finditer(self.text)]
        return not all(_HARMLESS.fullmatch(match["next"]) for match in after)

    @property
    def has_subject(self) -> bool:
        """Whether it is clear what the question is about: a named sound, "the sound", "it", or nothing but sides."""
        return bool(self.sounds) or self.has(_GENERIC) or _BARE.fullmatch(self.text) is not None


@lru_cache(maxsize=4096)
def parse(question: str) -> Request | None:
    """What the question asks; ``None`` where it is not understood."""
    clause = _normal(question)
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


def _normal(question: str) -> _Clause:
    text = question.lower()
    for pattern, replacement in _SHORT:
        text = pattern.sub(replacement, text)
    words, sounds = _name_sounds(WORDS.findall(text))
    text = " ".join(word for word in words if word not in _ARTICLES)
    text = _NAMED_SOUND.sub("", _LEAD.sub("", text))
    text = _SOUND_AFTER.sub(r"\1", text)
    return _Clause(_SIDE.sub(lambda match: f"@{match.lastgroup}", text), sounds)


def _name_sounds(words: list[str]) -> tuple[list[str], tuple[tuple[int, ...], ...]]:
    """The words with ``<number>`` for each name of a sound; names side by side (``dog barking``) are one sound."""
    found: list[list[int]] = []
    out: list[str] = []
    position = 0
    while position < len(words):
        match = find_label(words[position:])
        if match is None:
            out.append(words[position])
            position += 1
            continue
        number, length = match
        if out and out[-1].startswith("<"):
            found[-1].append(number)
        else:
            out.append(f"<{len(found)}>")
            found.append([number])
        position += length
    return out, tuple(tuple(dict.fromkeys(numbers)) for numbers in found)


def _comparison(clause: _Clause) -> Request | None:
    """Closer or farther; never a question about one sound, as there is nothing to compare it with."""
    word = _COMPARED.search(clause.text)
    kind = "closer" if word and word["closer"] else "farther"
    choice = clause.has(_WHICH_COMPARED) or clause.has(_EITHER)
    if choice and len(clause.sounds) in (0, 2):
        return Request(f"which_{kind}", clause.sounds)
    if not choice and len(clause.sounds) == 2 and not clause.sides:
        return Request(kind, clause.sounds)
    return None


def _relative(clause: _Clause, b: int, of: bool) -> Request | None:
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


def _about_two(clause: _Clause) -> Request | None:
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
    if len(clause.sides) == 2 and not clause.has(_TWO_WAY):
        return Request("pair", sounds, clause.sides)
    return None


def _about_sides(clause: _Clause) -> Request | None:
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
    anything = not clause.sounds and clause.has(_ANYTHING)
    return Request("any_side" if anything else "is_side", clause.sounds, clause.sides)


def _about_one(clause: _Clause) -> Request | None:
    """No direction word, and at most one named sound."""
    if clause.has_subject:
        for kind, pattern in (("which_side", _WHICH_SIDE), ("locate", _LOCATE), ("distance", _DISTANCE)):
            if clause.has(pattern):
                return Request(kind, clause.sounds)
    if clause.sounds:
        yes_no = clause.has(_PRESENT) and not clause.has(_OPEN) and not clause.has(_BEYOND)
        return Request("presence", clause.sounds) if yes_no else None
    return Request("detect") if clause.has(_DETECT) and not clause.has(_BEYOND) else None
