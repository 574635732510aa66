"""Spatial-AST (BAT, section 4.1): front-end, 3×3 convolution, patches, transformer, three class tokens, four heads.

Departures from the paper are those of the released code (magnitude log-mel, batch norm on the log-mel pair, token order
[distance, direction, class], elevation and azimuth from the direction token). Beyond it, by configuration: short clips,
wide stems, full-band patches, and ``num_slots`` > 1, where every slot has its own three class tokens, the heads are
shared and one more head tells whether the slot holds a source.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent import features
from bat_agent.interfaces import (
    NUM_AZIMUTH_BINS,
    NUM_CLASSES,
    NUM_DISTANCE_BINS,
    NUM_ELEVATION_BINS,
    SAMPLE_RATE_HZ,
    Encoding,
    SlotEncoding,
)
from bat_agent.labels import labels
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.masking import keep_patches, spec_augment
from bat_agent_spatial_ast.slots import SlotSummary
from bat_agent_spatial_ast.summary import SummaryTokens
from bat_agent_spatial_ast.transformer import LAYER_NORM_EPS, Block, sincos_positions

TOKENS_PER_SLOT = 3
DISTANCE, DIRECTION, CLASS = range(TOKENS_PER_SLOT)


class SpatialAST(nn.Module):
    """The encoder; takes a finished binaural waveform, the room already in it."""

    def __init__(self, config: SpatialASTConfig | None = None) -> None:
        super().__init__()
        config = config or SpatialASTConfig()
        self.config = config
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self.clip_seconds = config.clip_seconds
        self.fixed_length = config.fixed_length
        self.labels = labels()
        self.token_dim = config.width
        self.num_tokens = TOKENS_PER_SLOT * config.num_slots + config.summary_tokens + config.grid[0] * config.grid[1]

        self.spectrogram_extractor = _FourierKernels(config.store_front_end)
        self.logmel_extractor = _MelKernel(config.store_front_end)
        if config.features == "mono":
            self.bn = nn.BatchNorm2d(1, affine=False)
        else:
            self.bn = nn.BatchNorm2d(2, affine=False)
        self.conv_downsample = nn.Sequential(
            nn.Conv2d(config.input_maps, config.stem_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(config.stem_channels),
            nn.GELU(),
        )
        self.patch_embed = _PatchEmbed(config)
        self.cls_tokens = nn.Parameter(torch.zeros(1, TOKENS_PER_SLOT * config.num_slots, config.width))
        self.pos_embed = nn.Parameter(sincos_positions(*config.grid, config.width), requires_grad=False)
        rates = torch.linspace(0, config.drop_path, config.depth).tolist()
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio, rate) for rate in rates)
        self.dis_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.doa_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.fc_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(config.width, NUM_CLASSES)
        self.distance_head = nn.Linear(config.width, NUM_DISTANCE_BINS)
        self.azimuth_head = nn.Linear(config.width, NUM_AZIMUTH_BINS)
        self.elevation_head = nn.Linear(config.width, NUM_ELEVATION_BINS)
        if config.summary_frames:
            self.summary = SummaryTokens(config.width, config.summary_hidden, config.summary_frames)
        if config.slot_summary:
            self.slot_summary = SlotSummary(config.width, config.summary_hidden, config.patch_frames)
        if config.num_slots > 1:
            self.activity_head = nn.Linear(config.width, 1)
        self._initialise()

    def forward(self, waveform: Float[Tensor, "B 2 N"]) -> Encoding:
        """Encode clips; tokens are the raw output of the last block, as the released language model takes them.

        N must be ``clip_seconds`` long, or, where the configuration has no ``target_frames``, at least one patch.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            maps, mel, phase = self._front_end(waveform)
        summary = self.summary(mel, phase) if self.config.summary_frames else None
        tokens = self.encode_maps(maps, summary)
        if self.config.slot_summary:
            tokens = self._locate_slots(tokens, mel, phase)
        return self.read_heads(tokens)

    def input_maps(self, waveform: Float[Tensor, "B 2 N"]) -> Float[Tensor, "B C T 128"]:
        """The stacked front-end maps [log-mel L, log-mel R, cos IPD, sin IPD] before the convolution.

        Always float32: under autocast the products with the mel filters would keep three digits only.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            return self._front_end(waveform)[0]

    def _front_end(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The stacked maps, the log-mel in dB, and (cos, sin) of the phase difference scaled to ±1."""
        filters = self.logmel_extractor.melW
        if self.config.features == "mono":
            mel = features.monaural_features(waveform, filters)
            return self._fit_frames(self.bn(mel)), mel, mel
        mel, phase = features.binaural_features(waveform, filters)
        unit_phase = phase / filters.sum(dim=0)
        maps = self.bn(mel)
        if self.config.features == "mel+ipd":
            maps = torch.cat((maps, unit_phase if self.config.unit_ipd else phase), dim=1)
        return self._fit_frames(maps), mel, unit_phase

    def encode_maps(
        self, maps: Float[Tensor, "B C T 128"], summary: Float[Tensor, "B S D"] | None = None
    ) -> Float[Tensor, "B K D"]:
        """From front-end maps to the tokens after the last block: class tokens, summary tokens, patches."""
        config = self.config
        maps = self.conv_downsample(maps)
        if self.training:
            maps = spec_augment(maps, config.spec_time_frames, config.spec_mels)
        patches = self.patch_embed(maps)
        patches = patches + self._positions(patches.shape[1] // config.grid[1])
        if self.training:
            patches = keep_patches(patches, config.grid[1], config.mask_time, config.mask_mels)
        own = self.cls_tokens.expand(len(patches), -1, -1).to(patches.dtype)
        if summary is not None:
            # The class tokens start from the summary of the whole clip; the segments they may attend to.
            own = torch.cat((own + summary[:, :1], summary), dim=1)
        x = torch.cat((own, patches), dim=1)
        for block in self.blocks:
            x = block(x)
        return x

    def _locate_slots(self, tokens: Tensor, mel: Tensor, phase: Tensor) -> Tensor:
        """Add to the distance and direction tokens of each slot what the bands it claims say."""
        slots = self.config.num_slots
        own, rest = tokens[:, : TOKENS_PER_SLOT * slots], tokens[:, TOKENS_PER_SLOT * slots :]
        per_slot = own.unflatten(1, (slots, TOKENS_PER_SLOT))
        patches = rest[:, -(mel.shape[2] // self.config.patch_frames or 1) :]
        place = self.slot_summary(per_slot[:, :, CLASS], patches, mel, phase)
        added = torch.stack((place, place, torch.zeros_like(place)), dim=2)
        return torch.cat(((per_slot + added).flatten(1, 2), rest), dim=1)

    def read_heads(self, tokens: Float[Tensor, "B K D"]) -> Encoding:
        """Class, distance and direction from the class tokens."""
        slots = self.config.num_slots
        own = tokens[:, : TOKENS_PER_SLOT * slots].unflatten(1, (slots, TOKENS_PER_SLOT))
        direction, category = self.doa_norm(own[:, :, DIRECTION]), self.fc_norm(own[:, :, CLASS])
        class_logits = self.head(category)
        distance_logits = self.distance_head(self.dis_norm(own[:, :, DISTANCE]))
        azimuth_logits, elevation_logits = self.azimuth_head(direction), self.elevation_head(direction)
        if slots == 1:
            return Encoding(
                tokens, class_logits[:, 0], distance_logits[:, 0], azimuth_logits[:, 0], elevation_logits[:, 0]
            )
        activity = self.activity_head(category).squeeze(-1)
        per_slot = SlotEncoding(activity, class_logits, distance_logits, azimuth_logits, elevation_logits)
        return _strongest(tokens, per_slot)

    def _fit_frames(self, maps: Tensor) -> Tensor:
        target = self.config.target_frames
        if target is None:
            frames = max(maps.shape[2] // self.config.patch_frames, 1) * self.config.patch_frames
            missing = frames - maps.shape[2]
            return F.pad(maps, (0, 0, 0, missing), mode="replicate") if missing > 0 else maps[:, :, :frames]
        if maps.shape[2] == target:
            return maps
        return F.interpolate(maps, (target, maps.shape[3]), mode="bicubic", align_corners=True)

    def _positions(self, rows: int) -> Tensor:
        """Positions of ``rows`` time steps; a short training clip starts anywhere, so that all of them are trained."""
        total, mels = self.config.grid
        start = int(torch.randint(total - rows + 1, ())) if self.training and rows < total else 0
        return self.pos_embed[:, 1 + start * mels : 1 + (start + rows) * mels]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        if self.config.slot_summary:
            self.slot_summary.reset()
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(self.config.width, -1))
        nn.init.normal_(self.cls_tokens, std=0.02)
        for head in (self.head, self.distance_head, self.azimuth_head, self.elevation_head):
            nn.init.trunc_normal_(head.weight, std=2e-5)
        # Every class is rare: from here the class loss starts small instead of drowning the others for an epoch.
        nn.init.constant_(self.head.bias, -5.0)


class _FourierKernels(nn.Module):
    """The released layout stores the STFT as two convolution kernels; they are constants, the FFT computes the same."""

    def __init__(self, stored: bool) -> None:
        super().__init__()
        if stored:
            turn = torch.outer(torch.arange(features.NUM_BINS), torch.arange(features.N_FFT)) % features.N_FFT
            angle = turn.double() * (2 * torch.pi / features.N_FFT)
            window = features.hann_window().double()
            self.conv_real = _kernel((angle.cos() * window)[:, None])
            self.conv_imag = _kernel((-angle.sin() * window)[:, None])


class _MelKernel(nn.Module):
    """The mel filterbank, stored in the released layout."""

    melW: Tensor

    def __init__(self, stored: bool) -> None:
        super().__init__()
        self.register_buffer("melW", features.mel_filterbank().clone(), persistent=stored)


def _kernel(weight: Tensor) -> nn.Module:
    module = nn.Module()
    module.register_buffer("weight", weight.float())
    return module


class _PatchEmbed(nn.Module):
    """Non-overlapping patches → tokens in time-major order: the stride-16 convolution as one matrix product."""

    def __init__(self, config: SpatialASTConfig) -> None:
        super().__init__()
        self.patch = (config.patch_frames, config.patch_mels)
        self.proj = nn.Conv2d(config.stem_channels, config.width, self.patch, stride=self.patch)

    def forward(self, maps: Float[Tensor, "B C T M"]) -> Float[Tensor, "B P D"]:
        """Cut and project."""
        (frames, mels), (batch, channels, time, bands) = self.patch, maps.shape
        cut = maps.view(batch, channels, time // frames, frames, bands // mels, mels)
        cut = cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, (time // frames) * (bands // mels), -1)
        return F.linear(cut, self.proj.weight.flatten(1), self.proj.bias)


def _strongest(tokens: Tensor, slots: SlotEncoding) -> Encoding:
    """One answer for the clip: the heads of its most active slot; a class is heard if any slot hears it."""
    rows, best = torch.arange(len(tokens), device=tokens.device), slots.activity_logits.argmax(dim=1)
    heard = slots.activity_logits.float().sigmoid()[..., None] * slots.class_logits.float().sigmoid()
    class_probs = (1 - (1 - heard).prod(dim=1)).clamp(1e-6, 1 - 1e-6)
    return Encoding(
        tokens,
        class_probs.logit(),
        slots.distance_logits[rows, best],
        slots.azimuth_logits[rows, best],
        slots.elevation_logits[rows, best],
        slots,
    )
