"""What is hidden from the encoder in training: SpecAugment masks, whole rows and columns of patches (BAT, appendix)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def spec_augment(maps: Float[Tensor, "B C T M"], time_frames: int, mels: int) -> Float[Tensor, "B C T M"]:
    """Zero one random block of at most ``mels`` bands and one of ``time_frames`` frames, the same for the batch."""
    for axis, longest in ((3, mels), (2, time_frames)):
        longest = min(longest, maps.shape[axis] // (4 if axis == 2 else 1))  # a short clip keeps most of its frames
        length = int(torch.randint(longest + 1, ()))
        if length:
            start = int(torch.randint(maps.shape[axis] - length + 1, ()))
            keep = torch.ones(maps.shape[axis], device=maps.device, dtype=maps.dtype)
            keep[start : start + length] = 0
            maps = maps * (keep if axis == 3 else keep[:, None])
    return maps


def keep_patches(
    patches: Float[Tensor, "B P D"], columns: int, mask_time: float, mask_mels: float
) -> Float[Tensor, "B Q D"]:
    """Leave out a random share of time rows, then of frequency columns, of each clip's patch grid (rows × ``columns``).

    What is left out is never computed: at 0.25 and 0.25 the transformer sees 48 × 6 of 64 × 8 patches.
    """
    if mask_time == 0 and mask_mels == 0:
        return patches
    batch, total, width = patches.shape
    rows = total // columns
    kept_rows = _draw(batch, rows, max(1, int(rows * (1 - mask_time))), patches.device)
    kept_columns = _draw(batch, columns, max(1, int(columns * (1 - mask_mels))), patches.device)
    index = (kept_rows[:, :, None] * columns + kept_columns[:, None, :]).flatten(1)
    return patches.gather(1, index[..., None].expand(-1, -1, width))


def _draw(batch: int, population: int, count: int, device: torch.device) -> Tensor:
    return torch.rand(batch, population, device=device).argsort(dim=1)[:, :count]
