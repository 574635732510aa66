"""Whether a free answer is right: lenient in words, exact in what they say.

Yes and no in any usual word, numbers within a tolerance, sides and names of sounds in everyday words. What contradicts
the truth is wrong, even where the truth stands beside it; what may be left out is told in :func:`score_free`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bat_agent.questions.free.names import kindred, sounds_in, spans_in
from bat_agent.questions.free.seen import NOTHING, Place, Truth
from bat_agent.questions.free.truth import SECTORS

NEAR_DEG = 20.0
"""An angle that is no farther off counts as right, degrees."""
_SIDES = {
    "left": r"left\w*",
    "right": r"right(?!\s+(?:now|here|there|behind|in front|ahead|above|below|over|under|next))\w*",
    "front": r"front|ahead|forwards?",
    "behind": r"behind|back|backwards?|rear",
    "above": r"above|up|upwards?|overhead|higher|over (?:your|my) head",
    "below": r"below|down|downwards?|under\w*|beneath|lower",
    "closer": r"closer|nearer|approach\w*|towards?|coming|closing",
    "away": r"away|farther|further|reced\w+|leaving|off",
}
_SIDE = re.compile("|".join(rf"(?P<{side}>\b(?:{pattern})\b)" for side, pattern in _SIDES.items()))
_AXES = (("left", "right"), ("front", "behind"), ("above", "below"), ("closer", "away"))
_POLAR = re.compile(
    r"(?P<yes>\b(?:yes|yeah|yep|yup|aye|affirmative|correct|true|indeed|definitely|certainly|absolutely)\b)"
    r"|(?P<no>\b(?:no|nope|nah|negative|false|not|never|none|nothing|nobody|cannot)\b|n['’]t\b)"
)
_WORDS = "zero one two three four five six seven eight nine ten eleven twelve"
_SPOKEN: dict[str, float] = {word: number for number, word in enumerate(_WORDS.split())}
_NO = ("none", "nothing", "no")
_SPOKEN |= {"single": 1, "half": 0.5} | dict.fromkeys(_NO, 0)
_NUMBER = re.compile(rf"\d+(?:\.\d+)?|\b(?:{'|'.join(_SPOKEN)})\b")
_ABSENT = re.compile(
    r"\bnot (?:heard|there|present|here|hear|audible|detect\w*)\b|\bno\b|\bnothing\b|\bnowhere\b|\babsent\b|n['’]t\b"
    r"|\b(?:cannot|can not|do not|does not|did not) (?:be )?(?:hear\w*|find|detect)\b|\bis not\b"
)
_CANNOT = re.compile(
    r"\bcannot\b|\bcan not\b|\bcan['’]t\b|\bunable\b|\bimpossible\b|\bno way (?:to|of)\b|\bnot about sound\b"
    r"|\b(?:only|just) hear\b|\bnot possible\b|\bcould(?: not|n['’]t)\b|\b(?:do not|don['’]t) know\b"
)
_AFTER_THAN = re.compile(r"\b(?:than|besides|apart from|other than|except)\b.*", re.DOTALL)


def score_free(truth: Truth, text: str) -> bool:
    """Whether an answer is right.

    Of a place the side must be said on which the source lies farthest out; height and distance may be left out, but not
    be wrong. A distance may be one step of 0.5 m off, an angle 20°, a way to walk 45°. Each source that is to be named
    must be, by any name of any of its labels, and none else. What cannot be heard, or is not there, must be said to be
    so; ``I did not understand`` is neither.
    """
    said = text.strip().lower()
    if not said or "not understand" in said:
        return False
    return _MARKS[truth.form](truth, said)


def _sides(said: str) -> list[str]:
    return [match.lastgroup or "" for match in _SIDE.finditer(said)]


def _numbers(said: str) -> list[float]:
    return [float(_SPOKEN.get(match, match)) for match in _NUMBER.findall(said)]


def _measures(said: str) -> list[float]:
    """Metres or degrees: "no" is none of a count, but no length."""
    return [float(_SPOKEN.get(match, match)) for match in _NUMBER.findall(said) if match not in _NO]


def _yes_no(truth: Truth, said: str) -> bool:
    match = _POLAR.search(said)
    return match is not None and (match["yes"] is not None) == (truth.answer == "Yes")


def _side(truth: Truth, said: str) -> bool:
    words = next(words for words in _AXES if truth.answer in words)
    return {side for side in _sides(said) if side in words} == {truth.answer}


def _place(truth: Truth, said: str) -> bool:
    return _fits(truth.places[0], said)


def _fits(place: Place, said: str) -> bool:
    sides = [side for side in _sides(re.sub(r"\baway\b|\boff\b", "", said)) if side not in ("closer", "away")]
    metres = [float(number) for number in re.findall(r"(\d+(?:\.\d+)?) ?m", said)]
    right = set(sides) <= set(place.may) and bool(set(sides) & set(place.must))
    return right and all(_near(metre, place.distance_m) for metre in metres)


def _near(said_m: float, true_m: float) -> bool:
    return abs(round(2 * said_m) - round(2 * true_m)) <= 1


def _turn(truth: Truth, said: str) -> bool:
    sides = {side for side in _sides(said) if side in ("left", "right")}
    numbers = _measures(said)
    near = bool(numbers) and abs(numbers[0] - abs(truth.value)) <= NEAR_DEG
    return near and sides == {"left" if truth.value > 0 else "right"}


def _hour(truth: Truth, said: str) -> bool:
    hours = {int(text.split()[0]) for text in (truth.answer, *truth.accepted)}
    numbers = _numbers(said)
    return bool(numbers) and numbers[0] in hours


def _heading(truth: Truth, said: str) -> bool:
    sides = [
        {"behind": "back"}.get(side, side) for side in _sides(said) if side in ("left", "right", "front", "behind")
    ]
    sectors = [frozenset(name.replace("behind", "back").split()) for name in SECTORS]
    if frozenset(sides) not in sectors:
        return False
    return abs((45 * sectors.index(frozenset(sides)) - truth.value + 180) % 360 - 180) <= 45


def _metres(truth: Truth, said: str) -> bool:
    numbers = _measures(said)
    return len(numbers) == 1 and _near(numbers[0], truth.value)


def _degrees(truth: Truth, said: str) -> bool:
    numbers = _measures(said)
    return bool(numbers) and abs(numbers[0] - truth.value) <= NEAR_DEG


def _count(truth: Truth, said: str) -> bool:
    numbers = _numbers(said)
    return bool(numbers) and numbers[0] == truth.value


def _sounds(truth: Truth, said: str) -> bool:
    named = sounds_in(_AFTER_THAN.sub("", said))
    if truth.answer == NOTHING:
        return not named and _ABSENT.search(said.replace("none", "no")) is not None
    owners = [[number for number, own in enumerate(truth.sources) if _is_one(name, own)] for name in named]
    return all(owners) and {number for owner in owners for number in owner} == set(range(len(truth.sources)))


def _is_one(name: str, labels: tuple[str, ...]) -> bool:
    return any(kindred(name, label) for label in labels)


def _scene(truth: Truth, said: str) -> bool:
    """Every source is named, and what stands between its name and the next fits where it is."""
    spans = spans_in(said)
    told: set[int] = set()
    for number, (name, _, end) in enumerate(spans):
        owners = [n for n, own in enumerate(truth.sources) if _is_one(name, own)]
        rest = said[end : spans[number + 1][1] if number + 1 < len(spans) else len(said)]
        if not owners or (_sides(rest) and not any(_fits(truth.places[n], rest) for n in owners)):
            return False
        told |= {n for n in owners if _sides(rest)}
    return told == set(range(len(truth.sources)))


_MARKS: dict[str, Callable[[Truth, str], bool]] = {
    "yes no": _yes_no,
    "side": _side,
    "place": _place,
    "turn": _turn,
    "hour": _hour,
    "heading": _heading,
    "metres": _metres,
    "degrees": _degrees,
    "count": _count,
    "sounds": _sounds,
    "scene": _scene,
    "not heard": lambda _, said: _ABSENT.search(said) is not None,
    "cannot": lambda _, said: _CANNOT.search(said) is not None,
}
