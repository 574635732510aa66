"""``bat-agent train RECIPE [key=value …]``, for torchrun ``python -m bat_agent.train``: train, or say what it costs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_table

if TYPE_CHECKING:
    from bat_agent.recipes.schema import Recipe

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes, e.g. seed=1 stages.0.steps=100.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train nothing; say what it would cost.")] = False,
    threads: inputs.Threads = None,
) -> None:
    """Train an agent by a recipe. Run the same command again to resume."""
    import torch

    from bat_agent import distributed
    from bat_agent.recipes.loading import load_recipe
    from bat_agent.training.trainer import Trainer

    # Questions are only tokenised in this process, so worker processes need no warning about it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if threads is None and not torch.cuda.is_available():
        # Data is made in worker processes; a second OpenMP thread here would fight with them for the cores.
        torch.set_num_threads(1)
    settings = load_recipe(recipe, overrides)
    if dry_run:
        _print_costs(settings)
        return
    try:
        Trainer(settings).run()
    finally:
        if distributed.world_size() > 1:
            torch.distributed.destroy_process_group()


def _print_costs(recipe: Recipe) -> None:
    """Print what every stage of a recipe costs, and how long it would take on this device."""
    import torch

    from bat_agent.training import costs

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = recipe.precision == "bf16"
    rate = costs.matmul_rate(device, torch.bfloat16 if half else torch.float32)
    stages = costs.stage_costs(recipe)
    print_table(
        f"{recipe.name}: what it would cost (nothing was trained)", costs.COLUMNS, costs.rows(stages, rate, device.type)
    )
    total = costs.duration(sum(cost.seconds(rate, device.type) for cost in stages))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    reached = 100 * costs.REACHED[device.type]
    print(
        f"Together {total} on {name}, rendering and validation not counted; what could not be timed here was counted "
        f"at {reached:.0f} % of {rate / 1e12:.2g} TFLOP/s in {'bfloat16' if half else 'float32'}. "
        "Clips, questions and TFLOP are those of a step, memory that of a process; M: million parameters."
    )
    if assumed := [cost.name for cost in stages if cost.assumed]:
        print(f"Their records are not at hand, so the released ones were counted: {', '.join(assumed)}.")
