"""Spatial-AST as a graph of plain operators, for :func:`torch.onnx.export`: the same numbers, without complex ones.

ONNX has no fast STFT that runtimes compute fast; :mod:`.plain_stft` is one of matrix products.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.interfaces import Encoding
from bat_agent.sound import features
from bat_agent_spatial_ast.plain_stem import take_over
from bat_agent_spatial_ast.plain_stft import PlainSTFT
from bat_agent_spatial_ast.transformer import Attention, Block, PatchEmbed, cut_patches

LIFT = 2.0**40
"""Spectra are computed this much larger, which changes no digit of them."""
FAINTEST = 1e-18 * LIFT
"""Added to the real part of every bin, −360 dB: a bin that is exactly zero has the phase 0 by convention, and no
magnitude that something is divided by is zero. Without the lift, the optimiser of the exporter takes it for zero and
leaves it out."""
SLOTS = ("activity_logits", "class_logits", "distance_logits", "azimuth_logits", "elevation_logits")
HEADS = SLOTS[1:]


class Graph(nn.Module):
    """A Spatial-AST whose inputs and outputs are tensors alone."""

    def __init__(self, encoder: Any) -> None:
        """From a :class:`~bat_agent_spatial_ast.encoder.SpatialAST`, which stays as it is."""
        super().__init__()
        self.encoder = copy.deepcopy(encoder).eval().float().cpu()
        self.encoder.hear = PlainFeatures(self.encoder.logmel_extractor.melW)
        self.encoder.patch_embed = PlainPatches(self.encoder.patch_embed)
        for block in self.encoder.blocks:
            assert isinstance(block, Block)
            block.attn = PlainAttention(block.attn)  # type: ignore[assignment]
        fix_norms(self.encoder)
        config = encoder.config
        if config.symmetric and config.features == "mel+ipd":
            take_over(self.encoder)
        self.inputs: tuple[str, ...] = ("waveform", "level_known") if config.level == "token" else ("waveform",)
        said = [name for name in HEADS if config.has_head(name)]
        slots = [f"slots.{name}" for name in SLOTS if name not in HEADS or name in said] if config.num_slots > 1 else []
        masks = ["slots.masks"] if config.slot_summary else []
        self.outputs = ("tokens", *said, *slots, *masks)

    def forward(self, waveform: Float[Tensor, "B 2 N"], level_known: Tensor | None = None) -> tuple[Tensor, ...]:
        """Every output by its place in ``outputs``; ``level_known`` is 1.0 or 0.0, of shape (1,)."""
        if level_known is not None:
            self.encoder.level_known = level_known
        return named(self.encoder(waveform), self.outputs)


class FramedGraph(Graph):
    """The same of an encoder that hears log-mel and phase of both ears, which ``frames`` gives of the waveform.

    Of windows that overlap, frames that were heard before need not be computed again.
    """

    def __init__(self, encoder: Any) -> None:
        """As :class:`Graph`."""
        super().__init__(encoder)
        self.frames = Frames(self.encoder.hear, power=encoder.config.mel_of == "power")
        self.inputs = ("waveform", *self.frames.outputs, *self.inputs[1:])
        self.encoder._remembered = self._at_level
        self._known: tuple[Tensor, Tensor] | None = None

    def forward(  # type: ignore[override]
        self,
        waveform: Float[Tensor, "B 2 N"],
        mel: Float[Tensor, "B 2 T 128"],
        phase: Float[Tensor, "B 2 T 128"],
        level_known: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """As the whole graph; of the waveform only the level is heard."""
        return named(self.encoding(waveform, mel, phase, level_known), self.outputs)

    def encoding(self, waveform: Tensor, mel: Tensor, phase: Tensor, level_known: Tensor | None = None) -> Encoding:
        """The same before it is taken apart."""
        self._known = (mel, phase)
        if level_known is not None:
            self.encoder.level_known = level_known
        found: Encoding = self.encoder(waveform)
        return found

    def mask_graph(self) -> MaskGraph | None:
        """The masks that the encoder tells, as a graph of their own, which is computed where somebody asks for them."""
        return MaskGraph(self) if self.encoder.config.mask_channels else None

    def _at_level(self, sound: Tensor, gain: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mel bands and phase of clips times ``gain``."""
        assert self._known is not None
        mel, phase = self._known
        if gain is not None:
            mel = mel * (gain.square() if self.frames.power else gain)[:, None, None, None]
        return mel, phase


class MaskGraph(nn.Module):
    """From the waveform, its frames and the tokens of its encoding to the masks that an encoder tells."""

    outputs = ("masks",)

    def __init__(self, framed: FramedGraph) -> None:
        """Of the same encoder."""
        super().__init__()
        self.framed = framed
        self.inputs = ("waveform", *framed.frames.outputs, "tokens")
        self.fewest_tokens: int = framed.encoder.cls_tokens.shape[1]

    def forward(
        self,
        waveform: Float[Tensor, "B 2 N"],
        mel: Float[Tensor, "B 2 T 128"],
        phase: Float[Tensor, "B 2 T 128"],
        tokens: Float[Tensor, "B K D"],
    ) -> tuple[Float[Tensor, "B S R 128"]]:
        """As :meth:`~bat_agent_spatial_ast.encoder.SpatialAST.told_masks`; of the waveform only the level is heard."""
        self.framed._known = (mel, phase)
        found: Tensor = self.framed.encoder.told_masks(waveform, tokens)
        return (found,)


def named(encoding: Encoding, outputs: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Parts of an encoding by the names of a graph's outputs."""
    found = []
    for name in outputs:
        inside = name.startswith("slots.")
        found.append(getattr(encoding.slots if inside else encoding, name.removeprefix("slots.")))
    return tuple(found)


class PlainAttention(nn.Module):
    """:class:`~bat_agent_spatial_ast.transformer.Attention` with 1/√d in the weights of the queries."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.qkv, self.proj = attention.qkv, attention.proj
        width = attention.proj.in_features
        with torch.no_grad():
            for values in (self.qkv.weight, self.qkv.bias):
                values[:width] *= (width // self.heads) ** -0.5

    def forward(self, x: Float[Tensor, "B K D"], first: int | None = None) -> Float[Tensor, "B Q D"]:
        """As the attention."""
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1))
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
        query = query if first is None else query[:, :, :first]
        heard = (query @ key.transpose(-1, -2)).softmax(dim=-1) @ value
        return self.proj(heard.transpose(1, 2).flatten(2))


class FixedNorm(nn.Module):
    """A batch norm in evaluation: one factor and one summand for each channel."""

    factor: Tensor
    summand: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = (norm.running_var.double() + norm.eps).rsqrt()
        factor = factor if norm.weight is None else factor * norm.weight.detach()
        summand = -norm.running_mean * factor
        summand = summand if norm.bias is None else summand + norm.bias.detach()
        shape = (-1, 1, 1) if isinstance(norm, nn.BatchNorm2d) else (-1,)
        self.register_buffer("factor", factor.float().view(shape))
        self.register_buffer("summand", summand.float().view(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Channels on the second axis."""
        return x * self.factor + self.summand


class PlainPatches(nn.Module):
    """A patch embedding whose weight already is the matrix that the product is with."""

    def __init__(self, embed: PatchEmbed) -> None:
        super().__init__()
        self.patch = embed.patch
        assert embed.proj.bias is not None
        weight = embed.proj.weight.detach().flatten(1)
        self.proj = nn.Linear(weight.shape[1], weight.shape[0])
        self.proj.load_state_dict({"weight": weight, "bias": embed.proj.bias.detach()})

    def forward(self, maps: Float[Tensor, "B C T M"]) -> Float[Tensor, "B P D"]:
        """As :class:`~bat_agent_spatial_ast.transformer.PatchEmbed`."""
        return self.proj(cut_patches(maps, *self.patch))


def fix_norms(module: nn.Module) -> None:
    """Put fixed norms in place of those of a module in evaluation."""
    for name, part in module.named_children():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, FixedNorm(part))
        else:
            fix_norms(part)


class PlainFeatures(nn.Module):
    """:func:`bat_agent.sound.features.mel_and_phase` in real numbers and matrix products."""

    filters: Tensor

    def __init__(self, filters: Float[Tensor, "513 128"]) -> None:
        super().__init__()
        self.stft = PlainSTFT(LIFT)
        self.register_buffer("filters", filters[self.stft.bins].float())

    def forward(
        self, waveform: Float[Tensor, "B 2 N"], filters: Float[Tensor, "_ 128"], power: bool = False
    ) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 2 T 128"]]:
        """As the function; the ``filters`` are those that it was made with."""
        real, minus = self.stft(waveform)
        real = real + FAINTEST
        squared = real * real + minus * minus
        magnitude = squared.sqrt()
        mel = (squared if power else magnitude) @ self.filters
        (real_left, real_right), (minus_left, minus_right) = real.unbind(1), minus.unbind(1)
        both = magnitude[:, 0] * magnitude[:, 1]
        cosine = (real_right * real_left + minus_right * minus_left) / both
        sine = (real_right * minus_left - minus_right * real_left) / both
        phase = torch.stack((cosine @ self.filters, sine @ self.filters), dim=1)
        return mel * (LIFT**-2 if power else LIFT**-1), phase


class Frames(nn.Module):
    """What the front end makes of each frame by itself, at the level as it came."""

    outputs = ("mel", "phase")
    hop = features.HOP
    """Samples from one frame to the next."""
    reach = features.N_FFT // 2
    """How many samples before and after its middle a frame sees; at the edges of a clip they are mirrored."""

    def __init__(self, hear: PlainFeatures, power: bool) -> None:
        super().__init__()
        self.hear, self.power = hear, power

    def forward(self, waveform: Float[Tensor, "B 2 N"]) -> tuple[Tensor, ...]:
        """(B, 2, T, 128) each, T = N // hop + 1."""
        found: tuple[Tensor, ...] = self.hear(waveform, self.hear.filters, self.power)
        return found
