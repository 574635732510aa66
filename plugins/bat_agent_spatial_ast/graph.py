"""Spatial-AST as a graph of plain operators, for :func:`torch.onnx.export`: the same numbers, without complex ones.

ONNX has no fast STFT that runtimes compute fast. Here it is a 32 x 32 Cooley-Tukey transform, each half of it one
matrix product. With sample n = 32·h + l of 1024 and bin k = k1 + 32·k2,

    X(k) = Σ_l exp(−2πi·l·k2/32) · exp(−2πi·l·k1/1024) · Σ_h w(n)·x(n)·exp(−2πi·h·k1/32).

Only the bins below 14 kHz, which a mel band uses, are computed, in the order (k1, k2), and the mel filters are put in
that order too.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.sound import features
from bat_agent_spatial_ast.transformer import Attention, Block, PatchEmbed, cut_patches

HALF = 32
"""The transform is HALF · HALF samples long."""
OUTER = math.ceil(features.mel_support()[1] / HALF)
"""Values of k2 that are needed: 14, bins up to 448."""
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
        _fix_norms(self.encoder)
        config = encoder.config
        self.inputs = ("waveform", "level_known") if config.level == "token" else ("waveform",)
        said = [name for name in HEADS if config.has_head(name)]
        slots = [f"slots.{name}" for name in SLOTS if name not in HEADS or name in said] if config.num_slots > 1 else []
        self.outputs = ("tokens", *said, *slots)

    def forward(self, waveform: Float[Tensor, "B 2 N"], level_known: Tensor | None = None) -> tuple[Tensor, ...]:
        """Every output by its place in ``outputs``; ``level_known`` is 1.0 or 0.0, of shape (1,)."""
        if level_known is not None:
            self.encoder.level_known = level_known
        encoding = self.encoder(waveform)
        found = []
        for name in self.outputs:
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


def _fix_norms(module: nn.Module) -> None:
    for name, part in module.named_children():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, FixedNorm(part))
        else:
            _fix_norms(part)


class PlainFeatures(nn.Module):
    """:func:`bat_agent.sound.features.binaural_features` in real numbers and matrix products."""

    filters: Tensor
    window: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, filters: Float[Tensor, "513 128"]) -> None:
        super().__init__()
        index = torch.arange(HALF, dtype=torch.float64)
        turn = torch.outer(index, index) * (2 * torch.pi / HALF)
        twist = torch.outer(index, index) * (2 * torch.pi / features.N_FFT)
        # exp(−i·angle) of real samples is a cosine, less i times a sine; the latter's sign is kept out of all that
        # follows. Cosines and sines of h and k1 are one matrix:
        self._keep("first", torch.cat((turn.cos(), turn.sin())))  # (2·k1, h)
        # of l and k2 with the twiddle factors in them, for each k1 and for what is cosine and sine so far, another.
        angle = twist.T[:, :, None] + turn[:, :OUTER]  # (k1, l, k2)
        of_cosine = torch.cat((angle.cos(), angle.sin()), dim=2)
        of_sine = torch.cat((-angle.sin(), angle.cos()), dim=2)
        self._keep("second", torch.cat((of_cosine, of_sine)))  # (2·k1, l, 2·k2)
        self._keep("window", LIFT * features.hann_window().double().view(HALF, 1, HALF))
        self._keep("filters", filters[(torch.arange(HALF)[:, None] + HALF * torch.arange(OUTER)).flatten()])

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.float())

    def forward(
        self, waveform: Float[Tensor, "B 2 N"], filters: Float[Tensor, "513 128"], power: bool = False
    ) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 2 T 128"]]:
        """As the function; the ``filters`` are those that it was made with."""
        filters = self.filters
        real, minus = self._stft(waveform)
        squared = real * real + minus * minus
        magnitude = squared.sqrt()
        mel = (squared if power else magnitude) @ filters
        (real_left, real_right), (minus_left, minus_right) = real.unbind(1), minus.unbind(1)
        both = magnitude[:, 0] * magnitude[:, 1]
        cosine = (real_right * real_left + minus_right * minus_left) / both
        sine = (real_right * minus_left - minus_right * real_left) / both
        lift = LIFT**2 if power else LIFT
        decibel = 10.0 * torch.log10(mel.clamp(min=features.LOG_FLOOR * lift)) - 10.0 * math.log10(lift)
        return decibel, torch.stack((cosine @ filters, sine @ filters), dim=1)

    def _stft(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2, T, 448) real parts, and imaginary ones with their sign changed; bins in the order (k1, k2), lifted."""
        batch, ears, samples = waveform.shape
        half = features.N_FFT // 2
        padded = F.pad(waveform, (half, half), mode="reflect")
        frames, step = samples // features.HOP + 1, features.HOP // HALF
        rows = padded.narrow(2, 0, ((frames - 1) * step + HALF) * HALF).reshape(batch * ears, -1, HALF)
        here = torch.arange(HALF)[:, None] + torch.arange(frames, device=waveform.device) * step
        cut = rows.index_select(1, here.flatten()).reshape(-1, HALF, frames, HALF) * self.window  # (B·2, h, T, l)
        halfway = (self.first @ cut.flatten(2)).reshape(-1, 2 * HALF, frames, HALF)
        done = (halfway @ self.second).reshape(-1, 2, HALF, frames, 2 * OUTER).sum(dim=1)  # (B·2, k1, T, 2·k2)
        done = done.transpose(1, 2).reshape(batch, ears, frames, HALF, 2 * OUTER)
        return done[..., :OUTER].flatten(3) + FAINTEST, done[..., OUTER:].flatten(3)
