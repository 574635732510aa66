"""What a plugin needs to be trained well: masks, and randomness and sums that hold with any number of processes.

This is the one module about training that a plugin imports. Masks hide parts of the input from the encoder: SpecAugment
blocks, whole rows and columns of patches (BAT, appendix). Nothing here is read by the host, so a compiled training step
is one graph; what is drawn for a clip does not depend on the number of processes (:func:`clip_rand`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bat_agent.distributed import clip_dropout, clip_rand, whole, world_size

if TYPE_CHECKING:
    from bat_agent.clips.batch import Truth as Truth  # what ``Encoder.adapt`` is given

__all__ = ["clip_dropout", "clip_rand", "keep_patches", "spec_augment", "whole", "world_size"]


def spec_augment(maps: Float[Tensor, "B C T M"], time_frames: int, mels: int) -> Float[Tensor, "B C T M"]:
    """Zero one random block of at most ``mels`` bands and one of ``time_frames`` frames, the same for the batch.

    A short clip keeps at least three quarters of its frames. The blocks are drawn on the device and never looked at.
    """
    frames, bands = maps.shape[2:]
    draws = torch.rand(4, device=maps.device)  # drawn even where not used: the masks after it stay the same
    if mels:
        maps = maps * _outside_block(bands, min(mels, bands), draws[:2]).to(maps.dtype)
    if time_frames:
        maps = maps * _outside_block(frames, min(time_frames, frames // 4), draws[2:]).to(maps.dtype)[:, None]
    return maps


def _outside_block(size: int, longest: int, draws: Float[Tensor, " 2"]) -> Bool[Tensor, " size"]:
    """False in a block of 0 to ``longest`` places, every length and then every place of it equally likely."""
    length = (draws[0] * (longest + 1)).floor()
    start = (draws[1] * (size + 1 - length)).floor()
    place = torch.arange(size, device=draws.device)
    return (place < start) | (place >= start + length)


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
    return clip_rand(batch, population, device=device).argsort(dim=1)[:, :count]
