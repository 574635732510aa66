"""``bat-agent llm``: language models to talk with, by one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_notes, print_table

if TYPE_CHECKING:
    from bat_agent.language.store import Got

app = typer.Typer(help="Language models for the reasoners llama, scene-prompt and talk.", no_args_is_help=True)


@app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="smollm2-135m, or a GGUF file (Llama family).")],
    again: Annotated[bool, typer.Option("--again", help="Convert it anew, though it lies ready.")] = False,
    json: inputs.AsJson = False,
) -> None:
    """Find a language model, convert it once into the cache, try it out, and say where it lies."""
    from bat_agent.language.store import get as get_model

    got = get_model(name, again=again)
    about = described(got)
    if json:
        print_json(about)
        return
    rows = [(key, f"{value:,}" if isinstance(value, int) else str(value)) for key, value in about.items()]
    print_table("", ("what", "found"), [row for row in rows if row[0] not in ("notes", "new")])
    print(f"{'converted just now' if got.new else 'lies ready'}; the reasoner llama takes it as llm={name}")
    print_notes(about["notes"])


def described(got: Got) -> dict[str, Any]:
    """What there is to say of a language model."""
    notes = got.notes
    return {
        "model": notes["title"],
        "licence": notes["licence"],
        "parameters": notes["parameters"],
        "tensors": notes["tensors"],
        "file": str(got.file),
        "file_bytes": got.file.stat().st_size,
        "folder": str(got.folder),
        "folder_bytes": got.bytes,
        "trial": f"{notes['asked']!r} goes on with {notes['said']!r}",
        "new": got.new,
        "notes": notes["notes"],
    }
