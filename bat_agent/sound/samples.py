"""Length and level of samples, of arrays and of torch tensors alike; no torch is imported for arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def rms_dbfs(sound: Any) -> Any:
    """Root-mean-square level along the last axis, (…, N) → (…), dB re full scale; −inf for silence."""
    if not isinstance(sound, np.ndarray):
        return 20 * sound.square().mean(dim=-1).sqrt().log10()
    with np.errstate(divide="ignore"):
        return 20 * np.log10(np.sqrt(np.square(sound).mean(axis=-1)))


def fit_length(sound: Any, num_samples: int) -> Any:
    """Cut the end off, or pad it with silence, to exactly ``num_samples``: (…, N) → (…, num_samples)."""
    missing = num_samples - sound.shape[-1]
    if missing <= 0:
        return sound[..., :num_samples]
    if isinstance(sound, np.ndarray):
        return np.pad(sound, [(0, 0)] * (sound.ndim - 1) + [(0, missing)])
    from torch.nn.functional import pad

    return pad(sound, (0, missing))
