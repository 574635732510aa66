"""Sound that ``bat-agent serve --scenes FOLDER`` renders for an agent in this process, such as a habitat without audio.

Like ``client.py``, this file needs numpy and Python 3.8 or newer: where bat-agent cannot be installed, copy it there as
``bat_agent_served_sound.py``, and ``client.py`` beside it as ``bat_agent_client.py``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np

if TYPE_CHECKING:
    from bat_agent_envs.client import SAMPLE_RATE_HZ, BadInput, HearingClient, HearingServerError
else:
    try:
        from bat_agent_envs.client import SAMPLE_RATE_HZ, BadInput, HearingClient, HearingServerError
    except ImportError:  # the files alone
        from bat_agent_client import SAMPLE_RATE_HZ, BadInput, HearingClient, HearingServerError

__all__ = ["HearingStream", "ServedSound", "heading_deg"]

_NOT_FOUND = 404
STEP_S = 0.25
EAR_HEIGHT_M = 1.5
Places = Any
"""Positions (S, 3) in metres: an array, lists, magnum's vectors."""


class HearingStream:
    """Sounds in a scene of the server, heard where somebody stands, step by step; one agent steps it.

    Frame, metres and headings are those of :mod:`bat_agent.scene`, which are habitat's.

    Args:
        client: Of the server.
        scene: File of the mesh as seen from the server's folder, or any path that ends so.
        sounds: Of each source a mono sound, float, 32 kHz, ±1, all equally long; they play in a loop from the
            beginning of an episode.
        window_s: Seconds of the episode that perceptions and arrays are of.
        up: Axis of the mesh that is up, if not +y.
        front: Axis of the mesh that is front, if not −z.

    Raises :class:`BadInput` for what the server refuses, in its words.
    """

    def __init__(
        self,
        client: HearingClient,
        scene: str,
        sounds: Sequence[Any],
        *,
        window_s: float = 2.0,
        up: Sequence[float] | None = None,
        front: Sequence[float] | None = None,
    ) -> None:
        self.client, self.steps = client, 0
        query = [("scene", scene), ("window_s", repr(float(window_s)))]
        query += [(name, _text(axis)) for name, axis in (("up", up), ("front", front)) if axis is not None]
        opened = client.call("POST", "/streams?" + urlencode(query), _stacked(sounds))
        self._path = f"/streams/{opened['stream']}"

    def step(
        self,
        position_m: Any,
        heading_deg: float,
        sources_m: Places,
        *,
        seconds: float = STEP_S,
        begins: bool = False,
        want: Sequence[str] = ("perceptions",),
    ) -> dict[str, Any]:
        """The next ``seconds`` at a pose: what of ``perceptions`` (of one clip), ``arrays`` and ``audio`` is wanted.

        ``position_m`` is that of the ears, ``heading_deg`` counts counter-clockwise from −z. ``audio`` is (2, n)
        float32, left ear first. ``begins``: silence before it. Perceptions and arrays are missing while the window is
        shorter than 20 ms. After an error the stream stands where it stood.
        """
        query = [
            ("step", str(self.steps + 1)), ("seconds", repr(float(seconds))), ("listener", _text(position_m)),
            ("heading_deg", repr(float(heading_deg))), ("want", ",".join(want)), ("begins", str(int(begins))),
        ]  # fmt: skip
        query += [("source", _text(place)) for place in sources_m]
        heard = self.client.call("POST", f"{self._path}?{urlencode(query)}")
        self.steps += 1
        return heard

    def close(self) -> None:
        """Let the server forget the stream; it does so by itself after a while."""
        self.client.call("DELETE", self._path)

    def __enter__(self) -> HearingStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ServedSound:
    """What the agent of a habitat simulator hears, rendered by the server: ``audio=`` of ``register``, or by itself.

    ``sound(sim, observations)`` is the next ``step_s`` seconds at the agent's present pose, (2, n) float32 at 32 kHz;
    ``sound.begin(sim)`` begins an episode. Where the simulator has another scene open by then, that is opened.

    Args:
        sounds: As of :class:`HearingStream`.
        sources: Where they are: positions in habitat's world, or a function of the simulator that returns them when an
            episode begins.
        client: Of the server; else one by ``BAT_AGENT_URL`` and ``BAT_AGENT_TOKEN``.
        scene: What the server is asked for; else the file of the stage that is open.
        step_s: Seconds of a step.
        ear_height_m: Of the ears above the agent's base.
        agent_id: Who listens.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(
        self,
        sounds: Sequence[Any],
        sources: Places | Callable[[Any], Places],
        *,
        client: HearingClient | None = None,
        scene: str | None = None,
        step_s: float = STEP_S,
        ear_height_m: float = EAR_HEIGHT_M,
        agent_id: int = 0,
    ) -> None:
        self.step_s, self.ear_height_m, self.agent_id = step_s, ear_height_m, agent_id
        self._client, self._sounds, self._sources, self._scene = client, sounds, sources, scene
        self._streams: dict[int, tuple[tuple[Any, ...], HearingStream]] = {}
        self._places: dict[int, Places] = {}

    def begin(self, sim: Any) -> None:
        """An episode begins: silence behind it, and its own sources."""
        self._places.pop(id(sim), None)

    def __call__(self, sim: Any, observations: Any = None) -> np.ndarray:
        """The next step at the agent's pose."""
        position, heading = self._ears(sim)
        begins = id(sim) not in self._places
        places = self._sources_of(sim) if begins else self._places[id(sim)]
        asked: dict[str, Any] = {"seconds": self.step_s, "begins": begins, "want": ["audio"]}
        try:
            heard = self._stream_of(sim).step(position, heading, places, **asked)
        except HearingServerError as error:
            if error.status != _NOT_FOUND:
                raise
            # Forgotten after a long pause, or by a server that was started again.
            del self._streams[id(sim)]
            heard = self._stream_of(sim).step(position, heading, places, **asked)
        self._places[id(sim)] = places
        sound: np.ndarray = heard["audio"]
        return sound

    def close(self) -> None:
        """Close its streams on the server."""
        for _, stream in self._streams.values():
            with contextlib.suppress(HearingServerError):  # the server may be gone
                stream.close()
        self._streams.clear()
        self._places.clear()

    def _sources_of(self, sim: Any) -> Places:
        return self._sources(sim) if callable(self._sources) else self._sources

    def _stream_of(self, sim: Any) -> HearingStream:
        """The stream of the scene that is open now."""
        file, up, front = _stage(sim)
        wanted = (self._scene or file, up, front)
        opened, stream = self._streams.get(id(sim), (None, None))
        if stream is None or opened != wanted:
            if stream is not None:
                stream.close()
            self._client = self._client or HearingClient()
            stream = HearingStream(self._client, wanted[0], self._sounds, window_s=0.02, up=up, front=front)
            self._streams[id(sim)] = (wanted, stream)
        return stream

    def _ears(self, sim: Any) -> tuple[tuple[float, float, float], float]:
        if getattr(sim, "pathfinder", True) is None:  # habitat-sim would end the process
            raise BadInput("the habitat simulator is closed; open a new one")
        try:
            state = sim.get_agent(self.agent_id).get_state()
        except (IndexError, KeyError) as error:
            raise BadInput(f"habitat has no agent {self.agent_id}; agents are counted from 0") from error
        x, y, z = (float(state.position[axis]) for axis in range(3))
        return (x, y + self.ear_height_m, z), heading_deg(state.rotation)


def heading_deg(rotation: Any) -> float:
    """Of habitat's rotation of an agent, counter-clockwise from −z: numpy's or magnum's quaternion, or [x, y, z, w]."""
    if hasattr(rotation, "w"):
        w, x, y, z = rotation.w, rotation.x, rotation.y, rotation.z
    elif hasattr(rotation, "scalar"):
        w, (x, y, z) = rotation.scalar, (rotation.vector[axis] for axis in range(3))
    else:
        x, y, z, w = rotation
    return math.degrees(math.atan2(2 * (x * z + w * y), 1 - 2 * (x * x + y * y))) % 360.0


def _stage(sim: Any) -> tuple[str, Any, Any]:
    """File of the stage, and which axes habitat takes for up and front in it."""
    stage = None
    with contextlib.suppress(Exception):  # a scene without a stage raises one error or another
        stage = sim.get_stage_initialization_template()
    settings = getattr(getattr(sim, "config", None), "sim_cfg", None)
    named = [getattr(stage, "render_asset_handle", None), getattr(settings, "scene_id", None)]
    axes = (getattr(stage, name, None) for name in ("orient_up", "orient_front"))
    up, front = (None if axis is None else tuple(float(axis[i]) for i in range(3)) for axis in axes)
    return next((str(name) for name in named if name), ""), up, front


def _stacked(sounds: Sequence[Any]) -> np.ndarray:
    """Sounds (S, N)."""
    tracks = [np.asarray(sound) for sound in sounds]
    if not tracks or any(track.ndim != 1 or not track.size or track.dtype.kind != "f" for track in tracks):
        raise BadInput("sounds must be mono float arrays (samples,) at 32 kHz in ±1, one for each source")
    if len({len(track) for track in tracks}) > 1:
        raise BadInput("sounds of one stream must be equally long, as each loops by itself: cut or pad them")
    return np.stack(tracks)


def _text(vector: Any) -> str:
    try:
        return ",".join(repr(float(vector[axis])) for axis in range(3))
    except (TypeError, ValueError, IndexError) as error:
        raise BadInput(f"positions and axes must be three numbers (x, y, z) in metres, got {vector!r}") from error
