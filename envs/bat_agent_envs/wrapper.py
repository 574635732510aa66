"""``SpatialHearing``: an environment that makes binaural sound, with what its agent hears in the observation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from bat_agent.hearing.turning import MEMORY_S
from bat_agent_envs.ears import open_ears
from bat_agent_envs.hearing import Hearing
from bat_agent_envs.intake import Feed, find_sound, places_of, rate_of, turns_of
from bat_agent_envs.options import DEFAULT_KEYS, HearingOptions, as_tuple, split_named


class SpatialHearing(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Adds what the agent hears to its observation: directions, distances, classes, an embedding.

    The observation becomes (or stays) a Dict; one that was none is kept under ``obs``. With S slots of the model, C
    classes and an embedding of width D, these float32 Boxes are added (``keys`` selects):

    * ``audio/direction`` (S, 3): unit vectors in the head's frame (x right, y up, z back), strongest source first
    * ``audio/distance`` (S,): metres, 0 to 10; with ``turn_key`` and ``place_key`` as all looks on the way tell them
    * ``audio/class_probs`` (C,): probability of each class of ``labels`` anywhere in the window
    * ``audio/embedding`` (D,): mean of the encoder's tokens
    * ``audio/valid`` (S,): 1 where the slot holds a source whose direction is known (no model without a head of either
      angle, no sound of one microphone); its direction is 0 otherwise, and so is its distance where none is known
    * ``audio/age`` (1,): seconds since the newest sound that was listened to; it grows where no new sound comes
    * on request ``audio/heading_error`` (1 + named,): radians from straight ahead, left positive, of the strongest
      source, then of each sound in ``named``, 0 where it is not heard; ``audio/slot_probs`` (S, C); ``audio/sides``
      (S, 3), the probability of left, behind and below, near 0.5 where it cannot be told; ``audio/waveform`` (2, N)
      and ``audio/logmel`` (2, T, 128), both of the whole window, silence before the episode began;
      ``audio/azimuth_probs`` (S, 360) and ``audio/elevation_probs`` (S, 180); ``audio/arrivals`` (360,), by how many
      standard deviations of chance each azimuth sticks out of what arrived since the last look, by the differences
      between the ears alone (:mod:`bat_agent.hearing.arrivals`); ``audio/slot_arrivals`` (S, 360), of that what is
      each sound's own by its mask of the whole window, and ``audio/arrival_probs`` (S, C), what these sounds are:
      a head that turns looks twice for both, and their slots are not those of the other arrays

    ``info["bat"]`` holds ``labels`` (the likeliest with probabilities), ``text``, ``sources`` (of each, strongest
    first, ``label``, ``probability``, ``direction``, ``heading_error``, ``distance_m``), ``fresh`` (whether this step
    listened to sound that no step before it did), ``latency`` (``.ms`` of the last listening), ``answers`` with
    ``ask_every``, and ``direction_error_deg`` where the environment tells the truth in ``info["truth"]`` (which is
    never part of the observation). The agent listens to the last ``window_s`` of its episode; nothing of an episode
    is heard in the next.

    Args:
        env: The environment. Its sound must be (2, samples), left ear first, full scale ±1.
        model: Name or directory of a model, or ``http://…`` of a ``bat-agent serve``.
        audio: Where the sound is: a key of the observation, ``module:function`` or a function of the environment that
            is called after each reset and step; one with a method ``reset(env)`` is told when an episode begins, and
            one with a method ``close()`` when the environment is closed.
        keys: Which observations to add.
        every_k_steps: Listen in the first step of an episode and in every k-th after; between, what was heard is held.
        window_s: Seconds that are listened to.
        feed: ``chunk`` if each step brings the next samples, ``window`` if it brings all there is to hear.
        chunk_s: Seconds at the beginning of each step's sound that count (SoundSpaces pads the rest).
        sample_rate_hz: Rate of the sound, if the environment has no attribute of that name; resampled to 32 kHz.
        turn_key: Observation whose last two numbers are cosine and sine of the heading in the sound of this step, or a
            function of the environment that returns it in degrees, counter-clockwise from above. What
            is heard is then joined over the headings of the last seconds, which tells front from behind, and what is
            held turns with the head (:mod:`bat_agent.hearing.turning`). The head must not turn by half a circle in a
            step.
        place_key: Observation whose first two numbers are where the agent is, metres to the right and back as it would
            face with a heading of 0, or a function of the environment that returns both. What was heard before is then
            joined as it is heard from here (with ``turn_key``).
        joined_s: For how many seconds, with ``turn_key``. An agent with a map of its own wants each look by itself, 0.
        named: Sounds whose ``heading_error`` is wanted: labels, or the key of a Discrete in the observation that is the
            number of a class, as ``goal`` in ``SemanticAudioGoal-v0``.
        keep_audio: Leave the sound itself in the observation, too.
        top_k: Labels in ``info``.
        questions: Asked every ``ask_every`` steps, answers in ``info``; 0 asks nothing.
        ask_every: See ``questions``.
        device: Of the model, such as ``cuda``.
        level_known: False where full scale means nothing, so that distances are not judged by level.
        threads: Of the processor that the model computes with; by itself what is fastest, one for bat-small, whatever
            ``OMP_NUM_THREADS`` says. Your own models keep the number that you set for them.

    Raises :class:`~bat_agent.errors.BadInput` for an environment whose sound cannot be heard, now or, for NaN and the
    like, in the step that brings it; :class:`~bat_agent.errors.WeightsError` where the model is missing.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        model: str = "bat-small",
        *,
        audio: str | Callable[[Any], Any] = "audio",
        keys: Sequence[str] = DEFAULT_KEYS,
        every_k_steps: int = 1,
        window_s: float = 2.0,
        feed: Feed = "chunk",
        chunk_s: float | None = None,
        sample_rate_hz: int | None = None,
        turn_key: str | Callable[[Any], float] | None = None,
        place_key: str | Callable[[Any], Any] | None = None,
        joined_s: float = MEMORY_S,
        named: str | Sequence[str] = (),
        keep_audio: bool = False,
        top_k: int = 3,
        questions: str | Sequence[str] = (),
        ask_every: int = 0,
        device: str | None = None,
        level_known: bool = True,
        threads: int | None = None,
    ) -> None:
        # Not copied: what audio is called on may hold a live simulator.
        gym.utils.RecordConstructorArgs.__init__(
            self, _disable_deepcopy=True, model=model, audio=audio, keys=tuple(keys), every_k_steps=every_k_steps,
            window_s=window_s, feed=feed, chunk_s=chunk_s, sample_rate_hz=sample_rate_hz, turn_key=turn_key,
            place_key=place_key, joined_s=joined_s,
            named=as_tuple(named), keep_audio=keep_audio, top_k=top_k, questions=as_tuple(questions),
            ask_every=ask_every, device=device, level_known=level_known, threads=threads,
        )  # fmt: skip
        gym.Wrapper.__init__(self, env)
        options = HearingOptions(
            audio, as_tuple(keys), every_k_steps, window_s, feed, chunk_s, keep_audio, top_k, as_tuple(questions),
            ask_every, *split_named(env.observation_space, named), joined_s,
        )  # fmt: skip
        self._turns = None if turn_key is None else turns_of(env.observation_space, turn_key)
        self._places = None if place_key is None else places_of(env.observation_space, place_key)
        self._audio = audio
        self._sound = find_sound(env.observation_space, audio)
        rate = rate_of(env, sample_rate_hz)
        # Environments that draw what is heard have a method show_heard.
        self._show = attribute(env, "show_heard")
        ears = open_ears(model, device, level_known, threads)
        self.hearing = Hearing(ears, options, rate, step_s=attribute(env, "step_s"))
        self.labels = ears.labels
        """Names of the classes, in the order of ``audio/class_probs``."""
        self.observation_space = heard_space(env.observation_space, self.hearing)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode with empty ears."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.hearing.begin(0)
        if callable(begin := getattr(self._audio, "reset", None)):
            begin(self.env)
        return self._hear(observation, info, last=False)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act, and hear."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._hear(observation, info, last=terminated or truncated)
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Close what makes the sound, then the environment."""
        if callable(end := getattr(self._audio, "close", None)):
            end()
        super().close()

    def ask(self, question: str | Sequence[str], *, later: bool = False) -> Any:
        """The :class:`~bat_agent.agent.Answer` to a question about the current window, or a list of them for a list.

        From outside: ``env.get_wrapper_attr("ask")("where is the dog?")``. With ``later`` a
        :class:`concurrent.futures.Future` of it, so that the environment can go on meanwhile.
        """
        return self.hearing.ask(0, question, later=later)

    def _hear(self, observation: Any, info: dict[str, Any], last: bool) -> tuple[Any, dict[str, Any]]:
        hearing = self.hearing
        heading_deg = None if self._turns is None else self._turns(self.env, observation)
        goal = None if hearing.options.goal is None else int(observation[hearing.options.goal])
        place_m = None if self._places is None else self._places(self.env, observation)
        sound = self._sound(self.env, observation)
        hearing.take(0, sound, heading_deg=heading_deg, place_m=place_m, goal=goal)
        hearing.listen([0], last=[0] if last else [])
        if self._show is not None:
            self._show(hearing.sources(0))
        added = {name: values[0] for name, values in hearing.observation([0]).items()}
        return heard_observation(observation, added, hearing), {**info, "bat": hearing.info(0, info)}


def attribute(env: Any, name: str) -> Any:
    """An attribute of an environment or of what it wraps; ``None`` where there is none."""
    try:
        return env.get_wrapper_attr(name)
    except AttributeError:
        return None


def heard_space(space: gym.Space[Any], hearing: Hearing) -> gym.spaces.Dict:
    """The observation space with what is heard; the raw sound only if it is to be kept."""
    options = hearing.options
    before = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"obs": space}
    for name in _dropped(space, options):
        before.pop(name)
    return gym.spaces.Dict({**before, **options.spaces(hearing.ears.shapes)})


def heard_observation(observation: Any, added: dict[str, Any], hearing: Hearing) -> dict[str, Any]:
    """An observation with what is heard; what came in is not changed."""
    given = dict(observation) if isinstance(observation, dict) else {"obs": observation}
    for name in _dropped(given if isinstance(observation, dict) else None, hearing.options):
        given.pop(name)
    return {**given, **added}


def _dropped(space: Any, options: HearingOptions) -> list[str]:
    """Names that are left out: the key with the sound, or the observation where that is the sound."""
    if options.keep_audio or callable(options.audio):
        return []
    if isinstance(space, gym.spaces.Dict | dict):
        return [options.audio] if options.audio in list(space) else []
    return [] if ":" in options.audio else ["obs"]
