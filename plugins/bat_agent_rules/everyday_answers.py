"""Answers to everyday questions, from the posteriors of a clip: how many, the loudest, hours, turns, limits, steps.

How loud a sound is no head says. What is compared is how loud each would be if all were played at one level, give or
take 6 dB each: of two sounds the nearer is likely the louder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from bat_agent.hearing.posterior import DISTANCES_M, Clip, Heard
from bat_agent.interfaces import Reply
from bat_agent.labels import labels
from bat_agent.questions.answers import (
    AXES,
    HOURS,
    answer_labels,
    format_azimuth,
    format_clock,
    format_distance,
    format_elevation,
)  # fmt: skip
from bat_agent.questions.free.truth import CANNOT_BE_HEARD, SECTORS
from bat_agent_rules.clause import AXIS_OF, Request
from bat_agent_rules.replies import choice, either, gaussian_share, yes_no

NOTHING = "nothing"
NOT_FROM_HERE = "I cannot tell from one moment whether it moves."
SAFE_M, SAFE_DEG = 2.0, 45
"""Nearer than this, and no farther off a way than this, something is in it."""
LEVEL_SPREAD_DB = 6.0
"""Standard deviation of how loud a sound is at one place."""
NEAR_DEG = 20
"""An angle that is no farther off counts as heard there."""
BETWEEN_DEG = 112
"""Two sounds that are farther apart than this have the listener between them."""
_DEGREES = np.arange(360)


# --- what and how many ---


def _count(clip: Clip, request: Request) -> Reply:
    sources = clip.sources
    shares = [_share_on(source, request.sides) for source in sources]
    if request.sounds:
        clip.classes()
        numbers = list(request.sounds[0])
        shares = [
            share * float(max(source.class_probs[numbers])) for share, source in zip(shares, sources, strict=True)
        ]
    count = sum(share > 0.5 for share in shares)
    there = [slot.perceived.confidence for slot in clip.slots[len(sources) :]] if not request.sides else []
    return Reply(str(count), float(_how_many([*shares, *there])[count]))


def _how_many(shares: Sequence[float]) -> np.ndarray:
    """(N + 1,) probability that so many of N independent things are true."""
    found = np.ones(1)
    for share in shares:
        found = np.convolve(found, (1 - share, share))
    return found


def _share_on(source: Heard, sides: Sequence[str]) -> float:
    """Probability that a source, one that is counted, is on these sides."""
    return math.prod(source.side(word) for word in sides)


def _several(clip: Clip, request: Request) -> Reply:
    second = clip.slots[1].perceived.confidence if len(clip.slots) > 1 else 0.0
    many = clip.audible > 1
    share = max(second, 0.5 + 1e-6) if many else min(second, 0.5)
    return yes_no(share if request.kind == "several" else 1 - share)


def _first(clip: Clip, request: Request) -> Reply:
    """Which of all is the nearest, loudest …; its share is the least by which it leads any other."""
    clip.classes()
    sources = clip.sources
    leads = [min((_leads(a, b, request.word) for b in sources if b is not a), default=1.0) for a in sources]
    best = int(np.argmax(leads))
    named = sources[best].perceived.labels
    return Reply(answer_labels(named), leads[best] * float(np.mean([_prob(sources[best], name) for name in named])))


def _prob(source: Heard, label: str) -> float:
    return float(source.class_probs[labels().index(label)])


def _leads(a: Heard, b: Heard, word: str) -> float:
    """Probability that ``a`` is nearer, louder … than ``b``."""
    if word in ("loudest", "louder", "quietest", "quieter"):
        louder = _louder(a, b)
        return louder if word in ("loudest", "louder") else 1 - louder
    if word in ("nearest", "farthest"):
        nearer = closer_share(a, b)
        return nearer if word == "nearest" else 1 - nearer
    return relation_share(a, ("above" if word == "highest" else "below",), b)


def closer_share(a: Heard, b: Heard) -> float:
    """P(d_a < d_b), equal bins counting half."""
    p, q = a.head("distance"), b.head("distance")
    farther = q[::-1].cumsum()[::-1] - 0.5 * q  # of b, per bin of a
    return min(max(float(p @ farther), 0.0), 1.0)


def relation_share(a: Heard, words: Sequence[str], b: Heard) -> float:
    """Probability that ``a`` is left of ``b`` (…): of both coordinates the first two moments, taken as Gaussian."""
    share = 1.0
    for word in words:
        axis = AXIS_OF[word]
        (mean_a, variance_a), (mean_b, variance_b) = a.coordinate(axis), b.coordinate(axis)
        first = gaussian_share((mean_a - mean_b) / max(math.sqrt(variance_a + variance_b), 1e-3))
        share *= first if word == AXES[axis][0] else 1 - first
    return share


def _louder(a: Heard, b: Heard) -> float:
    near = 20 * np.log10(np.maximum(DISTANCES_M, 0.25))
    ahead_db = near[None, :] - near[:, None]  # of a at one distance before b at another
    share = np.vectorize(gaussian_share)(ahead_db / (math.sqrt(2) * LEVEL_SPREAD_DB))
    return float(a.head("distance") @ share @ b.head("distance"))


def _more(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    return yes_no(_leads(a, b, request.word))


def _which_more(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    names = [labels()[numbers[0]].lower() for numbers in request.sounds]
    return either((names[0], names[1]), _leads(a, b, request.word))


def _sounding(clip: Clip, request: Request) -> Reply:
    """Whether anything sounds; where it does not, that was said before any reasoner was asked."""
    quiet = math.prod(1 - source.perceived.confidence for source in clip.sources)
    return yes_no(quiet if request.kind == "silent" else 1 - quiet)


def _others(clip: Clip, request: Request) -> list[Heard]:
    """The sources that a question leaves in; one that names none leaves out the strongest."""
    if not request.sounds:
        return list(clip.sources[1:])
    (named,) = clip.find(request.sounds)
    return [source for source in clip.sources if source is not named]


def _what_else(clip: Clip, request: Request) -> Reply:
    return _told(_others(clip, request), _second(clip))


def _told(sources: Sequence[Heard], otherwise: float) -> Reply:
    """The labels of sources; ``otherwise`` is how likely it is that there are none, where there are none."""
    if not sources:
        return Reply(NOTHING, otherwise)
    named = {name: _prob(source, name) for source in sources for name in source.perceived.labels}
    return Reply(answer_labels(named), sum(named.values()) / len(named))


def _second(clip: Clip) -> float:
    return 1 - clip.slots[1].perceived.confidence if len(clip.slots) > 1 else 0.5


def _any_else(clip: Clip, request: Request) -> Reply:
    there = 1 - _second(clip)
    return yes_no(there, bool(_others(clip, request)))


def _where_else(clip: Clip, request: Request) -> Reply:
    others = _others(clip, request)
    return locate(others[0]) if others else Reply(NOTHING, _second(clip))


def locate(source: Heard) -> Reply:
    """Where a source is, in the words that perceiving says, so that one clip has one region wherever it is told."""
    for name in ("azimuth", "elevation"):
        source.head(name)  # what perceiving leaves out for want of a head is told as lacking
    words = source.perceived.sides or [max(axis, key=source.side) for axis in AXES.values()]
    shares = {word: source.side(word) for word in words}
    far, share = format_distance(source.distance_m), source.distance_share
    said = Reply(f"{', '.join(words)}; {far}", math.prod(shares.values()) * share)
    if not source.perceived.undecided:
        return said
    known = math.prod(each for word, each in shares.items() if AXIS_OF[word] not in source.perceived.undecided)
    return Reply(said, said.confidence, plain=(f"{source.perceived.where}; {far}", known * share))


def _describe(clip: Clip, request: Request) -> Reply:
    """Everything and where it is, the nearest first; names alone where the encoder does not say where."""
    clip.classes()
    sources = clip.sources
    if any(head is None for source in sources for head in (source.azimuth, source.elevation, source.distance)):
        return _told(sources, 0.0)
    parts, shares = [], []
    for source in sorted(sources, key=lambda source: source.distance_m):
        place = locate(source)
        parts.append(f"{answer_labels(source.perceived.labels)}: {place}")
        shares.append((place.confidence or 0.0) * float(np.mean([_prob(source, n) for n in source.perceived.labels])))
    return Reply(". ".join(parts), math.prod(shares))


# --- where one is ---


def subject(clip: Clip, request: Request) -> Heard:
    """The sound that a question names, else the strongest; turned, where the listener would have turned."""
    source = clip.find(request.sounds)[0] if request.sounds else clip.slots[0]
    if not request.turn_deg:
        return source
    turned = np.roll(source.head("azimuth"), -request.turn_deg)
    return dataclasses.replace(source, azimuth=turned)


def _degrees(source: Heard) -> float:
    source.head("azimuth")
    assert source.perceived.azimuth_deg is not None
    return source.perceived.azimuth_deg


def _about(source: Heard, azimuth_deg: float, within_deg: float) -> float:
    """Probability that it is so near to an azimuth."""
    off = np.abs((_DEGREES - azimuth_deg + 180) % 360 - 180)
    return float(source.head("azimuth")[off <= within_deg].sum())


def _azimuth(clip: Clip, request: Request) -> Reply:
    source = subject(clip, request)
    degrees = _degrees(source)
    return Reply(format_azimuth(degrees), _about(source, degrees, NEAR_DEG))


def _elevation(clip: Clip, request: Request) -> Reply:
    source = subject(clip, request)
    probs = source.head("elevation")
    assert source.perceived.elevation_deg is not None
    degrees = source.perceived.elevation_deg
    near = np.abs(np.arange(len(probs)) - 90 - degrees) <= NEAR_DEG
    return Reply(format_elevation(degrees), float(probs[near].sum()))


def _clock(clip: Clip, request: Request) -> Reply:
    source = subject(clip, request)
    text = format_clock(_degrees(source))
    return Reply(text, _about(source, 90 - 30 * (HOURS.index(text) + 1), 15))


def _at(clip: Clip, request: Request) -> Reply:
    azimuth_deg = request.number if request.kind == "at_degrees" else 90 - 30 * request.number
    return yes_no(_about(subject(clip, request), azimuth_deg, NEAR_DEG))


def _turn(clip: Clip, request: Request) -> Reply:
    source = subject(clip, request)
    return choice({word: source.side(word) for word in AXES["left_right"]})


def _turn_degrees(clip: Clip, request: Request) -> Reply:
    source = subject(clip, request)
    turn = (_degrees(source) - 90 + 180) % 360 - 180
    text = f"{round(abs(turn))} degrees {'left' if turn > 0 else 'right'}"
    return Reply(text, _about(source, _degrees(source), NEAR_DEG))


def _heading(clip: Clip, request: Request) -> Reply:
    source = subject(clip, request)
    sector = round(_degrees(source) / 45) % 8
    return Reply(SECTORS[sector], _about(source, 45 * sector, 22))


def _limit(clip: Clip, request: Request) -> Reply:
    distance = subject(clip, request).head("distance")
    limit_m = request.distance_m or 0.0
    nearer = float(distance[limit_m > DISTANCES_M].sum() + 0.5 * distance[limit_m == DISTANCES_M].sum())
    return yes_no(nearer if request.kind == "within" else 1 - nearer)


def _step(clip: Clip, request: Request) -> Reply:
    """Whether nothing that is heard is near in the way of a step, or whether what is named is."""
    straight = {"right": 0.0, "front": 90.0, "left": 180.0, "behind": 270.0}.get(request.sides[0])
    sources = clip.find(request.sounds) if request.sounds else clip.sources
    blocked = [
        (1.0 if straight is None else _about(source, straight, SAFE_DEG))
        * float(source.head("distance")[DISTANCES_M < SAFE_M].sum())
        for source in sources
    ]
    free = math.prod(1 - share for share in blocked)
    return yes_no(free if request.kind == "safe" else 1 - free)


# --- two of them ---


def _same_side(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    left, other = a.side("left"), b.side("left")
    same = left * other + (1 - left) * (1 - other)
    return yes_no(same if request.kind == "same_side" else 1 - same)


def _apart_deg(a: Heard, b: Heard) -> np.ndarray:
    """(181,) probability of each angle between two, seen from above, degrees."""
    turned = np.fft.ifft(np.fft.fft(a.head("azimuth")) * np.conj(np.fft.fft(b.head("azimuth")))).real
    return np.concatenate((turned[:1], turned[1:180] + turned[:180:-1], turned[180:181]))


def _angle(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    degrees = abs((_degrees(a) - _degrees(b) + 180) % 360 - 180)
    near = np.abs(np.arange(181) - degrees) <= NEAR_DEG
    return Reply(f"{round(degrees)} degrees", 0.0 if a is b else float(np.clip(_apart_deg(a, b)[near].sum(), 0, 1)))


def _am_between(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    return yes_no(float(_apart_deg(a, b)[BETWEEN_DEG:].sum()))


def _is_between(clip: Clip, request: Request) -> Reply:
    (middle,), (a, b) = clip.find(request.sounds[:1]), clip.find(request.sounds[1:])
    return yes_no(_between_share(middle, a, b))


def _what_between(clip: Clip, request: Request) -> Reply:
    ends = clip.find(request.sounds)
    rest = [source for source in clip.sources if source not in ends]
    shares = [_between_share(source, *ends) for source in rest]
    inside = [source for source, share in zip(rest, shares, strict=True) if share > 0.5]
    return _told(inside, math.prod(1 - share for share in shares))


def _between_share(middle: Heard, a: Heard, b: Heard) -> float:
    """Probability that it lies in the smaller angle between the two, taken to be where they were decoded."""
    first, last = _degrees(a), _degrees(b)
    wide = (last - first) % 360
    begin, wide = (first, wide) if wide <= 180 else (last, 360 - wide)
    return float(middle.head("azimuth")[(_DEGREES - begin) % 360 <= wide].sum())


def _difference(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    text = format_distance(abs(a.distance_m - b.distance_m))
    return Reply(text, 0.0 if a is b else a.distance_share * b.distance_share)


# --- what cannot be told ---


def _cannot(clip: Clip, request: Request) -> Reply:
    return Reply(CANNOT_BE_HEARD, 1.0)


def _moving(clip: Clip, request: Request) -> Reply:
    return Reply(NOT_FROM_HERE, 0.0)


ANSWERS: dict[str, Callable[[Clip, Request], Reply]] = {
    "count": _count, "several": _several, "single": _several, "first": _first, "more": _more,
    "which_more": _which_more, "sounding": _sounding, "silent": _sounding, "what_else": _what_else,
    "any_else": _any_else, "where_else": _where_else, "describe": _describe, "azimuth": _azimuth,
    "elevation": _elevation, "clock": _clock, "at_hour": _at, "at_degrees": _at, "turn": _turn,
    "turn_degrees": _turn_degrees, "heading": _heading, "within": _limit, "beyond": _limit, "safe": _step,
    "hits": _step, "same_side": _same_side, "opposite": _same_side, "angle": _angle, "am_between": _am_between,
    "is_between": _is_between, "what_between": _what_between, "difference": _difference, "cannot": _cannot,
    "moving": _moving,
}  # fmt: skip
"""Kind of a request → what answers it."""
