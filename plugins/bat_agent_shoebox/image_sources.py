"""Image sources of rectangular rooms (Allen and Berkley, 1979), heard through a head; batched over source positions.

Letters in shapes: S source positions (each with its own room), I images of the lattice, K images that are kept.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv1d

from bat_agent.interfaces import DIRECT_GAIN_AT_1M
from bat_agent_shoebox.hrtf import (
    GRID_DEG,
    NUM_ELEVATION,
    NUM_LATERAL,
    RATE_HZ,
    SPEED_OF_SOUND,
    TAPS,
    Head,
)

EYRING = 24 * math.log(10) / SPEED_OF_SOUND
MAX_ABSORPTION = 0.99
LEAD = 64
"""Samples of room before time 0, for ears that lead the head's centre."""
AIR_REFERENCE_M = 20.0

_PHASES = 16
_SINC_TAPS = 32
_FADE_S = 0.02
_LEVEL_WINDOW_S = 0.015
_MIN_LEVEL_IMAGES = 10


@dataclass
class Paths:
    """S source positions to render at once; float64 on one device."""

    size_m: Tensor
    """(S, 3)"""
    listener_m: Tensor
    """(S, 3)"""
    source_m: Tensor
    """(S, 3)"""
    heading_deg: Tensor
    """(S,)"""
    rt60_s: Tensor
    """(S,); inf stands for free field."""
    shift_s: Tensor
    """(S,) time by which the whole response is moved earlier."""


@dataclass
class Images:
    """What is heard of each path's lattice of image sources."""

    path: Tensor
    """(K,) which path an image belongs to."""
    delay_s: Tensor
    """(K,)"""
    gain: Tensor
    """(K,)"""
    lateral_deg: Tensor
    """(K,) direction in the listener's frame, 0 front, +90 left."""
    elevation_deg: Tensor
    """(K,)"""
    tail_energy: Tensor
    """(S,) energy per second that a tail must have at time 0 to continue the images' decay."""
    fade_s: Tensor
    """(S, 2) when the images begin and end to fade out; the tail fades in meanwhile."""


def reflection_coefficient(size_m: Tensor, rt60_s: Tensor) -> Tensor:
    """Pressure reflection √(1−α) of all walls, by Eyring's formula: RT60 = 24 ln 10 · V / (−c S ln(1−α)); (S,)."""
    volume = size_m.prod(-1)
    surface = 2 * (size_m[:, 0] * size_m[:, 1] + size_m[:, 1] * size_m[:, 2] + size_m[:, 2] * size_m[:, 0])
    return torch.exp(-0.5 * EYRING * volume / (surface * rt60_s)) * torch.isfinite(rt60_s)


def least_rt60_s(size_m: tuple[float, float, float]) -> float:
    """The shortest reverberation time that walls of absorption 0.99 give a room, by Eyring's formula."""
    x, y, z = size_m
    return -EYRING * x * y * z / (2 * (x * y + y * z + z * x) * math.log(1 - MAX_ABSORPTION))


@functools.cache
def _lattice(order: int, device: str) -> Tensor:
    """(I, 3) reflections per axis, the sign saying on which side; the direct sound comes first."""
    axis = np.arange(-order, order + 1)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    count = np.abs(grid).sum(1)
    kept = grid[count <= order]
    return torch.as_tensor(kept[np.argsort(np.abs(kept).sum(1), kind="stable")], dtype=torch.float64, device=device)


def find_images(paths: Paths, order: int) -> Images:
    """All images up to ``order`` that arrive before the last moment at which no higher order has arrived.

    Gain = 0.282/d · β^reflections. Images fade out over up to 20 ms before that moment, where the tail takes over.
    """
    lattice = _lattice(order, str(paths.size_m.device))
    size, source = paths.size_m[:, None], paths.source_m[:, None]
    image = lattice * size + torch.where(lattice % 2 == 1, size - source, source)
    offset = image - paths.listener_m[:, None]
    distance = offset.norm(dim=-1)
    delay = distance / SPEED_OF_SOUND
    beta = reflection_coefficient(paths.size_m, paths.rt60_s)
    reflections = lattice.abs().sum(-1)
    gain = DIRECT_GAIN_AT_1M / distance.clamp_min(1e-3) * beta[:, None] ** reflections

    complete = order / (paths.size_m**-2).sum(-1).sqrt() / SPEED_OF_SOUND
    end = torch.maximum(complete, delay[:, 0] + 0.01)
    start = torch.maximum(end - _FADE_S, (end + delay[:, 0]) / 2)
    fade = torch.cos(math.pi / 2 * ((delay - start[:, None]) / (end - start)[:, None]).clamp(0, 1))
    kept = (delay < end[:, None]) & (gain > 0)
    path, which = kept.nonzero(as_tuple=True)
    lateral, elevation = _directions(offset[path, which], paths.heading_deg[path])
    return Images(
        path=path,
        delay_s=delay[path, which],
        gain=(gain * fade)[path, which],
        lateral_deg=lateral,
        elevation_deg=elevation,
        tail_energy=_tail_energy(paths, delay, gain, end),
        fade_s=torch.stack([start, end], -1),
    )


def _tail_energy(paths: Paths, delay: Tensor, gain: Tensor, end: Tensor) -> Tensor:
    """(S,) energy per second at time 0 of the exponential decay that meets the last images' energy.

    Where too few images are at hand, the statistical value c/V · (4π · 0.282²) of the reverberant field.
    """
    rate = 6 * math.log(10) / paths.rt60_s
    begin = end - _LEVEL_WINDOW_S
    inside = (delay >= begin[:, None]) & (delay < end[:, None])
    inside[:, 0] = False
    energy = (gain.square() * inside).sum(1)
    decay = (torch.exp(-rate * begin) - torch.exp(-rate * end)) / rate.clamp_min(1e-9)
    statistical = SPEED_OF_SOUND / paths.size_m.prod(-1)
    enough = inside.sum(1) >= _MIN_LEVEL_IMAGES
    level = torch.where(enough, energy / decay.clamp_min(1e-30), statistical)
    return torch.where(torch.isfinite(paths.rt60_s), level, torch.zeros_like(level))


def _directions(offset: Tensor, heading_deg: Tensor) -> tuple[Tensor, Tensor]:
    """Lateral azimuth and elevation (K,), degrees, of offsets (K, 3) in the room, for heads turned by ``heading``."""
    heading = torch.deg2rad(heading_deg)
    left, front = -offset[:, 0], -offset[:, 2]
    # A head turned counter-clockwise sees the world turned clockwise.
    turned_left = left * torch.cos(heading) - front * torch.sin(heading)
    turned_front = front * torch.cos(heading) + left * torch.sin(heading)
    lateral = torch.rad2deg(torch.atan2(turned_left, turned_front))
    return lateral, torch.rad2deg(torch.atan2(offset[:, 1], torch.hypot(left, front)))


def air_loss_db_per_m(frequency_hz: np.ndarray) -> np.ndarray:
    """Absorption of sound in air by ISO 9613-1, at 20 °C, 50 % relative humidity, 101.325 kPa."""
    temperature, humidity = 293.15, 0.5 * 2.3388 / 101.325 * 100
    oxygen = 24 + 4.04e4 * humidity * (0.02 + humidity) / (0.391 + humidity)
    nitrogen = 9 + 280 * humidity
    f2 = np.asarray(frequency_hz, dtype=np.float64) ** 2
    relaxation = 0.01275 * np.exp(-2239.1 / temperature) / (oxygen + f2 / oxygen)
    relaxation = relaxation + 0.1068 * np.exp(-3352.0 / temperature) / (nitrogen + f2 / nitrogen)
    return 8.686 * f2 * (1.84e-11 + relaxation)


def excess_air_loss_db_per_m(frequency_hz: np.ndarray) -> np.ndarray:
    """Air absorption beyond that at 4 kHz, zero below: up to there the asked reverberation time includes the air."""
    return np.maximum(air_loss_db_per_m(frequency_hz) - air_loss_db_per_m(np.array(4000.0)), 0)


class Ears:
    """Turns images into the two ear signals; holds the head's tables on one device."""

    def __init__(self, head: Head, device: str, air_absorption: bool) -> None:
        self._taps = torch.as_tensor(head.taps, device=device)
        self._delay = torch.as_tensor(head.delay, device=device)
        self._interpolator = torch.as_tensor(_interpolator(air_absorption), device=device)
        self._offsets = torch.arange(TAPS, device=device)

    def render(self, images: Images, paths: Paths, num_taps: int) -> Tensor:
        """(S, 2, num_taps) float32: every image as 2 head responses at its delay, to 1/32 sample (1 µs).

        Images are laid into one buffer per sub-sample phase; one short convolution then shifts each phase by its
        fraction of a sample. That is a fifth of the work of shifting every image by itself.
        """
        num_paths, device = len(paths.size_m), self._taps.device
        begin = (images.delay_s - paths.shift_s[images.path]) * RATE_HZ + LEAD
        length = min(int(begin.max()) + TAPS, num_taps + LEAD)
        stride = length + TAPS + _SINC_TAPS
        buffer = torch.zeros(num_paths * 2 * _PHASES * stride, device=device)
        gain = images.gain.to(torch.float32) * (begin < length)
        for ear, lateral in enumerate((images.lateral_deg, -images.lateral_deg)):
            ticks = ((begin + self._ear_delay(lateral, images.elevation_deg)) * _PHASES).round().long()
            ticks = ticks.clamp(0, length * _PHASES)
            start = ((images.path * 2 + ear) * _PHASES + ticks % _PHASES) * stride + ticks // _PHASES
            values = self._taps[_nearest_row(lateral, images.elevation_deg)] * gain[:, None]
            buffer.index_add_(0, (start[:, None] + self._offsets).reshape(-1), values.reshape(-1))
        # The kernel has its centre in the middle, so this padding keeps time where it is.
        mixed = conv1d(buffer.view(num_paths * 2, _PHASES, stride), self._interpolator, padding=_SINC_TAPS)
        length = min(stride - LEAD, num_taps)
        dry, wet = mixed[:, :, LEAD : LEAD + length].view(num_paths, 2, 2, length).unbind(2)
        out = torch.zeros(num_paths, 2, num_taps, device=device)
        out[:, :, :length] = dry + self._air_weight(paths, length) * (wet - dry)
        return out

    def _ear_delay(self, lateral_deg: Tensor, elevation_deg: Tensor) -> Tensor:
        """Delay in samples of the left ear, bilinear between grid directions."""
        column, row = lateral_deg / GRID_DEG, (elevation_deg + 90) / GRID_DEG
        column0, row0 = column.floor(), row.floor().clamp(0, NUM_ELEVATION - 2)
        u, v = column - column0, row - row0
        west, base = column0.long() % NUM_LATERAL, row0.long() * NUM_LATERAL
        east = (west + 1) % NUM_LATERAL
        low = self._delay[base + west] * (1 - u) + self._delay[base + east] * u
        high = self._delay[base + NUM_LATERAL + west] * (1 - u) + self._delay[base + NUM_LATERAL + east] * u
        return low * (1 - v) + high * v

    def _air_weight(self, paths: Paths, length: int) -> Tensor:
        """(S, 1, length): share of the signal filtered by 20 m of air, growing with the path length."""
        time = torch.arange(length, device=self._taps.device) / RATE_HZ
        metres = (time + paths.shift_s[:, None].to(torch.float32)) * SPEED_OF_SOUND
        return (metres / AIR_REFERENCE_M).clamp(0, 1.5)[:, None]


def _nearest_row(lateral_deg: Tensor, elevation_deg: Tensor) -> Tensor:
    column = (lateral_deg / GRID_DEG).round().long() % NUM_LATERAL
    row = ((elevation_deg + 90) / GRID_DEG).round().long().clamp(0, NUM_ELEVATION - 1)
    return row * NUM_LATERAL + column


def _interpolator(air_absorption: bool) -> np.ndarray:
    """(2, phases, 2·32+1) float32 kernels for ``conv1d``: sub-sample delays; the second set with 20 m of air in it."""
    position = np.arange(-_SINC_TAPS, _SINC_TAPS + 1)
    shift = position[None] - np.arange(_PHASES)[:, None] / _PHASES
    dry = np.sinc(shift) * np.cos(np.pi * np.clip(shift / (2 * _SINC_TAPS), -0.5, 0.5)) ** 2
    wet = dry
    if air_absorption:
        size = 256
        loss_db = excess_air_loss_db_per_m(np.fft.rfftfreq(size, 1 / RATE_HZ)) * AIR_REFERENCE_M
        spectrum = np.fft.rfft(dry, size) * 10 ** (-loss_db / 20)
        wet = np.fft.irfft(spectrum, size)[:, : len(position)]
    # conv1d correlates; a convolution needs the kernel reversed.
    return np.stack([dry, wet])[:, :, ::-1].astype(np.float32).copy()
