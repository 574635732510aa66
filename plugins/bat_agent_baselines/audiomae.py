"""AudioMAE (Huang et al., Masked Autoencoders that Listen, NeurIPS 2022): the finetuned classifier, from one ear.

Official (facebookresearch/AudioMAE, ``dataset.py``, ``models_vit.py``, ``main_finetune_as.py``): 16 kHz sound without
its mean; Kaldi filterbank of 128 bands with a Hann window of 25 ms every 10 ms and no dither; zeros up to 1024 frames;
(x − mean)/(2·std) with AudioSet's figures; 16×16 patches in time-major order; a ViT-B with LayerNorm eps 1e-6; the
class token also has a position; the mean of the patch tokens, without the class token, is normed and classified.
Key names are the official ones. In training: SpecAugment before the normalisation, structured patch masking.

Departures: the one ear is the mean of both; the classes are the 355 of SpatialSoundQA (an official head of 527 is cut
down to them when it is read, :mod:`bat_agent_baselines.checkpoint`); fresh positions count time and frequency as the
patches lie, where the official pretraining code lays its table out the other way round (any file brings its own); a
fresh head starts from rare classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.checkpoint import save_module
from bat_agent.errors import BadInput, PluginError
from bat_agent.interfaces import NUM_CLASSES, Encoding
from bat_agent.labels import labels
from bat_agent.sound.torchaudio_parts import torchaudio_part
from bat_agent.training.helpers import keep_patches, spec_augment
from bat_agent_baselines.checkpoint import load_audiomae
from bat_agent_baselines.config import NUM_MELS, AudioMAEConfig

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
FBANK_MEAN, FBANK_STD = -4.2677393, 4.5689974
LAYER_NORM_EPS = 1e-6
RARE_CLASS_LOGIT = -5.0


class AudioMAE(nn.Module):
    """What sounds, by ear alone: class logits and tokens; distance and direction heads are ``None``."""

    def __init__(self, config: AudioMAEConfig | None = None) -> None:
        super().__init__()
        config = config or AudioMAEConfig()
        _kaldi()  # where it does not load, that is said now and not at the first clip
        self.config = config
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self.clip_seconds = config.clip_seconds
        self.fixed_length = False
        self.labels = labels()
        self.token_dim = config.width
        self.num_tokens = 1 + config.grid[0] * config.grid[1]

        self.patch_embed = _PatchEmbed(config.width, config.patch, config.patch_stride)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(_positions(*config.grid, config.width), requires_grad=False)
        rates = torch.linspace(0, config.drop_path, config.depth).tolist()
        self.blocks = nn.ModuleList(_Block(config.width, config.heads, config.mlp_ratio, rate) for rate in rates)
        norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        if config.pooling == "mean":
            self.fc_norm = norm
        else:
            self.norm = norm
        self.head = nn.Linear(config.width, NUM_CLASSES)
        self._initialise()

    def forward(self, waveform: Float[Tensor, "B 2 N"]) -> Encoding:
        """Encode clips at 16 kHz, at least 25 ms long; tokens are the output of the last block, class token first."""
        with torch.autocast(waveform.device.type, enabled=False):
            maps = self.fbank(waveform)[:, None]
        if self.training:
            maps = spec_augment(maps, self.config.spec_time_frames, self.config.spec_mels)
        maps = (maps - FBANK_MEAN) / (2 * FBANK_STD)
        patches = self.patch_embed(maps) + self.pos_embed[:, 1:]
        if self.training:
            patches = keep_patches(patches, self.config.grid[1], self.config.mask_time, self.config.mask_mels)
        own = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1).to(patches.dtype)
        tokens = torch.cat((own, patches), dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        heard = self.fc_norm(tokens[:, 1:].mean(dim=1)) if self.config.pooling == "mean" else self.norm(tokens[:, 0])
        return Encoding(tokens, class_logits=self.head(heard))

    def fbank(self, waveform: Float[Tensor, "B 2 N"]) -> Float[Tensor, "B T 128"]:
        """Natural-log mel energies of the mean of the ears, T = ``frames``; zeros follow where the sound has ended.

        Raises :class:`~bat_agent.errors.BadInput` for a sound shorter than one window.
        """
        if waveform.shape[-1] < WINDOW_SAMPLES:
            raise BadInput(
                f"audiomae got {waveform.shape[-1]} samples, expected at least {WINDOW_SAMPLES} (25 ms at 16 kHz): "
                "give a longer sound"
            )
        mono = waveform.float().mean(dim=1)
        mono = mono - mono.mean(dim=-1, keepdim=True)
        filled = mono.new_zeros(len(mono), self.config.frames, NUM_MELS)
        kaldi = _kaldi()
        for clip, sound in enumerate(mono):
            # Kaldi's own order of things, one clip at a time, is what the official weights were trained on.
            frames = kaldi.fbank(
                sound[None],
                htk_compat=True,
                sample_frequency=SAMPLE_RATE_HZ,
                use_energy=False,
                window_type="hanning",
                num_mel_bins=NUM_MELS,
                dither=0.0,
                frame_shift=10,
            )[: self.config.frames]
            filled[clip, : len(frames)] = frames
        return filled

    def save_weights(self, directory: Path | str, *, half: bool = False) -> None:
        """Write ``model.safetensors``; the keys are the official ones, the head has 355 classes."""
        save_module(self, directory, half=half)

    def load_weights(self, path: Path | str) -> None:
        """Read our file, an official finetuned one or an official pretrained one; see :func:`.load_audiomae`."""
        load_audiomae(self, self.config, path)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(self.config.width, -1))
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.head.weight, std=2e-5)
        # As in the other encoders, so that a comparison starts equal: every class is rare.
        nn.init.constant_(self.head.bias, RARE_CLASS_LOGIT)


def _kaldi() -> Any:
    return torchaudio_part("compliance.kaldi", "the encoder 'audiomae' (Kaldi filter banks)")


def missing() -> tuple[str, str] | None:
    """Whether torchaudio loads, for ``bat-agent doctor``."""
    try:
        _kaldi()
    except PluginError as error:
        what, _, todo = str(error).rpartition(": ")
        return what, todo
    return None


class _PatchEmbed(nn.Module):
    """(B, 1, T, M) → (B, P, D): patches in time-major order."""

    def __init__(self, width: int, patch: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, patch, stride=stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Cut and project."""
        return self.proj(maps).flatten(2).transpose(1, 2)


class _Attention(nn.Module):
    """Self-attention with the q, k and v projections in one matrix."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, D) → (B, K, D)."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, D) → (B, K, D)."""
        return self.fc2(F.gelu(self.fc1(x)))


class _Block(nn.Module):
    """One pre-norm transformer block in timm's key names; in training a branch is dropped per clip."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=LAYER_NORM_EPS) for _ in range(2))
        self.attn = _Attention(width, heads)
        self.mlp = _Mlp(width, int(width * mlp_ratio))
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, D) → (B, K, D)."""
        x = x + self._keep(x) * self.attn(self.norm1(x))
        return x + self._keep(x) * self.mlp(self.norm2(x))

    def _keep(self, x: Tensor) -> Tensor | float:
        if not (self.training and self.drop_path):
            return 1.0
        return x.new_empty(len(x), 1, 1).bernoulli_(1 - self.drop_path) / (1 - self.drop_path)


def _positions(rows: int, columns: int, width: int) -> Float[Tensor, "1 P D"]:
    """MAE's fixed sine-cosine table: column (frequency) in the first half of D, row (time) in the second; 0 first."""
    rate = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = [torch.outer(torch.arange(size, dtype=torch.float64), rate) for size in (rows, columns)]
    time, mel = (torch.cat((angle.sin(), angle.cos()), dim=1) for angle in angles)
    table = torch.cat((mel.repeat(rows, 1), time.repeat_interleave(columns, dim=0)), dim=1)
    return F.pad(table, (0, 0, 1, 0))[None].float()
