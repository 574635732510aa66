"""Left and right heard alike: what is said of a clip is averaged with what is said with swapped ears, mirrored back.

A head is as good as symmetric, so swapping the ears must mirror the azimuth and change nothing else. Training on
swapped clips teaches that only nearly; here it holds by construction, at twice the work, and the mean of two opinions
is better than each.
"""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from bat_agent.interfaces import NUM_AZIMUTH_BINS, SlotEncoding

HEADS = ("activity_logits", "class_logits", "distance_logits", "azimuth_logits", "elevation_logits")
POSTERIORS = ("distance_logits", "azimuth_logits", "elevation_logits")


def mirrored(azimuth_logits: Float[Tensor, "*batch 360"]) -> Float[Tensor, "*batch 360"]:
    """Bin a where bin 180 − a was."""
    turned = (NUM_AZIMUTH_BINS // 2 - torch.arange(NUM_AZIMUTH_BINS, device=azimuth_logits.device)) % NUM_AZIMUTH_BINS
    return azimuth_logits[..., turned]


def averaged(both: SlotEncoding) -> SlotEncoding:
    """Slots of B clips from those of 2·B: first the clips as they are, then with their ears swapped.

    Slots have no order, so each is averaged with that of the swapped clip which is likest to it. Logits of activity and
    classes are averaged; of what is a posterior, the probabilities; and the masks.
    """
    said = {name: getattr(both, name).float() for name in HEADS if getattr(both, name) is not None}
    said = {name: value.log_softmax(-1) if name in POSTERIORS else value for name, value in said.items()}
    clips = both.activity_logits.shape[0] // 2
    own = {name: value[:clips] for name, value in said.items()}
    other = {name: value[clips:] for name, value in said.items()}
    if "azimuth_logits" in other:
        other["azimuth_logits"] = mirrored(other["azimuth_logits"])
    order = likest(own, other)
    rows = torch.arange(clips, device=order.device)[:, None]
    mean = {}
    for name, value in own.items():
        match = other[name][rows, order]
        mean[name] = torch.logaddexp(value, match) - math.log(2) if name in POSTERIORS else (value + match) / 2
    masks = None if both.masks is None else (both.masks[:clips] + both.masks[clips:][rows, order]) / 2
    return SlotEncoding(**mean, masks=masks)


def likest(own: dict[str, Tensor], other: dict[str, Tensor]) -> Tensor:
    """(B, S): which slot of the other belongs to each of the own, so that together they are likest."""
    alike = (own["class_logits"].sigmoid()[:, :, None] * other["class_logits"].sigmoid()[:, None]).sum(-1)
    for name in POSTERIORS:
        if name in own:
            overlap = (own[name].exp().sqrt()[:, :, None] * other[name].exp().sqrt()[:, None]).sum(-1)
            alike = alike + overlap
    slots = alike.shape[1]
    orders = torch.tensor(list(itertools.permutations(range(slots))), device=alike.device)
    totals = alike[:, torch.arange(slots, device=alike.device), orders].sum(-1)
    return orders[totals.argmax(dim=1)]
