"""Sound without a gap while listener and sources move: rendered step by step, tails included, cross-faded.

Each step has one scene. Its samples are those of the whole signal convolved with that step's RIR (overlap-save: only
as much of the past as the RIR is long), so that the reverberation of what sounded before goes on, whatever the size of
the steps. Where the scene has changed, the sound of the old RIR fades into that of the new one at the start of the step
by equal gain, as both carry the same sound. Motion changes delays by these fades, so there is no Doppler shift.

Level: sounds are taken as they are and the sources add up, as they do in air. Clips of the level that the encoders were
trained with are normalised first (:func:`~bat_agent.sound.acoustics.rms_normalise`) and divided by the number of
sources afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from bat_agent.errors import BadInput, BatAgentError
from bat_agent.interfaces import SAMPLE_RATE_HZ, Simulator
from bat_agent.scene import Listener, Scene, Vector

CROSSFADE_S = 0.05
STEP_S = 0.05
_STOP_FADE_S = 0.005


@dataclass(frozen=True, eq=False)
class Track:
    """The dry sound of one source, and when it plays. Working precision and device are those of ``sound``."""

    sound: Tensor
    """(N,) mono at 32 kHz, full scale ±1, floating point; numpy arrays become tensors."""
    start_s: float = 0.0
    """When it begins; negative where it has been sounding before the stream began."""
    stop_s: float | None = None
    """When it falls silent, over the 5 ms before; its reverberation goes on. ``None`` lets it play."""
    loop: bool = True
    """Play it again and again, or once. The seam of a loop is as smooth as the sound makes it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sound", _dry(self.sound))
        stop_s = math.inf if self.stop_s is None else self.stop_s
        if not (math.isfinite(self.start_s) and stop_s > self.start_s):
            raise BadInput(
                f"a track must start at a finite time and stop after it, got start_s={self.start_s} and "
                f"stop_s={self.stop_s}"
            )

    def samples(self, begin: int, end: int) -> Tensor:
        """The dry sound from sample ``begin`` to before ``end`` of the stream, (end − begin,), zeros where silent."""
        index = torch.arange(begin, end, device=self.sound.device)
        place = index - round(self.start_s * SAMPLE_RATE_HZ)
        gain = (place >= 0).to(self.sound.dtype)
        if not self.loop:
            gain *= place < len(self.sound)
        if self.stop_s is not None:
            gain *= ((round(self.stop_s * SAMPLE_RATE_HZ) - index) / (_STOP_FADE_S * SAMPLE_RATE_HZ)).clamp(0, 1)
        return self.sound[place % len(self.sound)] * gain

    def same_as(self, other: Track) -> bool:
        """Whether both play the same samples at the same times."""
        alike = (self.start_s, self.stop_s, self.loop) == (other.start_s, other.stop_s, other.loop)
        return alike and (self.sound is other.sound or torch.equal(self.sound, other.sound))


@dataclass(frozen=True)
class StreamState:
    """What one step leaves to the next. It is never changed: stepping twice from one state gives the same twice."""

    clock: int
    """Samples rendered so far."""
    scene: Scene
    """Scene of the last step."""
    rirs: tuple[Tensor, ...]
    """Its RIRs, (2, taps) for each source; their lengths may differ, also from step to step."""
    tracks: tuple[Track, ...]
    """What the sources play: any of the past that a RIR needs is read from here."""


Sounds = Sequence[Tensor | Track]
"""One for each source; a plain tensor is a :class:`Track` that loops from time 0."""


def render_step(
    simulator: Simulator,
    scene: Scene,
    sounds: Sounds,
    num_samples: int,
    state: StreamState | None = None,
    *,
    crossfade_s: float = CROSSFADE_S,
) -> tuple[Tensor, StreamState]:
    """The next ``num_samples`` that the listener hears, (2, num_samples) float32 at 32 kHz, and the state after them.

    ``state`` is what the step before returned, ``None`` at the beginning. Give the same ``sounds`` (whole, not piece by
    piece) at every step. The sources of a stream stay the same in number and order: one that comes later or goes
    earlier has a :class:`Track` with ``start_s`` or ``stop_s``. A scene equal to the one before is not rendered again,
    and ``render_next`` of the simulator is used where it has one. The fade lasts ``crossfade_s``, or the step if that
    is shorter; a stream begins without one.

    Raises :class:`~bat_agent.errors.BadInput` for sounds that are not mono, finite and floating point, for a number of
    sources or sounds that does not fit or has changed, and for a simulator of another rate.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, int | np.integer) or num_samples < 1:
        raise BadInput(f"num_samples of a step must be a whole number of at least 1, got {num_samples!r}")
    if not (math.isfinite(crossfade_s) and crossfade_s >= 0):
        raise BadInput(f"crossfade_s must be 0 or more seconds, got {crossfade_s!r}")
    tracks = _tracks(sounds, scene, state)
    clock = 0 if state is None else state.clock
    rirs = _render(simulator, scene, state)
    device = tracks[0].sound.device if tracks else "cpu"
    heard = torch.zeros(2, int(num_samples), device=device)
    for track, rir in zip(tracks, rirs, strict=True):
        heard += _play(track, rir, clock, len(heard[0])).to(device)
    if state is not None and rirs is not state.rirs:
        fade = min(round(crossfade_s * SAMPLE_RATE_HZ), len(heard[0]))
        old = torch.zeros(2, fade, device=device)
        for track, rir in zip(tracks, state.rirs, strict=True):
            old += _play(track, rir, clock, fade).to(device)
        rise = torch.sin(math.pi / 2 * (torch.arange(fade, device=device) + 0.5) / max(fade, 1)).square()
        heard[:, :fade] = old + rise * (heard[:, :fade] - old)
    return heard, StreamState(clock + len(heard[0]), scene, rirs, tracks)


class Stream:
    """What a listener hears over time: :func:`render_step` with its state kept.

    >>> stream = Stream(simulator, [sound])  # doctest: +SKIP
    >>> first, then = stream.step(scene, 0.25), stream.step(turned, 0.25)  # doctest: +SKIP
    """

    def __init__(self, simulator: Simulator, sounds: Sounds, *, crossfade_s: float = CROSSFADE_S) -> None:
        """Nothing is rendered yet. Raises :class:`~bat_agent.errors.BadInput` for sounds that cannot be played."""
        self.simulator = simulator
        self.tracks = tuple(sound if isinstance(sound, Track) else Track(sound) for sound in sounds)
        self.crossfade_s = crossfade_s
        self.state: StreamState | None = None
        self._seconds = 0.0

    @property
    def time_s(self) -> float:
        """Seconds rendered so far."""
        return 0.0 if self.state is None else self.state.clock / SAMPLE_RATE_HZ

    def step(self, scene: Scene, seconds: float) -> Tensor:
        """The next ``seconds`` in ``scene``: (2, samples) float32 at 32 kHz; errors as for :func:`render_step`.

        Steps that are no whole number of samples are rounded so that time never drifts by more than half a sample.
        After an error the stream stands where it stood.
        """
        if not (math.isfinite(seconds) and seconds > 0):
            raise BadInput(f"a step must last a positive number of seconds, got {seconds!r}")
        clock = 0 if self.state is None else self.state.clock
        samples = max(1, round((self._seconds + seconds) * SAMPLE_RATE_HZ) - clock)
        heard, self.state = render_step(
            self.simulator, scene, self.tracks, samples, self.state, crossfade_s=self.crossfade_s
        )
        self._seconds += seconds
        return heard

    def reset(self) -> None:
        """Back to time 0, with nothing sounding from before."""
        self.state, self._seconds = None, 0.0


@dataclass(frozen=True)
class Waypoints:
    """A quantity given at some times: straight lines in between, at rest before the first and after the last."""

    times_s: tuple[float, ...]
    """Strictly rising."""
    values: tuple[tuple[float, ...], ...]
    """One for each time, all of one length."""

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.times_s, self.times_s[1:], strict=False))
        if not self.times_s or not rising or not all(math.isfinite(t) for t in self.times_s):
            raise BadInput(f"waypoints need times that rise, at least one, got {self.times_s}")
        if len(self.values) != len(self.times_s) or len({len(value) for value in self.values}) != 1:
            raise BadInput("waypoints need one value for each time, all with as many numbers")

    def at(self, time_s: float) -> tuple[float, ...]:
        """The value at a time."""
        return tuple(float(np.interp(time_s, self.times_s, column)) for column in zip(*self.values, strict=True))


@dataclass(frozen=True)
class MovingScene:
    """A scene in which listener and sources follow waypoints."""

    scene: Scene
    """Everything that does not move."""
    listener_m: Waypoints | None = None
    """Positions of the listener, metres."""
    heading_deg: Waypoints | None = None
    """Headings of the listener, one number each; from 0 to 360 is one turn."""
    sources_m: tuple[Waypoints | None, ...] = ()
    """Positions of each source, metres; empty where none moves."""

    def at(self, time_s: float) -> Scene:
        """The scene at a time. Raises :class:`~bat_agent.errors.BadInput` where something has left the room then."""
        if not self.times_s:
            return self.scene
        listener, sources = self.scene.listener, list(self.scene.sources)
        position = _point(self.listener_m, time_s, listener.position_m)
        heading = self.heading_deg.at(time_s)[0] if self.heading_deg else listener.heading_deg
        for number, way in enumerate(self.sources_m):
            here = sources[number]
            sources[number] = replace(here, position_m=_point(way, time_s, here.position_m))
        try:
            return replace(self.scene, listener=Listener(position, heading), sources=tuple(sources))
        except BadInput as error:
            raise BadInput(f"at {time_s:g} s: {error}") from error

    @property
    def times_s(self) -> list[float]:
        """Every time that a waypoint names, rising; empty where nothing moves."""
        ways = (self.listener_m, self.heading_deg, *self.sources_m)
        return sorted({time for way in ways if way is not None for time in way.times_s})


def render_moving(
    simulator: Simulator,
    scene_at: Callable[[float], Scene],
    sounds: Sounds,
    seconds: float,
    *,
    step_s: float = STEP_S,
    watch: Callable[[StreamState], None] = lambda state: None,
) -> Tensor:
    """Everything that is heard in ``seconds``, (2, N) float32 at 32 kHz, while the scene changes with time.

    ``scene_at`` gives the scene at a time, as :meth:`MovingScene.at` does. Every step fades, over its whole length,
    from where things are at its beginning to where they are at its end; only the first stays with the beginning.
    ``watch`` is called with the state after each step, as for progress or to keep RIRs. Errors as for
    :func:`render_step`.
    """
    if not (math.isfinite(step_s) and step_s > 0 and math.isfinite(seconds) and seconds > 0):
        raise BadInput(f"seconds and step_s must be positive numbers, got {seconds!r} and {step_s!r}")
    stream = Stream(simulator, sounds, crossfade_s=step_s)
    steps = max(1, math.ceil(seconds / step_s - 1e-9))
    parts = []
    for number in range(steps):
        end_s = min((number + 1) * step_s, seconds)
        scene = scene_at(end_s if number else 0.0)
        try:
            parts.append(stream.step(scene, end_s - number * step_s))
        except BadInput as error:
            if not number:
                raise
            raise BadInput(f"at {end_s:g} s: {error}") from error
        assert stream.state is not None
        watch(stream.state)
    return torch.cat(parts, dim=-1)


def _point(way: Waypoints | None, time_s: float, at_rest: Vector) -> Vector:
    if way is None:
        return at_rest
    x, y, z = way.at(time_s)
    return x, y, z


def _play(track: Track, rir: Tensor, clock: int, num_samples: int) -> Tensor:
    """(2, num_samples) of the whole sound convolved with ``rir``, from sample ``clock`` on."""
    rir = rir.to(track.sound)
    past = rir.shape[-1] - 1
    dry = track.samples(clock - past, clock + num_samples)
    if not bool(dry.any()):  # digital silence must stay so: an FFT would leave noise at −120 dB
        return torch.zeros(2, num_samples, device=dry.device)
    # The circle is as long as the window, so what wraps around falls on the first ``past`` samples, which are dropped.
    size = next_fast_len(len(dry), real=True)
    wet = torch.fft.irfft(torch.fft.rfft(dry, size) * torch.fft.rfft(rir, size), size)
    return wet[:, past : past + num_samples].float()


def _render(simulator: Simulator, scene: Scene, state: StreamState | None) -> tuple[Tensor, ...]:
    """RIRs of ``scene``; the very tuple of ``state`` where nothing has changed."""
    if simulator.sample_rate_hz != SAMPLE_RATE_HZ:
        raise BadInput(
            f"the simulator renders at {simulator.sample_rate_hz} Hz, expected {SAMPLE_RATE_HZ} Hz; set its rate"
        )
    if state is not None and state.scene == scene:
        return state.rirs
    render_next = getattr(simulator, "render_next", None)
    rirs = simulator.render(scene) if state is None or render_next is None else render_next(scene, state.scene)
    whose = f"simulator {type(simulator).__name__}"
    if len(rirs) != len(scene.sources):
        raise BatAgentError(f"{whose} gave {len(rirs)} RIRs for {len(scene.sources)} sources; this is a bug in it")
    for number, rir in enumerate(rirs):
        if rir.ndim != 2 or rir.shape[0] != 2 or not rir.shape[1] or not bool(rir.isfinite().all()):
            raise BatAgentError(
                f"{whose} gave a RIR of shape {tuple(rir.shape)} for source {number}, expected (2, taps) of finite "
                "numbers; this is a bug in it"
            )
    return tuple(rirs)


def _tracks(sounds: Sounds, scene: Scene, state: StreamState | None) -> tuple[Track, ...]:
    """One checked track for each source; those of ``state`` where there is one."""
    if state is not None and not len(sounds) == len(scene.sources) == len(state.tracks):
        raise BadInput(
            f"the stream began with {len(state.tracks)} sources, expected as many in every step, got "
            f"{len(scene.sources)} and {len(sounds)} sounds; let one come and go by start_s and stop_s of its Track"
        )
    if len(sounds) != len(scene.sources):
        raise BadInput(f"the scene has {len(scene.sources)} sources, got {len(sounds)} sounds; give one sound to each")
    if state is None:
        return tuple(sound if isinstance(sound, Track) else Track(sound) for sound in sounds)
    for number, (sound, known) in enumerate(zip(sounds, state.tracks, strict=True)):
        if sound is known:
            continue
        if not (sound if isinstance(sound, Track) else Track(sound)).same_as(known):
            raise BadInput(
                f"the sound of source {number} is another one than in the step before; give the whole sound at every "
                "step, or begin a new stream with state=None"
            )
    return state.tracks


def _dry(sound: Any) -> Tensor:
    if isinstance(sound, np.ndarray):
        sound = torch.from_numpy(np.ascontiguousarray(sound))
    if not isinstance(sound, Tensor) or sound.ndim != 1 or not len(sound):
        what = f"shape {tuple(sound.shape)}" if isinstance(sound, Tensor) else type(sound).__name__
        raise BadInput(f"a dry sound must be a mono tensor of shape (samples,) at 32 kHz, got {what}; take one channel")
    if not sound.is_floating_point():
        raise BadInput(f"a dry sound must hold floats in ±1, got {sound.dtype}; divide integers by their full scale")
    if not bool(sound.isfinite().all()):
        raise BadInput("a dry sound holds NaN or infinite samples; check how it was recorded or computed")
    sound = sound if sound.dtype == torch.float64 else sound.float()
    return sound.detach() if sound.requires_grad else sound
