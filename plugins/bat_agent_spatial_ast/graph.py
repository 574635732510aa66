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

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.sound import features
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.transformer import PatchEmbed, cut_patches

HALF = 32
"""The transform is HALF · HALF samples long."""
OUTER = math.ceil(features.mel_support()[1] / HALF)
"""Values of k2 that are needed: 14, bins up to 448."""
FAINTEST = 1e-18
"""Added to the real part of every bin, −360 dB: a bin that is exactly zero has the phase 0 by convention, and no
magnitude that something is divided by is zero, nor is its square too small for float32."""
SLOTS = ("activity_logits", "class_logits", "distance_logits", "azimuth_logits", "elevation_logits")
HEADS = SLOTS[1:]


class Graph(nn.Module):
    """A Spatial-AST whose inputs and outputs are tensors alone; see :meth:`SpatialAST.graph`."""

    def __init__(self, encoder: SpatialAST) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).eval().float().cpu()
        self.encoder.hear = PlainFeatures(self.encoder.logmel_extractor.melW)
        self.encoder.patch_embed = PlainPatches(self.encoder.patch_embed)
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


class FixedNorm(nn.Module):
    """A batch norm in evaluation: one factor and one summand for each channel."""

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
    cos_first: Tensor
    sin_first: Tensor
    cos_twist: Tensor
    sin_twist: Tensor
    cos_second: Tensor
    sin_second: Tensor

    def __init__(self, filters: Float[Tensor, "513 128"]) -> None:
        super().__init__()
        index = torch.arange(HALF, dtype=torch.float64)
        turn = torch.outer(index, index) * (2 * torch.pi / HALF)
        twist = torch.outer(index, index) * (2 * torch.pi / features.N_FFT)
        self._keep("window", features.hann_window().double().view(HALF, HALF))
        for name, angle in (("first", turn), ("twist", twist), ("second", turn[:, :OUTER])):
            self._keep(f"cos_{name}", angle.cos())
            self._keep(f"sin_{name}", angle.sin())
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
        decibel = 10.0 * torch.log10(mel.clamp(min=features.LOG_FLOOR))
        return decibel, torch.stack((cosine @ filters, sine @ filters), dim=1)

    def _stft(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2, T, 448) real parts, and imaginary ones with their sign changed; bins in the order (k1, k2)."""
        batch, ears, samples = waveform.shape
        half = features.N_FFT // 2
        padded = F.pad(waveform, (half, half), mode="reflect")
        frames, step = samples // features.HOP + 1, features.HOP // HALF
        rows = padded.narrow(2, 0, ((frames - 1) * step + HALF) * HALF).reshape(batch * ears, -1, HALF)
        here = torch.arange(frames, device=waveform.device)[:, None] * step + torch.arange(HALF)
        cut = rows.index_select(1, here.flatten()).reshape(-1, HALF, HALF) * self.window  # (frames of all, h, l)
        real, minus = self.cos_first @ cut, self.sin_first @ cut  # (…, k1, l)
        turned_real = (real * self.cos_twist - minus * self.sin_twist).flatten(0, 1)
        turned_minus = (real * self.sin_twist + minus * self.cos_twist).flatten(0, 1)
        shape = (batch, ears, frames, HALF * OUTER)
        done_real = turned_real @ self.cos_second - turned_minus @ self.sin_second
        done_minus = turned_real @ self.sin_second + turned_minus @ self.cos_second
        return done_real.reshape(shape) + FAINTEST, done_minus.reshape(shape)
