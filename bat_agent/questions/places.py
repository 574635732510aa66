"""Whether a question asks where something is, or how far: what no answer can be given to where no direction is heard.

No parsing: whoever answers, a language model included, is asked in words that somebody chose, and a word of place is
enough. What sounds is still told by questions without one.
"""

from __future__ import annotations

import re

_FAR = re.compile(
    r"\b(?:how (?:far|close|near|distant)|distan(?:t|ces?)|metres?|meters?|far|farther|farthest|further|furthest|near"
    r"|nearby|nearer|nearest|closer|closest|close (?:to|by)|apart|away)\b"
)
_WHERE = re.compile(
    r"\b(?:where(?:abouts|from)?|left|right|in front|front|behind|ahead|above|below|overhead|underneath|beneath|under"
    r"|over (?:me|us|you|my)|back|sides?|directions?|which way|azimuth|elevation|degrees?|o['’]?clock|clockwise"
    r"|locations?|locate|positions?|turn|facing|point(?:ing)?|north|south|east|west|up or down|from (?:up|down))\b"
)
_AGREED = re.compile(
    r"\b(?:is it|isn['’]?t it|that['’]?s|that is|am i|it is|are you) right\b(?! (?:of|in|behind|side))"
)


def place_asked(question: str) -> str | None:
    """``where`` or ``how far`` where a question asks for it, in any case of letters; ``None`` where it does not."""
    text = _AGREED.sub(" ", question.lower())
    if _WHERE.search(text):
        return "where"
    return "how far" if _FAR.search(text) else None
