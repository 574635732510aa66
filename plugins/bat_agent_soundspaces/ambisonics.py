"""First-order ambisonics of a position, heard by a head that turns: one ray trace serves every heading.

The engine's four channels [W, +Y, +Z, +X] lie on the axes of :mod:`bat_agent.scene` and are N3D: a plane wave of
pressure 1 from the unit vector (x, y, z) is (1, √3·y, √3·z, √3·x). They do not turn with the head: its turn is a
rotation of three numbers. First order alone would blur the direct sound; the engine gives that apart, and it is heard
through the head's own response from its exact direction. Only what was reflected goes through the decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from bat_agent.scene import Vector
from bat_agent_soundspaces.engine import HEAD_LATENCY, RATE_HZ, Floats

Array = NDArray[np.float64]
HeadResponse = Callable[[Array], Floats]
"""Unit vectors (D, 3) in the listener's frame → responses (D, 2, taps)."""
LOUDSPEAKERS = 240
DECODER_TAPS = 512
PHASE_MATTERS_BELOW_HZ = 1500.0
"""Above this, hearing follows levels rather than phases, and four channels cannot give both."""
_RIDGE = 1e-9


@dataclass(frozen=True)
class Field:
    """The sound of one source at one position, whatever way the head is turned."""

    direct: Floats
    """(taps,) pressure of the direct sound without a head, what walls in between leave of it."""
    indirect: Floats
    """(4, taps) ambisonics of all that was reflected."""


def encode(directions: Array) -> Array:
    """(…, 4) first-order components of plane waves of pressure 1 from unit vectors (…, 3)."""
    x, y, z = np.moveaxis(np.asarray(directions, dtype=np.float64), -1, 0)
    return np.stack([np.ones_like(x), math.sqrt(3) * y, math.sqrt(3) * z, math.sqrt(3) * x], axis=-1)


def rotation(heading_deg: float) -> Array:
    """(4, 4) matrix from components on the scene's axes to those on the axes of a head with this heading."""
    cos, sin = math.cos(math.radians(heading_deg)), math.sin(math.radians(heading_deg))
    # The head's frame sees the world turned by −heading about +y: z' = x·sin + z·cos, x' = x·cos − z·sin.
    return np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, cos, sin], [0, 0, -sin, cos]])


def rotate(ambisonics: Floats, heading_deg: float) -> Floats:
    """(4, taps) as a head with this heading hears it in its own frame."""
    return (rotation(heading_deg) @ ambisonics).astype(np.float32)


def to_head_frame(vector: Vector, heading_deg: float) -> Array:
    """(3,) unit vector of a direction in the frame of a head with this heading."""
    cos, sin = math.cos(math.radians(heading_deg)), math.sin(math.radians(heading_deg))
    x, y, z = np.asarray(vector, dtype=np.float64) / math.hypot(*vector)
    return np.array([x * cos - z * sin, y, x * sin + z * cos])


def sphere_directions(count: int) -> Array:
    """(count, 3) unit vectors evenly over the sphere, along a spiral with the golden angle."""
    y = 1 - (2 * np.arange(count) + 1) / count
    angle = math.pi * (3 - math.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - y * y)
    return np.stack([radius * np.cos(angle), y, radius * np.sin(angle)], axis=-1)


def make_decoder(head: HeadResponse, latency: int = HEAD_LATENCY) -> Floats:
    """(2, 4, DECODER_TAPS) filters from ambisonics in the head's frame to the ears, from the head's own responses.

    Virtual loudspeakers all around, heard through the head; the filters are the least-squares match of the four
    channels to them. Above 1.5 kHz the match is of magnitudes only, each bin going on with the phase of the bin below
    (Schörkhuber, Zaunschirm and Höldrich, *Binaural rendering of ambisonic signals via magnitude least squares*,
    DAGA 2018), and each bin's gain is such that a diffuse field is as loud as the head itself hears it.
    """
    directions = sphere_directions(LOUDSPEAKERS)
    waves = encode(directions)
    match = np.linalg.solve(waves.T @ waves + _RIDGE * np.eye(4), waves.T)
    responses = head(directions).astype(np.float64)[..., :DECODER_TAPS]
    # The phase is carried on from bin to bin, so the common delay has to be taken out meanwhile.
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(DECODER_TAPS) * latency)
    ears = rfft(responses, DECODER_TAPS) / delay
    split = round(PHASE_MATTERS_BELOW_HZ / RATE_HZ * DECODER_TAPS)
    filters = np.empty((2, 4, ears.shape[-1]), dtype=np.complex128)
    for ear in range(2):
        for k in range(ears.shape[-1]):
            wanted = ears[:, ear, k]
            if k >= split:
                wanted = np.abs(wanted) * np.exp(1j * np.angle(waves @ filters[ear, :, k - 1]))
            filters[ear, :, k] = match @ wanted
    diffuse = (np.abs(ears) ** 2).mean(axis=0)
    filters *= np.sqrt(diffuse.mean(axis=0) / (np.abs(filters) ** 2).sum(axis=1).mean(axis=0))
    return irfft(filters * delay, DECODER_TAPS).astype(np.float32)


def listen(field: Field, decoder: Floats, response: Floats, heading_deg: float) -> Floats:
    """(2, taps) what a head with this heading hears of the field.

    ``response`` (2, taps) is the head's response from the direction of the source in the head's frame.
    """
    reflected = rotate(field.indirect, heading_deg)
    direct = _convolve(np.broadcast_to(field.direct, (2, len(field.direct))), response)
    wet = _convolve(reflected[None], decoder).sum(axis=1)
    out = np.zeros((2, max(direct.shape[-1], wet.shape[-1])))
    out[:, : direct.shape[-1]] += direct
    out[:, : wet.shape[-1]] += wet
    return out.astype(np.float32)


def _convolve(first: NDArray[np.floating], second: NDArray[np.floating]) -> Array:
    """Along the last axis, others broadcast."""
    taps = first.shape[-1] + second.shape[-1] - 1
    size = next_fast_len(taps, real=True)
    return np.asarray(irfft(rfft(first, size) * rfft(second, size), size)[..., :taps])
