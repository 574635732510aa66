"""What an encoder is trained to minimise (BAT, section 4.1, with the weights of the released code).

loss = λ1·BCE(class) + λ2·CE(distance) + λ3·(CE(azimuth) + CE(elevation))

With several source slots the loss is the smallest over all assignments of sources to slots (permutation-invariant),
plus a binary cross-entropy on each slot's activity; a slot without a source contributes nothing else.
"""

from __future__ import annotations

import itertools
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from bat_agent.config import Stage
from bat_agent.errors import BadInput
from bat_agent.interfaces import NUM_AZIMUTH_BINS, NUM_ELEVATION_BINS, Encoding, SlotEncoding
from bat_agent.mixtures import Truth


def encoder_loss(encoding: Encoding, truth: Truth, stage: Stage) -> tuple[Tensor, dict[str, float]]:
    """The weighted loss of a batch, and its parts for the log."""
    slots = encoding.slots or _as_slot(encoding)
    parts = _pairwise(slots, truth, stage)
    weights = {
        "class": stage.class_weight,
        "distance": stage.distance_weight,
        "azimuth": stage.direction_weight,
        "elevation": stage.direction_weight,
    }
    total = sum(weights[name] * value for name, value in parts.items() if weights[name])
    assert isinstance(total, Tensor)
    chosen, cost = _assign(total, truth.active, slots.activity_logits if encoding.slots else None)
    rows = torch.arange(len(chosen), device=chosen.device)[:, None]
    columns = torch.arange(truth.active.shape[1], device=chosen.device)
    active = truth.active.float()
    log = {
        name: float((value.detach()[rows, chosen, columns] * active).sum() / active.sum().clamp(min=1))
        for name, value in parts.items()
    }
    return cost.mean(), log


def _as_slot(encoding: Encoding) -> SlotEncoding:
    heads = (encoding.class_logits, encoding.distance_logits, encoding.azimuth_logits, encoding.elevation_logits)
    assert all(head is not None for head in heads), "training needs all four heads"
    single = [head[:, None] for head in heads if head is not None]
    return SlotEncoding(single[0].new_zeros(len(single[0]), 1), *single)


def _pairwise(slots: SlotEncoding, truth: Truth, stage: Stage) -> dict[str, Tensor]:
    """Each part of the loss for every slot i and source j: (B, slots, sources)."""
    classes = truth.classes[:, None]
    class_logits = slots.class_logits.float()[:, :, None].expand(-1, -1, classes.shape[2], -1)
    bce = F.binary_cross_entropy_with_logits(
        class_logits, classes.expand(-1, class_logits.shape[1], -1, -1), reduction="none"
    ).mean(-1)
    azimuth = _soft_targets(NUM_AZIMUTH_BINS, stage.smoothing_deg, circular=True).to(bce.device)[truth.azimuth]
    elevation = _soft_targets(NUM_ELEVATION_BINS, stage.smoothing_deg, circular=False).to(bce.device)[truth.elevation]
    distance = F.one_hot(truth.distance, slots.distance_logits.shape[-1]).float()
    return {
        "class": bce,
        "distance": _cross_entropy(slots.distance_logits, distance),
        "azimuth": _cross_entropy(slots.azimuth_logits, azimuth),
        "elevation": _cross_entropy(slots.elevation_logits, elevation),
    }


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, slots, bins) against (B, sources, bins) → (B, slots, sources)."""
    return -torch.einsum("bik,bjk->bij", F.log_softmax(logits.float(), dim=-1), targets)


def _assign(pairwise: Tensor, active: Tensor, activity_logits: Tensor | None) -> tuple[Tensor, Tensor]:
    """The best slot of each source (B, sources), and the clip's loss (B,) with it."""
    slots, sources = pairwise.shape[1:]
    used = min(slots, sources)
    if sources > slots and bool(active[:, slots:].any()):
        raise BadInput(
            f"a clip has {sources} sources but the encoder only {slots} slot(s); set two_sources to 0 for this stage, "
            f"or give the encoder num_slots={sources}"
        )
    orders = list(itertools.permutations(range(slots), used))
    costs = []
    for order in orders:
        matched = pairwise[:, list(order), list(range(used))] * active[:, :used]
        cost = matched.sum(dim=1)
        if activity_logits is not None:
            target = torch.zeros_like(activity_logits, dtype=torch.float32)
            target[:, list(order)] = active[:, :used].float()
            cost = cost + F.binary_cross_entropy_with_logits(activity_logits.float(), target, reduction="none").sum(
                dim=1
            )
        costs.append(cost)
    cost, best = torch.stack(costs, dim=1).min(dim=1)
    chosen = torch.tensor(orders, device=best.device)[best]
    return F.pad(chosen, (0, sources - used)), cost


@cache
def _soft_targets(bins: int, width_deg: float, circular: bool) -> Tensor:
    """Row k: the target distribution of true bin k, a Gaussian of ``width_deg`` (one bin if 0)."""
    if width_deg == 0:
        return torch.eye(bins)
    index = torch.arange(bins, dtype=torch.float32)
    apart = (index[:, None] - index).abs()
    if circular:
        apart = torch.minimum(apart, bins - apart)
    return torch.softmax(-0.5 * (apart / width_deg) ** 2, dim=1)
