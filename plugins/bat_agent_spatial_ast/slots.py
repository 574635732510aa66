"""Where each of several sources is: interaural summaries of the parts of the spectrogram that belong to one slot.

The summary of a whole clip mixes its sources. Here every slot claims bands of every patch, softly and against the other
slots, and the means of :mod:`bat_agent_spatial_ast.summary` are taken over what it claims. The last layer starts at
zero, so that an encoder that is given this part hears at first exactly what it heard without.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.features import NUM_MELS
from bat_agent_spatial_ast.summary import QUANTITIES, interaural, scaled

FACTORS = 8
WEIGHTINGS = 2


class SlotSummary(nn.Module):
    """Adds to the tokens of each slot what the bands it claims say of direction and distance."""

    def __init__(self, width: int, hidden: int, patch_frames: int, patch_mels: int = NUM_MELS) -> None:
        super().__init__()
        self.patch_frames, self.patch_mels = patch_frames, patch_mels
        self.patch_norm = nn.LayerNorm(width)
        self.patch_factors = nn.Linear(width, patch_mels * FACTORS)
        self.slot_norm = nn.LayerNorm(width)
        self.slot_factors = nn.Linear(width, NUM_MELS * FACTORS)
        self.mlp = nn.Sequential(
            nn.Linear(WEIGHTINGS * QUANTITIES * NUM_MELS, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def reset(self) -> None:
        """Make the part silent: called after the encoder initialised its linear layers."""
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)

    def forward(
        self,
        slots: Float[Tensor, "B S D"],
        patches: Float[Tensor, "B P D"],
        mel: Float[Tensor, "B 2 T 128"],
        phase: Float[Tensor, "B 2 T 128"],
    ) -> tuple[Float[Tensor, "B S D"], Float[Tensor, "B S R 128"]]:
        """What to add to each slot, and what it claims; ``slots`` are the class tokens, ``patches`` in time order."""
        masks = self.masks(slots, patches)
        return self.mlp(self.means(masks, mel, phase)), masks

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
            claimed = weights[:, None, :WEIGHTINGS] * share[:, :, None]
            means = torch.einsum("bswtm,bqtm->bswqm", claimed, quantities)
            return scaled(means / (claimed.sum(dim=3)[:, :, :, None] + 1e-4)).flatten(2)

    def masks(self, slots: Float[Tensor, "B S D"], patches: Float[Tensor, "B P D"]) -> Float[Tensor, "B S R 128"]:
        """Share of each slot in each band of each row of patches (one time); the shares of all slots sum to 1."""
        here = self.patch_factors(self.patch_norm(patches)).unflatten(-1, (self.patch_mels, FACTORS))
        here = here.unflatten(1, (-1, NUM_MELS // self.patch_mels)).flatten(2, 3)
        wanted = self.slot_factors(self.slot_norm(slots)).unflatten(-1, (NUM_MELS, FACTORS))
        return torch.einsum("bpmf,bsmf->bspm", here, wanted).softmax(dim=1)
