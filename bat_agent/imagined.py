"""Scenes that are only imagined: what an encoder that hears well would say of them, without any sound.

Reasoning about "is the dog left of the siren?" can be learnt before the ears are asked: such an encoding costs nothing
to make, and its heads are right. Only a reasoner that listens to the heads can learn from it, as its tokens are empty.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bat_agent.distributed import clip_rand
from bat_agent.interfaces import (
    NUM_AZIMUTH_BINS,
    NUM_DISTANCE_BINS,
    NUM_ELEVATION_BINS,
    Encoding,
    SlotEncoding,
)
from bat_agent.mixtures import Truth

SURE = 8.0
"""Logit of what is certain; its negative is that of what is certainly not."""


IMAGINED_TOKENS = 16
"""Tokens of an imagined encoding."""


def imagine(truth: Truth, token_dim: int, num_tokens: int, generator: torch.Generator | None = None) -> Encoding:
    """The encoding (B clips, S slots) of a truth: right heads, blurred by 8° and half a metre, and empty tokens.

    The louder of two slots is drawn by lot, as which of two sources is the more active says nothing about it; without a
    generator from the global one, clip by clip the same whatever the number of processes.
    """
    shape = tuple(truth.active.shape)
    lot = clip_rand(*shape) if generator is None else torch.rand(shape, generator=generator)
    loudness = SURE * (1 + 0.1 * lot)
    category, distance, azimuth, elevation = (
        (2 * truth.classes - 1) * SURE,
        _blurred(truth.distance, NUM_DISTANCE_BINS, 0.5),
        _blurred(truth.azimuth, NUM_AZIMUTH_BINS, 8.0, circular=True),
        _blurred(truth.elevation, NUM_ELEVATION_BINS, 8.0),
    )
    slots = SlotEncoding(torch.where(truth.active, loudness, -SURE), category, distance, azimuth, elevation)
    tokens = torch.zeros(len(truth.active), num_tokens, token_dim)
    return Encoding(tokens, category[:, 0], distance[:, 0], azimuth[:, 0], elevation[:, 0], slots)


def _blurred(bins: Tensor, count: int, width: float, circular: bool = False) -> Tensor:
    """Logits (B, S, count) of a Gaussian around each bin."""
    apart = (torch.arange(count) - bins[..., None]).abs().float()
    if circular:
        apart = torch.minimum(apart, count - apart)
    return -0.5 * (apart / width) ** 2
