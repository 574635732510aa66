"""AdaCos (arXiv 1905.00292): a head of cosines whose scale follows the training."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bat_agent.training.helpers import world_size


class AdaCos(nn.Module):
    """Cosines between a token and one row of ``W`` for each bin; for the loss they are multiplied by the scale ``s``.

    Key names are those of DSpAST's released files, the constant ``pi`` included.
    """

    s: Tensor
    pi: Tensor

    def __init__(self, width: int, num_bins: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(num_bins, width))
        nn.init.xavier_uniform_(self.W)
        self.register_buffer("s", torch.full((1,), max(math.sqrt(2) * math.log(num_bins - 1), 0.5)))
        self.register_buffer("pi", torch.full((1,), math.pi))

    def forward(self, token: Float[Tensor, "B D"]) -> Float[Tensor, "B bins"]:
        """Cosines in −1 … 1, without the scale; float32, also under autocast, for s multiplies their rounding."""
        with torch.autocast(token.device.type, enabled=False):
            return F.linear(F.normalize(token.float(), dim=1), F.normalize(self.W.float(), dim=1))

    @torch.no_grad()
    def adapt(self, cosines: Float[Tensor, "B bins"], target: Int[Tensor, " B"], counted: Bool[Tensor, " B"]) -> None:
        """Set the scale from a batch: s ← log(B_avg) / cos(min(π/4, median θ)).

        θ is the angle between a clip's token and its true bin, B_avg the mean over clips of Σ exp(s·cos) over the
        bins, the true one counted as exp(0), as DSpAST's code has it (the paper leaves it out: a difference of 1 among
        C − 1). Clips not ``counted`` have no say; without any, s stays. Of several processes, all clips are taken.
        """
        true = cosines.gather(1, target[:, None]).squeeze(1)
        others = torch.where(
            F.one_hot(target, cosines.shape[1]).bool(), torch.zeros_like(cosines), self.s * cosines
        ).logsumexp(dim=1)
        angle = torch.where(counted, true.clamp(-1, 1).acos(), math.nan)
        log_sum = torch.where(counted, others, -math.inf)
        if world_size() > 1:
            angle, log_sum = _from_all(angle), _from_all(log_sum)
        clips = angle.isfinite().sum().clamp(min=1)
        log_mean = log_sum.logsumexp(dim=0) - clips.log()
        scale = log_mean / self.pi.div(4).minimum(angle.nanmedian()).cos()
        self.s.copy_(torch.where(scale.isfinite(), scale, self.s))


def _from_all(values: Tensor) -> Tensor:
    """Values of all processes in one row; shares may differ in length by what the last clips leave over."""
    sizes = [torch.zeros((), dtype=torch.int64, device=values.device) for _ in range(world_size())]
    torch.distributed.all_gather(sizes, torch.tensor(len(values), device=values.device))
    longest = int(torch.stack(sizes).max())
    padded = F.pad(values, (0, longest - len(values)))
    rows = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(rows, padded)
    return torch.cat([row[: int(size)] for row, size in zip(rows, sizes, strict=True)])
