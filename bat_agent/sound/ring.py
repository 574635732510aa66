"""The last seconds of a binaural stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]


class Ring:
    """The last ``length`` samples of two ears; appending costs no more than a copy of what is new."""

    def __init__(self, length: int) -> None:
        self.length = length
        # Twice as long as the window: it is moved to the front only when the end is reached.
        self._samples = np.zeros((2, 2 * length), np.float32)
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def clear(self) -> None:
        """Forget everything."""
        self._begin = self._end = 0

    def append(self, chunk: Waveform) -> None:
        """Take (2, n) more samples, any n."""
        new = chunk[:, -self.length :]
        if self._end + new.shape[1] > self._samples.shape[1]:
            keep = min(len(self), self.length - new.shape[1])
            self._samples[:, :keep] = self._samples[:, self._end - keep : self._end]
            self._begin, self._end = 0, keep
        self._samples[:, self._end : self._end + new.shape[1]] = new
        self._end += new.shape[1]
        self._begin = max(self._begin, self._end - self.length)

    def window(self, length: int | None = None) -> Waveform:
        """A copy of what is kept, or of the newest ``length`` samples of it; (2, up to that)."""
        begin = self._begin if length is None else max(self._begin, self._end - length)
        return self._samples[:, begin : self._end].copy()
