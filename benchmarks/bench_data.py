"""The data path next to what it feeds: clips a second drawn and rendered, and clips a second trained on, in one run.

Sections: ``cpu`` (one thread: a worker process; clips of 2 and 10 s, sounds in memory, rooms of a bank and fresh ones,
rendered by the worker or left to the device; beside it the same clips convolved as a whole, and the training step of
the shipped model's encoder), ``gpu`` (256 clips of 10 s, rendered on the GPU from a bank that lies there, from one that
does not, and from fresh rooms; then with worker processes; beside it a training step of Spatial-AST in bf16).

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_data.py [cpu] [gpu]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from rich.console import Console
from rich.table import Table
from scipy.fft import next_fast_len
from torch.utils.data import DataLoader

from bat_agent.clips.mixtures import Mixtures
from bat_agent.clips.room_bank import FreshRooms, open_bank
from bat_agent.clips.sound_bank import SoundPool
from bat_agent.clips.spatialise import Unrendered, render
from bat_agent.datasets.rooms import Rooms
from bat_agent.datasets.sound_libraries import from_manifest
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Mixing, Stage
from bat_agent.registry import load_encoder, load_simulator
from bat_agent.sound.waveform import fit
from bat_agent.training.losses import encoder_loss

RIR_SECONDS = 0.5
_WORKERS = max(1, (os.cpu_count() or 2) - 2)
AUGMENTED = {"two_sources": 0.4, "equalise_db": 4.0, "speed": 0.15, "noise_dbfs": [-95.0, -60.0], "mismatch_db": 1.0}
console = Console()


def pool(folder: Path) -> SoundPool:
    """Twenty-four recordings of ten seconds, decoded once and then in memory."""
    rng, lines = np.random.default_rng(0), ["file,labels,fold"]
    for number in range(24):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(10 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
        lines.append(f"{number}.wav,{('Dog', 'Siren', 'Rain')[number % 3]},")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    sounds = from_manifest(folder / "manifest.csv").cached()
    for number in range(len(sounds)):
        sounds[number].waveform()
    return SoundPool([sounds], [1.0])


def rooms(folder: Path, scenes: int = 64) -> dict[str, Rooms]:
    """A bank and fresh rooms of the default simulator."""
    bank = open_bank(
        folder, load_simulator("shoebox"), {"bench": 1}, scenes=scenes, sources=4, seconds=RIR_SECONDS, seed=0
    )
    return {"bank": bank, "fresh": FreshRooms("shoebox", {}, sources=4, seconds=RIR_SECONDS, weight=1)}


def data(
    sounds: SoundPool, place: Rooms, seconds: float, clips: int, *, render_on: str = "worker", kept: bool = False
) -> Mixtures:
    """Everything that the shipped recipe switches on."""
    mixing = Mixing(window_seconds=[seconds], window_weights=[1.0], **AUGMENTED)  # type: ignore[arg-type]
    return Mixtures(
        sounds,
        [place],
        mixing,
        seed=0,
        steps=10_000,
        seconds_per_step=clips * seconds,
        render_on=render_on,
        rirs_on_device=kept,
    )


def rate(make: Callable[[int], object], clips: int, *, least_s: float = 3.0, device: str = "cpu") -> float:
    """Clips a second of ``make(step)``, which gives ``clips`` each time; the first step warms up."""
    make(0)
    _wait(device)
    begin, step = time.perf_counter(), 0
    while step < 2 or time.perf_counter() - begin < least_s:
        step += 1
        make(step)
        _wait(device)
    return step * clips / (time.perf_counter() - begin)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def whole_clip(dry: Unrendered, rirs: torch.Tensor) -> torch.Tensor:
    """The same clips with one FFT over each whole clip, one clip at a time: the plain way."""
    out: list[torch.Tensor] = []
    samples, taps = dry.sounds.shape[-1], rirs.shape[-1]
    size = next_fast_len(samples + taps - 1, real=True)
    for clip in range(len(dry.mirrored)):
        own = dry.clip == clip
        wet = torch.fft.rfft(dry.sounds[own], size)[:, None] * torch.fft.rfft(rirs[own].float(), size)
        out.append(torch.fft.irfft(wet.mean(0), size)[..., :samples])
    return torch.stack(out)


def trained(encoder: Any, seconds: float, clips: int, device: str) -> float:
    """Clips a second of forward, loss and backward; bf16 on a GPU."""
    encoder = encoder.to(device).train()
    with tempfile.TemporaryDirectory() as folder:
        sounds = pool(Path(folder))
        place = open_bank(Path(folder), load_simulator("echo"), {}, scenes=9, sources=4, seconds=0.05, seed=0)
        batch = data(sounds, place, seconds, clips)[0]
    truth, waveform = batch.truth.to(device), batch.waveform.to(device)
    stage = Stage("bench", "encoder", steps=1)

    def step(_: int) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
            loss, _log = encoder_loss(encoder(fit(waveform, encoder)), truth, stage)
        loss.backward()

    return rate(step, clips, device=device)


def cpu(folder: Path) -> None:
    """One thread of one worker process."""
    torch.set_num_threads(1)
    sounds, places = pool(folder), rooms(folder)
    rates: dict[str, list[float]] = {}
    for seconds, clips in ((2.0, 16), (10.0, 8)):
        for name, value in _one_length(sounds, places, seconds, clips).items():
            rates.setdefault(name, []).append(value)
    table = Table("what (one thread)", "2 s, clips/s", "10 s, clips/s")
    for name, row in rates.items():
        table.add_row(name, *(f"{value:.0f}" if value > 20 else f"{value:.1f}" for value in row))
    pairs = zip(rates["drawn and rendered, bank"], rates["bat-small encoder trained"], strict=True)
    table.add_row("data : training", *(f"{made / eaten:.1f} : 1" for made, eaten in pairs))
    pairs = zip(rates["convolution alone"], rates["convolution alone, one FFT a clip"], strict=True)
    table.add_row("convolution, blocks : one FFT a clip", *(f"{ours / plain:.2f} : 1" for ours, plain in pairs))
    console.print(table)


def _one_length(sounds: SoundPool, places: dict[str, Rooms], seconds: float, clips: int) -> dict[str, float]:
    found = {}
    for name, place in places.items():
        found[f"drawn and rendered, {name}"] = rate(data(sounds, place, seconds, clips).__getitem__, clips)
    left = data(sounds, places["bank"], seconds, clips, render_on="device", kept=True)
    found["drawn alone (the device renders)"] = rate(left.__getitem__, clips)
    batch = left[0]
    assert batch.dry is not None
    bare = replace(batch.dry, equaliser_db=None, noise=torch.zeros(clips))
    rirs = places["bank"].read(bare.rirs[0].rows.tolist())
    found["rendered alone"] = rate(lambda _: left.finish(batch, "cpu"), clips)
    found["convolution alone"] = rate(lambda _: render(bare, rirs, "cpu"), clips)
    found["convolution alone, one FFT a clip"] = rate(lambda _: whole_clip(bare, rirs), clips)
    recipe = load_recipe("bat-small").encoder
    encoder: Any = load_encoder(recipe.name, **recipe.options)
    return found | {"bat-small encoder trained": trained(encoder, seconds, 8, "cpu")}


def gpu(folder: Path, clips: int = 256, seconds: float = 10.0) -> None:
    """Rendering on the GPU at the batch of the paper's recipe, and the whole path with worker processes."""
    torch.set_num_threads(1)
    sounds, places = pool(folder), rooms(folder, 2000)
    table = Table(f"what ({torch.cuda.get_device_name()}, {clips} clips of {seconds:g} s)", "clips/s")
    made = 0.0
    ways = (("bank on the GPU", "bank", True), ("bank sent along", "bank", False), ("fresh rooms", "fresh", False))
    for name, place, kept in ways:
        left = data(sounds, places[place], seconds, clips, render_on="device", kept=kept)
        alone, whole = _on_gpu(left, clips)
        made = max(made, whole)
        table.add_row(f"rendered, {name}", f"{alone:.0f}")
        table.add_row(f"drawn by {_WORKERS} workers and rendered, {name}", f"{whole:.0f}")
    encoder: Any = load_encoder("spatial-ast")
    eaten = trained(encoder, seconds, 64, "cuda")
    table.add_row("Spatial-AST trained (bf16, not compiled)", f"{eaten:.0f}")
    table.add_row("data : training", f"{made / eaten:.1f} : 1")
    console.print(table)


def _on_gpu(left: Mixtures, clips: int) -> tuple[float, float]:
    """Clips a second rendered from a batch that is there, and with everything before it."""
    batch = left[0].pin_memory()
    alone = rate(lambda _: left.finish(batch, "cuda"), clips, device="cuda")
    loader = iter(DataLoader(left, batch_size=None, num_workers=_WORKERS, prefetch_factor=2, pin_memory=True))
    return alone, rate(lambda _: left.finish(next(loader), "cuda"), clips, device="cuda", least_s=10)


if __name__ == "__main__":
    sections = sys.argv[1:] or ["cpu", "gpu"]
    with tempfile.TemporaryDirectory() as directory:
        if "cpu" in sections:
            cpu(Path(directory))
        if "gpu" in sections:
            if torch.cuda.is_available():
                gpu(Path(directory))
            else:
                console.print("gpu: no CUDA device here, section left out")
