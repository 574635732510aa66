"""Rooms that are rendered: a bank rendered once, or rooms drawn anew for every clip.

A bank is one memory-mapped file of scenes and their RIRs, read by every worker. Both are
:class:`~bat_agent.datasets.rooms.Rooms`, as RIRs in the released layout are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from bat_agent.datasets.rooms import Place
from bat_agent.errors import BadInput, BatAgentError
from bat_agent.files import leftovers
from bat_agent.files.reading import parse_json, read_array
from bat_agent.files.writing import whole_file, write_text
from bat_agent.interfaces import SAMPLE_RATE_HZ, Simulator
from bat_agent.registry import config_of, load_simulator
from bat_agent.scene import Scene
from bat_agent.sound.acoustics import fit_length

RENDER_AT_ONCE = 64
_HEADER_BYTES = 128
_ADVICE = "free some space there, set rooms_dir to a folder on another disk, or render fewer scenes"
_Block = tuple[list[Scene], torch.Tensor]


@dataclass
class RoomBank:
    """Rendered scenes; the RIRs stay on disk and are read as they are needed."""

    scenes: list[Scene]
    rirs: np.ndarray
    """float16 (scenes, sources, 2, taps); half precision keeps 60 dB of decay to 0.05 % of the peak."""
    repeats: int = 1
    """How often each scene counts, next to other places that rooms come from."""

    def __len__(self) -> int:
        return len(self.scenes) * self.repeats

    @property
    def taps(self) -> int:
        """Length of the RIRs."""
        return int(self.rirs.shape[-1])

    @property
    def bytes(self) -> int:
        """Size of all RIRs."""
        return int(self.rirs.nbytes)

    def rir(self, scene: int, source: int) -> torch.Tensor:
        """One RIR, float32 (2, taps)."""
        return torch.from_numpy(np.asarray(self.rirs[scene, source], dtype=np.float32))

    def place(self, number: int, rng: np.random.Generator) -> Place:
        """Scene ``number``."""
        number %= len(self.scenes)
        positions = self.scenes[number].positions()
        sources = self.rirs.shape[1]
        return Place(positions, range(number * sources, number * sources + len(positions)))

    def read(self, rows: Sequence[int]) -> torch.Tensor:
        """(n, 2, taps) float16, by scene · sources + source."""
        return torch.from_numpy(self.rirs.reshape(-1, *self.rirs.shape[2:])[np.asarray(rows, dtype=np.int64)])

    def all(self, device: torch.device) -> torch.Tensor:
        """Every RIR, float16 (rows, 2, taps), copied to ``device`` a portion at a time."""
        flat = self.rirs.reshape(-1, *self.rirs.shape[2:])
        out = torch.empty(flat.shape, dtype=torch.float16, device=device)
        for start in range(0, len(flat), 1024):
            out[start : start + 1024] = torch.from_numpy(np.array(flat[start : start + 1024]))
        return out

    def render(self, scenes: Sequence[Scene], device: torch.device) -> torch.Tensor:
        """Nothing is left to render here; raises :class:`TypeError`."""
        raise TypeError("a bank is rendered when it is opened; read its RIRs by row")

    def name(self, row: int, scene: Scene | None) -> str:
        """Scene and source number."""
        return f"scene {row // self.rirs.shape[1]} source {row % self.rirs.shape[1]}"


class FreshRooms:
    """A new room for every clip: drawn where clips are drawn, rendered where they are rendered."""

    def __init__(self, simulator: str, options: dict[str, Any], *, sources: int, seconds: float, weight: int) -> None:
        """``weight``: how often to come here, next to banks of so many rooms."""
        if sources < 1 or seconds <= 0 or weight < 1:
            raise BadInput(f"rooms need scenes, sources and seconds above 0, got {weight}, {sources} and {seconds}")
        self.simulator, self.options, self.sources = simulator, dict(options), sources
        self.taps: int = round(seconds * SAMPLE_RATE_HZ)
        self.weight = weight
        self._takes_device = hasattr(config_of("simulator", simulator, options), "device")
        self._built: dict[str, Simulator] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the simulators: a worker process builds its own."""
        return self.__dict__ | {"_built": {}}

    def __len__(self) -> int:
        return self.weight

    def place(self, number: int, rng: np.random.Generator) -> Place:
        """A new room."""
        scene = self._on(torch.device("cpu")).sample_scene(rng, self.sources)
        return Place(scene.positions(), range(len(scene.sources)), scene)

    def read(self, rows: Sequence[int]) -> torch.Tensor:
        """Nothing is kept here; raises :class:`TypeError`."""
        raise TypeError("fresh rooms have no RIRs to read; render their scenes")

    def render(self, scenes: Sequence[Scene], device: torch.device) -> torch.Tensor:
        """(n, 2, taps) float32; on a CPU scene by scene, so that a room does not depend on its neighbours."""
        simulator = self._on(device)
        if device.type == "cpu":
            return torch.cat([_render_scenes(simulator, [scene], self.taps) for scene in scenes])
        return _render_scenes(simulator, scenes, self.taps).to(device)

    def name(self, row: int, scene: Scene | None) -> str:
        """Which seed and source."""
        return f"fresh room {scene.seed if scene else '?'} source {row}"

    def _on(self, device: torch.device) -> Simulator:
        if str(device) not in self._built:
            there = {"device": str(device)} if self._takes_device else {}
            self._built[str(device)] = load_simulator(self.simulator, **{**self.options, **there})
        return self._built[str(device)]


def open_bank(
    folder: Path,
    simulator: Simulator,
    description: dict[str, Any],
    *,
    scenes: int,
    sources: int,
    seconds: float,
    seed: int,
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RoomBank:
    """Read the bank of this description, or render it first, in so many processes.

    ``description`` says what the simulator was built from; it names the file together with all other arguments but
    ``workers``, so that a changed option never reads an old bank. Scene i depends on ``seed`` and i alone.
    """
    if scenes < 1 or sources < 1 or seconds <= 0:
        raise BadInput(f"rooms need scenes, sources and seconds above 0, got {scenes}, {sources} and {seconds}")
    key = {**description, "scenes": scenes, "sources": sources, "seconds": seconds, "seed": seed}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    data, text = folder / f"{name}.npy", folder / f"{name}.json"
    if not (data.exists() and text.exists()):
        leftovers.clear(folder)  # gigabytes, where rendering was killed
        blocks = _Blocks(simulator, scenes, sources, round(seconds * SAMPLE_RATE_HZ), seed)
        drawn = _render(blocks, data, workers, progress)
        scenes_of_bank = {"key": key, "scenes": [scene.to_dict() for scene in drawn]}
        write_text(text, json.dumps(scenes_of_bank), durable=True, advice=_ADVICE)
    try:
        saved = parse_json(text.read_text(encoding="utf-8"))
        return RoomBank([Scene.from_dict(scene) for scene in saved["scenes"]], read_array(data, mapped=True))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(
            f"the rooms in {data} and {text.name} are damaged ({error}); remove both, they are rendered again"
        ) from error


class _Blocks(Dataset[Any]):
    """Scenes of a bank and their RIRs, some at a time: what worker processes make of it."""

    def __init__(self, simulator: Simulator, scenes: int, sources: int, taps: int, seed: int) -> None:
        self.simulator, self.scenes, self.sources, self.taps, self.seed = simulator, scenes, sources, taps, seed

    def __len__(self) -> int:
        return -(-self.scenes // RENDER_AT_ONCE)

    def __getitem__(self, block: int) -> _Block | BatAgentError:
        """Scenes and float16 (scenes, sources, 2, taps)."""
        try:
            return self._block(block)
        except BatAgentError as error:  # raised in a worker process, it would come out as that process' traceback
            return error

    def _block(self, block: int) -> _Block:
        numbers = range(block * RENDER_AT_ONCE, min((block + 1) * RENDER_AT_ONCE, self.scenes))
        drawn = [self.simulator.sample_scene(np.random.default_rng((self.seed, i)), self.sources) for i in numbers]
        rirs = _render_scenes(self.simulator, drawn, self.taps).cpu().half()
        return drawn, rirs.unflatten(0, (len(drawn), -1))


def _render(blocks: _Blocks, path: Path, workers: int, progress: Callable[[int, int], None]) -> list[Scene]:
    """The scenes; their RIRs are in the file ``path`` then."""
    drawn: list[Scene] = []
    shape = (blocks.scenes, blocks.sources, 2, blocks.taps)
    num_bytes = math.prod(shape) * np.dtype(np.float16).itemsize
    # Written, not mapped: a full disk is then an error that can be told, and not a signal that ends the process.
    with whole_file(path, durable=True, folder=True, needs=num_bytes + _HEADER_BYTES, advice=_ADVICE) as file:
        form = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, form)
        for block in DataLoader(blocks, batch_size=None, num_workers=workers, collate_fn=_as_it_is):
            if isinstance(block, BatAgentError):
                raise block
            scenes, some = block
            file.write(some.numpy().tobytes())
            drawn += scenes
            progress(len(drawn), blocks.scenes)
    return drawn


def _render_scenes(simulator: Simulator, scenes: Sequence[Scene], taps: int) -> torch.Tensor:
    """(all sources, 2, taps), in one go where the simulator can."""
    if hasattr(simulator, "render_batch"):
        rirs: torch.Tensor = simulator.render_batch(scenes, taps)
        return rirs
    return torch.stack([fit_length(rir, taps) for scene in scenes for rir in simulator.render(scene)])


def _as_it_is(block: Any) -> Any:
    return block
