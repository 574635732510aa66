"""What an encoder perceives, in words that a language model can reason about: one text for each clip.

Every number is the encoder's own: labels with their probabilities, direction and distance as
:func:`bat_agent.hearing.perception.perceive` decodes them, and how likely they are right. Offsets are the same place in
metres along the three axes, so that no one has to know trigonometry to say what is left of what. How sources lie
relative to each other is left to the reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from bat_agent.errors import BadInput
from bat_agent.hearing.perception import PerceivedSource, Perception, Thresholds, perceive
from bat_agent.interfaces import NUM_CLASSES, Encoding
from bat_agent.labels import labels
from bat_agent.questions import format_distance
from bat_agent.questions.answers import AXES
from bat_agent.scene import unit_vector

NOTHING = "Nothing is heard: the clip is silent."
LEAST_PROBABILITY = 0.1
"""A class that is less likely is not mentioned as a possibility."""
MOST_NAMED = 10
"""Labels of a source that are named; an encoder that was not trained would name hundreds."""
MOST_POSSIBLE = 4
"""Possibilities that are mentioned of a source, or of the clip."""

Probabilities = Sequence[float] | np.ndarray


def describe(encoding: Encoding, thresholds: Thresholds) -> list[str]:
    """One description for each clip of the encoding.

    Raises :class:`~bat_agent.errors.BadInput` for an encoder of other classes than the 355.
    """
    encoding = encoding.detach()
    if encoding.class_logits is not None and encoding.class_logits.shape[-1] != NUM_CLASSES:
        raise BadInput(
            f"the reasoner 'scene-prompt' knows the {NUM_CLASSES} classes of the label table, but this encoder has "
            f"{encoding.class_logits.shape[-1]}; use an encoder with the class table of bat_agent.labels"
        )
    perceptions = perceive(encoding, labels(), thresholds)
    probabilities = _class_probabilities(encoding)
    return [
        in_words(perception, None if probabilities is None else probabilities[clip], thresholds)
        for clip, perception in enumerate(perceptions)
    ]


def in_words(perception: Perception, class_probs: np.ndarray | None, thresholds: Thresholds) -> str:
    """One clip in words; ``class_probs`` (S, 355) of each source, strongest first, where the encoder names classes."""
    sources = perception.sources
    if not sources:
        return NOTHING
    if sources[0].confidence < thresholds.activity:
        count = "Nothing is heard for certain. The best guess at a source, if there is one:"
    elif len(sources) == 1:
        count = "1 source is heard:"
    else:
        count = f"{len(sources)} sources are heard, the strongest first:"
    rows = [None] * len(sources) if class_probs is None else list(class_probs)
    parts = [count]
    for number, (source, probs) in enumerate(zip(sources, rows, strict=False), 1):
        parts.append("\n".join([f"Source {number}: {_names(source, probs)}", *_place(source)]))
    if possible := _possible_anywhere(perception):
        parts.append(f"Possible as well, anywhere in the clip: {possible}")
    return "\n\n".join(parts)


def _class_probabilities(encoding: Encoding) -> np.ndarray | None:
    """(B, S, 355) with the slots in the order of :func:`perceive`; one slot for an encoder without slots."""
    if encoding.class_logits is None and encoding.slots is None:
        return None
    if encoding.slots is None:
        return _sigmoid(encoding.class_logits)[:, None]
    activity = _sigmoid(encoding.slots.activity_logits)
    order = np.argsort(-activity, axis=1, kind="stable")
    return np.take_along_axis(_sigmoid(encoding.slots.class_logits), order[..., None], axis=1)


def _sigmoid(logits: Tensor | None) -> np.ndarray:
    assert logits is not None
    return logits.float().sigmoid().cpu().numpy()


def _names(source: PerceivedSource, probs: Probabilities | None) -> str:
    """``dog (0.93); bark (0.81); possibly growling (0.22)``."""
    if not source.labels or probs is None:
        return "; ".join(label.lower() for label in source.labels) or "a sound of unknown kind"
    of = dict(zip(labels(), probs, strict=True))
    named = [f"{label.lower()} ({of[label]:.2f})" for label in source.labels[:MOST_NAMED]]
    others = {label: share for label, share in of.items() if label not in source.labels}
    return "; ".join([*named, *(f"possibly {each}" for each in _likeliest(others))])


def _possible_anywhere(perception: Perception) -> str:
    named = {label for source in perception.sources for label in source.labels}
    return "; ".join(_likeliest({label: p for label, p in perception.class_probs.items() if label not in named}))


def _likeliest(shares: dict[str, float]) -> list[str]:
    ranked = sorted(shares.items(), key=lambda item: -item[1])[:MOST_POSSIBLE]
    return [f"{label.lower()} ({share:.2f})" for label, share in ranked if share >= LEAST_PROBABILITY]


def _place(source: PerceivedSource) -> list[str]:
    """Lines on where it is; what the encoder has no head for is said to be unknown."""
    azimuth, elevation, distance = source.azimuth_deg, source.elevation_deg, source.distance_m
    sides = (source.region or "").split(", ")
    region = "unknown" if azimuth is None else ", ".join(sides if elevation is not None else sides[:2])
    angles = (_known(name, value) for name, value in (("azimuth", azimuth), ("elevation", elevation)))
    lines = [
        f"- region: {region}",
        *(f"- cannot be told apart: {' and '.join(AXES[axis])}" for axis in source.undecided),
        f"- direction: {', '.join(angles)}{_sure(source, 'direction', 'within 20 degrees')}",
        f"- distance: {'unknown' if distance is None else format_distance(distance)}"
        f"{_sure(source, 'distance', 'within 0.5m')}",
    ]
    if azimuth is not None and elevation is not None and distance is not None:
        lines.append(f"- offset: {_offset(azimuth, elevation, distance, source.region or '')}")
    return [*lines, f"- probability that it is there: {source.confidence:.2f}"]


def _known(name: str, degrees: float | None) -> str:
    return f"{name} unknown" if degrees is None else f"{name} {round(degrees)} degrees"


def _sure(source: PerceivedSource, what: str, near: str) -> str:
    share = source.confidences.get(what)
    return "" if share is None else f" (right {near} with probability {share:.2f})"


def _offset(azimuth_deg: float, elevation_deg: float, distance_m: float, region: str) -> str:
    """``1.62 m left, 1.15 m front, 0.52 m above``: the sides are those of the region."""
    right, up, behind = (distance_m * axis for axis in unit_vector(azimuth_deg, elevation_deg))
    along = {"left_right": right, "front_behind": behind, "above_below": up}
    words = dict(zip(AXES, region.split(", "), strict=True))
    return ", ".join(f"{abs(along[axis]):.2f} m {word}" for axis, word in words.items())
