"""How people ask: wordings of every kind of question, and the words that fill their slots (BAT, tables 1 and 9).

The first wordings of a kind are the paper's, also where their English is rough ("on the above side of"), the others
are ours. Every kind keeps some wordings back, so that evaluation can ask in words that training never used. In all
wordings source ``{a}`` is named before source ``{b}``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bat_agent.errors import BadInput

Split = Literal["train", "eval", "all"]


@dataclass(frozen=True)
class Wordings:
    """The templates of one kind of question."""

    train: tuple[str, ...]
    """For training."""
    held_out: tuple[str, ...]
    """For evaluation only."""


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

_LOCATE = Wordings(
    (
        "Where is {a} coming from?",
        "How would you describe the location of {a}?",
        "At what distance and in which direction is {a} originating?",
        "In which direction and how far away is the source of {a}?",
        "Where is {a}?",
        "Where does {a} come from?",
        "Where do you hear {a}?",
        "Describe the position of {a}.",
        "Give the direction and the distance of {a}.",
        "From where does {a} reach you?",
        "Tell me where {a} is.",
    ),
    (
        "Can you locate {a}?",
        "From which direction, and from how far away, does {a} arrive?",
        "What is the location of {a}?",
    ),
)

WORDINGS: dict[str, Wordings] = {
    "detect": Wordings(
        (
            "Identify the sound events in the audio clip.",
            "What are the distinct sounds present in this audio clip?",
            "What sound events can you detect in the audio recording?",
            "Enumerate the sound occurrences in the audio clip.",
            "What do you hear?",
            "What is that sound?",
            "What is making this sound?",
            "List the sounds you can hear.",
            "Which sounds do you recognise?",
            "Name the sound events in this recording.",
        ),
        (
            "What can be heard in the recording?",
            "Could you tell me what is sounding?",
            "Which sound events occur in this clip?",
        ),
    ),
    "locate": _LOCATE,
    "locate_named": _LOCATE,
    "detect_at": Wordings(
        (
            "Identify the sound events in the audio clip coming from the {region}, approximately {distance} away.",
            "What sound events can you detect in the audio recording emanating from the {region}, "
            "roughly {distance} away?",
            "What do you hear from the {region}, about {distance} away?",
            "Which sounds come from the {region}, around {distance} away?",
            "What is the sound at the {region}, {distance} away?",
            "Name the sound events located {region}, at a distance of {distance}.",
            "What is making the sound {region}, roughly {distance} from you?",
            "List the sounds that reach you from the {region}, nearly {distance} away.",
            "Enumerate the sound occurrences at the {region}, some {distance} away.",
        ),
        (
            "What can be heard from the {region}, approximately {distance} from here?",
            "Tell me which sounds originate {region}, about {distance} away.",
        ),
    ),
    "both": Wordings(
        (
            "Do {a} and {b} both come from your {d} side?",
            "Is the source of both {a} and {b} {where}?",
            "Are {a} and {b} both {where}?",
            "Are both {a} and {b} {where}?",
            "Do both {a} and {b} come from {from_}?",
            "Do {a} and {b} both reach you from {from_}?",
            "Can you hear both {a} and {b} coming from {from_}?",
            "Are {a} and {b} on the same side, namely {where}?",
            "Is it true that {a} and {b} are both {where}?",
        ),
        (
            "Would you say that {a} and {b} are both {where}?",
            "Do {a} as well as {b} come from your {d} side?",
        ),
    ),
    "pair": Wordings(
        (
            "Can you hear {a} from the {d} and {b} from the {d2}?",
            "Is {a} on the {d} and {b} on the {d2}?",
            "Is {a} {where} and {b} {where2}?",
            "Does {a} come from {from_} and {b} from {from2}?",
            "Do you hear {a} {where} and {b} {where2}?",
            "Is it true that {a} is {where} while {b} is {where2}?",
            "Is {a} coming from {from_} and {b} coming from {from2}?",
            "Is {a} {where}, and {b} {where2}?",
            "Is {a} at your {d} side and {b} at your {d2} side?",
        ),
        (
            "Would you say {a} is {where} and {b} is {where2}?",
            "Does {a} reach you from {from_} and {b} from {from2}?",
        ),
    ),
    "relation": Wordings(
        (
            "Would you find {a} on the {d} side of {b}?",
            "Does {a} appear on the {d} of {b}?",
            "Is {a} {of} {b}?",
            "Is {a} located {of} {b}?",
            "Does {a} sound {of} {b}?",
            "Do you hear {a} {of} {b}?",
            "Is the source of {a} {of} {b}?",
            "Is it true that {a} is {of} {b}?",
            "Seen from where you are, is {a} {of} {b}?",
            "Can {a} be heard {of} {b}?",
        ),
        (
            "Would you say {a} is {of} {b}?",
            "Is {a} positioned {of} {b}?",
        ),
    ),
    "closer": Wordings(
        (
            "In terms of straight-line distance, does {a} reach you from a closer point compared to {b}?",
            "When measuring the direct line distance, is {a} closer to you than {b}?",
            "Is {a} closer than {b}?",
            "Is {a} closer to you than {b}?",
            "Is {a} nearer than {b}?",
            "Does {a} come from a nearer place than {b}?",
            "Is the source of {a} nearer to you than that of {b}?",
            "Is it true that {a} is closer than {b}?",
        ),
        (
            "Would you say {a} is nearer to you than {b}?",
            "Does {a} sound from closer by than {b}?",
        ),
    ),
    "farther": Wordings(
        (
            "Is {a} further away from you than {b}?",
            "Is {a} farther away than {b}?",
            "Is {a} farther than {b}?",
            "In terms of straight-line distance, does {a} reach you from a farther point compared to {b}?",
            "Does {a} come from farther away than {b}?",
            "Is the source of {a} further from you than that of {b}?",
            "Is it true that {a} is farther away than {b}?",
            "When measuring the direct line distance, is {a} further from you than {b}?",
        ),
        (
            "Would you say {a} is further away than {b}?",
            "Does {a} sound from farther off than {b}?",
        ),
    ),
    "which_side_of": Wordings(
        (
            "Could you determine whether {a} is {p} or {q} {b}?",
            "Is {a} {p} or {q} {b}?",
            "Tell me whether {a} is {p} or {q} {b}.",
            "Do you hear {a} {p} or {q} {b}?",
        ),
        ("Would you say {a} is {p} or {q} {b}?",),
    ),
    "between": Wordings(
        (
            "Can you estimate the distance from {a} to {b}?",
            "How far away is {a} from {b}?",
            "How far apart are {a} and {b}?",
            "What is the distance between {a} and {b}?",
        ),
        ("How many meters are there between {a} and {b}?",),
    ),
    "source_on": Wordings(
        (
            "What is the sound on the {d} side of {b}?",
            "What do you hear {of} {b}?",
            "Which sound is {of} {b}?",
            "Identify the sound {of} {b}.",
        ),
        ("What can be heard {of} {b}?",),
    ),
    "side": Wordings(
        (
            "Is {a} coming from {from_} or {from2}?",
            "Is {a} {where} or {where2}?",
            "Does {a} come from {from_} or from {from2}?",
            "Do you hear {a} {where} or {where2}?",
            "Tell me whether {a} is {where} or {where2}.",
            "{where} or {where2}: where is {a}?",
        ),
        (
            "Would you say {a} is {where} or {where2}?",
            "Is the source of {a} {where} or {where2}?",
        ),
    ),
    "which_side": Wordings(
        (
            "Which side is {a} on?",
            "On which side is {a}?",
            "From which side is {a} coming?",
            "Which side does {a} come from?",
        ),
        ("On what side do you hear {a}?",),
    ),
    "is_side": Wordings(
        (
            "Is {a} {where}?",
            "Is {a} coming from {from_}?",
            "Does {a} come from {from_}?",
            "Do you hear {a} {where}?",
            "Is {a} on your {d} side?",
            "Can you hear {a} {where}?",
        ),
        (
            "Would you say {a} is {where}?",
            "Does {a} reach you from {from_}?",
        ),
    ),
    "distance": Wordings(
        (
            "How far away is {a}?",
            "How far is {a}?",
            "What is the distance of {a}?",
            "At what distance is {a}?",
            "How many meters away is {a}?",
            "How close is {a}?",
        ),
        ("From how far away does {a} come?", "Can you estimate how far away {a} is?"),
    ),
    "presence": Wordings(
        (
            "Can you hear {thing}?",
            "Is there {thing}?",
            "Do you hear {thing}?",
            "Is {thing} audible?",
            "Does the recording contain {thing}?",
            "Is that {thing}?",
        ),
        ("Is there {thing} in the audio clip?", "Can {thing} be heard?"),
    ),
    "which_closer": Wordings(
        (
            "Which is closer, {a} or {b}?",
            "Which sound is closer to you, {a} or {b}?",
            "Which one is nearer: {a} or {b}?",
        ),
        ("What is closer to you, {a} or {b}?",),
    ),
    "which_farther": Wordings(
        (
            "Which is farther away, {a} or {b}?",
            "Which sound is further from you, {a} or {b}?",
            "Which one is farther: {a} or {b}?",
        ),
        ("What is further away from you, {a} or {b}?",),
    ),
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
