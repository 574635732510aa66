"""What is heard as arrays of fixed shape, for programs that learn from it; in process and behind the server alike."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

import numpy as np

from bat_agent.hearing.heads import (
    as_array,
    decode_azimuth_deg,
    decode_distance_m,
    decode_elevation_deg,
    exclusive_directions,
    sigmoid,
    softmax,
)
from bat_agent.hearing.spread import BEHIND, BELOW, LEFT
from bat_agent.interfaces import (
    NUM_AZIMUTH_BINS,
    NUM_ELEVATION_BINS,
    SAMPLE_RATE_HZ,
    Encoder,
    Encoding,
    SlotEncoding,
)
from bat_agent.sound.waveform import Prepared, prepare

HEARING_KEYS = (
    "direction", "distance", "class_probs", "slot_probs", "embedding", "valid", "sides", "azimuth_probs",
    "elevation_probs",
)  # fmt: skip
_PROBE_S = 0.5


class Ears(Protocol):
    """What is needed of a :class:`~bat_agent.agent.Bat`."""

    @property
    def encoder(self) -> Encoder:
        """What hears."""
        ...

    @property
    def config(self) -> Any:
        """Its ``thresholds`` say how active a slot must be."""
        ...

    def encode(self, prepared: Prepared) -> Encoding:
        """The encoding of prepared clips."""
        ...


def hearing_arrays(bat: Ears, waveforms: Any) -> dict[str, np.ndarray]:
    """What ``bat`` hears in B clips, from one encoder batch; it says the same as :meth:`~bat_agent.agent.Bat.perceive`.

    ``waveforms`` is (B, 2, N), an array, a tensor or a list of B clips of one length, left ear first, 32 kHz, ±1; one
    clip (2, N) counts as a batch of one. With S slots (as many as the model separates, 1 where it does not), C classes
    (355) and tokens of width D the arrays are:

    * ``direction`` (B, S, 3) float32: unit vectors in the listener's frame, x right, y up, z back (:mod:`.scene`)
    * ``distance`` (B, S) float32: metres, 0 to 10
    * ``class_probs`` (B, C) float32: probability that each class is heard anywhere in the clip, in the order of labels
    * ``slot_probs`` (B, S, C) float32: probability that what each slot holds is of a class
    * ``embedding`` (B, D) float32: mean of the encoder's tokens
    * ``valid`` (B, S) bool: whether the slot holds a source whose direction is known
    * ``sides`` (B, S, 3) float32: probability that it is on the left, behind and below; near 0.5 it cannot be told, and
      ``direction`` is a guess between both sides (:class:`~bat_agent.hearing.spread.Spread`); 0.5 without such a head
    * ``azimuth_probs`` (B, S, 360) and ``elevation_probs`` (B, S, 180) float32: probability of each degree, from
      azimuth 0 and elevation −90; all that the look leaves open (:mod:`bat_agent.hearing.turning` joins looks by it)

    Slots come strongest first, so the valid ones come first. Where a slot holds no source, direction, distance,
    ``slot_probs``, ``sides`` and the probabilities of angles are 0. So are all of them but ``slot_probs``, with
    ``valid`` false, where the clip carries no direction (one microphone in both ears) or the encoder lacks the head
    of one of the angles; what sounds is told all the same. What else the encoder has no head for is 0, and so is
    everything of a silent clip. An encoder without slots cannot say that there is nothing: its only slot holds a
    source wherever there is any sound.

    Raises :class:`~bat_agent.errors.BadInput` for what is no such batch (:func:`~bat_agent.sound.waveform.prepare`).
    """
    with getattr(bat, "hearing", contextlib.nullcontext)(waveforms):
        return _arrays(bat, waveforms)


def _arrays(bat: Ears, waveforms: Any) -> dict[str, np.ndarray]:
    prepared = prepare(waveforms, bat.encoder)
    # All tokens, not those of the heads alone: the embedding must not depend on what was asked before.
    encoding = bat.encode(prepared)
    sounds = ~np.array(prepared.silent)
    order, holds = _ranked(encoding, bat.config.thresholds.activity)
    holds &= sounds[:, None]
    heads = encoding.slots or encoding
    there = holds & ~np.array(prepared.placeless)[:, None]
    valid = there & (heads.azimuth_logits is not None and heads.elevation_logits is not None)
    classes = len(bat.encoder.labels)
    said: Encoding | SlotEncoding = exclusive_directions(encoding.slots) if encoding.slots else encoding
    direction, distance = _places(said, order)
    embedding = as_array(encoding.tokens).mean(axis=1)
    return {
        "direction": np.where(valid[..., None], direction, 0).astype(np.float32),
        "distance": np.where(there, distance, 0).astype(np.float32),
        "class_probs": np.where(sounds[:, None], _class_probs(encoding, classes), 0).astype(np.float32),
        "slot_probs": np.where(holds[..., None], _slot_probs(encoding, order, classes), 0).astype(np.float32),
        "embedding": np.where(sounds[:, None], embedding, 0).astype(np.float32),
        "valid": valid,
        "sides": np.where(valid[..., None], _sides(said, order), 0).astype(np.float32),
        **{name: np.where(valid[..., None], probs, 0).astype(np.float32) for name, probs in _angles(said, order)},
    }


def hearing_shapes(bat: Ears) -> dict[str, tuple[int, ...]]:
    """Shape of each array of :func:`hearing_arrays` for one clip, without the batch axis.

    Encoders do not declare how many slots they have, so half a second of faint noise is encoded once.
    """
    probe = 0.01 * np.random.default_rng(0).standard_normal((1, 2, round(_PROBE_S * SAMPLE_RATE_HZ)))
    return {key: array.shape[1:] for key, array in hearing_arrays(bat, probe.astype(np.float32)).items()}


def _ranked(encoding: Encoding, activity_threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Slots in falling order of activity, (B, S), and whether each in that order holds a source."""
    if encoding.slots is None:
        shape = (len(encoding.tokens), 1)
        return np.zeros(shape, np.intp), np.ones(shape, bool)
    activity = sigmoid(encoding.slots.activity_logits).astype(float)
    order = np.argsort(-activity, axis=1, kind="stable")
    return order, np.take_along_axis(activity, order, axis=1) >= activity_threshold


def _places(said: Encoding | SlotEncoding, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (B, S, 3) and metres (B, S) of the slots in this order; 0 where the encoder has no such head."""

    def ranked(values: np.ndarray | None) -> np.ndarray:
        if values is None:
            return np.zeros(order.shape)
        return np.take_along_axis(values.reshape(order.shape), order, axis=1)

    distance = ranked(decode_distance_m(said.distance_logits))
    if said.azimuth_logits is None or said.elevation_logits is None:
        return np.zeros((*order.shape, 3)), distance
    azimuth = np.radians(ranked(decode_azimuth_deg(said.azimuth_logits)))
    elevation = np.radians(ranked(decode_elevation_deg(said.elevation_logits)))
    across = np.cos(elevation)
    return np.stack((across * np.cos(azimuth), np.sin(elevation), -across * np.sin(azimuth)), axis=-1), distance


def _sides(said: Encoding | SlotEncoding, order: np.ndarray) -> np.ndarray:
    """Probability of left, behind and below (B, S, 3) of the slots in this order."""
    found = np.full((*order.shape, 3), 0.5)
    heads = (said.azimuth_logits, said.azimuth_logits, said.elevation_logits)
    for axis, (logits, share) in enumerate(zip(heads, (LEFT, BEHIND, BELOW), strict=True)):
        if logits is not None:
            mass = softmax(logits) @ share
            found[..., axis] = np.take_along_axis(mass.reshape(order.shape), order, axis=1)
    return np.clip(found, 0, 1)


def _angles(said: Encoding | SlotEncoding, order: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Probabilities (B, S, bins) of azimuth and elevation of the slots in this order; 0 without such a head."""
    heads = (
        ("azimuth_probs", said.azimuth_logits, NUM_AZIMUTH_BINS),
        ("elevation_probs", said.elevation_logits, NUM_ELEVATION_BINS),
    )
    found = []
    for name, logits, bins in heads:
        probs = np.zeros((*order.shape, bins))
        if logits is not None:
            probs = softmax(logits).reshape(*order.shape, bins)
        found.append((name, np.take_along_axis(probs, order[..., None], axis=1)))
    return found


def _class_probs(encoding: Encoding, classes: int) -> np.ndarray:
    if encoding.class_logits is None:
        return np.zeros((len(encoding.tokens), classes))
    return sigmoid(encoding.class_logits)


def _slot_probs(encoding: Encoding, order: np.ndarray, classes: int) -> np.ndarray:
    if encoding.slots is None:
        return _class_probs(encoding, classes)[:, None]
    said = sigmoid(encoding.slots.class_logits)
    return np.take_along_axis(said, order[..., None], axis=1)
