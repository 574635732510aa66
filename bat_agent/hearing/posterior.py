"""What the heads say of one clip, as probabilities: which sounds, on which side, how far.

Sources are sorted as :func:`bat_agent.hearing.perception.perceive` sorts them, strongest first; an encoder without
slots hears one. The posteriors of azimuth, elevation and distance are taken as independent of each other and between
sources.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.hearing.heads import as_array, exclusive_directions, sigmoid, softmax
from bat_agent.hearing.perception import BEHIND, BELOW, LEFT, PerceivedSource, Thresholds, perceive
from bat_agent.interfaces import NUM_AZIMUTH_BINS, NUM_CLASSES, NUM_DISTANCE_BINS, NUM_ELEVATION_BINS, Encoding
from bat_agent.labels import labels
from bat_agent.questions.answers import AXES
from bat_agent.scene import unit_vector

DISTANCES_M = np.arange(NUM_DISTANCE_BINS) / 2
_AZIMUTH = np.radians(np.arange(NUM_AZIMUTH_BINS))
_ELEVATION = np.radians(np.arange(NUM_ELEVATION_BINS) - 90.0)
_HEADS = ("azimuth", "elevation", "distance")


@dataclass(frozen=True)
class Heard:
    """One source, or one slot that may hold one. A head that the encoder lacks is ``None``."""

    perceived: PerceivedSource
    """Labels, decoded position and the probability that it is there (``confidence``)."""
    class_probs: np.ndarray
    """(355,)"""
    azimuth: np.ndarray | None
    """(360,) probabilities."""
    elevation: np.ndarray | None
    """(180,) probabilities."""
    distance: np.ndarray | None
    """(21,) probabilities."""

    def head(self, name: str) -> np.ndarray:
        """The probabilities of a head; :class:`~bat_agent.errors.BadInput` where the encoder lacks it."""
        probs: np.ndarray | None = getattr(self, name)
        if probs is None:
            raise lacks(name)
        return probs

    def side(self, word: str) -> float:
        """Probability that it is on the side of a direction word: the mass of the posterior there."""
        if word in AXES["above_below"]:
            second, first = float(self.head("elevation") @ BELOW), "above"
        elif word in AXES["left_right"]:
            second, first = float(self.head("azimuth") @ LEFT), "right"
        else:
            second, first = float(self.head("azimuth") @ BEHIND), "front"
        return _clipped(1 - second if word == first else second)

    @property
    def distance_m(self) -> float:
        """The decoded distance."""
        self.head("distance")
        assert self.perceived.distance_m is not None
        return self.perceived.distance_m

    @property
    def distance_share(self) -> float:
        """Probability of the decoded distance."""
        return _clipped(float(self.head("distance")[round(2 * self.distance_m)]))

    @property
    def point_m(self) -> tuple[float, float, float]:
        """The decoded position (x, y, z) in the listener's frame; needs all three heads."""
        for name in _HEADS:
            self.head(name)
        azimuth_deg, elevation_deg = self.perceived.azimuth_deg, self.perceived.elevation_deg
        assert azimuth_deg is not None
        assert elevation_deg is not None
        x, y, z = unit_vector(azimuth_deg, elevation_deg)
        return (self.distance_m * x, self.distance_m * y, self.distance_m * z)

    def near(self, distance_m: float) -> float:
        """How well a distance fits, in (0, 1]: the posterior seen through a window of 0.5 m."""
        window = np.exp(-0.5 * ((DISTANCES_M - distance_m) / 0.5) ** 2)
        return float(self.head("distance") @ window) + 1e-6

    def coordinate(self, axis: str) -> tuple[float, float]:
        """Mean and variance, metres, of how far left, in front or above it is (first word of the axis positive).

        left = −d cos el cos az, front = d cos el sin az, above = d sin el, each a product of independent factors.
        """
        distance, elevation = self.head("distance"), self.head("elevation")
        factors = [(distance, DISTANCES_M)]
        if axis == "above_below":
            factors.append((elevation, np.sin(_ELEVATION)))
        else:
            turn = -np.cos(_AZIMUTH) if axis == "left_right" else np.sin(_AZIMUTH)
            factors += [(elevation, np.cos(_ELEVATION)), (self.head("azimuth"), turn)]
        mean = math.prod(float(probs @ values) for probs, values in factors)
        square = math.prod(float(probs @ values**2) for probs, values in factors)
        return mean, max(square - mean**2, 0.0)


@dataclass(frozen=True)
class Clip:
    """What is heard in one clip."""

    slots: tuple[Heard, ...]
    """Strongest first; at least one."""
    audible: int
    """The first so many hold a source; at least 1."""
    class_probs: np.ndarray | None
    """(355,) probability that each class is heard anywhere; ``None`` without a class head."""
    thresholds: Thresholds
    """Where a probability becomes a statement, here as in a perception."""

    @property
    def sources(self) -> tuple[Heard, ...]:
        """The slots that hold a source."""
        return self.slots[: self.audible]

    def classes(self) -> np.ndarray:
        """``class_probs``; :class:`~bat_agent.errors.BadInput` where the encoder has no class head."""
        if self.class_probs is None:
            raise lacks("class")
        return self.class_probs

    def find(self, sounds: Sequence[Sequence[int]]) -> list[Heard]:
        """The source meant by each name: where its class is likeliest, among those that a perception lists by it if
        there are any; two names mean two sources if there are two.
        """
        self.classes()
        fit = [
            [slot.perceived.confidence * max(slot.class_probs[list(s)]) + self._lists(slot, s) for slot in self.slots]
            for s in sounds
        ]
        places = range(len(self.slots))
        if len(sounds) == 1 or len(places) == 1:
            return [self.slots[int(np.argmax(row))] for row in fit]
        _, first, second = max((fit[0][i] * fit[1][j], i, j) for i in places for j in places if i != j)
        return [self.slots[first], self.slots[second]]

    def is_there(self, sound: Sequence[int], share: float) -> bool:
        """Whether a sound is said to be there: from the threshold on, and wherever a perception lists it."""
        return share >= self.thresholds.label or any(self._lists(slot, sound) for slot in self.slots)

    def _lists(self, slot: Heard, sound: Sequence[int]) -> bool:
        """Whether a perception lists the slot as a source, and by this name."""
        active = slot.perceived.confidence >= self.thresholds.activity
        return active and float(max(slot.class_probs[list(sound)])) >= self.thresholds.label


def hear(encoding: Encoding, thresholds: Thresholds) -> list[Clip]:
    """One :class:`Clip` for each clip of the encoding.

    Raises :class:`~bat_agent.errors.BadInput` for an encoder of other classes than the 355.
    """
    logits = None if encoding.class_logits is None else as_array(encoding.class_logits)
    if logits is not None and logits.shape[-1] != NUM_CLASSES:
        raise BadInput(
            f"this reasoner knows the {NUM_CLASSES} classes of the label table, but this encoder has "
            f"{logits.shape[-1]}; use an encoder with the class table of bat_agent.labels"
        )
    named = logits
    if named is None:  # directions and distances can be told without it
        named = np.zeros((len(encoding.tokens), NUM_CLASSES), np.float32)
    # Below every activity: all slots are wanted here, sorted as perceive sorts them.
    everything = dataclasses.replace(thresholds, activity=-1.0)
    named_too: Any = named  # an array where the rest may be tensors
    perceptions = perceive(dataclasses.replace(encoding, class_logits=named_too), labels(), everything)
    activity, class_probs, posteriors = _heads(encoding, named)
    clips = []
    for number, perception in enumerate(perceptions):
        order = sorted(range(len(activity[number])), key=lambda slot: -float(activity[number, slot]))
        slots = tuple(
            Heard(
                source,
                class_probs[number, slot],
                *(None if probs is None else probs[number, slot] for probs in posteriors),
            )
            for source, slot in zip(perception.sources, order, strict=True)
        )
        audible = sum(slot.perceived.confidence >= thresholds.activity for slot in slots)
        known = None if logits is None else np.array(list(perception.class_probs.values()))
        clips.append(Clip(slots, max(audible, 1), known, thresholds))
    return clips


def lacks(head: str) -> BadInput:
    """The error for a question that needs a head the encoder has not got."""
    return BadInput(
        f"this question needs the {head} of a sound, but the encoder has no {head} head; "
        "ask something else or use an encoder that has one"
    )


def _heads(encoding: Encoding, class_logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray | None]]:
    """Activity (B, S), class probabilities (B, S, 355), and those of azimuth, elevation and distance (B, S, bins)."""
    slots = encoding.slots
    if slots is None:
        class_probs = sigmoid(class_logits)[:, None]
        singles = [getattr(encoding, f"{name}_logits") for name in _HEADS]
        posteriors = [None if head is None else _posterior(head)[:, None] for head in singles]
        return class_probs.max(axis=2), class_probs, posteriors
    slots = exclusive_directions(slots)
    heads = [getattr(slots, f"{name}_logits") for name in _HEADS]
    posteriors = [None if head is None else _posterior(head) for head in heads]
    return sigmoid(slots.activity_logits), sigmoid(slots.class_logits), posteriors


def _posterior(logits: Any) -> np.ndarray:
    return softmax(as_array(logits).astype(np.float64))


def _clipped(probability: float) -> float:
    """Sums of probabilities may leave [0, 1] by rounding."""
    return min(max(probability, 0.0), 1.0)
