"""Options of the baseline encoders; the defaults are those of BAT's table 3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bat_agent.errors import BadInput, check_range

NUM_MELS = 128


@dataclass(frozen=True)
class SELDnetConfig:
    """Every dimension of a SELDnet. Defaults: 86 430 932 parameters; :mod:`.seldnet` says what is published."""

    clip_seconds: float = 10.0
    """Longest clip, seconds; shorter ones are taken as they are."""
    features: Literal["mel+ipd", "mel"] = "mel+ipd"
    """Input maps: log-mel of both ears, with or without the interaural phase."""
    filters: int = 64
    """Channels of every convolution (published: 64)."""
    pool_time: tuple[int, ...] = (2, 2, 2)
    """Frames that each convolution's max-pooling joins (published: none; here a token is 80 ms)."""
    pool_mels: tuple[int, ...] = (4, 4, 2)
    """Bands that each convolution's max-pooling joins (published: 8, 8, 2 of 256 bins)."""
    recurrent: tuple[int, ...] = (128, 128)
    """Units per direction of each recurrent layer (published: 128, 128)."""
    width: int = 768
    """Token width D."""
    depth: int = 12
    """Transformer blocks (BAT: 12)."""
    heads: int = 12
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the block's MLP over D."""
    dropout: float = 0.1
    """Dropout rate inside the transformer."""
    spec_time_frames: int = 192
    """SpecAugment: longest time mask in training, frames; 0 for none."""
    spec_mels: int = 48
    """SpecAugment: longest frequency mask in training, mel bands; 0 for none."""

    def __post_init__(self) -> None:
        if self.features not in ("mel+ipd", "mel"):
            raise BadInput(f"seldnet features must be 'mel+ipd' or 'mel', got {self.features!r}")
        check_range("seldnet", self, 0.02, 600, "clip_seconds")
        check_range("seldnet", self, 0.01, 64, "mlp_ratio")
        _check_transformer("seldnet", self.width, self.heads, self.depth)
        if len(self.pool_time) != len(self.pool_mels) or not self.pool_time:
            raise BadInput(
                f"seldnet pool_time {list(self.pool_time)} and pool_mels {list(self.pool_mels)} must have the same "
                "length, one entry for each convolution"
            )
        if min(*self.pool_time, *self.pool_mels) < 1 or NUM_MELS % math.prod(self.pool_mels):
            raise BadInput(
                f"seldnet pool_time and pool_mels must be at least 1, and the product of pool_mels "
                f"{list(self.pool_mels)} must divide the {NUM_MELS} mel bands"
            )
        if min(self.filters, *self.recurrent, 1) < 1 or not self.recurrent:
            raise BadInput("seldnet filters and every entry of recurrent must be at least 1; recurrent needs an entry")
        _check_shares("seldnet", dropout=self.dropout)


@dataclass(frozen=True)
class AudioMAEConfig:
    """Every dimension of an AudioMAE classifier. Defaults: the official ViT-B, 85 527 139 trainable parameters."""

    clip_seconds: float = 10.0
    """Longest clip, seconds; a shorter one is filled up as the official reader does, with zeros after the logarithm."""
    frames: int = 1024
    """Frames of 10 ms that the patches cover; the sound ends at 998 of them."""
    patch: int = 16
    """Frames and mel bands of a patch."""
    patch_stride: int = 16
    """Step from patch to patch; 10 is the official overlapping variant, with 101 × 12 patches."""
    pooling: Literal["mean", "cls"] = "mean"
    """What the classifier reads: the mean of the patch tokens (official files), or the class token."""
    width: int = 768
    """Token width D."""
    depth: int = 12
    """Transformer blocks."""
    heads: int = 12
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the block's MLP over D."""
    drop_path: float = 0.1
    """Largest stochastic-depth rate; it grows linearly from 0 at the first block."""
    mask_time: float = 0.2
    """Share of patch rows (time) left out in training."""
    mask_mels: float = 0.2
    """Share of patch columns (frequency) left out in training."""
    spec_time_frames: int = 192
    """SpecAugment: longest time mask in training, frames; 0 for none."""
    spec_mels: int = 48
    """SpecAugment: longest frequency mask in training, mel bands; 0 for none."""
    new_head: bool = False
    """Start a new classifier where that of a weights file has other classes, instead of refusing or cutting it down."""

    def __post_init__(self) -> None:
        if self.pooling not in ("mean", "cls"):
            raise BadInput(f"audiomae pooling must be 'mean' or 'cls', got {self.pooling!r}")
        check_range("audiomae", self, 0.02, 600, "clip_seconds")
        check_range("audiomae", self, 0.01, 64, "mlp_ratio")
        check_range("audiomae", self, 1, 65_536, "frames")
        _check_transformer("audiomae", self.width, self.heads, self.depth)
        if self.width % 4:
            raise BadInput(f"audiomae width {self.width} must be a multiple of 4 for the 2-D positions")
        if not 1 <= self.patch_stride <= self.patch <= min(NUM_MELS, self.frames):
            raise BadInput(
                f"audiomae needs 1 <= patch_stride ({self.patch_stride}) <= patch ({self.patch}) <= {NUM_MELS} mel "
                f"bands and frames ({self.frames})"
            )
        if self.clip_seconds * 100 > self.frames + 2:
            raise BadInput(
                f"audiomae frames {self.frames} hold {(self.frames + 2) / 100:g} s, less than clip_seconds "
                f"{self.clip_seconds:g}; make frames larger or clip_seconds smaller"
            )
        _check_shares("audiomae", drop_path=self.drop_path, mask_time=self.mask_time, mask_mels=self.mask_mels)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along time and frequency."""
        return (
            (self.frames - self.patch) // self.patch_stride + 1,
            (NUM_MELS - self.patch) // self.patch_stride + 1,
        )


def _check_transformer(name: str, width: int, heads: int, depth: int) -> None:
    if not (heads >= 1 and 1 <= width <= 8192) or width % heads:
        raise BadInput(f"{name} width {width} must be a multiple of heads {heads}")
    if not 1 <= depth <= 256:
        raise BadInput(f"{name} depth must be at least 1 and at most 256, got {depth}")


def _check_shares(name: str, **shares: float) -> None:
    for option, value in shares.items():
        if not 0 <= value < 1:
            raise BadInput(f"{name} {option} must be in [0, 1), got {value}")
