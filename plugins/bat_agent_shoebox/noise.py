"""Noise that is drawn for many seeds at once, and is the same on every device and in every batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ROWS = 2048
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 2**64


def seed_words(seeds: Sequence[int], numbers: Sequence[int]) -> NDArray[np.uint64]:
    """(S,) one word per pair of a scene's seed and a source's number in it; neighbours are unrelated."""
    words = _scramble(np.array([seed % _WORD for seed in seeds], dtype=np.uint64))
    return _scramble(words + np.array(numbers, dtype=np.uint64))


class NoiseBank:
    """Complex normal spectra of unit variance per part, picked and turned in phase by a hash of seed and frame.

    A hash per bin would cost more than the rest of the tail. Here two sources share a spectrum in the same frame in one
    case of 2048, and then in unrelated phase.
    """

    def __init__(self, bins: int, device: str) -> None:
        normal = np.random.default_rng(0).standard_normal((_ROWS, bins, 2), dtype=np.float32)
        self._bank = torch.view_as_complex(torch.as_tensor(normal, device=device))

    def draw(self, words: NDArray[np.uint64], frames: int, streams: int) -> Tensor:
        """(S, streams, frames, bins) complex64; the first frames do not depend on how many are drawn."""
        counter = np.arange(frames, dtype=np.uint64) + np.arange(streams, dtype=np.uint64)[:, None] * np.uint64(2**32)
        drawn = _scramble(words[:, None, None] ^ _scramble(counter + np.uint64(1)))
        row = torch.as_tensor((drawn % np.uint64(_ROWS)).astype(np.int64))
        angle = (drawn >> np.uint64(40)).astype(np.float64) * (2 * np.pi / 2**24)
        turn = torch.as_tensor(np.exp(1j * angle).astype(np.complex64))
        device = self._bank.device
        return self._bank[row.to(device)] * turn.to(device)[..., None]


def _scramble(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): every input bit changes half of the output bits."""
    words = words + np.uint64(_GOLDEN)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
