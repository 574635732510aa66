"""The STFT of :mod:`.graph`: 1024 points as two products with 32 x 32 matrices, in real numbers.

With sample n = 32·h + l of 1024 and bin k = k1 + 32·k2,

    X(k) = Σ_l exp(−2πi·l·k/1024) · Σ_h w(n)·x(n)·exp(−2πi·h·k1/32).

Samples are real, so the inner sum of 32 − k1 is the conjugate of that of k1: each is computed once, and serves both.
Only the bins below 14 kHz, which a mel band uses, are computed; their order is that in which they fall out.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.sound import features

HALF = 32
"""The transform is HALF · HALF samples long."""
OUTER = math.ceil(features.mel_support()[1] / HALF)
"""Values of k2 that are needed: 14, bins up to 448."""
GROUPS = HALF // 2
"""Pairs of k1 that share their inner sums: (0, 16), whose sums are real, and (g, 32 − g)."""
STEP = features.HOP // HALF


class PlainSTFT(nn.Module):
    """Real parts and negated imaginary parts, ``scale`` times what they are (a power of two changes no digit)."""

    window: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        pairs = [(0, GROUPS), *((k1, HALF - k1) for k1 in range(1, GROUPS))]
        self.bins = torch.tensor([k1 + HALF * k2 for pair in pairs for k1 in pair for k2 in range(OUTER)])
        """The bin at each of the 448 places."""
        index = torch.arange(HALF, dtype=torch.float64)
        turn = torch.outer(index, index) * (2 * torch.pi / HALF)
        # Two real sums for each pair; the sine's sign is kept out of all that follows.
        inner = [turn[0].cos(), turn[GROUPS].cos()]
        for k1 in range(1, GROUPS):
            inner += [turn[k1].cos(), turn[k1].sin()]
        self._keep("window", scale * features.hann_window().double())
        self._keep("first", torch.stack(inner))  # (2·GROUPS, h)
        self._keep("second", torch.stack([_outer(*pair) for pair in pairs]))  # (GROUPS, 2·l, 4·k2)

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.float())

    def forward(self, waveform: Float[Tensor, "B 2 N"]) -> tuple[Float[Tensor, "B 2 T K"], Float[Tensor, "B 2 T K"]]:
        """Bins in the order of ``bins``."""
        batch, ears, samples = waveform.shape
        padded = F.pad(waveform, (features.N_FFT // 2, features.N_FFT // 2), mode="reflect")
        frames = samples // features.HOP + 1
        rows = padded.narrow(2, 0, ((frames - 1) * STEP + HALF) * HALF).reshape(batch * ears, -1, HALF)
        here = torch.arange(frames, device=waveform.device)[:, None] * STEP + torch.arange(HALF)
        cut = rows.index_select(1, here.flatten()).reshape(-1, features.N_FFT) * self.window  # (B·2·T, n)
        half = (self.first @ cut.unflatten(1, (HALF, HALF))).reshape(-1, GROUPS, 2 * HALF)
        done = half.transpose(0, 1) @ self.second  # (GROUPS, B·2·T, 4·k2)
        done = done.unflatten(2, (2, 2 * OUTER)).permute(2, 1, 0, 3).reshape(2, batch, ears, frames, -1)
        return done[0], done[1]


def _outer(one: int, other: int) -> Float[Tensor, "64 56"]:
    """From the two inner sums of a pair to both of its k1: real parts of one and the other, then negated imaginary."""
    parts = []
    for first, k1 in ((True, one), (False, other)):
        index = torch.arange(HALF, dtype=torch.float64)[:, None]
        angle = index * (k1 / features.N_FFT + torch.arange(OUTER) / HALF) * (2 * torch.pi)
        cosine, sine = angle.cos(), angle.sin()
        if one == 0:  # each has a sum of its own
            nothing = torch.zeros_like(cosine)
            real, minus = ((p, nothing) if first else (nothing, p) for p in (cosine, sine))
        else:  # the other's sine is that of the one with its sign changed
            real, minus = ((cosine, -sine), (sine, cosine)) if first else ((cosine, sine), (sine, -cosine))
        parts.append((torch.cat(real), torch.cat(minus)))
    return torch.cat([part[kind] for kind in (0, 1) for part in parts], dim=1)
