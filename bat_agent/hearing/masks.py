"""Which parts of the spectrogram of a clip are whose, as an encoder tells it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing.heads import as_array, sigmoid
from bat_agent.interfaces import Encoder, Encoding, HeadsOnly

PERHAPS = 0.1
"""A clip may hold several sources where more than one slot is active with so much probability."""


def masks_of(encoder: Encoder, waveform: NDArray[np.float32], encoding: Encoding) -> NDArray[np.floating] | None:
    """(B, S, R, 128) shares of the slots of B clips (B, 2, N) in R stretches of time; ``None`` where none are told.

    An encoder may have a method ``told_masks(waveform, tokens)``: it costs something, and is asked about clips that may
    hold several sources alone. Of all others, and without it, masks are those of the encoding.
    """
    slots = encoding.slots
    if slots is None or slots.masks is None:
        return None
    masks = as_array(slots.masks)
    tell = getattr(encoder, "told_masks", None)
    if tell is None or isinstance(encoding, HeadsOnly):
        return masks
    several = np.flatnonzero((sigmoid(slots.activity_logits) >= PERHAPS).sum(axis=1) > 1)
    told = tell(waveform[several], encoding.tokens[several]) if len(several) else None
    if told is None:
        return masks
    masks = masks.copy()
    masks[several] = as_array(told)
    return masks
