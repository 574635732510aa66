"""A room that is rendered while it is listened to: a scene file, or a sound that walks around the listener."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.blocks import Block, Notice

if TYPE_CHECKING:
    from bat_agent.interfaces import Simulator
    from bat_agent.scenes.moving import MovingScene, Stream, Track

STEP_S = 0.1
ROUND_S = 24.0
RADIUS_M = 2.0
_CORNERS = 48


class Simulated:
    """A scene that sounds; with ``pace="fast"`` by a clock of its own and without waiting."""

    def __init__(
        self,
        moving: MovingScene,
        tracks: list[Track],
        simulator: Simulator,
        seconds: float | None,
        name: str,
        pace: str,
    ) -> None:
        """See :func:`walk` and :func:`scene`."""
        self.name, self.live = name, pace == "real"
        self.sample_rate_hz, self.channels = SAMPLE_RATE_HZ, 2
        self.seconds = seconds
        self._moving, self._tracks, self._simulator = moving, tracks, simulator
        self._stream: Stream | None = None
        self._begin_s: float | None = None
        self._clock_s = 0.0

    def open(self) -> None:
        """Begin, or go on where it was closed."""
        from bat_agent.scenes.moving import Stream

        self._stream = self._stream or Stream(self._simulator, self._tracks)
        self._begin_s = None

    def read(self, timeout_s: float) -> list[Block | Notice]:
        """The next tenth of a second, when its time has come."""
        assert self._stream is not None
        now_s = self._stream.time_s
        if self.seconds is not None and now_s >= self.seconds - 1e-6:
            return [Notice("ended", f"{self.name} has ended", self.clock_s())]
        if self._begin_s is None:
            self._begin_s = time.monotonic() - now_s
        sound = self._stream.step(self._moving.at(self._time_in_scene(now_s)), STEP_S).cpu().numpy()
        sound = sound / len(self._tracks)
        self._clock_s = now_s + STEP_S
        if self.live:
            time.sleep(max(0.0, self._begin_s + self._clock_s - time.monotonic()))
        return [Block(np.ascontiguousarray(sound.T, dtype=np.float32), self.clock_s())]

    def _time_in_scene(self, now_s: float) -> float:
        times = self._moving.times_s
        return now_s if self.seconds is not None or not times else now_s % times[-1]

    def clock_s(self) -> float:
        """Monotonic time, or the time of the samples."""
        return time.monotonic() if self.live else self._clock_s

    def close(self) -> None:
        """Stand still."""


def walk(label: str, *, pace: str = "real", seconds: float | None = None) -> Simulated:
    """Something walks around the listener of a room, once in 24 s: an audio file, or what is synthesised by its label.

    Raises :class:`~bat_agent.errors.BadInput` for a label that cannot be synthesised.
    """
    from bat_agent.labels import class_number, labels
    from bat_agent.registry import load_simulator
    from bat_agent.scene import Listener, Room, Scene, Source
    from bat_agent.scenes.moving import MovingScene, Waypoints
    from bat_agent.scenes.playing import track_of
    from bat_agent.scenes.scene_file import Playing
    from bat_agent.sound.audio import read_mono

    samples = read_mono(label) if Path(label).is_file() else None
    named = () if samples is not None else (labels()[class_number(label)],)
    room, ears = Room((7.0, 2.8, 6.0), 0.35), (3.5, 1.5, 3.0)
    turns = [2 * math.pi * corner / _CORNERS for corner in range(_CORNERS + 1)]
    places = tuple((ears[0] + RADIUS_M * math.cos(a), 1.2, ears[2] - RADIUS_M * math.sin(a)) for a in turns)
    way = Waypoints(tuple(ROUND_S * corner / _CORNERS for corner in range(_CORNERS + 1)), places)
    source = Source(places[0], labels=named)
    moving = MovingScene(Scene(room, Listener(ears), (source,)), sources_m=(way,))
    track = track_of(0, source, Playing(loop=True), samples, ROUND_S, 0)
    name = f"{label} walking around you (rendered)"
    return Simulated(moving, [track], load_simulator("shoebox"), seconds, name, pace)


def scene(path: str | Path, *, pace: str = "real", seconds: float | None = None) -> Simulated:
    """A scene file, as ``bat-agent render`` takes it; over and over where nothing ends it."""
    from bat_agent.scenes.playing import SYNTHESIS_LIMIT_S, track_of
    from bat_agent.scenes.rendering import simulator_of
    from bat_agent.scenes.scene_file import read_scene_file
    from bat_agent.sound.audio import read_mono

    described = read_scene_file(Path(path))
    still = described.moving.scene
    tracks = [
        track_of(
            number, source, playing, None if playing.sound is None else read_mono(playing.sound),
            seconds or SYNTHESIS_LIMIT_S, still.seed,
        )
        for number, (source, playing) in enumerate(zip(still.sources, described.playing, strict=True))
    ]  # fmt: skip
    name = f"{Path(path).name} (rendered)"
    return Simulated(described.moving, tracks, simulator_of(still), seconds, name, pace)
