"""What a head hears that turns and walks: looks, each turned into one frame and joined on the sphere.

Sound that is heard while the head turns comes from no one direction but from a sweep. Most of it is told by its onsets,
which are direct sound; so what a look tells is turned by the headings that its onsets had, into a frame that does not
turn, and there looks multiply. Time and level between the ears leave a cone of confusion open; the cones of two
headings cross where the source is, so that turning tells front from behind and above from below, where standing still
is a guess. What a look tells of all directions is taken as it says it: it knows what it leaves open (in trials a share
for the cone, or for anything, only made it less likely to be right).

A look is as of one heading, and turned by the mean of a few. What arrived since the look before speaks too, each frame
by the heading that it had, by the differences between the ears alone (:mod:`bat_agent.hearing.arrivals`); of several
sounds each by what its mask leaves of the spectrogram.

What is held turns with the head, as long as nothing new is heard. Of ears that walk, what was heard before is moved on
by how far away it was heard to be, and how far that is, all looks tell together
(:mod:`bat_agent.hearing.ranging`).

Headings are degrees counter-clockwise from above, as in :mod:`bat_agent.scene`; where 0 lies does not matter.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing import ranging
from bat_agent.hearing.arrivals import Masks, arrivals
from bat_agent.hearing.headings import ONSET_S, Headings, onsets
from bat_agent.hearing.sphere import (
    AZIMUTHS,
    ELEVATIONS,
    Floats,
    azimuths_of,
    density_of,
    elevations_of,
    mass_of,
    peak_of,
    sphere,
    walked,
)

STILL_DEG = 3.0
"""A head that turned no more than that while looks were gathered stands still: the newest look says it all."""
MEMORY_S = 6.0
"""Time constant with which looks are forgotten: sources move."""
TRUST = 1.0
"""Power of a look for each second of new sound in it: looks that overlap say the same."""
ARRIVALS = 0.1
"""What arrived counts so much, a logarithm, for each standard deviation by which it sticks out of chance in one look
(:mod:`bat_agent.hearing.arrivals`)."""
FLAT = 0.02
"""Of what a look says, the share that counts nothing."""
NEW, NAMES = 0.1, 2.0
"""A look is of a track where that explains it better than a new source would, whose place nobody knows and which is so
likely; sounds of one name speak for the track by so much (a logarithm), of two names as much against it."""
WALKED_M = 0.02
"""Less is no walk."""


@dataclass(frozen=True)
class Look:
    """One source of one look, in the frame of the head as it was."""

    azimuth_deg: float
    elevation_deg: float
    azimuth: NDArray[np.floating]
    """(360,) probabilities."""
    elevation: NDArray[np.floating]
    """(180,) probabilities."""
    class_probs: NDArray[np.floating]
    """(C,)"""
    distance_m: float = 0.0
    """0 where it is not known."""
    mask: NDArray[np.floating] | None = None
    """(R, 128) its share of the mel bands of R equal stretches of the window, where it is known."""


@dataclass(frozen=True)
class Placed:
    """Where a source is in the frame of now."""

    azimuth_deg: float
    elevation_deg: float
    azimuth: Floats
    """(360,) probabilities."""
    elevation: Floats
    """(180,) probabilities."""
    distance_m: float
    """0 where it is not known."""
    fused: bool
    """Whether looks from several headings were joined; else it is what one look said, turned."""


@dataclass(eq=False)
class _Track:
    log: Floats
    """(AZIMUTHS, ELEVATIONS) logarithm of the posterior, in the frame that does not turn."""
    classes: Floats
    t_s: float
    around: Floats = field(default_factory=ranging.anywhere)
    """(AZIMUTHS, DISTANCES) of where it may be around the ears."""
    elevation: float = 0.0
    """Radians, as it was told last."""
    walked: bool = False
    """Whether the ears went anywhere since it was heard first."""
    gathered: deque[tuple[float, float]] = field(default_factory=deque)
    """Time and heading of looks that are still remembered."""


class Turning:
    """Joins looks of one head, source by source. Not for several threads at once."""

    def __init__(self, *, jumps: bool = False, memory_s: float = MEMORY_S) -> None:
        """``jumps`` as in :class:`Headings`; ``memory_s`` of 0 leaves each look by itself."""
        self.headings = Headings(jumps=jumps)
        self._memory_s = memory_s
        self._tracks: list[_Track] = []
        self._stands_m: tuple[float, float] | None = None

    def clear(self) -> None:
        """Nothing that was heard is still there, and the heading is unknown."""
        self.headings.clear()
        self._tracks.clear()
        self._stands_m = None

    def stand(self, right_m: float, front_m: float) -> None:
        """Where the ears are now, in the frame that does not turn; wherever its origin is."""
        if self._stands_m is None:
            self._stands_m = right_m, front_m
        right, front = right_m - self._stands_m[0], front_m - self._stands_m[1]
        if math.hypot(right, front) < WALKED_M:
            return
        self._stands_m = right_m, front_m
        for track in self._tracks:
            track.log = walked(track.log, ranging.distance_of(track.around), right, front)
            track.around = ranging.walked(track.around, track.elevation, right, front)
            track.walked = True

    def look(
        self,
        looks: Sequence[Look],
        t_s: float,
        window_s: float,
        new_s: float,
        sound: NDArray[np.floating] | None = None,
    ) -> list[Placed]:
        """Take what is heard in the ``window_s`` before ``t_s``, of which ``new_s`` were in no look before; returns
        where each source is now, in the same order. ``sound`` (2, N) at 32 kHz is what was looked at.
        """
        weights = np.ones(max(round(window_s / ONSET_S), 1)) if sound is None else onsets(sound)
        times = np.asarray(t_s - window_s + (np.arange(len(weights)) + 0.5) * (window_s / len(weights)), np.float64)
        faced = _Faced(self.headings.at(times), weights / weights.sum(), self.headings.now_deg)
        if not self._memory_s:
            return [_alone(look, faced) for look in looks]
        power = TRUST * min(new_s, window_s)
        came: Sequence[Floats] = [np.zeros((AZIMUTHS, ELEVATIONS))] * len(looks)
        if sound is not None:
            came = self._came(looks, sound, t_s, window_s, new_s)
        said = [_density(look, faced) for look in looks]
        found: list[Placed] = []
        tracks = self._tracks_of(looks, said, t_s)
        for look, density, track, arrived in zip(looks, said, tracks, came, strict=True):
            self._join(track, look, power * np.log((1 - FLAT) * density + FLAT) + arrived, t_s, faced)
            track.around += power * ranging.said(_across(density), look.distance_m)
            found.append(_placed(track, look, faced))
            track.elevation = math.radians(found[-1].elevation_deg)
        self._tracks = [track for track in self._tracks if t_s - track.t_s < self._memory_s]
        return found

    def _came(
        self, looks: Sequence[Look], sound: NDArray[np.floating], t_s: float, window_s: float, new_s: float
    ) -> Sequence[Floats]:
        """(AZIMUTHS, ELEVATIONS) for each look a logarithm of where the new part of the sound came from: of what is its
        own by its mask where there are several.
        """
        shares = [look.mask for look in looks if look.mask is not None]
        masks = Masks(np.stack(shares), window_s) if 1 < len(looks) == len(shares) else None
        right, front, _ = np.moveaxis(sphere().vectors, -1, 0)
        found = arrivals(sound, new_s, lambda before_s: self.headings.at(t_s - before_s), right, front, masks)
        return list(ARRIVALS * found) if masks is not None else [ARRIVALS * found] * len(looks)

    def turned(self, azimuth_deg: float, since_deg: float) -> float:
        """An azimuth that was said at an (unwrapped) heading, as it is at the heading of now."""
        return (azimuth_deg + since_deg - self.headings.now_deg) % 360

    def _join(self, track: _Track, look: Look, log: Floats, t_s: float, faced: _Faced) -> None:
        kept = math.exp(-(t_s - track.t_s) / self._memory_s)
        track.log = track.log * kept + log
        track.around *= kept
        track.classes = 0.7 * track.classes + 0.3 * look.class_probs
        track.t_s = t_s
        track.gathered.append((t_s, faced.mean_deg))
        while t_s - track.gathered[0][0] > self._memory_s:
            track.gathered.popleft()

    def _tracks_of(self, looks: Sequence[Look], said: Sequence[Floats], t_s: float) -> list[_Track]:
        """The track that each look goes on, or a new one."""
        alike = np.zeros((len(looks), len(self._tracks)))
        for column, track in enumerate(self._tracks):
            mass = mass_of(track.log)
            for row, (look, density) in enumerate(zip(looks, said, strict=True)):
                alike[row, column] = _gain(look, density, track, mass)
        pairs = {row: self._tracks[column] for row, column in _paired(alike)} if alike.size else {}
        found = []
        for row, look in enumerate(looks):
            if row not in pairs:
                empty = np.zeros((AZIMUTHS, ELEVATIONS))
                classes = np.asarray(look.class_probs, np.float64)
                pairs[row] = _Track(empty, classes, t_s)
                self._tracks.append(pairs[row])
            found.append(pairs[row])
        return found


@dataclass(frozen=True)
class _Faced:
    """How the head faced while something was heard."""

    headings_deg: Floats
    weights: Floats
    """Of each, 1 together."""
    now_deg: float

    @property
    def mean_deg(self) -> float:
        return float(self.headings_deg @ self.weights)

    def swept(self, cells: int, since_deg: float) -> Floats:
        """(cells,) how much each turn from a heading on counts, on a circle of so many cells."""
        place = (self.headings_deg - since_deg) / (360 / cells)
        low = np.floor(place).astype(int)
        share = place - low
        near = np.bincount(low % cells, self.weights * (1 - share), cells)
        return np.asarray(near + np.bincount((low + 1) % cells, self.weights * share, cells))


def _around(values: Floats, swept: Floats) -> Floats:
    """Values along a circle (the first axis), turned by each turn by its weight."""
    turned = np.fft.rfft(values, axis=0) * np.fft.rfft(swept).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(np.maximum(np.fft.irfft(turned, len(values), axis=0), 0))


def _density(look: Look, faced: _Faced) -> Floats:
    """(AZIMUTHS, ELEVATIONS) how well each direction of the frame that does not turn explains a look, relative to a
    sphere without a preference.
    """
    return _around(density_of(look.azimuth, look.elevation), faced.swept(AZIMUTHS, 0.0))


def _across(density: Floats) -> Floats:
    """(AZIMUTHS,) logarithm of how well each azimuth explains a look, whatever the elevation."""
    across = density @ sphere().area[0] / sphere().area.sum()
    return np.asarray(np.log((1 - FLAT) * across + FLAT))


def _alone(look: Look, faced: _Faced) -> Placed:
    """What one look says, in the frame of now."""
    azimuth = _around(np.asarray(look.azimuth, np.float64), faced.swept(360, faced.now_deg))
    turn = faced.mean_deg - faced.now_deg
    return Placed(
        (look.azimuth_deg + turn) % 360, look.elevation_deg, azimuth, np.asarray(look.elevation, np.float64),
        look.distance_m, False,
    )  # fmt: skip


def _placed(track: _Track, look: Look, faced: _Faced) -> Placed:
    headings = [heading for _, heading in track.gathered]
    distance_m = ranging.distance_of(track.around) if track.walked and look.distance_m else look.distance_m
    if max(headings) - min(headings) <= STILL_DEG:
        return replace(_alone(look, faced), distance_m=distance_m)
    mass = mass_of(track.log)
    x, y, z = peak_of(mass)
    azimuth_deg = (math.degrees(math.atan2(y, x)) - faced.now_deg) % 360
    elevation_deg = math.degrees(math.asin(min(max(z, -1.0), 1.0)))
    azimuth = azimuths_of(mass.sum(axis=1), faced.now_deg)
    return Placed(azimuth_deg, elevation_deg, azimuth, elevations_of(mass.sum(axis=0)), distance_m, True)


def _paired(gains: Floats) -> list[tuple[int, int]]:
    """Looks and tracks in the pairs with the largest sum of gains, which are all above 0.

    Track after track, of every set of looks that may have found theirs the best pairs: looks are few, tracks may be
    many. (scipy has an algorithm for it, but is not everywhere where looks are joined.)
    """
    best: dict[int, tuple[float, list[tuple[int, int]]]] = {0: (0.0, [])}
    for column in range(gains.shape[1]):
        for paired, (total, pairs) in list(best.items()):
            for row in range(gains.shape[0]):
                if paired >> row & 1 or gains[row, column] <= 0:
                    continue
                now, sum_now = paired | 1 << row, total + float(gains[row, column])
                if now not in best or sum_now > best[now][0]:
                    best[now] = (sum_now, [*pairs, (row, column)])
    return max(best.values(), key=lambda each: each[0])[1]


def _gain(look: Look, density: Floats, track: _Track, mass: Floats) -> float:
    """Logarithm of how much likelier a look is if it is of a track than if it is of a new source."""
    explained = (1 - FLAT) * float((density * mass).sum()) + FLAT
    norms = float(np.linalg.norm(look.class_probs) * np.linalg.norm(track.classes))
    named = 2 * float(look.class_probs @ track.classes) / norms - 1 if norms > 0 else 0.0
    return math.log(explained) + NAMES * named - math.log(NEW)
