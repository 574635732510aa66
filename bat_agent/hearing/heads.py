"""What the heads of an encoder say, as numbers: probabilities, and the bin, angle or distance that logits stand for.

All of it is numpy, and logits may be arrays or torch tensors, on any device: the same code reads what torch computed
and what ONNX Runtime did.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.interfaces import NUM_AZIMUTH_BINS, SlotEncoding

Array = NDArray[np.floating]

DIRECTION_KERNEL_DEG = 10.0
DISTANCE_KERNEL_BINS = 0.8
APART_DEG = 30.0
SHARED_DIRECTION = 0.2
"""How likely it is, compared with elsewhere, that another source lies in the direction of one already named. Chosen
with the width on validation clips with two sources: there are none in one direction in BAT's mixtures, some in life."""


def as_array(values: Any) -> Array:
    """A tensor or an array as float32, or as float64 where it is that."""
    found = values.detach().float().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
    return found if found.dtype in (np.float32, np.float64) else found.astype(np.float32)


def sigmoid(logits: Any) -> Array:
    """Probabilities from logits of any shape."""
    found = as_array(logits)
    small = np.exp(-np.abs(found))  # of both signs, so that nothing overflows
    return np.where(found >= 0, 1, small) / (1 + small)


def log_softmax(logits: Any) -> Array:
    """Log-probabilities along the last axis."""
    found = as_array(logits)
    found = found - found.max(axis=-1, keepdims=True)
    return found - np.log(np.exp(found).sum(axis=-1, keepdims=True))


def softmax(logits: Any) -> Array:
    """Probabilities along the last axis."""
    found = as_array(logits)
    shares = np.exp(found - found.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def exclusive_directions(slots: SlotEncoding) -> SlotEncoding:
    """The slots with their azimuths made exclusive: what one has is less likely to be another's.

    Where two sounds mix, the slots of an encoder often hear both directions and are unsure which is whose: each then
    has two peaks, and taken alone they would all name the higher one. The most active slot keeps what it says; for each
    after it, directions near those already named count less (a fifth, within some 30°). A slot that hears one
    direction only keeps it all the same. Azimuth logits become log-probabilities, of the kind (array or tensor) that
    they were; everything else stays.
    """
    if slots.azimuth_logits is None:
        return slots
    logits = log_softmax(slots.azimuth_logits)
    order = np.argsort(-as_array(slots.activity_logits), axis=1, kind="stable")
    rows, bins = np.arange(len(logits)), np.arange(NUM_AZIMUTH_BINS)
    taken = np.zeros_like(logits[:, 0])
    out = logits.copy()
    for slot in order.T:
        own = log_softmax(logits[rows, slot] + taken)
        out[rows, slot] = own
        said = best_bins(own, DIRECTION_KERNEL_DEG, circular=True)
        apart = (bins - said[:, None] + 180) % NUM_AZIMUTH_BINS - 180
        near = np.exp(-0.5 * (apart.astype(logits.dtype) / APART_DEG) ** 2)
        taken = taken + np.log(1 - (1 - SHARED_DIRECTION) * near)
    return dataclasses.replace(slots, azimuth_logits=_of_the_kind(out, slots.azimuth_logits))


def decode_azimuth_deg(logits: Any) -> Array | None:
    """(…, 360) logits → (…) degrees in [0, 360)."""
    return None if logits is None else best_bins(logits, DIRECTION_KERNEL_DEG, circular=True).astype(float)


def decode_elevation_deg(logits: Any) -> Array | None:
    """(…, 180) logits → (…) degrees in [−90, 89]."""
    return None if logits is None else best_bins(logits, DIRECTION_KERNEL_DEG, circular=False) - 90.0


def decode_distance_m(logits: Any) -> Array | None:
    """(…, 21) logits → (…) metres in [0, 10]."""
    return None if logits is None else best_bins(logits, DISTANCE_KERNEL_BINS, circular=False) / 2.0


def best_bins(logits: Any, width: float, circular: bool) -> NDArray[np.intp]:
    """The bin with most probability in a Gaussian window of standard deviation ``width`` bins around it."""
    return most_likely(softmax(logits), width, circular)


def most_likely(probs: Array, width: float, circular: bool) -> NDArray[np.intp]:
    """As :func:`best_bins`, of probabilities."""
    return (probs @ _window(probs.shape[-1], width, circular)).argmax(axis=-1)


@functools.lru_cache(maxsize=16)
def _window(bins: int, width: float, circular: bool) -> NDArray[np.float32]:
    """(bins, bins): how much each bin counts for each, a Gaussian of standard deviation ``width`` bins."""
    index = np.arange(bins, dtype=np.float32)
    apart = np.abs(index[:, None] - index)
    if circular:
        apart = np.minimum(apart, bins - apart)
    window: NDArray[np.float32] = np.exp(-0.5 * (apart / np.float32(width)) ** 2)
    window.setflags(write=False)
    return window


def _of_the_kind(values: Array, given: Any) -> Any:
    return given.new_tensor(values) if hasattr(given, "new_tensor") else values
