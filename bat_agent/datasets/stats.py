"""What is in a set of RIRs: distances, directions and room acoustics, beside what the BAT paper says of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.datasets import layout
from bat_agent.datasets.layout import Item, ReverberationFile
from bat_agent.errors import BadInput
from bat_agent.files.reading import read_array
from bat_agent.interfaces import NUM_DISTANCE_BINS
from bat_agent.scene import region
from bat_agent.sound import rir_measures
from bat_agent.sound.waveform import LARGEST

Array = np.ndarray
PAPER_RT60_S = {
    "living room": 0.2076,
    "bedroom": 0.1917,
    "closet": 0.1950,
    "bathroom": 0.1906,
    "toilet": 0.1706,
    "garage": 0.2190,
    "lounge": 0.2224,
    "kitchen": 0.2061,
    "dining room": 0.2201,
}
"""Mean reverberation times of Matterport3D room types (BAT, table 6)."""
PAPER_MODE_M = (1.5, 2.5)
"""Where the distances of the training reverberations are most frequent (BAT, figure 3)."""
PAPER_DER_DRAWN, PAPER_DER_NEAR = 67.0, 53.0
"""Distance error rates, %, of guesses drawn from figure 3, and of guesses among 1, 1.5 and 2 m (BAT, appendix E)."""
NEAR_BINS = (2, 3, 4)
MEASURES = ("rt60_s", "drr_db", "ild_db", "itd_s")


@dataclass(frozen=True)
class Statistics:
    """Positions of n RIRs, and acoustics of the k of them that were measured."""

    files: tuple[str, ...]
    """The reverberation files they come from."""
    azimuth_deg: Array
    """(n,)"""
    elevation_deg: Array
    """(n,)"""
    distance_m: Array
    """(n,)"""
    headings_stored: bool
    """Whether every entry names the listener's heading; where one does not, 0 was taken."""
    measured: Array
    """(k,) which of the n; empty where the RIR files are not there."""
    values: dict[str, Array]
    """Each of :data:`MEASURES` (k,): T20, direct-to-reverberant ratio, ILD and ITD of the direct sound. NaN where a RIR
    does not have it, as the T20 of one that does not decay."""
    files_missing: int
    """How many of the RIR files looked for are not there."""

    def distance_counts(self) -> Array:
        """(21,) RIRs in each distance bin of BAT: 0, 0.5 … 10 m, farther ones in the last."""
        bins = np.minimum(np.rint(2 * self.distance_m).astype(int), NUM_DISTANCE_BINS - 1)
        return np.bincount(bins, minlength=NUM_DISTANCE_BINS)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict of figures, with those of the paper under ``paper``."""
        counts = self.distance_counts()
        acoustics = {name: summarise(self.values[name]) for name in MEASURES} if len(self.measured) else {}
        magnitudes = {f"abs_{name}": summarise(np.abs(self.values[name])) for name in ("ild_db", "itd_s") if acoustics}
        return {
            "files": list(self.files),
            "rirs": len(self.distance_m),
            "headings": "stored" if self.headings_stored else "assumed 0",
            "distance_m": summarise(self.distance_m)
            | {
                "bins": [i / 2 for i in range(NUM_DISTANCE_BINS)],
                "counts": counts.tolist(),
                "mode": float(counts.argmax()) / 2,
                "der_of_guesses_drawn_alike_percent": der_of_drawn_percent(counts),
                "der_of_1_to_2_m_percent": der_of_near_percent(counts),
            },
            "azimuth_deg": {"bin_width": 30, "counts": _histogram(self.azimuth_deg, 0, 360)},
            "elevation_deg": summarise(self.elevation_deg)
            | {"bin_width": 30, "counts": _histogram(self.elevation_deg, -90, 90)},
            "regions_percent": self._regions_percent(),
            "measured": len(self.measured),
            "files_missing": self.files_missing,
            **acoustics,
            **magnitudes,
            "paper": {
                "distance_mode_m": list(PAPER_MODE_M),
                "der_of_guesses_drawn_alike_percent": PAPER_DER_DRAWN,
                "der_of_1_to_2_m_percent": PAPER_DER_NEAR,
                "rt60_s": PAPER_RT60_S,
            },
        }

    def _regions_percent(self) -> dict[str, float]:
        names = [region(a, e) for a, e in zip(self.azimuth_deg, self.elevation_deg, strict=True)]
        found, counts = np.unique(names, return_counts=True)
        return {str(name): round(100 * float(n) / len(names), 1) for name, n in zip(found, counts, strict=True)}


def statistics(
    path: Path, *, measure: int = 1000, progress: Callable[[int, int], None] = lambda done, total: None
) -> Statistics:
    """Statistics of a reverberation JSON, or of those in a folder, ours or released.

    At most ``measure`` of the RIR files are read, evenly spread over the set. Raises
    :class:`~bat_agent.errors.BadInput` where nothing is there, or a file is broken (named with its line).
    """
    if measure < 0:
        raise BadInput(f"--measure must be 0 or more, got {measure}")
    files = [ReverberationFile(file) for file in layout.find_reverberations(path)]
    rows, stored = [], True
    for file in files:
        for item in file:
            rows.append(layout.position_of(item))
            stored = stored and "heading_deg" in item
    if not rows:
        raise BadInput(f"{path} lists no RIR; make some with bat-agent dataset rirs")
    azimuth, elevation, distance = np.array(rows).T
    measured, values, missing = _measure(files, _spread(len(rows), measure), progress)
    names = tuple(str(file.path) for file in files)
    return Statistics(names, azimuth, elevation, distance, stored, measured, values, missing)


def measure_rir(path: Path) -> tuple[float, ...] | None:
    """The :data:`MEASURES` of one RIR file; ``None`` where it does not exist."""
    try:
        rir = read_array(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no whole .npy file ({error}); make it again with dataset rirs --replay") from error
    if rir.ndim != 2 or len(rir) != 2 or not (np.abs(rir) <= LARGEST).all():
        wanted = "expected finite numbers (2, samples) up to 2^32"
        raise BadInput(f"{path} has the shape {rir.shape}, {wanted}; make it again")
    direct = rir_measures.direct_sound(rir)
    return (
        rir_measures.reverberation_time_s(rir),
        rir_measures.direct_to_reverberant_db(rir),
        rir_measures.interaural_level_db(direct),
        rir_measures.interaural_time_s(direct),
    )


def summarise(values: Array) -> dict[str, float | int | None]:
    """Mean, median, 10 % and 90 % points of the finite values, and how many are not finite."""
    finite = values[np.isfinite(values)]
    left_out = len(values) - len(finite)
    if not len(finite):
        return {"mean": None, "median": None, "p10": None, "p90": None, "not_finite": left_out}
    low, middle, high = (float(v) for v in np.percentile(finite, (10, 50, 90)))
    return {"mean": float(finite.mean()), "median": middle, "p10": low, "p90": high, "not_finite": left_out}


def der_of_drawn_percent(counts: Array) -> float:
    """Distance error rate, %, of guesses drawn from the distribution itself: off by more than one bin (0.5 m).

    100·(1 − Σᵢ Σⱼ pᵢ·pⱼ·[|i − j| ≤ 1])
    """
    p = counts / counts.sum()
    return float(100 * (1 - (p @ p + 2 * p[1:] @ p[:-1])))


def der_of_near_percent(counts: Array) -> float:
    """Distance error rate, %, of guesses drawn evenly from 1, 1.5 and 2 m."""
    p = counts / counts.sum()
    return float(100 * (1 - np.mean([p[i - 1 : i + 2].sum() for i in NEAR_BINS])))


def _measure(
    files: Sequence[ReverberationFile], chosen: list[int], progress: Callable[[int, int], None]
) -> tuple[Array, dict[str, Array], int]:
    """Which were measured, each measure of them, and how many files are missing."""
    wanted, found, rows, missing, number = set(chosen), [], [], 0, 0
    for file in files:
        for item in file:
            if number in wanted:
                if (row := _row(file, item)) is None:
                    missing += 1
                else:
                    found.append(number)
                    rows.append(row)
                progress(len(found) + missing, len(chosen))
            number += 1
    table = np.array(rows).reshape(-1, len(MEASURES))
    return np.array(found, dtype=int), dict(zip(MEASURES, table.T, strict=True)), missing


def _row(file: ReverberationFile, item: Item) -> tuple[float, ...] | None:
    return measure_rir(layout.rir_path(file.path, item["fname"]))


def _spread(count: int, at_most: int) -> list[int]:
    """At most so many of 0 … count − 1, evenly apart."""
    if at_most == 0:
        return []
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, at_most)).round())]


def _histogram(values: Array, low: float, high: float) -> list[int]:
    return np.histogram(values, bins=round((high - low) / 30), range=(low, high))[0].tolist()
