"""bat-small by torch beside its export by ONNX Runtime: the same clips, the same questions, the same process.

First make the export with float weights too, and an environment with bat-agent-lite alone:

    bat-agent export bat-small --onnx lite-export --precision int8 --precision float32
    make lite && uv venv lite-env && uv pip install --python lite-env 'dist-lite/bat_agent_lite-0.1.0-py3-none-any.whl'
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_lite.py lite-export --env lite-env [--clips 500]

Speed is that of the encoder on a window of two seconds, one thread each, in turn; --busy does it beside a process that
does nothing but count. A cold start is `perceive FILE` in a fresh process: CPU seconds, and the most memory it held.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
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

import bat_agent
from bat_agent.agent import Bat
from bat_agent.clips import corpus
from bat_agent.evaluation import figures
from bat_agent.evaluation.hearing import Heard, listen
from bat_agent.evaluation.metrics import angular_errors_deg
from bat_agent.evaluation.questions import answer_all, question_figures
from bat_agent.evaluation.real_rooms import rooms_data
from bat_agent.evaluation.runs import Run
from bat_agent.hearing.heads import sigmoid
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.lite import LiteBat, LiteEncoder
from bat_agent.recipes.loading import load_recipe
from bat_agent.sound.audio import write_wav

RATE_HZ = 32_000
SECONDS = 4.0
LETTERS = ("A", "B", "C", "D", "E", "E", "P")
LOWER_IS_BETTER = ("mae_deg", "er20", "der", "distance_error_rate")
COMMAND = "from bat_agent.cli import main; main()"


class AsTorch:
    """An exported encoder as the evaluation wants one: tensors in, an encoding of tensors out."""

    def __init__(self, encoder: LiteEncoder) -> None:
        self.encoder = encoder
        for name in ("sample_rate_hz", "clip_seconds", "fixed_length", "labels", "token_dim", "num_tokens"):
            setattr(self, name, getattr(encoder, name))

    def __call__(self, waveform: torch.Tensor) -> Encoding:
        said = self.encoder(waveform.numpy())
        slots = said.slots and SlotEncoding(**_tensors(said.slots))
        return Encoding(**_tensors(said), slots=slots)


def _tensors(said: Any) -> dict[str, Any]:
    return {name: torch.from_numpy(value) for name, value in vars(said).items() if isinstance(value, np.ndarray)}


class Kept:
    """Batches that are rendered once."""

    def __init__(self, data: Any) -> None:
        finish = getattr(data, "finish", lambda batch, device: batch)
        self.batches = [finish(data[step], "cpu") for step in range(len(data))]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> Any:
        return self.batches[step]


def speed(encoders: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of a window of 2 s, in turn; another window each round, as torch's encoder remembers frames."""
    random = torch.Generator().manual_seed(0)
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for number in range(rounds + 3):
        sound = 0.1 * torch.randn(1, 2, 2 * RATE_HZ, generator=random)
        for name, encode in encoders.items():
            given = sound if name == "torch" else sound.numpy()
            began = time.process_time()
            with torch.inference_mode():
                encode(given)
            if number >= 3:
                taken[name].append(1000 * (time.process_time() - began))
    return taken


def print_speed(encoders: dict[str, Any], rounds: int, title: str) -> None:
    taken = speed(encoders, rounds)
    table = Table("encoder", "fastest, ms", "median, ms", "torch / this, fastest", "median", title=title)
    for name, each in taken.items():
        ratios = [f(taken["torch"]) / f(each) for f in (min, statistics.median)]
        table.add_row(name, f"{min(each):.1f}", f"{statistics.median(each):.1f}", *(f"{r:.2f}" for r in ratios))
    Console().print(table)


def print_equality(heard: dict[str, Heard]) -> None:
    """How far what the exports say of each clip lies from what torch says."""
    table = Table("export", "clips", "directions at most 0.5° apart", "furthest", "largest difference of a class")
    own = heard["torch"]
    for name, other in heard.items():
        if name == "torch":
            continue
        apart = angular_errors_deg(other.directions_deg["kernel"], own.directions_deg["kernel"])
        classes = float(np.abs(sigmoid(other.scores) - sigmoid(own.scores)).max())
        near = f"{(apart <= 0.5).sum()} ({(apart <= 0.5).mean():.1%})"
        table.add_row(name, str(len(own)), near, f"{apart.max():.1f}°", f"{classes:.2g}")
    Console().print(table)


def of_two(encoder: Any, bat: Bat, two: Kept, asked: Kept) -> dict[str, float]:
    """README's figures of two sources, and of questions."""
    found = {f"two: {n}": f.value for n, f in figures.two_sources(encoder, two, "cpu").items()}
    own, bat.encoder = bat.encoder, encoder
    try:
        questions, answers = answer_all(bat, {"rules": bat.reasoner}, asked)
    finally:
        bat.encoder = own
    for kind, part in question_figures(questions, answers["rules"], 4).items():
        found |= {f"{kind}: {n}": f.value for n, f in part.items() if not n.endswith(("malformed", "exact"))}
    return found


def print_figures(bat: Bat, lite: dict[str, LiteBat], clips: int, others: int, rooms: str | None) -> torch.Tensor:
    """Figures on held-out clips side by side; gives a clip."""
    encoders = {"torch": bat.encoder, **{name: AsTorch(b.encoder) for name, b in lite.items()}}
    recipe = load_recipe("bat-small")
    # The furnished houses of the split take minutes to render and an engine to install.
    recipe = dataclasses.replace(recipe, rooms=[one for one in recipe.rooms if one.simulator == "shoebox"])
    if rooms:
        run = Run("bat-small", "spatial-ast", {})
        one = Kept(rooms_data(rooms, run, clips=clips, seconds=SECONDS, batch=32).one)
    else:
        one = Kept(corpus.validation(recipe, clips, seconds=SECONDS))
    heard = {name: listen(encoder, one, "cpu") for name, encoder in encoders.items()}
    found = {name: {f"one: {n}": f.value for n, f in figures.single_source(h).items()} for name, h in heard.items()}
    for name, each in heard.items():
        found[name] |= {"one: lateral_mae_deg": figures.where_it_fails(each)["lateral_mae_deg"].value}
    _print_table(found, f"{clips} clips of {SECONDS:g} s with one source")
    print_equality(heard)
    if others and not rooms:
        two = Kept(corpus.validation(recipe, others, seconds=SECONDS, two_sources=1.0, seed=1))
        asked = Kept(
            corpus.validation(
                recipe, others, seconds=SECONDS, two_sources=0.6, letters=LETTERS, questions_per_clip=4, seed=2
            )
        )
        more = {name: of_two(encoder, bat, two, asked) for name, encoder in encoders.items()}
        _print_table(more, f"{others} clips with two sources, {others} asked four questions each")
    return one[0].waveform[0]


def _print_table(found: dict[str, dict[str, float]], title: str) -> None:
    names = [name for name in found if name != "torch"]
    table = Table("figure", *found, *(f"{name} worse by" for name in names), title=title)
    for name, value in found["torch"].items():
        angle = name.endswith("mae_deg")
        unit = 1.0 if angle else 100.0
        worse = 1 if name.endswith(LOWER_IS_BETTER) else -1
        apart = (worse * unit * (found[other][name] - value) for other in names)
        cells = (f"{unit * each[name]:.2f}{'°' if angle else ' %'}" for each in found.values())
        table.add_row(name, *cells, *(f"{each:+.2f}" for each in apart))
    Console().print(table)


MEASURE = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""


def cold(python: str, model: str, file: Path, *, path: str | None) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and MB of `perceive FILE` in a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    if path:
        environment["PYTHONPATH"] = path
    command = [python, "-c", COMMAND, "perceive", str(file), "--model", model]
    # Through a small process between: the most memory of a process counts that of the one it was forked from.
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command], env=environment, stdout=subprocess.PIPE, check=True
    )
    seconds, megabytes = json.loads(done.stdout)
    return seconds, time.perf_counter() - began, megabytes


def print_cold(environment: Path, clip: torch.Tensor, rounds: int) -> None:
    kinds = [
        ("torch, bat-agent", sys.executable, "bat-small", os.environ.get("PYTHONPATH")),
        ("lite, bat-agent-lite", str(environment / "bin" / "python"), "lite", None),
    ]
    table = Table("perceive FILE", "CPU, s (median)", "fastest", "wall, s", "memory, MB", "installed, MB")
    with tempfile.TemporaryDirectory() as folder:
        file = write_wav(Path(folder) / "clip.wav", clip[:, : 2 * RATE_HZ])
        for name, python, model, path in kinds:
            cold(python, model, file, path=path)  # once so that files are in memory and compiled
            runs = [cold(python, model, file, path=path) for _ in range(rounds)]
            cpu_s, wall_s, mb = zip(*runs, strict=True)
            row = (statistics.median(cpu_s), min(cpu_s), statistics.median(wall_s))
            table.add_row(name, *(f"{v:.2f}" for v in row), f"{max(mb):.0f}", f"{_installed_mb(python):.0f}")
    Console().print(table)


def _installed_mb(python: str) -> float:
    """Everything in the environment of an interpreter, each file once."""
    root = Path(python).parent.parent
    sizes = {(s.st_dev, s.st_ino): s.st_blocks * 512 for f in root.rglob("*") if not f.is_dir() for s in (f.lstat(),)}
    return sum(sizes.values()) / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", help="folder that bat-agent export wrote of bat-small")
    parser.add_argument("--env", type=Path, help="environment with bat-agent-lite alone")
    parser.add_argument("--clips", type=int, default=500, help="0 leaves figures and equality out")
    parser.add_argument("--others", type=int, default=250, help="clips with two sources, and as many asked about")
    parser.add_argument("--rooms", help="in place of the recipe's: measured:DIR, for which there is one source alone")
    parser.add_argument("--rounds", type=int, default=60, help="0 leaves speed out")
    parser.add_argument("--busy", action="store_true", help="speed once more, beside a busy process")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bat = Bat.from_pretrained("bat-small", device="cpu")
    folder = Path(given.export)
    precisions = [name for name in ("float32", "int8") if (folder / f"{name}.onnx").is_file()]
    lite = {name: bat_agent.lite.load(folder, precision=name) for name in precisions}
    encoders = {"torch": getattr(bat.encoder, "perceive", bat.encoder), **{n: b.encoder for n, b in lite.items()}}
    if given.rounds:
        print_speed(encoders, given.rounds, "a window of 2 s, one thread, CPU time")
    if given.busy:
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            print_speed(encoders, given.rounds, "the same beside a busy process")
        finally:
            busy.kill()
            busy.wait()
    clip = 0.1 * torch.randn(2, 2 * RATE_HZ, generator=torch.Generator().manual_seed(0))
    if given.clips:
        clip = print_figures(bat, lite, given.clips, given.others, given.rooms)
    if given.env:
        print_cold(given.env, clip, 5)


if __name__ == "__main__":
    main()
