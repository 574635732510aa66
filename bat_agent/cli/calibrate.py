"""``bat-agent evaluate calibrate``: confidences that come true, fitted on validation clips and kept with the model."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_table
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.clips.recorded import Batches
    from bat_agent.evaluation.report import Data

OTHER_CLIPS = 20
"""Seed of the clips to fit on, so that they are not those that evaluation measures on."""


def calibrate(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the model; its config.json is rewritten.")],
    recipe: Annotated[str | None, typer.Option(help="Recipe whose validation split to fit on.")] = None,
    overrides: inputs.RecipeChanges = None,
    manifest: Annotated[Path | None, typer.Option(help="Instead: the clips of bat-agent evaluate manifest.")] = None,
    clips: Annotated[int, typer.Option(min=40, help="Clips with one source, of a recipe.")] = 1000,
    two_sources: Annotated[int, typer.Option(min=0, help="Further clips with two sources, of a recipe.")] = 500,
    questions: Annotated[int, typer.Option(min=0, help="Questions to fit the confidence of answers on.")] = 4000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a recipe's clips.")] = 10.0,
    batch: Annotated[int, typer.Option(min=1, help="Clips that are encoded at once.")] = 32,
    device: inputs.Device = None,
    threads: inputs.Threads = None,
    json: inputs.AsJson = False,
) -> None:
    """Fit the confidence of everything a model says to how often it is right, and write the curves into the model, with
    the thresholds from which on a side is named.
    """
    from bat_agent.evaluation.calibrate import calibrate as fit
    from bat_agent.evaluation.calibrate import named_from
    from bat_agent.hearing.model_folder import CONFIG_FILE, write_config

    if not (model / CONFIG_FILE).is_file():
        raise BadInput(f"{model} is no folder of a model, expected one with {CONFIG_FILE}; give the folder itself")
    bat = inputs.of_torch(inputs.open_bat(str(model), device))
    data = _data((recipe, overrides), manifest, (clips, two_sources), seconds, batch)
    asked = _questions(recipe, overrides, questions, seconds, batch) if recipe and questions else None
    curves, checks = fit(bat, data, asked)
    thresholds = named_from(bat.config.thresholds, curves)
    write_config(replace(bat.config, calibration=curves, thresholds=thresholds), model)
    if json:
        print_json(
            {"calibration": curves.to_dict(), "sides": thresholds.sides, "checks": [asdict(check) for check in checks]}
        )
        return
    rows = [(c.output, str(c.clips), f"{100 * c.before:.1f} %", f"{100 * c.after:.1f} %") for c in checks]
    columns = ("output", "statements", "error before", "after")
    print_table("Expected calibration error, on clips the curve was not fitted on", columns, rows)
    print(
        "a side is named from "
        + ", ".join(f"{p:.2f} ({axis.replace('_', ' or ')})" for axis, p in thresholds.sides.items())
    )
    print(f"written: {model / CONFIG_FILE}")


def _data(
    wanted: tuple[str | None, list[str] | None],
    manifest: Path | None,
    counts: tuple[int, int],
    seconds: float,
    batch: int,
) -> Data:
    from bat_agent.evaluation import report
    from bat_agent.evaluation.runs import Run
    from bat_agent.recipes.loading import load_recipe

    recipe, overrides = wanted
    if (recipe is None) == (manifest is None):
        raise BadInput("name the clips to fit on, either with --recipe NAME or with --manifest FILE")
    if manifest is not None:
        return report.manifest_data(manifest, batch, Run("", "", {}))
    assert recipe is not None
    return report.recipe_data(load_recipe(recipe, overrides), *counts, seconds, batch, seed=OTHER_CLIPS)


def _questions(recipe: str, overrides: list[str] | None, wanted: int, seconds: float, batch: int) -> Batches:
    from bat_agent.clips import corpus
    from bat_agent.evaluation.agent import PER_CLIP, REASONING_LETTERS
    from bat_agent.recipes.loading import load_recipe

    return corpus.validation(
        load_recipe(recipe, overrides),
        max(wanted // PER_CLIP, 1),
        seconds=seconds,
        two_sources=0.6,
        letters=REASONING_LETTERS,
        questions_per_clip=PER_CLIP,
        clips_per_batch=batch,
        seed=OTHER_CLIPS + 2,
    )
