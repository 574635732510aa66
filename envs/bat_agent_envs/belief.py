"""Where an agent believes that what it looks for is: a map that every perception multiplies into.

A direction counts as the ears have it, by the probability of every degree, which knows what is left open (front or
behind), with a share for being wrong altogether; a distance counts too, wide as the ears err. Which of several sounds
is the one that is looked for is a share of each. What one perception leaves open, the next settles, as the agent has
turned or walked in between. Where another sound is, which goes on when what is looked for has fallen silent, that is
not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Beliefs:
    """How much the agent trusts what it hears, and how it walks by it. The defaults are for one sound alone."""

    reach_m: float = 12.0
    """Half the side of the map."""
    cell_m: float = 0.25
    wrong: float = 0.1
    """Share of perceptions that are wrong altogether."""
    log_distance: float = 0.9
    """Standard deviation of the natural logarithm of the distance."""
    sharpen: float = 0.3
    """Power of each perception: those of overlapping windows, and of one place, are wrong together."""
    arrivals: float = 0.1
    """A logarithm for each standard deviation by which a direction sticks out of what arrived."""
    doubt: float = 0.05
    """Weight of a sound that bears another name than the one that is looked for, against 1 of one that bears it."""
    apart_m: float = 0.0
    """No two sounds are nearer to each other; 0 where there is but one, and where the others are is not followed."""
    elsewhere: float = 0.9
    """How surely what is looked for is not where the other sound is believed to be."""
    hidden: float = 0.6
    """Weight of not being heard at all, where a single sound is heard; 0.1 where several are."""
    sounds_s: tuple[float, float] = (math.inf, math.inf)
    """What is looked for sounds for so long at least and at most."""
    stop_m: float = 0.85
    stop_sure: float = 0.8
    stop_way_m: float = 1.0
    """The agent stops where it believes with so much probability that the goal is within ``stop_m``, and knows of
    nothing that makes the way to it longer than ``stop_way_m``."""
    look_steps: int = 12
    """Steps at most to look around before walking anywhere."""
    stuck_steps: int = 14
    """Who stays in one place for so many steps is stuck: and stops, where the goal is believed within ``stuck_m`` with
    a probability of ``stuck_sure`` and no way of more than ``stuck_way_m``."""
    stuck_m: float = 1.1
    stuck_sure: float = 0.4
    stuck_way_m: float = 1.2
    silent_steps: int = 8
    """What was not heard for so many steps will not be heard again: then the likeliest place must do."""
    impatience_m: float = 0.015
    """And a place so much farther off from it, for each step beyond."""


NAMED = Beliefs(
    log_distance=0.6,
    apart_m=0.8,
    doubt=0.02,
    sounds_s=(5.0, 15.0),
    look_steps=8,
    silent_steps=6,
    impatience_m=0.01,
)
"""For one of two sounds, which falls silent: of a mixture directions are heard worse."""


@dataclass(frozen=True)
class Heard:
    """A source as the agent hears it."""

    azimuth: Floats
    """(360,) probability of each degree, 0 right, 90 front."""
    distance_m: float
    """Along the floor."""
    share: float
    """Probability that it is what is looked for."""
    level: bool = True
    """False: it is overhead, which tells nothing of where to go."""


@dataclass
class GoalMap:
    """Log-probability of where the goal is; x to the right and z back, from where the agent began."""

    beliefs: Beliefs
    log: Floats = field(init=False)
    other: Floats = field(init=False)
    """The same of the loudest sound that is not looked for."""
    x: Floats = field(init=False)
    z: Floats = field(init=False)

    def __post_init__(self) -> None:
        axis = np.arange(-self.beliefs.reach_m, self.beliefs.reach_m + 1e-6, self.beliefs.cell_m)
        self.x, self.z = np.meshgrid(axis, axis, indexing="ij")
        self.log = -0.02 * np.hypot(self.x, self.z)  # nearer is likelier, before anything is heard
        self.other = self.log.copy()
        # The cells within apart_m of one.
        reach = int(self.beliefs.apart_m / self.beliefs.cell_m)
        offsets = np.arange(-reach, reach + 1) * self.beliefs.cell_m
        self._near = (np.hypot(offsets[:, None], offsets) < self.beliefs.apart_m).astype(float)

    def hear(self, pose: tuple[float, float, float], sources: Sequence[Heard]) -> None:
        """What is heard at once; what their shares leave of 1 says nothing."""
        bearing, away = self._seen_from(*pose)
        likely = [self._likelihood(source, bearing, away) if source.level else np.ones_like(away) for source in sources]
        said = np.full_like(self.log, max(1 - sum(source.share for source in sources), 0.0))
        for source, likelihood in zip(sources, likely, strict=True):
            said += source.share * likelihood
        self.log += self.beliefs.sharpen * np.log(said)
        if self.beliefs.apart_m:
            others = np.array([1 - source.share for source in sources]) / max(len(sources), 1)
            said = np.full_like(self.log, 1 - others.sum())
            for share, likelihood in zip(others, likely, strict=True):
                said += share * likelihood
            self.other += self.beliefs.sharpen * np.log(said)

    def arrive(self, pose: tuple[float, float, float], arrivals: Floats, of_others: Floats | None = None) -> None:
        """What arrived from each azimuth, by how many standard deviations it sticks out of chance: of what is looked
        for, and of the others where they are told apart.
        """
        bearing, _ = self._seen_from(*pose)
        degree = np.floor(np.degrees(bearing)).astype(int) % 360
        self.log += self.beliefs.arrivals * arrivals[degree]
        self.other += self.beliefs.arrivals * (arrivals if of_others is None else of_others)[degree]

    def _likelihood(self, source: Heard, bearing: Floats, away: Floats) -> Floats:
        """Of each cell, next to 1 where nothing is known."""
        trust = self.beliefs
        degree = np.floor(np.degrees(bearing)).astype(int) % 360
        said = (1 - trust.wrong) * 360 * source.azimuth[degree] + trust.wrong
        if not source.distance_m:  # not known: the model has no such head
            return np.asarray(said)
        off = (np.log(away + 0.1) - math.log(source.distance_m + 0.1)) / trust.log_distance
        return np.asarray(said * (np.exp(-0.5 * off**2) + 0.1))

    def believed(self) -> Floats:
        """Probability of each cell, which is not where the other sound is."""
        share = np.exp(self.log - self.log.max())
        if self.beliefs.apart_m:
            other = np.exp(self.other - self.other.max())
            near = fftconvolve(other / other.sum(), self._near, mode="same")
            share = share * (1 - self.beliefs.elsewhere * np.clip(near, 0, 1))
        return np.asarray(share / share.sum())

    def within(self, x: float, z: float, radius_m: float) -> float:
        """Probability that the goal is so near to a place."""
        return float(self.believed()[np.hypot(self.x - x, self.z - z) < radius_m].sum())

    def not_at(self, x: float, z: float, radius_m: float) -> None:
        """The agent went there, and it is not."""
        self.log[np.hypot(self.x - x, self.z - z) < radius_m] -= 0.5

    def best(self) -> tuple[float, float]:
        """The likeliest place: the mean of what is believed within 0.75 m of the likeliest cell."""
        share = self.believed()
        i, k = np.unravel_index(int(share.argmax()), share.shape)
        near = np.hypot(self.x - self.x[i, k], self.z - self.z[i, k]) < 0.75
        inside = share[near]
        return float(np.average(self.x[near], weights=inside)), float(np.average(self.z[near], weights=inside))

    def _seen_from(self, x: float, z: float, turn: float) -> tuple[Floats, Floats]:
        """Azimuth and distance of each cell for an agent there, turned counter-clockwise by so much."""
        dx, dz = self.x - x, self.z - z
        return np.arctan2(-dz, dx) - turn, np.hypot(dx, dz)


def shares(own: Floats, likest: Floats, valid: NDArray[np.bool_], sounding: float, trust: Beliefs) -> Floats:
    """How likely each slot is the goal, from its probability of the goal's class and that of its likeliest class.

    ``sounding`` is the probability, before this was heard, that the goal sounds.
    """
    named = np.where(own > 0.02, own / np.maximum(likest, 1e-6), 0.0) * valid
    weight = (named + trust.doubt) * valid
    unheard = trust.hidden if valid.sum() == 1 else 0.1
    # The more of the name is heard, the likelier it sounds; where nothing bears it, it is rather silent.
    for_it, against = sounding * (0.2 + named.max(initial=0.0)), (1 - sounding) * 0.3
    still = for_it / (for_it + against)
    return np.asarray(weight / (weight.sum() + unheard) * still)
