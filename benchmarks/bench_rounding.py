"""The same clips as floats, 24 and 16 bits, loud and 30 dB down: how often what is heard of them differs.

    OMP_NUM_THREADS=1 BAT_SHARED=… .venv/bin/python benchmarks/bench_rounding.py [MODEL] [CLIPS]

Recordings of the fold kept back in drawn rooms, 4 s, one or two sounds, half of them going on. Each is compared with
itself as floats: the number of sources, the class of each, their order, distances more than 0.5 m off, and angles.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import bat_agent
from bat_agent.evaluation.clips import ManifestClips
from bat_agent.evaluation.draw import DrawnPlaces, draw_clips, open_library
from bat_agent.evaluation.manifest import write_manifest
from bat_agent.hearing.perception import PerceivedSource
from bat_agent.scene import angle_between_deg

SOUNDS, FOLDS = "manifest:$BAT_SHARED/data/sounds/manifest.csv", (4,)
DRAWN, CLIPS = 120, 100
LEVELS_DB = (0, -30)
Sources = Sequence[PerceivedSource]


def clips(count: int) -> Iterator[np.ndarray]:
    """(2, N) floats; the first of 120 that are always the same."""
    library = open_library(SOUNDS, FOLDS)
    drawn = draw_clips([library], DrawnPlaces("shoebox", {}), DRAWN, seed=7, two_sources=0.4, seconds=4.0, going_on=0.5)
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(Path(folder) / "clips.jsonl", drawn)
        manifest = ManifestClips(Path(folder) / "clips.jsonl")
        for clip in manifest.clips[:count]:
            yield manifest.render(clip).numpy()


def rounded(clip: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The clip in each form, as floats."""
    dither = rng.random(clip.shape) - rng.random(clip.shape)
    return {
        "24 bits": np.round(clip * 2**23) / 2**23,
        "16 bits": np.clip(np.round(clip * 2**15), -(2**15), 2**15 - 1) / 2**15,
        "16 bits, dithered": np.clip(np.round(clip * 2**15 + dither), -(2**15), 2**15 - 1) / 2**15,
    }


def difference(wanted: Sources, found: Sources) -> dict[str, list[float]]:
    """What differs in a clip: shares of clips, then figures of each source that has the same class in both."""
    names, others = ([source.labels[:1] for source in some] for some in (wanted, found))
    alike = len(names) == len(others)
    same = sorted(names) == sorted(others)
    metres, degrees = [], []
    for source in wanted:
        near = [other for other in found if other.labels[:1] == source.labels[:1]]
        if near and source.distance_m is not None and source.azimuth_deg is not None:
            other = min(near, key=lambda one: abs((one.distance_m or 0.0) - (source.distance_m or 0.0)))
            metres.append(abs((other.distance_m or 0.0) - source.distance_m))
            places = [(one.azimuth_deg or 0.0, one.elevation_deg or 0.0) for one in (source, other)]
            degrees.append(angle_between_deg(*places))
    return {
        "number": [not alike],
        "class": [alike and not same],
        "order": [alike and same and names != others],
        "> 0.5 m": [any(off > 0.5 for off in metres)],
        "angle": degrees,
        "> 20°": [off > 20 for off in degrees],
    }


def main(arguments: Sequence[str] = ()) -> None:
    """Print a line for each level and form."""
    name, count = (*arguments, *("bat-small", str(CLIPS))[len(arguments) :])
    bat, rng = bat_agent.load(name), np.random.default_rng(0)
    differences: dict[tuple[int, str], dict[str, list[float]]] = {}
    for clip in clips(int(count)):
        for level_db in LEVELS_DB:
            quiet = clip * 10 ** (level_db / 20)
            forms = {"floats": quiet, **rounded(quiet, rng)}
            heard = bat.perceive([torch.from_numpy(form.astype(np.float32)) for form in forms.values()])
            for form, perception in zip(forms, heard, strict=True):
                row = differences.setdefault((level_db, form), {})
                for what, values in difference(heard[0].sources, perception.sources).items():
                    row.setdefault(what, []).extend(values)
    print(f"{name}, {count} clips: share that differ, and angles of their sources")
    for (level_db, form), row in differences.items():
        if form != "floats":
            shown = {what: f"{np.mean(v):.2f}°" if what == "angle" else f"{np.mean(v):.1%}" for what, v in row.items()}
            print(f"{level_db:4} dB, {form:18}", ", ".join(f"{what} {value}" for what, value in shown.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
