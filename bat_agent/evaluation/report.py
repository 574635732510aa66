"""One evaluation from beginning to end: what is measured on which clips, and the folder it is written into."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bat_agent.clips import corpus
from bat_agent.errors import BadInput
from bat_agent.evaluation.clips import ManifestClips
from bat_agent.evaluation.figures import (
    ClassRow,
    Figures,
    named_sides,
    per_class,
    per_region,
    single_source,
    swap_consistency,
    two_sources,
)
from bat_agent.evaluation.figures import (
    calibration as calibration_errors,
)
from bat_agent.evaluation.hearing import DECODINGS, HEADS, Decode, Heard, Progress, listen
from bat_agent.evaluation.runs import FORMAT, TASKS, Result, Run, training_of
from bat_agent.evaluation.tables import lambda_sweep, tables
from bat_agent.files.writing import write_bytes
from bat_agent.hearing.confidence import Calibration
from bat_agent.hearing.perception import Thresholds
from bat_agent.recipes.schema import Recipe

NAMES = {"map": "mAP", "er20": "ER20", "mae_deg": "MAE", "der": "DER", "source_map": "mAP of each source"}
NAMES |= {"left_right": "left or right", "front_behind": "front or behind", "above_below": "above or below"}
NAMES |= {"region": "eight regions", "mirrors": "azimuth mirrors", "side_flips": "side flips"}
NAMES |= {"class_stays": "class stays", "azimuth_mae_deg": "MAE of azimuth", "elevation_mae_deg": "MAE of elevation"}
EXPECTED = ("map", "er20", "mae_deg", "left_right", "front_behind", "above_below", "region", "der")
"""What is measured of one source where an encoder has all heads."""


@dataclass(frozen=True)
class Data:
    """Clips to evaluate on; each has ``len`` and gives batches (a manifest's clips, or a recipe's)."""

    one: Any
    """Clips with one source."""
    two: Any | None
    """Clips with two, where they are asked for."""
    words: str
    """What they are, for people."""


@dataclass
class Report:
    """Everything measured of one encoder."""

    run: Run
    decode: Decode
    heard: Heard
    figures: dict[str, Figures]
    """Part of the evaluation → measure → figure; ``one source`` and ``two sources`` by ``decode``."""
    regions: dict[str, dict[str, float]] = field(default_factory=dict)
    classes: list[ClassRow] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what ``figures.json`` holds."""
        return {
            "format": FORMAT,
            "run": self.run.to_dict(),
            "decode": self.decode,
            "no_head": list(self.heard.missing),
            "clips": len(self.heard),
            "figures": {part: {m: f.to_dict() for m, f in found.items()} for part, found in self.figures.items()},
            "regions": self.regions,
            "classes": [asdict(row) for row in self.classes],
        }

    def result(self, row: str | None = None) -> Result:
        """As tables take it."""
        found = {measure: figure.to_dict() for measure, figure in self.figures["one source"].items()}
        return Result(self.run, found, row)


def manifest_data(path: Path, batch: int, run: Run) -> Data:
    """The clips of a manifest, under the conditions of the run (BAT's table 8 trains and tests under the same)."""
    clips = ManifestClips(path, clips_per_batch=batch, normalise=run.normalise, reverberation=run.reverberation)
    two = clips.only(2)
    one = clips.only(1)
    if not len(one):
        raise BadInput(f"{path} has no clip with one source, expected at least one; draw it with fewer --two-sources")
    return Data(one, two if len(two) else None, f"{len(clips.clips)} clips of {path.name}")


def recipe_data(recipe: Recipe, clips: int, two_sources: int, seconds: float, batch: int, seed: int = 0) -> Data:
    """Clips of the validation split of a recipe; another ``seed`` draws others."""
    one = corpus.validation(recipe, clips, seconds=seconds, clips_per_batch=batch, seed=seed)
    two = (
        corpus.validation(recipe, two_sources, seconds=seconds, clips_per_batch=batch, two_sources=1.0, seed=seed + 1)
        if two_sources
        else None
    )
    return Data(one, two, f"validation split of {recipe.name}, seed {recipe.seed}")


def evaluate_encoder(
    encoder: Any,
    data: Data,
    run: Run,
    device: torch.device | str,
    *,
    decode: Decode = "kernel",
    swap: bool = True,
    calibration: Calibration | None = None,
    thresholds: Thresholds | None = None,
    recipe: Recipe | None = None,
    stage: str | None = None,
    progress: Callable[[str], Progress] = lambda what: lambda done, total: None,
) -> Report:
    """Measure an encoder in evaluation mode; ``recipe`` (up to ``stage``) is what it was trained by."""
    heard = listen(encoder, data.one, device, swap=swap, progress=progress("one source"))
    if len(heard.missing) == len(HEADS):
        raise BadInput(
            f"the encoder {run.name} has no head, so there is nothing to measure; expected one of class, azimuth, "
            "elevation and distance"
        )
    tasks = tuple(t for t, has in zip(TASKS, _heads(heard), strict=True) if has)
    facts = {"tasks": tasks, **(training_of(recipe, tasks, stage) if recipe else {})}
    run = replace(run, **facts, data=data.words)
    other = next(each for each in DECODINGS if each != decode)
    found = {
        "one source": single_source(heard, decode),
        f"one source, decoded as {other}": single_source(replace(heard, scores=None), other),
    }
    if data.two is not None:
        found["two sources"] = two_sources(encoder, data.two, device, decode, progress("two sources"))
    if swap:
        found["ears swapped"] = swap_consistency(heard, decode)
    if thresholds is not None and heard.directions_deg:
        found["sides named"] = named_sides(heard, thresholds)
    found["calibration error"] = calibration_errors(heard, calibration)
    return Report(run, decode, heard, found, per_region(heard, decode), per_class(heard, decode))


def write(report: Report, folder: Path, others: Sequence[Result] = (), row: str | None = None) -> list[Path]:
    """``figures.json``, ``per_class.csv``, ``tables.md`` and pictures; returns the files.

    Raises :class:`~bat_agent.errors.BadInput` where they cannot be written.
    """
    results = [report.result(row), *others]
    files = {
        "figures.json": json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "per_class.csv": _class_table(report.classes),
        "tables.md": "\n".join(table.markdown() for table in tables(results)),
    }
    for name, text in files.items():
        write_bytes(folder / name, text.encode(), folder=True)
    return [*(folder / name for name in files), *_draw(report, folder, results)]


def check_out(folder: Path) -> None:
    """Told now what would otherwise be told after an evaluation of minutes."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"cannot write figures into {folder}: it is a file; name a folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot make the folder {folder} ({error.strerror}); choose another --out") from error


def _heads(heard: Heard) -> tuple[bool, bool, bool]:
    return heard.scores is not None, bool(heard.distances), bool(heard.directions_deg)


def _class_table(rows: Sequence[ClassRow]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(ClassRow.__dataclass_fields__)
    for row in rows:
        table.writerow("" if v is None else round(v, 4) if isinstance(v, float) else v for v in asdict(row).values())
    return text.getvalue()


def _draw(report: Report, folder: Path, results: Sequence[Result]) -> list[Path]:
    from bat_agent.evaluation.pictures import cone_figure, confusion_figure, error_figure, lambda_figure
    from bat_agent.evaluation.plotting import save_figure

    sweep = lambda_sweep(results)
    weights = np.unique([result.run.class_weight or 0.0 for result in sweep])
    drawn = {
        "confusion.png": confusion_figure(report.heard, report.decode),
        "errors.png": error_figure(report.heard, report.decode),
        "cone.png": cone_figure(report.heard, report.decode),
        "lambda.png": lambda_figure(sweep) if len(weights) > 1 else None,
    }
    for name, picture in drawn.items():
        if picture is not None:
            save_figure(picture, folder / name)
    return [folder / name for name, picture in drawn.items() if picture is not None]
