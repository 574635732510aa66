"""The command ``bat-agent``: one command, one file.

Importing this package costs milliseconds; what is heavy is imported inside the command that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

import bat_agent
from bat_agent.cli import (
    ask,
    dataset,
    demo,
    doctor,
    evaluate,
    export,
    llm,
    new_plugin,
    perceive,
    plugins,
    render,
    serve,
    train,
)
from bat_agent.cli.entry import run_app
from bat_agent.cli.renamed import BAT_AGENT

__all__ = ["app", "main"]

app = typer.Typer(
    name="bat-agent",
    help="Ears for embodied agents: two microphones in, what sounds where and plain-language answers out.",
    epilog="Start with: bat-agent demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bat-agent {bat_agent.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for _command in (ask.ask, perceive.perceive, demo.demo, render.render, serve.serve, plugins.plugins, doctor.doctor):
    app.command()(_command)
app.command("new-plugin")(new_plugin.new_plugin)
app.command("train")(train.main)
app.command("export")(export.export)
app.add_typer(dataset.app, name="dataset")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(llm.app, name="llm")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line (default: ``sys.argv``); it ends with ``SystemExit``, see :func:`run_app`."""
    run_app(app, "bat-agent", arguments, BAT_AGENT)
