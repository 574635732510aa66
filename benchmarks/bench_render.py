"""Room renderers: their physics, and their speed side by side in one run.

Sections: ``physics`` (shoebox against geometry, its head and the law it was asked for), ``speed`` (shoebox next to
pyroomacoustics with the same head, and the SoundSpaces engine), ``houses`` (soundspaces on generated houses next to the
one real Matterport response; needs BAT_SHARED), ``dataset`` (2000 RIRs by command, extrapolated to the paper's 21 131).

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_render.py [SECTION …]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyroomacoustics as pra
import torch
from pyroomacoustics.directivities import MeasuredDirectivity, Rotation3D
from pyroomacoustics.doa import GridSphere
from render_physics import RATE_HZ, SPEED_OF_SOUND, console, free_field, physics, show
from scipy.signal import resample_poly

from bat_agent import load_simulator
from bat_agent.errors import BatAgentError
from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at
from bat_agent.sound.rir_measures import (
    direct_to_reverberant_db,
    interaural_level_db,
    interaural_time_s,
    onset_sample,
    reverberation_time_s,
)

ORDER = 10
PAPER_RIRS = 21_131
HEAD_TAPS = 288


# --- speed ---


def heads(simulator: Any, positions: list[Position]) -> np.ndarray:
    """(positions, 2, taps): the head alone, level 1, time 0 on sample 32."""
    rirs = free_field(simulator, positions)
    start = round(positions[0].distance_m / SPEED_OF_SOUND * RATE_HZ) - 32
    return rirs[:, :, start : start + HEAD_TAPS] * np.sqrt(4 * np.pi) * positions[0].distance_m


def directivities(simulator: Any) -> list[MeasuredDirectivity]:
    """The head of a simulator for pyroomacoustics, which takes the nearest direction: both ears on a grid of 2.5°."""
    angles = [(0.0, -90.0), (0.0, 90.0)]
    angles += [(float(a), float(e)) for e in np.arange(-87.5, 90, 2.5) for a in np.arange(0, 360, 2.5)]
    responses = np.concatenate(
        [heads(simulator, [Position(a, e, 1.0) for a, e in angles[i : i + 128]]) for i in range(0, len(angles), 128)]
    )
    here = Listener((0.0, 0.0, 0.0))
    grid = np.array([point_at(here, Position(a, e, 1.0)) for a, e in angles]).T
    upright = Rotation3D([0.0, 0.0], "yz", degrees=True)
    return [
        MeasuredDirectivity(upright, GridSphere(cartesian_points=grid), responses[:, ear], RATE_HZ) for ear in (0, 1)
    ]


def pra_rir(scene: Scene, ears: list[MeasuredDirectivity]) -> np.ndarray:
    """The same room with the same head by pyroomacoustics, image order 10; (2, taps)."""
    room = scene.room
    assert isinstance(room, Room)
    x, y, z = room.size_m
    surface = 2 * (x * y + y * z + z * x)
    alpha = 1 - np.exp(-24 * np.log(10) / SPEED_OF_SOUND * x * y * z / (surface * (room.rt60_s or 1.0)))
    box = pra.ShoeBox(room.size_m, RATE_HZ, materials=pra.Material(float(alpha)), max_order=ORDER)
    box.add_source(scene.sources[0].position_m)
    for ear in ears:
        box.add_microphone(scene.listener.position_m, directivity=ear)
    box.compute_rir()
    taps = max(len(box.rir[ear][0]) for ear in (0, 1))
    # Its gain is 1/d.
    return np.stack([np.pad(box.rir[ear][0], (0, taps - len(box.rir[ear][0]))) for ear in (0, 1)]) / np.sqrt(4 * np.pi)


def cpu_ms(function: Callable[[], Any]) -> float:
    began = time.process_time()
    function()
    return (time.process_time() - began) * 1000


def speed() -> None:
    simulator = load_simulator("shoebox", order=ORDER, air_absorption=False)
    ears = directivities(simulator)
    rng = np.random.default_rng(11)
    scenes = [simulator.sample_scene(rng, 1) for _ in range(64)]
    few = scenes[:8]
    pra_rir(few[0], ears), simulator.render_batch(few, RATE_HZ)
    theirs, rirs = 0.0, []
    for scene in few:
        theirs += cpu_ms(lambda scene=scene: rirs.append(pra_rir(scene, ears))) / len(few)
    likeness(simulator, few, rirs)
    rows = [["pyroomacoustics, image order 10", theirs, 2000 / theirs, 1.0]]
    for name, options in {
        "shoebox, order 10 and tail": {"order": ORDER, "air_absorption": False},
        "shoebox as it comes": {},
        "shoebox with wall materials": {"materials": "random"},
    }.items():
        ours = load_simulator("shoebox", **options)
        drawn = [ours.sample_scene(np.random.default_rng(i), 1) for i in range(64)]
        for taps in (RATE_HZ, RATE_HZ // 2):
            ours.render_batch(drawn[:8], taps)
            mine = cpu_ms(lambda ours=ours, drawn=drawn, taps=taps: ours.render_batch(drawn, taps)) / 64
            rows.append([f"{name}, {taps / RATE_HZ:g} s", mine, 2000 / mine, theirs / mine])
    engine = engine_ms()
    if engine:
        rows.append(["soundspaces fast preset, furnished room", engine, 2000 / engine, theirs / engine])
        best = min(row[1] for row in rows[1:-1])
        console.print(f"shoebox against soundspaces fast: ×{engine / rows[3][1]:.1f} (1 s), best ×{engine / best:.1f}")
    show("One thread, CPU time", ["renderer", "ms/RIR", "RIR/s on 2 cores", "× pyroomacoustics"], rows)
    if torch.cuda.is_available():
        gpu()


def likeness(simulator: Any, scenes: list[Scene], rirs: list[np.ndarray]) -> None:
    """That both compute the same: waveform in the first 50 ms, and the decay while the images are complete."""
    rows = []
    for scene, other in zip(scenes, rirs, strict=True):
        mine = simulator.render(scene)[0].numpy().astype(np.float64)
        early, begin = int(0.05 * RATE_HZ), max(onset_sample(mine) - 40, 0)
        # Sub-sample alignment: its fractional delays and our head's begin at different samples.
        a, b = (
            resample_poly(r, 8, 1, axis=-1)
            for r in (mine[:, begin : begin + early], other[:, begin : begin + 2 * early])
        )
        match = [np.correlate(b[e], a[e]) / np.linalg.norm(a[e]) for e in (0, 1)]
        lag = int((match[0] + match[1]).argmax())
        window = b[:, lag : lag + a.shape[1]]
        correlation = float((a * window).sum() / np.linalg.norm(a) / np.linalg.norm(window))
        times = [reverberation_time_s(r, start_db=-3, end_db=-15) for r in (mine, other)]
        level = 10 * float(np.log10((mine**2).sum() / (other**2).sum()))
        rows.append([scene.room.size_m, scene.room.rt60_s, correlation, level, *times])  # type: ignore[union-attr]
    rows = [[tuple(round(x, 1) for x in row[0]), *row[1:]] for row in rows]
    columns = ["room m", "s", "correlation, first 50 ms", "level apart dB", "T12 ours", "T12 theirs"]
    show("Are they the same responses? (order 10 both)", columns, rows)


def engine_ms() -> float | None:
    """CPU of this process and the engine's, a RIR in furnished rooms; ``None`` where the engine is missing."""
    try:
        simulator = load_simulator("soundspaces", houses=4, rooms_per_house=1)
    except BatAgentError as error:
        console.print(f"soundspaces left out: {error}")
        return None
    with simulator:  # type: ignore[attr-defined]
        scenes = [simulator.sample_scene(np.random.default_rng(i), 1) for i in range(30)]
        simulator.render(scenes[0])
        began = sum(os.times()[:2]) + _children_cpu()
        for scene in scenes:
            simulator.render(scene)
        return (sum(os.times()[:2]) + _children_cpu() - began) / len(scenes) * 1000


def _children_cpu() -> float:
    """User and system seconds of living child processes (Linux)."""
    ticks, me = os.sysconf("SC_CLK_TCK"), os.getpid()
    total = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == me:
            total += int(fields[11]) + int(fields[12])
    return total / ticks


def gpu() -> None:
    simulator = load_simulator("shoebox", device="cuda")
    scenes = [simulator.sample_scene(np.random.default_rng(i), 4) for i in range(512)]
    simulator.render_batch(scenes[:64], RATE_HZ)  # type: ignore[attr-defined]
    torch.cuda.synchronize()
    began = time.perf_counter()
    simulator.render_batch(scenes, RATE_HZ)  # type: ignore[attr-defined]
    torch.cuda.synchronize()
    console.print(
        f"shoebox on {torch.cuda.get_device_name()}: {2048 / (time.perf_counter() - began):.0f} RIR/s (≥ 2000)"
    )


# --- generated houses next to the real response ---


def houses() -> None:
    root = Path(os.environ.get("BAT_SHARED", "../shared"))
    file = root / "data/spatialsoundqa/mp3d_reverb/binaural/sample/74.npy"
    if not file.exists():
        console.print(f"houses left out: {file} is not there (set BAT_SHARED)")
        return
    rirs: dict[str, list[np.ndarray]] = {"released Matterport 74.npy": [np.load(file)]}
    where = Position(202.0, -29.5, 0.73)
    for quality in ("fast", "high"):
        options = {"quality": quality, "head_level": "engine", "onset": "direct_at_zero"}
        with load_simulator("soundspaces", **options) as simulator:  # type: ignore[attr-defined]
            for i in range(40 if quality == "fast" else 10):
                scene = simulator.sample_scene(np.random.default_rng(i), 1)
                rirs.setdefault(f"houses, {quality}, as drawn", []).append(simulator.render(scene)[0].numpy())
                try:
                    near = Source(point_at(scene.listener, where))
                    moved = Scene(scene.room, scene.listener, (near,), onset="direct_at_zero")
                    rirs.setdefault(f"houses, {quality}, source where 74's is", []).append(
                        simulator.render(moved)[0].numpy()
                    )
                except BatAgentError:  # furniture stands there
                    continue
    rows = []
    for name, group in rirs.items():
        figures = [
            (reverberation_time_s(r), direct_to_reverberant_db(r), interaural_level_db(r), 1e6 * interaural_time_s(r),
             *third_octaves_db(r))
            for r in group
        ]  # fmt: skip
        rows.append([name, len(group), *(float(v) for v in np.nanmean(figures, axis=0))])
    bands = [f"{f} Hz" for f in (250, 1000, 4000, 10_000)]
    columns = ["", "n", "T20 s", "DRR dB", "ILD dB", "ITD µs", *bands]
    show("Means; the bands are levels re the whole, dB. Asked: side by side, no bar", columns, rows)


def third_octaves_db(rir: np.ndarray) -> list[float]:
    power = np.square(np.abs(np.fft.rfft(rir, 1 << 16))).sum(0)
    frequency = np.fft.rfftfreq(1 << 16, 1 / RATE_HZ)
    inside = [(frequency > f / 2 ** (1 / 6)) & (frequency < f * 2 ** (1 / 6)) for f in (250, 1000, 4000, 10_000)]
    return [10 * float(np.log10(power[band].sum() / power.sum())) for band in inside]


# --- a data set by command ---


def dataset() -> None:
    rows = []
    for count in (200, 2000):
        with tempfile.TemporaryDirectory() as folder:
            command = (
                f"dataset rirs --simulator shoebox --rooms {count // 10} --count {count} --workers 2 --out {folder}/x"
            )
            script = f"import sys, resource; sys.argv[1:] = {command.split()!r}\nfrom bat_agent.cli import main\n"
            script += (
                "try:\n    main()\nfinally:\n    print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "
                "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
            )
            began = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - began
            if done.returncode:
                console.print(done.stdout, done.stderr)
                return
            peak = [int(kb) / 1024 for kb in done.stdout.rsplit("PEAK", 1)[1].split()]
            bytes_ = sum(f.stat().st_size for f in Path(folder).rglob("*.npy"))
            rows.append(
                [count, seconds, count / seconds, *peak, bytes_ / count / 1e3, PAPER_RIRS / count * seconds / 60]
            )
    columns = ["RIRs", "s", "RIR/s", "peak MiB", "peak MiB, worker", "kB/RIR", "min for 21 131"]
    show("bat-agent dataset rirs, shoebox, 2 workers", columns, rows)


SECTIONS: dict[str, Callable[[], None]] = {"physics": physics, "speed": speed, "houses": houses, "dataset": dataset}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for section in sys.argv[1:] or list(SECTIONS):
        SECTIONS[section]()
