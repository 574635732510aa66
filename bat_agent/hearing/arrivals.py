"""Where sound arrives from, by the differences between the ears alone: no model, no training.

The head is taken as a rigid sphere with an ear at each end of an axis. What a plane wave does there depends on one
angle, that to the axis: the cone of confusion. Each bin of a spectrum is compared with each cone after whitening by a
diffuse field, so that reverberation speaks for no cone; and only what is louder than what was there before counts, as
direct sound comes first (the precedence effect). One look tells a cone; a head that turns tells where the cones cross,
of all sound it heard, however short the stretch that it faced one way.

The comparison is that of a Watson distribution on the two ears, |h'x|² of unit vectors h (cone) and x (heard): linear
in the three Stokes parameters of x, which are what is summed.

Of several sounds at once each is told by itself where a model says which parts of the spectrogram are its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing.sphere import Floats
from bat_agent.interfaces import MEL_HIGH_HZ, MEL_LOW_HZ, NUM_MELS, SAMPLE_RATE_HZ
from bat_agent.sound.rigid_sphere import rigid_sphere

FRAME, HOP = 1024, 512
"""Samples at 32 kHz."""
LOWEST_HZ, HIGHEST_HZ = 150.0, 6000.0
CONES = 91
_COSINES = np.linspace(-1, 1, CONES)
"""Of the angle to the left ear: the first cone lies on the right."""
DECAY_S = 0.2
"""Time in which a sound that stopped is expected to fall by 8.7 dB; what is louder than that is new."""
HISTORY_S = 0.6
"""How much of what was heard before is looked at to know what is new."""
SENSOR = 0.1
"""Of what is heard in a diffuse field, the share that both microphones have for themselves."""
SAME_DEG = 2.0
"""Headings are told apart from so much on."""
OWN = 2
"""Power of the share that a sound has in a bin: what is shared tells of neither."""
_BINS = slice(int(LOWEST_HZ * FRAME / SAMPLE_RATE_HZ), int(HIGHEST_HZ * FRAME / SAMPLE_RATE_HZ))


@dataclass(frozen=True)
class Masks:
    """Which parts of the newest sound belong to each of S sounds."""

    shares: NDArray[np.floating]
    """(S, R, 128) share of each sound in the mel bands of R equal stretches of time."""
    seconds: float
    """How much of the newest sound the stretches are of; what came before is as the first."""


def arrivals(
    sound: NDArray[np.floating],
    new_s: float,
    headings_deg: Callable[[Floats], Floats],
    right: Floats,
    front: Floats,
    masks: Masks | None = None,
) -> Floats:
    """By how many standard deviations of chance directions stick out of what arrived in the newest ``new_s`` of a
    sound (2, N) at 32 kHz: of all of it, or with ``masks`` of each of S sounds in it.

    ``right`` and ``front`` are parts of unit vectors in a frame that does not turn, of any shape, which is that of what
    is returned, with masks after an axis of S; ``headings_deg`` tells how the head faced in it so many seconds (T,)
    before the end of the sound, counter-clockwise from above. Sound too short to tell what is new in it gives zeros.
    """
    stokes, weights = _newest(sound, new_s)
    before_s = (np.arange(len(weights))[::-1] * HOP + FRAME / 2) / SAMPLE_RATE_HZ
    faced = np.round(headings_deg(before_s) / SAME_DEG).astype(int)
    own = weights[None] if masks is None else weights * _own_shares(masks, before_s)
    found = np.zeros((len(own), *right.shape))
    for one, weighed in zip(found, own, strict=True):
        for number in np.unique(faced):
            same = faced == number
            heard = (stokes[same] * weighed[same, :, None]).sum(axis=0).ravel()
            # How much better than a diffuse field each cone explains these frames. Not by @: threads of a BLAS wait for
            # one another where a core is busy, and what takes 3 ms takes 30.
            scores = np.einsum("k,ck->c", heard, _cones())
            turn = np.radians(number * SAME_DEG)
            to_the_left = -right * np.cos(turn) - front * np.sin(turn)
            one += np.interp(to_the_left, _COSINES, scores)
        chance = float(np.square(weighed).sum()) / 3  # the variance of the sum where nothing but chance speaks
        one /= np.sqrt(chance + 1)
    return np.asarray(found[0] if masks is None else found)


def _own_shares(masks: Masks, before_s: Floats) -> Floats:
    """(S, T, F) how much the bins of frames count for each sound, so many seconds before the end."""
    rows = masks.shares.shape[1]
    row = np.floor(rows * (1 - before_s / masks.seconds)).astype(int).clip(0, rows - 1)
    low, share = _bands_of_bins()
    shares = masks.shares[:, row]
    return np.asarray(((1 - share) * shares[..., low] + share * shares[..., low + 1]) ** OWN)


@cache
def _bands_of_bins() -> tuple[NDArray[np.intp], Floats]:
    """(F,) the mel band at or below the middle of each bin, and how far the bin is on the way to the next."""
    places = np.interp(_mel(_frequencies_hz()), _mel_centres(), np.arange(NUM_MELS))
    low = np.minimum(places.astype(np.intp), NUM_MELS - 2)
    return low, places - low


def _mel_centres() -> Floats:
    """(128,) centres of the bands of :func:`bat_agent.sound.features.mel_filterbank`, in mel."""
    low, high = _mel(np.array([MEL_LOW_HZ, MEL_HIGH_HZ]))
    return np.linspace(low, high, NUM_MELS + 2)[1:-1]


def _mel(hz: Floats) -> Floats:
    """Slaney's mel scale (Auditory Toolbox, 1998)."""
    return np.where(hz < 1000, 0.015 * hz, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))


def _newest(sound: NDArray[np.floating], new_s: float) -> tuple[Floats, Floats]:
    """(T, F, 3) Stokes parameters of the newest frames, and (T, F) how much of each bin is new."""
    new = round(new_s * SAMPLE_RATE_HZ / HOP)
    heard = sound[:, -round(HISTORY_S * SAMPLE_RATE_HZ) - (new - 1) * HOP - FRAME :]
    count = (heard.shape[1] - FRAME) // HOP + 1
    if new < 1 or count < 2:  # of the first frame nobody knows what is new
        bins = len(_frequencies_hz())
        return np.zeros((0, bins, 3)), np.zeros((0, bins))
    heard = heard[:, heard.shape[1] - FRAME - (count - 1) * HOP :]
    frames = np.lib.stride_tricks.sliding_window_view(heard, FRAME, axis=1)[:, ::HOP]
    left, right = np.fft.rfft(frames * np.hanning(FRAME), axis=-1)[..., _BINS]
    weights = _new_shares(np.square(np.abs(left)) + np.square(np.abs(right)))[-new:]
    return _stokes(*_whitened(left[-new:], right[-new:])), weights


def _new_shares(power: Floats) -> Floats:
    """(T, F) of the power of each frame, the share that is more than what was there before would have left."""
    left_over = np.exp(-2 * HOP / (SAMPLE_RATE_HZ * DECAY_S))
    expected, shares = power[0], np.zeros_like(power)
    for frame in range(1, len(power)):
        expected = expected * left_over
        shares[frame] = np.maximum(power[frame] - expected, 0) / np.maximum(power[frame], 1e-20)
        expected = np.maximum(power[frame], expected)
    return shares


def _whitened(left: NDArray[np.complex128], right: NDArray[np.complex128]) -> tuple[NDArray[np.complex128], ...]:
    """Both ears (…, F), so that a diffuse field makes them equally loud and not alike."""
    power, together = _diffuse()
    first = left / np.sqrt(power)
    second = (right - together / power * left) / np.sqrt(power - together**2 / power)
    return first, second


def _stokes(first: NDArray[np.complex128], second: NDArray[np.complex128]) -> Floats:
    """(…, 3) of unit vectors along two signals; 0 in silence."""
    one, other = np.square(np.abs(first)), np.square(np.abs(second))
    cross = 2 * first * second.conj()
    return np.stack((cross.real, cross.imag, one - other), axis=-1) / np.maximum(one + other, 1e-20)[..., None]


def _frequencies_hz() -> Floats:
    return np.asarray(np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE_HZ)[_BINS], np.float64)


@cache
def _diffuse() -> tuple[Floats, Floats]:
    """(F,) power of an ear in a diffuse field, with what is its own, and how much both have together."""
    cosines = np.linspace(-1, 1, 801)  # evenly spaced: as much of the sphere lies between any two
    left = rigid_sphere(cosines, _frequencies_hz())
    together = (left * left[::-1].conj()).real.mean(axis=0)
    return (1 + SENSOR) * np.square(np.abs(left)).mean(axis=0), together


@cache
def _cones() -> Floats:
    """(CONES, F · 3) what is heard of a wave from each cone."""
    left = rigid_sphere(_COSINES, _frequencies_hz())
    return _stokes(*_whitened(left, left[::-1])).reshape(CONES, -1)
