"""``bat-agent evaluate``: how well an encoder hears and a model answers, beside the published figures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bat_agent.cli import inputs
from bat_agent.cli.calibrate import calibrate
from bat_agent.cli.evaluate_free import free
from bat_agent.cli.evaluate_manifest import manifest, numbers_of
from bat_agent.cli.evaluate_qa import qa
from bat_agent.cli.evaluate_run import run
from bat_agent.cli.output import print_json, print_notes, print_table, print_tables
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.evaluation.report import Data, Report
    from bat_agent.evaluation.runs import Result, Run
    from bat_agent.recipes.schema import Recipe

_WORST = 10
_FEWEST_CLIPS = 5

app = typer.Typer(
    help="Measure encoders on fixed clips, and answers to questions, beside the published figures.",
    no_args_is_help=True,
)


class Decode(str, Enum):
    """How one direction and distance are read from the bins."""

    kernel = "kernel"
    released = "released"


Results = Annotated[
    list[str] | None,
    typer.Option(
        "--result", metavar="FILE[=ROW]", help="figures.json of another run, for --tables; may be given again."
    ),
]


@app.command()
def encoder(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="A shipped model or a model's folder.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Instead of MODEL: a bare encoder (bat-agent plugins).")] = None,
    encoder_option: inputs.EncoderOptions = None,
    weights: inputs.Weights = None,
    manifest: Annotated[Path | None, typer.Option(help="The clips, from bat-agent evaluate manifest.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Recipe of the clips (its validation split) unless --manifest; default: MODEL's.")
    ] = None,
    overrides: inputs.RecipeChanges = None,
    rooms: Annotated[
        str | None, typer.Option(metavar="measured:DIR", help="Instead: rooms that were measured, or of a simulator.")
    ] = None,
    sounds: Annotated[
        list[str] | None, typer.Option(help="Libraries of sounds for --rooms; default: fold 4 of the recordings.")
    ] = None,
    folds: Annotated[str | None, typer.Option(metavar="N,N", help="Folds of --sounds to take, such as 4.")] = None,
    trained_by: Annotated[str | None, typer.Option(help="Recipe it was trained by, where none is found.")] = None,
    clips: Annotated[int, typer.Option(min=2, help="Clips with one source, of a recipe or --rooms.")] = 1000,
    two_sources: Annotated[int, typer.Option(min=0, help="Further clips with two sources, of a recipe.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a recipe's clips.")] = 10.0,
    decode: Annotated[Decode, typer.Option(help="Read bins as the agent does, or the best one as released.")] = (
        Decode.kernel
    ),
    swap: Annotated[bool, typer.Option(help="Also listen with the ears swapped (takes twice as long).")] = True,
    tables: Annotated[bool, typer.Option("--tables", help="Print tables 3, 7, 8 and figure 2 of BAT with it.")] = False,
    row: Annotated[str | None, typer.Option(help="Its row in the tables, such as 3/released; default: as it fits.")] = (
        None
    ),
    result: Results = None,
    name: Annotated[str | None, typer.Option(help="What to call it in the tables.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write figures, tables and pictures here.")] = (
        None
    ),
    batch: Annotated[int, typer.Option(min=1, help="Clips that are encoded at once.")] = 32,
    device: inputs.Device = None,
    threads: inputs.Threads = None,
    json: inputs.AsJson = False,
) -> None:
    """Class, direction and distance of clips with one source, each figure with its 95 % interval; and more."""
    from bat_agent.evaluation import report
    from bat_agent.evaluation.real_rooms import by_room, rooms_data, where_figures
    from bat_agent.evaluation.runs import read_result
    from bat_agent.evaluation.tables import tables as make_tables

    if manifest is not None and recipe is not None:
        raise BadInput("--manifest and --recipe both name clips; give one of them (and --trained-by for the training)")
    others = [read_result(spec) for spec in result or []]
    if out is not None:
        report.check_out(out)
    options = inputs.key_values(encoder_option or [], "--encoder-option")
    subject = _subject(model, encoder, weights, options, trained_by, device, name)
    make_tables([*others, _no_figures(subject.run, row)])  # a row that does not exist is told now
    _check_rooms(rooms, sounds, folds, other=bool(manifest or recipe or two_sources))
    data = (
        _data(subject, manifest, recipe, overrides, (clips, two_sources), seconds, batch)
        if rooms is None
        else rooms_data(
            rooms, subject.run, clips=clips, seconds=seconds, batch=batch, sounds=sounds or (), folds=numbers_of(folds)
        )
    )
    with _progress() as progress:
        found = report.evaluate_encoder(
            subject.encoder, data, subject.run, subject.device, decode=decode.value, swap=swap,
            calibration=subject.calibration, thresholds=subject.thresholds, recipe=subject.recipe,
            stage=subject.stage, progress=progress,
        )  # fmt: skip
    if rooms is not None:
        found.figures["where"] = where_figures(found.heard, decode.value)
        found.figures |= by_room(found.heard, data.one.clips, decode.value)
    files = report.write(found, out, others, row) if out is not None else []
    if json:
        print_json(found.to_dict())
    else:
        _print(found)
    if tables and not json:
        _print_tables([found.result(row), *others])
    print_notes([f"written: {', '.join(map(str, files))}"] if files else [])


app.command()(manifest)
app.command()(calibrate)
app.command()(qa)
app.command()(free)
app.command()(run)


@app.command("tables")
def tables_(
    results: Annotated[list[str] | None, typer.Argument(metavar="[FILE[=ROW]]…", help="figures.json of runs.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    json: inputs.AsJson = False,
) -> None:
    """Tables 3, 7, 8 and figure 2 of BAT with the figures of finished evaluations beside the published ones."""
    from dataclasses import asdict

    from bat_agent.evaluation.runs import read_result
    from bat_agent.evaluation.tables import tables as make_tables

    found = [read_result(spec) for spec in results or []]
    if json:
        print_json([asdict(table) for table in make_tables(found)])
    elif markdown:
        print("\n".join(table.markdown() for table in make_tables(found)))
    else:
        _print_tables(found)


@dataclass
class _Subject:
    """What is evaluated."""

    encoder: Any
    run: Run
    device: Any
    recipe: Recipe | None
    """What it was trained by, where that is known."""
    stage: str | None = None
    """The stage whose weights these are; ``None`` for the last."""
    calibration: Any = None
    thresholds: Any = None


def _subject(
    model: str | None,
    encoder: str | None,
    weights: Path | None,
    options: dict[str, Any],
    trained_by: str | None,
    device: str | None,
    name: str | None,
) -> _Subject:
    import torch

    from bat_agent.evaluation.runs import Run
    from bat_agent.registry import config_of, load_encoder

    read: tuple[Any, Any] = (None, None)
    if encoder is None:
        if weights is not None or options:
            raise BadInput("--weights and --encoder-option belong to --encoder NAME; a MODEL brings its own")
        bat = inputs.of_torch(inputs.open_bat(model or inputs.DEFAULT_MODEL, device))
        config = bat.config
        kind, options, where = config.encoder["name"], config.encoder["options"], model or inputs.DEFAULT_MODEL
        module, place, called, read = bat.encoder, bat.device, config.name, (config.calibration, config.thresholds)
        recipe, stage = _recipe_of_model(where, config.name), None
    else:
        if model is not None:
            raise BadInput(f"MODEL {model!r} and --encoder {encoder} both name what to evaluate; give one of them")
        inputs.check_device(device)
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        module = load_encoder(encoder, weights=weights, **options)
        none = "none, drawn by lot" if inputs.has_weights(module) else "none"
        kind, where, called = encoder, str(weights or none), encoder
        recipe, stage = _recipe_of_weights(weights)
        if isinstance(module, torch.nn.Module):
            module.to(place).eval()
        if hasattr(module, "as_probabilities"):
            module.as_probabilities = True  # as in an agent: confidences are measured here
    recipe = _load_recipe(trained_by, None) if trained_by else recipe
    features = getattr(config_of("encoder", kind, options), "features", None)
    run = Run(name or called, kind, options, features, weights=where)
    if recipe is not None:
        level, room = recipe.mixing.normalise, recipe.mixing.reverberation
        run = replace(run, normalise=level, reverberation=room, recipe=recipe.name)
    return _Subject(module, run, place, recipe, stage, *read)


def _recipe_of_model(model: str, name: str) -> Recipe | None:
    """The recipe in the run folder that a model lies in, or the shipped one of its name."""
    from bat_agent.recipes.loading import shipped_recipes

    beside = Path(model).expanduser().resolve().parent / "recipe.yaml"
    if Path(model).is_dir() and beside.is_file():
        return _load_recipe(str(beside), None)
    return _load_recipe(name, None) if name in shipped_recipes() else None


def _recipe_of_weights(weights: Path | None) -> tuple[Recipe | None, str | None]:
    """Of ``RUN/STAGE/…`` the recipe of the run and the stage."""
    if weights is None:
        return None, None
    folder = weights if weights.is_dir() else weights.parent
    beside = folder.resolve().parent / "recipe.yaml"
    return (_load_recipe(str(beside), None), folder.resolve().name) if beside.is_file() else (None, None)


def _load_recipe(name: str, overrides: list[str] | None) -> Recipe:
    from bat_agent.recipes.loading import load_recipe

    return load_recipe(name, overrides)


def _data(
    subject: _Subject,
    manifest: Path | None,
    recipe: str | None,
    overrides: list[str] | None,
    counts: tuple[int, int],
    seconds: float,
    batch: int,
) -> Data:
    from bat_agent.evaluation import report

    if manifest is not None:
        return report.manifest_data(manifest, batch, subject.run)
    known = subject.run.recipe or "no-name"
    if recipe is None and subject.recipe is None:
        raise BadInput("no clips to evaluate on; name them with --manifest FILE or --recipe NAME")
    settings = _load_recipe(recipe, overrides) if recipe is not None else subject.recipe
    if recipe is None and overrides:
        raise BadInput(f"--set changes a recipe that --recipe names; add --recipe {known}")
    assert settings is not None
    if subject.recipe is not None and not any(change.startswith("mixing.") for change in overrides or []):
        # Heard as it was trained, level and room included: BAT's table 8 does the same.
        mixing = replace(settings.mixing, normalise=subject.run.normalise, reverberation=subject.run.reverberation)
        settings = replace(settings, mixing=mixing)
    return report.recipe_data(settings, *counts, seconds, batch)


def _check_rooms(rooms: str | None, sounds: list[str] | None, folds: str | None, other: bool) -> None:
    if rooms is not None and other:
        raise BadInput("--rooms names its clips itself; leave out --manifest, --recipe and --two-sources")
    if rooms is None and (sounds or folds):
        raise BadInput("--sounds and --folds belong to --rooms; a recipe or a manifest names its own")


def _no_figures(run: Run, row: str | None) -> Result:
    from bat_agent.evaluation.runs import Result

    return Result(run, {}, row)


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar for each part, where a person watches; on standard error, so that JSON stays alone."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:

        def begin(what: str) -> Any:
            task = bars.add_task(what, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield begin


def _print(found: Report) -> None:
    from bat_agent.evaluation.report import EXPECTED, NAMES

    rows = []
    for part, figures in found.figures.items():
        for measure, figure in figures.items():
            scale, unit = (1.0, "°") if "mae_deg" in measure else (1.0, " m") if "mae_m" in measure else (100.0, " %")
            value, low, high = (scale * number for number in (figure.value, figure.low, figure.high))
            title = NAMES.get(measure, measure.replace("_", ", "))
            rows.append((part, title, f"{value:.1f}{unit}", f"{low:.1f} to {high:.1f}{unit}", str(figure.count)))
        if part == "one source":
            rows += [(part, NAMES[measure], "no head", "", "") for measure in EXPECTED if measure not in figures]
    heading = f"{found.run.name}: {found.run.data}, decoded as {found.decode}"
    print_table(heading, ("part", "measure", "figure", "95 % interval", "of"), rows)
    regions = [(name, f"{int(r['clips'])}", f"{r['heard']:.0%}") for name, r in found.regions.items()]
    if regions:
        print_table("Regions", ("true region", "clips", "heard there"), regions)
    known = [row for row in found.classes if row.clips >= _FEWEST_CLIPS and row.average_precision is not None]
    worst = sorted(known, key=lambda row: row.average_precision or 0.0)[:_WORST]
    if worst:
        cells = [
            (row.label, str(row.clips), f"{100 * (row.average_precision or 0):.1f} %", _degrees(row.mae_deg))
            for row in worst
        ]
        title = f"Worst classes of {_FEWEST_CLIPS} clips or more (all: --out, per_class.csv)"
        print_table(title, ("class", "clips", "AP", "MAE"), cells)


def _degrees(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}°"


def _print_tables(results: list[Result]) -> None:
    from bat_agent.evaluation.tables import tables as make_tables

    print_tables(make_tables(results))
