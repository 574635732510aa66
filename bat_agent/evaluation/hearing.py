"""What an encoder says of clips whose truth is known, as arrays; everything measured is computed from these.

N clips of one source each, C classes. Two decodings stand side by side: ``kernel``, as the agent decodes
(:mod:`bat_agent.hearing.perception`), and ``released``, the single best bin, as the released code does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bat_agent.clips.batch import Batch
from bat_agent.errors import BadInput
from bat_agent.evaluation.metrics import angular_errors_deg, sides
from bat_agent.hearing.confidence import WITHIN_BINS, WITHIN_DEG, direction_confidence, distance_confidence
from bat_agent.hearing.perception import (
    decode_azimuth_deg,
    decode_distance_m,
    decode_elevation_deg,
    exclusive_directions,
)
from bat_agent.hearing.spread import BEHIND, BELOW, LEFT
from bat_agent.hearing.targets import targets_from_position
from bat_agent.interfaces import (
    NUM_AZIMUTH_BINS,
    NUM_CLASSES,
    NUM_DISTANCE_BINS,
    NUM_ELEVATION_BINS,
    Encoding,
    SlotEncoding,
)
from bat_agent.questions.answers import AXES
from bat_agent.sound.waveform import fit

Decode = Literal["kernel", "released"]
HEADS = ("class", "azimuth", "elevation", "distance")
DECODINGS: tuple[Decode, ...] = get_args(Decode)
_BINS = {
    "class_logits": NUM_CLASSES,
    "distance_logits": NUM_DISTANCE_BINS,
    "azimuth_logits": NUM_AZIMUTH_BINS,
    "elevation_logits": NUM_ELEVATION_BINS,
}
Progress = Callable[[int, int], None]
Array = NDArray[Any]


@dataclass
class Heard:
    """What was said of N clips, and what was true; ``None`` or a missing key where the encoder has no such head."""

    true_deg: Array
    """(N, 2) azimuth and elevation, exact."""
    true_bins: Array
    """(N, 3) distance, azimuth and elevation bins."""
    classes: NDArray[np.bool_]
    """(N, C) truth."""
    scores: Array | None
    """(N, C) class logits."""
    directions_deg: dict[str, Array] = field(default_factory=dict)
    """Decoding → (N, 2) azimuth and elevation said, where the encoder has heads of both."""
    azimuths_deg: dict[str, Array] = field(default_factory=dict)
    """Decoding → (N,) azimuth said."""
    elevations_deg: dict[str, Array] = field(default_factory=dict)
    """Decoding → (N,) elevation said."""
    distances: dict[str, Array] = field(default_factory=dict)
    """Decoding → (N,) distance bins said."""
    confidence: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    """Output (as in :mod:`bat_agent.hearing.confidence`) → the probability that what it says is right, before any
    calibration, and whether it is; (N,) each, for ``source`` one for every slot."""
    swapped_deg: dict[str, Array] = field(default_factory=dict)
    """As ``directions_deg``, with the ears swapped."""
    swapped_azimuths_deg: dict[str, Array] = field(default_factory=dict)
    """As ``azimuths_deg``, with the ears swapped."""
    swapped_top: Array | None = None
    """(N,) likeliest class with the ears swapped."""

    def __len__(self) -> int:
        return len(self.true_deg)

    @property
    def missing(self) -> tuple[str, ...]:
        """The heads that the encoder lacks, of ``class``, ``azimuth``, ``elevation`` and ``distance``."""
        there = (self.scores is not None, self.azimuths_deg, self.elevations_deg, self.distances)
        return tuple(name for name, has in zip(HEADS, there, strict=True) if not has)


def batches(data: Any, device: torch.device | str) -> Iterable[Batch]:
    """Every batch of a data set, with its sound on ``device`` (rendered there, where the data set leaves that)."""
    finish = getattr(data, "finish", None)
    for step in range(len(data)):
        yield finish(data[step], device) if finish else data[step]


@torch.inference_mode()
def encode(encoder: Any, waveform: Tensor, device: torch.device | str) -> Encoding:
    """The encoding of clips (B, 2, N), on the CPU, its heads checked.

    Raises :class:`~bat_agent.errors.BadInput` for logits that are no numbers, or heads of another size.
    """
    encoding = encoder(fit(waveform.to(device), encoder)).to("cpu")
    _check(encoding, type(encoder).__name__)
    return encoding


def listen(
    encoder: Any,
    data: Any,
    device: torch.device | str,
    *,
    swap: bool = False,
    progress: Progress = lambda done, total: None,
) -> Heard:
    """What ``encoder`` says of the first source of every clip; ``swap`` also asks it with the ears swapped.

    Raises :class:`~bat_agent.errors.BadInput` where there are no clips, or as :func:`encode` does.
    """
    parts: list[Heard] = []
    for done, batch in enumerate(batches(data, device), 1):
        mirrored = encode(encoder, batch.waveform.flip(1), device) if swap else None
        parts.append(_heard(encode(encoder, batch.waveform, device), batch, mirrored))
        progress(done, len(data))
    if not parts:
        raise BadInput("there are no clips to evaluate on, expected at least one; ask for more clips")
    return _join(parts)


def said(heads: Encoding | SlotEncoding, decode: Decode) -> tuple[Array | None, Array | None, Array | None]:
    """Azimuth and elevation in degrees and distance bins (…) of an encoding or of its slots; ``None`` without the
    head.
    """
    if decode == "kernel" and isinstance(heads, SlotEncoding):
        heads = exclusive_directions(heads)
    azimuth, elevation, distance = heads.azimuth_logits, heads.elevation_logits, heads.distance_logits
    both: list[Array | None]
    if decode == "kernel":
        both, metres = [decode_azimuth_deg(azimuth), decode_elevation_deg(elevation)], decode_distance_m(distance)
        bins = None if metres is None else np.rint(2 * metres).astype(int)
    else:
        best = [None if logits is None else logits.argmax(dim=-1).numpy() for logits in (azimuth, elevation, distance)]
        both = [None if found is None else found - offset for found, offset in zip(best, (0.0, 90.0), strict=False)]
        bins = best[2]
    return both[0], both[1], bins


def true_directions(heard: Heard, decode: Decode) -> Array:
    """(N, 2) what is compared with: the released code has the truth in whole degrees, as its targets are."""
    if decode == "released":
        return heard.true_bins[:, 1:] - np.array([0.0, 90.0])
    # The last elevation bin is 89°, so straight up is not counted as an error of one degree.
    return np.stack((heard.true_deg[:, 0], np.minimum(heard.true_deg[:, 1], NUM_ELEVATION_BINS / 2 - 1)), axis=1)


def _heard(encoding: Encoding, batch: Batch, mirrored: Encoding | None) -> Heard:
    positions = [sources[0].position for sources in batch.heard]
    true_deg = np.array([(p.azimuth_deg, p.elevation_deg) for p in positions])
    true_bins = np.array([targets_from_position(p) for p in positions])
    scores = None if encoding.class_logits is None else encoding.class_logits.float().numpy()
    classes = batch.truth.classes[:, 0].cpu().numpy() > 0.5
    heard = Heard(true_deg, true_bins, classes, scores)
    for decode in DECODINGS:
        azimuth, elevation, bins = said(encoding, decode)
        turned, tilted, _ = (None, None, None) if mirrored is None else said(mirrored, decode)
        for place, found in (
            (heard.azimuths_deg, azimuth),
            (heard.elevations_deg, elevation),
            (heard.directions_deg, _both(azimuth, elevation)),
            (heard.distances, bins),
            (heard.swapped_azimuths_deg, turned),
            (heard.swapped_deg, _both(turned, tilted)),
        ):
            if found is not None:
                place[decode] = found
    if mirrored is not None and mirrored.class_logits is not None:
        heard.swapped_top = mirrored.class_logits.argmax(dim=-1).numpy()
    heard.confidence = _confidence(encoding, heard, np.array([len(sources) for sources in batch.heard]))
    return heard


def _both(azimuth: Array | None, elevation: Array | None) -> Array | None:
    return None if azimuth is None or elevation is None else np.stack((azimuth, elevation), axis=-1)


def _confidence(encoding: Encoding, heard: Heard, sources: Array) -> dict[str, tuple[Array, Array]]:
    """What each output of the agent would be said with, and whether it is right; ``sources`` (N,) are their numbers."""
    found: dict[str, tuple[Array, Array]] = {}
    if encoding.slots is not None:
        activity = encoding.slots.activity_logits.float().sigmoid().numpy()
        rank = np.argsort(np.argsort(-activity, axis=1, kind="stable"), axis=1)
        found["source"] = activity.ravel(), (rank < sources[:, None]).ravel()
    if encoding.class_logits is not None:
        top = encoding.class_logits.argmax(dim=-1).numpy()
        probabilities = encoding.class_logits.float().sigmoid().amax(dim=-1).numpy()
        found["label"] = probabilities, np.take_along_axis(heard.classes, top[:, None], axis=1)[:, 0]
    if "kernel" in heard.directions_deg:
        told = heard.directions_deg["kernel"]
        azimuth, elevation = _softmax(encoding.azimuth_logits), _softmax(encoding.elevation_logits)
        sure = [direction_confidence(*each) for each in zip(azimuth, elevation, *told.T, strict=True)]
        right = angular_errors_deg(told, true_directions(heard, "kernel")) <= WITHIN_DEG
        found["direction"] = np.clip(sure, 0.0, 1.0), right
        there = sides(true_directions(heard, "kernel"))
        for axis, side, share in zip(AXES, there.T, (azimuth @ LEFT, azimuth @ BEHIND, elevation @ BELOW), strict=True):
            # The likelier side, as an agent names it, and not that of the angle.
            found[axis] = np.clip(np.maximum(share, 1 - share), 0.0, 1.0), (share > 0.5) == side
    if "kernel" in heard.distances:
        bins = heard.distances["kernel"]
        sure = [distance_confidence(*each) for each in zip(_softmax(encoding.distance_logits), bins / 2, strict=True)]
        found["distance"] = np.clip(sure, 0.0, 1.0), np.abs(bins - heard.true_bins[:, 0]) <= WITHIN_BINS
    return found


def _softmax(logits: Tensor | None) -> Array:
    assert logits is not None
    return logits.float().softmax(dim=-1).numpy()


def _check(encoding: Encoding, name: str) -> None:
    for heads in filter(None, (encoding, encoding.slots)):
        for head, bins in _BINS.items():
            logits = getattr(heads, head)
            if logits is None:
                continue
            if logits.shape[-1] != bins:
                what = head.removesuffix("_logits")
                raise BadInput(
                    f"the encoder {name} has a {what} head of {logits.shape[-1]} outputs, expected {bins}; evaluate "
                    "one that was trained with the tables of BAT"
                )
            if not bool(logits.isfinite().all()):
                raise BadInput(
                    f"the encoder {name} gives NaN or infinite {head.replace('_', ' ')}, expected finite numbers; "
                    "check its weights"
                )


def _join(parts: Sequence[Heard]) -> Heard:
    joined: dict[str, Any] = {}
    for name, first in vars(parts[0]).items():
        every = [getattr(part, name) for part in parts]
        if isinstance(first, dict):
            joined[name] = {key: _concatenate([values[key] for values in every]) for key in first}
        else:
            joined[name] = None if first is None else np.concatenate(every)
    return Heard(**joined)


def _concatenate(values: Sequence[Any]) -> Any:
    if isinstance(values[0], tuple):
        return tuple(np.concatenate(column) for column in zip(*values, strict=True))
    return np.concatenate(values)
