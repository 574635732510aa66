"""DSpAST (arXiv 2509.13927 and its released code): Spatial-AST with two more features and one branch per task.

Three branches, [distance, direction, class], each weigh the same six input maps for themselves, mix them to one and
send it through one shared transformer with class tokens of their own; here they pass it together, as 3·B clips. What
differs from Spatial-AST: the maps (:mod:`bat_agent_spatial_ast.dspast_features`), the channel attention, narrow tokens
per branch, and cosine heads for distance, azimuth and elevation (:mod:`bat_agent_spatial_ast.adacos`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.checkpoint import save_module
from bat_agent.errors import BadInput
from bat_agent.interfaces import (
    NUM_AZIMUTH_BINS,
    NUM_CLASSES,
    NUM_DISTANCE_BINS,
    NUM_ELEVATION_BINS,
    SAMPLE_RATE_HZ,
    Encoding,
)
from bat_agent.labels import labels
from bat_agent.sound.features import stretch_frames
from bat_agent.training.helpers import keep_patches, spec_augment, world_size
from bat_agent_spatial_ast.adacos import AdaCos
from bat_agent_spatial_ast.checkpoint import load
from bat_agent_spatial_ast.dspast_config import NUM_BRANCHES, TOKENS_PER_BRANCH, DSpASTConfig
from bat_agent_spatial_ast.dspast_features import dspast_features, level_ratio
from bat_agent_spatial_ast.kernels import FourierKernels, MelKernel
from bat_agent_spatial_ast.transformer import LAYER_NORM_EPS, Block, PatchEmbed, sincos_positions

if TYPE_CHECKING:
    from bat_agent.training.helpers import Truth

DISTANCE, DIRECTION, CLASS = range(NUM_BRANCHES)
LARGEST_MAP_VALUE = 1e15


class DSpAST(nn.Module):
    """The encoder; takes a finished binaural waveform, the room already in it.

    Distance, azimuth and elevation logits are cosines in −1 … 1, as the released code gives them; multiplied by
    ``distance_head.s`` and so on they are what the softmax was trained on, which :meth:`adapt` does in training.
    """

    def __init__(self, config: DSpASTConfig | None = None) -> None:
        super().__init__()
        config = config or DSpASTConfig()
        self.config = config
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self.clip_seconds = config.clip_seconds
        self.fixed_length = True
        self.labels = labels()
        self.token_dim = NUM_BRANCHES * config.head_dim
        self.num_tokens = TOKENS_PER_BRANCH + config.grid[0] * config.grid[1]

        self.spectrogram_extractor = FourierKernels(config.store_front_end)
        self.logmel_extractor = MelKernel(config.store_front_end)
        self.bn = nn.BatchNorm2d(2, affine=False)
        if config.gcc_and_ild:
            self.bn_ild = nn.BatchNorm2d(1, affine=False)
        # Numbered from 1 as in the released layout: distance, direction, class.
        self.conv_downsample1, self.conv_downsample2, self.conv_downsample3 = (_stem(config) for _ in range(3))
        self.cls_tokens1, self.cls_tokens2, self.cls_tokens3 = (
            nn.Parameter(torch.zeros(1, TOKENS_PER_BRANCH, config.width)) for _ in range(3)
        )
        self.patch_embed = PatchEmbed(1, config.width, config.patch_frames, config.patch_mels)
        self.pos_embed = nn.Parameter(sincos_positions(*config.grid, config.width), requires_grad=False)
        rates = torch.linspace(0, config.drop_path, config.depth).tolist()
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio, rate) for rate in rates)
        self.pre_head1, self.pre_head2, self.pre_head3 = (nn.Linear(config.width, config.head_dim) for _ in range(3))
        self.fc_norm = nn.LayerNorm(config.head_dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(config.head_dim, NUM_CLASSES)
        self.distance_head = AdaCos(config.head_dim, NUM_DISTANCE_BINS)
        self.azimuth_head = AdaCos(config.head_dim, NUM_AZIMUTH_BINS)
        self.elevation_head = AdaCos(config.head_dim, NUM_ELEVATION_BINS)
        self.as_probabilities = False
        self._initialise()

    def forward(self, waveform: Float[Tensor, "B 2 N"]) -> Encoding:
        """Encode clips of ``clip_seconds``. Tokens (B, K, 3·head_dim): side by side those of the three branches.

        Raises :class:`~bat_agent.errors.BadInput` for a single clip in training mode.
        """
        if self.training and len(waveform) * world_size() == 1:
            raise BadInput("dspast cannot train on one clip: its batch norms need at least 2; set batch to 2 or more")
        with torch.autocast(waveform.device.type, enabled=False):
            images = self.mix_maps(self.input_maps(waveform))
        return self.read_heads(self.encode_images(images))

    def input_maps(self, waveform: Float[Tensor, "B 2 N"]) -> Float[Tensor, "B C T 128"]:
        """The maps all branches share: [log-mel L, log-mel R, correlation, level ratio, cos IPD, sin IPD], float32."""
        with torch.autocast(waveform.device.type, enabled=False):
            mel, lags, phase = dspast_features(waveform, self.logmel_extractor.melW)
            maps = [self.bn(mel), phase]
            if self.config.gcc_and_ild:
                ratio = self.bn_ild(level_ratio(mel, self.training))
                # Beyond, squares inside the transformer would leave float32.
                maps[1:1] = [lags, ratio.clamp(-LARGEST_MAP_VALUE, LARGEST_MAP_VALUE)]
            stacked = torch.cat(maps, dim=1)
            if stacked.shape[2] == self.config.target_frames:
                return stacked
            return stretch_frames(stacked, self.config.target_frames)

    def mix_maps(self, maps: Float[Tensor, "B C T 128"]) -> Float[Tensor, "R 1 T 128"]:
        """One image for each branch and clip, R = 3·B, the clips of a branch next to each other."""
        return torch.cat([stem(maps) for stem in self._each("conv_downsample")])

    def encode_images(self, images: Float[Tensor, "R 1 T 128"]) -> Float[Tensor, "B K D"]:
        """From the branches' images to the tokens: one pass of the transformer, then each branch's projection."""
        config = self.config
        if self.training:
            branches = images.chunk(NUM_BRANCHES)
            images = torch.cat([spec_augment(b, config.spec_time_frames, config.spec_mels) for b in branches])
        patches = self.patch_embed(images)
        patches = patches + self.pos_embed[:, 1:]
        if self.training:
            patches = keep_patches(patches, config.grid[1], config.mask_time, config.mask_mels)
        own = torch.cat(self._each("cls_tokens")).repeat_interleave(len(images) // NUM_BRANCHES, dim=0)
        x = torch.cat((own.to(patches.dtype), patches), dim=1)
        for block in self.blocks:
            x = block(x)
        parts = zip(self._each("pre_head"), x.chunk(NUM_BRANCHES), strict=True)
        return torch.cat([project(tokens) for project, tokens in parts], dim=2)

    def read_heads(self, tokens: Float[Tensor, "B K D"]) -> Encoding:
        """Each task from the mean of its branch's three class tokens."""
        own = tokens[:, :TOKENS_PER_BRANCH].mean(dim=1)
        branch = own.chunk(NUM_BRANCHES, dim=1)
        return Encoding(
            tokens,
            class_logits=self.head(self.fc_norm(branch[CLASS])),
            distance_logits=self._cosines(self.distance_head, branch[DISTANCE]),
            azimuth_logits=self._cosines(self.azimuth_head, branch[DIRECTION]),
            elevation_logits=self._cosines(self.elevation_head, branch[DIRECTION]),
        )

    def _cosines(self, head: AdaCos, token: Tensor) -> Tensor:
        return head(token) * head.s if self.as_probabilities and not self.training else head(token)

    def adapt(self, encoding: Encoding, truth: Truth) -> Encoding:
        """What cosine heads need between forward and loss in training: scale s from this batch, logits s·cos.

        Updates ``s`` of the three cosine heads (:meth:`AdaCos.adapt`) from the first source of every clip that has one,
        and returns the encoding with the three cosine logits multiplied by it; tokens and class logits as they were.
        The factor is a constant to the gradient. ``encoding`` must be as :meth:`forward` gave it.
        """
        counted = truth.active[:, 0]
        scaled = {}
        for task in ("distance", "azimuth", "elevation"):
            head: AdaCos = getattr(self, f"{task}_head")
            cosines = getattr(encoding, f"{task}_logits")
            head.adapt(cosines.detach(), getattr(truth, task)[:, 0], counted)
            # A copy: the next batch writes to s in place, maybe before this one's backward pass.
            scaled[f"{task}_logits"] = cosines * head.s.clone()
        return Encoding(encoding.tokens, encoding.class_logits, **scaled)

    def load_weights(self, path: Path | str) -> None:
        """Fill the encoder from a file or folder; the transformer of an AudioMAE checkpoint begins it, with a warning.

        Raises :class:`~bat_agent.errors.WeightsError` where the file is another model, or the same in another size.
        """
        load(self, path)

    def save_weights(self, directory: Path | str, *, half: bool = False) -> None:
        """Write ``model.safetensors`` into a folder; ``half`` stores matrices as float16."""
        save_module(self, directory, half=half)

    def _each(self, name: str) -> list[Any]:
        return [getattr(self, f"{name}{number}") for number in range(1, NUM_BRANCHES + 1)]

    def _initialise(self) -> None:
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(self.config.width, -1))
        for tokens in self._each("cls_tokens"):
            nn.init.normal_(tokens, std=0.02)
        nn.init.trunc_normal_(self.head.weight, std=2e-5)
        # Every class is rare: from here the class loss starts small instead of drowning the others for an epoch.
        nn.init.constant_(self.head.bias, -5.0)


class _Attention(nn.Module):
    """Scales each map by a factor 0 … 1 that depends on the means of all maps."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(maps, affine=False)
        self.bn2 = nn.BatchNorm2d(maps, affine=False)  # in the released files, and unused there too
        self.fc = nn.Sequential(nn.Linear(maps, maps), nn.ReLU(), nn.Linear(maps, maps))

    def forward(self, maps: Float[Tensor, "B C T M"]) -> Float[Tensor, "B C T M"]:
        """Weigh the maps of each clip."""
        gains = self.fc(self.bn(maps.mean(dim=(2, 3)))).sigmoid()
        return maps * gains[:, :, None, None]


def _stem(config: DSpASTConfig) -> nn.Sequential:
    return nn.Sequential(
        _Attention(config.input_maps) if config.attention else nn.Identity(),
        nn.Conv2d(config.input_maps, 1, 3, padding=1, bias=False),
        nn.BatchNorm2d(1),
        nn.GELU(),
    )
