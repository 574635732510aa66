"""What several encodings of a clip say together, and how much each of them counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent_spatial_ast.slots import strongest
from bat_agent_spatial_ast.symmetry import HEADS, POSTERIORS, likest

_NOTHING = 1e-12
"""A share of zero has a logarithm all the same."""


def shares_of(gate: nn.Module, summary: Float[Tensor, "B 2 V"], least: float) -> Float[Tensor, "B E"]:
    """Shares from summaries of clips as they are and with the ears swapped, whose last number is the level."""
    rows = summary[:, :, :-1]
    with torch.autocast(summary.device.type, enabled=False):
        logits: Tensor = gate(rows.flatten(0, 1)).unflatten(0, (-1, 2)).mean(dim=1)
        shares = logits.softmax(dim=1)
        shares = torch.where(shares < least, 0.0, shares)
        return shares / shares.sum(dim=1, keepdim=True)


def blended(said: Sequence[Encoding], shares: Float[Tensor, "B E"]) -> Encoding:
    """What several encodings of B clips say together, each by its share.

    Slots have no order: those of the others are matched to those of the one that counts most. Logits of activity and
    classes are averaged; of what is a posterior, the probabilities. Tokens and masks are those of the one that counts
    most.
    """
    leader, rows = shares.argmax(dim=1), torch.arange(shares.shape[0], device=shares.device)
    tokens = torch.stack([one.tokens for one in said])[leader, rows]
    slots = [_slots_of(one) for one in said]
    every = [_posteriors(one) for one in slots]
    own = {name: torch.stack([one[name] for one in every])[leader, rows] for name in every[0]}
    total: dict[str, Tensor] = {}
    for one, share in zip(every, shares.unbind(dim=1), strict=True):
        order = likest(own, one)
        for name, value in one.items():
            weight = share.reshape(-1, *[1] * (value.ndim - 1))
            found = value[rows[:, None], order]
            if name in POSTERIORS:
                found = found + weight.clamp(min=_NOTHING).log()
                total[name] = torch.logaddexp(total[name], found) if name in total else found
            else:
                total[name] = total.get(name, 0.0) + weight * found
    masks = [one.masks for one in slots if one.masks is not None]
    mask = torch.stack(masks)[leader, rows] if len(masks) == len(slots) else None
    return strongest(tokens, SlotEncoding(**total, masks=mask))


def _posteriors(slots: SlotEncoding) -> dict[str, Tensor]:
    """What the heads of the slots say, posteriors as log-probabilities."""
    said = {name: getattr(slots, name).float() for name in HEADS if getattr(slots, name) is not None}
    return {name: value.log_softmax(-1) if name in POSTERIORS else value for name, value in said.items()}


def _slots_of(encoding: Encoding) -> SlotEncoding:
    assert encoding.slots is not None
    return encoding.slots
