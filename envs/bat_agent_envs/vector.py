"""``VectorSpatialHearing``: the ears of many environments at once, one encoder batch for each step of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from bat_agent.errors import BadInput
from bat_agent.hearing.turning import MEMORY_S
from bat_agent_envs.ears import open_ears
from bat_agent_envs.hearing import Hearing
from bat_agent_envs.intake import Feed, Turns, check_place_key, find_sound, place_of, rate_of
from bat_agent_envs.options import DEFAULT_KEYS, HearingOptions, as_tuple, split_named
from bat_agent_envs.wrapper import heard_observation, heard_space

if TYPE_CHECKING:
    _VectorWrapper = VectorWrapper[Any, Any, Any, Any, Any]
else:  # in gymnasium 1.1 and 1.2 it is not generic
    _VectorWrapper = VectorWrapper


class VectorSpatialHearing(_VectorWrapper):
    """Adds what each agent hears to the observations of a vector environment; see :class:`SpatialHearing`.

    Arguments and observations are those of :class:`SpatialHearing`, with the environments as first axis. The
    environments render in their own processes (``gymnasium.vector.AsyncVectorEnv``); all of them are heard here, those
    that listen in a step as one batch. Each has a window of its own, which no episode shares with the next, in every
    autoreset mode: with ``SAME_STEP`` the last observation of an episode, in ``infos["final_obs"]``, is heard as well.

    The sound must be part of the observation. Raises :class:`~bat_agent.errors.BadInput` where it is not, and for sound
    that cannot be heard.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        model: str = "bat-small",
        *,
        audio: str = "audio",
        keys: Sequence[str] = DEFAULT_KEYS,
        every_k_steps: int = 1,
        window_s: float = 2.0,
        feed: Feed = "chunk",
        chunk_s: float | None = None,
        sample_rate_hz: int | None = None,
        turn_key: str | None = None,
        place_key: str | None = None,
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
        super().__init__(env)
        space = env.single_observation_space
        if not isinstance(audio, str) or (":" in audio and not (isinstance(space, gym.spaces.Dict) and audio in space)):
            raise BadInput(
                f"audio is {audio!r}, but in a vector environment the sound must be in the observation, as the "
                "environments may run in other processes: name its key, or wrap each environment in SpatialHearing"
            )
        options = HearingOptions(
            audio, as_tuple(keys), every_k_steps, window_s, feed, chunk_s, keep_audio, top_k, as_tuple(questions),
            ask_every, *split_named(space, named), joined_s,
        )  # fmt: skip
        self._turns = None if turn_key is None else Turns(space, turn_key)
        if place_key is not None:
            check_place_key(space, place_key)
        self._place_key = place_key
        self._sound = find_sound(space, audio)
        rate = _same_in_all(env, "sample_rate_hz") if sample_rate_hz is None else sample_rate_hz
        ears = open_ears(model, device, level_known, threads)
        step_s = _same_in_all(env, "step_s")
        self.hearing = Hearing(ears, options, rate_of(env, rate), env.num_envs, step_s)
        self.labels = ears.labels
        """Names of the classes, in the order of ``audio/class_probs``."""
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._over = np.zeros(env.num_envs, bool)
        self._single_observation_space = heard_space(space, self.hearing)
        self._observation_space = batch_space(self._single_observation_space, env.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes with empty ears: all, or those of ``options["reset_mask"]``."""
        # gymnasium takes the mask out of the options.
        mask = (options or {}).get("reset_mask")
        begun = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._over[begun] = False
        self._hear(observations, begun, begun)
        return self._with_hearing(observations), self._with_info(infos, begun)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Act everywhere, and hear."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        everyone = np.arange(self.num_envs)
        over = np.logical_or(terminations, truncations)
        if self._mode == AutoresetMode.SAME_STEP:
            infos = self._hear_the_end(observations, infos, over)
            self._hear(observations, everyone[over], everyone[over])
        else:
            # With NEXT_STEP an environment that was done before has begun anew in this step.
            begun = everyone[self._over] if self._mode == AutoresetMode.NEXT_STEP else everyone[:0]
            self._hear(observations, everyone, begun, last=everyone[over])
            self._over = over
        return self._with_hearing(observations), rewards, terminations, truncations, self._with_info(infos, everyone)

    def ask(
        self, question: str | Sequence[str], *, envs: Sequence[int] | None = None, later: bool = False
    ) -> list[Any]:
        """For each environment (or some of them) what :meth:`SpatialHearing.ask` returns."""
        wanted = range(self.num_envs) if envs is None else envs
        return [self.hearing.ask(index, question, later=later) for index in wanted]

    def _hear(self, observations: Any, who: np.ndarray, begun: np.ndarray, last: Any = ()) -> None:
        sound = self._sound(self.env, observations)
        for index in begun:
            self.hearing.begin(index)
        for index in who:
            self.hearing.take(index, sound[index], **self._pose(observations, index))
        self.hearing.listen(who.tolist(), list(last))

    def _hear_the_end(self, observations: Any, infos: dict[str, Any], over: np.ndarray) -> dict[str, Any]:
        """SAME_STEP: of episodes that ended, what came last is in ``final_obs``; the others go on."""
        sound = self._sound(self.env, observations)
        finals = infos.get("final_obs")
        for index in range(self.num_envs):
            end = finals[index] if over[index] and finals is not None else None
            heard = sound[index] if end is None else self._sound(self.env, end)
            pose = self._pose(observations, index) if end is None else self._pose(end, None)
            self.hearing.take(index, heard, **pose)
        ended = np.flatnonzero(over).tolist()
        self.hearing.listen(list(range(self.num_envs)), last=ended)
        if not ended or finals is None:
            return infos
        added = self.hearing.observation(ended)
        heard = finals.copy()
        infos = dict(infos)
        final_info = dict(infos.get("final_info", {}))
        for row, index in enumerate(ended):
            heard[index] = heard_observation(finals[index], {k: v[row] for k, v in added.items()}, self.hearing)
            final_info = self._add_info(final_info, {"bat": self.hearing.info(index, _of(final_info, index))}, index)
        return {**infos, "final_obs": heard, "final_info": final_info}

    def _pose(self, observations: Any, row: int | None) -> dict[str, Any]:
        """Heading and place of a head, and what is looked for; ``row`` is its place in batched observations."""

        def of(key: str) -> Any:
            return observations[key] if row is None else observations[key][row]

        goal = self.hearing.options.goal
        return {
            "heading_deg": None if self._turns is None else self._turns.heading_deg(of(self._turns.key)),
            "place_m": None if self._place_key is None else place_of(of(self._place_key)),
            "goal": None if goal is None else int(of(goal)),
        }

    def _with_hearing(self, observations: Any) -> dict[str, Any]:
        return heard_observation(observations, self.hearing.observation(range(self.num_envs)), self.hearing)

    def _with_info(self, infos: dict[str, Any], who: Sequence[int] | np.ndarray) -> dict[str, Any]:
        infos = dict(infos)
        for index in who:
            index = int(index)
            infos = self._add_info(infos, {"bat": self.hearing.info(index, _of(infos, index))}, index)
        return infos


def _of(infos: dict[str, Any], index: int) -> dict[str, Any]:
    """What the infos say of the truth in one environment."""
    truth = infos.get("truth")
    if not isinstance(truth, dict) or not infos.get("_truth", np.zeros(index + 1, bool))[index]:
        return {}
    return {"truth": {k: v[index] for k, v in truth.items() if not k.startswith("_")}}


def _same_in_all(env: VectorEnv[Any, Any, Any], name: str) -> Any:
    """An attribute of the environments, if all have the same."""
    try:
        found = set(env.get_attr(name))  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        return None
    if len(found) > 1:
        raise BadInput(f"the environments have different {name}: {sorted(found)}; make them alike")
    return found.pop()
