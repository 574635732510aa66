"""The simulator ``measured``: it renders nothing, it gives what was measured in real rooms."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bat_agent.errors import BadInput
from bat_agent.interfaces import DIRECT_GAIN_AT_1M, SAMPLE_RATE_HZ
from bat_agent.scene import (
    STANDING_HEIGHT_M,
    Listener,
    MeshRoom,
    Position,
    Scene,
    Source,
    angle_between_deg,
    point_at,
)
from bat_agent.sound.audio import expand, read_audio
from bat_agent.sound.rir_measures import direct_sound, onset_sample
from bat_agent_measured.config import MeasuredConfig
from bat_agent_measured.manifest import NAME, Response, read_responses
from bat_agent_measured.sofa_rooms import read_sofa_rooms, sofa_response

SPEED_OF_SOUND = 343.0
LATENCY_SAMPLES = 32
NEAR_DEG, NEAR_SHARE = 1.0, 0.02
"""How far a source may be from where one was measured, to be that one: degrees, and share of the distance."""
NEAR_HEADING_DEG = 2.6
Array = NDArray[np.float32]


class Measured:
    """Measured rooms; see :class:`bat_agent.interfaces.Simulator`.

    Room: :class:`~bat_agent.scene.MeshRoom` without a mesh, whose ``path`` is the folder and whose ``options`` say room
    and head. A source must stand where one was measured, for a heading that was measured; a position heard at two
    headings is one that stays while the head turns. Level: one gain for each room and head, by which the direct sound
    of its responses has, in the mean over them and both ears, the energy (0.282/d)². Time: with onset ``physical``
    direct sound reaches the ears, in their mean, after d/343 s; with ``direct_at_zero`` at sample 32.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, config: MeasuredConfig | None = None) -> None:
        self.config = config or MeasuredConfig()
        self.options: dict[str, Any] = {"folder": self.config.folder, "level": self.config.level}
        self._groups: dict[tuple[str, str], list[Response]] = defaultdict(list)
        for response in _responses(Path(expand(self.config.folder))):
            if not self.config.rooms or response.room in self.config.rooms:
                self._groups[response.room, response.head].append(response)
        known = {room for room, _ in self._groups}
        if missing := sorted(set(self.config.rooms) - known) or not known:
            raise BadInput(f"{self.config.folder} has no room {missing}; leave rooms out to take all")
        self._gains: dict[tuple[str, str], float] = {}
        self._read: dict[tuple[Path, int | None], Array] = {}

    @cached_property
    def rooms(self) -> list[tuple[str, str]]:
        """Room and head of all that was measured, in the order of the manifest."""
        return list(self._groups)

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        """One of the rooms with one of its headings, and sources where some were measured; each place once, if there
        are enough.
        """
        room, head = self.rooms[int(rng.integers(len(self.rooms)))]
        group = self._groups[room, head]
        heading_deg = group[int(rng.integers(len(group)))].heading_deg
        here = [response for response in group if response.heading_deg == heading_deg]
        order = rng.permutation(len(here))
        listener = Listener((0.0, STANDING_HEIGHT_M, 0.0), heading_deg)
        places = [here[int(order[number % len(here)])].position for number in range(num_sources)]
        return Scene(
            MeshRoom(self.config.folder, options={"room": room, "head": head}), listener,
            tuple(Source(point_at(listener, place)) for place in places), int(rng.integers(2**31)),
            self.config.onset, {"name": "measured", "options": dict(self.options)},
        )  # fmt: skip

    def render(self, scene: Scene) -> list[Tensor]:
        """One RIR (2, taps) float32 per source, left ear first, as long as it was measured."""
        key = self._group_of(scene)
        gain = self._gain(key) if self.config.level == "convention" else 1.0
        out = []
        for position in scene.positions():
            response = self._find(key, position, scene.listener.heading_deg)
            rir = self._response(response) * gain
            begin = float(np.mean([onset_sample(ear) for ear in rir]))
            direct = position.distance_m / SPEED_OF_SOUND * SAMPLE_RATE_HZ
            late = round((direct if scene.onset == "physical" else LATENCY_SAMPLES) - begin)
            moved = np.pad(rir, ((0, 0), (late, 0))) if late > 0 else rir[:, -late:]
            out.append(torch.from_numpy(np.ascontiguousarray(moved, dtype=np.float32)))
        return out

    def _group_of(self, scene: Scene) -> tuple[str, str]:
        if not isinstance(scene.room, MeshRoom) or "room" not in scene.room.options:
            raise BadInput("measured gives measured rooms alone; draw a scene with it, or use 'shoebox' for this one")
        key = str(scene.room.options["room"]), str(scene.room.options.get("head", ""))
        if key not in self._groups:
            raise BadInput(f"{self.config.folder} has no room {key[0]!r} with head {key[1]!r}; known are {self.rooms}")
        return key

    def _find(self, key: tuple[str, str], position: Position, heading_deg: float) -> Response:
        def off(response: Response) -> tuple[float, float]:
            turned = abs((response.heading_deg - heading_deg + 180.0) % 360.0 - 180.0)
            aside = angle_between_deg(position[:2], response.position[:2]) / NEAR_DEG
            along = abs(response.position.distance_m / position.distance_m - 1) / NEAR_SHARE
            return round(max(turned / NEAR_HEADING_DEG, aside, along), 6), turned + aside + along

        best = min(self._groups[key], key=off)
        if off(best)[0] > 1:
            raise BadInput(
                f"in room {key[0]!r} nothing was measured at azimuth {position.azimuth_deg:.1f}°, elevation "
                f"{position.elevation_deg:.1f}°, {position.distance_m:.2f} m with heading {heading_deg:.0f}°; the "
                f"nearest is at {best.position.azimuth_deg:.1f}°, {best.position.elevation_deg:.1f}°, "
                f"{best.position.distance_m:.2f} m with {best.heading_deg:.0f}°"
            )
        return best

    def _gain(self, key: tuple[str, str]) -> float:
        if key not in self._gains:
            direct = [
                float((direct_sound(self._response(one)) ** 2).sum(-1).mean()) * one.position.distance_m**2
                for one in self._groups[key]
            ]
            self._gains[key] = DIRECT_GAIN_AT_1M / float(np.sqrt(np.mean(direct)))
        return self._gains[key]

    def _response(self, response: Response) -> Array:
        """(2, taps) at 32 kHz."""
        key = response.file, response.row
        if key not in self._read:
            if response.row is None:
                rir = np.asarray(read_audio(response.file), dtype=np.float32)
            else:
                rir = sofa_response(response.file, response.row)
            if not np.abs(rir).max() > 0:
                raise BadInput(f"the response {response.file} is silent; fetch it again, or take its line out")
            self._read[key] = rir
        return self._read[key]


def _responses(place: Path) -> list[Response]:
    """Those of a manifest, or of a SOFA file, or of all SOFA files of a folder without a manifest."""
    files = sorted(place.glob("*.sofa")) if place.is_dir() and not (place / NAME).is_file() else []
    files = [place] if place.suffix == ".sofa" else files
    return [one for file in files for one in read_sofa_rooms(file)] if files else read_responses(place)
