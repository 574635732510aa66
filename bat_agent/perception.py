"""From an encoder's logits to what a person would say: what sounds, where and how far, each with a confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding
from bat_agent.scene import region

DIRECTION_KERNEL_DEG = 10.0


@dataclass(frozen=True)
class PerceivedSource:
    """One source as heard; angles in the frame drawn in :mod:`bat_agent.scene`."""

    labels: tuple[str, ...]
    """Display names, likeliest first."""
    azimuth_deg: float | None
    """[0, 360): 0 right, 90 front; ``None`` if the encoder has no such head."""
    elevation_deg: float | None
    """[−90, 90], positive above."""
    distance_m: float | None
    """0 to 10 in steps of 0.5."""
    confidence: float
    """Probability that something like this sounds at all."""

    @property
    def region(self) -> str | None:
        """E.g. ``left, front, above``."""
        if self.azimuth_deg is None:
            return None
        return region(self.azimuth_deg, self.elevation_deg or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "labels": list(self.labels),
            "azimuth_deg": self.azimuth_deg,
            "elevation_deg": self.elevation_deg,
            "distance_m": self.distance_m,
            "region": self.region,
            "confidence": round(self.confidence, 4),
        }


@dataclass(frozen=True)
class Perception:
    """Everything an encoder says about a clip."""

    sources: tuple[PerceivedSource, ...] = ()
    """Strongest first; empty for silence."""
    class_probs: dict[str, float] = field(default_factory=dict)
    """Probability that each class is heard anywhere in the clip."""
    notes: tuple[str, ...] = ()
    """What the listener should know about the input (silence, cut, clipped, …)."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "sources": [source.to_dict() for source in self.sources],
            "class_probs": {label: round(p, 4) for label, p in self.class_probs.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Thresholds:
    """Where a probability becomes a statement; chosen on validation data and stored with the model."""

    activity: float = 0.5
    """A slot holds a source above this."""
    label: float = 0.5
    """A label is named above this; the likeliest one always is."""


def perceive(
    encoding: Encoding, labels: Sequence[str], thresholds: Thresholds, notes: Sequence[str] = ()
) -> list[Perception]:
    """One perception per clip of the encoding. Bins are decoded where they hold most probability together with their
    neighbours (10° around for directions, one bin for the distance), which is steadier than the single best bin.
    """
    if encoding.class_logits is None:
        raise BadInput("this encoder has no class head, so it cannot say what sounds; use one that has")
    class_probs = encoding.class_logits.detach().float().sigmoid().cpu().numpy()
    heard = _single(encoding) if encoding.slots is None else _several(encoding)
    return [
        Perception(
            _sources(sources, labels, thresholds),
            dict(zip(labels, probs.tolist(), strict=True)),
            tuple(notes),
        )
        for sources, probs in zip(heard, class_probs, strict=True)
    ]


@dataclass(frozen=True)
class _Heard:
    activity: float
    class_probs: np.ndarray
    azimuth_deg: float | None
    elevation_deg: float | None
    distance_m: float | None


def _sources(heard: list[_Heard], labels: Sequence[str], thresholds: Thresholds) -> tuple[PerceivedSource, ...]:
    ranked = sorted(heard, key=lambda h: -h.activity)
    # A clip that is not silent has at least one source: the strongest slot always speaks.
    audible = [h for rank, h in enumerate(ranked) if rank == 0 or h.activity >= thresholds.activity]
    sources = []
    for h in audible:
        order = np.argsort(-h.class_probs)
        named = [int(i) for i in order if h.class_probs[i] >= thresholds.label] or [int(order[0])]
        sources.append(
            PerceivedSource(
                tuple(labels[i] for i in named), h.azimuth_deg, h.elevation_deg, h.distance_m, float(h.activity)
            )
        )
    return tuple(sources)


def _single(encoding: Encoding) -> list[list[_Heard]]:
    assert encoding.class_logits is not None
    probs = encoding.class_logits.detach().float().sigmoid().cpu().numpy()
    azimuth = decode_azimuth_deg(encoding.azimuth_logits)
    elevation = decode_elevation_deg(encoding.elevation_logits)
    distance = decode_distance_m(encoding.distance_logits)
    return [
        [_Heard(float(probs[i].max()), probs[i], _at(azimuth, i), _at(elevation, i), _at(distance, i))]
        for i in range(len(probs))
    ]


def _several(encoding: Encoding) -> list[list[_Heard]]:
    slots = encoding.slots
    assert slots is not None
    activity = slots.activity_logits.detach().float().sigmoid().cpu().numpy()
    probs = slots.class_logits.detach().float().sigmoid().cpu().numpy()
    azimuth = decode_azimuth_deg(slots.azimuth_logits)
    elevation = decode_elevation_deg(slots.elevation_logits)
    distance = decode_distance_m(slots.distance_logits)
    return [
        [
            _Heard(
                float(activity[i, s]), probs[i, s], _at(azimuth, (i, s)), _at(elevation, (i, s)), _at(distance, (i, s))
            )
            for s in range(activity.shape[1])
        ]
        for i in range(len(activity))
    ]


def decode_azimuth_deg(logits: Tensor | None) -> np.ndarray | None:
    """(…, 360) logits → (…) degrees in [0, 360)."""
    return None if logits is None else _best_bin(logits, DIRECTION_KERNEL_DEG, circular=True).astype(float)


def decode_elevation_deg(logits: Tensor | None) -> np.ndarray | None:
    """(…, 180) logits → (…) degrees in [−90, 89]."""
    return None if logits is None else _best_bin(logits, DIRECTION_KERNEL_DEG, circular=False) - 90.0


def decode_distance_m(logits: Tensor | None) -> np.ndarray | None:
    """(…, 21) logits → (…) metres in [0, 10]."""
    return None if logits is None else _best_bin(logits, 0.8, circular=False) / 2.0


def _best_bin(logits: Tensor, width: float, circular: bool) -> np.ndarray:
    """The bin with most probability in a Gaussian window of standard deviation ``width`` bins around it."""
    bins = logits.shape[-1]
    index = torch.arange(bins, device=logits.device, dtype=torch.float32)
    apart = (index[:, None] - index).abs()
    if circular:
        apart = torch.minimum(apart, bins - apart)
    window = torch.exp(-0.5 * (apart / width) ** 2)
    return (logits.detach().float().softmax(dim=-1) @ window).argmax(dim=-1).cpu().numpy()


def _at(values: np.ndarray | None, index: Any) -> float | None:
    return None if values is None else float(values[index])
