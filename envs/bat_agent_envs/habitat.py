"""``HabitatHearing``: ears for habitat's simulator and environments, and for SoundSpaces' continuous mode.

habitat is not imported here; see docs/habitat.md for what was run and what was not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.scene import Listener, Source, Vector
from bat_agent_envs.client import SAMPLE_RATE_HZ
from bat_agent_envs.intake import Waveform
from bat_agent_envs.old_gym import as_gymnasium
from bat_agent_envs.wrapper import SpatialHearing
from bat_agent_soundspaces.habitat_api import find_simulator, listener_of, setting

Places = Sequence[Source | Vector] | np.ndarray
STEP_S = 0.25
MOUTH_M = 1.5
"""A goal on the floor sounds at this height above it, as in SoundSpaces."""
AUDIOGOAL = "audiogoal"


class HabitatSound:
    """What the agent hears where it stands, step by step: ``audio=`` of :class:`SpatialHearing`.

    Args:
        sim_or_env: A ``habitat_sim.Simulator`` or anything that holds one.
        sounds: Of each source a mono sound at 32 kHz, as an array or a sound file; it plays in a loop.
        sources: Where they are: :class:`~bat_agent.scene.Source` or positions in habitat's world, metres, also as an
            array (S, 3), or a function of the environment that returns them when an episode begins. Without, the goals
            of the current episode.
        step_s: Seconds that pass in each step; of SoundSpaces' simulator its ``STEP_TIME``, else 0.25.
        options: Of :class:`bat_agent_soundspaces.habitat.Habitat`.

    Raises :class:`~bat_agent.errors.BadInput` where there is no simulator, or no torch to render with.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(
        self,
        sim_or_env: Any,
        sounds: Sequence[Any],
        sources: Places | Callable[[Any], Places] | None = None,
        *,
        step_s: float | None = None,
        **options: Any,
    ) -> None:
        try:
            from bat_agent_soundspaces.habitat import Habitat
        except ModuleNotFoundError as error:
            raise BadInput(
                f"sounds= are rendered in this process, which needs torch ({error}): install it, or let the simulator "
                "make the sound and leave sounds= out"
            ) from error
        self.habitat = Habitat.from_simulator(sim_or_env, **options)
        self.step_s = step_s or float(setting(sim_or_env, "STEP_TIME") or STEP_S)
        self._holder, self._sources = sim_or_env, sources
        self._tracks = [_mono(sound) for sound in sounds]
        self._places: list[Source | Vector] = []
        self._state: Any = None

    def reset(self, env: Any) -> None:
        """A new episode: silence behind it, and a fresh acoustic context."""
        self.habitat.begin()
        self._state = None
        given = self._sources(env) if callable(self._sources) else self._sources
        self._places = list(goals_of(self._holder)) if given is None else _places(given)
        if len(self._places) != len(self._tracks):
            raise BadInput(f"there are {len(self._places)} sources but {len(self._tracks)} sounds: give one for each")

    def __call__(self, env: Any) -> Waveform:
        """The next ``step_s`` seconds at the agent's present pose, (2, n) at 32 kHz."""
        from bat_agent.scenes.moving import render_step

        if not self._places:
            self.reset(env)
        scene = self.habitat.scene(self._places)
        heard, self._state = render_step(
            self.habitat, scene, self._tracks, round(self.step_s * SAMPLE_RATE_HZ), self._state
        )
        return heard.numpy()

    def close(self) -> None:
        """End what renders; the simulator stays open."""
        self.habitat.close()


class HabitatHearing(SpatialHearing):
    """:class:`SpatialHearing` for habitat.

    With ``sounds`` this package renders what the agent hears at its pose (:class:`HabitatSound`): for a bare
    ``habitat_sim.Simulator``, a ``habitat.Env`` or an environment of habitat-lab, with or without audio in the build.
    Without ``sounds`` the environment brings its own, as SoundSpaces does: observation ``audiogoal``, of which
    SoundSpaces' continuous mode fills the first ``STEP_TIME`` seconds and pads the rest.

    Args:
        sim_or_env: The simulator or environment; what still speaks the old gym is adapted.
        sounds: See :class:`HabitatSound`.
        sources: See :class:`HabitatSound`.
        step_s: Seconds that pass in a step; of SoundSpaces read from its configuration, as is the rate of its sound.
        options: Of the simulator plugin ``habitat``, such as ``{"quality": "high"}``; ``agent_id`` acts and listens.
        **hearing: Arguments of :class:`SpatialHearing`; ``turn_key`` and ``place_key`` are where the agent of the
            simulator faces and is unless given, so that what is heard while it turns and walks is joined.
    """

    def __init__(
        self,
        sim_or_env: Any,
        sounds: Sequence[Any] | None = None,
        sources: Places | Callable[[Any], Places] | None = None,
        *,
        step_s: float | None = None,
        options: dict[str, Any] | None = None,
        **hearing: Any,
    ) -> None:
        env = as_gymnasium(sim_or_env, agent_id=int((options or {}).get("agent_id", 0)))
        if sounds is not None:
            sound = HabitatSound(sim_or_env, sounds, sources, step_s=step_s, **(options or {}))
            hearing = {"audio": sound, "sample_rate_hz": sound.sample_rate_hz, **hearing}
        else:
            hearing = {**self._own_sound(sim_or_env, step_s), **hearing}
        agent_id = int((options or {}).get("agent_id", 0))
        if "turn_key" not in hearing and (listener := _listener(sim_or_env, agent_id)) is not None:
            hearing["turn_key"] = lambda env: listener().heading_deg
            hearing.setdefault("place_key", lambda env: listener().position_m[::2])
        # The arguments hold a live simulator, so no spec can rebuild this.
        super().__init__(env, **hearing)

    @staticmethod
    def _own_sound(holder: Any, step_s: float | None) -> dict[str, Any]:
        """How SoundSpaces says what its environment emits."""
        rate, step = setting(holder, "AUDIO", "RIR_SAMPLING_RATE"), step_s or setting(holder, "STEP_TIME")
        found: dict[str, Any] = {"audio": AUDIOGOAL}
        if rate is not None:
            found["sample_rate_hz"] = int(rate)
        if step is not None:
            # SoundSpaces cuts a step off to whole samples, and the next begins there: one sample more is padding.
            found["chunk_s"] = float(step) if rate is None else int(int(rate) * float(step)) / int(rate)
        return found


def _listener(holder: Any, agent_id: int) -> Callable[[], Listener] | None:
    """The agent's place and heading of now; ``None`` where the simulator does not tell."""
    try:
        listener_of(find_simulator(holder), agent_id, 0.0)
    except (BadInput, AttributeError):
        return None
    # Found anew each time: SoundSpaces closes its simulator and makes another where the scene changes.
    return lambda: listener_of(find_simulator(holder), agent_id, 0.0)


def goals_of(holder: Any) -> list[Vector]:
    """Where the goals of the current episode sound: at ``MOUTH_M`` above where they lie.

    Raises :class:`~bat_agent.errors.BadInput` where there is no episode with goals.
    """
    for name in ("habitat_env", "_env", "env", "unwrapped", None):
        inner = holder if name is None else getattr(holder, name, None)
        goals = getattr(getattr(inner, "current_episode", None), "goals", None)
        if goals:
            places = [np.asarray(goal.position, float).tolist() for goal in goals]
            return [(x, y + MOUTH_M, z) for x, y, z in places]
    raise BadInput(
        f"'{type(holder).__name__}' has no current episode with goals, so where the sounds come from is unknown: give "
        "sources=[(x, y, z), …] in habitat's world, or a function of the environment that returns them"
    )


def _mono(sound: Any) -> Any:
    import torch

    if isinstance(sound, str | Path):
        from bat_agent.sound.audio import read_mono

        return read_mono(sound)
    return torch.as_tensor(np.asarray(sound, np.float32))


def _places(given: Any) -> list[Source | Vector]:
    """Sources, or positions in whatever holds three numbers: rows of an array, magnum's vectors, lists."""
    try:
        return [one if isinstance(one, Source) else (float(one[0]), float(one[1]), float(one[2])) for one in given]
    except (TypeError, ValueError, IndexError) as error:
        raise BadInput(f"sources must be positions (x, y, z) in metres, one for each sound, got {given!r}") from error
