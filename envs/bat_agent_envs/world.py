"""A furnished room with sounds in it: drawn for an episode, and heard step by step by whoever walks in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ, Simulator
from bat_agent.scene import STANDING_HEIGHT_M, Listener, Room, Scene, Source
from bat_agent.scenes.moving import StreamState, Track, render_step
from bat_agent.threads import computing
from bat_agent_envs.floor import Box, Floor, Point, floor_of

AGENT_RADIUS_M = 0.2
OBJECT_RADIUS_M = 0.35
"""Nobody walks through what sounds."""
_ROOMS_TRIED, _PLACES_TRIED = 200, 60
_FEWEST_CELLS = 150
_BOX_PER_M2 = 0.15
_LONGEST_SOUND_S = 10.0


@dataclass(frozen=True)
class Drawing:
    """How an episode is drawn."""

    num_sources: int
    least_m: float
    """Shortest way from the agent to the goal."""
    most_m: float
    least_apart_m: float = 1.0
    """Between sources."""


@dataclass(eq=False)
class World:
    """One episode's room. The listener of ``scene`` is the agent's head; the first source is the goal."""

    scene: Scene
    floor: Floor
    boxes: tuple[Box, ...]
    to_goal_m: NDArray[np.float64]
    """Way to the goal from each cell of the floor."""
    x: float
    z: float
    heading_deg: float

    @property
    def goal(self) -> Source:
        """What is looked for."""
        return self.scene.sources[0]

    def way_m(self, x: float, z: float) -> float:
        """Metres to walk from a place to the goal."""
        i, k = self.floor.cell(x, z)
        i, k = min(max(i, 0), self.to_goal_m.shape[0] - 1), min(max(k, 0), self.to_goal_m.shape[1] - 1)
        return float(self.to_goal_m[i, k])

    def first_heading_deg(self) -> float:
        """Heading in which the shortest way from the agent begins."""
        i, k = self.floor.cell(self.x, self.z)
        reach = 4
        best, aim = math.inf, (i, k)
        for a in range(max(i - reach, 0), min(i + reach + 1, self.to_goal_m.shape[0])):
            for b in range(max(k - reach, 0), min(k + reach + 1, self.to_goal_m.shape[1])):
                way = self.to_goal_m[a, b] + 0.1 * math.hypot(a - i, b - k)
                if (a, b) != (i, k) and way < best - 1e-9:
                    best, aim = way, (a, b)
        return heading_towards(self.floor.centre(aim)[0] - self.x, self.floor.centre(aim)[1] - self.z)

    def listener(self) -> Listener:
        """The agent's head."""
        return Listener((self.x, self.floor.floor_y_m + STANDING_HEIGHT_M, self.z), self.heading_deg)

    def heard_from_here(self) -> Scene:
        """The scene with the head where it is now."""
        return replace(self.scene, listener=self.listener())


def heading_towards(dx: float, dz: float) -> float:
    """Heading (0 faces −z, counter-clockwise from above) in which (dx, dz) lies ahead."""
    return math.degrees(math.atan2(-dx, -dz)) % 360


def ahead(heading_deg: float) -> Point:
    """(dx, dz) of one metre straight ahead."""
    turn = math.radians(heading_deg)
    return -math.sin(turn), -math.cos(turn)


def draw_world(
    simulator: Simulator, drawing: Drawing, labels: list[tuple[str, ...]], rng: np.random.Generator
) -> World:
    """A room, boxes on its floor (in rectangular rooms), sources of these labels, and the agent, all by lot.

    Boxes block the way; they are not heard. Raises :class:`~bat_agent.errors.BadInput` where the simulator draws no
    room in which the way from agent to goal can be as long as asked for.
    """
    for _ in range(_ROOMS_TRIED):
        drawn = simulator.sample_scene(rng, 1)
        boxes = _draw_boxes(drawn, rng)
        floor = floor_of(drawn, AGENT_RADIUS_M, boxes)
        cells = np.argwhere(floor.free)
        if len(cells) < _FEWEST_CELLS:
            continue
        for _ in range(_PLACES_TRIED if isinstance(drawn.room, Room) else 4 * _PLACES_TRIED):
            world = _place(drawn, floor, boxes, cells, drawing, labels, rng)
            if world is not None:
                return world
    raise BadInput(
        f"none of {_ROOMS_TRIED} rooms has {drawing.num_sources} source(s) and a way of {drawing.least_m:g} to "
        f"{drawing.most_m:g} m to the first: lower least_way_m, or let the simulator draw larger rooms "
        "(simulator_options, for shoebox median_area_m2)"
    )


def _draw_boxes(scene: Scene, rng: np.random.Generator) -> tuple[Box, ...]:
    if not isinstance(scene.room, Room):
        return ()
    wide, _, deep = scene.room.size_m
    boxes = []
    for _ in range(rng.binomial(math.ceil(2 * wide * deep * _BOX_PER_M2), 0.5)):
        size = rng.uniform((0.4, 0.4), (1.2, 0.8))
        size = size if rng.random() < 0.5 else size[::-1]
        x, z = rng.uniform(0, max(wide - size[0], 0.01)), rng.uniform(0, max(deep - size[1], 0.01))
        boxes.append((float(x), float(z), float(x + size[0]), float(z + size[1])))
    return tuple(boxes)


def _place(
    drawn: Scene,
    floor: Floor,
    boxes: tuple[Box, ...],
    cells: NDArray[np.int64],
    drawing: Drawing,
    labels: list[tuple[str, ...]],
    rng: np.random.Generator,
) -> World | None:
    spots = [floor.centre((int(i), int(k))) for i, k in cells[rng.integers(len(cells), size=drawing.num_sources)]]
    apart = [math.dist(a, b) for n, a in enumerate(spots) for b in spots[:n]]
    if apart and min(apart) < drawing.least_apart_m:
        return None
    clear = floor
    for x, z in spots:
        clear = clear.without_disc(x, z, OBJECT_RADIUS_M)
    # From the goal through what it stands in, but not through the other sources.
    ways = clear.distances_to(*spots[0], within_m=OBJECT_RADIUS_M + 0.15)
    starts = np.argwhere(clear.free & (ways >= drawing.least_m) & (ways <= drawing.most_m))
    if not len(starts):
        return None
    i, k = starts[rng.integers(len(starts))]
    heights = floor.floor_y_m + rng.uniform(0.5, 1.7, drawing.num_sources)
    sources = tuple(Source((x, float(y), z), label) for (x, z), y, label in zip(spots, heights, labels, strict=True))
    x, z = clear.centre((int(i), int(k)))
    head = Listener((x, floor.floor_y_m + STANDING_HEIGHT_M, z), float(rng.uniform(0, 360)))
    if any(not drawn.room.contains(source.position_m) for source in sources):
        return None
    scene = Scene(drawn.room, head, sources, int(rng.integers(2**31)), drawn.onset, drawn.simulator)
    return World(scene, clear, boxes, ways, x, z, head.heading_deg)


class Soundscape:
    """What reaches the ears, chunk after chunk; the sounds go on while the head moves, reverberation included."""

    def __init__(self, simulator: Simulator, tracks: list[Track], noise_dbfs: float | None, seed: int) -> None:
        self._simulator, self._tracks = simulator, tracks
        self._noise = None if noise_dbfs is None else 10 ** (noise_dbfs / 20)
        self._rng = np.random.default_rng(seed)
        self._state: StreamState | None = None

    @property
    def time_s(self) -> float:
        """Seconds heard so far."""
        return 0.0 if self._state is None else self._state.clock / SAMPLE_RATE_HZ

    def step(self, scene: Scene, seconds: float) -> NDArray[np.float32]:
        """The next chunk, (2, n) at 32 kHz, with the noise of the microphones."""
        samples = round(seconds * SAMPLE_RATE_HZ)
        with computing(1):  # a step is small: more threads would only wait for one another
            heard, self._state = render_step(self._simulator, scene, self._tracks, samples, self._state)
        sound = heard.cpu().numpy()
        if self._noise is not None:
            sound = sound + self._noise * self._rng.standard_normal(sound.shape, np.float32)
        return np.asarray(sound, np.float32)


def track_of(waveform: NDArray[np.float32], sources: int, phase: float, stop_s: float | None = None) -> Track:
    """A sound that loops from anywhere in it, as loud as in the encoders' training clips with so many sources."""
    import torch

    from bat_agent.sound.acoustics import rms_normalise

    sound = torch.from_numpy(np.ascontiguousarray(waveform[: round(_LONGEST_SOUND_S * SAMPLE_RATE_HZ)]))
    sound = rms_normalise(sound) / sources
    return Track(sound, start_s=-phase * len(sound) / SAMPLE_RATE_HZ, stop_s=stop_s)
