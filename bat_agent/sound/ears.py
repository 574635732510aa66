"""What lies between two ears: whether they are two at all, keep step, and agree on what is up and down.

A direction is made of differences between the ears, and any two channels differ. Two microphones on a head differ by
what a head and a room do, which is a fixed filter of the sound; one microphone in both channels differs by a gain, and
by what codecs, dither and rounding add, which is no filter of the sound. So two things are asked of the band in which
codecs code best, 150 Hz to 2.5 kHz: how much of one ear is not the other one times a number, and how much of that a
short filter explains. Measured (`tests/core/test_ears.py`): one microphone through Opus or AAC leaves −40 dB or less;
real and rendered heads leave −31 dB and more, straight ahead in a dry room with a symmetric head, and a filter explains
a third of it or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound.moments import votes

Floats = NDArray[np.float64]
Samples = NDArray[np.float32]

SAME_DB = -40.0
"""One ear, less the other times a number: from here down it is the same microphone."""
ALIKE_DB = -12.0
UNEXPLAINED_DB = -6.5
"""From the first down it is, too, if a filter explains no more of the rest than the second."""
FILTER_S = 0.05
LEAD_S = 0.005
ONE_SIDED_DB = 36.0
HEAD_S = 0.0011
"""Between the ears of no head does sound take longer than 0.9 ms."""
OUT_OF_STEP_S = 0.0019
LONGEST_S = 0.25
"""What is out of step is looked for up to here."""
ALIKE = 0.25
CLEARLY = 3.0
INVERTED = 1.8
"""A peak of the whitened cross-correlation counts from ``ALIKE`` on: one outside of any head's delay where it is so
many times as high as all within, a negative one where it is so many times as high as the positive ones."""
IN_STEP = 0.3
"""A peak within a head's delay from which on nobody asks the single moments (:mod:`.moments`), which cost more than all
the rest; nor where a negative one is no higher. (Of 16 scenes in which they said "turned over" none had that.)"""
NARROW_HZ, WIDE_HZ = 1000.0, 2000.0
"""Sound in few bands is alike at many delays between walls, as a cricket is, and upside down half a period later, as a
buzzer is: of less than the first nothing is said, and up to the second a peak counts from twice ``ALIKE`` on."""
_LOW_HZ, _MIDDLE_HZ, _HIGH_HZ, _TOP_HZ = 150, 2500, 8000, 15000
_SMOOTHED_HZ = 20.0
_WHITE_DB = -25.0
_BLANK = 1e-4
_FAINTEST = 1e-30
"""Of a spectrum of two ears whose energy is 1; its inverse is within float32."""


@dataclass(frozen=True)
class BetweenEars:
    """What two channels are to each other."""

    one_microphone: bool = False
    """Both carry the same sound, maybe at different levels or turned over."""
    behind_s: float | None = None
    """By how much the right channel is behind the left one, seconds, where no head is that wide; else ``None``."""
    inverted: bool = False
    """One of them is turned over: what is pressure in one is suction in the other."""
    louder_left_db: float | None = None
    """How much louder the left one is, where one is 36 dB below the other, as if it were dead; else ``None``."""

    @property
    def carries_direction(self) -> bool:
        """Whether a direction heard would not be made up; an ear that is turned over can be turned back."""
        return not self.one_microphone and self.behind_s is None and self.louder_left_db is None


def between_ears(sound: NDArray[Any]) -> BetweenEars:
    """Look at two channels (2, N), floats at 32 kHz without an offset; of silence nothing is said."""
    left, right = channels = np.asarray(sound)
    # A product would take all threads there are.
    powers = [float(np.square(channel, dtype=np.float64).sum()) for channel in channels]
    if not max(powers):
        return BetweenEars()
    if min(powers) < max(powers) * 10 ** (-ONE_SIDED_DB / 10):
        apart_db = 10 * np.log10(max(powers) / max(min(powers), max(powers) * 1e-12))
        return BetweenEars(louder_left_db=float(apart_db if powers[0] > powers[1] else -apart_db))
    if np.array_equal(left, right):
        return BetweenEars(one_microphone=True)
    # float32 has room enough: of what is told apart, the least is 40 dB below the rest.
    ears = (channels / channels.dtype.type(np.sqrt(max(powers)))).astype(np.float32, copy=False)
    spectra = _Spectra.of(ears)
    behind_s, inverted = _steps(spectra, ears)
    return BetweenEars(_is_one(spectra, len(left) / SAMPLE_RATE_HZ), behind_s, inverted)


@dataclass(frozen=True)
class _Spectra:
    left: NDArray[np.complex64]
    right: NDArray[np.complex64]
    power: tuple[Samples, Samples]
    """Of each."""
    bins_per_hz: float

    @classmethod
    def of(cls, ears: Samples) -> _Spectra:
        length = ears.shape[1] + round(LONGEST_S * SAMPLE_RATE_HZ)
        length = _next_smooth(-(-length // 64)) * 64  # so that any band has whole bins, and a fast inverse
        # numpy before 2.0 knows no transform of float32.
        left, right = np.fft.rfft(ears, length).astype(np.complex64, copy=False)
        powers = [np.square(one.real) + np.square(one.imag) for one in (left, right)]
        return cls(left, right, (powers[0], powers[1]), length / SAMPLE_RATE_HZ)

    def share(self, low_hz: float, high_hz: float) -> float:
        """Of the power above the lowest band, that between two frequencies."""
        first, last, lowest = (round(hz * self.bins_per_hz) for hz in (low_hz, high_hz, _LOW_HZ))
        some, every = (
            sum(float(power[begin:end].sum(dtype=np.float64)) for power in self.power)
            for begin, end in ((first, last), (lowest, None))
        )
        return some / max(every, 1e-300)

    def band(self, high_hz: int, whiten: float, floor_db: float) -> _Band:
        """From the lowest frequency to ``high_hz``; ``whiten`` is the power to which the spectrum is made even, as far
        as ``floor_db`` below its highest point.
        """
        low, bins = int(np.ceil(_LOW_HZ * self.bins_per_hz)), round(high_hz * self.bins_per_hz) + 1
        smooth = self._smooth(low, bins)
        even = np.maximum(smooth, max(float(smooth.max()) * 10 ** (floor_db / 10), _FAINTEST))
        weight = np.zeros(bins, np.float32)
        weight[low:] = 1 / (even if whiten == 1 else np.sqrt(even) if whiten == 0.5 else even**whiten)
        left, right = (weight * power[:bins] for power in self.power)
        flat = smooth / even
        wide = float(flat.sum() ** 2 / max(float((flat * flat).sum()), 1e-300))
        cross = weight * (np.conj(self.left[:bins]) * self.right[:bins])
        return _Band(left, right, cross, wide / self.bins_per_hz)

    def _smooth(self, low: int, bins: int) -> Floats:
        """Power of both, smoothed over 40 Hz, of these bins."""
        half = max(int(_SMOOTHED_HZ * self.bins_per_hz), 1)
        part = slice(low - half, bins + half)
        sums = np.cumsum(self.power[0][part] + self.power[1][part], dtype=np.float64)
        sums[2 * half + 1 :] -= sums[: -2 * half - 1].copy()
        return sums[2 * half :] / (2 * half + 1)


@dataclass(frozen=True)
class _Band:
    """Weighted spectra: of left and right each with itself, and of left with what comes later in right."""

    left: Samples
    right: Samples
    cross: NDArray[np.complexfloating[Any, Any]]
    wide_hz: float
    """In how many Hz there is sound: the bandwidth of a flat spectrum that varies as little."""

    def now(self) -> tuple[float, float, float]:
        """The correlations at no delay, which cost no inverse transform."""
        length = 2 * (len(self.left) - 1)
        left, right, cross = (
            float(2 * part.sum(dtype=np.float64) - part[0] - part[-1]) / length
            for part in (self.left, self.right, self.cross.real)
        )
        return left, right, cross

    def correlations(self) -> tuple[Floats, Floats, Floats]:
        """At all delays, at twice the highest frequency of the band."""
        parts = (part.astype(np.complex128) for part in (self.left, self.right, self.cross))
        left, right, cross = (np.fft.irfft(part, 2 * (len(part) - 1)) for part in parts)
        return left, right, cross


def _is_one(spectra: _Spectra, seconds: float) -> bool:
    high_hz = _MIDDLE_HZ if spectra.share(_LOW_HZ, _MIDDLE_HZ) > _BLANK else _TOP_HZ
    band = spectra.band(high_hz, 0.5, -35.0)
    left_now, right_now, cross_now = band.now()
    if min(left_now, right_now) <= 0:
        return False
    rest = 1 - abs(cross_now) / np.sqrt(left_now * right_now)
    if rest <= 10 ** (SAME_DB / 10):
        return True
    if rest > 10 ** (ALIKE_DB / 10):
        return False
    left, right, cross = band.correlations()
    gain = np.sign(cross_now) * np.sqrt(right_now / left_now)
    return _explained(gain * gain * left, right, gain * cross, 2 * high_hz, seconds) < 10 ** (UNEXPLAINED_DB / 10)


def _explained(left: Floats, right: Floats, cross: Floats, rate_hz: int, seconds: float) -> float:
    """Which share of right − left a filter of right + left explains (least squares), from their correlations."""
    back = np.roll(cross[::-1], 1)  # of right with what comes later in left
    both, apart = left + right + cross + back, left + right - cross - back
    taps = min(round(FILTER_S * rate_hz), round(seconds * rate_hz / 8))
    lags = np.arange(taps) - round(LEAD_S * rate_hz)
    found = (right - left + cross - back)[lags]
    column = both[:taps].copy()
    column[0] *= 1.003  # what the band leaves out must not be inverted
    toeplitz = column[np.abs(np.subtract.outer(np.arange(taps), np.arange(taps)))]
    return float(found @ np.linalg.solve(toeplitz, found)) / max(float(apart[0]), 1e-300)


def _next_smooth(number: int) -> int:
    """The smallest product of twos, threes and fives that is no less: a fast length of an FFT."""
    best = 1 << max(number - 1, 1).bit_length()
    fives = 1
    while fives < best:
        odd = fives
        while odd < best:
            best = min(best, odd << max(-(-number // odd) - 1, 0).bit_length())
            odd *= 3
        fives *= 5
    return best


def _steps(spectra: _Spectra, ears: Samples) -> tuple[float | None, bool]:
    """By how much the right ear is behind, where it is out of step, and whether one is turned over."""
    band = spectra.band(_HIGH_HZ, 1.0, _WHITE_DB)
    left_now, right_now, _ = band.now()
    if min(left_now, right_now) <= 0 or band.wide_hz < NARROW_HZ:
        return None, False
    rate_hz = 2 * _HIGH_HZ
    cross = np.fft.irfft(band.cross, 2 * (len(band.cross) - 1))
    alike = cross / np.sqrt(left_now * right_now)
    most = round(HEAD_S * rate_hz)
    near = np.concatenate([alike[-most:], alike[: most + 1]])
    first, last = round(OUT_OF_STEP_S * rate_hz), round(LONGEST_S * rate_hz)
    size = np.abs(alike)
    ahead, behind = first + int(size[first:last].argmax()), first + int(size[::-1][first - 1 : last - 1].argmax())
    best = ahead if size[ahead] >= size[-behind] else -behind
    least = ALIKE if band.wide_hz >= WIDE_HZ else 2 * ALIKE
    if abs(alike[best]) >= max(least, CLEARLY * float(np.abs(near).max())):
        return best / rate_hz, bool(alike[best] < 0)
    if -near.min() >= max(least, INVERTED * float(near.max())):
        return None, True
    if near.max() >= IN_STEP or near.max() > -near.min():
        return None, False
    return None, votes(ears).say_inverted
