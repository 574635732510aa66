"""What lies between two ears, moment by moment, where the whole of a clip says nothing.

Two sources, or one far away between walls, leave no peak in the cross-correlation of a whole clip. In some moments one
source alone is heard, and most of it comes straight: those have a peak, and an ear that is turned over is so in all of
them. Each such moment has one vote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.interfaces import SAMPLE_RATE_HZ

FRAME, HOP = 2048, 1024
_BIN_HZ = SAMPLE_RATE_HZ / FRAME
_LOW, _HIGH = round(150 / _BIN_HZ), round(8000 / _BIN_HZ)
_FLOOR = 10**-2.5
WIDE_HZ = 2000.0
"""Sound in fewer Hz is alike at many delays and has no vote."""
QUIETEST_DB = -50.0
"""Beside the loudest moment."""
CLEAR, UNRIVALLED = 0.3, 1.5
"""A peak has a vote from the first on, if it is so many times as high as any of the other kinds."""
HEAD_S, WALL_S, FARTHEST_S = 0.0011, 0.0019, 0.015
"""Up to the first sound may be late on a head; what is between the other two is elsewhere."""
INVERTED_VOTES, OUTVOTED = 4, 6
"""Votes that are needed, and how many times as many as for anything else. (Of 660 scenes of the simulator `shoebox`
none had one. Whether an ear is late cannot be told so: a wall may say the same in a quarter of all moments.)"""


@dataclass(frozen=True)
class Votes:
    """How many moments say what."""

    right: int
    """Ears in step and of one polarity."""
    inverted: int
    elsewhere: int
    """Sound comes later in one than on any head: one is late, or a wall is clearer than what comes straight."""

    @property
    def say_inverted(self) -> bool:
        """Whether one ear is turned over."""
        return self.inverted >= max(INVERTED_VOTES, OUTVOTED * max(self.right, self.elsewhere))


def votes(sound: NDArray[Any]) -> Votes:
    """Ask the moments of two channels (2, N), floats at 32 kHz."""
    sound = np.asarray(sound, np.float32)
    starts = np.arange(max((sound.shape[1] - FRAME) // HOP + 1, 0)) * HOP
    if not len(starts):
        return Votes(0, 0, 0)
    moments = sound[:, starts[:, None] + np.arange(FRAME)] * np.hanning(FRAME).astype(np.float32)
    left, right = np.fft.rfft(moments)[..., : _HIGH + 1].astype(np.complex64)
    powers = [np.square(one.real) + np.square(one.imag) for one in (left, right)]
    even, wide_hz = _even(powers[0] + powers[1])
    loud = (powers[0] + powers[1])[:, _LOW:].sum(axis=1)
    both = np.sqrt((powers[0] * even).sum(axis=1) * (powers[1] * even).sum(axis=1))
    cross = np.fft.irfft(even * np.conj(left) * right, 2 * _HIGH) * _HIGH / np.maximum(both, 1e-30)[:, None]
    may_vote = (wide_hz >= WIDE_HZ) & (loud > loud.max() * 10 ** (QUIETEST_DB / 10))
    return _counted(cross[may_vote])


def _even(power: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What makes each spectrum even, zero outside the band, and in how many Hz there is sound."""
    smooth = (power[:, _LOW - 1 : -2] + power[:, _LOW:-1] + power[:, _LOW + 1 :]) / 3
    even = 1 / np.maximum(smooth, np.maximum(smooth.max(axis=1, keepdims=True) * _FLOOR, 1e-30))
    flat = smooth * even
    wide_hz = flat.sum(axis=1) ** 2 / np.maximum(np.square(flat).sum(axis=1), 1e-30) * _BIN_HZ
    return np.pad(even, ((0, 0), (_LOW, 1))), wide_hz


def _counted(cross: NDArray[Any]) -> Votes:
    """From the whitened cross-correlations of the moments that may vote, at 16 kHz, circular."""
    if not len(cross):
        return Votes(0, 0, 0)
    rate_hz = SAMPLE_RATE_HZ * 2 * _HIGH / FRAME
    lags_s = np.fft.fftfreq(cross.shape[1], 1 / cross.shape[1]) / rate_hz
    near = cross[:, np.abs(lags_s) <= HEAD_S]
    outside = (np.abs(lags_s) >= WALL_S) & (np.abs(lags_s) <= FARTHEST_S)
    far = np.abs(cross[:, outside])
    heights = np.stack([near.max(axis=1), -near.min(axis=1), far.max(axis=1)])
    order = np.sort(heights, axis=0)
    clear = (order[-1] > CLEAR) & (order[-1] > UNRIVALLED * order[-2])
    kind = np.where(clear, heights.argmax(axis=0), -1)
    return Votes(*(int((kind == one).sum()) for one in range(3)))
