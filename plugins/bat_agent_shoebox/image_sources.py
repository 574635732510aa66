"""Image sources of rectangular rooms (Allen and Berkley, 1979); batched over source positions.

Letters in shapes: S source positions (each with its own room), I images of the lattice, K images that are kept, B
frequency bands (1 where walls do not depend on frequency), T times.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bat_agent.interfaces import DIRECT_GAIN_AT_1M
from bat_agent_shoebox.directivity import Directivity
from bat_agent_shoebox.hrtf import SPEED_OF_SOUND
from bat_agent_shoebox.walls import specular_log_decay

_FADE_S = 0.02
_LEVEL_WINDOW_S = 0.015
_MIN_LEVEL_IMAGES = 10
_GAUSS_NODES, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(3)


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
    shift_s: Tensor
    """(S,) time by which the whole response is moved earlier."""
    loss: Tensor
    """(S, 6, B) nepers of energy that each wall takes (:mod:`bat_agent_shoebox.walls`)."""
    rate: Tensor
    """(S, B) nepers of energy a second that a diffuse field loses; 0 in free field."""
    ray_rates: Tensor | None = None
    """(S, B, Q) the same by direction, where the decay is that of mirror-like walls."""
    directivity: Directivity | None = None
    """How the sources radiate, where not alike to all sides; there are as many bands as walls have."""

    @property
    def slowest_rate(self) -> Tensor:
        """(S,) the least of all rates; 0 in free field."""
        if self.ray_rates is None:
            return self.rate.amin(1)
        return self.ray_rates.amin((1, 2)) * (self.rate.amin(1) > 0)

    def log_decay(self, time_s: Tensor) -> Tensor:
        """ln of the energy (S, B, T) that is left at times (S, T), by the law of decay that these rooms follow."""
        if self.ray_rates is not None:
            return specular_log_decay(self.ray_rates, time_s)
        return -self.rate[..., None] * time_s[:, None]


@dataclass
class Images:
    """What is heard of each path's lattice of image sources."""

    path: Tensor
    """(K,) which path an image belongs to."""
    delay_s: Tensor
    """(K,)"""
    gain: Tensor
    """(K,) pressure; without the walls where ``log_gain`` holds them."""
    log_gain: Tensor | None
    """(K, B) ln of the pressure gain of the walls in each band; ``None`` where there is one band."""
    lateral_deg: Tensor
    """(K,) direction in the listener's frame, 0 front, +90 left."""
    elevation_deg: Tensor
    """(K,)"""
    tail_energy: Tensor
    """(S, B) energy per second that a tail must have at time 0 to continue the images' decay."""
    fade_s: Tensor
    """(S, 2) when the images begin and end to fade out; the tail fades in meanwhile."""


@functools.cache
def _lattice(order: int, device: str) -> tuple[Tensor, Tensor]:
    """(I, 3) reflections per axis, the sign saying on which side; and (I, 6) per wall; the direct sound comes first.

    Image n > 0 of an axis was reflected first by the far wall, then by the near one and so on; n < 0 the other way.
    """
    axis = np.arange(-order, order + 1)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    count = np.abs(grid).sum(1)
    kept = grid[count <= order]
    kept = kept[np.argsort(np.abs(kept).sum(1), kind="stable")]
    first, second = (np.abs(kept) + 1) // 2, np.abs(kept) // 2
    walls = np.stack([np.where(kept > 0, second, first), np.where(kept > 0, first, second)], -1).reshape(-1, 6)
    return tuple(torch.as_tensor(part, dtype=torch.float64, device=device) for part in (kept, walls))  # type: ignore[return-value]


def find_images(paths: Paths, order: int) -> Images:
    """All images up to ``order`` that arrive before the last moment at which no higher order has arrived.

    Gain = 0.282/d · Π over walls of exp(−a/2) per reflection, a the wall's loss; so √(1−α) for absorption α. Images
    fade out over up to 20 ms before that moment, where the tail takes over.
    """
    lattice, per_wall = _lattice(order, str(paths.size_m.device))
    size, source = paths.size_m[:, None], paths.source_m[:, None]
    image = lattice * size + torch.where(lattice % 2 == 1, size - source, source)
    offset = image - paths.listener_m[:, None]
    distance = offset.norm(dim=-1)
    delay = distance / SPEED_OF_SOUND
    log_gain = -0.5 * (per_wall @ paths.loss)
    if paths.directivity is not None:
        log_gain = log_gain + paths.directivity.log_gain(_leaving(offset, lattice))
    spreading = DIRECT_GAIN_AT_1M / distance.clamp_min(1e-3)

    complete = order / (paths.size_m**-2).sum(-1).sqrt() / SPEED_OF_SOUND
    end = torch.maximum(complete, delay[:, 0] + 0.01)
    start = torch.maximum(end - _FADE_S, (end + delay[:, 0]) / 2)
    fade = torch.cos(math.pi / 2 * ((delay - start[:, None]) / (end - start)[:, None]).clamp(0, 1))
    kept = (delay < end[:, None]) & (log_gain.amax(-1) > -100)
    path, which = kept.nonzero(as_tuple=True)
    lateral, elevation = _directions(offset[path, which], paths.heading_deg[path])
    gain, banded = (spreading * fade)[path, which], log_gain.shape[-1] > 1
    walls = log_gain[path, which]
    return Images(
        path=path,
        delay_s=delay[path, which],
        gain=gain if banded else gain * walls[:, 0].exp(),
        log_gain=walls if banded else None,
        lateral_deg=lateral,
        elevation_deg=elevation,
        tail_energy=_tail_energy(paths, delay, spreading[..., None] * log_gain.exp(), end),
        fade_s=torch.stack([start, end], -1),
    )


def _leaving(offset: Tensor, lattice: Tensor) -> Tensor:
    """(S, I, 3) unit vectors along which what an image is heard by leaves the source: mirrored as the image is."""
    towards = -torch.nn.functional.normalize(offset, dim=-1)
    return torch.where(lattice % 2 == 1, -towards, towards)


def _tail_energy(paths: Paths, delay: Tensor, gain: Tensor, end: Tensor) -> Tensor:
    """(S, B) energy per second at time 0 of the decay that meets the energy of the last images, gains (S, I, B).

    Where too few images are at hand, the statistical value c/V · (4π · 0.282²) of the reverberant field.
    """
    begin = end - _LEVEL_WINDOW_S
    inside = (delay >= begin[:, None]) & (delay < end[:, None])
    inside[:, 0] = False
    energy = (gain.square() * inside[..., None]).sum(1)
    nodes, weights = (torch.as_tensor(part / 2, device=end.device) for part in (_GAUSS_NODES, _GAUSS_WEIGHTS))
    times = begin[:, None] + _LEVEL_WINDOW_S * (0.5 + nodes)
    integral = _LEVEL_WINDOW_S * (paths.log_decay(times).exp() @ weights)
    statistical = SPEED_OF_SOUND / paths.size_m.prod(-1, keepdim=True)
    if paths.directivity is not None:
        statistical = statistical * paths.directivity.mean_power()
    enough = inside.sum(1, keepdim=True) >= _MIN_LEVEL_IMAGES
    level = torch.where(enough, energy / integral.clamp_min(1e-30), statistical)
    return torch.where(paths.rate > 0, level, torch.zeros_like(level))


def _directions(offset: Tensor, heading_deg: Tensor) -> tuple[Tensor, Tensor]:
    """Lateral azimuth and elevation (K,), degrees, of offsets (K, 3) in the room, for heads turned by ``heading``."""
    turned_left, turned_front = turned(offset, heading_deg)
    lateral = torch.rad2deg(torch.atan2(turned_left, turned_front))
    return lateral, torch.rad2deg(torch.atan2(offset[:, 1], torch.hypot(turned_left, turned_front)))


def turned(offset: Tensor, heading_deg: Tensor) -> tuple[Tensor, Tensor]:
    """How far (K,) offsets (K, 3) reach to the left and to the front of heads turned by ``heading`` (K,), metres."""
    heading = torch.deg2rad(heading_deg)
    left, front = -offset[:, 0], -offset[:, 2]
    # A head turned counter-clockwise sees the world turned clockwise.
    cos, sin = torch.cos(heading), torch.sin(heading)
    return left * cos - front * sin, front * cos + left * sin
