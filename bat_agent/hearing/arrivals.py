"""Where sound arrives from, by the differences between the ears alone: no model, no training.

The head is taken as a rigid sphere with an ear at each end of an axis. What a plane wave does there depends on one
angle, that to the axis: the cone of confusion. Each bin of a spectrum is compared with each cone after whitening by a
diffuse field, so that reverberation speaks for no cone; and only what is louder than what was there before counts, as
direct sound comes first (the precedence effect). One look tells a cone; a head that turns tells where the cones cross,
of all sound it heard, however short the stretch that it faced one way.

The comparison is that of a Watson distribution on the two ears, |h'x|² of unit vectors h (cone) and x (heard): linear
in the three Stokes parameters of x, which are what is summed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing.sphere import Floats
from bat_agent.interfaces import SAMPLE_RATE_HZ
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
_BINS = slice(int(LOWEST_HZ * FRAME / SAMPLE_RATE_HZ), int(HIGHEST_HZ * FRAME / SAMPLE_RATE_HZ))


def arrivals(
    sound: NDArray[np.floating],
    new_s: float,
    headings_deg: Callable[[Floats], Floats],
    right: Floats,
    front: Floats,
) -> Floats:
    """By how many standard deviations of chance directions stick out of what arrived in the newest ``new_s`` of a
    sound (2, N) at 32 kHz.

    ``right`` and ``front`` are parts of unit vectors in a frame that does not turn, of any shape, which is that of what
    is returned; ``headings_deg`` tells how the head faced in it so many seconds (T,) before the end of the sound,
    counter-clockwise from above. Sound too short to tell what is new in it gives zeros.
    """
    scores, chance = _scores(sound, new_s)
    before_s = (np.arange(len(scores))[::-1] * HOP + FRAME / 2) / SAMPLE_RATE_HZ
    faced = np.round(headings_deg(before_s) / SAME_DEG).astype(int)
    found = np.zeros(right.shape)
    for number in np.unique(faced):
        turn = np.radians(number * SAME_DEG)
        to_the_left = -right * np.cos(turn) - front * np.sin(turn)
        found += np.interp(to_the_left, _COSINES, scores[faced == number].sum(axis=0))
    return np.asarray(found / np.sqrt(chance + 1))


def _scores(sound: NDArray[np.floating], new_s: float) -> tuple[Floats, float]:
    """(T, CONES) how much better than a diffuse field each cone explains the newest frames, and the variance that their
    sum would have by chance.
    """
    new = round(new_s * SAMPLE_RATE_HZ / HOP)
    heard = sound[:, -round(HISTORY_S * SAMPLE_RATE_HZ) - (new - 1) * HOP - FRAME :]
    count = (heard.shape[1] - FRAME) // HOP + 1
    if new < 1 or count < 2:  # of the first frame nobody knows what is new
        return np.zeros((0, CONES)), 0.0
    heard = heard[:, heard.shape[1] - FRAME - (count - 1) * HOP :]
    frames = np.lib.stride_tricks.sliding_window_view(heard, FRAME, axis=1)[:, ::HOP]
    left, right = np.fft.rfft(frames * np.hanning(FRAME), axis=-1)[..., _BINS]
    weights = _new_shares(np.square(np.abs(left)) + np.square(np.abs(right)))[-new:]
    stokes = _stokes(*_whitened(left[-new:], right[-new:])) * weights[..., None]
    return stokes.reshape(len(stokes), -1) @ _cones().T, float(np.square(weights).sum()) / 3


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
