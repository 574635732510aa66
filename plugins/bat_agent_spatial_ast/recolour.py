"""Interaural means as other microphones would give them: a smooth response of both, and one of each, in dB.

A response changes the level in a band, or the difference between the ears, by its dB there and nothing else: weights
compare a band with its own loudest frame. So it costs next to nothing, where sound would have to be rendered again.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from bat_agent.sound.colour import BROAD, FINE, KNOTS_HZ, OCTAVES
from bat_agent.sound.features import NUM_BINS, NUM_MELS, SAMPLE_RATE_HZ, mel_filterbank
from bat_agent_spatial_ast.summary import QUANTITIES, SCALES

DIFFERENCE, LEVEL = 0, 3
"""Places of the level difference and of the level among the quantities."""


def recolour(
    summary: Float[Tensor, "B V"], means: int, common_db: float, apart_db: float, generator: torch.Generator
) -> Float[Tensor, "B V"]:
    """Rows of summaries, whose first ``means`` numbers are means, with smooth random responses of so many dB
    (standard deviation, of the log-mel's own decibels) of both microphones, and between them. What was silent (all
    zeros) stays.
    """
    rows = summary[:, :means].unflatten(1, (-1, QUANTITIES, NUM_MELS))
    heard = (rows != 0).any(dim=2)
    moved = rows.clone()
    for quantity, spread_db in ((LEVEL, common_db), (DIFFERENCE, apart_db)):
        curve = smooth_curves(len(rows), generator).to(rows) * (spread_db * SCALES[quantity])
        moved[:, :, quantity] += curve[:, None] * heard
    return torch.cat((moved.flatten(1), summary[:, means:]), dim=1)


def smooth_curves(count: int, generator: torch.Generator) -> Float[Tensor, "B 128"]:
    """Random curves over the mel bands, of variance 1 about: what changes over octaves, and over thirds of them."""
    broad, fine = _bases()
    knots = torch.randn(count, OCTAVES, generator=generator), torch.randn(count, len(KNOTS_HZ), generator=generator)
    return BROAD * knots[0] @ broad + FINE * knots[1] @ fine


@lru_cache(maxsize=1)
def _bases() -> tuple[Tensor, Tensor]:
    """What each knot (octaves, thirds) gives to each mel band, linear over octaves between knots."""
    bins_hz = torch.arange(NUM_BINS) * (SAMPLE_RATE_HZ / 2 / (NUM_BINS - 1))
    filters = mel_filterbank()
    centre = ((filters * bins_hz[:, None]).sum(0) / filters.sum(0)).clamp(min=KNOTS_HZ[0], max=KNOTS_HZ[-1]).log2()
    found = []
    for knots_hz in (torch.tensor([KNOTS_HZ[0] * 2**octave for octave in range(OCTAVES)]), torch.tensor(KNOTS_HZ)):
        knots = knots_hz.log2()
        below = (torch.searchsorted(knots, centre, right=True) - 1).clamp(0, len(knots) - 2)
        share = (centre - knots[below]) / (knots[below + 1] - knots[below])
        basis = torch.zeros(len(knots), NUM_MELS)
        basis[below, torch.arange(NUM_MELS)] = 1 - share
        basis[below + 1, torch.arange(NUM_MELS)] += share
        found.append(basis)
    return found[0], found[1]
