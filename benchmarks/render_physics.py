"""The section ``physics`` of ``bench_render.py``: shoebox against geometry, its measured head and pyroomacoustics."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
import pyroomacoustics as pra
from rich.console import Console
from rich.table import Table
from scipy.signal import butter, resample_poly, sosfiltfilt

from bat_agent import load_simulator
from bat_agent.errors import BatAgentError
from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at
from bat_agent.sound.rir_measures import energy_decay_db, onset_sample, reverberation_time_s

RATE_HZ = 32_000
SPEED_OF_SOUND = 343.0
FREE = Room((40.0, 40.0, 40.0), rt60_s=None)
CENTRE = Listener((20.0, 20.0, 20.0))
console = Console(width=120)


def show(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def free_field(simulator: Any, positions: list[Position]) -> np.ndarray:
    """(positions, 2, taps): the direct sound from each position, one source at a time."""
    sources = tuple(Source(point_at(CENTRE, position)) for position in positions)
    rirs = simulator.render(Scene(FREE, CENTRE, sources))
    return np.stack([rir.numpy() for rir in rirs])


def physics() -> None:
    simulator = load_simulator("shoebox", air_absorption=False)  # air would add to the fall of level with distance
    rows = []
    for azimuth in range(0, 360, 15):
        (rir,) = free_field(simulator, [Position(float(azimuth), 0.0, 3.0)])
        measured = kemar(azimuth)
        itd = [whitened_itd_s(r) * 1e6 for r in (rir, measured)]
        ild = [band_level_difference_db(r) for r in (rir, measured)]
        rows.append([azimuth, *itd, abs(itd[0] - itd[1]), *ild, abs(ild[0] - ild[1])])
    worst = [max(row[3] for row in rows), max(row[6] for row in rows)]
    rows.append(["worst (asked 40 µs, 2 dB)", "", "", worst[0], "", "", worst[1]])
    columns = ["azimuth °", "ITD µs", "measured", "apart", "ILD dB", "measured", "apart"]
    show("Direct sound every 15°, 3 m, next to the measured head (MIT KEMAR)", columns, rows)

    steps: list[list[Any]] = []
    for metres in (0.5, 1.0, 2.0, 4.0, 8.0):
        (rir,) = free_field(simulator, [Position(90.0, 0.0, metres)])
        # The largest sample may be another lobe than the largest value between samples.
        peak = np.abs(resample_poly(rir, 16, 1, axis=-1)).max(0).argmax() / 16
        (zero,) = simulator.render(Scene(FREE, CENTRE, (Source((20.0, 20.0, 20.0 - metres)),), onset="direct_at_zero"))
        level = 10 * float(np.log10((rir**2).sum()))
        fall = level - steps[-1][1] if steps else ""
        steps.append([metres, level, fall, float(peak), metres / SPEED_OF_SOUND * RATE_HZ, onset_sample(zero.numpy())])
    columns = ["m", "level dB", "per doubling (−6.0 ± 0.3)", "peak", "d/343 (± 1)", "onset, direct_at_zero"]
    show("Level and delay in front, samples at 32 kHz", columns, steps)
    cues(simulator)
    reverberation(load_simulator("shoebox"))
    mirror(load_simulator("shoebox"))
    decay()


def kemar(azimuth_deg: int) -> np.ndarray:
    """(2, 320): the measured response on the horizontal plane; the file counts azimuth from the front to the left."""
    data = np.load(resources.files("bat_agent_shoebox.data").joinpath("mit_kemar_normal_32k.npz").open("rb"))
    lateral = (azimuth_deg - 90) % 360
    row = np.flatnonzero((data["elevation_deg"] == 0) & (np.abs(data["azimuth_ccw_deg"] % 360 - lateral) < 0.1))[0]
    return np.asarray(data["hrir"][row], dtype=np.float64)


def whitened_itd_s(rir: np.ndarray) -> float:
    """Lag of the cross-correlation of 150 … 1500 Hz in phases alone: any filter common to both ears drops out."""
    size, finer = 4096, 16
    left, right = np.fft.rfft(rir, size)
    cross = np.conj(left) * right
    frequency = np.fft.rfftfreq(size, 1 / RATE_HZ)
    cross = np.where((frequency > 150) & (frequency < 1500), cross / np.abs(cross).clip(1e-12), 0)
    correlation = np.fft.irfft(cross, size * finer)
    lags = np.arange(-32 * finer, 32 * finer + 1)
    return float(lags[correlation[lags].argmax()] / finer / RATE_HZ)


def band_level_difference_db(rir: np.ndarray) -> float:
    """Mean over third octaves 200 Hz … 12 kHz of left over right: any filter common to both ears drops out."""
    power = np.square(np.abs(np.fft.rfft(rir, 4096)))
    frequency = np.fft.rfftfreq(4096, 1 / RATE_HZ)
    centres = 1000 * 2.0 ** (np.arange(-7, 11) / 3)
    bands = [(frequency >= c / 2 ** (1 / 6)) & (frequency < c * 2 ** (1 / 6)) for c in centres]
    return float(np.mean([10 * np.log10(power[0, band].sum() / power[1, band].sum()) for band in bands]))


def cues(simulator: Any) -> None:
    """How different the spectra of mirrored directions are, and of equal ones as a check."""
    pairs = {
        "front / behind": ((90.0, 0.0), (270.0, 0.0)),
        "left front / left behind": ((150.0, 0.0), (210.0, 0.0)),
        "above / below, front": ((90.0, 30.0), (90.0, -30.0)),
        "above / below, left": ((180.0, 30.0), (180.0, -30.0)),
        "left / right (ears exchanged)": ((180.0, 0.0), (0.0, 0.0)),
    }
    rows = []
    for name, directions in pairs.items():
        first, second = free_field(simulator, [Position(*direction, 2.0) for direction in directions])
        second = second[::-1] if "exchanged" in name else second
        spectra = [10 * np.log10(np.square(np.abs(np.fft.rfft(r, 1024)))[:, 16:384] + 1e-12) for r in (first, second)]
        rows.append([name, float(np.sqrt(np.square(spectra[0] - spectra[1]).mean()))])
    show("Spectral difference, 0.5 … 12 kHz", ["directions", "rms dB"], rows)


def reverberation(simulator: Any) -> None:
    band, rows = butter(2, (400, 1400), "band", fs=RATE_HZ, output="sos"), []
    for asked in (0.15, 0.2, 0.3, 0.4, 0.6, 0.8):
        rng = np.random.default_rng(3)
        measured: list[tuple[float, float]] = []
        while len(measured) < 20:
            scene = simulator.sample_scene(rng, 1)
            try:
                room = Room(scene.room.size_m, asked)
                (rir,) = simulator.render(Scene(room, scene.listener, scene.sources, scene.seed))
            except BatAgentError:  # this room cannot be made that dead
                continue
            mid = sosfiltfilt(band, rir.numpy())
            measured.append((reverberation_time_s(rir.numpy()) / asked, reverberation_time_s(mid) / asked))
        figures = [figure(column) for column in zip(*measured, strict=True) for figure in (min, np.median, max)]
        rows.append([asked, *map(float, figures)])
    columns = ["s", *(f"{name}, {which}" for which in ("broadband", "mid") for name in ("min", "median", "max"))]
    show("T20 over the time asked for, one seat in each of 20 rooms (0.85 … 1.15); mid: 400 … 1400 Hz", columns, rows)


def mirror(simulator: Any) -> None:
    size, ear, source = (5.0, 2.7, 4.0), (2.0, 1.5, 2.2), (3.4, 1.1, 0.9)
    (right,) = simulator.render(Scene(Room(size, 0.4), Listener(ear), (Source(source),)))
    flipped = [(size[0] - p[0], *p[1:]) for p in (ear, source)]
    (left,) = simulator.render(Scene(Room(size, 0.4), Listener(flipped[0]), (Source(flipped[1]),)))
    apart = float((left.flip(0) - right).abs().max() / right.abs().max())
    console.print(f"mirrored room against exchanged ears: {apart:.1e} of the peak\n")


def decay() -> None:
    """The image-source decay of pyroomacoustics with the same walls, mean of four seats, above 500 Hz."""
    simulator = load_simulator("shoebox", head="sphere", decay="specular", air_absorption=False)
    high, rows = butter(4, 500, "high", fs=RATE_HZ, output="sos"), []
    for size, rt60 in (((4.0, 2.6, 5.0), 0.25), ((3.0, 2.4, 2.6), 0.4), ((2.4, 2.5, 5.0), 0.4)):
        rng, taps = np.random.default_rng(7), int(rt60 * RATE_HZ)
        ours, theirs = np.zeros(taps), np.zeros(taps)
        for seed in range(4):
            ear, source = (tuple(float(side * rng.uniform(0.15, 0.85)) for side in size) for _ in range(2))
            scene = Scene(Room(size, rt60), Listener(ear), (Source(source),), seed)
            ours += (sosfiltfilt(high, simulator.render(scene)[0].numpy())[:, :taps] ** 2).sum(0)
            room = pra.ShoeBox(size, RATE_HZ, materials=pra.Material(alpha_of(size, rt60)), max_order=round(206 * rt60))
            room.add_source(source)
            room.add_microphone(ear)
            room.compute_rir()
            theirs += sosfiltfilt(high, room.rir[0][0])[40 : 40 + taps] ** 2
        ours_db, theirs_db = (energy_decay_db(np.sqrt(power)) for power in (ours, theirs))
        rows.append([size, rt60, float(np.abs(ours_db - theirs_db)[theirs_db > -40].max())])
    show("Energy decay next to pyroomacoustics, first 40 dB, decay=specular", ["room m", "s", "apart dB (≤ 1.5)"], rows)


def alpha_of(size: tuple[float, ...], rt60: float) -> float:
    """The absorption that shoebox gives the walls; the room's own arithmetic, so only shared by both renderers here."""
    from bat_agent_shoebox.walls import wall_losses

    return float(1 - np.exp(-wall_losses([Room(size, rt60)], "specular").flat[0]))  # type: ignore[arg-type]
