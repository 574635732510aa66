"""The plan of one clip: all that is drawn at random, before any sound is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bat_agent.clips.batch import Weighted
from bat_agent.datasets.rooms import Place
from bat_agent.datasets.sounds import Sound
from bat_agent.questions import HeardSource
from bat_agent.scene import Position, mirror_azimuth_deg


@dataclass(frozen=True)
class PlannedSource:
    """One source: its sound (or two, mixed up), where it is, and where its RIR is to be found."""

    sounds: tuple[Sound, ...]
    shares: tuple[float, ...]
    position: Position
    rooms: int
    place: Place
    spot: int

    @property
    def heard(self) -> HeardSource:
        """What a question may name of it."""
        labels = dict.fromkeys(label for sound in self.sounds for label in sound.labels)
        return HeardSource(tuple(labels), self.position)

    @property
    def weighted(self) -> Weighted:
        """Its labels, each with its share."""
        pairs = zip(self.sounds, self.shares, strict=True)
        return tuple((label, share) for sound, share in pairs for label in dict.fromkeys(sound.labels))


@dataclass
class Microphones:
    """What lies between the ears and the recording of one clip."""

    mirrored: bool
    gain: np.ndarray
    """(2,)"""
    delay_s: float
    """Of the right one against the left one."""
    noise: float
    noise_seed: int


@dataclass
class ClipPlan:
    """A clip before any sound is loaded: its sources, its microphones and the generators of what comes later."""

    sources: list[PlannedSource]
    microphones: Microphones
    to_cut: np.random.Generator
    to_equalise: np.random.Generator
    to_ask: np.random.Generator
    going_on: bool = False
    """Whether its sounds began before it."""

    @property
    def heard(self) -> list[HeardSource]:
        """Its sources, mirrored where the ears are swapped."""
        heard = [source.heard for source in self.sources]
        return [mirrored_source(source) for source in heard] if self.microphones.mirrored else heard


def mirrored_source(source: HeardSource) -> HeardSource:
    """The source as it is heard with the ears swapped."""

    def swap(position: Position) -> Position:
        return position._replace(azimuth_deg=mirror_azimuth_deg(position.azimuth_deg))

    return HeardSource(source.labels, swap(source.position), source.moves_to and swap(source.moves_to))
