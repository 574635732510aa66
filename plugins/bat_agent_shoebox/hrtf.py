"""The head: impulse responses of its ears on a regular grid of directions, split into a delay and a shape.

Directions here are those of SOFA: ``lateral`` azimuth 0 front, +90 left, in degrees, and elevation. The heads that come
with this package hold one ear; the right one is its mirror image, ``right(lateral) = left(−lateral)``, so left/right
symmetry is exact by construction. A head from a SOFA file holds both, the right one as an ear of the mirrored head.

Level: heads are scaled so that a source straight ahead has energy 1 (mean over the ears of Σ h²), i.e. white noise from
the front is as loud at the ears as it would be in the centre of the head without one.
Delay: relative to the centre of the head; the largest sample of a frontal source falls on distance/c.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample
from scipy.signal.windows import tukey
from scipy.spatial import cKDTree

from bat_agent.sound.rigid_sphere import SPEED_OF_SOUND as SPEED_OF_SOUND
from bat_agent.sound.rigid_sphere import rigid_sphere
from bat_agent.sound.sofa import FAR_M, read_sofa
from bat_agent_shoebox.cap import fill_gap
from bat_agent_shoebox.heads import BUILT_IN, hash_of, place_of, read_from_set

RATE_HZ = 32_000
GRID_DEG = 2.5
NUM_LATERAL = round(360 / GRID_DEG)
NUM_ELEVATION = round(180 / GRID_DEG) + 1
TAPS = 144
PRE_ROLL = 16
"""Samples of a tabulated response before its minimum-phase beginning."""
EAR_LATERAL_DEG = 100.0
DIFFUSE_FFT = 512

_NFFT = 1024
_UPSAMPLING = 16

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True)
class Head:
    """One or two ears on the grid: row ``e · NUM_LATERAL + l`` is elevation e·2.5° − 90°, lateral azimuth l·2.5°.

    Ear 0 is the left one. Ear 1, where there is one, is the right one of a head that is not symmetric, by lateral
    azimuth of the mirrored head; else the right ear is ear 0 of the mirrored head.
    """

    taps: NDArray[np.float32]
    """(ears, rows, TAPS) responses without their delay, starting ``PRE_ROLL`` samples early."""
    delay: Array
    """(ears, rows) where ``taps`` begin, in samples from the arrival at the centre of the head: about −PRE_ROLL."""
    diffuse_power: Array
    """(ears, DIFFUSE_FFT/2 + 1) power gain of an ear in a diffuse field."""
    diffuse_coherence: Array
    """(DIFFUSE_FFT/2 + 1,) interaural correlation in a diffuse field, −1…1."""


def load_head(name: str, distance_m: float = FAR_M, allow_implausible: bool = False) -> Head:
    """One head (:mod:`bat_agent_shoebox.heads`); built once per process (half a second), 6 to 13 MB.

    The rest is for SOFA files (:func:`bat_agent.sound.sofa.read_sofa`).
    """
    if name in BUILT_IN:
        return _built_in(name)
    return _from_file(name, hash_of(name), distance_m, allow_implausible)


@functools.cache
def _built_in(name: str) -> Head:
    if name == "sphere":
        incidence, spectra, delay = _sphere_table()
        return _finish([_between(_incidence_deg(*_grid()), incidence, _responses(spectra), delay)])
    spectra, delay, directions = _kemar_ear()
    return _finish([_interpolate(_responses(spectra), delay, directions)])


@functools.lru_cache(maxsize=64)
def _from_file(name: str, content: str, distance_m: float, allow_implausible: bool) -> Head:
    """``content`` is there to read a file again that has changed."""
    if ".npz#" in name:
        measured = read_from_set(name, RATE_HZ)
    else:
        place = place_of(name)
        measured = read_sofa(place, RATE_HZ, distance_m=distance_m, allow_implausible=allow_implausible)
    ears = []
    for ear, mirror in enumerate(([1, 1, 1], [1, -1, 1])):
        spectra, delay = _split_delay(np.fft.rfft(_around_onset(measured.hrir)[:, ear], _NFFT))
        delay = delay + measured.delay[:, ear]
        filled = fill_gap(spectra, delay, measured.directions * mirror, _sphere_towards, _minimum_phase)
        spectra, delay, directions = filled
        ears.append(_interpolate(_responses(spectra), delay, directions))
    return _finish(ears)


def _sphere_towards(directions: Array) -> tuple[ComplexArray, Array]:
    """Spectra without delay and delays of a sphere's left ear in directions (G, 3), z up."""
    towards = _unit(np.array(EAR_LATERAL_DEG), np.array(0.0))
    return _sphere_ear(np.degrees(np.arccos(np.clip(directions @ towards, -1, 1))))


def _around_onset(hrir: Array) -> Array:
    """At most ``_NFFT`` samples, from a little before anything is heard in any direction."""
    loud = np.abs(hrir).max((0, 1))
    start = max(int(np.argmax(loud > 0.05 * loud.max())) - 4 * PRE_ROLL, 0)
    return hrir[..., start : start + _NFFT]


def sphere_response(incidence_deg: Array, frequency_hz: Array) -> ComplexArray:
    """Pressure on the spherical head (:func:`bat_agent.sound.rigid_sphere.rigid_sphere`) by incidence: (D,) degrees,
    (F,) Hz → (D, F).
    """
    return rigid_sphere(np.cos(np.radians(incidence_deg)), frequency_hz)


def _grid() -> tuple[Array, Array]:
    elevation, lateral = np.meshgrid(
        np.arange(NUM_ELEVATION) * GRID_DEG - 90, np.arange(NUM_LATERAL) * GRID_DEG, indexing="ij"
    )
    return lateral.ravel(), elevation.ravel()


def _unit(lateral_deg: Array, elevation_deg: Array) -> Array:
    lateral, elevation = np.radians(lateral_deg), np.radians(elevation_deg)
    return np.stack(
        [np.cos(elevation) * np.cos(lateral), np.cos(elevation) * np.sin(lateral), np.sin(elevation)], axis=-1
    )


def _incidence_deg(lateral_deg: Array, elevation_deg: Array) -> Array:
    ear = _unit(np.array(EAR_LATERAL_DEG), np.array(0.0))
    return np.degrees(np.arccos(np.clip(_unit(lateral_deg, elevation_deg) @ ear, -1, 1)))


def _frequencies() -> Array:
    return np.asarray(np.fft.rfftfreq(_NFFT, 1 / RATE_HZ), dtype=np.float64)


def _minimum_phase(magnitude: Array) -> ComplexArray:
    """Minimum-phase spectrum of a magnitude (…, _NFFT/2 + 1), through the folded real cepstrum."""
    cepstrum = np.fft.irfft(np.log(np.maximum(magnitude, 1e-6 * magnitude.max(-1, keepdims=True))), _NFFT)
    fold = np.zeros(_NFFT)
    fold[0] = fold[_NFFT // 2] = 1
    fold[1 : _NFFT // 2] = 2
    return np.exp(np.fft.rfft(cepstrum * fold, _NFFT))


def _split_delay(spectra: ComplexArray) -> tuple[ComplexArray, Array]:
    """Spectra without their delay, and the delay in samples: the best match with the minimum-phase version."""
    size, lags = _NFFT * _UPSAMPLING, []
    for first in range(0, len(spectra), 256):  # the fine correlation of 12 000 directions would take 1.5 GB
        some = spectra[first : first + 256]
        lags.append(np.fft.irfft(some * np.conj(_minimum_phase(np.abs(some))), size).argmax(-1))
    lag = np.concatenate(lags)
    lag = np.where(lag > size // 2, lag - size, lag) / _UPSAMPLING
    return spectra * _advance(lag), lag


def _advance(samples: Array) -> ComplexArray:
    return np.exp(2j * np.pi * np.outer(samples, _frequencies()) / RATE_HZ)


@functools.cache
def _sphere_table() -> tuple[Array, ComplexArray, Array]:
    """Incidence 0…180°, spectra without delay, delay in samples."""
    incidence = np.arange(0, 181, 2.0)
    frequency = _frequencies()
    response = sphere_response(incidence, frequency)
    response[:, 0] = 1
    # 16 kHz in a real response has no phase of its own.
    response[:, -1] = np.abs(response[:, -1])
    return incidence, *_split_delay(response)


def _sphere_ear(incidence_deg: Array) -> tuple[ComplexArray, Array]:
    """Spectra without delay and delays of a spherical head at any incidence, from the 2° table."""
    return _between(incidence_deg, *_sphere_table())


def _between(wanted: Array, known: Array, rows: Any, delay: Array) -> tuple[Any, Array]:
    """Rows and delays at ``wanted`` by linear interpolation over the evenly spaced ``known``."""
    step = known[1] - known[0]
    low = np.minimum((wanted / step).astype(int), len(known) - 2)
    weight = wanted / step - low
    mixed = rows[low] * (1 - weight)[:, None] + rows[low + 1] * weight[:, None]
    return mixed, delay[low] * (1 - weight) + delay[low + 1] * weight


def _responses(spectra: ComplexArray) -> Array:
    """(…, TAPS) impulse responses, ``PRE_ROLL`` samples early, faded out at the end."""
    responses = np.fft.irfft(spectra * _advance(np.array([-float(PRE_ROLL)])), _NFFT)[:, :TAPS]
    return responses * tukey(2 * TAPS, 0.25)[TAPS:]


def _kemar_ear() -> tuple[ComplexArray, Array, Array]:
    """KEMAR's left ear with the missing cap below −40° filled: spectra, delays, unit vectors."""
    with resources.files("bat_agent_shoebox.data").joinpath("mit_kemar_normal_32k.npz").open("rb") as file:
        data = np.load(file)
        hrir = data["hrir"][:, 0].astype(np.float64)
        lateral, elevation = (data[key].astype(np.float64) for key in ("azimuth_ccw_deg", "elevation_deg"))
    spectra, delay = _split_delay(np.fft.rfft(hrir, _NFFT))
    spectra = spectra * _diffuse_equaliser(np.abs(spectra), elevation)
    ring = np.flatnonzero(elevation == elevation.min())
    parts = [(spectra, delay, _unit(lateral, elevation))]
    parts += [_cap_ring(spectra[ring], delay[ring], lateral[ring], target) for target in (-50.0, -60, -70, -80, -90)]
    spectra, delay, directions = (np.concatenate(group) for group in zip(*parts, strict=True))
    return spectra, delay, directions


def _diffuse_equaliser(magnitude: Array, elevation_deg: Array) -> ComplexArray:
    """One filter for all directions that makes the diffuse-field response flat, at most ±15 dB.

    The measurement holds the loudspeaker and the ear canal (+10 dB at 2.5 kHz, −17 dB at 100 Hz); recordings that are
    played through the head should keep their colour. Cues that depend on the direction do not change.
    """
    weight = np.cos(np.radians(elevation_deg))
    # Rings hold fewer directions near the pole, so weight by area per direction.
    for ring in np.unique(elevation_deg):
        members = elevation_deg == ring
        weight[members] = max(np.cos(np.radians(ring)), 0.02) / members.sum()
    power = (weight / weight.sum()) @ magnitude**2
    frequency = _frequencies()
    ratio = 2 ** (1 / 6)
    edges = [np.searchsorted(frequency, (f / ratio, f * ratio)) for f in np.clip(frequency, 60, 14_000)]
    smooth = np.array([power[low : max(high, low + 1)].mean() for low, high in edges])
    level = np.median(10 * np.log10(smooth[(frequency > 300) & (frequency < 12_000)]))
    gain_db = np.clip(level - 10 * np.log10(smooth), -15, 15)
    return _minimum_phase(10 ** (gain_db / 20))


def _cap_ring(ring: ComplexArray, delay: Array, lateral: Array, target: float) -> tuple[ComplexArray, Array, Array]:
    """A ring below the lowest measured one: that ring times the sphere's change from there to here.

    What the measurement has beyond the sphere (canal, pinna) fades into its mean around the ring towards −90°, where
    all azimuths are one direction.
    """
    lowest = np.full_like(lateral, -40.0)
    sphere_low, sphere_low_delay = _sphere_ear(_incidence_deg(lateral, lowest))
    sphere_here, sphere_delay = _sphere_ear(_incidence_deg(lateral, np.full_like(lateral, target)))
    fade = (-40 - target) / 50
    extra = np.log(np.abs(ring)) - np.log(np.abs(sphere_low))
    extra = (1 - fade) * extra + fade * extra.mean(0)
    late = delay - sphere_low_delay
    late = (1 - fade) * late + fade * late.mean()
    magnitude = np.exp(extra) * np.abs(sphere_here)
    return _minimum_phase(magnitude), sphere_delay + late, _unit(lateral, np.full_like(lateral, target))


def _interpolate(responses: Array, delay: Array, directions: Array) -> tuple[Array, Array]:
    """Scattered directions to the grid: inverse-square-distance mean of the four nearest, delay and shape apart."""
    neighbours = np.arange(1, min(4, len(directions)) + 1)
    distance, nearest = cKDTree(directions).query(_unit(*_grid()), k=neighbours)
    weight = 1 / (distance**2 + 1e-9)
    weight /= weight.sum(1, keepdims=True)
    mixed = sum(weight[:, [k]] * responses[nearest[:, k]] for k in range(len(neighbours)))
    return np.asarray(mixed), (weight * delay[nearest]).sum(1)


def _finish(ears: list[tuple[Array, Array]]) -> Head:
    """Grid responses (delay apart) of one or two ears to a scaled table with its diffuse-field statistics."""
    front = (NUM_ELEVATION // 2) * NUM_LATERAL
    responses, delay = (np.stack(part) for part in zip(*ears, strict=True))
    peak = np.abs(resample(responses[:, front], TAPS * _UPSAMPLING, axis=-1)).argmax(-1) / _UPSAMPLING
    responses = responses / np.sqrt((responses[:, front] ** 2).sum(-1).mean())
    # One shift for both ears keeps the difference between them.
    delay = delay - (delay[:, front] + peak).mean()
    frequency = np.fft.rfftfreq(DIFFUSE_FFT)
    gains = [
        np.fft.rfft(shape, DIFFUSE_FFT) * np.exp(-2j * np.pi * np.outer(late, frequency))
        for shape, late in zip(responses, delay, strict=True)
    ]
    gains = [gain.reshape(NUM_ELEVATION, NUM_LATERAL, -1) for gain in gains]
    left, right = gains[0], gains[-1][:, -np.arange(NUM_LATERAL)]
    area = np.cos(np.radians(np.arange(NUM_ELEVATION) * GRID_DEG - 90))
    area = area / area.sum() / NUM_LATERAL
    power = np.stack([np.einsum("e,elf->f", area, np.abs(gain) ** 2) for gain in gains])
    cross = np.einsum("e,elf->f", area, (left * right.conj()).real)
    coherence = cross / np.sqrt(power[0] * power[-1]).clip(1e-12)
    return Head(responses.astype(np.float32), delay, power, np.clip(coherence, -1, 1))
