"""From an encoder's logits to what a person would say: what sounds, where and how far, each with a confidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bat_agent.hearing.confidence import Calibration, direction_confidence, distance_confidence
from bat_agent.hearing.heads import DIRECTION_KERNEL_DEG as DIRECTION_KERNEL_DEG
from bat_agent.hearing.heads import (
    decode_azimuth_deg,
    decode_distance_m,
    decode_elevation_deg,
    exclusive_directions,
    sigmoid,
    softmax,
)
from bat_agent.hearing.spread import BEHIND as BEHIND
from bat_agent.hearing.spread import BELOW as BELOW
from bat_agent.hearing.spread import LEFT as LEFT
from bat_agent.hearing.spread import WORDS, Spread, spread_of
from bat_agent.hearing.turning import Placed
from bat_agent.interfaces import (
    NUM_AZIMUTH_BINS,
    NUM_CLASSES,
    NUM_DISTANCE_BINS,
    NUM_ELEVATION_BINS,
    Encoding,
    SlotEncoding,
)
from bat_agent.scene import region


@dataclass(frozen=True)
class PerceivedSource:
    """One source as heard; angles in the frame drawn in :mod:`bat_agent.scene`."""

    labels: tuple[str, ...]
    """Display names, likeliest first."""
    azimuth_deg: float | None
    """[0, 360): 0 right, 90 front; ``None`` if the encoder has no such head."""
    elevation_deg: float | None
    """[−90, 90], positive above."""
    distance_m: float | None
    """0 to 10 in steps of 0.5."""
    confidence: float
    """Probability that something like this sounds at all."""
    confidences: dict[str, float] = field(default_factory=dict)
    """Probability that what is said is right: ``label`` (the first one sounds), ``direction`` (within 20°),
    ``distance`` (within 0.5 m); see :mod:`bat_agent.hearing.confidence`."""
    sides: tuple[str, ...] | None = None
    """``("left", "front", "above")``: of each axis the side with most of the probability, left out where the encoder
    lacks its head; ``None`` where only the angles are known, or no place. Near a border it may be the other one than
    the angle's, and is right more often."""
    spread: Spread | None = None
    """How far the direction is spread, over the cone of confusion above all; ``None`` without a head of angles."""
    undecided: tuple[str, ...] = ()
    """The axes (``left_right``, ``front_behind``, ``above_below``) on which it cannot be told apart: there ``sides``
    and the angles are a guess, and :attr:`where` says so."""
    guessed: bool = False
    """Whether no label is likely enough to be named: the one that is given is the best guess."""

    def __repr__(self) -> str:
        return f"PerceivedSource({self._in_words(40)})"

    def _in_words(self, most: int) -> str:
        """E.g. ``Siren 0.93 az 87° el 3° 2.5 m``, the label in at most so many characters."""
        label = self.labels[0] if self.labels else "unnamed"
        label = label if len(label) <= most else f"{label[: most - 1]}…"
        where = (("az {:.0f}°", self.azimuth_deg), ("el {:.0f}°", self.elevation_deg), ("{:.1f} m", self.distance_m))
        return " ".join(
            [f"{label} {self.confidence:.2f}", *(text.format(value) for text, value in where if value is not None)]
        )

    @property
    def region(self) -> str | None:
        """E.g. ``left, front, above``: the :attr:`sides`, else those of the angles; without what is not known."""
        if self.sides is not None:
            return ", ".join(self.sides)
        words = region(self.azimuth_deg or 0.0, self.elevation_deg or 0.0).split(", ")
        known = (self.azimuth_deg, self.azimuth_deg, self.elevation_deg)
        return ", ".join(word for word, angle in zip(words, known, strict=True) if angle is not None) or None

    def without_place(self) -> PerceivedSource:
        """The same source where no direction and no distance can be told."""
        kept = {name: value for name, value in self.confidences.items() if name == "label"}
        return dataclasses.replace(
            self, azimuth_deg=None, elevation_deg=None, distance_m=None, sides=None, confidences=kept,
            spread=None, undecided=(),
        )  # fmt: skip

    @property
    def text(self) -> str:
        """What sounds where, as somebody would say it; what is not known is left out."""
        name = "; ".join(self.labels) or "something"
        named, _, left_open = (self.where or "").partition("; ")
        far = "" if self.distance_m is None else f"{self.distance_m:.1f} m"
        place = "; ".join(part for part in (", ".join(filter(None, (named, far))), left_open) if part)
        return f"{'perhaps ' if self.guessed else ''}{name}{': ' if place else ''}{place}"

    @property
    def where(self) -> str | None:
        """The region without what cannot be told: ``left, above; in front or behind I cannot tell``."""
        if self.spread is None or not self.undecided:
            return self.region
        return self.spread.in_words(self.undecided)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "labels": list(self.labels),
            "azimuth_deg": self.azimuth_deg,
            "elevation_deg": self.elevation_deg,
            "distance_m": self.distance_m,
            "region": self.region,
            "confidence": round(self.confidence, 4),
            "confidences": {name: round(value, 4) for name, value in self.confidences.items()},
            "guessed": self.guessed,
            "where": self.where,
            "undecided": list(self.undecided),
            "spread": None if self.spread is None else self.spread.to_dict(),
        }


@dataclass(frozen=True)
class Perception:
    """Everything an encoder says about a clip."""

    sources: tuple[PerceivedSource, ...] = ()
    """Strongest first; empty for silence."""
    class_probs: dict[str, float] = field(default_factory=dict)
    """Probability that each class is heard anywhere in the clip."""
    notes: tuple[str, ...] = ()
    """What the listener should know about the input (silence, cut, clipped, …)."""

    def __repr__(self) -> str:
        # One screen line whatever is heard: the strongest two, and how many more.
        said = [f"[{source._in_words(12)}]" for source in self.sources[:2]] or ["nothing"]
        said += [f"{len(self.sources) - 2} more"] if len(self.sources) > 2 else []
        said += [f"{len(self.notes)} note{'s' * (len(self.notes) > 1)}"] if self.notes else []
        return f"Perception({', '.join(said)})"

    @property
    def text(self) -> str:
        """One line a source: ``Siren: left, above, 2.5 m; in front or behind I cannot tell``."""
        return "\n".join(source.text for source in self.sources) or "nothing is heard"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "sources": [source.to_dict() for source in self.sources],
            "class_probs": {label: round(p, 4) for label, p in self.class_probs.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Thresholds:
    """Where a probability becomes a statement; chosen on validation data and stored with the model."""

    activity: float = 0.5
    """A slot holds a source above this."""
    label: float = 0.5
    """A label is named above this; the likeliest one always is."""
    heard: float = 0.0
    """A sound that a question names is ``not heard`` below this, one of two far below it; 0 takes every question at its
    word."""
    unsure: float = 0.0
    """An answer is ``not sure`` where its calibrated confidence is less than this share of the way from chance to
    certainty (:func:`bat_agent.hearing.confidence.is_sure`); 0 for never."""
    left_right: float = 0.5
    """A side of this axis is named from this probability on, that of the posterior; likewise below. 0.5 names one
    always; ``bat-agent evaluate calibrate`` finds from where on it is right twice as often as not."""
    front_behind: float = 0.5
    above_below: float = 0.5

    @property
    def sides(self) -> dict[str, float]:
        """Axis → the probability from which on a side is named."""
        return {axis: getattr(self, axis) for axis in WORDS}


def perceive(
    encoding: Encoding,
    labels: Sequence[str],
    thresholds: Thresholds,
    notes: Sequence[str] = (),
    calibration: Calibration | None = None,
) -> list[Perception]:
    """One perception per clip of the encoding. Bins are decoded where they hold most probability together with their
    neighbours (10° around for directions, one bin for the distance), which is steadier than the single best bin. An
    encoder without a class head names no labels.
    """
    calibration = calibration or Calibration()
    clips = len(encoding.tokens)
    probs = _probabilities(encoding.class_logits, sigmoid)
    return [
        Perception(
            _sources(sources, labels, thresholds, calibration, encoding.slots is None),
            {} if probs is None else dict(zip(labels, probs[clip].tolist(), strict=True)),
            tuple(notes),
        )
        for clip, sources in zip(range(clips), _heard(encoding), strict=True)
    ]


@dataclass(frozen=True)
class _Heard:
    """One slot of one clip; a head that the encoder lacks is ``None``."""

    activity: float
    class_probs: np.ndarray | None
    azimuth: tuple[float, np.ndarray] | None
    """Degrees and the probabilities of all bins; likewise below."""
    elevation: tuple[float, np.ndarray] | None
    distance: tuple[float, np.ndarray] | None


def _sources(
    heard: list[_Heard], labels: Sequence[str], thresholds: Thresholds, calibration: Calibration, always: bool
) -> tuple[PerceivedSource, ...]:
    ranked = sorted(heard, key=lambda h: -h.activity)
    # An encoder without slots cannot say that there is nothing: it always speaks.
    audible = [h for h in ranked if always or h.activity >= thresholds.activity]
    return tuple(_source(h, labels, thresholds, calibration) for h in audible)


def _source(h: _Heard, labels: Sequence[str], thresholds: Thresholds, calibration: Calibration) -> PerceivedSource:
    confidences: dict[str, float] = {}
    named: list[int] = []
    guessed = False
    if h.class_probs is not None:
        order = np.argsort(-h.class_probs)
        named = [int(i) for i in order if h.class_probs[i] >= thresholds.label] or [int(order[0])]
        confidences["label"] = calibration.label(float(h.class_probs[order[0]]))
        guessed = bool(h.class_probs[order[0]] < thresholds.label)
    if h.azimuth and h.elevation:
        sure = direction_confidence(h.azimuth[1], h.elevation[1], h.azimuth[0], h.elevation[0])
        confidences["direction"] = calibration.direction(sure)
    if h.distance:
        confidences["distance"] = calibration.distance(distance_confidence(h.distance[1], h.distance[0]))
    spread = spread_of(h.azimuth, h.elevation)
    azimuth, elevation, distance = (None if head is None else head[0] for head in (h.azimuth, h.elevation, h.distance))
    return PerceivedSource(
        tuple(labels[i] for i in named), azimuth, elevation, distance, calibration.source(h.activity), confidences,
        (tuple(word for word, _ in spread.sides.values()) or None) if spread else None,
        spread, spread.open_axes(thresholds.sides) if spread else (), guessed,
    )  # fmt: skip


def replaced(
    source: PerceivedSource, placed: Placed, thresholds: Thresholds, calibration: Calibration | None = None
) -> PerceivedSource:
    """The same source where the looks of a head that turned have it together (:mod:`bat_agent.hearing.turning`)."""
    azimuth, elevation = (placed.azimuth_deg, placed.azimuth), (placed.elevation_deg, placed.elevation)
    spread = spread_of(azimuth, elevation)
    assert spread is not None
    sure = direction_confidence(azimuth[1], elevation[1], azimuth[0], elevation[0])
    confidences = {**source.confidences, "direction": (calibration or Calibration()).direction(sure)}
    return dataclasses.replace(
        source, azimuth_deg=azimuth[0], elevation_deg=elevation[0], confidences=confidences,
        sides=tuple(word for word, _ in spread.sides.values()), spread=spread,
        undecided=spread.open_axes(thresholds.sides),
    )  # fmt: skip


def _heard(encoding: Encoding) -> list[list[_Heard]]:
    """The slots of each clip; an encoder without slots has one, as active as its likeliest class."""
    said: Encoding | SlotEncoding = exclusive_directions(encoding.slots) if encoding.slots else encoding
    shape = (len(encoding.tokens), -1)

    def per_slot(values: np.ndarray | None, *bins: int) -> np.ndarray | None:
        return None if values is None else values.reshape(*shape, *bins)

    classes = per_slot(_probabilities(said.class_logits, sigmoid), NUM_CLASSES)
    decoded = [
        (per_slot(decode(logits)), per_slot(_probabilities(logits, softmax), bins))
        for decode, logits, bins in (
            (decode_azimuth_deg, said.azimuth_logits, NUM_AZIMUTH_BINS),
            (decode_elevation_deg, said.elevation_logits, NUM_ELEVATION_BINS),
            (decode_distance_m, said.distance_logits, NUM_DISTANCE_BINS),
        )
    ]
    if isinstance(said, SlotEncoding):
        activity = _probabilities(said.activity_logits, sigmoid)
    else:
        activity = np.ones((len(encoding.tokens), 1)) if classes is None else classes.max(axis=-1)
    assert activity is not None
    return [
        [
            _Heard(
                float(activity[clip, slot]),
                None if classes is None else classes[clip, slot],
                *(
                    None if best is None or probs is None else (float(best[clip, slot]), probs[clip, slot])
                    for best, probs in decoded
                ),
            )
            for slot in range(activity.shape[1])
        ]
        for clip in range(len(activity))
    ]


def _probabilities(logits: Any, squash: Callable[[Any], np.ndarray]) -> np.ndarray | None:
    return None if logits is None else squash(logits)


told_apart = exclusive_directions
"""The old name, to be imported until bat-agent 0.3."""


def hears_nothing(encoding: Encoding, thresholds: Thresholds) -> list[float | None]:
    """For each clip the probability that nothing sounds, where no slot holds a source; ``None`` where one does, or
    where the encoder has no slots and so cannot say.
    """
    if encoding.slots is None:
        return [None] * len(encoding.tokens)
    activity = sigmoid(encoding.slots.activity_logits).max(axis=1).tolist()
    return [None if likeliest >= thresholds.activity else 1 - likeliest for likeliest in activity]
