"""``python -m bat_agent.study STUDY``: train and measure one recipe in several variants and seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bat_agent.errors import BadInput

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a shipped study, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to all variants of the recipe.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this variant; may be given several times.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only this seed; may be given several times.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where the runs lie; runs/NAME unless given.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Train nothing, print what there is.")] = False,
) -> None:
    """Train and measure the variants of a study. Run the same command again to go on."""
    import torch

    from bat_agent.training.study import console, differences, load_study, run_study, table

    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    chosen = load_study(study)
    chosen = replace(chosen, seeds=seed or chosen.seeds)
    names = [variant.name for variant in chosen.variants]
    if unknown := set(only or ()) - set(names):
        raise BadInput(f"study {chosen.name} has no variant {sorted(unknown)[0]!r}; it has {', '.join(names)}")
    outcomes = run_study(chosen, folder or Path("runs") / chosen.name, only or (), overrides or (), not report)
    measures = list(dict.fromkeys(name for found in outcomes.values() for name in found))
    console.print(table(outcomes, measures))
    for line in differences(chosen, outcomes):
        console.print(line)
