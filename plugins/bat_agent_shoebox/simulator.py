"""The simulator ``shoebox``: rectangular rooms, heard by a head, as image sources followed by a diffuse tail."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bat_agent.errors import BadInput
from bat_agent.scene import STANDING_HEIGHT_M, Listener, Room, Scene, Source, Vector
from bat_agent_shoebox.config import ShoeboxConfig
from bat_agent_shoebox.hrtf import RATE_HZ, SPEED_OF_SOUND, TAPS, load_head
from bat_agent_shoebox.image_sources import Ears, Paths, find_images, least_rt60_s
from bat_agent_shoebox.tail import DiffuseTail

LATENCY_SAMPLES = 32
"""Where the largest sample of a frontal source falls with onset ``direct_at_zero``, as in the released RIRs."""
LEAST_DISTANCE_M = 0.1
_CHUNK = 8


class Shoebox:
    """Room impulse responses of shoebox rooms; see :class:`bat_agent.interfaces.Simulator`.

    Level: pressure gain 0.282/d before the head, and the head passes white noise from straight ahead at 0 dB (Σ h² = 1
    at each ear), so a frontal source d metres away in free field gives RIRs of energy (0.282/d)² at each ear.
    Time: with onset ``physical`` the largest sample of a frontal source falls on d/343 s; with ``direct_at_zero`` on
    sample 32, for each source on its own.
    """

    sample_rate_hz = RATE_HZ

    def __init__(self, config: ShoeboxConfig | None = None) -> None:
        self.config = config or ShoeboxConfig()
        head = load_head(self.config.head)
        self._ears = Ears(head, self.config.device, self.config.air_absorption)
        self._tail = DiffuseTail(head, self.config.device, self.config.air_absorption)

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        """Draw a room, a listener standing in it (ears at 1.5 m) and sources uniformly in its volume."""
        config = self.config
        size = self._sample_size(rng)
        rt60 = config.median_rt60_s * math.exp(config.rt60_sigma * rng.standard_normal())
        # A margin of 1 % keeps the drawn value reachable after rounding.
        rt60 = max(float(np.clip(rt60, config.min_rt60_s, config.max_rt60_s)), 1.01 * least_rt60_s(size))
        margin = config.listener_margin_m
        position = (
            float(rng.uniform(margin, size[0] - margin)),
            STANDING_HEIGHT_M,
            float(rng.uniform(margin, size[2] - margin)),
        )
        heading = float(rng.uniform(0, 360)) if config.random_heading else 0.0
        sources = tuple(Source(self._sample_source(rng, size, position)) for _ in range(num_sources))
        return Scene(
            Room(size, rt60), Listener(position, heading), sources, int(rng.integers(2**31)), onset=config.onset
        )

    def _sample_size(self, rng: np.random.Generator) -> Vector:
        config = self.config
        area = float(np.clip(config.median_area_m2 * math.exp(0.6 * rng.standard_normal()), 4, 90))
        aspect = rng.uniform(1, config.max_aspect)
        short = max(math.sqrt(area / aspect), 1.4)
        height = float(np.clip(rng.normal(config.mean_height_m, 0.25), 2.2, 4))
        sides = (short, area / short) if rng.random() < 0.5 else (area / short, short)
        return sides[0], height, sides[1]

    def _sample_source(self, rng: np.random.Generator, size: Vector, listener: Vector) -> Vector:
        config, margin = self.config, self.config.source_margin_m
        for _ in range(10_000):
            x, y, z = (float(rng.uniform(margin, extent - margin)) for extent in size)
            if config.min_distance_m <= math.dist((x, y, z), listener) < config.max_distance_m:
                return x, y, z
        raise BadInput(
            f"shoebox finds no source position between {config.min_distance_m} and {config.max_distance_m} m from the "
            f"listener in a room of {size} m; widen min_distance_m … max_distance_m"
        )

    def render(self, scene: Scene) -> list[Tensor]:
        """One RIR (2, taps) float32 per source, left ear first, as long as the decay by 60 dB or ``max_seconds``."""
        if not scene.sources:
            return []
        return list(self.render_batch([scene], self._num_taps(scene)))

    def render_batch(self, scenes: Sequence[Scene], num_taps: int) -> Tensor:
        """(sources of all scenes, 2, num_taps) float32: the RIRs of many scenes, cut or padded to one length.

        Same sounds as :meth:`render`, at less cost per RIR.
        """
        for scene in scenes:
            _check(scene)
        pairs = [(scene, number) for scene in scenes for number in range(len(scene.sources))]
        out = torch.empty(len(pairs), 2, num_taps, device=self.config.device)
        for first in range(0, len(pairs), _CHUNK):
            chunk = pairs[first : first + _CHUNK]
            paths = self._paths(chunk)
            images = find_images(paths, self.config.order)
            rirs = self._ears.render(images, paths, num_taps)
            if torch.isfinite(paths.rt60_s).any():
                rirs += self._tail.render(images, paths, [_seed(scene, number) for scene, number in chunk], num_taps)
            out[first : first + len(chunk)] = rirs
        return out

    def _paths(self, pairs: Sequence[tuple[Scene, int]]) -> Paths:
        rows = []
        for scene, number in pairs:
            room, listener, source = scene.room, scene.listener, scene.sources[number].position_m
            assert isinstance(room, Room)
            rt60 = math.inf if room.rt60_s is None else room.rt60_s
            direct = math.dist(source, listener.position_m) / SPEED_OF_SOUND
            shift = direct - LATENCY_SAMPLES / RATE_HZ if scene.onset == "direct_at_zero" else 0.0
            rows.append([*room.size_m, *listener.position_m, *source, listener.heading_deg, rt60, shift])
        table = torch.tensor(rows, dtype=torch.float64, device=self.config.device)
        return Paths(table[:, :3], table[:, 3:6], table[:, 6:9], table[:, 9], table[:, 10], table[:, 11])

    def _num_taps(self, scene: Scene) -> int:
        _check(scene)
        farthest = max(math.dist(source.position_m, scene.listener.position_m) for source in scene.sources)
        assert isinstance(scene.room, Room)
        direct = 0.0 if scene.onset == "direct_at_zero" else farthest / SPEED_OF_SOUND
        seconds = direct + (scene.room.rt60_s or 0.0)
        return min(math.ceil(seconds * RATE_HZ) + 2 * TAPS, int(self.config.max_seconds * RATE_HZ))


def _seed(scene: Scene, number: int) -> int:
    """A seed for each source of a scene; neighbouring seeds must not share noise between sources."""
    return int(np.random.SeedSequence([scene.seed % 2**63, number]).generate_state(1, np.uint64)[0] >> 1)


def _check(scene: Scene) -> None:
    """Refuse what cannot be rendered here."""
    room = scene.room
    if not isinstance(room, Room):
        raise BadInput(f"shoebox renders rectangular rooms, not the mesh {room.path}; use the simulator 'soundspaces'")
    if room.rt60_s is not None and room.rt60_s < (least := least_rt60_s(room.size_m)):
        raise BadInput(
            f"room of {room.size_m} m cannot have rt60_s {room.rt60_s}: its walls would have to absorb everything; "
            f"the smallest is {math.ceil(least * 1000) / 1000} s, or null for free field"
        )
    for number, source in enumerate(scene.sources):
        distance = math.dist(source.position_m, scene.listener.position_m)
        if distance < LEAST_DISTANCE_M:
            raise BadInput(
                f"source {number} is {distance:.3f} m from the centre of the head; it must be at least "
                f"{LEAST_DISTANCE_M} m away, outside the head"
            )
