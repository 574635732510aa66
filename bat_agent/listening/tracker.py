"""Which of the sources heard now is which of those heard before: perceptions joined into tracks.

Every look gives a few sources with class, direction and distance, all of them uncertain. A source goes to the track
that it fits best by angle and by what sounds; what fits none begins a track, which is told once it was heard twice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bat_agent.hearing.perception import PerceivedSource
from bat_agent.hearing.spread import WORDS
from bat_agent.listening.events import TrackedSource, TrackState
from bat_agent.scene import region

FOLLOW_S = 0.6
"""Time constant with which a track follows what is heard of it."""
TURNED_DEG = 45.0
"""Further away than this from its track, a source has moved, or was mistaken for its mirror image before."""
GATE_DEG = 60.0
"""Another class at a greater angle is another source."""
STRANGE = 1.5
"""What another class costs, in gates."""
KEEP_S = 2.0
"""A track that was not heard for so long is gone."""
HITS = 2
"""Looks in which a source must be heard before it is told."""


@dataclass
class _Track:
    number: int
    source: PerceivedSource
    first_s: float
    last_s: float
    hits: int = 1
    direction: np.ndarray | None = None
    """Unit vector (right, front, up)."""
    distance_m: float | None = None
    votes: dict[str, float] = field(default_factory=dict)
    """How much each class was heard."""
    away: int = 0
    """Looks in a row that heard it far from here."""


class Tracker:
    """Joins what is heard, look by look."""

    def __init__(self, *, hits: int = HITS, keep_s: float = KEEP_S) -> None:
        """``hits`` and ``keep_s`` as :data:`HITS` and :data:`KEEP_S`, for looks that lie further apart than live."""
        self._hits, self._keep_s, self._doubted_s = hits, keep_s, 0.3 * keep_s
        self._tracks: list[_Track] = []
        self._numbers = itertools.count(1)
        self._t_s: float | None = None

    def clear(self) -> None:
        """Nothing that was heard is still there; numbers go on."""
        self._tracks.clear()

    def turn(self, by_deg: float) -> None:
        """The head has turned counter-clockwise by so much: what is followed lies elsewhere for it."""
        cosine, sine = math.cos(math.radians(by_deg)), math.sin(math.radians(by_deg))
        for track in self._tracks:
            if track.direction is not None:
                right, front, up = track.direction
                track.direction = np.array([cosine * right + sine * front, cosine * front - sine * right, up])

    def look(self, sources: Sequence[PerceivedSource], t_s: float) -> tuple[TrackedSource, ...]:
        """All tracks as of now: those heard now first, by confidence."""
        step_s = 0.25 if self._t_s is None else max(t_s - self._t_s, 1e-3)
        self._t_s = t_s
        taken = set()
        for number, track in self._pairs(sources):
            taken.add(number)
            _follow(track, sources[number], t_s, step_s)
        for number, source in enumerate(sources):
            if number not in taken:
                self._tracks.append(_begin(next(self._numbers), source, t_s))
        self._tracks = [track for track in self._tracks if t_s - track.last_s < self._patience_s(track)]
        told = [_tell(track, t_s) for track in self._tracks if track.hits >= self._hits]
        return tuple(sorted(told, key=lambda one: (one.unheard_s > 0, -one.source.confidence)))

    def heard(self) -> tuple[tuple[TrackedSource, PerceivedSource], ...]:
        """What the newest look heard, also of tracks that are not told yet: as followed, and as that look has it."""
        return tuple((_tell(track, track.last_s), track.source) for track in self._tracks if track.last_s == self._t_s)

    def _patience_s(self, track: _Track) -> float:
        return self._keep_s if track.hits >= self._hits else self._doubted_s

    def _pairs(self, sources: Sequence[PerceivedSource]) -> list[tuple[int, _Track]]:
        if not sources or not self._tracks:
            return []
        costs = [[_cost(source, track) for track in self._tracks] for source in sources]
        return [(row, self._tracks[column]) for row, column in assigned(costs) if costs[row][column] < 1 + STRANGE]


def assigned(costs: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """(row, column) pairs of least total cost, as many as there can be, each row and column once, by rows.

    Columns are taken one after the other; of all ways to have served the same rows the cheapest is kept. That is exact,
    and quick as long as rows, the sources of one look, are few.
    """
    best: dict[int, tuple[float, tuple[tuple[int, int], ...]]] = {0: (0.0, ())}
    for column in range(len(costs[0])):
        for served, (total, pairs) in list(best.items()):
            for row, each in enumerate(costs):
                with_it = served | 1 << row
                cost = total + each[column]
                if with_it != served and cost < best.get(with_it, (math.inf, ()))[0]:
                    best[with_it] = (cost, (*pairs, (row, column)))
    most = min(len(costs), len(costs[0]))
    full = [found for served, found in best.items() if bin(served).count("1") == most]
    return sorted(min(full)[1])


def _cost(source: PerceivedSource, track: _Track) -> float:
    """0 for what fits; from 1 + STRANGE on it is another source."""
    total = sum(track.votes.values())
    alike = sum(track.votes.get(label, 0.0) for label in source.labels[:1]) / total if total else 1.0
    here = _vector(source)
    apart = 0.0 if here is None or track.direction is None else _apart_deg(here, track.direction) / GATE_DEG
    # The same class may be anywhere: front and behind are mistaken for each other.
    return STRANGE * (1 - alike) + (min(apart, 0.9) if alike > 0.5 else apart)


def _begin(number: int, source: PerceivedSource, t_s: float) -> _Track:
    votes = dict.fromkeys(source.labels[:1], label_weight(source))
    return _Track(number, source, t_s, t_s, 1, _vector(source), source.distance_m, votes)


def _follow(track: _Track, source: PerceivedSource, t_s: float, step_s: float) -> None:
    share = 1 - math.exp(-step_s / FOLLOW_S)
    here = _vector(source)
    if here is None:
        track.direction, track.distance_m = None, None
    elif track.direction is None or _is_elsewhere(track, here):
        track.direction, track.distance_m, track.away = here, source.distance_m, 0
    else:
        if track.away == 0:
            track.direction = _unit((1 - share) * track.direction + share * here)
        if source.distance_m is not None:
            before = source.distance_m if track.distance_m is None else track.distance_m
            track.distance_m = (1 - share) * before + share * source.distance_m
    forget = math.exp(-step_s / 2.0)
    track.votes = {label: forget * weight for label, weight in track.votes.items()}
    for label in source.labels[:1]:
        track.votes[label] = track.votes.get(label, 0.0) + label_weight(source)
    track.source, track.last_s, track.hits = source, t_s, track.hits + 1


def label_weight(source: PerceivedSource) -> float:
    """How much the name that a look gives counts: that something sounds may be certain, and what it is a guess."""
    return source.confidence * source.confidences.get("label", 1.0)


def _is_elsewhere(track: _Track, here: np.ndarray) -> bool:
    """Whether it was heard far off a second time in a row; once may be a mistake, and is not followed."""
    assert track.direction is not None
    if _apart_deg(here, track.direction) <= TURNED_DEG:
        track.away = 0
        return False
    track.away += 1
    return track.away >= 2


def _tell(track: _Track, t_s: float) -> TrackedSource:
    label = max(track.votes, key=lambda name: track.votes[name]) if track.votes else None
    labels = track.source.labels if label is None else (label, *(x for x in track.source.labels if x != label))
    azimuth_deg = elevation_deg = None
    if track.direction is not None:
        right, front, up = track.direction
        azimuth_deg = float(np.degrees(np.arctan2(front, right)) % 360)
        if track.source.elevation_deg is not None:  # an encoder may know azimuths alone
            elevation_deg = float(np.degrees(np.arcsin(np.clip(up, -1, 1))))
    source = replace(
        track.source, labels=labels, azimuth_deg=azimuth_deg, elevation_deg=elevation_deg, distance_m=track.distance_m,
        undecided=_undecided(track.source, azimuth_deg, elevation_deg),
        guessed=track.source.guessed or label not in (None, *track.source.labels),
    )  # fmt: skip
    unheard_s = t_s - track.last_s
    state: TrackState = "vanishing" if unheard_s > 0 else ("appearing" if track.hits < HITS + 2 else "steady")
    return TrackedSource(track.number, state, source, t_s - track.first_s, unheard_s)


def _undecided(now: PerceivedSource, azimuth_deg: float | None, elevation_deg: float | None) -> tuple[str, ...]:
    """The axes that the newest look leaves open, and those on which it has the source on another side than the track:
    who asks about the same sound is answered by that look alone.
    """
    if azimuth_deg is None or now.region is None:
        return ()
    own = region(azimuth_deg, elevation_deg or 0.0).split(", ")
    told = now.region.split(", ")
    return tuple(axis for axis, a, b in zip(WORDS, own, told, strict=False) if axis in now.undecided or a != b)


def _vector(source: PerceivedSource) -> np.ndarray | None:
    if source.azimuth_deg is None:
        return None
    azimuth, elevation = np.radians(source.azimuth_deg), np.radians(source.elevation_deg or 0.0)
    return np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-6 else vector


def _apart_deg(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(one @ other, -1, 1))))
