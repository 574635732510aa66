"""``bat-agent evaluate manifest``: clips to evaluate on, drawn once and for all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json
from bat_agent.errors import BadInput


def manifest(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The manifest, such as eval.jsonl.")],
    sounds: Annotated[
        list[str] | None, typer.Option(help="A library, such as audioset:ROOT/eval; may be given again.")
    ] = None,
    folds: Annotated[str | None, typer.Option(metavar="N,N", help="Folds of the library to take, such as 4.")] = None,
    rirs: Annotated[str | None, typer.Option(metavar="ROOT", help="RIRs in the released layout.")] = None,
    simulator: Annotated[str | None, typer.Option(help="What draws and renders rooms instead of --rirs.")] = None,
    simulator_option: inputs.SimulatorOptions = None,
    recipe: Annotated[
        str | None, typer.Option(help="Instead of all these: the validation split of this recipe.")
    ] = None,
    overrides: inputs.RecipeChanges = None,
    clips: Annotated[int | None, typer.Option(min=1, help="How many clips; default: every sound once.")] = None,
    two_sources: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of clips with two sources.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the clips.")] = 10.0,
    going_on: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of clips whose sounds began before; default: the recipe's, or 0."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another number draws other clips.")] = 0,
    json: inputs.AsJson = False,
) -> None:
    """Draw clips to evaluate on, once and for all: which sound, in which room, at which place."""
    from bat_agent.evaluation.draw import (
        DrawnPlaces,
        Places,
        RecipePlaces,
        ReleasedPlaces,
        draw_clips,
        libraries_of,
        open_library,
    )
    from bat_agent.evaluation.manifest import write_manifest
    from bat_agent.recipes.loading import load_recipe

    places: Places
    if recipe is not None:
        if sounds or folds or rirs or simulator or simulator_option:
            raise BadInput("--recipe names sounds and rooms already; leave out --sounds, --folds, --rirs, --simulator")
        settings = load_recipe(recipe, overrides)
        libraries, places = libraries_of(settings), RecipePlaces(settings)
        share = settings.mixing.going_on if going_on is None else going_on
    else:
        if not sounds or (rirs is None) == (simulator is None) or overrides:
            raise BadInput("name --sounds and either --rirs or --simulator, or a --recipe (to which --set belongs)")
        libraries = [open_library(spec, numbers_of(folds)) for spec in sounds]
        options = inputs.key_values(simulator_option or [], "--simulator-option")
        places = ReleasedPlaces(rirs) if rirs is not None else DrawnPlaces(str(simulator), options)
        share = going_on or 0.0
    count = clips or sum(len(library.sounds) for library in libraries)
    drawn = draw_clips(libraries, places, count, seed=seed, two_sources=two_sources, seconds=seconds, going_on=share)
    write_manifest(out, drawn)
    if json:
        print_json({"manifest": str(out), "clips": count, "seed": seed})
    else:
        print(f"{count} clips in {out}")


def numbers_of(folds: str | None) -> list[int] | None:
    """The numbers of ``--folds N,N``; raises :class:`~bat_agent.errors.BadInput` for anything else."""
    if folds is None:
        return None
    parts = folds.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise BadInput(f"--folds {folds!r} was not understood, expected whole numbers such as 4 or 1,2")
    return [int(part) for part in parts]
