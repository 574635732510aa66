"""How people ask: wordings of every kind of question, and the words that fill their slots (BAT, tables 1 and 9).

The first wordings of a kind are the paper's, also where their English is rough ("on the above side of"), the others
are ours. Every kind has at least 20 and keeps some back, so that evaluation can ask in words that training never used.
The tables are in the modules ``wordings_open``, ``wordings_binary`` and ``wordings_plain``; all wordings keep these
rules:

* Source ``{a}`` is named before source ``{b}``, and two directions are said in the order of their slots.
* Directions stand in slots alone, so nothing around them says left, back or higher.
* The text alone settles what is asked, and suits one answer as well as the other.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.questions import wordings_binary, wordings_open, wordings_plain
from bat_agent.questions.templates import Wordings

Split = Literal["train", "eval", "all"]

WHERE = {
    "left": ("on your left", "to your left", "on the left", "on your left side"),
    "right": ("on your right", "to your right", "on the right", "on your right side"),
    "front": ("in front of you", "ahead of you", "in front", "on your front side"),
    "behind": ("behind you", "at your back", "behind", "on your behind side"),
    "above": ("above you", "over your head", "above", "on your above side"),
    "below": ("below you", "under you", "below", "on your below side"),
}
"""Where a source is, after "is"; the same number of phrases for every direction."""
FROM = {
    "left": ("your left", "the left"),
    "right": ("your right", "the right"),
    "front": ("the front", "in front"),
    "behind": ("behind", "the back"),
    "above": ("above", "overhead"),
    "below": ("below", "underneath"),
}
"""Where a source is, after "from"."""
OF = {
    "left": ("to the left of", "left of", "on the left side of", "on the left of"),
    "right": ("to the right of", "right of", "on the right side of", "on the right of"),
    "front": ("in front of", "ahead of", "on the front side of", "on the front of"),
    "behind": ("behind", "to the back of", "on the behind side of", "on the behind of"),
    "above": ("above", "higher than", "on the above side of", "on the above of"),
    "below": ("below", "lower than", "on the below side of", "on the below of"),
}
"""Where one source is relative to another."""

WORDINGS: dict[str, Wordings] = {
    "detect": wordings_open.DETECT,
    "locate": wordings_open.LOCATE,
    "locate_named": wordings_open.LOCATE,
    "detect_at": wordings_open.DETECT_AT,
    "both": wordings_binary.BOTH,
    "pair": wordings_binary.PAIR,
    "relation": wordings_binary.RELATION,
    "closer": wordings_binary.CLOSER,
    "farther": wordings_binary.FARTHER,
    "which_side_of": wordings_open.WHICH_SIDE_OF,
    "between": wordings_open.BETWEEN,
    "source_on": wordings_open.SOURCE_ON,
    "side": wordings_plain.SIDE,
    "which_side": wordings_plain.WHICH_SIDE,
    "is_side": wordings_plain.IS_SIDE,
    "distance": wordings_plain.DISTANCE,
    "presence": wordings_plain.PRESENCE,
    "which_closer": wordings_plain.WHICH_CLOSER,
    "which_farther": wordings_plain.WHICH_FARTHER,
}
"""Wordings by kind of question."""

NAMED = (
    "the sound of the {label}",
    "the {label}",
    "the {label}",  # twice, as it is what people say most
    "the {label}'s sound",
    "the {label} sound",
    "the sound from the {label}",
)
"""How a source is named by one of its labels."""
UNNAMED = ("the sound", "this sound", "the sound source", "the audio clip")
"""How the only source is named."""

_ARTICLES = re.compile(r"\b(?:the|a|an|any)\s+", re.IGNORECASE)


def wordings(kind: str, split: Split = "train") -> tuple[str, ...]:
    """The templates of a kind of question: those for training, those kept back for evaluation, or all."""
    chosen = WORDINGS[kind]
    if split == "all":
        return chosen.train + chosen.held_out
    if split not in ("train", "eval"):
        raise BadInput(f"split of question wordings must be 'train', 'eval' or 'all', got {split!r}")
    return chosen.train if split == "train" else chosen.held_out


def named(label: str, rng: np.random.Generator) -> str:
    """A source by its label, lower case: ``the sound of the dog``, ``the dog`` …"""
    return NAMED[rng.integers(len(NAMED))].format(label=label.lower())


def thing(label: str, rng: np.random.Generator) -> str:
    """Something that may sound: ``a dog``, ``an owl``, ``any dog``, ``the dog``, ``dog``."""
    label = label.lower()
    article = ("an" if label[0] in "aeio" else "a", "the", "any", "")[rng.choice(4, p=(0.55, 0.15, 0.1, 0.2))]
    return f"{article} {label}".strip()


def vary(question: str, rng: np.random.Generator) -> str:
    """The question as people type it: now and then without its final mark, in one case of letters, without articles.

    Never changes which question it is: only marks, case and the words ``the``, ``a``, ``an``, ``any`` are touched.
    """
    drop_mark, lower, upper, drop_articles = rng.random(4) < (0.3, 0.3, 0.03, 0.08)
    if drop_articles:
        short = _ARTICLES.sub("", question)
        question = short[:1].upper() + short[1:]
    if drop_mark:
        question = question.rstrip("?.")
    return question.lower() if lower else question.upper() if upper else question
