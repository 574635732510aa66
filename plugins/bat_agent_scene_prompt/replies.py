"""From what a chat model says to an answer in the forms of :mod:`bat_agent.questions.answers`.

Only the form is mended, never the content: ``Yes.`` becomes ``Yes``, ``"Left"`` becomes ``left``, ``2.5 metres``
becomes ``2.5m``. What is in none of the forms stays as the model wrote it, on one line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from bat_agent.labels import labels
from bat_agent.questions import answer_labels, choices_for, parse_distance, parse_labels, parse_location, parse_yes_no
from bat_agent.questions.answers import (
    AXES,
    LETTERS,
    NOT_HEARD,
    YES_NO,
    asks_yes_no,
    options_in,
    parse_angle,
    parse_letter,
    parse_not_heard,
)
from bat_agent_scene_prompt.certainty import Token

NO_ANSWER = "The language model gave no answer."


@dataclass(frozen=True)
class Said:
    """What a chat model said to one prompt."""

    text: str
    """As it came."""
    tokens: tuple[Token, ...] = ()
    """Its tokens, thoughts and end left out, where they are known."""
    cut: bool = False
    """Whether it was not finished when the most tokens were reached."""


_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPENED = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_CLOSED = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_LEAD = re.compile(r"^(?:the )?(?:final )?answer(?: is)?\s*:\s*", re.IGNORECASE)
_WRAPPING = " \t\r\n\"'`*“”‘’«»"
_SIDES = frozenset(word for axis in AXES.values() for word in axis)
_AROUND_PLACE = frozenset(("m", "meters", "meter", "metres", "metre", "and", "away", "at", "the", "to", "in"))
_BETWEEN_LABELS = re.compile(r"(?:,\s+and|[,;]|\s+and)\s+")


def without_thoughts(text: str) -> str:
    """What follows the thinking; empty where it was never finished."""
    text = _THOUGHT.sub(" ", text)
    # Some templates open the block in the prompt, so that only its end is said.
    text = _CLOSED.split(text)[-1]
    return _OPENED.split(text)[0].strip()


def tidy(text: str, question: str) -> str:
    """The answer in what was said to a question; empty where there is none."""
    text = without_thoughts(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    bullets = [line[2:].strip() for line in lines if line.startswith(("- ", "* ", "• "))]
    text = "; ".join(bullets) if len(bullets) == len(lines) > 0 else " ".join(lines)
    text = _LEAD.sub("", text.strip(_WRAPPING)).strip(_WRAPPING)
    return _in_form(text, question)


def _in_form(text: str, question: str) -> str:
    if options := options_in(question):
        return _letter_of(text, options)
    if text.rstrip(".").upper() in LETTERS:  # options in a wording that is not recognised as such
        return text.rstrip(".").upper()
    if (yes := _yes_no(text, question)) is not None:
        return YES_NO[not yes]
    bare = text.rstrip(".!").strip().lower()
    if choices_for(bare) is not None:
        return bare
    if (metres := parse_distance(text)) is not None:
        return f"{metres:g}m"
    if (angle := parse_angle(text)) is not None:
        return f"{angle[0]} {angle[1]} degrees"
    if parse_not_heard(text):
        return NOT_HEARD
    return _location(text) or _labels(text) or text


def _letter_of(text: str, options: dict[str, str]) -> str:
    """The letter alone, at the beginning of ``B. left, front, above``, or of the option that was said in full."""
    if parse_letter(text) in options:
        return str(parse_letter(text))
    bare = text.rstrip(".!").strip().lower()
    for letter, option in options.items():
        if bare == option.lower() or re.match(rf"\(?{letter}[.):]", text, re.IGNORECASE):
            return letter
    return text


def _yes_no(text: str, question: str) -> bool | None:
    """``Yes, it is on the left.`` as well, where the question can be answered by yes or no."""
    if (plain := parse_yes_no(text)) is not None:
        return plain
    first = re.match(r"(yes|no)\b(?=\W|$)", text, re.IGNORECASE)
    return first[1].lower() == "yes" if first and asks_yes_no(question) else None


def _location(text: str) -> str | None:
    """``Left, front, above; 2.5 m.`` in the form of the data, if it says nothing else."""
    place = parse_location(text)
    if place is None or not (_SIDES | _AROUND_PLACE).issuperset(re.findall(r"[a-z]+", text.lower())):
        return None
    return f"{place[0]}; {place[1]:g}m"


def _labels(text: str) -> str | None:
    """Class names in any order and case, and nothing else, in the form of the data."""
    whole = text.strip().lower()
    for said in (whole, whole.rstrip(".!").strip()):  # one name ends in a full stop of its own
        if found := parse_labels(said, _known()) or _apart(said):
            return answer_labels(found)
    return None


def _apart(text: str) -> list[str]:
    """Class names separated by commas or "and", which some names have inside too; empty for anything else."""
    if text in _known():
        return [text]
    for match in reversed(list(_BETWEEN_LABELS.finditer(text))):
        head = text[: match.start()]
        if head in _known() and (rest := _apart(text[match.end() :])):
            return [head, *rest]
    return []


@cache
def _known() -> frozenset[str]:
    return frozenset(label.lower() for label in labels())
