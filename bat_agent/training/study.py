"""Studies: one recipe in several variants and seeds, measured on the same clips.

A study is a YAML file: a recipe, the overrides of each variant, seeds, what to measure: what the encoder hears, or how
the reasoner answers after each stage. Every run is a folder of its
own; what is finished is not trained again, so a study may be interrupted, widened and repeated. This is how the
ablations of BAT (tables 7 and 8) are reproduced at small scale.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table

from bat_agent import registry
from bat_agent.clips import corpus
from bat_agent.errors import BadInput
from bat_agent.evaluation.answering import curriculum_figures
from bat_agent.evaluation.figures import Figures, single_source, two_sources
from bat_agent.evaluation.hearing import listen
from bat_agent.evaluation.real_rooms import places_of, rooms_data, where_figures
from bat_agent.evaluation.runs import Run
from bat_agent.files.reading import parse_json
from bat_agent.files.writing import write_json
from bat_agent.recipes.loading import load_recipe, read_omegaconf
from bat_agent.recipes.schema import Recipe
from bat_agent.training.trainer import Trainer

# Where nobody watches, a file keeps whole figures.
console = Console(width=None if sys.stdout.isatty() else 160)
NORMAL_95 = 1.96
MEASURED = ("encoder", "questions")
MOST_COLUMNS = 10
LESS_IS_BETTER = ("er20", "mae_deg", "der")


@dataclass
class Variant:
    """One way to train."""

    name: str = MISSING
    """What its row is called."""
    overrides: list[str] = field(default_factory=list)
    """``key=value`` changes to the recipe."""
    two_sources: bool = False
    """Measure on clips with two sources instead of one."""


@dataclass
class Study:
    """Variants of a recipe, and how to measure them."""

    name: str = MISSING
    """Name of the study, and of its folder under ``runs``."""
    recipe: str = MISSING
    """Recipe that all variants change; a file beside the study, or a shipped one."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Each variant is trained once with each."""
    measure: str = "encoder"
    """``encoder``: what it hears; ``questions``: how the reasoner answers (:mod:`bat_agent.evaluation.answering`)."""
    clips: int = 1000
    """Validation clips, the same for all runs; for ``questions`` so many with one source and so many with two."""
    seconds: float = 10.0
    """Their length."""
    rooms: list[str] = field(default_factory=list)
    """Rooms of other kinds to measure in as well, as ``bat-agent evaluate encoder --rooms`` has them, such as
    ``measured:DIR``; what is measured there is called ``mae_deg in measured``. For ``encoder`` and single sources."""
    figures: list[str] = field(default_factory=list)
    """Which figures to keep, e.g. ``[mae_deg, er20, front_behind]``; all unless given."""
    variants: list[Variant] = field(default_factory=list)
    """What is compared."""
    differences: list[str] = field(default_factory=list)
    """``measure: variant - variant`` to print with intervals, e.g. ``mae_deg: mono - mel``."""


@dataclass(frozen=True)
class Outcome:
    """One measure of one variant over its seeds."""

    values: tuple[float, ...]
    """One per seed."""
    clip_error: float
    """Standard error from the choice of clips."""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.values))

    @property
    def error(self) -> float:
        """Standard error of the mean: of clips (all seeds hear the same ones) and of seeds together."""
        spread = float(np.var(self.values, ddof=1)) / len(self.values) if len(self.values) > 1 else 0.0
        return math.sqrt(self.clip_error**2 + spread)

    def minus(self, other: Outcome) -> tuple[float, float]:
        """Difference of the means, and its standard error (clips taken as independent, which is too cautious)."""
        return self.mean - other.mean, math.hypot(self.error, other.error)


Outcomes = dict[str, dict[str, Outcome]]
"""Variant → measure → outcome."""


def load_study(name_or_path: str) -> Study:
    """Read a shipped study by name, or any YAML file; :class:`~bat_agent.errors.BadInput` for what does not fit."""
    path = Path(name_or_path)
    shipped = Path(str(resources.files("bat_agent") / "recipes" / "studies"))
    if not path.suffix:
        path = shipped / f"{name_or_path}.yaml"
    if not path.is_file():
        have = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
        raise BadInput(f"no study {name_or_path!r}; give a YAML file or one of: {have}")
    try:
        study = OmegaConf.to_object(
            OmegaConf.merge(OmegaConf.structured(Study), read_omegaconf(path, f"study {path.name}"))
        )
    except BadInput:
        raise
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise BadInput(f"study {path.name}: {' '.join(str(error).split())[:200]}") from error
    assert isinstance(study, Study)
    names = [variant.name for variant in study.variants]
    if not names or len(set(names)) != len(names):
        raise BadInput(f"study {path.name} needs variants with different names, got {names}")
    if study.measure not in MEASURED:
        raise BadInput(f"study {path.name}: measure must be one of {', '.join(MEASURED)}, got {study.measure!r}")
    if (path.parent / study.recipe).is_file():
        study.recipe = str(path.parent / study.recipe)
    for line in study.differences:
        _difference(line, names)
    return study


def run_study(
    study: Study, folder: Path, only: Sequence[str] = (), overrides: Sequence[str] = (), train: bool = True
) -> Outcomes:
    """Train what is not trained yet, measure what is not measured yet, and gather the outcomes.

    ``overrides`` change all variants (other sounds, fewer steps). Without ``train``, what has no run is left out.
    """
    for rooms in study.rooms if train else ():
        places_of(rooms)  # what is not there is told before anything is trained
    outcomes: Outcomes = {}
    for variant in study.variants:
        if only and variant.name not in only:
            continue
        runs = [_run(study, variant, seed, folder, overrides, train) for seed in study.seeds]
        if found := [figures for figures in runs if figures]:
            outcomes[variant.name] = {name: _outcome(name, found) for name in found[0]}
    return outcomes


def _run(
    study: Study, variant: Variant, seed: int, folder: Path, overrides: Sequence[str], train: bool
) -> dict[str, Any] | None:
    """The figures of one variant with one seed; trained and measured unless that is done."""
    run_dir = folder / f"{variant.name}-{seed}"
    shared = [f"run_dir={run_dir}", f"rooms_dir={folder / 'rooms'}", *variant.overrides, *overrides]
    recipe = load_recipe(study.recipe, [*shared, f"seed={seed}"])
    file = run_dir / "figures.json"
    if not file.exists():
        if not train:
            return None
        console.print(f"[bold]{variant.name}[/bold], seed {seed}")
        Trainer(recipe).run()
        # Seed 0 whatever was trained: all runs are measured on the same clips.
        figures = measure(load_recipe(study.recipe, [*shared, "seed=0"]), run_dir / "agent", study, variant)
        write_json(file, figures)
    try:
        found: dict[str, Any] = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} holds no figures ({error}); remove it, they are measured again") from error
    return found


def measure(recipe: Recipe, agent: Path, study: Study, variant: Variant) -> dict[str, dict[str, float]]:
    """Figures of a trained run on the recipe's validation split, each with its 95 % interval."""
    if study.measure == "questions":
        found = curriculum_figures(recipe, agent.parent, study.clips, study.seconds)
        return {name: figure.to_dict() for name, figure in found.items()}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder: Any = registry.load_encoder(recipe.encoder.name, weights=str(agent / "encoder"), **recipe.encoder.options)
    encoder = encoder.to(device).eval()
    data = corpus.validation(recipe, study.clips, seconds=study.seconds, two_sources=float(variant.two_sources))
    if variant.two_sources:
        figures = two_sources(encoder, data, device)
    else:
        figures = single_source(listen(encoder, data, device))
        for rooms in study.rooms:
            figures |= _elsewhere(encoder, rooms, study, device)
    kept = study.figures or [name.partition(" in ")[0] for name in figures]
    return {name: figure.to_dict() for name, figure in figures.items() if name.partition(" in ")[0] in kept}


def _elsewhere(encoder: Any, rooms: str, study: Study, device: torch.device) -> Figures:
    """The figures of an encoder in rooms of another kind, on the same clips for every run."""
    run = Run(study.name, "", {})
    data = rooms_data(rooms, run, clips=study.clips, seconds=study.seconds, batch=32)
    heard = listen(encoder, data.one, device)
    place = rooms.partition(":")[0]
    return {f"{name} in {place}": figure for name, figure in (single_source(heard) | where_figures(heard)).items()}


def _outcome(measure_name: str, runs: Sequence[dict[str, Any]]) -> Outcome:
    half_widths = [(run[measure_name]["high"] - run[measure_name]["low"]) / 2 for run in runs]
    return Outcome(tuple(run[measure_name]["value"] for run in runs), float(np.mean(half_widths)) / NORMAL_95)


def _difference(line: str, names: Sequence[str]) -> tuple[str, str, str]:
    """``measure: a - b`` → its three parts."""
    measure_name, colon, pair = line.partition(":")
    first, dash, second = (part.strip() for part in pair.partition(" - "))
    if not colon or not dash or first not in names or second not in names:
        raise BadInput(f"difference {line!r} must be 'measure: variant - variant' with variants out of {list(names)}")
    return measure_name.strip(), first, second


def table(outcomes: Outcomes, measures: Sequence[str]) -> Table:
    """One row a variant, one column a measure: mean over seeds, its 95 % interval, and the values of the seeds.

    More measures than fit side by side are rows, and variants columns.
    """
    title = "mean over seeds (95 % interval) [each seed]"
    if len(measures) > MOST_COLUMNS:
        shown = Table("measure", *outcomes, title=title)
        for measure_name in measures:
            shown.add_row(measure_name, *(_cell(found.get(measure_name)) for found in outcomes.values()))
        return shown
    shown = Table("variant", *measures, title=title)
    for name, found in outcomes.items():
        shown.add_row(name, *(_cell(found.get(measure_name)) for measure_name in measures))
    return shown


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "–"
    half = NORMAL_95 * outcome.error
    seeds = " ".join(f"{value:.3g}" for value in outcome.values)
    return f"{outcome.mean:.3g} ({outcome.mean - half:.3g}…{outcome.mean + half:.3g})\n\\[{seeds}]"


def differences(study: Study, outcomes: Outcomes) -> list[str]:
    """The differences the study asks for, one line each; runs that are missing are left out."""
    lines = []
    for line in study.differences:
        measure_name, first, second = _difference(line, [variant.name for variant in study.variants])
        if {first, second} <= outcomes.keys():
            apart, error = outcomes[first][measure_name].minus(outcomes[second][measure_name])
            half = NORMAL_95 * error
            lines.append(f"{measure_name}, {first} − {second}: {apart:+.3g} ({apart - half:+.3g}…{apart + half:+.3g})")
    return lines
