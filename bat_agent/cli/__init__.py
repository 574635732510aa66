"""The command ``bat-agent``: one command, one file.

Importing this package costs milliseconds; what is heavy is imported inside the command that needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import bat_agent
from bat_agent.cli import ask, demo, doctor, perceive, plugins
from bat_agent.errors import BatAgentError

__all__ = ["app", "main"]

app = typer.Typer(
    name="bat-agent",
    help="Ears for embodied agents: two microphones in, what sounds where and plain-language answers out.",
    no_args_is_help=True,
    add_completion=False,
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


for _command in (ask.ask, perceive.perceive, demo.demo, plugins.plugins, doctor.doctor):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (default: ``sys.argv``); it ends with ``SystemExit``.

    Exit code 0 is success and 2 is bad input, said in one sentence on standard error.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="bat-agent")
    except (BatAgentError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
