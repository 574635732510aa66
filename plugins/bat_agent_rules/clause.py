"""A question in normal form: sounds as ``<0>``, ``<1>``, directions as ``@left`` …, without articles and marks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from bat_agent.questions.answers import AXES
from bat_agent_rules.vocabulary import WORDS, find_label

AXIS_OF = {word: axis for axis, words in AXES.items() for word in words}
"""Direction word → axis."""


@dataclass(frozen=True)
class Request:
    """A question that was understood."""

    kind: str
    """Key of the wordings in :data:`bat_agent.questions.grammar.WORDINGS`, or ``any_side`` (is
    anything there?), or ``which_on`` (which of two is there?), or a kind of :mod:`bat_agent_rules.everyday`."""
    sounds: tuple[tuple[int, ...], ...] = ()
    """The sounds it names, in the order of speaking; each by one or more class numbers (``dog barking``)."""
    sides: tuple[str, ...] = ()
    """The direction words, in the order of speaking."""
    distance_m: float | None = None
    """The distance it mentions."""
    word: str = ""
    """Which of all, or how compared: ``nearest``, ``louder`` …"""
    number: float = 0.0
    """The hour, or the degrees, it mentions."""
    turn_deg: int = 0
    """How far the listener would have turned, left above 0."""
    walk_m: float = 0.0
    """How far the listener would have walked, metres."""
    walk_to: str = ""
    """Which way: ``left``, ``right``, ``front`` or ``behind``."""


# In all patterns articles are gone already.
_SHORT = (
    # What to say where nothing is heard is said anyway.
    (re.compile(r"""[,.?!]?\s*(?:(?:or is it|say|answer|reply)\s*)?["'“]not heard["'”].*$"""), ""),
    (re.compile(r"[’`´]"), "'"),
    (re.compile(r"\bo ?'? ?clock\b"), " oclock "),
    (re.compile(r"\bclock (?=position|direction|face|hour|bearing)"), " oclock "),
    (re.compile(r"\bup (?=ahead|front)"), ""),
    (re.compile(r"\bup or (?:is it |are they )?down\b"), "above or below"),
    # Who walks is the listener, not a sound of steps.
    (
        re.compile(
            r"\b(?:take|took|taking) (?:a|one) (?:step|pace)\b|\bstep(?:ped|ping)? (?=to|back|for|left|right|side)"
        ),
        "go ",
    ),
    (re.compile(r"\b(i|we|should|could|must|shall) (?:walk|run)\b|\b(to) walk(?= (?:to|towards|over))"), r"\1\2 go"),
    (re.compile(r"°"), " degrees "),
    (re.compile(r"\bcan't\b|\bcannot\b"), "can"),
    (re.compile(r"n't\b"), ""),
    (re.compile(r"\b(where|what|who|how|it|that|there|which)'?s\b"), r"\1 is"),
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
    "above": r"(?:high )?above|high up|overhead|over (?:your|my) head|higher|upwards?"
    r"|(?<=from )up|(?<=is )up|(?<=or )up|up(?= or)",
    "below": r"(?:low )?below|low down|under(?:neath)?|beneath|lower|downwards?"
    r"|(?<=from )down|(?<=is )down|(?<=or )down|down(?= or)",
}
_SIDE = re.compile("|".join(rf"(?P<{word}>\b(?:{pattern})\b)" for word, pattern in _SIDE_WORDS.items()))
NOUN = r"(?:sounds?|noises?|source|sources)"
_NAMED_SOUND = re.compile(rf"(?:\b{NOUN} (?:source )?(?:of|from|made by|coming from) )+(?=<)")
_SOUND_AFTER = re.compile(rf"(<\d+>)(?: 's)?(?: {NOUN}\b)?")

SIDE_END = r"(?: hand)?(?: sides?)?"
TWO_WAY = re.compile(r"@\w+.*\bor\b.*@\w+")
_AFTER_SIDE = re.compile(rf"@\w+{SIDE_END}(?: of| than)? (?P<next>[a-z]+)")
_AFTER_SOUND = re.compile(rf"\b{NOUN} (?:of|from|made by) (?P<next>[a-z]+)")
# Words that may follow a direction, or "the sound of", without being a sound that is no class.
_HARMLESS = re.compile(
    r"you|your|me|my|us|here|there|and|or|of|than|as|while|both|where|how|far|distance|it|that|this|audio|clip|recording"
    r"|is|are|do|does|can|hear|heard|coming|comes?|emanating|reach|reaches|originates?|located|making|please|now|with"
    r"|from|on|in|at|to|by|some|about|around|roughly|approximately|nearly|almost|away|sides?|hand|direction|namely"
    r"|what|which|respectively"
    rf"|{NOUN}"
)
ANYTHING = re.compile(r"\b(?:something|anything|someone|anyone|somebody|anybody)\b")
_GENERIC = re.compile(rf"\b(?:{NOUN}|it|that|this|audio|clip|recording|events?)\b|{ANYTHING.pattern}")
_BARE = re.compile(
    r"(?:(?:is|are|on|at|to|from|in|of|your|my|you|me|or|and|sides?|hand|do|does|come|coming|@\w+)\b ?)+"
)


@dataclass(frozen=True)
class Clause:
    """A question in normal form."""

    text: str
    """The words, with sounds and directions put in."""
    sounds: tuple[tuple[int, ...], ...]
    """Class numbers of each sound."""

    def has(self, pattern: re.Pattern[str]) -> bool:
        """Whether a pattern is somewhere in it."""
        return pattern.search(self.text) is not None

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """Its direction words, in the order of speaking."""
        return tuple(re.findall(r"@(\w+)", self.text))

    @property
    def axes(self) -> list[str]:
        """The axes of these."""
        return [AXIS_OF[word] for word in self.sides]

    @property
    def two_way(self) -> bool:
        """``left or right``: two opposite words to choose from."""
        opposite = len(self.sides) == 2 and self.sides[0] != self.sides[1] and self.axes[0] == self.axes[1]
        return opposite and self.has(TWO_WAY)

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


def normal_form(question: str) -> Clause:
    """The question with sounds and directions named, and without articles."""
    text = question.lower()
    for pattern, replacement in _SHORT:
        text = pattern.sub(replacement, text)
    words, sounds = _name_sounds(WORDS.findall(text))
    text = " ".join(word for word in words if word not in _ARTICLES)
    text = _NAMED_SOUND.sub("", _LEAD.sub("", text))
    text = _SOUND_AFTER.sub(r"\1", text)
    return Clause(_SIDE.sub(lambda match: f"@{match.lastgroup}", text), sounds)


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
        numbers, length = match
        if out and out[-1].startswith("<"):
            found[-1].extend(numbers)
        else:
            out.append(f"<{len(found)}>")
            found.append(list(numbers))
        position += length
    return out, tuple(tuple(dict.fromkeys(numbers)) for numbers in found)
