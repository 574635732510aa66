"""From a recording to its timeline: looks at short windows, joined into tracks as live hearing joins them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.ears import Ears
from bat_agent.errors import BadInput
from bat_agent.hearing.perception import PerceivedSource, Perception
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.tracker import Tracker, label_weight
from bat_agent.recordings import Recording
from bat_agent.scene import region, unit_vector

EVERY_S = 1.0
WINDOW_S = 2.0
"""How much sound a look is about, as live; more where looks lie further apart, so that nothing is left out."""
_AT_ONCE = 8
_SIDE_SHARE = 2 / 3 - 1e-9
_SHORTEST_STEP_S = 0.01
_SHORTEST_S = 0.5
"""What is left at the end is looked at if it is no shorter."""
Floats = NDArray[np.float32]
_Seen = tuple[float, PerceivedSource, PerceivedSource]
"""When a look heard a track, its source as followed, and as that look alone has it."""


@dataclass(frozen=True)
class Point:
    """A track at one look; ``None`` where the model cannot tell."""

    t_s: float
    """Middle of the window, seconds from the beginning of the recording."""
    azimuth_deg: float | None
    elevation_deg: float | None
    distance_m: float | None
    confidence: float


@dataclass(frozen=True)
class Track:
    """One source from when it was first heard to when it was last heard."""

    number: int
    begin_s: float
    """This and the end are right to about half a window."""
    end_s: float
    label: str | None
    azimuth_deg: float | None
    """Where the look heard it that is nearest to all of :attr:`path`, weighted by confidence; distance is the mean."""
    elevation_deg: float | None
    distance_m: float | None
    confidence: float
    """The mean over the looks."""
    path: tuple[Point, ...]
    """Where it was, look by look."""
    guessed: bool = False
    """Whether the looks that gave the label, weighted as its votes, mostly guessed."""

    @property
    def name(self) -> str | None:
        """The label, as ``perhaps Siren`` where it is a guess."""
        return f"perhaps {self.label}" if self.label and self.guessed else self.label

    @property
    def region(self) -> str | None:
        """In words, such as ``left, front, above``, without what is not known and sides on which it was in less than
        two thirds of the looks, weighted by confidence; ``None`` where nothing is left.
        """
        mine = _sides(self.azimuth_deg, self.elevation_deg)
        looks = [(_sides(point.azimuth_deg, point.elevation_deg), point.confidence + 1e-6) for point in self.path]
        known = [(words, weight) for words, weight in looks if words[0] is not None]
        least = _SIDE_SHARE * sum(weight for _, weight in known)
        kept = [
            word
            for axis, word in enumerate(mine)
            if word is not None and sum(weight for words, weight in known if words[axis] in (word, None)) >= least
        ]
        return ", ".join(kept) or None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the path."""
        return {
            "track": self.number,
            "begin_s": round(self.begin_s, 2),
            "end_s": round(self.end_s, 2),
            "label": self.label,
            "guessed": self.guessed,
            "azimuth_deg": _rounded(self.azimuth_deg, 1),
            "elevation_deg": _rounded(self.elevation_deg, 1),
            "distance_m": _rounded(self.distance_m, 2),
            "region": self.region,
            "confidence": round(self.confidence, 3),
        }


@dataclass(frozen=True)
class Timeline:
    """What was heard of a recording between two moments."""

    name: str
    begin_s: float
    end_s: float
    every_s: float
    window_s: float
    tracks: tuple[Track, ...]
    """By their beginnings."""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the paths of the tracks."""
        return {
            "file": self.name,
            "begin_s": round(self.begin_s, 2),
            "end_s": round(self.end_s, 2),
            "every_s": self.every_s,
            "window_s": self.window_s,
            "tracks": [track.to_dict() for track in self.tracks],
            "notes": list(self.notes),
        }


def hear(
    bat: Ears,
    recording: Recording,
    *,
    begin_s: float = 0.0,
    seconds: float | None = None,
    every_s: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Timeline:
    """Listen to a recording from ``begin_s`` for so long, or to its end, looking every ``every_s`` (1 s unless given).

    ``progress`` is told how many seconds were heard so far. Raises :class:`~bat_agent.errors.BadInput` for a stretch
    that is not in the recording and for a step of less than 10 ms.
    """
    every_s = EVERY_S if every_s is None else every_s
    if not _SHORTEST_STEP_S <= every_s < float("inf"):
        raise BadInput(f"looks must be {_SHORTEST_STEP_S:g} s apart or more, got {every_s:g}")
    clip_s = bat.encoder.clip_seconds
    window_s = min(max(WINDOW_S, every_s), clip_s)
    end_s = recording.seconds if seconds is None else min(recording.seconds, begin_s + seconds)
    looks = []
    for windows in _batches(_windows(recording.ears(begin_s, seconds), window_s, every_s)):
        perceptions = bat.perceive([window for _, window in windows])
        for (first_s, window), perception in zip(windows, perceptions, strict=True):
            looks.append((begin_s + first_s + window.shape[1] / SAMPLE_RATE_HZ / 2, perception))
            if progress is not None:
                progress(first_s + window_s)
    notes = [*recording.notes, *_notes(looks)]
    if every_s > clip_s:
        notes.append(f"{clip_s:g} s of every {every_s:g} s were heard, as the model hears no more at once")
    return Timeline(
        recording.name, begin_s, end_s, every_s, window_s, _tracks(looks, (begin_s, end_s), every_s, window_s),
        tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _windows(pieces: Iterable[Floats], window_s: float, every_s: float) -> Iterator[tuple[float, Floats]]:
    """Windows of a stream, and where they begin in it; the last one ends where the stream ends."""
    size, step = round(window_s * SAMPLE_RATE_HZ), max(round(every_s * SAMPLE_RATE_HZ), 1)
    kept, first, told = np.zeros((2, 0), np.float32), 0, 0
    for piece in pieces:
        kept = np.concatenate([kept, piece], axis=1)
        while first + kept.shape[1] >= told + size and told >= first:
            begin = told - first
            yield told / SAMPLE_RATE_HZ, kept[:, begin : begin + size]
            told += step
        # What no window will need is let go, but for one window, which the last one may need.
        spare = min(told, first + kept.shape[1] - size) - first
        if spare > 0:
            kept, first = kept[:, spare:], first + spare
    end = first + kept.shape[1]
    left = end - (told - step + size) if told else end
    if left >= _SHORTEST_S * SAMPLE_RATE_HZ or (not told and end):
        begin = max(end - size, first)
        yield begin / SAMPLE_RATE_HZ, kept[:, begin - first :]


def _batches(windows: Iterable[tuple[float, Floats]]) -> Iterator[list[tuple[float, Floats]]]:
    """A few at once, all of one length."""
    for _, alike in itertools.groupby(windows, key=lambda window: window[1].shape[1]):
        while batch := list(itertools.islice(alike, _AT_ONCE)):
            yield batch


def _tracks(
    looks: list[tuple[float, Perception]], stretch: tuple[float, float], every_s: float, window_s: float
) -> tuple[Track, ...]:
    # Where windows overlap by half, every sound is in two of them; what is heard once only is then a mistake.
    once = len(looks) < 2 or every_s > window_s / 2
    tracker = Tracker(hits=1 if once else 2, keep_s=2.5 * every_s)
    heard: dict[int, list[_Seen]] = {}
    told: set[int] = set()
    for t_s, perception in looks:
        told.update(tracked.track for tracked in tracker.look(perception.sources, t_s))
        for tracked, alone in tracker.heard():
            heard.setdefault(tracked.track, []).append((t_s, tracked.source, alone))
    # A sound is heard once a quarter of a window has it, and the look that finds that is half a step late.
    margin_s = window_s / 4 - every_s / 2
    found = []
    for number, seen in heard.items():
        if number not in told:
            continue
        begin_s, end_s = seen[0][0] + margin_s, seen[-1][0] - margin_s
        if seen[0][0] <= looks[0][0]:
            begin_s = stretch[0]
        if seen[-1][0] >= looks[-1][0]:
            end_s = stretch[1]
        if end_s - begin_s < every_s / 2:
            middle_s = (begin_s + end_s) / 2
            begin_s, end_s = middle_s - every_s / 4, middle_s + every_s / 4
        found.append(_joined(number, max(begin_s, stretch[0]), min(end_s, stretch[1]), seen))
    ordered = sorted(found, key=lambda track: (track.begin_s, track.number))
    return tuple(replace(track, number=number) for number, track in enumerate(ordered, 1))


def _joined(number: int, begin_s: float, end_s: float, seen: list[_Seen]) -> Track:
    votes: dict[str, float] = {}
    guesses: dict[str, float] = {}
    points = []
    for t_s, source, alone in seen:
        # Of the look alone, as a track's name already is a vote of the looks before it.
        for name in alone.labels[:1]:
            votes[name] = votes.get(name, 0.0) + label_weight(alone)
            guesses[name] = guesses.get(name, 0.0) + label_weight(alone) * alone.guessed
        points.append(Point(t_s, source.azimuth_deg, source.elevation_deg, source.distance_m, source.confidence))
    azimuth_deg, elevation_deg = _heard_most(points)
    far = [(point.distance_m, point.confidence) for point in points if point.distance_m is not None]
    weight = sum(c for _, c in far)
    distance_m = sum(d * c for d, c in far) / weight if weight else None
    label = max(votes, key=lambda one: votes[one]) if votes else None
    confidence = float(np.mean([point.confidence for point in points]))
    guessed = label is not None and guesses[label] > votes[label] / 2
    return Track(
        number, begin_s, end_s, label, azimuth_deg, elevation_deg, distance_m, confidence, tuple(points), guessed
    )


def _heard_most(points: list[Point]) -> tuple[float | None, float | None]:
    """Azimuth and elevation of the look that is nearest to all the others; either is ``None`` where no look told it.

    A mean of looks that took front for behind would lie where nothing was ever heard, on the side or overhead.
    """
    known = [point for point in points if point.azimuth_deg is not None]
    if not known:
        return None, None
    vectors = np.array([unit_vector(point.azimuth_deg or 0.0, point.elevation_deg or 0.0) for point in known])
    weights = np.array([point.confidence + 1e-6 for point in known])
    apart = np.arccos(np.clip(vectors @ vectors.T, -1, 1)) @ weights
    best = known[int(apart.argmin())]
    return best.azimuth_deg, best.elevation_deg


def _notes(looks: list[tuple[float, Perception]]) -> list[str]:
    """What looks remarked: alone where all did, else how many did and where it began; silence only where all is."""
    where: dict[str, list[float]] = {}
    for t_s, perception in looks:
        for note in perception.notes:
            where.setdefault(note, []).append(t_s)
    told = []
    for note, times in where.items():
        if len(times) == len(looks):
            told.append(note)
        elif not note.startswith(("silence", "the clip is very short")):
            told.append(f"{note} (in {len(times)} of {len(looks)} looks, first at {times[0]:.0f} s)")
    return told


def _sides(azimuth_deg: float | None, elevation_deg: float | None) -> tuple[str | None, str | None, str | None]:
    """The word of each axis; ``None`` where it is not known."""
    side, depth, height = region(azimuth_deg or 0.0, elevation_deg or 0.0).split(", ")
    flat = (None, None) if azimuth_deg is None else (side, depth)
    return *flat, None if elevation_deg is None else height


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
