"""True binaural recordings are never accused of being one microphone, out of step, turned over or dead.

    python benchmarks/never_accused.py [--rendered 500]

Synthesised sounds of all classes that there are: in rooms that ``shoebox`` draws, in every measured place of
``$BAT_SHARED/data/brir``, and straight in front of KEMAR, which is symmetric, in dry rooms (RT60 0.1 to 0.2 s). The
clips have 2 and 5 s by turns and go through :func:`bat_agent.sound.mending.mend`, as everything that is heard.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.signal import fftconvolve

from bat_agent import load_simulator
from bat_agent.labels import label_index
from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at
from bat_agent.sound.mending import mend
from bat_agent.sound.synthesis import PROCEDURAL_LABELS, synthesise

SECONDS = (2.0, 5.0)
RATE_HZ = 32_000


def dry(number: int) -> np.ndarray:
    """The sound of a clip: another class for each number, another variant each time round."""
    name = PROCEDURAL_LABELS[number % len(PROCEDURAL_LABELS)]
    return synthesise(name, np.random.default_rng([number, label_index()[name]]))


def through(number: int, rir: np.ndarray) -> torch.Tensor:
    """As both ears hear it, for one of ``SECONDS``."""
    samples = round(SECONDS[number % len(SECONDS)] * RATE_HZ)
    sound = np.resize(dry(number), samples)
    ears = np.stack([fftconvolve(sound, ear)[:samples] for ear in rir])
    return torch.from_numpy((0.5 * ears / np.abs(ears).max()).astype(np.float32))


def rendered(count: int) -> Iterator[torch.Tensor]:
    """In drawn rooms."""
    simulator = load_simulator("shoebox")
    for number in range(count):
        yield through(number, simulator.render(simulator.sample_scene(np.random.default_rng(number)))[0].numpy())


def measured(folder: Path) -> Iterator[torch.Tensor]:
    """In every measured place of every room, with three sounds each."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        places = Counter(row["room"] for row in csv.DictReader(lines))
    for room, count in places.items():
        simulator = load_simulator("measured", folder=str(folder), rooms=(room,))
        rirs = simulator.render(simulator.sample_scene(np.random.default_rng(0), count))
        yield from (through(3 * number + more, rir.numpy()) for number, rir in enumerate(rirs) for more in range(3))


def ahead(count: int) -> Iterator[torch.Tensor]:
    """Straight ahead in dry rooms, a third of them on the middle line of the room."""
    simulator = load_simulator("shoebox")
    for number in range(count):
        rng = np.random.default_rng([number, 7])
        size_m = (rng.uniform(2.5, 6), 2.6, rng.uniform(3, 7))
        x_m = size_m[0] / 2 if number % 3 == 0 else rng.uniform(0.6, size_m[0] - 0.6)
        listener = Listener((x_m, 1.5, size_m[2] - 0.6))
        place = Position(90.0, float(rng.choice([0, 20, -30])), float(rng.choice([0.4, 0.7, 1.0, 1.5])))
        room = Room(size_m, float(rng.choice([0.1, 0.15, 0.2])))
        scene = Scene(room, listener, (Source(point_at(listener, place)),), seed=number)
        yield through(number, simulator.render(scene)[0].numpy())


def main() -> None:
    """Count the clips of each kind that something is said of."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rendered", type=int, default=500, metavar="N", help="clips in drawn rooms, default 500")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds = {"drawn rooms": rendered(options.rendered), "straight ahead, dry rooms": ahead(options.rendered // 5)}
    brir = Path(os.environ.get("BAT_SHARED", "../shared")) / "data/brir"
    if brir.is_dir():
        kinds["measured rooms"] = measured(brir)
    for kind, clips in kinds.items():
        said: Counter[str] = Counter()
        count = 0
        for clip in clips:
            count += 1
            found = mend(clip.numpy())
            said.update(note for note in found.notes if "offset" not in note and "silence" not in note)
        print(f"{kind}: {count} clips, {sum(said.values())} accused {dict(said)}", flush=True)


if __name__ == "__main__":
    main()
