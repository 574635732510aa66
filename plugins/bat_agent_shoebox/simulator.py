"""The simulator ``shoebox``: rectangular rooms, heard by a head, as image sources followed by a diffuse tail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from bat_agent.errors import BadInput
from bat_agent.scene import Room, Scene, check_outside_head
from bat_agent_shoebox.config import ShoeboxConfig
from bat_agent_shoebox.directivity import Directivity, facing
from bat_agent_shoebox.drawing import draw_placement, draw_scene
from bat_agent_shoebox.ears import Ears
from bat_agent_shoebox.heads import BUILT_IN, hash_of, head_of, place_of, single_heads
from bat_agent_shoebox.hrtf import RATE_HZ, SPEED_OF_SOUND, TAPS, load_head
from bat_agent_shoebox.image_sources import Paths, find_images
from bat_agent_shoebox.materials import BANDS_HZ, check_names
from bat_agent_shoebox.noise import seed_words
from bat_agent_shoebox.tail import DiffuseTail
from bat_agent_shoebox.walls import decay_times_s, eyring_rate, least_rt60_s, specular_rates, wall_losses

LATENCY_SAMPLES = 32
"""Where the largest sample of a frontal source falls with onset ``direct_at_zero``, as in the released RIRs."""
LEAST_DISTANCE_M = 0.1
_CHUNK = {"cpu": 8, "accelerator": 256}
"""Sources rendered at once: what fits a CPU's cache, and what keeps an accelerator busy."""


class Shoebox:
    """Room impulse responses of shoebox rooms; see :class:`bat_agent.interfaces.Simulator`.

    Level: pressure gain 0.282/d before the head, and the head passes white noise from straight ahead at 0 dB (Σ h² = 1
    at each ear), so a frontal source d metres away in free field gives RIRs of energy (0.282/d)² at each ear.
    Time: with onset ``physical`` the largest sample of a frontal source falls on d/343 s; with ``direct_at_zero`` on
    sample 32, for each source on its own.
    Walls: :mod:`bat_agent_shoebox.walls` says how reverberation time and materials set them.
    """

    sample_rate_hz = RATE_HZ

    def __init__(self, config: ShoeboxConfig | None = None) -> None:
        self.config = config or ShoeboxConfig()
        self.heads = single_heads(self.config.heads, self.config.subjects, self.config.without_subjects)
        """Names of the heads that rooms are drawn for."""
        self._hashes = _hashes(self.heads, self.config.head_sha256)
        self.options = _options(self.config) | self._head_options()
        self._heard_by: dict[str, tuple[Ears, DiffuseTail]] = {}
        if len(self.heads) == 1:
            self._listening(self.heads[0])  # what is wrong with it is told now

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        """Draw a room, a listener standing in it (ears at 1.5 m) and sources uniformly in its volume.

        Of a set of heads the room's seed draws one, which is written into the scene.
        """
        scene = draw_scene(self.config, rng, num_sources, {"name": "shoebox", "options": dict(self.options)})
        if len(self.heads) > 1:
            head = head_of(replace(scene, simulator={}), self.heads)
            one = _one_head(head, self._hashes[head])
            scene = replace(scene, simulator={"name": "shoebox", "options": {**_options(self.config), **one}})
        return scene

    def sample_placements(self, scene: Scene, rng: np.random.Generator, count: int) -> list[Scene]:
        """Other listeners, and as many sources, in the room of ``scene``."""
        return [draw_placement(self.config, rng, scene) for _ in range(count)]

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
        # Rooms with materials take filters that others should not pay for.
        kinds = [(head_of(scene, self.heads), not _room(scene).materials) for scene, _ in pairs]
        size = _CHUNK["cpu" if torch.device(self.config.device).type == "cpu" else "accelerator"]
        for kind in dict.fromkeys(kinds):
            group = [number for number, other in enumerate(kinds) if other == kind]
            for first in range(0, len(group), size):
                chosen = group[first : first + size]
                out[torch.as_tensor(chosen)] = self._render_pairs([pairs[k] for k in chosen], num_taps, kind[0])
        return out

    def _listening(self, head: str) -> tuple[Ears, DiffuseTail]:
        """What a head makes of direct sound and reflections, and of the tail; built when it is first heard with."""
        if head not in self._heard_by:
            config = self.config
            tables = load_head(head, config.head_distance_m, config.allow_implausible)
            parts = (part(tables, config.device, config.air_absorption) for part in (Ears, DiffuseTail))
            self._heard_by[head] = cast("tuple[Ears, DiffuseTail]", tuple(parts))
        return self._heard_by[head]

    def _head_options(self) -> dict[str, Any]:
        """The head, or the set of them, as ``load_simulator`` takes it."""
        if len(self.heads) == 1:
            return _one_head(self.heads[0], self._hashes[self.heads[0]])
        names = {"subjects": self.config.subjects, "without_subjects": self.config.without_subjects}
        return {"head": list(self.config.heads), **{name: list(of) for name, of in names.items() if of}}

    def _render_pairs(self, pairs: Sequence[tuple[Scene, int]], num_taps: int, head: str) -> Tensor:
        ears, tail = self._listening(head)
        paths = self._paths(pairs)
        images = find_images(paths, self.config.order)
        rirs = ears.render(images, paths, num_taps)
        if not all(_is_free_field(_room(scene)) for scene, _ in pairs):
            words = seed_words([scene.seed for scene, _ in pairs], [number for _, number in pairs])
            rirs += tail.render(images, paths, words, num_taps)
        return rirs

    def _paths(self, pairs: Sequence[tuple[Scene, int]]) -> Paths:
        rooms = [_room(scene) for scene, _ in pairs]
        rows = []
        for (scene, number), room in zip(pairs, rooms, strict=True):
            listener, source = scene.listener, scene.sources[number].position_m
            direct = math.dist(source, listener.position_m) / SPEED_OF_SOUND
            shift = direct - LATENCY_SAMPLES / RATE_HZ if scene.onset == "direct_at_zero" else 0.0
            rows.append([*room.size_m, *listener.position_m, *source, listener.heading_deg, shift])
        table, loss = np.array(rows), wall_losses(rooms, self.config.decay)
        if self.config.directivity_db:  # which depends on frequency, even where walls do not
            loss = np.repeat(loss, len(BANDS_HZ), axis=2) if loss.shape[2] == 1 else loss
        rate = eyring_rate(table[:, :3], loss)
        numbers, losses, rates = (torch.as_tensor(part, device=self.config.device) for part in (table, loss, rate))
        size, listener_m, source_m = numbers[:, :9].view(-1, 3, 3).unbind(1)
        rays = specular_rates(table[:, :3], loss, self.config.device) if self.config.decay == "specular" else None
        radiates = self._directivity(pairs) if self.config.directivity_db else None
        return Paths(size, listener_m, source_m, numbers[:, 9], numbers[:, 10], losses, rates, rays, radiates)

    def _directivity(self, pairs: Sequence[tuple[Scene, int]]) -> Directivity:
        faces = facing([scene.seed for scene, _ in pairs], [number for _, number in pairs])
        return Directivity.of(faces, self.config.directivity_db, self.config.device)

    def _num_taps(self, scene: Scene) -> int:
        _check(scene)
        farthest = max(math.dist(source.position_m, scene.listener.position_m) for source in scene.sources)
        direct = 0.0 if scene.onset == "direct_at_zero" else farthest / SPEED_OF_SOUND
        room = _room(scene)
        longest = float(decay_times_s(room, self.config.decay).max()) if room.materials else (room.rt60_s or 0.0)
        return min(math.ceil((direct + longest) * RATE_HZ) + 2 * TAPS, int(self.config.max_seconds * RATE_HZ))


def _options(config: ShoeboxConfig) -> dict[str, Any]:
    """All of the configuration that changes a RIR, but the head."""
    kept = {name: getattr(config, name) for name in ("order", "max_seconds", "air_absorption", "decay")}
    # Only where they say something, so that what was drawn before is drawn the same.
    told = {name: getattr(config, name) for name in ("head_distance_m", "allow_implausible", "directivity_db")}
    return kept | {name: value for name, value in told.items() if value != getattr(ShoeboxConfig, name)}


def _one_head(head: str, sha256: str) -> dict[str, Any]:
    """A head as an option, and what its file held."""
    return {"head": head} if head in BUILT_IN else {"head": head, "head_sha256": sha256}


def _hashes(heads: Sequence[str], wanted: str) -> dict[str, str]:
    """What the files of heads hold; a single head's must be ``wanted``, unless that is empty."""
    of_file = {place_of(head): head for head in heads}
    of_file = {place: hash_of(head) for place, head in of_file.items()}
    found = {head: of_file[place_of(head)] for head in heads}
    if wanted and set(found.values()) != {wanted}:
        raise BadInput(
            f"the file of head {heads[0]} is not the one these scenes were rendered with (its SHA-256 differs from "
            f"head_sha256 {wanted[:12]}…); give that file, or head_sha256='' to take this one"
        )
    return found


def _room(scene: Scene) -> Room:
    if not isinstance(scene.room, Room):
        raise BadInput(
            f"shoebox renders rectangular rooms, not the mesh {scene.room.path}; use the simulator 'soundspaces'"
        )
    return scene.room


def _is_free_field(room: Room) -> bool:
    return room.rt60_s is None and not room.materials


def _check(scene: Scene) -> None:
    """Refuse what cannot be rendered here."""
    room = _room(scene)
    check_names(room.materials)
    if room.rt60_s is not None and room.rt60_s < (least := least_rt60_s(room.size_m)):
        raise BadInput(
            f"room of {room.size_m} m cannot have rt60_s {room.rt60_s}: its walls would have to absorb everything; "
            f"the smallest is {math.ceil(least * 1000) / 1000} s, or null for free field"
        )
    check_outside_head(scene.listener.position_m, [source.position_m for source in scene.sources], LEAST_DISTANCE_M)
