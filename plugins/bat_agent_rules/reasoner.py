"""Reasoner ``rules``: parse the question, look the answer up in the encoder's heads, say how likely it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from bat_agent.errors import BadInput
from bat_agent.hearing.perception import Thresholds
from bat_agent.hearing.posterior import Clip, Heard, hear
from bat_agent.interfaces import Encoding, Reply
from bat_agent.labels import labels
from bat_agent.questions.answers import AXES, NOT_HEARD, YES_NO, answer_labels, format_distance
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.parsing import AXIS_OF, Request, parse

NOT_UNDERSTOOD = "I did not understand the question."
OF_A_PAIR = 0.1
"""Two sounds cover each other, and one may go by another name: of each of two that are named so much less is asked."""


class RulesReasoner(nn.Module):
    """Answers from the encoder's heads alone: no language model, no weights, any encoder that has the heads.

    It understands, in any wording that uses the usual words (a sound is named by one of the 355 classes, a part of its
    name, or an everyday word for it; unnamed, it is the strongest one):

    * what is heard, anywhere or in a direction and at a distance; whether there is a dog; what is left of the dog;
    * where a sound is; on which side; left or right, front or behind, above or below; whether it is on a side;
    * how far a sound is, how far apart two are, which is closer, farther or on a side, whether one is closer;
    * whether two sounds are both on a side, or each on its own; on which side of one the other is.

    With ``heard`` above 0, a question about one named sound that is likely not there is answered ``not heard``, and so
    is one about two of which one is almost surely not there.
    Any other question is answered by ``I did not understand the question.`` with confidence 0. A confidence is the
    probability of the answer by the heads, given that the named sounds are there; yes/no and two-way answers list both
    ``alternatives``. Where two sounds are named but the encoder hears only one source, relations are worth a coin.

    Every answer has the form of :mod:`bat_agent.questions.answers`.
    """

    def __init__(self, config: RulesConfig) -> None:
        """Keep ``config``; there is nothing else to hold."""
        super().__init__()
        self.config = config

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[Reply]:
        """One answer per question, each with its confidence.

        Raises :class:`~bat_agent.errors.BadInput` where the questions do not divide among the clips, where the encoder
        lacks the head that a question needs, and where its classes are not the 355.
        """
        per_clip = _per_clip(encoding, questions)
        if not per_clip:
            return []
        clips = hear(encoding, self.config.thresholds)
        return [
            _reply(clips[number // per_clip], parse(question), self.config.thresholds)
            for number, question in enumerate(questions)
        ]

    def loss(self, encoding: Encoding, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Zero, with a gradient that reaches nothing: rules have nothing to train."""
        _per_clip(encoding, questions)
        if len(answers) != len(questions):
            raise BadInput(f"got {len(answers)} answers to {len(questions)} questions, expected one to each")
        return encoding.tokens.new_zeros(()).requires_grad_()


def _per_clip(encoding: Encoding, questions: Sequence[str]) -> int:
    clips = len(encoding.tokens)
    if not clips or len(questions) % clips:
        raise BadInput(f"{len(questions)} questions do not divide among {clips} clips; ask each clip equally many")
    return len(questions) // clips


def _reply(clip: Clip, request: Request | None, thresholds: Thresholds) -> Reply:
    if request is None:
        return Reply(NOT_UNDERSTOOD, confidence=0.0)
    if request.kind == "presence":
        return _presence(clip, request, thresholds)
    if thresholds.heard and request.sounds:
        least = min(_heard_shares(clip, request))
        if least < thresholds.heard * (1 if len(request.sounds) == 1 else OF_A_PAIR):
            return Reply(NOT_HEARD, 1 - least)
    return _ANSWERS[request.kind](clip, request)


# --- what sounds ---


def _detect(clip: Clip, request: Request) -> Reply:
    clip.classes()
    return _labels(clip.sources)


def _detect_at(clip: Clip, request: Request) -> Reply:
    clip.classes()
    source = _at(clip, request)
    return _labels([source], math.prod(source.side(word) for word in request.sides))


def _source_on(clip: Clip, request: Request) -> Reply:
    """The sound on a side of another: the likeliest other source there."""
    (b,) = clip.find(request.sounds)
    others = [slot for slot in clip.slots if slot is not b]
    if others:
        a = max(others, key=lambda other: other.perceived.confidence * _relation_share(other, request.sides, b))
        return _labels([a], _relation_share(a, request.sides, b))
    # Only one place is known, but all classes of the clip are: what else sounds is the best guess.
    probs = clip.classes().copy()
    probs[list(request.sounds[0])] = -1.0
    best = int(np.argmax(probs))
    return Reply(labels()[best].lower(), float(probs[best]) / 2)


def _presence(clip: Clip, request: Request, thresholds: Thresholds) -> Reply:
    """Whether all that is named is there."""
    shares = _heard_shares(clip, request)
    return _yes_no(math.prod(shares), all(share >= thresholds.label for share in shares))


def _heard_shares(clip: Clip, request: Request) -> list[float]:
    """How likely each named sound is there: it is if it is anywhere in the clip or in one of the slots."""
    probs = clip.classes()
    for slot in clip.slots:
        probs = np.maximum(probs, slot.perceived.confidence * slot.class_probs)
    return [float(max(probs[list(numbers)])) for numbers in request.sounds]


def _labels(sources: Sequence[Heard], share: float = 1.0) -> Reply:
    """The labels of sources; confidence is their mean probability, times the ``share`` that these sources are meant."""
    named: dict[str, float] = {}
    table = labels()
    for source in sources:
        probs = dict(zip(table, source.class_probs, strict=True))
        for label in source.perceived.labels:
            named[label] = max(named.get(label, 0.0), float(probs[label]))
    return Reply(answer_labels(named), share * sum(named.values()) / len(named))


# --- where one sound is ---


def _locate(clip: Clip, request: Request) -> Reply:
    source = _subject(clip, request)
    # The words that perceiving says, so that one clip has one region wherever it is told.
    words = source.perceived.sides or [max(axis, key=source.side) for axis in AXES.values()]
    share = math.prod(source.side(word) for word in words) * source.distance_share
    return Reply(f"{', '.join(words)}; {format_distance(source.distance_m)}", share)


def _side(clip: Clip, request: Request) -> Reply:
    words = AXES[AXIS_OF[request.sides[0]]] if request.sides else AXES["left_right"]
    source = _subject(clip, Request(request.kind, request.sounds))
    return _choice({word: source.side(word) for word in words})


def _is_side(clip: Clip, request: Request) -> Reply:
    source = _subject(clip, Request(request.kind, request.sounds))
    return _yes_no(math.prod(source.side(word) for word in request.sides))


def _any_side(clip: Clip, request: Request) -> Reply:
    """Whether anything is there: not every source is elsewhere."""
    elsewhere = (1 - math.prod(source.side(word) for word in request.sides) for source in clip.sources)
    return _yes_no(1 - math.prod(elsewhere))


def _distance(clip: Clip, request: Request) -> Reply:
    source = _subject(clip, request)
    return Reply(format_distance(source.distance_m), source.distance_share)


def _subject(clip: Clip, request: Request) -> Heard:
    """What the question is about: the sound it names, else what is on the sides it names, else the strongest."""
    if request.sounds:
        return clip.find(request.sounds)[0]
    return _at(clip, request) if request.sides else clip.slots[0]


def _at(clip: Clip, request: Request) -> Heard:
    """The source that fits sides and distance best."""

    def fit(slot: Heard) -> float:
        near = 1.0 if request.distance_m is None else slot.near(request.distance_m)
        return slot.perceived.confidence * math.prod(slot.side(word) + 1e-6 for word in request.sides) * near

    return max(clip.slots, key=fit)


# --- two sounds ---


def _both(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    (word,) = request.sides
    return _yes_no(a.side(word) * b.side(word))


def _pair(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    return _yes_no(a.side(request.sides[0]) * b.side(request.sides[1]))


def _relation(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    return _yes_no(_relation_share(a, request.sides, b))


def _which_side_of(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    words = AXES[AXIS_OF[request.sides[0]]]
    return _choice({word: _relation_share(a, (word,), b) for word in words})


def _relation_share(a: Heard, words: Sequence[str], b: Heard) -> float:
    """Probability that ``a`` is left of ``b`` (…): of both coordinates the first two moments, taken as Gaussian."""
    share = 1.0
    for word in words:
        axis = AXIS_OF[word]
        (mean_a, variance_a), (mean_b, variance_b) = a.coordinate(axis), b.coordinate(axis)
        first = _gaussian_share((mean_a - mean_b) / max(math.sqrt(variance_a + variance_b), 1e-3))
        share *= first if word == AXES[axis][0] else 1 - first
    return share


def _closer(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    return _yes_no(_closer_share(a, b) if request.kind == "closer" else _closer_share(b, a))


def _which_closer(clip: Clip, request: Request) -> Reply:
    if request.sounds:
        pair = clip.find(request.sounds)
        names = [labels()[numbers[0]].lower() for numbers in request.sounds]
    else:
        clip.classes()
        pair = list(clip.sources[:2])
        names = [answer_labels(source.perceived.labels) for source in pair]
        if len(pair) == 1:
            return _labels(pair)
    closer = _closer_share(pair[0], pair[1])
    first = closer if request.kind == "which_closer" else 1 - closer
    return _either(names, first)


def _which_on(clip: Clip, request: Request) -> Reply:
    """Which of two is on a side: where both are, the one further to that side."""
    a, b = clip.find(request.sounds)
    first = _relation_share(a, request.sides, b)
    names = [labels()[numbers[0]].lower() for numbers in request.sounds]
    return _either(names, first)


def _closer_share(a: Heard, b: Heard) -> float:
    """P(d_a < d_b), equal bins counting half."""
    p, q = a.head("distance"), b.head("distance")
    farther = q[::-1].cumsum()[::-1] - 0.5 * q  # of b, per bin of a
    return min(max(float(p @ farther), 0.0), 1.0)


def _between(clip: Clip, request: Request) -> Reply:
    """The distance of the decoded points; its share takes each coordinate of the difference as equally uncertain."""
    a, b = clip.find(request.sounds)
    text = format_distance(math.dist(a.point_m, b.point_m))
    if a is b:
        return Reply(text, 0.0)
    variance = sum(source.coordinate(axis)[1] for source in (a, b) for axis in AXES) / len(AXES)
    return Reply(text, 2 * _gaussian_share(0.25 / max(math.sqrt(variance), 1e-3)) - 1)


# --- into words ---


def _yes_no(share: float, yes: bool | None = None) -> Reply:
    """``Yes`` if the statement is likelier than not, or as the caller has decided."""
    yes = share > 0.5 if yes is None else yes
    shares = {YES_NO[0]: share, YES_NO[1]: 1 - share}
    return _weighed(YES_NO[not yes], shares)


def _choice(shares: dict[str, float]) -> Reply:
    return _weighed(max(shares, key=lambda text: shares[text]), shares)


def _either(names: Sequence[str], first: float) -> Reply:
    """One of two names; the same name twice leaves no choice."""
    return Reply(names[0], 1.0) if names[0] == names[1] else _choice({names[0]: first, names[1]: 1 - first})


def _weighed(text: str, shares: dict[str, float]) -> Reply:
    return Reply(text, shares[text], sorted(shares.items(), key=lambda item: -item[1]))


def _gaussian_share(deviations: float) -> float:
    """Φ: the share of a Gaussian below so many standard deviations."""
    return 0.5 * (1 + math.erf(deviations / math.sqrt(2)))


_ANSWERS: dict[str, Callable[[Clip, Request], Reply]] = {
    "detect": _detect,
    "detect_at": _detect_at,
    "source_on": _source_on,
    "locate": _locate,
    "side": _side,
    "which_side": _side,
    "is_side": _is_side,
    "any_side": _any_side,
    "distance": _distance,
    "both": _both,
    "pair": _pair,
    "relation": _relation,
    "which_side_of": _which_side_of,
    "closer": _closer,
    "farther": _closer,
    "which_closer": _which_closer,
    "which_farther": _which_closer,
    "which_on": _which_on,
    "between": _between,
}
