"""What an encoder is trained to minimise (BAT, section 4.1, with the weights of the released code).

loss = λ1·BCE(class) + λ2·CE(distance) + λ3·(CE(azimuth) + CE(elevation))

With several source slots the loss is the smallest over all assignments of sources to slots (permutation-invariant),
plus a binary cross-entropy on each slot's activity; a slot without a source contributes nothing else. The class loss is
the mean over the 355 classes, and the weights λ of a recipe are meant for it (1250, 1, 2 in the paper).
"""

from __future__ import annotations

import itertools
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from bat_agent.clips.mixtures import Truth
from bat_agent.errors import BadInput
from bat_agent.interfaces import NUM_AZIMUTH_BINS, NUM_ELEVATION_BINS, Encoding
from bat_agent.recipes.schema import Stage

AUDIBLE_DB = 40.0


def encoder_loss(encoding: Encoding, truth: Truth, stage: Stage) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted loss of a batch, and its parts for the log (of the chosen slots, scalars without gradient).

    What an encoder has no head for is left out; classes may be soft (mixup). ``truth`` may lie on the CPU. Raises
    :class:`~bat_agent.errors.BadInput` where the stage weighs only heads that the encoder lacks, or a clip has more
    sources than the encoder slots.
    """
    # Three digits of a cross-entropy, which is what autocast would leave, are too few.
    with torch.autocast(encoding.tokens.device.type, enabled=False):
        return _encoder_loss(encoding, truth, stage)


def match_slots(encoding: Encoding, truth: Truth, stage: Stage) -> Tensor:
    """Which slot holds each source, (B, sources) int64, by the smallest loss; anything where there is no source."""
    _, total = _weighed(encoding, truth.to(encoding.tokens.device), stage)
    return _assign(total, truth.active.to(total.device), encoding.slots.activity_logits if encoding.slots else None)[0]


def _encoder_loss(encoding: Encoding, truth: Truth, stage: Stage) -> tuple[Tensor, dict[str, Tensor]]:
    activity = encoding.slots.activity_logits if encoding.slots else None
    # Before the truth goes to the encoder's device: asking a GPU would wait for all of the forward pass.
    slots = 1 if encoding.slots is None else encoding.slots.activity_logits.shape[1]
    _check_sources(truth.active, slots)
    truth = truth.to(encoding.tokens.device)
    parts, total = _weighed(encoding, truth, stage)
    chosen, cost = _assign(total, truth.active, activity)
    rows = torch.arange(len(chosen), device=chosen.device)[:, None]
    columns = torch.arange(truth.active.shape[1], device=chosen.device)
    active = truth.active.float()
    log = {
        name: (value.detach()[rows, chosen, columns] * active).sum() / active.sum().clamp(min=1)
        for name, value in parts.items()
    }
    return cost.mean(), log


def _weighed(encoding: Encoding, truth: Truth, stage: Stage) -> tuple[dict[str, Tensor], Tensor]:
    """Each part of the loss for every slot and source (B, slots, sources), and their weighted sum."""
    heads = {name: logits for name, logits in _heads(encoding).items() if logits is not None}
    weights = _weights(stage)
    if not any(weights[name] for name in heads) and not stage.mask_weight:
        raise BadInput(
            f"stage {stage.name!r} trains nothing: the encoder has heads for {', '.join(heads) or 'nothing'}, and "
            "their weights are 0; raise class_weight, distance_weight or direction_weight, or give the encoder the head"
        )
    parts = _pairwise(heads, truth, stage)
    if stage.mask_weight:
        parts["mask"] = _mask_loss(encoding, truth, stage)
    return parts, torch.stack([weights[name] * value for name, value in parts.items() if weights[name]]).sum(dim=0)


def _weights(stage: Stage) -> dict[str, float]:
    direction = stage.direction_weight
    return {
        "class": stage.class_weight,
        "distance": stage.distance_weight,
        "azimuth": direction,
        "elevation": direction,
        "mask": stage.mask_weight,
    }


def _heads(encoding: Encoding) -> dict[str, Tensor | None]:
    """The logits of every slot (B, slots, bins); an encoder without slots has one."""
    slots = encoding.slots
    if slots is not None:
        return {
            "class": slots.class_logits,
            "distance": slots.distance_logits,
            "azimuth": slots.azimuth_logits,
            "elevation": slots.elevation_logits,
        }
    single = {
        "class": encoding.class_logits,
        "distance": encoding.distance_logits,
        "azimuth": encoding.azimuth_logits,
        "elevation": encoding.elevation_logits,
    }
    return {name: None if logits is None else logits[:, None] for name, logits in single.items()}


def _check_sources(active: Tensor, slots: int) -> None:
    sources = active.shape[1]
    if sources > slots and bool(active[:, slots:].any()):
        raise BadInput(
            f"a clip has {sources} sources but the encoder only {slots} slot(s); set two_sources to 0 for this stage, "
            f"or give the encoder num_slots={sources}"
        )


def _pairwise(heads: dict[str, Tensor], truth: Truth, stage: Stage) -> dict[str, Tensor]:
    """Each part of the loss for every slot i and source j: (B, slots, sources)."""
    parts = {}
    if "class" in heads:
        classes = truth.classes[:, None]
        logits = heads["class"].float()[:, :, None].expand(-1, -1, classes.shape[2], -1)
        wanted = classes.expand(-1, logits.shape[1], -1, -1)
        parts["class"] = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1)
    if "distance" in heads:
        distance = F.one_hot(truth.distance, heads["distance"].shape[-1]).float()
        parts["distance"] = _cross_entropy(heads["distance"], distance)
    angles = (("azimuth", NUM_AZIMUTH_BINS, True), ("elevation", NUM_ELEVATION_BINS, False))
    for name, bins, circular in angles:
        if name in heads:
            targets = _soft_targets(bins, stage.smoothing_deg, circular, heads[name].device)
            parts[name] = _cross_entropy(heads[name], targets[getattr(truth, name)])
    return parts


def _mask_loss(encoding: Encoding, truth: Truth, stage: Stage) -> Tensor:
    """(B, slots, sources): cross-entropy of the mask of each slot against what each source has of the energy, a mean
    over the bands and stretches of time in which anything is heard (−40 dB of the loudest counts nothing).
    """
    masks = None if encoding.slots is None else encoding.slots.masks
    if masks is None or truth.energy_db is None:
        raise BadInput(
            f"stage {stage.name!r} has a mask_weight, but the encoder has no masks of its slots; set it to 0, "
            " or give spatial-ast the option slot_summary"
        )
    energy = truth.energy_db.float()
    energy = 10 ** ((energy - energy.amax(dim=(1, 2, 3), keepdim=True)) / 10)
    rows = masks.shape[2]
    frames = max(energy.shape[2] // rows, 1)
    energy = energy[:, :, : rows * frames].unflatten(2, (-1, frames)).sum(dim=3)
    total = energy.sum(dim=1, keepdim=True).clamp(min=1e-12)
    level_db = 10 * torch.log10(total / total.amax(dim=(2, 3), keepdim=True))
    heard = (1 + level_db / AUDIBLE_DB).clamp(min=0)
    share = energy / total * heard / heard.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    return -torch.einsum("birm,bjrm->bij", masks.float().clamp(min=1e-4).log(), share)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, slots, bins) against (B, sources, bins) → (B, slots, sources)."""
    return -torch.einsum("bik,bjk->bij", F.log_softmax(logits.float(), dim=-1), targets)


def _assign(pairwise: Tensor, active: Tensor, activity_logits: Tensor | None) -> tuple[Tensor, Tensor]:
    """The best slot of each source (B, sources), and the clip's loss (B,) with it."""
    slots, sources = pairwise.shape[1:]
    used = min(slots, sources)
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
def _soft_targets(bins: int, width_deg: float, circular: bool, device: torch.device) -> Tensor:
    """Row k: the target distribution of true bin k, a Gaussian of ``width_deg`` (one bin if 0)."""
    if width_deg == 0:
        return torch.eye(bins, device=device)
    index = torch.arange(bins, dtype=torch.float32, device=device)
    apart = (index[:, None] - index).abs()
    if circular:
        apart = torch.minimum(apart, bins - apart)
    return torch.softmax(-0.5 * (apart / width_deg) ** 2, dim=1)
