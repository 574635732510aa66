"""Reasoner ``rules``: parse the question, look the answer up in the encoder's heads, say how likely it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from bat_agent.errors import BadInput
from bat_agent.hearing.perception import Thresholds
from bat_agent.interfaces import Encoding, Reply
from bat_agent.labels import labels
from bat_agent.questions.answers import AXES, NOT_HEARD, answer_labels, format_distance
from bat_agent_rules.clause import AXIS_OF, Request
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.dialogue import understood
from bat_agent_rules.everyday_answers import ANSWERS, NOTHING, closer_share, locate, relation_share, subject
from bat_agent_rules.hearing import Clip, Heard, hear
from bat_agent_rules.replies import choice, either, gaussian_share, yes_no
from bat_agent_rules.walks import WALKS

NOT_UNDERSTOOD = "I did not understand the question."
NOT_THERE = 0.1
"""Where even the likeliest source is less likely than this, there is nothing."""
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

    converses = True
    """A question may leave out what those before it said."""

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
            _reply(clips[number // per_clip], understood(question), self.config.thresholds)
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
    """What is there: all that is, else what may be, else nothing."""
    clip.classes()
    best = _at(clip, request)
    share = math.prod(best.side(word) for word in request.sides)
    if request.distance_m is not None:
        return _labels([best], share)
    if share < NOT_THERE:
        return Reply(NOTHING, 1 - share)
    there = [s for s in clip.sources if math.prod(s.side(word) for word in request.sides) > 0.5]
    return _labels(there or [best], share)


def _source_on(clip: Clip, request: Request) -> Reply:
    """The sound on a side of another: the likeliest other source there."""
    (b,) = clip.find(request.sounds)
    others = [slot for slot in clip.slots if slot is not b]
    if others:
        a = max(others, key=lambda other: other.perceived.confidence * relation_share(other, request.sides, b))
        return _labels([a], relation_share(a, request.sides, b))
    # Only one place is known, but all classes of the clip are: what else sounds is the best guess.
    probs = clip.classes().copy()
    probs[list(request.sounds[0])] = -1.0
    best = int(np.argmax(probs))
    return Reply(labels()[best].lower(), float(probs[best]) / 2)


def _presence(clip: Clip, request: Request, thresholds: Thresholds) -> Reply:
    """Whether all that is named is there."""
    shares = _heard_shares(clip, request)
    return yes_no(math.prod(shares), all(share >= thresholds.label for share in shares))


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
    return locate(_subject(clip, request))


def _side(clip: Clip, request: Request) -> Reply:
    words = AXES[AXIS_OF[request.sides[0]]] if request.sides else AXES["left_right"]
    source = subject(clip, request)
    return choice({word: source.side(word) for word in words})


def _is_side(clip: Clip, request: Request) -> Reply:
    source = subject(clip, request)
    return yes_no(math.prod(source.side(word) for word in request.sides))


def _any_side(clip: Clip, request: Request) -> Reply:
    """Whether anything is there: not every source is elsewhere."""
    elsewhere = (1 - math.prod(source.side(word) for word in request.sides) for source in clip.sources)
    return yes_no(1 - math.prod(elsewhere))


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
    return yes_no(a.side(word) * b.side(word))


def _pair(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    return yes_no(a.side(request.sides[0]) * b.side(request.sides[1]))


def _relation(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    return yes_no(relation_share(a, request.sides, b))


def _which_side_of(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    words = AXES[AXIS_OF[request.sides[0]]]
    return choice({word: relation_share(a, (word,), b) for word in words})


def _closer(clip: Clip, request: Request) -> Reply:
    a, b = clip.find(request.sounds)
    return yes_no(closer_share(a, b) if request.kind == "closer" else closer_share(b, a))


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
    closer = closer_share(pair[0], pair[1])
    first = closer if request.kind == "which_closer" else 1 - closer
    return either((names[0], names[1]), first)


def _which_on(clip: Clip, request: Request) -> Reply:
    """Which of two is on a side: where both are, the one further to that side."""
    a, b = clip.find(request.sounds)
    first = relation_share(a, request.sides, b)
    names = [labels()[numbers[0]].lower() for numbers in request.sounds]
    return either((names[0], names[1]), first)


def _between(clip: Clip, request: Request) -> Reply:
    """The distance of the decoded points; its share takes each coordinate of the difference as equally uncertain."""
    a, b = clip.find(request.sounds)
    text = format_distance(math.dist(a.point_m, b.point_m))
    if a is b:
        return Reply(text, 0.0)
    variance = sum(source.coordinate(axis)[1] for source in (a, b) for axis in AXES) / len(AXES)
    return Reply(text, 2 * gaussian_share(0.25 / max(math.sqrt(variance), 1e-3)) - 1)


_ANSWERS: dict[str, Callable[[Clip, Request], Reply]] = (
    ANSWERS
    | WALKS
    | {
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
)
