"""What is heard in one clip, for queries, and the forms that answers have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bat_agent.hearing.perception import Thresholds
from bat_agent.hearing.posterior import Clip, Heard
from bat_agent.interfaces import Reply
from bat_agent.labels import labels
from bat_agent.questions.answers import YES_NO, answer_labels, format_distance
from bat_agent.questions.free.names import SOMEONE, VOICES
from bat_agent.questions.free.query import Query
from bat_agent.questions.free.seen import NOTHING
from bat_agent_talk.worlds import Statements, Worlds

UNKNOWN_SHARE = 0.05
"""How likely a sound is there that is no class: it would be heard as something else."""
NEAR_DEG, NEAR_M = 20.0, 0.5
"""How far off a number may be that counts as right."""


class Scene:
    """What is heard in one clip, for queries."""

    def __init__(self, clip: Clip, thresholds: Thresholds) -> None:
        self.clip, self.thresholds = clip, thresholds
        self.worlds = Worlds(clip)

    def share_of(self, sound: str) -> float:
        """How likely a named sound is there: it is if it is anywhere in the clip or in one of the slots."""
        numbers = list(classes_of(sound))
        if not numbers:
            return UNKNOWN_SHARE
        probs = self.clip.classes()
        for slot in self.clip.slots:
            probs = np.maximum(probs, slot.perceived.confidence * slot.class_probs)
        return float(max(probs[numbers]))

    def find(self, sounds: Sequence[str]) -> list[Heard]:
        """The slot of each sound; different ones for different sounds, as far as there are enough."""
        known = [classes_of(sound) or tuple(range(len(labels()))) for sound in sounds]
        if len(known) <= 2:
            return self.clip.find(known)
        return [self.clip.find([numbers])[0] for numbers in known]

    def others(self, sound: str) -> list[Heard]:
        """The sources besides a named one."""
        named = self.find([sound])[0] if self.share_of(sound) >= max(self.thresholds.heard, 1e-9) else None
        return [source for source in self.clip.sources if source is not named]

    def on(self, slot: Heard, query: Query) -> float:
        """How likely a slot is on all sides of a query, after its turn or walk."""
        if not query.turn_deg and not query.walk_m:
            return math.prod(slot.side(side) for side in query.sides)
        return share_of(self.is_on(slot, query))

    def is_on(self, slot: Heard, query: Query) -> Statements:
        """(N,) the same, world by world."""
        sides = [self.worlds.toward(slot, side, query) > 0 for side in query.sides]
        return np.all(sides, axis=0) if sides else np.ones(self.worlds.count, dtype=bool)


def classes_of(sound: str) -> tuple[int, ...]:
    """The numbers of the classes that a sound of a query may be; none for a sound that is no class."""
    table = [name.lower() for name in labels()]
    if sound == SOMEONE:
        return tuple(number for number, name in enumerate(table) if name in VOICES)
    return (table.index(sound),) if sound in table else ()


def azimuth_deg(source: Heard) -> float:
    """The decoded azimuth; :class:`~bat_agent.errors.BadInput` where the encoder has no such head."""
    source.head("azimuth")
    assert source.perceived.azimuth_deg is not None
    return source.perceived.azimuth_deg


def named(sources: Sequence[Heard], share: float) -> Reply:
    """The labels of sources; ``share``: how likely it is that these are meant."""
    if not sources:
        return Reply(NOTHING, share)
    named = dict.fromkeys(label for source in sources for label in source.perceived.labels)
    return Reply(answer_labels(named), share * math.prod(label_share(source) for source in sources))


def label_share(source: Heard) -> float:
    """How likely the first label is right."""
    return float(max(source.class_probs))


def share_of(true: Statements) -> float:
    """The share of worlds in which a statement is true."""
    return float(np.mean(true))


def metres(found: np.ndarray) -> Reply:
    """The middle of distances over the worlds."""
    said_m = float(np.median(found))
    return Reply(format_distance(said_m), share_of(np.abs(found - said_m) <= NEAR_M / 2))


def yes_no(share: float, yes: bool | None = None) -> Reply:
    """``Yes`` if the statement is likelier than not, or as the caller has decided."""
    yes = share > 0.5 if yes is None else yes
    return _weighed(YES_NO[not yes], {YES_NO[0]: share, YES_NO[1]: 1 - share})


def either(words: tuple[str, str], first: float) -> Reply:
    """One of two words; the same word twice leaves no choice."""
    if words[0] == words[1]:
        return Reply(words[0], 1.0)
    return _weighed(words[first <= 0.5], {words[0]: first, words[1]: 1 - first})


def _weighed(text: str, shares: dict[str, float]) -> Reply:
    return Reply(text, shares[text], sorted(shares.items(), key=lambda item: -item[1]))
