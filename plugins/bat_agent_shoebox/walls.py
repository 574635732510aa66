"""How walls make a room decay: absorption per wall and band from a wanted reverberation time, materials, or both.

Letters in shapes: S rooms, B bands (1 where walls do not depend on frequency, else the 7 of :mod:`.materials`), Q
directions of a quadrature, T times. Walls come in the order of :class:`bat_agent.scene.Room`.

The *loss* of a wall is a = −ln(1 − α), in nepers of energy per reflection: losses add along a path. Two laws of decay:

* ``diffuse`` (walls scatter, as furnished ones do): Eyring, D(t) = exp(−c S t a̅ / 4V) with a̅ = −ln(1 − α̅), α̅ the
  absorption averaged over the area.
* ``specular`` (bare mirrors): the mean over directions n of what is left of a ray, D(t) = ⟨exp(−c t Σ |nᵢ| aᵢ/Lᵢ)⟩ with
  aᵢ the mean loss of the two walls across axis i; this is the large-time limit of the sum over image sources
  (cf. Lehmann and Johansson, JASA 124, 2008).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bat_agent.scene import Room
from bat_agent_shoebox.hrtf import SPEED_OF_SOUND
from bat_agent_shoebox.materials import BANDS_HZ, MAX_ABSORPTION, MID_BANDS, absorption

Array = NDArray[np.float64]
EYRING = 24 * math.log(10) / SPEED_OF_SOUND
FREE_FIELD_LOSS = 1e4
"""Stands for walls that are not there: exp(−1e4) is 0 in double precision, and 0 reflections still lose 0."""
_SIXTY_DB = 6 * math.log(10)


def least_rt60_s(size_m: tuple[float, float, float]) -> float:
    """The shortest reverberation time that walls of absorption 0.99 give a room, by Eyring's formula."""
    x, y, z = size_m
    return -EYRING * x * y * z / (2 * (x * y + y * z + z * x) * math.log(1 - MAX_ABSORPTION))


def wall_losses(rooms: Sequence[Room], decay: str) -> Array:
    """(S, 6, B) losses; B = 1 where no room has materials (rooms without any are the same in all bands).

    A given ``rt60_s`` scales the losses so that the time at 500 Hz … 1 kHz is the wanted one, by Eyring's formula for
    ``diffuse`` decay and as T20 of the law above for ``specular``.
    """
    size = np.array([room.size_m for room in rooms])
    wanted = np.array([np.inf if room.rt60_s is None else room.rt60_s for room in rooms])
    bare = np.array([not room.materials for room in rooms])
    losses = np.ones((len(rooms), 6, 1 if bare.all() else len(BANDS_HZ)))
    for row in map(int, np.flatnonzero(~bare)):
        losses[row] = -np.log1p(-np.minimum(absorption(rooms[row].materials), MAX_ABSORPTION))
    if decay == "specular":
        scale = _mid_time(_specular_time_s(size, losses)) / wanted
    else:
        scale = np.where(bare, _uniform_loss(size, wanted), 1.0)
        if (solve := ~bare & np.isfinite(wanted)).any():
            scale[solve] = _eyring_scale(size[solve], losses[solve], wanted[solve])
    scale = np.where(np.isfinite(wanted), scale, np.where(bare, FREE_FIELD_LOSS, 1.0))
    return losses * scale[:, None, None]


def eyring_rate(size_m: Array, losses: Array) -> Array:
    """(S, B) energy decay in nepers a second: c S a̅ / 4V; 0 in free field, where nothing is left to decay."""
    area = _areas(size_m)
    kept = np.einsum("sw,swb->sb", area / area.sum(1, keepdims=True), np.exp(-losses))
    volume = size_m.prod(1)[:, None]
    with np.errstate(divide="ignore"):
        rate = SPEED_OF_SOUND * area.sum(1)[:, None] * -np.log(kept) / (4 * volume)
    return np.where(np.isfinite(rate), rate, 0.0)


def decay_times_s(room: Room, decay: str) -> Array:
    """(B,) time of each band to decay by 60 dB; 0 in free field."""
    losses, size = wall_losses([room], decay), np.array([room.size_m])
    if losses.max() >= FREE_FIELD_LOSS:
        return np.zeros(losses.shape[-1])
    return _specular_time_s(size, losses)[0] if decay == "specular" else _SIXTY_DB / eyring_rate(size, losses)[0]


def specular_rates(size_m: Array, losses: Array, device: str) -> Tensor:
    """(S, B, Q) energy decay rates of rays in the directions of the quadrature; all of equal weight."""
    return torch.as_tensor(_ray_rates(size_m, losses), device=device)


def specular_log_decay(rates: Tensor, time_s: Tensor) -> Tensor:
    """ln D (S, B, T) at times (S, T), from the rates (S, B, Q) of :func:`specular_rates`; 0 at and before time 0."""
    exponent = -rates[..., None] * time_s.clamp_min(0)[:, None, None]
    return torch.logsumexp(exponent, 2) - math.log(rates.shape[-1])


def _areas(size_m: Array) -> Array:
    x, y, z = size_m.T
    return np.stack([y * z, y * z, x * z, x * z, x * y, x * y], 1)


def _uniform_loss(size_m: Array, rt60_s: Array) -> Array:
    return EYRING * size_m.prod(1) / (_areas(size_m).sum(1) * rt60_s)


def _mid_time(times_s: Array) -> Array:
    return times_s[:, MID_BANDS].mean(1) if times_s.shape[1] > 1 else times_s[:, 0]


def _eyring_scale(size_m: Array, losses: Array, rt60_s: Array) -> Array:
    """(S,) factor of all losses that gives the wanted time, by Newton's method.

    T falls with the factor and is convex in it; the factor for which the mean loss itself (Millington's formula) gives
    the wanted time is too small, by Jensen's inequality. So the steps approach from one side.
    """
    mid, area = losses[:, :, MID_BANDS], _areas(size_m)
    share = (area / area.sum(1, keepdims=True))[:, :, None]
    constant = EYRING * size_m.prod(1)[:, None] / area.sum(1)[:, None]
    factor = (constant / (share * mid).sum(1)).mean(1) / rt60_s
    moving = np.full(len(factor), True)
    while moving.any():
        kept = share * np.exp(-mid * factor[:, None, None])
        loss = -np.log(kept.sum(1))
        slope = (kept * mid).sum(1) / kept.sum(1)
        step = ((constant / loss).mean(1) - rt60_s) / (constant * slope / loss**2).mean(1)
        # Each row ends by itself, so that a room does not depend on its neighbours in the batch.
        moving &= step > 1e-12 * factor
        factor = np.where(moving, factor + step, factor)
    return factor


@functools.cache
def _octant() -> Array:
    """(3, Q) absolute direction cosines along x, y, z, each standing for an equal solid angle."""
    up = (np.arange(12) + 0.5) / 12
    turn = (np.arange(12) + 0.5) / 12 * np.pi / 2
    y, angle = (part.ravel() for part in np.meshgrid(up, turn))
    flat = np.sqrt(1 - y**2)
    return np.stack([flat * np.cos(angle), y, flat * np.sin(angle)])


def _ray_rates(size_m: Array, losses: Array) -> Array:
    across = losses.reshape(len(losses), 3, 2, -1).mean(2)
    return SPEED_OF_SOUND * np.einsum("sab,aq->sbq", across / size_m[:, :, None], _octant())


def _specular_time_s(size_m: Array, losses: Array) -> Array:
    """(S, B) T20 of Schroeder's integral of the specular decay, from its times at −5 and −25 dB."""
    rates = _ray_rates(size_m, losses)
    start = (1 / rates).sum(-1)

    def time_at(level_db: float) -> Array:
        target, time = level_db * math.log(10) / 10, np.zeros(rates.shape[:2])
        # The logarithm of a sum of exponentials is convex, so Newton's steps approach from one side.
        for _ in range(12):
            left = np.exp(-rates * time[..., None])
            integral = (left / rates).sum(-1)
            time = time + (np.log(integral / start) - target) * integral / left.sum(-1)
        return time

    return 3 * (time_at(-25.0) - time_at(-5.0))
