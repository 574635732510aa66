"""Oracle encodings: what an encoder that is always right would say of a scene, made from the truth, without any sound.

Reasoning about "is the dog left of the siren?" can be learnt before the ears are asked: such an encoding costs nothing
to make, and its heads are right. Its tokens are empty, so that only a reasoner that listens to the heads can learn from
it; or, with *oracle tokens*, the first ones tell the truth as well, one for each source, and any reasoner can.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bat_agent.clips.mixtures import Truth
from bat_agent.distributed import clip_rand
from bat_agent.interfaces import (
    NUM_AZIMUTH_BINS,
    NUM_CLASSES,
    NUM_DISTANCE_BINS,
    NUM_ELEVATION_BINS,
    Encoding,
    SlotEncoding,
)

ORACLE_TOKENS = 16
"""Tokens of an oracle encoding."""
SURE = 8.0
"""Logit of what is certain; its negative is that of what is certainly not."""
TELLING = 2.5
"""Length of what a source's token says of the class, next to 1 for distance, azimuth and elevation each."""
DEGREES_PER_BUMP = 10
TYPICAL_M = 3.0
"""What a coordinate is divided by; distance by half of it."""


def oracle_encoding(
    truth: Truth,
    token_dim: int,
    num_tokens: int,
    generator: torch.Generator | None = None,
    truth_in_tokens: bool = False,
) -> Encoding:
    """The encoding (B clips, S slots) of a truth: right heads, blurred by 8° and half a metre, and empty tokens.

    With ``truth_in_tokens`` the first S tokens hold one source each (:func:`source_tokens`), only the others are empty.
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
    if truth_in_tokens:
        tokens[:, : truth.active.shape[1]] = source_tokens(truth, token_dim)
    return Encoding(tokens, category[:, 0], distance[:, 0], azimuth[:, 0], elevation[:, 0], slots)


def source_tokens(truth: Truth, token_dim: int) -> Tensor:
    """(B, S, D): all that is true of each source, in the order in which they were drawn; 0 where there is none.

    What an encoder with heads has in its tokens: from each, a linear map reads classes, distance, azimuth and elevation
    as narrow bumps over their ranges, and the position in metres, which bumps are too coarse to compare. All of it is
    spread over the token by random directions that are the same everywhere, so a reasoner has to find out what is what.
    """
    azimuth, elevation = truth.azimuth * (math.pi / 180), (truth.elevation - 90.0) * (math.pi / 180)
    level = elevation.cos()
    direction = torch.stack((azimuth.cos() * level, azimuth.sin() * level, elevation.sin()), dim=-1)
    metres = (truth.distance / 2)[..., None]
    bumps = (
        _bumps(truth.distance, NUM_DISTANCE_BINS, 0.7),
        _bumps(truth.azimuth / DEGREES_PER_BUMP, NUM_AZIMUTH_BINS // DEGREES_PER_BUMP, 1.0, circular=True),
        _bumps(truth.elevation / DEGREES_PER_BUMP, NUM_ELEVATION_BINS // DEGREES_PER_BUMP, 1.0),
    )
    position = (direction, direction * metres / TYPICAL_M, 2 * metres / TYPICAL_M)
    facts = (truth.classes * TELLING, *position, *bumps, torch.ones_like(metres))
    told = torch.cat(facts, dim=-1) * truth.active[..., None]
    return told @ torch.randn(told.shape[-1], token_dim, generator=torch.Generator().manual_seed(NUM_CLASSES))


def _bumps(place: Tensor, count: int, width: float, circular: bool = False) -> Tensor:
    """(B, S, count) of length 1: a Gaussian around each place on a scale of ``count``."""
    apart = _apart(place, count, circular)
    height = torch.exp(-0.5 * (apart / width) ** 2)
    return height / height.norm(dim=-1, keepdim=True)


def _blurred(bins: Tensor, count: int, width: float, circular: bool = False) -> Tensor:
    """Logits (B, S, count) of a Gaussian around each bin."""
    return -0.5 * (_apart(bins, count, circular) / width) ** 2


def _apart(place: Tensor, count: int, circular: bool) -> Tensor:
    apart = (torch.arange(count) - place[..., None]).abs().float()
    return torch.minimum(apart, count - apart) if circular else apart
