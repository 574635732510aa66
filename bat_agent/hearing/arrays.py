"""What is heard as arrays of fixed shape, for programs that learn from it; in process and behind the server alike."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

import numpy as np

from bat_agent.hearing.heads import (
    DIRECTION_KERNEL_DEG,
    as_array,
    decode_distance_m,
    exclusive_directions,
    most_likely,
    sigmoid,
    softmax,
)
from bat_agent.hearing.masks import masks_of
from bat_agent.hearing.spread import BEHIND, BELOW, LEFT
from bat_agent.interfaces import (
    NUM_AZIMUTH_BINS,
    NUM_ELEVATION_BINS,
    NUM_MELS,
    SAMPLE_RATE_HZ,
    Encoder,
    Encoding,
    SlotEncoding,
)
from bat_agent.sound.waveform import Prepared, prepare

HEARING_KEYS = (
    "direction", "distance", "class_probs", "slot_probs", "embedding", "valid", "sides", "azimuth_probs",
    "elevation_probs", "masks",
)  # fmt: skip
MASK_ROWS = 25
"""Stretches of time of the ``masks``: of 80 ms each in a clip of 2 s."""
_PROBE_S = 0.5
_LEFT_AND_BEHIND = np.stack((LEFT, BEHIND), axis=-1)


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
    * ``masks`` (B, S, 25, 128) float32: share of what each slot holds in each mel band of 25 equal stretches of the
      clip (:mod:`bat_agent.hearing.masks`); an encoder without masks shares evenly

    Slots come strongest first, so the valid ones come first. Where a slot holds no source, direction, distance,
    ``slot_probs``, ``sides``, ``masks`` and the probabilities of angles are 0. So are all of them but ``slot_probs``
    and ``masks``, with ``valid`` false, where the clip carries no direction (one microphone in both ears) or the
    encoder lacks the head of one of the angles; what sounds is told all the same. What else the encoder has no head for
    is 0, and so is everything of a silent clip. An encoder without slots cannot say that there is nothing: its only
    slot holds a source wherever there is any sound.

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
    azimuth_probs = _ranked_probs(said.azimuth_logits, order, NUM_AZIMUTH_BINS)
    elevation_probs = _ranked_probs(said.elevation_logits, order, NUM_ELEVATION_BINS)
    embedding = as_array(encoding.tokens).mean(axis=1)
    return {
        "direction": _where(valid[..., None], _unit_vectors(azimuth_probs, elevation_probs)),
        "distance": _where(there, _distances(said, order)),
        "class_probs": _where(sounds[:, None], _class_probs(encoding, classes)),
        "slot_probs": _where(holds[..., None], _slot_probs(encoding, order, classes)),
        "embedding": _where(sounds[:, None], embedding),
        "valid": valid,
        "sides": _where(valid[..., None], _sides(said, azimuth_probs, elevation_probs)),
        "azimuth_probs": _where(valid[..., None], azimuth_probs),
        "elevation_probs": _where(valid[..., None], elevation_probs),
        "masks": _where(holds[..., None, None], _masks(bat.encoder, prepared.waveform, encoding, order)),
    }


def _where(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(known, values, 0).astype(np.float32)


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


def _ranked_probs(logits: Any, order: np.ndarray, bins: int) -> np.ndarray:
    """Probabilities (B, S, bins) of the slots in this order; 0 without such a head."""
    if logits is None:
        return np.zeros((*order.shape, bins))
    return np.take_along_axis(softmax(logits).reshape(*order.shape, bins), order[..., None], axis=1)


def _distances(said: Encoding | SlotEncoding, order: np.ndarray) -> np.ndarray:
    """Metres (B, S) of the slots in this order; 0 where the encoder has no such head."""
    found = decode_distance_m(said.distance_logits)
    return np.zeros(order.shape) if found is None else np.take_along_axis(found.reshape(order.shape), order, axis=1)


def _unit_vectors(azimuth_probs: np.ndarray, elevation_probs: np.ndarray) -> np.ndarray:
    """(B, S, 3) of where most probability is."""
    azimuth = np.radians(most_likely(azimuth_probs, DIRECTION_KERNEL_DEG, circular=True).astype(float))
    elevation = np.radians(most_likely(elevation_probs, DIRECTION_KERNEL_DEG, circular=False) - 90.0)
    across = np.cos(elevation)
    return np.stack((across * np.cos(azimuth), np.sin(elevation), -across * np.sin(azimuth)), axis=-1)


def _sides(said: Encoding | SlotEncoding, azimuth_probs: np.ndarray, elevation_probs: np.ndarray) -> np.ndarray:
    """Probability of left, behind and below (B, S, 3)."""
    found = np.full((*azimuth_probs.shape[:2], 3), 0.5)
    if said.azimuth_logits is not None:
        found[..., :2] = azimuth_probs @ _LEFT_AND_BEHIND
    if said.elevation_logits is not None:
        found[..., 2] = elevation_probs @ BELOW
    return np.clip(found, 0, 1)


def _masks(encoder: Encoder, waveform: np.ndarray, encoding: Encoding, order: np.ndarray) -> np.ndarray:
    """(B, S, MASK_ROWS, 128) of the slots in this order; of each stretch what the encoder says of its middle."""
    told = masks_of(encoder, waveform, encoding)
    if told is None:
        return np.full((*order.shape, MASK_ROWS, NUM_MELS), 1 / order.shape[1])
    said = np.take_along_axis(told, order[..., None, None], axis=1)
    rows = (np.arange(MASK_ROWS) + 0.5) * said.shape[2] / MASK_ROWS
    return said[:, :, rows.astype(int)]


def _class_probs(encoding: Encoding, classes: int) -> np.ndarray:
    if encoding.class_logits is None:
        return np.zeros((len(encoding.tokens), classes))
    return sigmoid(encoding.class_logits)


def _slot_probs(encoding: Encoding, order: np.ndarray, classes: int) -> np.ndarray:
    if encoding.slots is None:
        return _class_probs(encoding, classes)[:, None]
    said = sigmoid(encoding.slots.class_logits)
    return np.take_along_axis(said, order[..., None], axis=1)
