"""Which parts of the spectrogram belong to each slot, told by a network of its own.

The masks under which places are read (:mod:`.slots`) come from tokens of the transformer alone, which know little of
single bands, and were learnt from heads that stand still. Here the interaural means of every band in every patch row
speak as well, and the network learns from heads that turn and walk (``scripts/train_masks.py``), while all else stays
as it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.sound.features import NUM_MELS
from bat_agent_spatial_ast.slots import FACTORS

AUDIBLE, DIRECT = 2, 5
"""The weightings of :func:`~bat_agent_spatial_ast.summary.row_sums` that are looked at: audible frames, and of these
what is louder than all of the tenth of a second before."""
INPUTS = 10
"""Four means and the logarithm of the weights, of both."""
SLOT_RANK = 32
"""What a slot is after, in so many numbers: a matrix from all of its token would be as large as the rest together."""
_FAINTEST = 1e-3


class SlotMasks(nn.Module):
    """Shares of the slots in each band of each patch row; convolutions look at bands and rows around."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(INPUTS)
        self.first = nn.Conv2d(INPUTS, channels, 3, padding=1)
        self.second, self.third = _around(channels, (3, 5)), _around(channels, (3, 7))
        self.patch_norm = nn.LayerNorm(width)
        self.patch_factors = nn.Linear(width, NUM_MELS * FACTORS)
        self.slot_norm = nn.LayerNorm(width)
        self.slot_factors = nn.Sequential(
            nn.Linear(width, SLOT_RANK), nn.Linear(SLOT_RANK, (channels + FACTORS) * NUM_MELS)
        )

    def forward(
        self, inputs: Float[Tensor, "B 10 R 128"], slots: Float[Tensor, "B S D"], patches: Float[Tensor, "B R D"]
    ) -> Float[Tensor, "B S R 128"]:
        """Shares, which sum to 1 over the slots, from :meth:`inputs`, the class tokens of the slots, and the patches.

        Each patch spans all bands.
        """
        seen = F.gelu(self.first(self.norm(inputs)))
        for layer in (self.second, self.third):
            seen = seen + F.gelu(layer(seen))
        told = self.patch_factors(self.patch_norm(patches)).unflatten(-1, (NUM_MELS, FACTORS)).permute(0, 3, 1, 2)
        here = torch.cat((seen, told), dim=1)
        wanted = self.slot_factors(self.slot_norm(slots)).unflatten(-1, (-1, NUM_MELS))
        if torch.compiler.is_exporting():  # other runtimes are many times slower at the einsum
            shares = (here[:, None] * wanted[:, :, :, None]).sum(dim=2)
            shares = torch.exp(shares - shares.amax(dim=1, keepdim=True))
            return shares / shares.sum(dim=1, keepdim=True)
        return torch.einsum("bfrm,bsfm->bsrm", here, wanted).softmax(dim=1)

    @staticmethod
    def inputs(sums: Float[Tensor, "B W 5 rows 128"], rows: int) -> Float[Tensor, "B 10 R 128"]:
        """What is heard in the first ``rows`` rows, from :func:`~bat_agent_spatial_ast.summary.row_sums`."""
        heard = sums.narrow(3, 0, rows)
        parts = []
        for weighting in (AUDIBLE, DIRECT):
            of_it = heard[:, weighting]
            means = of_it[:, :-1] / (of_it[:, -1:] + _FAINTEST)
            parts += [means, (of_it[:, -1:] + _FAINTEST).log()]
        return torch.cat(parts, dim=1)


def _around(channels: int, size: tuple[int, int]) -> nn.Sequential:
    """A convolution of each channel by itself, then of all in one place (Howard et al., 2017)."""
    padding = (size[0] // 2, size[1] // 2)
    each = nn.Conv2d(channels, channels, size, padding=padding, groups=channels)
    return nn.Sequential(each, nn.Conv2d(channels, channels, 1))
