"""Options of DSpAST; the defaults are the released architecture."""

from __future__ import annotations

from dataclasses import dataclass

from bat_agent.errors import BadInput, check_range

NUM_BRANCHES = 3
TOKENS_PER_BRANCH = 3


@dataclass(frozen=True)
class DSpASTConfig:
    """Every dimension of a DSpAST. Defaults: 86 085 127 trainable parameters, 226 state-dict entries."""

    clip_seconds: float = 10.0
    """Length of a clip, seconds."""
    target_frames: int = 1024
    """Frames after the bicubic time resize of a clip."""
    gcc_and_ild: bool = True
    """Hear the cross-correlation and level-difference maps too; without them the four maps of Spatial-AST."""
    attention: bool = True
    """Let every branch weigh the input maps by what the clip holds."""
    patch_frames: int = 16
    """Frames a patch spans."""
    patch_mels: int = 16
    """Mel bands (of the correlation map: lags) a patch spans."""
    width: int = 768
    """Token width of the shared transformer."""
    depth: int = 12
    """Transformer blocks."""
    heads: int = 12
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the block's MLP over the token width."""
    drop_path: float = 0.1
    """Largest stochastic-depth rate; it grows linearly from 0 at the first block."""
    head_dim: int = 256
    """Width of a branch's tokens for its heads; the language model gets three times that, D = 768."""
    mask_time: float = 0.25
    """Share of patch rows (time) left out in training."""
    mask_mels: float = 0.25
    """Share of patch columns (frequency) left out in training."""
    spec_time_frames: int = 192
    """SpecAugment: longest time mask in training, frames; 0 for none."""
    spec_mels: int = 48
    """SpecAugment: longest frequency mask in training, mel bands; 0 for none."""
    store_front_end: bool = True
    """Keep the (constant) STFT and mel kernels in the state dict, as the released layout does."""

    def __post_init__(self) -> None:
        check_range("dspast", self, 0.02, 600, "clip_seconds")
        check_range("dspast", self, 1, 65_536, "target_frames", "patch_frames", "head_dim")
        check_range("dspast", self, 1, 8192, "width", "heads")
        check_range("dspast", self, 0, 256, "depth")
        check_range("dspast", self, 0.01, 64, "mlp_ratio")
        check_range("dspast", self, 0, 1, "drop_path")
        if self.width % self.heads:
            raise BadInput(f"dspast width {self.width} must be a multiple of heads {self.heads}")
        if self.width % 4:
            raise BadInput(f"dspast width {self.width} must be a multiple of 4 for the 2-D positions")
        if self.patch_mels < 1 or 128 % self.patch_mels:
            raise BadInput(f"dspast patch_mels {self.patch_mels} must divide the 128 mel bands")
        if self.patch_frames < 1 or self.target_frames < 1 or self.target_frames % self.patch_frames:
            raise BadInput(
                f"dspast target_frames {self.target_frames} must be a multiple of patch_frames {self.patch_frames}"
            )
        if self.head_dim < 1:
            raise BadInput(f"dspast head_dim must be at least 1, got {self.head_dim}")
        if not (0 <= self.mask_time < 1 and 0 <= self.mask_mels < 1):
            raise BadInput(
                f"dspast mask_time and mask_mels must be at least 0 and below 1, got {self.mask_time}, {self.mask_mels}"
            )

    @property
    def input_maps(self) -> int:
        """Maps that every branch weighs and mixes."""
        return 6 if self.gcc_and_ild else 4

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along time and frequency of a clip."""
        return self.target_frames // self.patch_frames, 128 // self.patch_mels
