"""What :mod:`bat_agent.clips.capture` drew, done to sound: responses and limits as filters, then codec and rounding.

Letters in shapes: B clips, M sources of all clips together, N samples, F bins of a spectrum, K knots of a response.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from bat_agent.clips.capture import NO_LIMIT_HZ, Recorder
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound.colour import KNOTS_HZ

EDGE = 1.08
"""A limit is full below it and silent from this many times it on (above it from this many times below)."""
_LEAST_EDGE_HZ = 100.0


@dataclass
class Captured:
    """The recorders of B clips with M sources."""

    source_db: Tensor
    """(M, K)"""
    source_hz: Tensor
    """(M, 2)"""
    ear_db: Tensor
    """(B, 2, K)"""
    limit_hz: Tensor
    """(B,)"""
    codec: Tensor
    """(B,)"""
    rounding: Tensor
    """(B,)"""
    seed: Tensor
    """(B,) int64"""

    @classmethod
    def of(cls, recorders: Sequence[Recorder], sources: Sequence[tuple[int, int]]) -> Captured:
        """Of the recorders of B clips, and of each source its clip and its number in it."""
        rows = [(recorders[clip].source_db[number], recorders[clip].source_hz[number]) for clip, number in sources]
        return cls(
            torch.stack([torch.from_numpy(db) for db, _ in rows]) if rows else torch.zeros(0, len(KNOTS_HZ)),
            torch.stack([torch.from_numpy(hz) for _, hz in rows]) if rows else torch.zeros(0, 2),
            torch.stack([torch.from_numpy(one.ear_db) for one in recorders]),
            torch.tensor([one.limit_hz for one in recorders]),
            torch.tensor([one.codec for one in recorders]),
            torch.tensor([one.rounding for one in recorders]),
            torch.tensor([one.seed for one in recorders], dtype=torch.int64),
        )

    def apart(self, clip: Tensor) -> Captured:
        """The same for sources that are clips of their own (``clip`` (M,): the clip of each), as they are recorded
        before codec and rounding.
        """
        nothing = torch.zeros(len(clip))
        ears, limits, seeds = self.ear_db[clip], self.limit_hz[clip], self.seed[clip]
        return Captured(self.source_db, self.source_hz, ears, limits, nothing, nothing, seeds)

    def only(self, wanted: Tensor) -> Captured:
        """Of :meth:`apart`, those ``wanted`` (M,) bool."""
        return Captured(*(getattr(self, name)[wanted] for name in self.__dataclass_fields__))

    def gains(self, some: slice, clip: Tensor, spectrum: Tensor) -> Tensor:
        """(m, 2, F): what ``some`` of the sources, of clips ``clip`` (m,), are multiplied by, for each ear.

        A source keeps its energy, which ``spectrum`` (m, blocks, F) of its dry sound tells; microphones do not.
        """
        bins, device = spectrum.shape[-1], spectrum.device
        played = _response(self.source_db[some].to(device), bins) * _band(self.source_hz[some].to(device), bins)
        power = torch.view_as_real(spectrum).square().sum(dim=(1, 3))
        level = power.sum(-1) / (power * played.square()).sum(-1).clamp(min=1e-20)
        ears = _response(self.ear_db[clip].to(device), bins)
        limit = torch.nn.functional.pad(self.limit_hz[clip].to(device)[:, None], (1, 0))
        heard = (played * level.clamp(max=1e6).sqrt()[:, None] * _band(limit, bins))[:, None]
        return heard * ears

    def limited(self, noise: Tensor, clip: int | slice) -> Tensor:
        """Noise (…, 2, N) of the microphones of a clip, or of several, as their recorder passes it on."""
        limit = self.limit_hz[clip]
        if not bool((limit < NO_LIMIT_HZ).any()):
            return noise
        spectrum = torch.fft.rfft(noise)
        band = torch.nn.functional.pad(limit.reshape(-1, 1).to(noise.device), (1, 0))
        gain = _band(band, spectrum.shape[-1])
        return torch.fft.irfft(spectrum * (gain[:, None] if noise.ndim == 3 else gain), noise.shape[-1])

    def record(self, waveform: Tensor) -> Tensor:
        """(B, 2, N) with the noise of a codec, rounded; a GPU draws other noise than a CPU."""
        for number in (self.codec > 0).nonzero()[:, 0].tolist():
            generator = torch.Generator(waveform.device).manual_seed(int(self.seed[number]))
            noise = torch.randn(waveform.shape[1:], generator=generator, device=waveform.device)
            waveform[number] *= 1 + float(self.codec[number]) * noise
        for number in (self.rounding > 0).nonzero()[:, 0].tolist():
            step = float(self.rounding[number]) * float(waveform[number].abs().max())
            if step:
                waveform[number] = (waveform[number] / step).round() * step
        return waveform


def _response(knots_db: Tensor, bins: int) -> Tensor:
    """Gain (…, F) through knots (…, K)."""
    below, between = _places(bins, knots_db.device)
    return torch.exp(torch.lerp(knots_db[..., below], knots_db[..., below + 1], between) * (math.log(10) / 20))


def _band(limits_hz: Tensor, bins: int) -> Tensor:
    """Gain (m, F) of bands from the first to the second of ``limits_hz`` (m, 2), with edges of half a cosine."""
    hz = torch.arange(bins, device=limits_hz.device) * (SAMPLE_RATE_HZ / 2 / (bins - 1))
    low, high = limits_hz[:, :1], limits_hz[:, 1:]
    above = (hz - high) / (high * (EDGE - 1)).clamp(min=_LEAST_EDGE_HZ)
    under = (low - hz) / (low * (EDGE - 1)).clamp(min=_LEAST_EDGE_HZ)
    return 0.5 + 0.5 * torch.cos(math.pi * torch.maximum(above, under).clamp(0, 1))


@lru_cache(maxsize=32)
def _places(bins: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each bin the knot below it, and how far it lies on the way to the next, over octaves."""
    hz = torch.arange(bins, device=device) * (SAMPLE_RATE_HZ / 2 / (bins - 1))
    octaves = torch.tensor(KNOTS_HZ, device=device).log2()
    here = hz.clamp(min=KNOTS_HZ[0], max=KNOTS_HZ[-1]).log2()
    below = (torch.searchsorted(octaves, here, right=True) - 1).clamp(0, len(KNOTS_HZ) - 2)
    return below, (here - octaves[below]) / (octaves[below + 1] - octaves[below])
