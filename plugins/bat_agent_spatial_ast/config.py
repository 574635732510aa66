"""Options of Spatial-AST; the defaults are the released architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bat_agent.errors import BadInput, check_range
from bat_agent.interfaces import NUM_MELS

Task = Literal["class", "distance", "direction"]
TASKS: tuple[Task, ...] = ("class", "distance", "direction")


@dataclass(frozen=True)
class SpatialASTConfig:
    """Every dimension of a Spatial-AST. Defaults: 85 963 194 trainable parameters, 174 state-dict entries."""

    clip_seconds: float = 10.0
    """Longest clip, seconds."""
    target_frames: int | None = 1024
    """Frames after the bicubic time resize of a full clip; ``None`` takes the frames as they are, of any length."""
    short_clips: bool = False
    """With ``target_frames``: take shorter clips too, at the same time scale and with the first positions of the table,
    instead of padding them with silence."""
    features: Literal["mel+ipd", "mel", "mono"] = "mel+ipd"
    """Input maps: log-mel of both ears with or without interaural phase, or log-mel of the mean of the ears."""
    mel_of: Literal["magnitude", "power"] = "magnitude"
    """What the mel filters sum: the magnitude, as the released code does, or the power, as equation 3 has it."""
    noise_floor_dbfs: float | None = None
    """Level of white noise, dBFS, below which nothing is heard in a band: what is fainter is rounding of samples or of
    arithmetic. The level is that of the clip after it was brought to −30 dBFS, unless ``level`` is absolute."""
    level: Literal["absolute", "token", "free"] = "absolute"
    """``absolute``: the level is in the maps, as released; ``token``: apart, and the encoder also works where it is
    unknown; ``free``: not heard at all, for recordings whose level says nothing."""
    level_dropout: float = 0.3
    """With ``level: token``, share of training clips whose level is hidden."""
    tasks: tuple[Task, ...] = TASKS
    """Heads to have; one of them alone is the paper's single-task encoder (table 7)."""
    unit_ipd: bool = False
    """Scale the phase maps to ±1 (the released ones reach only ±0.036)."""
    stem_channels: int = 1
    """Channels after the 3×3 convolution."""
    patch_frames: int = 16
    """Frames a patch spans."""
    patch_mels: int = 16
    """Mel bands a patch spans; 128 makes one token per time step."""
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
    summary_frames: int = 0
    """Adds tokens that summarise the interaural differences of the clip and of every so many frames; 0 for none."""
    summary_hidden: int = 512
    """Hidden width of the network that makes summary tokens."""
    slot_summary: bool = False
    """Each slot has a soft mask over the bands of the spectrogram; direction and distance are read under it alone."""
    slot_hidden: int = 0
    """Hidden width of the network that hears places under a slot's mask; 0 for ``summary_hidden``."""
    mask_channels: int = 0
    """With ``direct_sound`` and full-band patches: channels of a network of its own for the masks that are told
    of several sources (:mod:`bat_agent_spatial_ast.masks`); 0 tells those under which places are read. No recipe trains
    it, but ``scripts/train_masks.py`` does."""
    direct_sound: bool = False
    """With ``slot_summary``: also weigh frames by how much louder they are than all that came just before, which direct
    sound is and reflections are not."""
    symmetric: bool = False
    """In evaluation, hear every clip with the ears swapped as well and average what is said, mirrored back: twice the
    work, and swapped ears then mirror every answer. Needs several slots."""
    num_slots: int = 1
    """Sources told apart; each has its own three class tokens. 1 is the released model."""
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
    compute: Literal["float32", "bf16", "int8"] = "float32"
    """How the linear layers of the blocks compute in evaluation mode on a CPU; weights stay float32, and so does
    training. bf16 needs AMX to be faster, int8 needs VNNI or AMX."""

    def __post_init__(self) -> None:
        check_range("spatial-ast", self, 0.02, 600, "clip_seconds")
        check_range("spatial-ast", self, 1, 65_536, "target_frames", "patch_frames", "summary_hidden")
        check_range("spatial-ast", self, 1, 8192, "stem_channels", "width", "heads")
        check_range("spatial-ast", self, 0, 65_536, "slot_hidden", "spec_time_frames", "spec_mels")
        check_range("spatial-ast", self, 0, 1024, "mask_channels")
        check_range("spatial-ast", self, 0, 1, "level_dropout", "drop_path", "mask_time", "mask_mels")
        check_range("spatial-ast", self, 0, 256, "depth")
        check_range("spatial-ast", self, -200, 0, "noise_floor_dbfs")
        check_range("spatial-ast", self, 0.01, 64, "mlp_ratio")
        check_range("spatial-ast", self, 1, 128, "patch_mels")
        if self.width % self.heads:
            raise BadInput(f"spatial-ast width {self.width} must be a multiple of heads {self.heads}")
        if self.width % 4:
            raise BadInput(f"spatial-ast width {self.width} must be a multiple of 4 for the 2-D positions")
        if NUM_MELS % self.patch_mels:
            raise BadInput(f"spatial-ast patch_mels {self.patch_mels} must divide the {NUM_MELS} mel bands")
        if self.target_frames is not None and self.target_frames % self.patch_frames:
            raise BadInput(
                f"spatial-ast target_frames {self.target_frames} must be a multiple of patch_frames {self.patch_frames}"
            )
        if not 1 <= self.num_slots <= 64:
            raise BadInput(f"spatial-ast num_slots must be at least 1 and at most 64, got {self.num_slots}")
        if self.summary_frames < 0:
            raise BadInput(f"spatial-ast summary_frames must be 0 or more, got {self.summary_frames}")
        if self.slot_summary and self.summary_frames % self.patch_frames:
            raise BadInput(
                f"spatial-ast summary_frames {self.summary_frames} must be a multiple of patch_frames "
                f"{self.patch_frames} where there is a slot_summary"
            )
        masked = self.mask_time or self.mask_mels
        if self.slot_summary and (self.num_slots < 2 or self.features != "mel+ipd" or masked or self.target_frames):
            raise BadInput(
                "spatial-ast slot_summary needs at least 2 num_slots, target_frames null, mask_time and mask_mels 0, "
                "features 'mel+ipd'"
            )
        for part in ("direct_sound", "slot_hidden"):
            if getattr(self, part) and not self.slot_summary:
                raise BadInput(f"spatial-ast {part} is part of slot_summary; set that too")
        if self.mask_channels and not (self.direct_sound and self.patch_mels == NUM_MELS):
            raise BadInput(f"spatial-ast mask_channels needs direct_sound and patches of all {NUM_MELS} patch_mels")
        if not self.tasks or set(self.tasks) - set(TASKS):
            raise BadInput(f"spatial-ast tasks must be some of {', '.join(TASKS)}, got {list(self.tasks)}")
        if self.symmetric and self.num_slots < 2:
            raise BadInput("spatial-ast symmetric needs at least 2 num_slots")
        if self.num_slots > 1 and "class" not in self.tasks:
            raise BadInput("spatial-ast with several slots needs the task 'class', which tells the sources apart")
        if self.level == "token" and "distance" not in self.tasks:
            raise BadInput("spatial-ast level 'token' is for the task 'distance'; without it take level 'free'")
        if self.short_clips and self.target_frames is None:
            raise BadInput("spatial-ast with target_frames null takes short clips anyway; leave short_clips out")
        if self.features not in ("mel+ipd", "mel", "mono"):
            raise BadInput(f"spatial-ast features must be 'mel+ipd', 'mel' or 'mono', got {self.features!r}")

    def has_head(self, logits: str) -> bool:
        """Whether there is a head of this name, such as ``azimuth_logits``."""
        task = logits.removesuffix("_logits")
        return ("direction" if task in ("azimuth", "elevation") else task) in self.tasks

    @property
    def row_frames(self) -> int:
        """Frames over which interaural quantities are summed before anything is learnt; 0 where they are not used."""
        return self.patch_frames if self.slot_summary else self.summary_frames

    @property
    def input_maps(self) -> int:
        """Channels that enter the 3×3 convolution."""
        return {"mel+ipd": 4, "mel": 2, "mono": 1}[self.features]

    @property
    def fixed_length(self) -> bool:
        """Whether every clip must be full length: it is resized to one number of frames."""
        return self.target_frames is not None and not self.short_clips

    @property
    def summary_tokens(self) -> int:
        """Summary tokens of a full clip."""
        if not self.summary_frames:
            return 0
        from bat_agent.interfaces import SAMPLE_RATE_HZ
        from bat_agent.sound.features import num_frames
        from bat_agent_spatial_ast.summary import num_segments

        return 1 + num_segments(num_frames(int(self.clip_seconds * SAMPLE_RATE_HZ)), self.summary_frames)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along time and frequency of a full clip."""
        from bat_agent.interfaces import SAMPLE_RATE_HZ
        from bat_agent.sound.features import num_frames

        frames = self.target_frames or num_frames(int(self.clip_seconds * SAMPLE_RATE_HZ))
        return frames // self.patch_frames, NUM_MELS // self.patch_mels


@dataclass(frozen=True)
class SpatialASTSlotsConfig(SpatialASTConfig):
    """Spatial-AST that tells several sources apart: everything as released, but each of two slots has class tokens."""

    num_slots: int = 2
