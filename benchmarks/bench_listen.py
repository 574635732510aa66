"""Listening live: how late, how often, how much of a core, and whether an hour leaves anything behind.

``live`` plays a rendered walk into an input device (``--device``; ``--sink`` is the PulseAudio sink that feeds it) and
prints errors of the tracks, updates a second and the time from sound to event; ``soak`` hears an hour of sound as fast
as possible and prints memory, drift and CPU time; ``views`` prints what drawing an update costs; ``loaded`` runs the
command ``bat-listen`` on a looped file in real time beside ``--loops`` busy ones, with a question every second, and
accounts for every look: told, left out and counted, or missing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bat_agent import listen
from bat_agent.agent import Bat
from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.blocks import Block, Notice
from bat_agent.listening.events import Update
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, Room, Scene, Source, angle_between_deg
from bat_agent.scenes.moving import MovingScene, Track, Waypoints, render_moving
from bat_agent.sound.acoustics import rms_normalise
from bat_agent.sound.audio import write_wav

BUSY = "import os; os.nice(10)\nwhile True: pass"
console = Console()
WALK_S = 12.0
SOUNDS = "manifest:$BAT_SHARED/data/sounds/manifest.csv"


def show(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row))
    console.print(table)


def walking(label: str, number: int) -> tuple[MovingScene, torch.Tensor]:
    """A source that walks from left to right in front of the listener, by a recording of fold 4; and what is heard."""
    sounds = open_sounds(SOUNDS).filter(folds=[4], labels=[label])
    sound = rms_normalise(torch.from_numpy(sounds[number % len(sounds)].waveform()))
    ears, begin, end = (3.5, 1.5, 3.5), (1.5, 1.4, 2.3), (5.5, 1.4, 2.3)
    scene = Scene(Room((7.0, 2.8, 6.0), 0.3), Listener(ears), (Source(begin, labels=(label,)),), seed=1)
    moving = MovingScene(scene, sources_m=(Waypoints((0.0, WALK_S), (begin, end)),))
    heard = render_moving(load_simulator("shoebox"), moving.at, [Track(sound)], WALK_S)
    return moving, heard


def judged(updates: list[Update], moving: MovingScene, begin_s: float, label: str) -> tuple[float, float]:
    """Median error of the first track in degrees, and share of updates with the right class."""
    errors, right = [], []
    for update in updates:
        if update.sources and 1.5 < update.t_s - begin_s < WALK_S:
            source, true = update.sources[0].source, moving.at(update.t_s - begin_s).positions()[0]
            assert source.azimuth_deg is not None
            here = (source.azimuth_deg, source.elevation_deg or 0.0)
            errors.append(angle_between_deg(here, (true.azimuth_deg, true.elevation_deg)))
            right.append(label in source.labels)
    return float(np.median(errors)), float(np.mean(right))


class Watched:
    """A source that remembers when the first sound came."""

    def __init__(self, source: Any) -> None:
        self.source, self.onset_s = source, None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def read(self, timeout_s: float) -> list[Block | Notice]:
        items: list[Block | Notice] = self.source.read(timeout_s)
        for item in items:
            if self.onset_s is None and isinstance(item, Block) and np.abs(item.samples).max() > 1e-3:
                loud = int(np.flatnonzero(np.abs(item.samples).max(axis=1) > 1e-3)[0])
                self.onset_s = item.arrived_s - (len(item.samples) - loud) / self.source.sample_rate_hz
        return items


def live(options: argparse.Namespace) -> None:
    from bat_agent.listening.microphone import Microphone

    rows = []
    for label in options.labels.split(","):
        for number in range(options.clips):
            moving, heard = walking(label, number)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "walk.wav"
                write_wav(file, heard)
                rows.append(_one_walk(options, Watched(Microphone(options.device)), moving, file, label))
    columns = ["sound", "median error °", "right class", "updates/s", "sound to event s", "lag p50 s", "p95 s", "CPU %"]
    show(f"a walk played into {options.device}", columns, rows)


def _one_walk(options: argparse.Namespace, source: Any, moving: MovingScene, file: Path, label: str) -> list[Any]:
    updates: list[Update] = []
    first_s, player, began, cpu_s = None, None, time.monotonic(), 0.0
    ears = listen(source, model=options.model, hop_s=options.hop, level_known=True)
    for update in ears:
        if player is None:
            player = subprocess.Popen(["paplay", "--latency-msec=1000", f"--device={options.sink}", file])
            began, cpu_s = time.monotonic(), time.process_time()
        updates.append(update)
        heard = any(label in tracked.source.labels for tracked in update.sources)
        if first_s is None and heard and source.onset_s is not None:
            first_s = time.monotonic() - source.onset_s
        if source.onset_s is not None and time.monotonic() > source.onset_s + WALK_S + 0.5:
            break
    seconds = time.monotonic() - began
    cpu = 100 * (time.process_time() - cpu_s) / seconds
    assert player is not None
    player.wait()
    lags = [update.lag_s for update in updates]
    begin_s = source.onset_s - ears._begin_s
    error, right = judged(updates, moving, begin_s, label)
    rate = sum(u.t_s > 1 for u in updates) / (updates[-1].t_s - 1)
    return [label, error, right, rate, first_s, float(np.median(lags)), float(np.quantile(lags, 0.95)), cpu]


class Hour:
    """A minute of sound, again and again, as fast as it is read."""

    name, live, sample_rate_hz, channels = "an hour", False, SAMPLE_RATE_HZ, 2

    def __init__(self, minute: np.ndarray, seconds: float) -> None:
        self.minute, self.left, self.played = minute, round(seconds * SAMPLE_RATE_HZ), 0

    def open(self) -> None:
        pass

    def read(self, timeout_s: float) -> list[Block | Notice]:
        if self.played >= self.left:
            return [Notice("ended", "over", self.clock_s())]
        begin = self.played % len(self.minute)
        samples = self.minute[begin : begin + SAMPLE_RATE_HZ // 20]
        self.played += len(samples)
        return [Block(samples, self.clock_s())]

    def clock_s(self) -> float:
        return self.played / SAMPLE_RATE_HZ

    def close(self) -> None:
        pass


def resident_mb(pid: int | str = "self") -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def a_minute() -> np.ndarray:
    """Dogs that walk by, (N, 2)."""
    return np.concatenate([walking("Dog", n)[1].numpy().T for n in range(2)] * 3)[: 60 * SAMPLE_RATE_HZ]


def soak(options: argparse.Namespace) -> None:
    minute = a_minute()
    bat, count = Bat.from_pretrained(options.model), 0
    rows: list[list[Any]] = []
    began, cpu_s = time.monotonic(), time.process_time()
    tenth = options.seconds / 10
    asked: dict[str, Any] = {"questions": ("where is the dog?",), "ask_every_s": 10.0}
    ears = listen(Hour(minute, options.seconds), model=bat, hop_s=options.hop, **asked)
    for updates, update in enumerate(ears, 1):
        if update.t_s >= (count + 1) * tenth - 1e-6:
            count += 1
            drift_ms = 1000 * (update.t_s - update.emitted_s)
            rows.append([f"{update.t_s:.0f} s", resident_mb(), drift_ms, updates])
    show("soak", ["sound", "resident MB", "samples against clock ms", "updates"], rows)
    cpu = time.process_time() - cpu_s
    took_s, share = time.monotonic() - began, 100 * cpu / options.seconds
    console.print(f"{options.seconds:.0f} s of sound in {took_s:.0f} s; live that is {share:.1f} % of a core")
    console.print(f"memory since the first tenth: ×{rows[-1][1] / rows[0][1]:.3f}")


def loaded(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        file = Path(folder) / "minute.wav"
        write_wav(file, a_minute().T)
        command = [
            sys.executable, "-m", "bat_agent.cli.listen", "--file", file, "--loop", "--model", options.model, "--hop",
            options.hop, "--jsonl", "-", "--ask", "where is the dog?", "--ask-every", 1, "--for", options.seconds,
        ]  # fmt: skip
        errors = ends.enter_context((Path(folder) / "errors").open("w+"))
        for _ in range(options.loops):
            ends.callback(subprocess.Popen([sys.executable, "-c", BUSY]).kill)
        with subprocess.Popen([str(each) for each in command], stdout=subprocess.PIPE, stderr=errors) as process:
            _account(process, options)
        errors.seek(0)
        console.print(f"exit code {process.returncode}; said: {' '.join(errors.read().split())}")


def _account(process: subprocess.Popen[bytes], options: argparse.Namespace) -> None:
    """Every look there was to have is told, or counted as left out; print by tenths, and what is missing."""
    assert process.stdout is not None
    rows: list[list[Any]] = []
    looks, missing, answers, memory_mb, lags, notes, due = 0, 0, 0, 0.0, [], set[str](), 0
    said: dict[str, Any] = {}
    for line in process.stdout:
        said = json.loads(line)
        answers += len(said["answers"])
        notes.update(note["kind"] for note in said["health"])
        if said["window_s"]:
            looks += 1
            lags.append(said["lag_s"])
            due = int(said["t_s"] / options.hop + 1e-3)
            missing = max(missing, abs(due - looks - said["dropped"]))
        if said["t_s"] >= (len(rows) + 1) * options.seconds / 10 - 1e-3:
            with contextlib.suppress(OSError):  # it may have ended by now
                memory_mb = resident_mb(process.pid)
            rows.append([f"{said['t_s']:.2f}", looks, said["dropped"], due, answers, max(lags), memory_mb])
            console.print(*rows[-1])
    rows.append([f"{said['t_s']:.2f}", looks, said["dropped"], due, answers, max(lags), memory_mb])
    columns = ["sound s", "looks", "left out", "due", "answers", "longest lag s", "resident MB"]
    show(f"beside {options.loops} busy loops", columns, rows)
    console.print(f"lag: median {np.median(lags):.3f} s, 95 % {np.quantile(lags, 0.95):.3f} s; lost {said['lost_s']} s")
    console.print(f"most looks unaccounted for at any time: {missing}; health notes: {', '.join(sorted(notes))}")


def views(options: argparse.Namespace) -> None:
    from types import SimpleNamespace

    from bat_agent.listening.terminal import TerminalView
    from bat_agent.listening.web import WebView

    control: Any = SimpleNamespace(source_name="device", model_name="bat-small", hop_s=0.25, paused=False)
    updates = list(listen(Hour(walking("Dog", 0)[1].numpy().T, 4.0), model=options.model))
    screen = Console(width=110, height=34, force_terminal=True, file=io.StringIO())
    terminal, page = TerminalView(control, screen), WebView(control)
    rows = []
    for name, draw in (("terminal", lambda u: screen.print(terminal.picture(u))), ("page", page.show)):
        began = time.process_time()
        for update in updates * 5:
            draw(update)
        rows.append([name, 1000 * (time.process_time() - began) / (5 * len(updates))])
    show("drawing an update", ["view", "CPU ms"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", default="views,soak", help="of live, soak, views, loaded; separated by commas")
    parser.add_argument("--model", default="bat-small")
    parser.add_argument("--device", default="batmic")
    parser.add_argument("--sink", default="bat")
    parser.add_argument("--labels", default="Dog")
    parser.add_argument("--clips", type=int, default=2, help="walks of each class")
    parser.add_argument("--hop", type=float, default=0.25)
    parser.add_argument("--seconds", type=float, default=3600.0, help="of the soak and of loaded")
    parser.add_argument("--loops", type=int, default=2, help="busy loops beside loaded")
    asked = parser.parse_args()
    os.environ.setdefault("BAT_SHARED", os.path.join(os.pardir, "shared"))
    torch.set_num_threads(1)
    for section in asked.sections.split(","):
        {"live": live, "soak": soak, "views": views, "loaded": loaded}[section](asked)
