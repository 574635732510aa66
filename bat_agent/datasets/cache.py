"""Sounds that are kept in memory once they were loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

CACHE_BYTES = 2**30
"""What one library keeps in the memory of each process; two million clips would not fit."""
_Rounded = tuple[np.ndarray, np.float32]


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
        samples, step = self.kept(sound_id)
        return samples.astype(np.float32) * step  # also the first time, so that a clip never changes

    def kept(self, sound_id: str) -> _Rounded:
        """The samples as 16-bit numbers, and what they count."""
        return self._kept[sound_id] if sound_id in self._kept else self._keep(sound_id, self.load(sound_id))

    def keeps(self, sound_id: str) -> bool:
        """Whether it is in memory."""
        return sound_id in self._kept

    def load(self, sound_id: str) -> _Rounded:
        """The samples as they are kept, and what they count."""
        waveform = self.loader(sound_id)
        step = np.float32(float(np.abs(waveform).max(initial=1e-12)) / 32767)
        return np.round(waveform / step).astype(np.int16), step

    def _keep(self, sound_id: str, rounded: _Rounded) -> _Rounded:
        samples, _ = rounded
        if self._bytes + samples.nbytes <= CACHE_BYTES:
            self._kept[sound_id] = rounded
            self._bytes += samples.nbytes
        return rounded

    def preload(self, sound_ids: Sequence[str], workers: int) -> None:
        """Load sounds until the memory is full, in ``workers`` processes; those forked later find them there."""
        loader = DataLoader(_Loading(self, sound_ids), batch_size=None, num_workers=workers, collate_fn=_as_it_is)
        for sound_id, rounded in zip(sound_ids, loader, strict=True):
            self._keep(sound_id, rounded)
            if self._bytes + rounded[0].nbytes > CACHE_BYTES:
                return


class _Loading(Dataset[_Rounded]):
    def __init__(self, cached: Cached, sound_ids: Sequence[str]) -> None:
        self.cached, self.sound_ids = cached, sound_ids

    def __len__(self) -> int:
        return len(self.sound_ids)

    def __getitem__(self, number: int) -> _Rounded:
        return self.cached.load(self.sound_ids[number])


def _as_it_is(rounded: Any) -> Any:
    return rounded
