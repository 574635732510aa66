"""Interaural summaries: what a stretch of sound says about direction and distance, averaged over time before learning.

Room reflections blur the interaural differences of single frames; over a second their weighted mean is steady, and
front, behind, above and below show in it as patterns over frequency. Four weightings of the same four maps: all energy,
energy that is rising (the direct sound comes first: the precedence effect), all audible frames, audible rising frames.
They reach the direction token on a short path, so that the little there is to see of front and height is found early.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.sound.features import NUM_MELS
from bat_agent.training.helpers import clip_rand

WEIGHTINGS = 4
LOUDEST_OF = (10, 40)
"""Frames of 10 ms that a direct sound is louder than all of."""
DIRECT_WEIGHTINGS = 2 * len(LOUDEST_OF)
QUANTITIES = 4
CPU_CLIPS = 8
"""A processor sums so many clips at a time: what lies between then stays in its cache, twice as fast as 64 at once."""
AUDIBLE_DB = 20.0
STEEPEST_DB = 10.0
# Brings level difference, cosine, sine and level to comparable size.
SCALES = (1 / 3, 2.0, 2.0, 1 / 20)


def row_sums(
    mel: Float[Tensor, "B 2 T 128"], phase: Float[Tensor, "B 2 T 128"], row_frames: int, direct_sound: bool = False
) -> Float[Tensor, "B W 5 R 128"]:
    """Weighted sums of [level difference L − R, cos IPD, sin IPD, level, 1] over rows of ``row_frames`` frames, under
    each of the four weightings, with ``direct_sound`` also under those of :func:`direct_weights`; a row that is not
    full counts what there is.

    ``mel`` in dB, ``phase`` (cos, sin) scaled to ±1.
    """
    if mel.device.type == "cpu" and not torch.compiler.is_compiling() and len(mel) > CPU_CLIPS:
        some = zip(mel.split(CPU_CLIPS), phase.split(CPU_CLIPS), strict=True)
        return torch.cat([row_sums(m, p, row_frames, direct_sound) for m, p in some])
    weights, quantities = interaural(mel, phase)
    if direct_sound:
        weights = torch.cat((weights, direct_weights(mel)), dim=1)
    weights, quantities = _in_groups(weights, row_frames), _in_groups(quantities, row_frames)
    parts = [weights * quantity[:, None] for quantity in quantities.unbind(dim=1)]
    return torch.stack([part.sum(dim=3) for part in (*parts, weights)], dim=2)


def _in_groups(values: Float[Tensor, "*batch T M"], size: int) -> Float[Tensor, "*batch G S M"]:
    """Groups of ``size`` along the last axis but one; zeros fill up the last.

    What is appended first does not depend on the length: a graph for any length (:mod:`.graph`) knows no other way.
    """
    groups = (values.shape[-2] + size - 1) // size
    filled = F.pad(values, (0, 0, 0, size - 1)).narrow(-2, 0, groups * size)
    return filled.unflatten(-2, (groups, size))


def means_of(sums: Float[Tensor, "*batch 5 128"]) -> Float[Tensor, "*batch 4 128"]:
    """Means of the four quantities from their sums and that of the weights, brought to comparable size.

    What is silent compared with the rest of the clip gives zeros.
    """
    return scaled(sums[..., :-1, :] / (sums[..., -1:, :] + 1e-4))


def summarise(
    sums: Float[Tensor, "B W 5 R 128"], rows_a_segment: int, segments: int | None = None
) -> Float[Tensor, "B S V 128"]:
    """Means under each weighting (V = 4 · W), first of the whole clip, then of the first ``segments`` (all without it),
    from sums over rows.
    """
    parts = _in_groups(sums, rows_a_segment).sum(dim=4)
    both = torch.cat((sums.sum(dim=3, keepdim=True), parts), dim=3).permute(0, 3, 1, 2, 4)
    means = means_of(both).flatten(2, 3)
    return means if segments is None else means.narrow(1, 0, 1 + segments)


def swap_ears(means: Float[Tensor, "*batch V 128"]) -> Float[Tensor, "*batch V 128"]:
    """Means as they are with the ears swapped: level difference and sine of the phase change sign."""
    signs = torch.tensor([-1.0, 1.0, -1.0, 1.0], device=means.device, dtype=means.dtype)
    signs = signs.repeat(means.shape[-2] // QUANTITIES)
    return means * signs[:, None]


def swap_ears_of_sums(sums: Float[Tensor, "B W 5 R 128"]) -> Float[Tensor, "B W 5 R 128"]:
    """Sums of :func:`row_sums` as they are with the ears swapped."""
    signs = torch.tensor([-1.0, 1.0, -1.0, 1.0, 1.0], device=sums.device, dtype=sums.dtype)
    return sums * signs[:, None, None]


def interaural(
    mel: Float[Tensor, "B 2 T 128"], phase: Float[Tensor, "B 2 T 128"]
) -> tuple[Float[Tensor, "B 4 T 128"], Float[Tensor, "B 4 T 128"]]:
    """The four weightings, and the four quantities [L − R, cos IPD, sin IPD, level] before scaling."""
    left, right = mel[:, 0], mel[:, 1]
    louder = torch.maximum(left, right)
    energy, audible = _energy(louder)
    rise = torch.diff(louder, dim=1, prepend=louder[:, :1]).clamp(0.0, STEEPEST_DB)
    weights = torch.stack((energy, energy * rise, audible, audible * rise), dim=1)
    quantities = torch.stack((left - right, phase[:, 0], phase[:, 1], (left + right) / 2), dim=1)
    return weights, quantities


def direct_weights(mel: Float[Tensor, "B 2 T 128"]) -> Float[Tensor, "B 4 T 128"]:
    """Weightings that favour direct sound: energy, and audible frames, where a band is louder than in all of the last
    0.1 s, and of the last 0.4 s, by how much (10 dB at most).

    Reflections follow a sound that was as loud before; what is louder than all that came just before is direct. The
    first frame of a clip counts nothing, as nobody knows what came before it.
    """
    louder = torch.maximum(mel[:, 0], mel[:, 1])
    energy, audible = _energy(louder)
    parts = []
    for loudest in _loudest_before(louder, LOUDEST_OF):
        new = (louder - loudest).clamp(0.0, STEEPEST_DB)
        parts += [energy * new, audible * new]
    return torch.stack(parts, dim=1)


def _loudest_before(louder: Float[Tensor, "B T 128"], of: tuple[int, ...]) -> list[Float[Tensor, "B T 128"]]:
    """The loudest of so many frames before each, for each number ``of`` frames, which rise; the first frame of the clip
    stands for all that came before it.
    """
    found = torch.cat((louder[:, :1].expand(-1, of[-1], -1), louder[:, :-1]), dim=1)
    reach, loudest = 1, []
    for frames in of:
        while reach < frames:
            step = min(reach, frames - reach)
            found = torch.maximum(found[:, step:], found[:, :-step])
            reach += step
        loudest.append(found[:, of[-1] - frames :])
    return loudest


def _energy(louder: Float[Tensor, "B T 128"]) -> tuple[Float[Tensor, "B T 128"], Float[Tensor, "B T 128"]]:
    """Energy re the loudest frame of each band, and which frames are audible beside that."""
    below_peak = louder - louder.amax(dim=1, keepdim=True)
    return torch.exp(below_peak * (math.log(10) / 10)), (below_peak > -AUDIBLE_DB).to(louder.dtype)


def scaled(means: Float[Tensor, "*batch 4 128"]) -> Float[Tensor, "*batch 4 128"]:
    """Quantities of comparable size."""
    return means * torch.tensor(SCALES, device=means.device, dtype=means.dtype)[:, None]


def num_segments(frames: int, segment_frames: int) -> int:
    """Segments of a clip, at least one; the last counts if it is at least half full."""
    return max((2 * frames + segment_frames) // (2 * segment_frames), 1)


class ClipDropout(nn.Module):
    """Dropout that draws the same for a clip whatever the number of processes."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "B S H"]) -> Float[Tensor, "B S H"]:
        """Zeros some, in training alone."""
        if not self.training:
            return x
        return x * (clip_rand(*x.shape, device=x.device) >= self.rate).to(x.dtype) / (1 - self.rate)


class SummaryTokens(nn.Module):
    """One token for the whole clip and one for each ``segment_frames`` of it."""

    def __init__(self, width: int, hidden: int, segment_frames: int, row_frames: int) -> None:
        super().__init__()
        self.segment_frames, self.rows_a_segment = segment_frames, segment_frames // row_frames
        features = WEIGHTINGS * QUANTITIES * NUM_MELS
        self.norm = nn.BatchNorm1d(features)
        self.mlp = nn.Sequential(
            nn.Linear(features, hidden), nn.GELU(), ClipDropout(0.1), nn.Linear(hidden, hidden), nn.GELU(),
            ClipDropout(0.1), nn.Linear(hidden, width),
        )  # fmt: skip

    def forward(self, sums: Float[Tensor, "B W 5 R 128"], frames: int) -> Float[Tensor, "B S D"]:
        """From sums over rows (:func:`row_sums`) of a clip of so many frames; the whole clip comes first.

        Of the weightings it takes the first four.
        """
        summaries = summarise(sums[:, :WEIGHTINGS], self.rows_a_segment, num_segments(frames, self.segment_frames))
        return self.mlp(self.norm(summaries.flatten(2).flatten(0, 1)).unflatten(0, summaries.shape[:2]))
