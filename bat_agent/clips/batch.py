"""A batch of clips on its way to a model: what is heard, the truth about it, and the questions asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from bat_agent.clips.spatialise import Unrendered
from bat_agent.hearing.targets import targets_from_position
from bat_agent.interfaces import NUM_CLASSES, Encoding
from bat_agent.labels import class_number
from bat_agent.questions import HeardSource, Question

MAX_SOURCES = 2


@dataclass
class Truth:
    """Targets of B clips with up to S = 2 sources each; rows of absent sources are zero."""

    active: torch.Tensor
    """(B, S) bool"""
    classes: torch.Tensor
    """(B, S, 355) float, multi-hot; shares of two sounds where they were mixed up"""
    distance: torch.Tensor
    """(B, S) int64 distance bins"""
    azimuth: torch.Tensor
    """(B, S) int64 azimuth bins"""
    elevation: torch.Tensor
    """(B, S) int64 elevation bins"""
    energy_db: torch.Tensor | None = None
    """(B, S, T, 128) float16, where asked for: energy of each source alone in T frames and the mel bands, both ears"""

    def to(self, device: torch.device | str) -> Truth:
        """The same targets on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def __getitem__(self, some: slice | Sequence[int] | torch.Tensor) -> Truth:
        """The targets of some of the clips."""
        return self._each(lambda tensor: tensor[some])

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Truth:
        values = (getattr(self, name) for name in self.__dataclass_fields__)
        return Truth(*(None if value is None else change(value) for value in values))  # type: ignore[arg-type]


@dataclass
class Batch:
    """B clips of equal length."""

    waveform: torch.Tensor
    """(B, 2, N) float32; N = 0 before :meth:`bat_agent.clips.mixtures.Mixtures.finish` has rendered it"""
    truth: Truth
    heard: list[list[HeardSource]]
    """What sounds in each clip and where."""
    questions: list[list[Question]]
    """Questions about each clip, equally many for all; empty when none were asked for."""
    ids: list[str] = field(default_factory=list)
    """One readable line for each clip: which sounds, and which room."""
    dry: Unrendered | None = None
    """What the waveform is made of, where it is not rendered yet."""
    encoding: Encoding | None = None
    """What the encoder says of the clips, where that is kept; the waveform then has no samples."""

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory; a DataLoader with ``pin_memory=True`` calls this."""
        dry = None if self.dry is None else self.dry.pin_memory()
        return replace(self, waveform=self.waveform.pin_memory(), dry=dry)


Weighted = tuple[tuple[str, float], ...]
"""Labels of one source with their shares in it."""


def truth_of(heard: Sequence[Sequence[HeardSource]], shares: Sequence[Sequence[Weighted]] | None = None) -> Truth:
    """The targets of clips whose sources are known; ``shares`` gives soft classes instead of those that are heard."""
    clips = len(heard)
    active = torch.zeros(clips, MAX_SOURCES, dtype=torch.bool)
    classes = torch.zeros(clips, MAX_SOURCES, NUM_CLASSES)
    bins = torch.zeros(3, clips, MAX_SOURCES, dtype=torch.int64)
    for clip, sources in enumerate(heard):
        for slot, source in enumerate(sources[:MAX_SOURCES]):
            active[clip, slot] = True
            weighted = shares[clip][slot] if shares else tuple((label, 1.0) for label in dict.fromkeys(source.labels))
            for label, share in weighted:
                classes[clip, slot, class_number(label)] += share
            bins[:, clip, slot] = torch.tensor(targets_from_position(source.position))
    return Truth(active, classes, bins[0], bins[1], bins[2])
