"""What the baselines do not get to hear in training; every clip draws its own, and short clips keep most of theirs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import mask_along_axis_iid

LARGEST_TIME_SHARE = 0.25


def spec_augment(maps: Float[Tensor, "B C T M"], time_frames: int, mels: int) -> Float[Tensor, "B C T M"]:
    """Zero one random stretch of at most ``time_frames`` frames and one of ``mels`` bands, in all maps of a clip."""
    heard = torch.ones_like(maps[:, :1])
    for axis, longest, share in ((2, time_frames, LARGEST_TIME_SHARE), (3, mels, 1.0)):
        heard = mask_along_axis_iid(heard, longest, 0.0, axis, p=share)
    return maps * heard


def drop_patches(
    patches: Float[Tensor, "B P D"], grid: tuple[int, int], time_share: float, mel_share: float
) -> Float[Tensor, "B Q D"]:
    """Leave out whole random rows and columns of the (time, frequency) patch grid, in random order of what stays."""
    if not time_share and not mel_share:
        return patches
    clips, device = len(patches), patches.device
    rows, columns = (
        torch.rand(clips, size, device=device).argsort(dim=1)[:, : max(1, int(size * (1 - share)))]
        for size, share in zip(grid, (time_share, mel_share), strict=True)
    )
    chosen = (rows.unsqueeze(2) * grid[1] + columns.unsqueeze(1)).flatten(1)
    return patches[torch.arange(clips, device=device).unsqueeze(1), chosen]
