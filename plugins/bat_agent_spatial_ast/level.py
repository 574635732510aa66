"""Level apart from everything else: with it, distance is heard as BAT hears it; without, from reverberation and colour.

BAT's log-mel maps carry the absolute level, and distance is read from it, which an uncalibrated recording does not
allow. Here every clip is brought to one level first. What the level was enters as one vector on the distance tokens, or
a learnt "unknown" in its place, so that one encoder serves calibrated and uncalibrated recordings.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.training.helpers import clip_rand

REFERENCE_DBFS = -30.0
SCALE_DB = 20.0
POWERS = 3


def to_reference(waveform: Float[Tensor, "B 2 N"]) -> tuple[Float[Tensor, "B 2 N"], Float[Tensor, " B"]]:
    """Clips at −30 dBFS (RMS of both ears together; silence stays as it is), and their level in dBFS before."""
    gain, level_dbfs = reference_gain(waveform)
    return waveform * gain[:, None, None], level_dbfs


def reference_gain(waveform: Float[Tensor, "B 2 N"]) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """What brings clips to −30 dBFS, and their level in dBFS."""
    power = (waveform * waveform).mean(dim=(1, 2))
    level_dbfs = 10 * torch.log10(power.clamp(min=1e-12))
    return torch.where(power > 0, 10 ** ((REFERENCE_DBFS - level_dbfs) / 20), 1.0), level_dbfs


class LevelToken(nn.Module):
    """What a clip's level adds to its distance tokens."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.known = nn.Linear(POWERS, width)
        self.unknown = nn.Parameter(torch.zeros(width))

    def forward(self, level_dbfs: Float[Tensor, " B"], known: bool | Tensor) -> Float[Tensor, "B D"]:
        """The vector of each clip; in training the level of a share ``dropout`` of the clips is unknown.

        A tensor (1,) of 1.0 or 0.0 says whether it is ``known`` in a graph that is exported.
        """
        steps = ((level_dbfs - REFERENCE_DBFS) / SCALE_DB)[:, None]
        said = self.known(torch.cat([steps**power for power in range(1, POWERS + 1)], dim=1))
        if isinstance(known, Tensor):
            return torch.lerp(self.unknown.expand_as(said), said, known)
        if not known:
            return self.unknown.expand_as(said)
        if self.training and self.dropout:
            hidden = clip_rand(len(level_dbfs), 1, device=level_dbfs.device) < self.dropout
            said = torch.where(hidden, self.unknown, said)
        return said
