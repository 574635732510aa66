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

HALF = 32
"""The transform is HALF · HALF samples long."""
OUTER = math.ceil(features.mel_support()[1] / HALF)
"""Values of k2 that are needed: 14, bins up to 448."""
FAINTEST = 1e-30
"""A power below it counts as silent: its phase is 0 by convention, as that of a bin that is exactly zero."""
SLOTS = ("activity_logits", "class_logits", "distance_logits", "azimuth_logits", "elevation_logits")
HEADS = SLOTS[1:]


class Graph(nn.Module):
    """A Spatial-AST whose inputs and outputs are tensors alone; see :meth:`SpatialAST.graph`."""

    def __init__(self, encoder: SpatialAST) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).eval().float().cpu()
        self.encoder.hear = PlainFeatures()
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


def _fix_norms(module: nn.Module) -> None:
    for name, part in module.named_children():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, FixedNorm(part))
        else:
            _fix_norms(part)


class PlainFeatures(nn.Module):
    """:func:`bat_agent.sound.features.binaural_features` in real numbers and matrix products."""

    window: Tensor
    first: Tensor
    twist_cos: Tensor
    twist_sin: Tensor
    second: Tensor

    def __init__(self) -> None:
        super().__init__()
        index = torch.arange(HALF, dtype=torch.float64)
        turn = torch.outer(index, index) * (2 * torch.pi / HALF)
        twist = torch.outer(index, index) * (2 * torch.pi / features.N_FFT)
        cos, sin = turn.cos()[:, :OUTER], turn.sin()[:, :OUTER]
        self._keep("window", features.hann_window().double().view(HALF, HALF))
        self._keep("first", torch.cat((turn.cos(), -turn.sin())))
        self._keep("twist_cos", twist.cos())
        self._keep("twist_sin", twist.sin())
        self._keep("second", torch.stack((torch.cat((cos, -sin), dim=1), torch.cat((sin, cos), dim=1))))
        self.bins = (torch.arange(HALF)[:, None] + HALF * torch.arange(OUTER)).flatten()

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.float())

    def forward(
        self, waveform: Float[Tensor, "B 2 N"], filters: Float[Tensor, "513 128"], power: bool = False
    ) -> tuple[Float[Tensor, "B 2 T 128"], Float[Tensor, "B 2 T 128"]]:
        """As the function."""
        filters = filters[self.bins]
        real, imag = self._stft(waveform)
        squared = real * real + imag * imag
        mel = (squared if power else squared.sqrt()) @ filters
        silent = squared < FAINTEST
        inverse = torch.where(silent, 1.0, squared).rsqrt()
        real, imag = torch.where(silent, 1.0, real * inverse), torch.where(silent, 0.0, imag * inverse)
        cosine = real[:, 1] * real[:, 0] + imag[:, 1] * imag[:, 0]
        sine = imag[:, 1] * real[:, 0] - real[:, 1] * imag[:, 0]
        decibel = 10.0 * torch.log10(mel.clamp(min=features.LOG_FLOOR))
        return decibel, torch.stack((cosine, sine), dim=1) @ filters

    def _stft(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2, T, 448) real and imaginary parts, bins in the order (k1, k2)."""
        batch, ears, samples = waveform.shape
        half = features.N_FFT // 2
        padded = F.pad(waveform, (half, half), mode="reflect")
        frames, step = samples // features.HOP + 1, features.HOP // HALF
        rows = padded[..., : ((frames - 1) * step + HALF) * HALF].reshape(batch * ears, -1, HALF)
        here = torch.arange(frames, device=waveform.device)[:, None] * step + torch.arange(HALF)
        cut = (rows[:, here] * self.window).flatten(0, 1)  # (frames of all, h, l)
        halfway = self.first @ cut
        real, imag = halfway[:, :HALF], halfway[:, HALF:]  # (…, k1, l)
        turned = real * self.twist_cos + imag * self.twist_sin, imag * self.twist_cos - real * self.twist_sin
        done = turned[0].reshape(-1, HALF) @ self.second[0] + turned[1].reshape(-1, HALF) @ self.second[1]
        done = done.reshape(batch, ears, frames, HALF, 2 * OUTER)
        return done[..., :OUTER].flatten(3), done[..., OUTER:].flatten(3)
