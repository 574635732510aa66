"""The command ``bat-agent``: one command, one file.

Importing this package costs milliseconds: of the commands only that which is called is imported, and what is heavy is
imported inside it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

import bat_agent
from bat_agent.cli.entry import run_app
from bat_agent.cli.renamed import BAT_AGENT

__all__ = ["app", "main"]

COMMANDS = {
    "ask": "ask", "perceive": "perceive", "demo": "demo", "render": "render", "serve": "serve", "plugins": "plugins",
    "doctor": "doctor", "new-plugin": "new_plugin", "train": "main", "export": "export", "dataset": "app",
    "evaluate": "app", "llm": "app",
}  # fmt: skip
"""Name of a command → what it is in the module of that name: a function, or the ``app`` of a group; in the order of the
help."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bat-agent {bat_agent.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _app(names: Sequence[str]) -> typer.Typer:
    """The command with some of its commands."""
    built = typer.Typer(
        name="bat-agent",
        help="Ears for embodied agents: two microphones in, what sounds where and plain-language answers out.",
        epilog="Start with: bat-agent demo",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    built.callback()(_root)
    for name in names:
        found = getattr(importlib.import_module(f"bat_agent.cli.{name.replace('-', '_')}"), COMMANDS[name])
        if isinstance(found, typer.Typer):
            built.add_typer(found, name=name)
        else:
            built.command(name)(found)
    return built


def __getattr__(name: str) -> Any:
    if name == "app":
        return _app(list(COMMANDS))
    raise AttributeError(f"module 'bat_agent.cli' has no attribute {name!r}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line (default: ``sys.argv``); it ends with ``SystemExit``, see :func:`run_app`."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    called = given[0] if given and given[0] in COMMANDS else None
    run_app(_app([called] if called else list(COMMANDS)), "bat-agent", given, BAT_AGENT)
