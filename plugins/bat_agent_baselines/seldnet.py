"""SELDnet (Adavanne et al., 2018) with a 12-block transformer, BAT's binaural baseline (section 5.1 and table 3).

Published by the SELDnet authors (paper and sharathadavanne/seld-net): 3×3 convolutions of 64 channels with batch norm,
ReLU and max-pooling over frequency (three of them), two bidirectional GRU layers of 128 units whose directions are
multiplied, no dropout. Published by BAT: mel spectrograms and interaural phase as input, a 12-block transformer behind
the feature extraction network so that the whole has about 90 M parameters, joint training, the figures of table 3.

Chosen here, because neither text tells: the maps are those of Spatial-AST (log-mel in batch norm without affine, phase
scaled to ±1); pooling also over time, to 126 tokens of ten seconds; pooling of 128 bands by 4, 4, 2; a layer norm and a
linear layer between GRU and transformer; ViT-B blocks (pre-norm, GELU, width 768, 12 heads); no table of positions,
since the GRU tells time; one linear head for each of the four questions on the mean of all normed tokens; SpecAugment
as for Spatial-AST. The result has 86.4 M parameters, Spatial-AST 86.0 M.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.interfaces import (
    NUM_AZIMUTH_BINS,
    NUM_CLASSES,
    NUM_DISTANCE_BINS,
    NUM_ELEVATION_BINS,
    SAMPLE_RATE_HZ,
    Encoding,
)
from bat_agent.labels import labels
from bat_agent.sound import features
from bat_agent.training.helpers import spec_augment
from bat_agent_baselines.config import SELDnetConfig

RARE_CLASS_LOGIT = -5.0


class SELDnet(nn.Module):
    """Convolutions, recurrent layers, transformer, mean over time, four heads; takes clips of any length."""

    mel_filters: Tensor

    def __init__(self, config: SELDnetConfig | None = None) -> None:
        super().__init__()
        config = config or SELDnetConfig()
        self.config = config
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self.clip_seconds = config.clip_seconds
        self.fixed_length = False
        self.labels = labels()
        self.token_dim = config.width
        self.num_tokens = features.num_frames(round(config.clip_seconds * SAMPLE_RATE_HZ))
        for step in config.pool_time:
            self.num_tokens = -(-self.num_tokens // step)

        self.register_buffer("mel_filters", features.mel_filterbank().clone(), persistent=False)
        self.bn = nn.BatchNorm2d(2, affine=False)
        self.convolutions = nn.Sequential()
        channels, bands = (4 if config.features == "mel+ipd" else 2), features.NUM_MELS
        for pool in zip(config.pool_time, config.pool_mels, strict=True):
            self.convolutions.append(_convolution(channels, config.filters, pool))
            channels, bands = config.filters, bands // pool[1]
        sizes = (channels * bands, *config.recurrent)
        self.recurrent = nn.ModuleList(
            nn.GRU(before, after, batch_first=True, bidirectional=True) for before, after in pairwise(sizes)
        )
        # A product of two tanh outputs is small (0.02): without the norm it is lost beside the bias of the embedding.
        self.embed = nn.Sequential(nn.LayerNorm(sizes[-1]), nn.Linear(sizes[-1], config.width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width,
                config.heads,
                int(config.width * config.mlp_ratio),
                config.dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, NUM_CLASSES)
        self.distance_head = nn.Linear(config.width, NUM_DISTANCE_BINS)
        self.azimuth_head = nn.Linear(config.width, NUM_AZIMUTH_BINS)
        self.elevation_head = nn.Linear(config.width, NUM_ELEVATION_BINS)
        self._initialise()

    def forward(self, waveform: Float[Tensor, "B 2 N"]) -> Encoding:
        """Encode clips of more than 512 samples at 32 kHz; tokens are the output of the last block, in time order."""
        maps = self.input_maps(waveform)
        if self.training:
            maps = spec_augment(maps, self.config.spec_time_frames, self.config.spec_mels)
        x = self.convolutions(maps).transpose(1, 2).flatten(2)
        for layer in self.recurrent:
            forwards, backwards = layer(x)[0].chunk(2, dim=-1)
            x = forwards * backwards
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        heard = self.norm(x).mean(dim=1)
        return Encoding(
            x,
            self.head(heard),
            self.distance_head(heard),
            self.azimuth_head(heard),
            self.elevation_head(heard),
        )

    def input_maps(self, waveform: Float[Tensor, "B 2 N"]) -> Float[Tensor, "B C T 128"]:
        """[log-mel L, log-mel R, cos IPD, sin IPD], or the first two; float32 also under autocast."""
        with torch.autocast(waveform.device.type, enabled=False):
            mel, phase = features.binaural_features(waveform, self.mel_filters)
            mel = self.bn(mel)
            if self.config.features == "mel":
                return mel
            return torch.cat((mel, phase / self.mel_filters.sum(dim=0)), dim=1)

    def _initialise(self) -> None:
        for head in (self.head, self.distance_head, self.azimuth_head, self.elevation_head):
            nn.init.trunc_normal_(head.weight, std=2e-5)
            nn.init.zeros_(head.bias)
        # As in Spatial-AST, so that the comparison starts equal: every class is rare.
        nn.init.constant_(self.head.bias, RARE_CLASS_LOGIT)


def _convolution(channels: int, filters: int, pool: tuple[int, int]) -> nn.Sequential:
    # Without ceil_mode a very short clip would be pooled to nothing.
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, padding=1),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
        nn.MaxPool2d(pool, ceil_mode=True),
    )
