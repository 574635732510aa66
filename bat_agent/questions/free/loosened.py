"""Free questions of training said in yet other ways, so that a reader of queries meets more than templates.

The words for sides, turns, walks and metres are exchanged for others, the listener becomes "you", something is said
before and after, keys are missed. What is asked stays the same, so the query does. None of the ways is one that the
voices of validation have (:mod:`~.phrases`); a test holds that. Only training uses this, never a set of records.
"""

from __future__ import annotations

import re

import numpy as np

from bat_agent.questions.rewording import loosen


def _both(table: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The same of the right."""
    return table | {key.replace("left", "right"): tuple(w.replace("left", "right") for w in ways)
                    for key, ways in table.items() if "left" in key}  # fmt: skip


_LEFT = ("on my left", "to my left", "on the left", "off to my left", "to the left", "at my left", "left of me",
         "on the left side", "on my left side", "over on the left", "beside my left arm", "in my left ear",
         "at nine o'clock from me", "towards my left", "leftwards")  # fmt: skip
_WAYS = _both({
    "on my left-hand side": _LEFT,
    "over by my left shoulder": _LEFT,
    "over to my left": _LEFT,
    "on my left": _LEFT,
    "to my left": _LEFT,
    "turned to the left": ("turned leftwards", "swung left", "rotated to the left", "rotated 90 degrees to the left",
                           "spun left", "faced left", "looked left", "turned 90 degrees anticlockwise",
                           "swivelled left", "pivoted 90° left", "did a ninety to the left"),
    "turned left": ("turned to my left", "rotated left", "spun to the left", "faced to the left", "turned 90° left",
                    "pivoted left", "swivelled to the left", "turned my head left"),
    "turn to the left": ("rotate to the left", "swing left", "rotate 90 degrees to the left", "face left", "spin left",
                         "turn 90° left", "look left", "pivot left"),
    "turn left": ("turn to my left", "rotate left", "spin to the left", "face to the left", "swivel left",
                  "go 90 degrees left"),
    "to the left of": ("left of", "more to the left than", "further left than", "on the left side of",
                       "on the left of"),
    "step to the left": ("step left", "take a pace left", "shuffle to the left", "move one step left",
    "move left a bit",
                         "shift left"),
    "sideways to the left": ("to the left side", "left", "leftwards", "to my left"),
}) | {
    "in front of me": ("ahead of me", "in front", "straight in front of me", "up ahead", "before me", "facing me",
                       "right in front of me", "at twelve o'clock from me", "to my front", "on my front side",
                       "towards the front", "forward of me", "where I'm looking"),
    "ahead of me": ("in front of me", "up ahead", "ahead", "dead ahead", "at the front", "out in front"),
    "somewhere behind me": ("somewhere at the back", "back there behind me", "in back of me", "at my six"),
    "behind me": ("at my back", "in the back", "at the back of me", "back there", "to my rear", "in my rear",
                  "right behind me", "backwards of me", "at six o'clock from me", "where I can't see"),
    "at my back": ("behind me", "in back of me", "behind", "from behind"),
    "above me": ("overhead", "over me", "up above", "above my head", "up there", "higher than me", "up high",
                 "above head height", "upstairs from me", "over the top of me"),
    "over my head": ("overhead", "above my head", "up over me", "high up above"),
    "below me": ("beneath me", "under me", "underneath me", "down below", "below my feet", "under my feet",
                 "lower than me", "down there", "lower down than me", "on the floor below"),
    "beneath me": ("below me", "under me", "underneath me", "down low", "down at my feet"),
    "turned around": ("spun around", "turned back", "turned right round", "did an about-turn", "turned 180°",
                      "did a one-eighty", "faced backwards", "turned to look behind me", "swung around",
                      "rotated 180 degrees", "reversed my direction", "looked the opposite way"),
    "turn around": ("spin around", "turn back", "turn right round", "do an about-turn", "turn 180°", "do a one-eighty",
                    "face backwards", "rotate 180 degrees", "swing around"),
    "straight ahead": ("forward", "forwards", "straight on", "straight forward", "to the front", "in front", "ahead"),
    "straight back": ("backwards", "back", "backward", "to the back", "in reverse", "rearwards"),
    "step forward": ("step ahead", "move forward", "go ahead a step", "walk forward", "move up one step", "go forward"),
    "step back": ("step backwards", "move back", "walk backwards a step", "go back a little", "reverse a step",
                  "step behind me"),
    "walked": ("stepped", "strolled", "marched", "advanced by", "drove", "rolled", "took a walk of"),
    "went": ("ran", "walked", "travelled", "stepped", "crawled"),
    "moved": ("shifted", "walked", "stepped", "drove", "flew"),
    "metres": ("meters", "m", "meter", "metres"),
    "nearer": ("closer", "nearer to me", "closer to me"),
    "closer": ("nearer", "nearer to me", "closer to me", "closer by"),
    "farther away": ("more far", "further off", "farther from me", "further out", "more remote"),
    "farther off": ("further from me", "farther out", "further away"),
    "higher": ("higher up", "further up", "more elevated"),
    "lower": ("lower down", "further down", "less high", "nearer the ground"),
    "How far away is": ("How distant is", "How far off is", "What's the range to", "How many metres off is"),
    "Where is": ("Whereabouts is", "In what direction is", "Where do you hear", "Where would I find", "Locate",
                 "Point me to", "Tell me where to find", "Any idea where I can find"),
    "Is there": ("Do you hear", "Can you make out", "Are you hearing", "Do you notice", "Do you detect",
                 "Any sign of", "Is there by chance", "Have we got"),
    "What colour is": ("What's the colour of", "What paint is on", "Which hue has"),
}  # fmt: skip
_PATTERN = re.compile("|".join(rf"\b{re.escape(k)}\b(?!['’])" for k in sorted(_WAYS, key=len, reverse=True)))
_YOU = (("I'm", "you're"), ("I am", "you are"), ("am I", "are you"), ("Am I", "Are you"), ("I've", "you've"),
        ("I'd", "you'd"), ("my", "your"), ("My", "Your"), ("me", "you"), ("I", "you"), ("mine", "yours"))  # fmt: skip
_PERSON = re.compile("|".join(rf"\b{a}\b(?!['’])" for a, _ in _YOU))
_BEFORE = (
    "please,", "hey,", "hi there,", "hello,", "ok,", "okay so", "so,", "listen,", "tell me,", "tell me please,",
    "robot,",
    "bat,", "excuse me,", "sorry,", "now,", "and now,", "right,", "um,", "uh,", "er,", "well,", "quick question:",
    "question:", "just curious,", "I was wondering,", "can you tell me,", "could you tell me,", "do you know,",
    "I'd like to know,", "I want to know:", "let me ask you this:", "one more thing:", "next:", "I need to know,",
    "would you mind telling me,", "be honest,", "help me out here,", "good morning,", "my friend asks,",
    "be so kind and tell me,", "any idea,", "seriously,", "wait,", "hold on,", "computer,", "buddy,", "mate,", "sir,",
    "I can't see much from here.", "It's dark in here.", "I just woke up.", "My ears are ringing.", "I'm a bit lost.",
    "It's so noisy today.", "I have my eyes closed.", "We just got here.", "I'm new to this place.",
    "I'm standing still.",
    "Don't laugh.", "This may sound silly.", "I've been listening for a while now.", "I'm trying to find my way.",
    "Let's see how good you are.", "I'm asking for a colleague.", "The lights went out a minute ago.",
    "Take your time.",
    "I have to decide quickly.", "I lost my glasses.", "There's a lot going on.", "Use your ears.",
    "From what you hear,",
    "according to your ears,", "as far as you can tell,", "judging by the sound,", "if you had to guess,", "roughly,",
)  # fmt: skip
_AFTER = (
    "please", "thanks", "thank you", "if you can tell", "right now", "at the moment", "do you think", "would you say",
    "I wonder", "can you tell", "any idea", "you reckon", "just asking", "if I may ask", "quickly", "as you hear it",
    "from where I stand", "in your opinion", "or what", "mate", "buddy", "sir", "I need to know", "for me",
    "be quick", "I can't tell", "my friend wants to know", "that's what I'd like to know", "if it's no trouble", "now",
)  # fmt: skip
_KEYS = "qwertyuiop asdfghjkl zxcvbnm"


def loosened(question: str, rng: np.random.Generator) -> str:
    """The same question in other words; questions before it (``Q: … A: … Q: …``) stay as they are."""
    head, mark, last = question.rpartition(" Q: ")
    return head + mark + _typed(_around(_reworded(last, rng), rng), rng)


def _reworded(text: str, rng: np.random.Generator) -> str:
    def way(match: re.Match[str]) -> str:
        ways = _WAYS[match[0]]
        return ways[int(rng.integers(len(ways)))] if rng.random() < 0.65 else match[0]

    text = _PATTERN.sub(way, text)
    if rng.random() < 0.25:
        swapped = dict(_YOU)
        text = _PERSON.sub(lambda match: swapped[match[0]], text)
        text = text.replace("you am ", "you are ").replace("am you", "are you")
    return loosen(text, rng, 0.12) if rng.random() < 0.3 else text


def _around(text: str, rng: np.random.Generator) -> str:
    mark = text[-1] if text[-1] in "?.!" else ""
    if rng.random() < 0.12:
        after = _AFTER[int(rng.integers(len(_AFTER)))]
        text = f"{text.rstrip('?.!')}{',' if rng.random() < 0.6 else ''} {after}{mark}"
    if rng.random() < 0.2:
        before = _BEFORE[int(rng.integers(len(_BEFORE)))]
        lowered = text if text.startswith(("I ", "I'")) or before.endswith(".") else text[0].lower() + text[1:]
        text = f"{before[0].upper()}{before[1:]} {lowered}"
    return text


def _typed(text: str, rng: np.random.Generator) -> str:
    """As it comes off the keys: case, marks and missed keys."""
    if rng.random() < 0.25:
        text = text.lower() if rng.random() < 0.85 else text.upper()
    if rng.random() < 0.25:
        text = re.sub(r"[?.!,]+$", "", text) if rng.random() < 0.6 else text.replace(",", "")
    if rng.random() < 0.12:
        for _ in range(1 + int(rng.integers(2))):
            text = _missed(text, rng)
    return text


def _missed(text: str, rng: np.random.Generator) -> str:
    """One letter inside a word of four or more swapped, lost, doubled or hit beside."""
    places = [m.start() + 1 for m in re.finditer(r"[A-Za-z]{4,}", text)]
    if not places:
        return text
    at = places[int(rng.integers(len(places)))] + int(rng.integers(2))
    letter, kind = text[at], int(rng.integers(4))
    if kind == 0:
        return text[:at] + text[at + 1 : at + 2] + letter + text[at + 2 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text[:at] + letter + text[at:]
    key = _KEYS.find(letter.lower())
    return text[:at] + (_KEYS[key + 1] if 0 <= key < len(_KEYS) - 1 else letter) + text[at + 1 :]
