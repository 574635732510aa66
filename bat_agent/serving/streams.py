"""Sound rendered for agents in other processes: a scene, its dry sounds, and the poses that come step by step.

All methods of :class:`Streams` but :meth:`Streams.check_room` are called by one thread alone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from bat_agent.errors import BadInput, BatAgentError
from bat_agent.interfaces import SAMPLE_RATE_HZ, Simulator
from bat_agent.scene import Listener, MeshRoom, Scene, Source
from bat_agent.scenes.moving import Stream, Track
from bat_agent.sound.ring import Ring

LEAST_STEP_S, LONGEST_STEP_S = 0.001, 10.0
LEAST_WINDOW_S, LONGEST_WINDOW_S = 0.02, 10.0
_MEGABYTE = 10**6
_LONGEST_NAME = 64  # characters, of 4 bytes at most: file systems take 255


class NoStream(BatAgentError):
    """There is no stream of this name, or no longer."""


@dataclass(frozen=True)
class StreamLimits:
    """What all streams together may cost; compared before memory is spent."""

    streams: int = 64
    """Open at the same time."""
    sources: int = 16
    """Of one stream."""
    kept_bytes: int = 512 * _MEGABYTE
    """Dry sounds and windows of all of them."""
    idle_s: float = 900.0
    """A stream in which nobody took a step for so long is closed."""


@dataclass(frozen=True)
class Step:
    """What an agent asks for: the next ``seconds`` at this pose."""

    number: int
    """Counted from 1; the number of the step before gets the same sound again."""
    seconds: float
    listener: Listener
    sources: tuple[Source, ...]
    begins: bool
    """Whether an episode begins: nothing sounds from before."""

    @classmethod
    def of(cls, query: Any) -> Step:
        """From the query of a request, a multi-dict; raises :class:`~bat_agent.errors.BadInput`."""
        listener = Listener(_numbers(query, "listener", 3), _numbers(query, "heading_deg", 1, "0")[0])
        sources = tuple(Source(_three("source", text)) for text in query.getlist("source"))
        number = query.get("step", "")
        if not (number.isdecimal() and number.isascii() and len(number) < 16):
            raise BadInput(f"step must be the number of the step, counted from 1, got {number!r:.40}")
        seconds = _numbers(query, "seconds", 1, "0.25")[0]
        if not LEAST_STEP_S <= seconds <= LONGEST_STEP_S:
            raise BadInput(f"seconds of a step must lie in {LEAST_STEP_S:g}…{LONGEST_STEP_S:g}, got {seconds:g}")
        return cls(int(number), seconds, listener, sources, query.get("begins", "0") == "1")


@dataclass
class _Open:
    """One stream."""

    room: MeshRoom
    stream: Stream
    window: Ring
    kept_bytes: int
    used_s: float
    number: int = 0
    heard: np.ndarray = field(default_factory=lambda: np.zeros((2, 0), np.float32))


class _Anew:
    """A simulator that renders each step anew, although it could turn the head in what it rendered before.

    The SoundSpaces engine's reflections, decoded so, lead an encoder astray (docs/habitat.md, "What was run").
    """

    def __init__(self, simulator: Simulator) -> None:
        self.sample_rate_hz = simulator.sample_rate_hz
        self.sample_scene, self.render = simulator.sample_scene, simulator.render
        self.close: Callable[[], None] = getattr(simulator, "close", lambda: None)


class Streams:
    """The streams of one server; their rooms are meshes in one folder.

    Sounds loop from the first step of an episode. Level, fades and tails are those of :mod:`bat_agent.scenes.moving`.
    """

    def __init__(
        self,
        folder: Path,
        simulator: Simulator,
        limits: StreamLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises :class:`~bat_agent.errors.BadInput` where there is no such folder."""
        if not folder.is_dir():
            raise BadInput(f"--scenes {folder} is no folder: give the one that holds the meshes of your scenes")
        self.folder, self.simulator, self.limits = folder.absolute(), _Anew(simulator), limits or StreamLimits()
        self._clock = clock
        self._open: dict[str, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def check_room(self, shape: Sequence[int], window_s: float) -> None:
        """Refuse, by their shape alone, sounds (S, N) for which there is no room."""
        limits = self.limits
        if len(shape) != 2 or not all(shape):
            raise BadInput(f"dry sounds have the shape (sources, samples), mono at 32 kHz, got {tuple(shape)}")
        if shape[0] > limits.sources:
            raise BadInput(f"a stream has at most {limits.sources} sources, got {shape[0]}: leave some out")
        if not LEAST_WINDOW_S <= window_s <= LONGEST_WINDOW_S:
            raise BadInput(f"window_s must lie in {LEAST_WINDOW_S:g}…{LONGEST_WINDOW_S:g} s, got {window_s:g}")
        self._forget()
        if len(self._open) >= limits.streams:
            raise BadInput(
                f"{limits.streams} streams are open, as many as the server takes: close one that is no longer needed"
            )
        kept = sum(one.kept_bytes for one in self._open.values())
        if kept + _bytes_of(shape, window_s) > limits.kept_bytes:
            raise BadInput(
                f"the sounds of all streams would be more than the {limits.kept_bytes / _MEGABYTE:g} MB that the "
                "server keeps: close streams, or give shorter sounds, which are looped"
            )

    def open(self, scene: str, sounds: np.ndarray, window_s: float, turn: Mapping[str, Sequence[float]]) -> str:
        """A new stream; its name. ``turn``: ``up`` and ``front`` of the mesh, where it is not upright.

        Raises :class:`~bat_agent.errors.BadInput` for a scene that is not in the folder, and for sounds that cannot be
        played or for which there is no room.
        """
        self.check_room(sounds.shape, window_s)
        room = MeshRoom(str(self._file(scene)), None, {name: list(axis) for name, axis in turn.items()})
        tracks = [Track(torch.from_numpy(sound.copy())) for sound in sounds]
        name = secrets.token_hex(8)
        self._open[name] = _Open(
            room, Stream(self.simulator, tracks), Ring(round(window_s * SAMPLE_RATE_HZ)),
            _bytes_of(sounds.shape, window_s), self._clock(),
        )  # fmt: skip
        return name

    def step(self, name: str, step: Step) -> tuple[np.ndarray, np.ndarray]:
        """What is heard in the step, (2, n), and the window that ends with it, (2, up to window_s), float32 at 32 kHz.

        Raises :class:`NoStream` where it is not open, and :class:`~bat_agent.errors.BadInput` as
        :meth:`bat_agent.scenes.moving.Stream.step` does and for a step out of turn. After an error the stream stands
        where it stood.
        """
        self._forget()
        one = self._open.get(name)
        if one is None:
            raise NoStream(
                f"no stream {name!r:.40} is open; one in which nothing happened for {self.limits.idle_s:g} s is "
                "closed: open another"
            )
        one.used_s = self._clock()
        if step.number == one.number > 0:  # its reply was lost
            return one.heard, one.window.window()
        if step.number != one.number + 1:
            raise BadInput(f"step {one.number + 1} is next in this stream, got step {step.number}: one agent steps it")
        stream = Stream(self.simulator, one.stream.tracks) if step.begins else one.stream
        heard = stream.step(Scene(one.room, step.listener, step.sources), step.seconds).numpy()
        if step.begins:
            one.window.clear()
        one.window.append(heard)
        one.stream, one.number, one.heard = stream, step.number, heard
        return heard, one.window.window()

    def close(self, name: str) -> bool:
        """Close a stream; whether there was one."""
        return self._open.pop(name, None) is not None

    def end(self) -> None:
        """Close all, and the simulator."""
        self._open.clear()
        self.simulator.close()

    def _forget(self) -> None:
        now = self._clock()
        for name, one in list(self._open.items()):
            if now - one.used_s > self.limits.idle_s:
                self._open.pop(name, None)

    def _file(self, scene: str) -> Path:
        """The file of a scene: below the folder, by as much of the name's end as is there."""
        names = [part for part in PurePosixPath(scene).parts if part != "/"]
        if ".." not in names and "\0" not in scene and max(map(len, names), default=0) < _LONGEST_NAME:
            for begin in range(len(names)):
                if (found := self.folder.joinpath(*names[begin:])).is_file():
                    return found
        raise BadInput(
            f"scene {scene!r:.200} is no file below the folder of the server's scenes: name it as seen from there, "
            "such as mp3d/17DRP5sb8fy/17DRP5sb8fy.glb"
        )


def axes(query: Mapping[str, str]) -> dict[str, tuple[float, ...]]:
    """``up`` and ``front``, where the query names them."""
    return {name: _three(name, query[name]) for name in ("up", "front") if name in query}


def number(query: Mapping[str, str], name: str, default: str) -> float:
    """One number of a query."""
    return _numbers(query, name, 1, default)[0]


def _bytes_of(shape: Sequence[int], window_s: float) -> int:
    # A ring is twice as long as its window, of two ears; the last step is kept, too.
    return 4 * (shape[0] * shape[1] + round((4 * window_s + 2 * LONGEST_STEP_S) * SAMPLE_RATE_HZ))


def _three(name: str, text: str) -> tuple[float, float, float]:
    x, y, z = _numbers({name: text}, name, 3)
    return x, y, z


def _numbers(query: Mapping[str, str], name: str, count: int, default: str = "") -> tuple[Any, ...]:
    text = query.get(name, default)
    try:
        found = tuple(float(part) for part in text[:200].split(","))
    except ValueError:
        found = ()
    if len(found) != count or not np.isfinite(found).all():
        wanted = "a number" if count == 1 else "three numbers, such as 1.5,0,-2"
        raise BadInput(f"{name} must be {wanted}, got {text!r:.80}")
    return found
