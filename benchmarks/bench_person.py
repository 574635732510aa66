"""A model beside a simulated person, in the measures of hearing research: noise in the free field, a head of training
and one held back.

Every measured direction of a head sounds once, white noise of a second at 1.5 m. The person is simulated by the package
``bayesian-listener`` 0.3.0 with the same head (``simulated_person.py``). Both rows have the measures of that package:
the root of the mean square lateral error (answers within 60° of the median plane), of the polar error where it is below
90° (answers within 30°), and the share of polar errors of 90° or more there, quadrant errors (Middlebrooks, J. Acoust.
Soc. Am. 106, 1999).

    uv venv person && uv pip install --python person/bin/python bayesian-listener==0.3.0
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_person.py [MODEL] --person person/bin/python [--every 4]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import bat_agent
from bat_agent.interfaces import DIRECT_GAIN_AT_1M, SAMPLE_RATE_HZ
from bat_agent.scene import unit_vector
from bat_agent.sound.acoustics import convolve, rms_normalise

SECONDS = 1.0
DISTANCE_M = 1.5
BATCH = 16
NAMES = {"rmsL": "lateral, RMS", "rmsPmedianlocal": "polar, local RMS", "querrMiddlebrooks": "quadrant errors"}
console = Console(width=120)
Floats = np.ndarray[Any, Any]


def kemar(folder: Path) -> tuple[Floats, Floats]:
    """HRIRs (M, 2, taps) and unit vectors (M, 3; x right, y up, z back) of the MIT KEMAR."""
    with np.load(folder / "mit_kemar_normal_32k.npz") as file:
        hrir = file["hrir"]
        angles = zip(90.0 + file["azimuth_ccw_deg"], file["elevation_deg"], strict=True)
    return hrir, np.array([unit_vector(float(a) % 360, float(e)) for a, e in angles])


def cipic(folder: Path, subject: str) -> tuple[Floats, Floats]:
    """The same of one person of CIPIC."""
    with np.load(folder / "cipic_30_heads_32k.npz") as file:
        number = [str(name) for name in file["subject"]].index(subject)
        return file["hrir_int16"][number] * file["scale"][number], file["direction"].astype(float)


def answers(bat: bat_agent.Bat, hrir: Floats) -> Floats:
    """Unit vectors (M, 3) of the strongest source heard, noise through each response; straight ahead where nothing is
    said of a place, as where a symmetric head has the same in both ears.
    """
    random = torch.Generator().manual_seed(0)
    said = []
    for part in torch.from_numpy(np.ascontiguousarray(hrir, dtype=np.float32)).split(BATCH):
        noise = torch.randn(len(part), 1, round(SECONDS * SAMPLE_RATE_HZ), generator=random)
        sound = convolve(rms_normalise(noise).expand(-1, 2, -1), part * DIRECT_GAIN_AT_1M / DISTANCE_M)
        for perception in bat.perceive(sound[..., : noise.shape[-1]]):
            source = perception.sources[0] if perception.sources else None
            azimuth, elevation = (None, None) if source is None else (source.azimuth_deg, source.elevation_deg)
            said.append(unit_vector(90.0 if azimuth is None else azimuth, 0.0 if elevation is None else elevation))
    return np.array(said)


def compared(person: str, hrir: Floats, true: Floats, heard: Floats, said: Floats) -> dict[str, dict[str, list[float]]]:
    """The figures of the person, and of the model that ``heard`` some directions."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "heard.npz"
        np.savez(file, hrir=hrir, true=true, heard=heard, said=said, rate_hz=SAMPLE_RATE_HZ)
        script = Path(__file__).with_name("simulated_person.py")
        done = subprocess.run([person, str(script), str(file)], check=True, capture_output=True, text=True)
    found: dict[str, dict[str, list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", default="bat-small")
    parser.add_argument("--person", required=True, help="a Python that has bayesian-listener==0.3.0")
    parser.add_argument("--subject", default="010", help="the person of CIPIC who was not trained with")
    parser.add_argument("--every", type=int, default=1, help="the model hears every so many directions only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bat = bat_agent.load(options.model)
    folder = Path(os.environ.get("BAT_SHARED", "../shared")) / "data" / "hrtf"
    table = Table("head", "directions", "who", *NAMES.values(), title="Noise in the free field (95 % interval)")
    for head, (hrir, true) in {
        "KEMAR, of training": kemar(folder),
        f"CIPIC {options.subject}, held back": cipic(folder, options.subject),
    }.items():
        heard = np.arange(0, len(true), options.every)
        found = compared(options.person, hrir, true, heard, answers(bat, hrir[heard]))
        for who, called, count in (
            ("person", "a person, simulated", len(true)),
            ("model", bat.config.name, len(heard)),
        ):
            cells = [
                f"{value:.1f}{unit} ({low:.1f}–{high:.1f})"
                for (value, low, high), unit in zip(found[who].values(), ("°", "°", " %"), strict=True)
            ]
            table.add_row(head, str(count), called, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
