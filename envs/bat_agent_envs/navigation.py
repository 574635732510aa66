"""What all environments share: a room drawn for an episode, an agent that walks and turns in it, and what it hears."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.datasets.sounds import SoundSet
from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ, Simulator
from bat_agent.registry import load_simulator
from bat_agent.scene import Scene, relative_position
from bat_agent.threads import computing
from bat_agent_envs.metrics import Walk, direction_error_deg, episode_metrics, least_actions
from bat_agent_envs.top_view import TopView
from bat_agent_envs.world import (
    Drawing,
    Soundscape,
    World,
    ahead,
    draw_world,
    track_of,
)

Actions = Literal["discrete", "continuous"]
FORWARD, LEFT, RIGHT, STOP = range(4)
LOUDEST = 1e4
"""Bound of the audio's Box: what rendering next to the ear never reaches."""
DEFAULT_OPTIONS: dict[str, dict[str, Any]] = {"shoebox": {"median_area_m2": 30.0}}
"""Options of a simulator unless others are given: rooms that one can walk in."""


class NavigationEnv(gym.Env[dict[str, Any], Any]):
    """Base of the environments; not one by itself.

    Args:
        simulator: Name of a simulator plugin.
        simulator_options: Its options; for ``shoebox`` rooms are larger than in BAT unless given.
        sounds: Library of sounds, as recipes name it (:func:`bat_agent.datasets.sound_libraries.open_sounds`).
        folds: Folds of the library to draw from; all without.
        action_space: ``discrete`` or ``continuous``, see the environments.
        step_s: Seconds that an action takes.
        max_steps: Actions after which the episode is cut short.
        forward_m: Metres of a step ahead.
        turn_deg: Degrees of a turn.
        success_m: The goal is reached within so many metres of way (1.0, as in SoundSpaces).
        least_way_m: Shortest way from the start to the goal that is drawn.
        most_way_m: Longest.
        noise_dbfs: Level of the microphones' own noise; ``None`` for none.
        render_mode: ``rgb_array`` draws the room from above.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    num_sources = 1

    def __init__(
        self,
        simulator: str = "shoebox",
        simulator_options: dict[str, Any] | None = None,
        sounds: str = "procedural:20",
        folds: tuple[int, ...] | None = None,
        action_space: Actions = "discrete",
        step_s: float = 0.25,
        max_steps: int = 150,
        forward_m: float = 0.25,
        turn_deg: float = 30.0,
        success_m: float = 1.0,
        least_way_m: float = 2.0,
        most_way_m: float = 12.0,
        noise_dbfs: float | None = -75.0,
        render_mode: str | None = None,
    ) -> None:
        for name, value in (("step_s", step_s), ("forward_m", forward_m), ("success_m", success_m)):
            if not value > 0:
                raise BadInput(f"{name} must be more than 0, got {value!r}")
        if not success_m < least_way_m < most_way_m:
            raise BadInput(
                f"needed success_m < least_way_m < most_way_m, got {success_m:g}, {least_way_m:g} and {most_way_m:g}: "
                "change one of them"
            )
        if action_space not in ("discrete", "continuous"):
            raise BadInput(f"action_space must be 'discrete' or 'continuous', got {action_space!r}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise BadInput(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": 1 / step_s}
        self.sample_rate_hz, self.step_s, self.max_steps = SAMPLE_RATE_HZ, step_s, max_steps
        self.forward_m, self.turn_deg, self.success_m = forward_m, turn_deg, success_m
        self._ways_m, self._noise_dbfs = (least_way_m, most_way_m), noise_dbfs
        self._discrete = action_space == "discrete"
        options = DEFAULT_OPTIONS.get(simulator, {}) if simulator_options is None else simulator_options
        self.simulator: Simulator = load_simulator(simulator, **options)
        self.sounds = _library(sounds, None if folds is None else tuple(folds))
        self.action_space = self._actions()
        self.observation_space = gym.spaces.Dict(self._spaces())
        self._view: TopView | None = None
        self._heard: list[dict[str, Any]] = []

    # --- what a task adds ---

    def _actions(self) -> gym.Space[Any]:
        """Discrete: forward, left, right, stop. Continuous: forward and turn in −1 … 1, stop above 0.5."""
        return gym.spaces.Discrete(4) if self._discrete else gym.spaces.Box(-1.0, 1.0, (3,), np.float32)

    def _spaces(self) -> dict[str, gym.Space[Any]]:
        samples = round(self.step_s * SAMPLE_RATE_HZ)
        return {
            "audio": gym.spaces.Box(-LOUDEST, LOUDEST, (2, samples), np.float32),
            "pose": gym.spaces.Box(-np.inf, np.inf, (4,), np.float32),
            "collided": gym.spaces.Box(0.0, 1.0, (1,), np.float32),
        }

    def _drawing(self) -> Drawing:
        return Drawing(self.num_sources, *self._ways_m)

    def _draw_world(self, named: list[tuple[str, ...]]) -> World:
        """A room with sources of these labels."""
        return draw_world(self.simulator, self._drawing(), named, self.np_random)

    def _draw_sounds(self) -> list[int]:
        """Numbers of the sounds in the library, the goal's first, of different classes."""
        return _different(self.sounds, self.num_sources, self.np_random)

    def _stops_s(self) -> list[float | None]:
        """When each sound falls silent."""
        return [None] * self.num_sources

    def _extra(self) -> dict[str, Any]:
        return {}

    # --- the episode ---

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A new room with new sounds, all drawn from ``np_random``; nothing of the last episode is heard in it."""
        super().reset(seed=seed)
        with computing(1):  # what is drawn and rendered is small
            return self._begin()

    def _begin(self) -> tuple[dict[str, Any], dict[str, Any]]:
        drawn = [self.sounds[number] for number in self._draw_sounds()]
        self.world = self._draw_world([sound.labels for sound in drawn])
        phases = self.np_random.random(len(drawn))
        stops = self._stops_s()
        tracks = [
            track_of(sound.waveform(), len(drawn), float(phase), stop)
            for sound, phase, stop in zip(drawn, phases, stops, strict=True)
        ]
        self._soundscape = Soundscape(self.simulator, tracks, self._noise_dbfs, int(self.np_random.integers(2**31)))
        self._stop_s = stops[0]
        self._start = (self.world.x, self.world.z, self.world.heading_deg)
        self._start_way_m = self.world.way_m(self.world.x, self.world.z)
        self._walked_m, self._steps, self._trail = 0.0, 0, [(self.world.x, self.world.z)]
        self._heard = []
        self._view = None
        return self._observe(collided=False), self._info()

    def _move(self, action: Any) -> tuple[bool, bool]:
        """Walk or turn; whether something was in the way, and whether the agent stops."""
        world = self.world
        if self._discrete:
            forward, turn = float(action == FORWARD), float(action == LEFT) - float(action == RIGHT)
            stop = action == STOP
        else:
            forward, turn, stop = float(action[0]), -float(action[1]), action[2] > 0.5
        if stop:
            return False, True
        world.heading_deg = (world.heading_deg + turn * self.turn_deg) % 360
        dx, dz = (forward * self.forward_m * part for part in ahead(world.heading_deg))
        x, z, hit = world.floor.slide(world.x, world.z, dx, dz)
        self._walked_m += math.hypot(x - world.x, z - world.z)
        world.x, world.z = x, z
        self._trail.append((x, z))
        return hit, False

    def _observe(self, collided: bool) -> dict[str, Any]:
        sound = self._soundscape.step(self.world.heard_from_here(), self.step_s)
        return {
            "audio": sound,
            "pose": self._pose(),
            "collided": np.array([collided], np.float32),
            **self._extra(),
        }

    def _pose(self) -> NDArray[np.float32]:
        """Where the agent is in the frame it began in: metres to the right and back, cosine and sine of its turn."""
        x, z, heading = self._start
        dx, dz = self.world.x - x, self.world.z - z
        ax, az = ahead(heading)
        turn = math.radians(self.world.heading_deg - heading)
        # To the right of straight ahead (ax, az) lies (−az, ax).
        return np.array([-az * dx + ax * dz, -(ax * dx + az * dz), math.cos(turn), math.sin(turn)], np.float32)

    def _info(self) -> dict[str, Any]:
        world = self.world
        place = relative_position(world.listener(), world.goal.position_m)
        return {
            "truth": {
                "azimuth_deg": place.azimuth_deg,
                "elevation_deg": place.elevation_deg,
                "distance_m": place.distance_m,
                "way_m": world.way_m(world.x, world.z),
                "labels": list(world.goal.labels),
                "silent": self._silent(),
            }
        }

    def _silent(self) -> bool:
        return self._stop_s is not None and self._soundscape.time_s >= self._stop_s

    def _metrics(self, success: bool) -> dict[str, float]:
        world = self.world
        x, z, heading = self._start
        straight = World(world.scene, world.floor, (), world.to_goal_m, x, z, heading)
        turn = (straight.first_heading_deg() - heading + 180) % 360 - 180
        least = least_actions(self._start_way_m - self.success_m, turn, self.forward_m, self.turn_deg)
        walk = Walk(
            self._start_way_m, self._walked_m, world.way_m(world.x, world.z), self._steps, least, success,
            self._silent(), self._direction_error_deg(),
        )  # fmt: skip
        return episode_metrics(walk)

    def _direction_error_deg(self) -> float:
        """Of what was heard last, if a wrapper said so."""
        if not self._heard:
            return math.nan
        place = relative_position(self.world.listener(), self.world.goal.position_m)
        said = np.array([heard["direction"] for heard in self._heard])
        return direction_error_deg(said, place.azimuth_deg, place.elevation_deg)

    # --- looking at it ---

    @property
    def scene(self) -> Scene:
        """Room, sources and the head where it is now."""
        return self.world.heard_from_here()

    def oracle_heading_deg(self) -> float:
        """Heading in which the shortest way to the goal goes on from here; for upper bounds, not for agents."""
        return self.world.first_heading_deg()

    def show_heard(self, heard: list[dict[str, Any]]) -> None:
        """What the agent hears (``direction`` (3,) in its frame, ``distance_m``, ``label``), to be drawn and scored."""
        self._heard = heard

    def render(self) -> Any:
        """The room from above, (height, width, 3) uint8: boxes, sources, way of the agent, and what it hears."""
        if self.render_mode is None:
            gym.logger.warn(
                "render was called without a render_mode; make the environment with render_mode='rgb_array'"
            )
            return None
        if self._view is None:
            self._view = TopView(self.world)
        return self._view.draw(self.world, self._trail, self._heard, self._caption())

    def _caption(self) -> str:
        way = f"{self._soundscape.time_s:.2f} s   way {self.world.way_m(self.world.x, self.world.z):.1f} m"
        return f"{way}   silent" if self._silent() else way

    def close(self) -> None:
        """Close the simulator, where it holds anything."""
        if callable(close := getattr(self.simulator, "close", None)):
            close()


@cache
def _library(spec: str, folds: tuple[int, ...] | None) -> SoundSet:
    """Opened once a process: environments side by side share what is loaded."""
    found = open_sounds(spec, cache=True)
    return found if folds is None else found.filter(folds=folds)


def _different(sounds: SoundSet, count: int, rng: np.random.Generator) -> list[int]:
    """Numbers of sounds whose classes have nothing in common."""
    if len(sounds.labels()) < count:
        raise BadInput(
            f"{count} sounds of different classes are needed, the library has {len(sounds.labels())}: take a larger one"
        )
    chosen: list[int] = []
    taken: set[str] = set()
    for _ in range(1000):
        number = sounds.draw(rng)
        if not taken & set(sounds[number].labels):
            chosen.append(number)
            taken |= set(sounds[number].labels)
        if len(chosen) == count:
            return chosen
    raise BadInput(f"no {count} sounds without a common class were found in 1000 draws; use a larger library of sounds")
