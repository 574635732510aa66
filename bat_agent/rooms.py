"""A bank of rendered rooms: scenes and their RIRs in one memory-mapped file, made once and read by every worker."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bat_agent.acoustics import fit_length
from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ, Simulator
from bat_agent.scene import Scene

RENDER_AT_ONCE = 64


@dataclass
class RoomBank:
    """Rendered scenes; the RIRs stay on disk and are read as they are needed."""

    scenes: list[Scene]
    rirs: np.ndarray
    """float16 (scenes, sources, 2, taps); half precision keeps 60 dB of decay to 0.05 % of the peak."""

    def rir(self, scene: int, source: int) -> torch.Tensor:
        """One RIR, float32 (2, taps)."""
        return torch.from_numpy(np.asarray(self.rirs[scene, source], dtype=np.float32))


def open_bank(
    folder: Path,
    simulator: Simulator,
    description: dict[str, Any],
    *,
    scenes: int,
    sources: int,
    seconds: float,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RoomBank:
    """Read the bank of this description, or render it first.

    ``description`` says what the simulator was built from; it names the file together with all other arguments, so that
    a changed option never reads an old bank. Scene i depends on ``seed`` and i alone.
    """
    if scenes < 1 or sources < 1 or seconds <= 0:
        raise BadInput(f"rooms need scenes, sources and seconds above 0, got {scenes}, {sources} and {seconds}")
    key = {**description, "scenes": scenes, "sources": sources, "seconds": seconds, "seed": seed}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    data, text = folder / f"{name}.npy", folder / f"{name}.json"
    if not (data.exists() and text.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        drawn = [simulator.sample_scene(np.random.default_rng((seed, i)), sources) for i in range(scenes)]
        _render(simulator, drawn, round(seconds * SAMPLE_RATE_HZ), data, progress)
        _write_atomically(text, json.dumps({"key": key, "scenes": [scene.to_dict() for scene in drawn]}))
    saved = json.loads(text.read_text(encoding="utf-8"))
    return RoomBank([Scene.from_dict(scene) for scene in saved["scenes"]], np.load(data, mmap_mode="r"))


def _render(
    simulator: Simulator, scenes: Sequence[Scene], taps: int, path: Path, progress: Callable[[int, int], None]
) -> None:
    shape = (len(scenes), len(scenes[0].sources), 2, taps)
    temporary = path.with_suffix(f".{os.getpid()}.tmp.npy")
    try:
        rirs = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        for start in range(0, len(scenes), RENDER_AT_ONCE):
            some = scenes[start : start + RENDER_AT_ONCE]
            rirs[start : start + len(some)] = _render_scenes(simulator, some, taps).numpy().reshape(-1, *shape[1:])
            progress(start + len(some), len(scenes))
        rirs.flush()
        del rirs
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # gigabytes, where rendering was interrupted


def _render_scenes(simulator: Simulator, scenes: Sequence[Scene], taps: int) -> torch.Tensor:
    """(all sources, 2, taps), in one go where the simulator can."""
    if hasattr(simulator, "render_batch"):
        return simulator.render_batch(scenes, taps).cpu()
    return torch.stack([fit_length(rir, taps) for scene in scenes for rir in simulator.render(scene)])


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
