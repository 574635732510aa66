"""Sources that radiate to one side: a mouth, a loudspeaker, a bell.

Sound that leaves a source at an angle θ to where it faces is weaker by R(f) · (1 − cos θ)/2 dB. R, how much less goes
back than forth, grows with the octaves from nothing at 125 Hz to ``directivity_db`` at 8 kHz. With 20 dB this follows
talkers within a few dB (Chu and Warnock, "Detailed directivity of sound fields around human talkers", NRC IRC-RR-104,
2002), whose 0 dB are in front, too. Reflections and the tail get what is sent their way, so they are duller than the
direct sound of who speaks to the listener, and louder than that of who speaks to the wall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bat_agent_shoebox.materials import BANDS_HZ

HIGHEST_DEG = 30.0
"""Sources look so far up or down at most."""


@dataclass
class Directivity:
    """How S sources radiate in B bands; float64 on one device."""

    facing: Tensor
    """(S, 3) unit vectors in the room."""
    nepers: Tensor
    """(B,) ln of the pressure that goes forward over that which goes back."""

    @classmethod
    def of(cls, facing: NDArray[np.float64], directivity_db: float, device: str) -> Directivity:
        """Sources facing (S, 3), with so many dB between front and back at 8 kHz."""
        octaves = np.log2(np.array(BANDS_HZ) / BANDS_HZ[0])
        nepers = directivity_db * octaves / octaves[-1] * math.log(10) / 20
        return cls(torch.as_tensor(facing, device=device), torch.as_tensor(nepers, device=device))

    def log_gain(self, leaving: Tensor) -> Tensor:
        """(S, I, B) ln of the pressure gain of sound that leaves along unit vectors (S, I, 3)."""
        away = (1 - (leaving * self.facing[:, None]).sum(-1, keepdim=True)) / 2
        return -away * self.nepers

    def mean_power(self) -> Tensor:
        """(B,) power over all sides, beside that of a source that sends to all what it sends forward."""
        twice = 2 * self.nepers
        return torch.where(twice > 0, -torch.expm1(-twice) / twice.clamp_min(1e-12), torch.ones_like(twice))


def facing(seeds: Sequence[int], numbers: Sequence[int]) -> NDArray[np.float64]:
    """(S, 3) unit vectors where sources face, from the seed of each one's scene and its number there: any azimuth, up
    to 30° up or down."""
    draws = [np.random.default_rng([seed % 2**63, number, 0xFACE]) for seed, number in zip(seeds, numbers, strict=True)]
    angles = np.array([(2 * np.pi * draw.random(), np.radians(HIGHEST_DEG) * draw.uniform(-1, 1)) for draw in draws])
    azimuth, elevation = angles.T
    level = np.cos(elevation)
    return np.stack((level * np.cos(azimuth), np.sin(elevation), -level * np.sin(azimuth)), axis=-1)
