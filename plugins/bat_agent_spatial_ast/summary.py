"""Interaural summaries: what a stretch of sound says about direction and distance, averaged over time before learning.

Room reflections blur the interaural differences of single frames; over a second their weighted mean is steady, and
front, behind, above and below show in it as patterns over frequency. Four weightings of the same four maps: all energy,
energy that is rising (the direct sound comes first: the precedence effect), all audible frames, audible rising frames.
They reach the direction token on a short path, so that the little there is to see of front and height is found early.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.distributed import clip_rand
from bat_agent.features import NUM_MELS

WEIGHTINGS = 4
QUANTITIES = 4
AUDIBLE_DB = 20.0
STEEPEST_DB = 10.0
# Brings level difference, cosine, sine and level to comparable size.
SCALES = (1 / 3, 2.0, 2.0, 1 / 20)


def summarise(
    mel: Float[Tensor, "B 2 T 128"], phase: Float[Tensor, "B 2 T 128"], segment_frames: int
) -> Float[Tensor, "B S 16 128"]:
    """Weighted time means of [level difference L − R, cos IPD, sin IPD, level] under each of the four weightings.

    ``mel`` in dB, ``phase`` (cos, sin) scaled to ±1. First of the whole clip, then of each segment; a last segment that
    is less than half full is left out. What is silent compared with the rest of the clip gives zeros.
    """
    weights, quantities = interaural(mel, phase)
    weights, quantities = _cut(weights, segment_frames), _cut(quantities, segment_frames)
    sums = torch.einsum("bwstm,bqstm->bswqm", weights, quantities)
    totals = weights.sum(dim=3).transpose(1, 2)
    sums = torch.cat((sums.sum(dim=1, keepdim=True), sums), dim=1)
    totals = torch.cat((totals.sum(dim=1, keepdim=True), totals), dim=1)
    means = scaled(sums / (totals[:, :, :, None] + 1e-4))
    return means.flatten(2, 3)[:, : 1 + num_segments(mel.shape[2], segment_frames)]


def interaural(
    mel: Float[Tensor, "B 2 T 128"], phase: Float[Tensor, "B 2 T 128"]
) -> tuple[Float[Tensor, "B 4 T 128"], Float[Tensor, "B 4 T 128"]]:
    """The four weightings, and the four quantities [L − R, cos IPD, sin IPD, level] before scaling."""
    left, right = mel[:, 0], mel[:, 1]
    louder = torch.maximum(left, right)
    below_peak = louder - louder.amax(dim=1, keepdim=True)
    energy = 10 ** (below_peak / 10)
    rise = torch.diff(louder, dim=1, prepend=louder[:, :1]).clamp(0, STEEPEST_DB)
    audible = (below_peak > -AUDIBLE_DB).to(mel.dtype)
    weights = torch.stack((energy, energy * rise, audible, audible * rise), dim=1)
    quantities = torch.stack((left - right, phase[:, 0], phase[:, 1], (left + right) / 2), dim=1)
    return weights, quantities


def scaled(means: Float[Tensor, "*batch 4 128"]) -> Float[Tensor, "*batch 4 128"]:
    """Quantities of comparable size."""
    return means * torch.tensor(SCALES, device=means.device, dtype=means.dtype)[:, None]


def num_segments(frames: int, segment_frames: int) -> int:
    """Segments of a clip, at least one; the last counts if it is at least half full."""
    return max(1, (2 * frames + segment_frames) // (2 * segment_frames))


def _cut(values: Float[Tensor, "B V T 128"], segment_frames: int) -> Float[Tensor, "B V S L 128"]:
    missing = -values.shape[2] % segment_frames
    return F.pad(values, (0, 0, 0, missing)).unflatten(2, (-1, segment_frames))


class _ClipDropout(nn.Module):
    """Dropout that draws the same for a clip whatever the number of processes."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "B S H"]) -> Float[Tensor, "B S H"]:
        if not self.training:
            return x
        return x * (clip_rand(*x.shape, device=x.device) >= self.rate).to(x.dtype) / (1 - self.rate)


class SummaryTokens(nn.Module):
    """One token for the whole clip and one for each ``segment_frames`` of it."""

    def __init__(self, width: int, hidden: int, segment_frames: int) -> None:
        super().__init__()
        self.segment_frames = segment_frames
        features = WEIGHTINGS * QUANTITIES * NUM_MELS
        self.norm = nn.BatchNorm1d(features)
        self.mlp = nn.Sequential(
            nn.Linear(features, hidden), nn.GELU(), _ClipDropout(0.1), nn.Linear(hidden, hidden), nn.GELU(),
            _ClipDropout(0.1), nn.Linear(hidden, width),
        )  # fmt: skip

    def forward(self, mel: Float[Tensor, "B 2 T 128"], phase: Float[Tensor, "B 2 T 128"]) -> Float[Tensor, "B S D"]:
        """The whole clip comes first."""
        with torch.autocast(mel.device.type, enabled=False):
            summaries = summarise(mel, phase, self.segment_frames)
        return self.mlp(self.norm(summaries.flatten(2).flatten(0, 1)).unflatten(0, summaries.shape[:2]))
