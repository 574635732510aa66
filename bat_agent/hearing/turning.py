"""What a head hears that turns: short looks, each turned into the frame of now and joined on the sphere.

Sound that is heard while the head turns comes from no one direction but from a sweep. So only as much of the newest
sound is looked at as came while the head was near one heading, and what that look tells is kept in a frame that does
not turn. There the looks multiply. Time and level between the ears leave a cone of confusion open; the cones of two
headings cross where the source is, so that turning tells front from behind and above from below, where standing still
is a guess. What is held turns with the head, as long as nothing new is heard.

Headings are degrees counter-clockwise from above, as in :mod:`bat_agent.scene`; where 0 lies does not matter.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bat_agent.hearing.spread import along

Floats = NDArray[np.float64]

SWEEP_DEG, WIDE_DEG = 20.0, 50.0
"""A look is about as much of the newest sound as came within so many degrees of turn; within more, where that would be
less than ``ENOUGH_S``: of a quarter of a second the angle to the side is three times as far off as of two seconds."""
ENOUGH_S, SHORTEST_S = 0.5, 0.25
"""But about no less than that."""
STILL_DEG = 3.0
"""A head that turned no more than that while looks were gathered stands still: the newest look says it all."""
MEMORY_S = 6.0
"""Time constant with which looks are forgotten: sources move, and heads walk."""
LIKE = 0.5
"""From here on, of 2, a look may be of a track."""
TRUST = 1.2
"""Power of a look for each second of new sound in it: looks that overlap say the same."""
CONE, FLAT = 0.35, 0.05
"""Of what a look says, the share that counts by the angle to the side alone, and the share that counts nothing."""
AZIMUTHS, ELEVATIONS = 120, 36
"""Cells of the sphere."""
_LATERAL_BINS = 60
_TRACE_S = 12.0


class Headings:
    """The heading over time, in degrees; what was said last holds until something else is said."""

    def __init__(self, *, jumps: bool = False) -> None:
        """``jumps``: the head has a heading from the end of the stretch before on, as in an environment whose pose is
        that of all the sound that comes with it; else it turns evenly between two times.
        """
        self._jumps = jumps
        self._at: deque[tuple[float, float]] = deque()

    def __len__(self) -> int:
        return len(self._at)

    def clear(self) -> None:
        """Nothing is known any more."""
        self._at.clear()

    def copy(self) -> Headings:
        """The same, to be read while somebody else goes on."""
        other = Headings(jumps=self._jumps)
        other._at = self._at.copy()
        return other

    def say(self, t_s: float, heading_deg: float) -> None:
        """At ``t_s`` (never earlier than the last) the heading is this; turns by less than half a circle at a time."""
        if self._at:
            last = self._at[-1][1]
            heading_deg = last + (heading_deg - last + 180) % 360 - 180
        self._at.append((t_s, heading_deg))
        while self._at[-1][0] - self._at[0][0] > _TRACE_S:
            self._at.popleft()

    @property
    def now_deg(self) -> float:
        """The newest, unwrapped; 0 where nothing was said."""
        return self._at[-1][1] if self._at else 0.0

    def over(self, begin_s: float, end_s: float) -> Floats:
        """Headings at every 5 ms, and at least two, of a stretch of time."""
        times = np.linspace(begin_s, end_s, max(2, round((end_s - begin_s) / 0.005) + 1))
        return self.at(times)

    def at(self, times: Floats) -> Floats:
        """Headings at these times."""
        if not self._at:
            return np.zeros(len(times))
        known, headings = np.array(self._at).T
        if not self._jumps:
            return np.asarray(np.interp(times, known, headings))
        index = np.searchsorted(known, times - 1e-9, side="left")
        return np.asarray(headings[np.minimum(index, len(known) - 1)])

    def steady_s(self, end_s: float, longest_s: float) -> float:
        """Seconds before ``end_s``, at most ``longest_s``, of which a look is to be (``SWEEP_DEG``)."""
        if len(self._at) < 2:
            return longest_s
        headings = self.over(end_s - longest_s, end_s)[1:][::-1]
        swept = np.maximum.accumulate(headings) - np.minimum.accumulate(headings)

        def within(most_deg: float) -> float:
            return longest_s * int(np.searchsorted(swept, most_deg + 1e-6, side="right")) / len(headings)

        # Sound from before and after one large turn at once is of two places, and of none between them.
        jumped = np.abs(np.diff(headings)) > SWEEP_DEG
        since_s = longest_s * (int(jumped.argmax()) + 1 if jumped.any() else len(headings)) / len(headings)
        steady = max(within(SWEEP_DEG), min(within(WIDE_DEG), ENOUGH_S, since_s), SHORTEST_S)
        return min(math.floor(100 * steady + 0.5) / 100, longest_s)


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


@dataclass(frozen=True)
class Placed:
    """Where a source is in the frame of now."""

    azimuth_deg: float
    elevation_deg: float
    azimuth: Floats
    """(360,) probabilities."""
    elevation: Floats
    """(180,) probabilities."""
    fused: bool
    """Whether looks from several headings were joined; else it is what one look said, turned."""


@dataclass(eq=False)
class _Track:
    number: int
    log: Floats
    """(AZIMUTHS, ELEVATIONS) logarithm of the posterior, in the frame that does not turn."""
    classes: Floats
    t_s: float
    last: Look
    last_deg: float
    """Heading of the last look."""
    headings: deque[tuple[float, float]] = field(default_factory=deque)
    """Time and heading of looks that are still remembered."""


class Turning:
    """Joins looks of one head, source by source. Not for several threads at once."""

    def __init__(self, *, jumps: bool = False, memory_s: float = MEMORY_S) -> None:
        """``jumps`` as in :class:`Headings`."""
        self.headings = Headings(jumps=jumps)
        self._memory_s = memory_s
        self._tracks: list[_Track] = []
        self._numbers = itertools.count(1)

    def clear(self) -> None:
        """Nothing that was heard is still there, and the heading is unknown."""
        self.headings.clear()
        self._tracks.clear()

    def look(self, looks: Sequence[Look], t_s: float, window_s: float, new_s: float) -> list[Placed]:
        """Take what is heard in the ``window_s`` before ``t_s``, of which ``new_s`` were in no look before; returns
        where each source is now, in the same order.
        """
        heading = float(self.headings.over(t_s - window_s, t_s).mean())
        power = TRUST * min(new_s, window_s)
        said = [_likelihood(look, heading) for look in looks]
        found: list[Placed] = []
        pairs = self._pairs(looks, said)
        for number, (look, log) in enumerate(zip(looks, said, strict=True)):
            track = pairs.get(number)
            if track is None:
                track = _Track(next(self._numbers), np.zeros_like(log), np.zeros(len(look.class_probs)), t_s, look, 0.0)
                self._tracks.append(track)
            self._join(track, look, log * power, t_s, heading)
            found.append(self._placed(track))
        self._tracks = [track for track in self._tracks if t_s - track.t_s < self._memory_s]
        return found

    def turned(self, azimuth_deg: float, since_deg: float) -> float:
        """An azimuth that was said at an (unwrapped) heading, as it is at the heading of now."""
        return (azimuth_deg + since_deg - self.headings.now_deg) % 360

    def _join(self, track: _Track, look: Look, log: Floats, t_s: float, heading: float) -> None:
        track.log *= math.exp(-(t_s - track.t_s) / self._memory_s)
        track.log += log
        track.log -= track.log.max()
        track.classes = 0.7 * track.classes + 0.3 * look.class_probs
        track.t_s, track.last, track.last_deg = t_s, look, heading
        track.headings.append((t_s, heading))
        while t_s - track.headings[0][0] > self._memory_s:
            track.headings.popleft()

    def _placed(self, track: _Track) -> Placed:
        now, look = self.headings.now_deg, track.last
        gathered = [heading for _, heading in track.headings]
        if max(gathered) - min(gathered) <= STILL_DEG:
            turn = track.last_deg - now
            azimuth = shifted(np.asarray(look.azimuth, float), turn)
            return Placed(
                (look.azimuth_deg + turn) % 360, look.elevation_deg, azimuth, np.asarray(look.elevation, float), False
            )
        mass = np.exp(track.log) * _sphere().area
        mass /= mass.sum()
        x, y, z = _peak(mass)
        azimuth_deg = (math.degrees(math.atan2(y, x)) - now) % 360
        elevation_deg = math.degrees(math.asin(min(max(z, -1.0), 1.0)))
        return Placed(azimuth_deg, elevation_deg, _azimuths(mass.sum(axis=1), now), _elevations(mass.sum(axis=0)), True)

    def _pairs(self, looks: Sequence[Look], said: Sequence[Floats]) -> dict[int, _Track]:
        """Number of a look → the track that it goes on."""
        if not looks or not self._tracks:
            return {}
        alike = np.array(
            [[_alike(look, log, track) for track in self._tracks] for look, log in zip(looks, said, strict=True)]
        )
        return {row: self._tracks[column] for row, column in _paired(alike)}


def _paired(alike: Floats) -> list[tuple[int, int]]:
    """Looks and tracks in the pairs with the largest sum of likenesses above ``LIKE``.

    Track after track, of every set of looks that may have found theirs the best pairs: looks are few, tracks may be
    many. (scipy has an algorithm for it, but is not everywhere where looks are joined.)
    """
    best: dict[int, tuple[float, list[tuple[int, int]]]] = {0: (0.0, [])}
    for column in range(alike.shape[1]):
        for paired, (total, pairs) in list(best.items()):
            for row in range(alike.shape[0]):
                if paired >> row & 1 or alike[row, column] <= LIKE:
                    continue
                now, sum_now = paired | 1 << row, total + float(alike[row, column])
                if now not in best or sum_now > best[now][0]:
                    best[now] = (sum_now, [*pairs, (row, column)])
    return max(best.values(), key=lambda each: each[0])[1]


def _alike(look: Look, log: Floats, track: _Track) -> float:
    """0 to 2: how much a look sounds like a track, and how much of it lies where that is."""
    here, there = (np.exp(part - part.max()) * _sphere().area for part in (log, track.log))
    overlap = float(np.sqrt(here / here.sum() * (there / there.sum())).sum())
    norms = float(np.linalg.norm(look.class_probs) * np.linalg.norm(track.classes))
    return overlap + (float(look.class_probs @ track.classes) / norms if norms > 0 else 1.0)


# --- the sphere ---


@dataclass(frozen=True)
class _Sphere:
    azimuth: Floats
    """(AZIMUTHS,) radians."""
    elevation: Floats
    """(ELEVATIONS,) radians."""
    area: Floats
    """(1, ELEVATIONS) of each cell, up to a factor."""
    vectors: Floats
    """(AZIMUTHS, ELEVATIONS, 3): right, front, up."""


@cache
def _sphere() -> _Sphere:
    azimuth: Floats = np.asarray((np.arange(AZIMUTHS) + 0.5) * (2 * math.pi / AZIMUTHS), np.float64)
    elevation = ((np.arange(ELEVATIONS) + 0.5) / ELEVATIONS - 0.5) * math.pi
    level = np.cos(elevation)
    vectors = np.stack(
        [
            np.cos(azimuth)[:, None] * level,
            np.sin(azimuth)[:, None] * level,
            np.broadcast_to(np.sin(elevation), (AZIMUTHS, ELEVATIONS)),
        ],
        axis=-1,
    )
    return _Sphere(azimuth, elevation, np.asarray(level[None], np.float64), vectors)


def _likelihood(look: Look, heading_deg: float) -> Floats:
    """(AZIMUTHS, ELEVATIONS) logarithm of how well each direction of the frame that does not turn explains a look.

    A mixture: of the look's own distribution, of its distribution over the angle to the side alone, whatever front,
    behind, above and below, and of anything. Each is relative to a sphere without a preference.
    """
    sphere = _sphere()
    own = _density(look.azimuth, look.elevation)
    turned = sphere.azimuth - math.radians(heading_deg)
    place = np.degrees(turned) % 360 / (360 / AZIMUTHS) - 0.5
    low = np.floor(place).astype(int)
    share = (place - low)[:, None]
    direct = (1 - share) * own[low % AZIMUTHS] + share * own[(low + 1) % AZIMUTHS]
    # The sphere has equal areas in equal steps of the sine of the angle to the side.
    side = (np.cos(turned)[:, None] * np.cos(sphere.elevation) + 1) / 2 * _LATERAL_BINS - 0.5
    cone = np.interp(side, np.arange(_LATERAL_BINS), _lateral(own))
    return np.asarray(np.log((1 - CONE - FLAT) * direct + CONE * cone + FLAT))


def _density(azimuth: NDArray[np.floating], elevation: NDArray[np.floating]) -> Floats:
    """(AZIMUTHS, ELEVATIONS) in the frame of the head; its mean over the sphere is 1."""
    across = np.asarray(azimuth, float).reshape(AZIMUTHS, -1).sum(axis=1)
    across = 0.5 * across + 0.25 * (np.roll(across, 1) + np.roll(across, -1))
    up = np.asarray(elevation, float).reshape(ELEVATIONS, -1).sum(axis=1)
    density = across[:, None] * (up / np.cos(_sphere().elevation))
    return np.asarray(density / np.average(density, weights=np.broadcast_to(_sphere().area, density.shape)))


@cache
def _bins_of_side() -> tuple[NDArray[np.intp], Floats]:
    side = _sphere().vectors[..., 0]
    bins = np.minimum(((side + 1) / 2 * _LATERAL_BINS).astype(int), _LATERAL_BINS - 1).ravel()
    areas = np.broadcast_to(_sphere().area, side.shape).ravel()
    return np.asarray(bins), np.asarray(np.bincount(bins, weights=areas, minlength=_LATERAL_BINS))


def _lateral(density: Floats) -> Floats:
    """(_LATERAL_BINS,) mean density at each angle to the side, in even steps of its sine."""
    bins, areas = _bins_of_side()
    mass = np.bincount(bins, weights=(density * _sphere().area).ravel(), minlength=_LATERAL_BINS)
    return np.asarray(mass / areas)


def _peak(mass: Floats) -> Floats:
    """Unit vector to where most of the probability is, within some 15°."""
    vectors = _sphere().vectors
    density = mass / _sphere().area
    at = vectors[np.unravel_index(int(density.argmax()), mass.shape)]
    for _ in range(4):
        weight = mass * np.exp((along(vectors, at) - 1) / 0.035)  # a standard deviation of 10.7°
        at = (weight[..., None] * vectors).sum(axis=(0, 1))
        at = at / np.linalg.norm(at)
    return np.asarray(at)


def shifted(probs: Floats, by_deg: float) -> Floats:
    """(360,) probabilities of azimuths, turned by any angle."""
    index = (np.arange(360) - by_deg) % 360
    low = np.floor(index).astype(int)
    share = index - low
    return np.asarray((1 - share) * probs[low % 360] + share * probs[(low + 1) % 360])


def _azimuths(mass: Floats, heading_deg: float) -> Floats:
    """(360,) probabilities in the frame of the head, from those of cells in the frame that does not turn."""
    return shifted(np.repeat(mass, 360 // AZIMUTHS) / (360 // AZIMUTHS), -heading_deg)


def _elevations(mass: Floats) -> Floats:
    return np.repeat(mass, 180 // ELEVATIONS) / (180 // ELEVATIONS)
