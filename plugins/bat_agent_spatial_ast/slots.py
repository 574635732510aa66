"""Where each of several sources is: interaural summaries of the parts of the spectrogram that belong to one slot.

The summary of a whole clip mixes its sources. Here every slot claims bands of every patch, softly and against the other
slots, and the means of :mod:`bat_agent_spatial_ast.summary` are taken over what it claims. What they say is read by a
network of its own, whose last layer starts at zero, so that an encoder that is given this part hears at first exactly
what it heard without. With binaural claims it is the network that reads the summary of the whole clip: a slot that
claims everything then hears just that, and what clips with one source teach about direction holds for each of several
at once. The cues in each band then also take part in who claims it, as in masking by direction (DUET; Yilmaz and
Rickard, 2004): a token of 80 ms and all bands has no room for them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.features import NUM_MELS
from bat_agent_spatial_ast.summary import QUANTITIES, interaural, scaled
from bat_agent_spatial_ast.summary import WEIGHTINGS as ALL_WEIGHTINGS

FACTORS = 8
WEIGHTINGS = 2
CELL_HIDDEN, CELL_FACTORS = 32, 16


class SlotSummary(nn.Module):
    """Adds to the tokens of each slot what the bands it claims say of direction and distance."""

    def __init__(
        self, width: int, hidden: int, patch_frames: int, patch_mels: int = NUM_MELS, binaural: bool = False
    ) -> None:
        super().__init__()
        self.weightings = ALL_WEIGHTINGS if binaural else WEIGHTINGS
        self.patch_frames, self.patch_mels = patch_frames, patch_mels
        self.patch_norm = nn.LayerNorm(width)
        self.patch_factors = nn.Linear(width, patch_mels * FACTORS)
        self.slot_norm = nn.LayerNorm(width)
        self.slot_factors = nn.Linear(width, NUM_MELS * FACTORS)
        self.cells = _Cells(width, patch_frames) if binaural else None
        self.mlp = (
            None
            if binaural
            else nn.Sequential(
                nn.Linear(WEIGHTINGS * QUANTITIES * NUM_MELS, hidden), nn.GELU(), nn.Linear(hidden, width)
            )
        )

    def reset(self) -> None:
        """First values that make the part silent, or its cues audible; after the encoder initialised its layers."""
        if self.cells is not None:
            for layer in (self.cells.cues, self.cells.cell_factors, self.cells.slot_factors):
                layer.reset_parameters()
        if self.mlp is None:
            return
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)

    def forward(
        self,
        slots: Float[Tensor, "B S D"],
        patches: Float[Tensor, "B P D"],
        mel: Float[Tensor, "B 2 T 128"],
        phase: Float[Tensor, "B 2 T 128"],
        reads: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Float[Tensor, "B S D"], Float[Tensor, "B S R 128"]]:
        """What to add to each slot, and what it claims; ``slots`` are the class tokens, ``patches`` in time order.

        ``reads`` is the network of the whole clip's summary, for slots that share it.
        """
        masks = self.masks(slots, patches, None if self.cells is None else self.cells(slots, mel, phase))
        reads = self.mlp or reads
        assert reads is not None
        return reads(self.means(masks, mel, phase)), masks

    def means(
        self,
        masks: Float[Tensor, "B S R 128"],
        mel: Float[Tensor, "B 2 T 128"],
        phase: Float[Tensor, "B 2 T 128"],
    ) -> Float[Tensor, "B S V"]:
        """Weighted means of the four quantities over what each slot claims, V = weightings · quantities · 128."""
        frames = min(masks.shape[2] * self.patch_frames, mel.shape[2])
        with torch.autocast(mel.device.type, enabled=False):
            weights, quantities = interaural(mel[:, :, :frames], phase[:, :, :frames])
            share = masks.float().repeat_interleave(self.patch_frames, dim=2)[:, :, :frames]
            claimed = weights[:, None, : self.weightings] * share[:, :, None]
            means = torch.einsum("bswtm,bqtm->bswqm", claimed, quantities)
            return scaled(means / (claimed.sum(dim=3)[:, :, :, None] + 1e-4)).flatten(2)

    def masks(
        self,
        slots: Float[Tensor, "B S D"],
        patches: Float[Tensor, "B P D"],
        cells: Float[Tensor, "B S R 128"] | None = None,
    ) -> Float[Tensor, "B S R 128"]:
        """Share of each slot in each band of each row of patches (one time); the shares of all slots sum to 1.

        ``cells`` is what else speaks for a slot.
        """
        here = self.patch_factors(self.patch_norm(patches)).unflatten(-1, (self.patch_mels, FACTORS))
        here = here.unflatten(1, (-1, NUM_MELS // self.patch_mels)).flatten(2, 3)
        wanted = self.slot_factors(self.slot_norm(slots)).unflatten(-1, (NUM_MELS, FACTORS))
        claims = torch.einsum("bpmf,bsmf->bspm", here, wanted)
        return (claims if cells is None else claims + cells).softmax(dim=1)


class _Cells(nn.Module):
    """How well the interaural cues in each band and row of patches fit each slot."""

    def __init__(self, width: int, patch_frames: int) -> None:
        super().__init__()
        self.patch_frames = patch_frames
        self.cues = nn.Linear(QUANTITIES, CELL_HIDDEN)
        self.band = nn.Parameter(0.5 * torch.randn(NUM_MELS, CELL_HIDDEN))
        self.cell_factors = nn.Linear(CELL_HIDDEN, CELL_FACTORS)
        self.norm = nn.LayerNorm(width)
        self.slot_factors = nn.Linear(width, CELL_FACTORS)

    def forward(
        self, slots: Float[Tensor, "B S D"], mel: Float[Tensor, "B 2 T 128"], phase: Float[Tensor, "B 2 T 128"]
    ) -> Float[Tensor, "B S R 128"]:
        rows = max(mel.shape[2] // self.patch_frames, 1)
        frames = min(rows * self.patch_frames, mel.shape[2])
        with torch.autocast(mel.device.type, enabled=False):
            weights, quantities = interaural(mel[:, :, :frames], phase[:, :, :frames])
            energy = weights[:, :1].unflatten(2, (rows, -1))
            means = (quantities.unflatten(2, (rows, -1)) * energy).sum(dim=3) / (energy.sum(dim=3) + 1e-7)
            cues = scaled(means.transpose(1, 2)).movedim(2, -1)
        here = self.cell_factors(torch.nn.functional.gelu(self.cues(cues) + self.band))
        return torch.einsum("brmc,bsc->bsrm", here, self.slot_factors(self.norm(slots)))
