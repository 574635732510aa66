"""Questions: what opening, reading, making, verifying and rendering a SpatialSoundQA set costs.

Side by side in one run: the records of the release's size against ``json.load`` as the released loader has it, and the
renderer against the released loader's steps written with soundfile and scipy. Each part runs in a process of its own,
so that the memory it tells is its own.

    python benchmarks/bench_questions.py [--records 872312] [--questions 100000] [--sounds manifest.csv]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer

from bat_agent.cli.output import print_table
from bat_agent.datasets.check import check
from bat_agent.datasets.qa import QAPlan, make_qa
from bat_agent.datasets.spatialsoundqa import SpatialSoundQA
from bat_agent.labels import labels
from bat_agent.questions import QARecord, RecordFile
from bat_agent.questions.files import RecordWriter, encode

READS = 2000


def main(
    records: int = 872_312,
    questions: int = 100_000,
    sounds: str = "procedural:5",
    clips: int = 20,
    folder: Path | None = None,
) -> None:
    """All parts, one after the other."""
    with tempfile.TemporaryDirectory() as made:
        place = folder or Path(made)
        place.mkdir(parents=True, exist_ok=True)
        _reading(place / "big.json", records)
        root = place / "set"
        _making(root, questions, sounds)
        _rendering(root, clips)


def _reading(path: Path, records: int) -> None:
    _write_big(path, records)
    size_mb = path.stat().st_size / 1e6
    ours, theirs = _alone(_open_ours, path), _alone(_open_all, path)
    rows = [
        ("open, s", f"{theirs['open']:.2f}", f"{ours['open']:.2f}", f"{theirs['open'] / ours['open']:.1f}"),
        ("memory over the imports, MB", f"{theirs['mb']:.0f}", f"{ours['mb']:.0f}", f"{theirs['mb'] / ours['mb']:.1f}"),
        ("a record by its number, ms", f"{theirs['read']:.4f}", f"{ours['read']:.4f}", ""),
        ("all records, s", "", f"{ours['all']:.1f}", ""),
    ]
    print_table(f"{records} records, {size_mb:.0f} MB", ("", "json.load", "RecordFile", "ratio"), rows)


def _write_big(path: Path, records: int) -> None:
    """As long as the release's records are; every name occurs."""
    rng, names = np.random.default_rng(0), labels()
    with RecordWriter(path) as file:
        for number in range(records):
            two = number % 3 > 0
            a, b = (names[n].lower() for n in rng.integers(len(names), size=2))
            question = f"When measuring the direct line distance, is the sound produced by {a} closer to you than {b}?"
            second = (f"unbalanced_train/audio/Y{number:011d}", f"house/{number % 21131}.npy") if two else (None, None)
            kind = "MIXUP_DISTANCE_BOTH" if two else "DOA"
            first = f"unbalanced_train/audio/Y{number + 1:011d}", f"house/{number % 7919}.npy"
            file.add(encode(QARecord(*first, *second, number, kind, question, "Yes")))


def _open_ours(path: Path) -> dict[str, float]:
    begun = time.perf_counter()
    file = RecordFile(path)
    opened = time.perf_counter() - begun
    rows = np.random.default_rng(1).integers(len(file), size=READS).tolist()
    begun = time.perf_counter()
    for row in rows:
        file[row]
    read = (time.perf_counter() - begun) / READS
    mb = _peak_mb()
    begun = time.perf_counter()
    assert sum(1 for _ in file) == len(file)
    return {"open": opened, "read": 1e3 * read, "mb": mb, "all": time.perf_counter() - begun}


def _open_all(path: Path) -> dict[str, float]:
    begun = time.perf_counter()
    with path.open() as file:
        data = json.load(file)["data"]
    opened = time.perf_counter() - begun
    rows = np.random.default_rng(1).integers(len(data), size=READS).tolist()
    begun = time.perf_counter()
    for row in rows:
        data[row]
    return {"open": opened, "read": 1e3 * (time.perf_counter() - begun) / READS, "mb": _peak_mb()}


def _making(root: Path, questions: int, sounds: str) -> None:
    plan = QAPlan(sounds, questions, simulator="shoebox", rooms=200, rir_count=2000)
    make_qa(QAPlan(sounds, 1, simulator="shoebox", rooms=200, rir_count=2000), root)  # the RIRs
    begun = time.perf_counter()
    make_qa(plan, root)
    made = time.perf_counter() - begun
    begun = time.perf_counter()
    found = check(root, stages=[3], split="train")
    checked = time.perf_counter() - begun
    said = [r.answer for r in SpatialSoundQA(root, stages=[3]) if r.answer in ("Yes", "No")]
    rows = [
        ("questions made a second, files and recordings with them", f"{questions / made:.0f}"),
        ("records checked a second", f"{found.records / checked:.0f}"),
        ("answers verified, of all", f"{found.answers_verified} of {found.records}, {len(found.problems)} problems"),
        ("Yes among yes/no answers", f"{100 * said.count('Yes') / len(said):.2f} %"),
    ]
    print_table(f"{questions} questions", ("", ""), rows)


def _rendering(root: Path, clips: int) -> None:
    data = SpatialSoundQA(root, stages=[3], split="train")
    records = [data[n] for n in range(clips)]
    seconds, sounds = [], []
    for render in (lambda r: _released(data, r), lambda r: data.audio.render(r).numpy()):
        render(records[0])
        begun = time.perf_counter()
        sounds.append([render(record) for record in records])
        seconds.append((time.perf_counter() - begun) / clips)
    apart = max(float(np.abs(a - b).max()) for a, b in zip(*sounds, strict=True))
    cells = (f"{1e3 * seconds[0]:.0f}", f"{1e3 * seconds[1]:.0f}", f"{seconds[0] / seconds[1]:.1f}")
    print_table("Rendering a clip of 10 s, one thread", ("", "released", "ours", "ratio"), [("ms a clip", *cells)])
    print(f"largest difference of samples: {apart:.1e}")


def _released(data: SpatialSoundQA, record: QARecord) -> Any:
    """The steps of the released loader."""
    import soundfile
    from scipy import signal

    wet = []
    for audio_id, reverb_id in record.sources:
        samples, rate = soundfile.read(data.store.local(data.audio.audio_path(audio_id)))
        samples = samples[:, 0] if samples.ndim > 1 else samples
        if rate != 32_000:
            samples = signal.resample_poly(samples, 32_000, rate)
        rms = np.sqrt(np.mean(samples**2))
        if rms > 0:
            samples = samples * 10 ** ((-14.0 - 20 * np.log10(rms)) / 20)
        rir = np.load(data.store.local(f"mp3d_reverb/binaural/{reverb_id}"))
        heard = signal.fftconvolve(samples[None], rir, mode="full")
        out = np.zeros((2, 320_000))
        out[:, : min(heard.shape[1], 320_000)] = heard[:, :320_000]
        wet.append(out)
    return np.mean(wet, axis=0)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - BASE_MB


BASE_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _alone(part: Callable[[Path], dict[str, float]], path: Path) -> dict[str, float]:
    """A part in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(part, (path,))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    typer.run(main)
