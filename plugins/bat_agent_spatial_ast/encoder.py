"""Spatial-AST (BAT, section 4.1): front-end, 3×3 convolution, patches, transformer, three class tokens, four heads.

Departures from the paper are those of the released code (magnitude log-mel, batch norm on the log-mel pair, token order
[distance, direction, class], elevation and azimuth from the direction token). Beyond it, by configuration: short clips,
wide stems, full-band patches, and ``num_slots`` > 1, where every slot has its own three class tokens, the heads are
shared and one more head tells whether the slot holds a source.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
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
    HeadsOnly,
    SlotEncoding,
)
from bat_agent.labels import labels
from bat_agent.sound import features
from bat_agent.training.helpers import keep_patches, spec_augment
from bat_agent_spatial_ast.checkpoint import load
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.front_end import Heard, front_end
from bat_agent_spatial_ast.half import reads_half
from bat_agent_spatial_ast.int8 import half_layers, narrow_layers, quantise_layers
from bat_agent_spatial_ast.kernels import FourierKernels, MelKernel
from bat_agent_spatial_ast.level import LevelToken, reference_gain, to_reference
from bat_agent_spatial_ast.masks import SlotMasks
from bat_agent_spatial_ast.memory import MOST_CLIPS, FrameMemory
from bat_agent_spatial_ast.recolour import recolour
from bat_agent_spatial_ast.slots import SlotSummary, strongest
from bat_agent_spatial_ast.summary import SummaryTokens, means_of, row_sums, swap_ears, swap_ears_of_sums
from bat_agent_spatial_ast.symmetry import averaged
from bat_agent_spatial_ast.transformer import LAYER_NORM_EPS, Block, PatchEmbed, sincos_positions

if TYPE_CHECKING:
    from typing_extensions import Self

TOKENS_PER_SLOT = 3
HEADS = ("class_logits", "distance_logits", "azimuth_logits", "elevation_logits")
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

        self.spectrogram_extractor = FourierKernels(config.store_front_end)
        self.logmel_extractor = MelKernel(config.store_front_end)
        if config.features == "mono":
            self.bn = nn.BatchNorm2d(1, affine=False)
        else:
            self.bn = nn.BatchNorm2d(2, affine=False)
        self.conv_downsample = nn.Sequential(
            nn.Conv2d(config.input_maps, config.stem_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(config.stem_channels),
            nn.GELU(),
        )
        self.patch_embed = PatchEmbed(config.stem_channels, config.width, config.patch_frames, config.patch_mels)
        self.cls_tokens = nn.Parameter(torch.zeros(1, TOKENS_PER_SLOT * config.num_slots, config.width))
        self.pos_embed = nn.Parameter(sincos_positions(*config.grid, config.width), requires_grad=False)
        rates = torch.linspace(0, config.drop_path, config.depth).tolist()
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio, rate) for rate in rates)
        if "distance" in config.tasks:
            self.dis_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
            self.distance_head = nn.Linear(config.width, NUM_DISTANCE_BINS)
        if "direction" in config.tasks:
            self.doa_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
            self.azimuth_head = nn.Linear(config.width, NUM_AZIMUTH_BINS)
            self.elevation_head = nn.Linear(config.width, NUM_ELEVATION_BINS)
        if "class" in config.tasks:
            self.fc_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
            self.head = nn.Linear(config.width, NUM_CLASSES)
        if config.level == "token":
            self.level_token = LevelToken(config.width, config.level_dropout)
        if config.summary_frames:
            self.summary = SummaryTokens(config.width, config.summary_hidden, config.summary_frames, config.row_frames)
        if config.slot_summary:
            hidden = config.slot_hidden or config.summary_hidden
            self.slot_summary = SlotSummary(config.width, hidden, config.patch_mels, config.direct_sound)
        if config.mask_channels:
            self.slot_masks = SlotMasks(config.width, config.mask_channels).requires_grad_(requires_grad=False)
        if config.num_slots > 1:
            self.activity_head = nn.Linear(config.width, 1)
        self._initialise()
        self.hear: Callable[..., tuple[Tensor, Tensor]] = features.mel_and_phase
        self._faster: tuple[nn.ModuleList] | None = None
        # In a tuple and in a dictionary they are no submodules: neither saved, nor moved, nor trained.
        self._half: dict[str, nn.Module] = {}
        self._frames = FrameMemory()
        if config.level != "absolute":
            self.level_known = config.level == "token"

    def forward(self, waveform: Float[Tensor, "B 2 N"]) -> Encoding:
        """Encode clips; tokens are the raw output of the last block, as the released language model takes them.

        N must be ``clip_seconds`` long, or, where ``fixed_length`` is false, at least 17 ms.
        """
        if self.training or not self.config.symmetric:
            return self._encode(waveform, heads_only=False)
        both = self._encode(waveform, heads_only=False, mirrored=True)
        assert both.slots is not None
        return strongest(both.tokens.narrow(0, 0, waveform.shape[0]), averaged(both.slots))

    def perceive(self, waveform: Float[Tensor, "B 2 N"]) -> Encoding:
        """What the heads say, at less cost: the last block computes the class tokens alone, and they are all tokens."""
        if self.config.slot_summary or self.config.symmetric:
            return self(waveform)
        return HeadsOnly(**vars(self._encode(waveform, heads_only=True)))

    def _encode(self, waveform: Tensor, heads_only: bool, mirrored: bool = False) -> Encoding:
        """What is heard; with ``mirrored`` also of the clips with their ears swapped, which come after them."""
        heard = self._listen(waveform, heads_only, mirrored)
        if heard.sums is None or not self.config.slot_summary:
            return self.read_heads(heard.tokens)
        return self._read_slots(heard)[0]

    def _listen(self, waveform: Tensor, heads_only: bool, mirrored: bool = False) -> _Listened:
        level = level_dbfs = None
        with torch.autocast(waveform.device.type, enabled=False):
            sound, gain = waveform, None
            if self.config.level != "absolute":
                gain, level_dbfs = reference_gain(waveform)
                waveform = waveform * gain[:, None, None]
                level = self.level_token(level_dbfs, self.level_known) if self.config.level == "token" else None
            maps, mel, phase = self._front_end(waveform, mirrored, self._remembered(sound, gain))
            sums = None
            if self.config.row_frames:
                sums = row_sums(mel, phase, self.config.row_frames, self.config.direct_sound)
                sums = torch.cat((sums, swap_ears_of_sums(sums))) if mirrored else sums
        if mirrored and level is not None:
            level = level.repeat(2, 1)
        summary = (
            None if sums is None or not self.config.summary_frames else self._few_rows("summary")(sums, mel.shape[2])
        )
        tokens = self.encode_maps(maps, summary, level, heads_only=heads_only)
        return _Listened(tokens, sums, mel.shape[2], level, level_dbfs)

    def _read_slots(self, heard: _Listened) -> tuple[Encoding, Tensor, Tensor]:
        """What the slots say, the means over the mask of each, and the transformer's own tokens of its place."""
        slots, sums = self.config.num_slots, heard.sums
        assert sums is not None
        own, rest = heard.tokens[:, : TOKENS_PER_SLOT * slots], heard.tokens[:, TOKENS_PER_SLOT * slots :]
        num_patches = max(heard.frames // self.config.patch_frames, 1) * self.config.grid[1]
        patches = rest.narrow(1, rest.shape[1] - num_patches, num_patches)
        places, what = own.unflatten(1, (slots, TOKENS_PER_SLOT)).split((2, 1), dim=2)
        placing = self._few_rows("slot_summary")
        masks = placing.masks(what[:, :, 0], patches)
        means = placing.means(masks, sums)
        placed = torch.cat((placing(means, heard.level, places), what), dim=2)
        encoding = self.read_heads(torch.cat((placed.flatten(1, 2), rest), dim=1))
        assert encoding.slots is not None
        encoding.slots.masks = masks
        return encoding, means, places

    def input_maps(self, waveform: Float[Tensor, "B 2 N"]) -> Float[Tensor, "B C T 128"]:
        """The stacked front-end maps [log-mel L, log-mel R, cos IPD, sin IPD] before the convolution.

        Always float32: under autocast the products with the mel filters would keep three digits only.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            if self.config.level != "absolute":
                waveform, _ = to_reference(waveform)
            return self._front_end(waveform).maps

    def _front_end(self, waveform: Tensor, mirrored: bool = False, known: tuple[Tensor, Tensor] | None = None) -> Heard:
        filters = self.logmel_extractor.melW
        return front_end(waveform, filters, self.bn, self.config, mirrored=mirrored, known=known, hear=self.hear)

    def _remembered(self, sound: Tensor, gain: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Mel bands and phase of clips, of which only what no clip before had is computed; ``None`` where that is not
        done: in training, on other devices, for large batches and very short clips.
        """
        alone = self.training or torch.is_grad_enabled() or torch.compiler.is_compiling()
        long = sound.shape[2] > 2 * features.N_FFT
        if alone or sound.device.type != "cpu" or len(sound) > MOST_CLIPS or not long:
            return None
        if self.config.features != "mel+ipd" or sound.dtype != torch.float32:
            return None
        return self._frames.features(sound, gain, self.logmel_extractor.melW, self.config.mel_of == "power")

    def encode_maps(
        self,
        maps: Float[Tensor, "B C T 128"],
        summary: Float[Tensor, "B S D"] | None = None,
        level: Float[Tensor, "B D"] | None = None,
        *,
        heads_only: bool = False,
    ) -> Float[Tensor, "B K D"]:
        """From front-end maps to the tokens after the last block: class tokens, summary tokens, patches.

        With ``heads_only`` the class tokens alone.
        """
        config = self.config
        maps = self.conv_downsample(maps)
        if self.training:
            maps = spec_augment(maps, config.spec_time_frames, config.spec_mels)
        patches = self.patch_embed(maps)
        patches = patches + self._positions(patches.shape[1] // config.grid[1])
        if self.training:
            patches = keep_patches(patches, config.grid[1], config.mask_time, config.mask_mels)
        own = self.cls_tokens.expand(patches.shape[0], -1, -1).to(patches.dtype)
        if level is not None:
            tells_distance = torch.zeros(TOKENS_PER_SLOT, 1, device=own.device)
            tells_distance[DISTANCE] = 1
            own = own + level[:, None] * tells_distance.repeat(config.num_slots, 1)
        if summary is not None:
            # The class tokens start from the summary of the whole clip; the segments they may attend to.
            own = torch.cat((own + summary[:, :1], summary), dim=1)
        x = torch.cat((own, patches), dim=1)
        *blocks, last = self._blocks_to_use()
        for block in blocks:
            x = block(x)
        return last(x, self.cls_tokens.shape[1] if heads_only else None)

    def _blocks_to_use(self) -> nn.ModuleList:
        """The blocks themselves, or a faster copy for inference, made when first used."""
        if self.training or self.config.compute == "float32":
            return self.blocks
        if self._faster is None:
            make = quantise_layers if self.config.compute == "int8" else narrow_layers
            self._faster = (make(self.blocks),)
        return self._faster[0]

    def _few_rows(self, name: str) -> Any:
        """A part that sees few rows of each clip, for inference with its weights as they are stored."""
        part = self.get_submodule(name)
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling() or not reads_half():
            return part
        if next(part.parameters()).device.type != "cpu":
            return part
        if name not in self._half:
            self._half[name] = half_layers(part)
        return self._half[name]

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode."""
        self._faster, self._half = None, {}
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._faster, self._half = None, {}
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any) -> None:
        self._faster, self._half = None, {}
        super()._load_from_state_dict(*args)

    @torch.no_grad()
    def place_summary(self, waveform: Float[Tensor, "B 2 N"], *, remember: bool = False) -> Float[Tensor, "B 2 V"]:
        """All that :meth:`place_heads` needs of clips with one source: as they are, and with the ears swapped.

        Nothing of it is learnt. The last number is the level in dBFS. With ``remember`` frames that an encoding of the
        same clips needs are computed once. Raises :class:`~bat_agent.errors.BadInput` for an
        encoder without ``slot_summary``.
        """
        self._check_slot_summary()
        sums, _, level_dbfs = self._sums(waveform, remember)
        means = means_of(sums.sum(dim=3)).flatten(1, 2)
        both = torch.stack((means, swap_ears(means)), dim=1).flatten(2)
        return torch.cat((both, level_dbfs[:, None, None].expand(-1, 2, 1)), dim=2)

    def _sums(self, waveform: Tensor, remember: bool) -> tuple[Tensor, int, Tensor]:
        """Interaural sums over rows of clips, their number of frames, and the level in dBFS."""
        with torch.autocast(waveform.device.type, enabled=False):
            sound, level_dbfs = to_reference(waveform)
            gain = None if self.config.level == "absolute" else reference_gain(waveform)[0]
            known = self._remembered(waveform, gain) if remember else None
            _, mel, phase = self._front_end(waveform if gain is None else sound, known=known)
            return row_sums(mel, phase, self.config.row_frames, self.config.direct_sound), mel.shape[2], level_dbfs

    @torch.no_grad()
    def told_masks(
        self, waveform: Float[Tensor, "B 2 N"] | NDArray[np.float32], tokens: Float[Tensor, "B K D"]
    ) -> Float[Tensor, "B S R 128"] | None:
        """Which parts of the spectrogram of clips are whose, by the network that learnt that of heads that turn, from
        the ``tokens`` of their encoding; ``None`` for an encoder without ``mask_channels``.
        """
        if not self.config.mask_channels:
            return None
        sound = waveform if isinstance(waveform, Tensor) else torch.from_numpy(waveform).to(tokens.device)
        sums, frames, _ = self._sums(sound, remember=True)
        rows = max(frames // self.config.patch_frames, 1)
        own = tokens[:, : TOKENS_PER_SLOT * self.config.num_slots].unflatten(1, (-1, TOKENS_PER_SLOT))
        patches = tokens.narrow(1, tokens.shape[1] - rows, rows)
        found: Tensor = self.slot_masks(self.slot_masks.inputs(sums, rows), own[:, :, CLASS], patches)
        return found

    @torch.no_grad()
    def slot_summaries(self, waveform: Float[Tensor, "B 2 N"]) -> tuple[Encoding, Float[Tensor, "B S V"]]:
        """What clips with any number of sources sound like, and what :meth:`place_heads` needs of each slot.

        That is the means over the mask of the slot, the transformer's own distance and direction tokens, and the level.
        Raises :class:`~bat_agent.errors.BadInput` for an encoder without ``slot_summary``.
        """
        self._check_slot_summary()
        heard = self._listen(waveform, heads_only=False)
        encoding, means, places = self._read_slots(heard)
        level_dbfs = waveform.new_zeros(len(waveform)) if heard.level_dbfs is None else heard.level_dbfs
        level = level_dbfs[:, None, None].expand(-1, self.config.num_slots, 1)
        return encoding, torch.cat((means, places.flatten(2), level), dim=2)

    def place_heads(self, summary: Float[Tensor, "B V"]) -> Encoding:
        """Distance and direction from rows of :meth:`place_summary` or of :meth:`slot_summaries`."""
        level = self.level_token(summary[:, -1], self.level_known) if self.config.level == "token" else None
        means, own = summary[:, :-1].tensor_split([self.slot_summary.num_means], dim=1)
        places = own.unflatten(1, (2, -1))[:, None] if own.shape[1] else None
        distance, direction = self.slot_summary(means[:, None], level, places)[:, 0].unbind(dim=1)
        turned = self.doa_norm(direction)
        return Encoding(
            direction[:, None],
            distance_logits=self.distance_head(self.dis_norm(distance)),
            azimuth_logits=self.azimuth_head(turned),
            elevation_logits=self.elevation_head(turned),
        )

    def recolour(
        self, summary: Float[Tensor, "B V"], common_db: float, apart_db: float, generator: torch.Generator
    ) -> Float[Tensor, "B V"]:
        """Rows of :meth:`place_summary` or :meth:`slot_summaries` as other microphones would give them, with smooth
        random responses of so many dB (standard deviation), of both and between them.
        """
        per_db = 1.0 if self.config.mel_of == "power" else 0.5  # ten times the logarithm of a magnitude
        return recolour(summary, self.slot_summary.num_means, per_db * common_db, per_db * apart_db, generator)

    def _check_slot_summary(self) -> None:
        if not self.config.slot_summary:
            raise BadInput("this spatial-ast keeps nothing of a clip to go through again; give it slot_summary")

    def read_heads(self, tokens: Float[Tensor, "B K D"]) -> Encoding:
        """Class, distance and direction from the class tokens."""
        slots, tasks = self.config.num_slots, self.config.tasks
        own = tokens[:, : TOKENS_PER_SLOT * slots].unflatten(1, (slots, TOKENS_PER_SLOT))
        said: dict[str, Tensor] = {}
        if "distance" in tasks:
            said["distance_logits"] = self.distance_head(self.dis_norm(own[:, :, DISTANCE]))
        if "direction" in tasks:
            direction = self.doa_norm(own[:, :, DIRECTION])
            said["azimuth_logits"] = self.azimuth_head(direction)
            said["elevation_logits"] = self.elevation_head(direction)
        if "class" in tasks:
            category = self.fc_norm(own[:, :, CLASS])
            said["class_logits"] = self.head(category)
        if slots == 1:
            category, distance, azimuth, elevation = (said[name][:, 0] if name in said else None for name in HEADS)
            return Encoding(tokens, category, distance, azimuth, elevation)
        return strongest(tokens, SlotEncoding(self.activity_head(category).squeeze(-1), **said))

    def graph(self) -> nn.Module:
        """The encoder as plain operators on tensors, to be exported to ONNX (:mod:`bat_agent_spatial_ast.graph`)."""
        from bat_agent_spatial_ast.graph import FramedGraph, Graph

        return FramedGraph(self) if self.config.features == "mel+ipd" else Graph(self)

    def load_weights(self, path: Path | str) -> None:
        """Fill the encoder from a file or folder; the transformer of an AudioMAE checkpoint begins it, with a warning.

        Raises :class:`~bat_agent.errors.WeightsError` where the file is another model, or the same in another size.
        """
        load(self, path)

    def save_weights(self, directory: Path | str, *, half: bool = False) -> None:
        """Write ``model.safetensors`` into a folder; ``half`` stores matrices as float16."""
        save_module(self, directory, half=half)

    def _positions(self, rows: int) -> Tensor:
        """Positions of ``rows`` time steps; a short training clip starts anywhere, so that all of them are trained."""
        total, mels = self.config.grid
        if not self.training or rows == total:
            return self.pos_embed.narrow(1, 1, rows * mels)
        device = self.pos_embed.device
        start = (torch.rand((), device=device) * (total - rows + 1)).long()
        table = self.pos_embed[:, 1:].unflatten(1, (total, mels))
        return table.index_select(1, start + torch.arange(rows, device=device)).flatten(1, 2)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.config.slot_summary:
            self.slot_summary.reset()
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(self.config.width, -1))
        nn.init.normal_(self.cls_tokens, std=0.02)
        for name in ("head", "distance_head", "azimuth_head", "elevation_head"):
            if hasattr(self, name):
                nn.init.trunc_normal_(getattr(self, name).weight, std=2e-5)
        if "class" in self.config.tasks:
            # Every class is rare: from here the class loss starts small instead of drowning the others for an epoch.
            nn.init.constant_(self.head.bias, -5.0)


class _Listened(NamedTuple):
    """What the transformer makes of clips, and what else is known of them."""

    tokens: Tensor
    sums: Tensor | None
    frames: int
    level: Tensor | None
    level_dbfs: Tensor | None
