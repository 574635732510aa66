"""What the words of a free question say, for the second opinion: names, sides, turns, walks, metres, comparisons.

Read by patterns of English, not by the tables that wordings are made from; only the names of sounds come from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from bat_agent.labels import labels
from bat_agent.questions.answers import HeardSource
from bat_agent.questions.free.names_table import DOING, EVERYDAY

_SPOKEN = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_NUMBER = rf"(?P<n>\d+(?:\.\d+)?|{'|'.join(_SPOKEN)})"
_METRES = re.compile(rf"\b{_NUMBER} ?(?:metres?|m)\b")
_WALK = re.compile(
    rf"\b{_NUMBER} ?(?:metres?|m) (?:(?P<front>forward|straight ahead)|(?P<behind>backwards|straight back)"
    r"|(?:sideways )?to the (?P<side>left|right))"
)
_TURN = re.compile(
    r"\b(?:turn|turned|quarter turn)(?: ninety degrees)? (?:to the )?(?P<way>left|right)(?: by 90 degrees)?"
    r"|\b(?:turn(?:ed)? (?:around|by 180 degrees|to face the other way)|ma[dk]e a half turn)"
)
_SIDES = {
    "left": r"\bleft\b",
    "right": r"\bright\b",
    "front": r"\b(?:in front|ahead|to the front of|the side that (?:i|you) face|forward|advance)\b",
    "behind": r"\b(?:behind|on (?:my|your) six|(?:my|your) back|to the rear|back|backwards|retreat|back up)\b",
    "above": r"\b(?:above|overhead|over (?:my|your) head|higher than (?:my|your) ears)\b",
    "below": r"\b(?:below|under (?:my|your) feet|beneath|lower than (?:my|your) ears)\b",
}
_SIDE_KINDS = frozenset(("what", "is anything", "is safe", "count", "is side"))
_WORDS = {
    "closer": r"\b(?:closer|nearer|sooner|near|shorter|less distant)\b",
    "farther": r"\b(?:farther|further|more distant)\b",
    "left": r"\bleft\b",
    "right": r"\bright\b",
    "higher": r"\b(?:higher|high|greater height)\b",
    "lower": r"\blower\b",
    "nearest": r"\b(?:near|nearest|closest|closset|shortest)\b",
    "farthest": r"\b(?:far|farthest|furthest|faraway|distant|longest)\b",
    "highest": r"\b(?:highest|high|greatest height)\b",
    "lowest": r"\b(?:lowest|low|least height|nearest to the floor)\b",
    "loudest": r"\b(?:loudest|loud|level)\b",
}
_OPPOSED = {"closer": "farther", "farther": "closer", "higher": "lower", "lower": "higher"}
_CUES = {
    "count": r"how|hwo|count|number|many",
    "clock": r"clock|oclock|hour",
    "distance": r"far|fra|distance|range|metres|steps",
    "difference": r"near|closer|less",
    "apart": r"apart|distance|between|separation|spread|far|metres|cable",
    "angle": r"angle|degrees|angular",
    "turn degrees": r"degree|degres|angle",
    "turn": r"turn|trun|rotat|spin|look|flick|face|swing|left or right",
    "same side": r"same",
    "opposite sides": r"op+os|other|contrary",
    "am between": r"between|betwen|middle",
    "is between": r"between|betwen|middle",
    "what between": r"between|betwen|middle",
    "is safe": r"saf|save|clear|bumping|obstacle|danger|okay",
    "is within": r"within|wihtin|less|inside|below|nearer|closer|<",
    "is beyond": r"more|mroe|over|outside|exceeds|further|fruther|farther|beyond|>",
    "gets closer": r"clos|near|shrink",
    "is moving": r"mov|motion|running|mobile|place",
    "approach": r"away|farther",
    "drift": r"left",
    "what else": r"else|besid|app?art|exclud|other|leav|counting",
    "is anything else": r"else|besid|but|other|exclud|plus|more",
    "is several": r"more|mroe|several|two",
}
_NAMELESS = frozenset(("cannot be heard", "not about sound"))
_TURNS = re.compile(r"Q: (.*?) A: (.*?) (?=Q: )")


def part_of_history(text: str) -> tuple[list[tuple[str, str]], str]:
    """The questions and answers before, and the question itself."""
    if not text.startswith("Q: "):
        return [], text
    found = _TURNS.findall(text)
    return found, text.rpartition("Q: ")[2]


def misworded(
    kind: str,
    sounds: Sequence[str],
    parts: Mapping[str, str],
    history: Sequence[tuple[str, str]],
    question: str,
    sources: Sequence[HeardSource],
) -> str | None:
    """What the words of a question say that its query does not, or the other way round."""
    text = question.lower()
    if kind in _NAMELESS:
        return None
    text, wrong = _without_names(text, sounds, history, sources, ("clock",) if kind == "clock" else ())
    if wrong:
        return wrong
    if not re.search(_CUES.get(kind, ""), text):
        return f"the words do not ask {kind!r}: {question}"
    rest, wrong = _without_moves(text, parts)
    return wrong or _other_sides(kind, parts, rest) or _other_numbers(parts, rest) or _other_word(kind, parts, rest)


def _without_names(
    text: str,
    sounds: Sequence[str],
    history: Sequence[tuple[str, str]],
    sources: Sequence[HeardSource],
    meant: Sequence[str],
) -> tuple[str, str | None]:
    """The text without the names of the sounds; they must be there, here or before, and no other source's.

    ``meant`` are names that such a question says without meaning the sound: the clock of "at what o'clock".
    """
    before = " ".join(asked.lower() for asked, _ in history)
    for number, sound in enumerate(sounds):
        if sound == "someone":
            continue
        pattern = _names(sound)
        if not pattern.search(text) and not (number == 0 and pattern.search(before)):
            return text, f"the words do not name {sound!r}"
        text = pattern.sub("#", text)
    if "someone" in sounds:  # whoever talks is named by what they do
        return text, None
    others = {label.lower() for source in sources for label in source.labels} - {*sounds, *meant}
    for other in sorted(others):
        if not any(_alike(other, sound) for sound in sounds) and (found := _names(other).search(text)):
            return text, f"the words name {found[0]!r} as well, which the query does not"
    return text, None


def _alike(other: str, sound: str) -> bool:
    """Whether the names of two sounds share a word."""
    return bool(set(re.findall(r"\w+", _names(other).pattern)) & set(re.findall(r"\w+", _names(sound).pattern)) - {"b"})


@cache
def _names(sound: str) -> re.Pattern[str]:
    """All that a sound may be called, longest first."""
    said = [re.sub(r"^(?:an?|the) ", "", name) for label, names in EVERYDAY.items() if label.lower() == sound
            for name in names]  # fmt: skip
    said += [DOING[sound]] if sound in DOING else []
    if not said:  # a class that nobody has a word for is "the … sound"; what is no class has its own word
        said = [re.sub(r" ?\(.*?\)", "", sound).split(",")[0] + (" sound" if sound in _classes() else "")]
    choices = "|".join(re.escape(name) for name in sorted(said, key=len, reverse=True))
    return re.compile(rf"\b(?:{choices})\b")


@cache
def _classes() -> frozenset[str]:
    return frozenset(label.lower() for label in labels())


def _without_moves(text: str, parts: Mapping[str, str]) -> tuple[str, str | None]:
    """The text without a turn or a walk of the listener, which must be that of the query."""
    if "walk" in parts:
        match = _WALK.search(text)
        way = match and (match["side"] or ("front" if match["front"] else "behind"))
        if match is None or f"{way} {_number(match['n']):g}m" != parts["walk"]:
            return text, f"the words do not say {parts['walk']!r}"
        return text.replace(match[0], " "), None
    if "turn" in parts:
        match = _TURN.search(text)
        if match is None or (f"{match['way']} 90" if match["way"] else "around") != parts["turn"]:
            return text, f"the words do not say to turn {parts['turn']}"
        return text.replace(match[0], " "), None
    return text, None


def _number(said: str) -> float:
    return float(_SPOKEN.get(said, 0) or said)


def _other_sides(kind: str, parts: Mapping[str, str], text: str) -> str | None:
    if kind not in _SIDE_KINDS or "word" in parts:
        return None
    said = {side for side, pattern in _SIDES.items() if re.search(pattern, text)}
    wanted = set(parts.get("side", "").split())
    return None if said == wanted else f"the words say {sorted(said)}, the query {sorted(wanted)}"


def _other_numbers(parts: Mapping[str, str], text: str) -> str | None:
    said = [_number(match["n"]) for match in _METRES.finditer(text)]
    wanted = parts.get("limit")
    if wanted is not None and said != [float(wanted.rstrip("m"))]:
        return f"the words say {said} metres, the query {wanted}"
    return None


def _other_word(kind: str, parts: Mapping[str, str], text: str) -> str | None:
    word = parts.get("word")
    if word is None:
        return None
    if not re.search(_WORDS[word], text):
        return f"the words do not say {word!r}"
    other = _OPPOSED.get(word)
    if other and re.search(_WORDS[other], text) and not re.search(_WORDS[word], text):
        return f"the words say {other!r}, the query {word!r}"
    if kind == "compare" and word in ("left", "right"):
        opposite = "right" if word == "left" else "left"
        return f"the words say {opposite!r} as well" if re.search(_WORDS[opposite], text) else None
    return None
