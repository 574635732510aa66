"""Sounds that are kept in memory once they were loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CACHE_BYTES = 2**30
"""What one library keeps in the memory of each process; two million clips would not fit."""


class Cached:
    """Keeps waveforms as 16-bit numbers relative to their own peak: 96 dB below it is the rounding.

    What comes when the memory is full is not kept: every clip is as likely to be drawn next, whenever it was last.
    """

    def __init__(self, loader: Callable[[str], np.ndarray]) -> None:
        """Keep what ``loader`` gives for an id."""
        self.loader: Callable[[str], np.ndarray] = loader.loader if isinstance(loader, Cached) else loader
        self._kept: dict[str, tuple[np.ndarray, np.float32]] = {}
        self._bytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Cached, (self.loader,)  # a worker process is sent the set, not the samples

    def __call__(self, sound_id: str) -> np.ndarray:
        """The samples, float32, rounded to 16 bits."""
        if sound_id in self._kept:
            samples, step = self._kept[sound_id]
        else:
            waveform = self.loader(sound_id)
            step = np.float32(max(float(np.abs(waveform).max()), 1e-12) / 32767)
            samples = np.round(waveform / step).astype(np.int16)
            if self._bytes + samples.nbytes <= CACHE_BYTES:
                self._kept[sound_id] = (samples, step)
                self._bytes += samples.nbytes
        return samples.astype(np.float32) * step  # also the first time, so that a clip never changes
