"""Sounds to draw from, and all of them on one device, where the dry sources of a whole batch are cut at once.

Letters in shapes: M sources of a batch, n stretches of sounds (one for each source, two where sounds are mixed up), N
samples of a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bat_agent.clips.excerpt import Excerpt
from bat_agent.datasets.cache import Cached
from bat_agent.datasets.sounds import Balance, Sound, SoundSet

_SAMPLES_AT_ONCE = 2**25


@dataclass(frozen=True)
class SoundPool:
    """Sound sets and how often to draw from each."""

    sets: Sequence[SoundSet]
    weights: Sequence[float]
    balance: Sequence[Balance] = ()
    """How to draw from each set (:meth:`~bat_agent.datasets.sounds.SoundSet.sample`); if empty, classes alike."""

    def sample(self, rng: np.random.Generator) -> Sound:
        """Draw a set by weight, then a sound."""
        shares = np.asarray(self.weights, dtype=float)
        number = int(rng.choice(len(self.sets), p=shares / shares.sum()))
        return self.sets[number].sample(rng, *self.balance[number : number + 1])

    def labels(self) -> tuple[str, ...]:
        """Every label that can be drawn."""
        return tuple(sorted({label for sounds in self.sets for label in sounds.labels()}))

    def __len__(self) -> int:
        """How many sounds can be drawn."""
        return sum(len(sounds) for sounds, weight in zip(self.sets, self.weights, strict=True) if weight > 0)

    def preload(self, workers: int) -> None:
        """Load all sounds of cached sets now, in so many processes, as far as there is room."""
        for sounds in self.sets:
            sounds.preload(workers)

    def kept_whole(self) -> bool:
        """Whether every sound is in memory."""
        return all(isinstance(s.loader, Cached) and s.loader.keeps(s.id) for sounds in self.sets for s in sounds)

    def number(self, sound: Sound) -> int:
        """Which of all sounds of the pool one of its samples is, as a :class:`SoundBank` counts them."""
        return self._numbers[sound.loader, sound.id]

    @cached_property
    def _numbers(self) -> dict[tuple[object, str], int]:
        every = (sound for sounds in self.sets for sound in sounds)
        return {(sound.loader, sound.id): number for number, sound in enumerate(every)}


@dataclass
class Cuts:
    """Which stretches of which sounds make the dry sources of a batch; every field is (n,)."""

    source: Tensor
    """int64: which of the M sources it is part of"""
    sound: Tensor
    """int64: number of the sound in the pool"""
    start: Tensor
    """int64, as the next three: first sample of the clip"""
    length: Tensor
    """samples of the clip"""
    begin: Tensor
    """first sample of the sound"""
    piece: Tensor
    """samples of the sound, which begins again where it ends"""
    turn: Tensor
    """int64: samples that the clip is turned around by"""
    gain: Tensor
    """float32: multiplies the sound"""

    @classmethod
    def of(cls, sources: Sequence[tuple[Sequence[int], Excerpt]]) -> Cuts:
        """The cuts of M sources: the numbers of their sounds, and what was drawn of them."""
        rows = [
            (m, sound, cut.start, cut.length, cut.begin, cut.piece, some.turn, float(cut.level) * share * some.gain)
            for m, (sounds, some) in enumerate(sources)
            for sound, cut, share in zip(sounds, some.cuts, some.shares, strict=True)
        ]
        *whole, gain = torch.tensor(rows, dtype=torch.float64).reshape(-1, 8).unbind(1)
        source, sound, start, length, begin, piece, turn = (column.long() for column in whole)
        return cls(source, sound, start, length, begin, piece, turn, gain.float())

    def to(self, device: torch.device) -> Cuts:
        """All on ``device``."""
        return Cuts(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})

    def __getitem__(self, some: slice) -> Cuts:
        return Cuts(**{name: value[some] for name, value in vars(self).items()})


class SoundBank:
    """All sounds of a pool on one device, as 16-bit numbers."""

    def __init__(self, pool: SoundPool, device: torch.device) -> None:
        """Copy what :meth:`SoundPool.preload` loaded."""
        # Loading again what is kept costs nothing.
        kept = [sound.loader.kept(sound.id) for sounds in pool.sets for sound in sounds]  # type: ignore[attr-defined]
        sizes = [len(samples) for samples, _ in kept]
        self._first = torch.tensor(np.cumsum([0, *sizes])[:-1], dtype=torch.int64, device=device)
        self._size = torch.tensor(sizes, dtype=torch.int64, device=device).clamp(min=1)
        self._step = torch.tensor(np.array([step for _, step in kept], dtype=np.float32), device=device)
        self._samples = torch.empty(sum(sizes), dtype=torch.int16, device=device)
        for (samples, _), first in zip(kept, self._first.tolist(), strict=True):
            self._samples[first : first + len(samples)] = torch.from_numpy(samples)

    def cut(self, cuts: Cuts, sources: int, samples: int) -> Tensor:
        """The dry sources (M, N) float32 of :func:`bat_agent.clips.excerpt.cut_excerpt`, but for rounding."""
        out = torch.zeros(sources, samples, device=self._samples.device)
        cuts = cuts.to(out.device)
        at_once = max(1, _SAMPLES_AT_ONCE // samples)
        for first in range(0, len(cuts.source), at_once):
            some = cuts[first : first + at_once]
            out.index_add_(0, some.source, self._played(some, samples))
        return out

    def _played(self, cuts: Cuts, samples: int) -> Tensor:
        """(n, N) each stretch where it lies in its clip."""
        now = (torch.arange(samples, device=cuts.turn.device) - cuts.turn[:, None]) % samples - cuts.start[:, None]
        heard = (now >= 0) & (now < cuts.length[:, None])
        last = (cuts.piece - 1)[:, None].clamp(min=0)
        faster = last / (cuts.length - 1)[:, None].clamp(min=1)
        place = now.clamp(min=0) * faster
        below = place.floor().long().minimum(last)
        # A sound of nothing has no sample to read, but its neighbour does no harm: nothing of it is heard.
        first, size = self._first[cuts.sound][:, None], self._size[cuts.sound][:, None]
        read = cuts.begin[:, None] + below
        here, after = (
            self._samples[(first + at % size).clamp(max=len(self._samples) - 1)].float()
            for at in (read, read + (below < last))
        )
        scale = (cuts.gain * self._step[cuts.sound])[:, None]
        return torch.lerp(here, after, place - below) * scale * heard
