"""From what an environment emits to the last seconds that its agent heard: checked, resampled, kept in a ring."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import soxr

from bat_agent.errors import BadInput
from bat_agent.sound.ring import Ring, Waveform
from bat_agent_envs.client import SAMPLE_RATE_HZ

Feed = Literal["chunk", "window"]
LOWEST_HZ, HIGHEST_HZ = 8_000, 192_000
RECENT_S = 0.1
"""What is kept of the sound as it came, so that a copy of an environment hears on without a seam."""


class Intake:
    """The sound of one environment: ``take`` each step's, ``window`` is what was heard last.

    ``feed`` says whether a step brings the next samples (``chunk``) or all that is to be heard (``window``).
    ``chunk_s`` takes only the beginning of what each step brings: SoundSpaces pads its steps with silence to a second.
    """

    def __init__(self, window_s: float, sample_rate_hz: int, feed: Feed, chunk_s: float | None) -> None:
        self.feed, self.sample_rate_hz = feed, sample_rate_hz
        self._taken = None if chunk_s is None else round(chunk_s * sample_rate_hz)
        self._ring = Ring(round(window_s * SAMPLE_RATE_HZ))
        self._stream: soxr.ResampleStream | None = None
        self.clear()

    def clear(self) -> None:
        """Begin an episode: nothing of the last one may be heard."""
        self._ring.clear()
        self._came = 0
        if self.sample_rate_hz != SAMPLE_RATE_HZ and self.feed == "chunk":
            self._stream = self._new_stream()
        self._recent: Waveform = np.zeros((2, 0), np.float32)

    def __deepcopy__(self, memo: dict[int, Any]) -> Intake:
        """The stream of a resampler cannot be copied: another one hears the last of what this one heard."""
        other = copy.copy(self)
        other._ring, other._recent = copy.deepcopy(self._ring, memo), self._recent.copy()
        if self._stream is not None:
            other._stream = self._new_stream()
            other._stream.resample_chunk(np.ascontiguousarray(self._recent.T))
        return other

    def _new_stream(self) -> soxr.ResampleStream:
        # Of variable rate, as the other kind hands over many samples at once after several steps of none.
        return soxr.ResampleStream(self.sample_rate_hz, SAMPLE_RATE_HZ, 2, dtype="float32", vr=True)

    def take(self, sound: Any) -> float:
        """Hear (2, n) at the environment's rate; returns the seconds it lasts."""
        chunk = checked(sound)[:, : self._taken]
        seconds = chunk.shape[1] / self.sample_rate_hz
        if self.sample_rate_hz != SAMPLE_RATE_HZ and chunk.shape[1]:
            if self._stream is not None:
                # Cut after whole periods, at which input and output are in step, so that a copy's samples fall as
                # these.
                period = self.sample_rate_hz // math.gcd(self.sample_rate_hz, SAMPLE_RATE_HZ)
                recent = np.concatenate((self._recent, chunk), axis=1)
                spare = max(recent.shape[1] - round(RECENT_S * self.sample_rate_hz), 0) // period * period
                self._recent = recent[:, spare:]
                chunk = np.ascontiguousarray(self._stream.resample_chunk(np.ascontiguousarray(chunk.T)).T)
            else:
                chunk = np.ascontiguousarray(soxr.resample(chunk.T, self.sample_rate_hz, SAMPLE_RATE_HZ).T)
        if self.feed == "window":
            self._ring.clear()
        self._ring.append(chunk)
        self._came += chunk.shape[1]
        return seconds

    def window(self, seconds: float | None = None) -> Waveform:
        """What was heard last, (2, N) at 32 kHz; with ``seconds`` no more than that of it."""
        return self._ring.window(None if seconds is None else round(seconds * SAMPLE_RATE_HZ))

    @property
    def came(self) -> int:
        """Samples at 32 kHz of this episode so far."""
        return self._came


def checked(sound: Any) -> Waveform:
    """A chunk as float32 (2, n).

    Raises :class:`~bat_agent.errors.BadInput` for another shape, for integers, NaN and infinite samples.
    """
    chunk = np.asarray(sound)
    check_shape(chunk.shape)
    if not np.issubdtype(chunk.dtype, np.floating):
        raise BadInput(f"the environment's sound must be floats in ±1, got {chunk.dtype}: divide by full scale")
    if not np.isfinite(chunk).all():
        raise BadInput("the environment's sound contains NaN or infinite samples: check how it renders them")
    return chunk.astype(np.float32, copy=False)


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse what is not (2, n), and say what it looks like."""
    if len(shape) == 2 and shape[0] == 2:
        return
    hint = ""
    if len(shape) == 1 or (len(shape) == 2 and 1 in shape):
        hint = ": it looks mono, and one ear hears no direction; render both ears"
    elif len(shape) == 2 and shape[1] == 2:
        hint = ": transpose it, so that channels come first"
    raise BadInput(f"the environment's sound must have shape (2, samples), left ear first, got {tuple(shape)}{hint}")


# --- where the sound comes from ---


def find_sound(space: gym.Space[Any], audio: str | Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """``(env, observation) -> sound`` for an observation space; ``audio`` is a key, ``module:function`` or a callable.

    An observation that is a Box of shape (2, n) is itself the sound. Raises :class:`~bat_agent.errors.BadInput` where
    there is no such key, or where what it holds cannot be binaural sound.
    """
    if callable(audio):
        return lambda env, observation: audio(env)
    if isinstance(space, gym.spaces.Dict) and audio in space.spaces:
        _check_space(space.spaces[audio], f"observation[{audio!r}]")
        return lambda env, observation: observation[audio]
    if ":" in audio:
        function = _import(audio)
        return lambda env, observation: function(env)
    if isinstance(space, gym.spaces.Dict):
        raise BadInput(
            f"the environment's observation has no key {audio!r}, only {', '.join(map(repr, space.spaces))}: name the "
            "one with the binaural sound (audio=…), or give a function of the environment that returns it"
        )
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 2:
        _check_space(space, "the observation")
        return lambda env, observation: observation
    raise BadInput(
        f"the environment's observation is {space}, which holds no binaural sound: give audio=function, which is "
        "called with the environment after each step and returns the (2, samples) heard in it"
    )


def _check_space(space: gym.Space[Any], name: str) -> None:
    if space.shape is None:
        raise BadInput(f"{name} is {space}; binaural sound must be a Box of shape (2, samples)")
    try:
        check_shape(space.shape)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None


def _import(path: str) -> Callable[[Any], Any]:
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"audio={path!r} cannot be imported ({error}): write module:function") from error
    if not callable(found):
        raise BadInput(f"audio={path!r} is no function: it must return the (2, samples) that were heard")
    return found


def rate_of(env: Any, given: int | None) -> int:
    """Sample rate of an environment's sound in Hz: as given, or as its attribute ``sample_rate_hz`` says."""
    rate = given
    if rate is None:
        try:
            rate = env.get_wrapper_attr("sample_rate_hz") if hasattr(env, "get_wrapper_attr") else env.sample_rate_hz
        except AttributeError:
            raise BadInput(
                "the environment does not say at which rate its sound is sampled (attribute sample_rate_hz): "
                "give sample_rate_hz=…"
            ) from None
    whole = isinstance(rate, int | float | np.number) and math.isfinite(rate) and int(rate) == rate
    if not whole or not LOWEST_HZ <= rate <= HIGHEST_HZ:
        raise BadInput(f"sample_rate_hz must be a whole number from {LOWEST_HZ} to {HIGHEST_HZ} Hz, got {rate!r}")
    return int(rate)


def turns_of(space: gym.Space[Any], key: str | Callable[[Any], float]) -> Callable[[Any, Any], float]:
    """``(env, observation) -> heading`` in degrees; ``key`` as ``turn_key`` of ``SpatialHearing``."""
    if callable(key):
        return lambda env, observation: float(key(env))
    turns = Turns(space, key)
    return lambda env, observation: turns.heading_deg(observation[turns.key])


def places_of(space: gym.Space[Any], key: str | Callable[[Any], Any]) -> Callable[[Any, Any], tuple[float, float]]:
    """``(env, observation) -> (right, back)`` in metres; ``key`` as ``place_key`` of ``SpatialHearing``."""
    if callable(key):
        return lambda env, observation: place_of(key(env))
    check_place_key(space, key)
    return lambda env, observation: place_of(observation[key])


def check_place_key(space: gym.Space[Any], key: str) -> None:
    """Refuse an observation that begins with no place."""
    inner = space.spaces.get(key) if isinstance(space, gym.spaces.Dict) else None
    if not isinstance(inner, gym.spaces.Box) or len(inner.shape) != 1 or inner.shape[0] < 2:
        raise BadInput(
            f"place_key is {key!r}, but the observation has no Box of that name whose first two numbers are metres to "
            "the right and back: name another one, or leave it out"
        )


def place_of(values: Any) -> tuple[float, float]:
    """Metres to the right and back, from an observation that begins with them."""
    right, back = np.asarray(values, np.float64)[:2]
    return float(right), float(back)


class Turns:
    """The heading of each step in degrees, from the cosine and sine of it in an observation."""

    def __init__(self, space: gym.Space[Any], key: str) -> None:
        inner = space.spaces.get(key) if isinstance(space, gym.spaces.Dict) else None
        if not isinstance(inner, gym.spaces.Box) or len(inner.shape) != 1 or inner.shape[0] < 2:
            raise BadInput(
                f"turn_key is {key!r}, but the observation has no Box of that name whose last two numbers are cosine "
                "and sine of the heading: name another one, or leave it out"
            )
        self.key = key

    def heading_deg(self, values: Any) -> float:
        """Counter-clockwise from above."""
        cosine, sine = np.asarray(values, np.float64)[-2:]
        return math.degrees(math.atan2(sine, cosine))
