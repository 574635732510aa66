"""The rules: parse the question, look the answer up in the encoder's heads, say how likely it is. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.hearing.perception import Thresholds
from bat_agent.hearing.posterior import Clip, Heard, hear
from bat_agent.interfaces import Encoding, Reply
from bat_agent.labels import label_index, labels
from bat_agent.questions.answers import AXES, NOT_HEARD, answer_labels, format_distance
from bat_agent.questions.relatives import nearest_classes
from bat_agent_rules.clause import AXIS_OF, Request
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.dialogue import understood
from bat_agent_rules.everyday_answers import ANSWERS, NOTHING, closer_share, locate, relation_share, subject
from bat_agent_rules.replies import choice, either, gaussian_share, weighed, yes_no
from bat_agent_rules.vocabulary import sounding
from bat_agent_rules.walks import WALKS

NOT_UNDERSTOOD = "I did not understand the question."
NOT_THERE = 0.1
"""Where even the likeliest source is less likely than this, there is nothing."""
_OF_ANYTHING = ("count", "what_else", "any_else", "where_else", "cannot", "moving")
"""Questions whose answer holds whether or not the sound they name is there."""
OF_A_PAIR = 0.1
"""Two sounds cover each other, and one may go by another name: of each of two that are named so much less is asked."""


class Rules:
    """Answers from the encoder's heads alone: no language model, no weights, any encoder that has the heads.

    It understands, by patterns of usual words, so not in every wording (a sound is named by one of the 355 classes, a
    part of its name, or an everyday word for it; unnamed, it is the strongest one):

    * what is heard, anywhere or in a direction and at a distance; whether there is a dog; what is left of the dog;
    * where a sound is; on which side; left or right, front or behind, above or below; whether it is on a side;
    * how far a sound is, how far apart two are, which is closer, farther or on a side, whether one is closer;
    * whether two sounds are both on a side, or each on its own; on which side of one the other is.

    Of a sound that is none of the ``known`` classes it is said that it is not known, and which is the nearest; the
    ``alternatives`` are then the nearest and how likely they are heard.
    With ``heard`` above 0, a question about one named sound that is likely not there is answered ``not heard``, and so
    is one about two of which one is almost surely not there.
    Any other question is answered by ``I did not understand the question.`` with confidence 0. A confidence is the
    probability of the answer by the heads, given that the named sounds are there, and where one is said not to be there
    that it is as well: such an answer is never stood by. Sides that cannot be told (``undecided`` of a perception) are
    a guess in the text and left out of what is said in its place (:attr:`~bat_agent.interfaces.Reply.plain`); yes/no
    and two-way answers list both ``alternatives``. Where two sounds are named but the encoder hears only one source,
    relations are worth a coin.

    Every answer has the form of :mod:`bat_agent.questions.answers`.
    """

    converses = True
    """A question may leave out what those before it said."""

    def __init__(self, config: RulesConfig) -> None:
        """Keep ``config``; there is nothing else to hold."""
        super().__init__()  # of the module that this may be
        self.config = config

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[Reply]:
        """One answer per question, each with its confidence.

        Raises :class:`~bat_agent.errors.BadInput` where the questions do not divide among the clips, where the encoder
        lacks the head that a question needs, and where its classes are not the 355.
        """
        each = per_clip(encoding, questions)
        if not each:
            return []
        clips = hear(encoding, self.config.thresholds)
        asked = ((clips[number // each], understood(question)) for number, question in enumerate(questions))
        return [self._unknown(clip, one) or _reply(clip, one, self.config.thresholds) for clip, one in asked]

    def _unknown(self, clip: Clip, request: Request | None) -> Reply | None:
        """That a sound which is named is none that the encoder has learnt; ``None`` where it knows them all."""
        known = self.config.known
        if request is None or not known:
            return None
        for numbers in request.sounds:
            named = [labels()[number] for number in numbers]
            if not set(named) & set(known):
                return _not_known(named[0], clip, known)
        return None


def per_clip(encoding: Encoding, questions: Sequence[str]) -> int:
    """How many questions are about each clip; raises :class:`~bat_agent.errors.BadInput` where they do not divide."""
    clips = len(encoding.tokens)
    if not clips or len(questions) % clips:
        raise BadInput(f"{len(questions)} questions do not divide among {clips} clips; ask each clip equally many")
    return len(questions) // clips


def _reply(clip: Clip, request: Request | None, thresholds: Thresholds) -> Reply:
    if request is None:
        return Reply(NOT_UNDERSTOOD, confidence=0.0)
    if request.kind == "presence":
        return _presence(clip, request)
    if not request.sounds or clip.class_probs is None:
        return _ANSWERS[request.kind](clip, request)
    shares = _heard_shares(clip, request)
    least = min(shares)
    if least < thresholds.heard * (1 if len(shares) == 1 else OF_A_PAIR):
        return Reply(NOT_HEARD, 1 - least)
    reply = _ANSWERS[request.kind](clip, request)
    there = all(map(clip.is_there, request.sounds, shares))
    return reply if there or request.kind in _OF_ANYTHING else _if_there(reply, least)


def _if_there(reply: Reply, share: float) -> Reply:
    """An answer about a sound that is said not to be there: true only if it is, and never stood by."""
    assert reply.confidence is not None
    if len(reply.alternatives) == 2:  # worth a coin if it is not there
        shares = {text: share * each + (1 - share) / 2 for text, each in reply.alternatives}
        said = weighed(str(reply), shares)
        return Reply(said, said.confidence, said.alternatives, plain=reply.plain, sure=False)
    return Reply(reply, share * reply.confidence, reply.alternatives, plain=reply.plain, sure=False)


def _not_known(label: str, clip: Clip, known: Sequence[str]) -> Reply:
    """With the nearest that it does know, and how likely those are heard."""
    near = nearest_classes(label, known)
    shares = [] if clip.class_probs is None else [float(clip.class_probs[label_index()[name]]) for name in near]
    text = f"I do not know how {sounding(label)}; the nearest I know is {near[0].lower()}."
    heard = zip((name.lower() for name in near), shares, strict=False)
    return Reply(text, 0.0, sorted(heard, key=lambda item: -item[1]))


# --- what sounds ---


def _detect(clip: Clip, request: Request) -> Reply:
    clip.classes()
    return _labels(clip.sources)


def _detect_at(clip: Clip, request: Request) -> Reply:
    """What is there: all that is, else what may be, else nothing."""
    clip.classes()
    best = _at(clip, request)
    share = math.prod(best.side(word) for word in request.sides)
    if request.distance_m is None and share < NOT_THERE:
        return Reply(NOTHING, 1 - share)
    there = [s for s in clip.sources if all(s.side(word) > 0.5 for word in request.sides)]
    if request.distance_m is not None:
        there = [best] if best in there else []
    said = _labels(there or [best], share)
    return said if there else Reply(said, said.confidence, plain=said.plain, sure=False)


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


def _presence(clip: Clip, request: Request) -> Reply:
    """Whether all that is named is there."""
    shares = _heard_shares(clip, request)
    return yes_no(math.prod(shares), all(map(clip.is_there, request.sounds, shares)))


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
    confidence = share * sum(named.values()) / len(named)
    known = {label for source in sources if not source.perceived.guessed for label in source.perceived.labels}
    if known == set(named):
        return Reply(answer_labels(named), confidence)
    if not known:
        return Reply(answer_labels(named), confidence, sure=False)
    guesses = answer_labels(set(named) - known)
    return Reply(answer_labels(named), confidence, plain=(f"{answer_labels(known)}; perhaps {guesses}", confidence))


# --- where one sound is ---


def _locate(clip: Clip, request: Request) -> Reply:
    return locate(_subject(clip, request))


def _side(clip: Clip, request: Request) -> Reply:
    words = AXES[AXIS_OF[request.sides[0]]] if request.sides else AXES["left_right"]
    source = subject(clip, request)
    return _told(choice({word: source.side(word) for word in words}), source, words, request)


def _is_side(clip: Clip, request: Request) -> Reply:
    source = subject(clip, request)
    shares = [source.side(word) for word in request.sides]
    # Of several words each on its own, so that what is said of the place as a whole agrees.
    return _told(yes_no(math.prod(shares), all(share > 0.5 for share in shares)), source, request.sides, request)


def _told(reply: Reply, source: Heard, words: Sequence[str], request: Request) -> Reply:
    """An answer about sides, told as unknown where one of its axes is left open; not where the listener would turn."""
    left_open = [axis for axis in source.perceived.undecided if axis in {AXIS_OF[word] for word in words}]
    if not left_open or source.perceived.spread is None or request.turn_deg:
        return reply
    unknown = source.perceived.spread.about(left_open)
    return Reply(reply, reply.confidence, reply.alternatives, plain=(unknown, None))


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
