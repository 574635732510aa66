"""Rooms as two ears and as spherical harmonics hear them: one list of arrivals, rendered twice.

The arrivals are those of ``shoebox``: its image sources and, where its diffuse tail is, random arrivals from all around
with the tail's energy. The ears are those of its own KEMAR. The harmonics are scipy's, with nothing of
:mod:`bat_agent.ambisonics`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.special import sph_harm_y

import bat_agent
from bat_agent.scene import Scene
from bat_agent.sound.synthesis import PROCEDURAL_LABELS, synthesise

RATE_HZ = 32_000
ORDER = 3
ARRIVALS = 4000
HALF = 32
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """One scene, heard in two ways."""

    scene: Scene
    labels: tuple[str, ...]
    binaural: Floats
    """(2, N)"""
    ambix: Floats
    """(16, N), ACN/SN3D of third order; the first four channels are first order."""


def ambix(lateral_deg: Any, elevation_deg: Any, order: int = ORDER) -> NDArray[np.float64]:
    """((order + 1)², K) real harmonics in ACN/SN3D from scipy's complex ones, for azimuths from front to left."""
    azimuth, polar = np.radians(np.asarray(lateral_deg)), np.pi / 2 - np.radians(np.asarray(elevation_deg))
    channels = []
    for degree in range(order + 1):
        for m in range(-degree, degree + 1):
            # Orthonormal with Condon and Shortley's sign; ambisonics have neither.
            value = sph_harm_y(degree, abs(m), polar, azimuth) * (-1) ** m * np.sqrt(4 * np.pi / (2 * degree + 1))
            channels.append(value.real if m == 0 else np.sqrt(2) * (value.real if m > 0 else value.imag))
    return np.array(channels)


def scenes(count: int, *, num_sources: int = 1, seconds: float = 3.0, seed: int = 0) -> Iterator[Heard]:
    """``count`` drawn rooms with synthesised sounds in them."""
    simulator: Any = bat_agent.load_simulator("shoebox")
    rng = np.random.default_rng(seed)
    names = sorted(PROCEDURAL_LABELS)
    length = round(seconds * RATE_HZ)
    for _ in range(count):
        scene = simulator.sample_scene(rng, num_sources)
        ears, field = np.zeros((2, length)), np.zeros((16, length))
        labels = []
        for number in range(num_sources):
            binaural, harmonic = responses(simulator, scene, number, rng)
            labels.append(names[rng.integers(len(names))])
            dry = np.resize(synthesise(labels[-1], rng, max(seconds, 1.0)), length).astype(np.float64)
            dry *= 10 ** (-14 / 20) / max(np.sqrt((dry**2).mean()), 1e-9)
            ears += fftconvolve(binaural, dry[None], axes=1)[:, :length] / num_sources
            field += fftconvolve(harmonic, dry[None], axes=1)[:, :length] / num_sources
        yield Heard(scene, tuple(labels), ears.astype(np.float32), field.astype(np.float32))


def responses(simulator: Any, scene: Scene, number: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(2, taps) and (16, taps) of one source."""
    from bat_agent_shoebox.image_sources import find_images

    ears, _ = simulator._listening(simulator.heads[0])
    taps = simulator._num_taps(scene)
    paths = simulator._paths([(scene, number)])
    images = find_images(paths, simulator.config.order)
    begin_s, end_s = images.fade_s[0].tolist()
    time_s = rng.uniform(begin_s, taps / RATE_HZ, ARRIVALS)
    energy = float(images.tail_energy[0, 0]) * np.exp(paths.log_decay(torch.as_tensor(time_s)[None])[0, 0].numpy())
    rising = np.sin(np.pi / 2 * np.clip((time_s - begin_s) / (end_s - begin_s), 0, 1))
    gain = np.sqrt(energy * (taps / RATE_HZ - begin_s) / ARRIVALS) * rising * rng.choice([-1, 1], ARRIVALS)
    x, y, z = rng.standard_normal((3, ARRIVALS))
    more = {
        "path": np.zeros(ARRIVALS, np.int64),
        "delay_s": time_s,
        "gain": gain,
        "lateral_deg": np.degrees(np.arctan2(y, x)),
        "elevation_deg": np.degrees(np.arctan2(z, np.hypot(x, y))),
    }
    joined = {name: torch.cat([getattr(images, name), torch.as_tensor(value)]) for name, value in more.items()}
    every = replace(images, **joined)
    binaural = ears.render(every, paths, taps)[0].numpy()
    delay = (every.delay_s.numpy() - float(paths.shift_s[0])) * RATE_HZ
    waves = ambix(every.lateral_deg.numpy(), every.elevation_deg.numpy()) * every.gain.numpy()
    return binaural, _laid_out(delay, waves, taps).astype(np.float32)


def _laid_out(delay: Any, gains: Any, taps: int) -> Any:
    """(C, taps) band-limited impulses at fractions of samples, (K,) delays and (C, K) gains."""
    whole = np.floor(delay).astype(int)
    offset = np.arange(-HALF, HALF + 1)[None] - (delay - whole)[:, None]
    kernel = np.sinc(offset) * np.cos(np.pi / 2 * np.clip(offset / (HALF + 1), -1, 1)) ** 2
    place = whole[:, None] + np.arange(2 * HALF + 1)[None]
    inside = (place >= 0) & (place < taps + 2 * HALF)
    out = np.zeros((len(gains), taps + 2 * HALF))
    for channel, gain in zip(out, gains, strict=True):
        channel += np.bincount(place[inside], (kernel * gain[:, None])[inside], taps + 2 * HALF)
    return out[:, HALF : HALF + taps]
