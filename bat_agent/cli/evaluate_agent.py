"""``python -m bat_agent.evaluate MODEL RECIPE``: how good an agent is on a recipe's validation split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from bat_agent.agent import Bat
from bat_agent.cli import inputs
from bat_agent.clips import corpus
from bat_agent.errors import BadInput
from bat_agent.evaluation.agent import evaluate
from bat_agent.evaluation.intervals import Figure
from bat_agent.files.writing import write_json
from bat_agent.recipes.loading import load_recipe


def _table(found: dict[str, Any]) -> Table:
    table = Table("what", "measure", "value", "95 % interval", "of")
    parts = {name: part for name, part in found.items() if name != "questions"}
    for row, types in found.get("questions", {}).items():
        parts |= {f"questions, {row}": {f"{kind}/{m}": f for kind, part in types.items() for m, f in part.items()}}
    for part, measures in parts.items():
        for measure, figure in measures.items():
            if not measure.endswith(("malformed", "exact")):
                interval = f"{figure.low:.3f} – {figure.high:.3f}"
                table.add_row(part, measure, f"{figure.value:.3f}", interval, str(figure.count))
    return table


def as_json(found: Any) -> Any:
    """Figures as dictionaries."""
    if isinstance(found, dict):
        return {name: as_json(value) for name, value in found.items()}
    return found.to_dict() if isinstance(found, Figure) else found


def _check_out(out: Path) -> None:
    """Told now what would otherwise be told after an evaluation of minutes."""
    if out.is_dir() or not out.parent.is_dir():
        what = "it is a folder" if out.is_dir() else f"the folder {out.parent} does not exist"
        raise BadInput(f"cannot write the figures to {out}: {what}; choose another --out")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model, a folder, or a hub repository owner/name.")
    ],
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe whose validation split to use.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe, e.g. seed=1.")
    ] = None,
    clips: Annotated[int, typer.Option(min=2, help="Single-source clips; half as many with two.")] = 1000,
    questions: Annotated[int, typer.Option(min=4, help="How many questions to ask.")] = 4000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the clips.")] = 10.0,
    threads: inputs.Threads = None,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Measure an agent on sounds, rooms and wordings that it was not trained on."""
    if out:
        _check_out(out)
    if threads is None and not torch.cuda.is_available():
        torch.set_num_threads(1)
    settings = load_recipe(recipe, overrides)
    corpus.open_pool(settings, "valid")  # what is wrong with the sounds is told before rooms are rendered
    found = evaluate(Bat.from_pretrained(model), settings, clips=clips, questions=questions, seconds=seconds)
    Console().print(_table(found))
    if out:
        write_json(out, as_json(found))
