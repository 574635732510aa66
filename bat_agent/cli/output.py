"""How commands print: tables and JSON to standard output, remarks to standard error."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from bat_agent.evaluation.tables import Table as TextTable

_WIDTH_OF_A_FILE = 120
_BESIDE_A_COLUMN = 2  # a blank of padding and the (invisible) line between columns


def print_json(value: Any) -> None:
    """``value`` as indented JSON; numbers that JSON does not know (NaN) are refused, not written."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_at_once(text: str) -> None:
    """Text as it is, for whoever reads while it comes."""
    sys.stdout.write(text)
    sys.stdout.flush()


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table as wide as the terminal, or 120 columns where there is none; cells are taken literally."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    measured = sys.stdout.isatty() or "COLUMNS" in os.environ
    # Labels and file names may hold brackets and colons, which rich would read as markup and emoji.
    console = Console(width=None if measured else _WIDTH_OF_A_FILE, markup=False, emoji=False, highlight=False)
    columns, lines = list(columns), [tuple(row) for row in rows]
    roomy = sum(len(column) + _BESIDE_A_COLUMN for column in columns) < console.width
    table: Table = Table(
        title=title or None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", title_style="bold"
    )
    for number, column in enumerate(columns):
        # Cells are folded, so that nothing is lost; a header is not, as half a word on each line cannot be read.
        header = Text(column, no_wrap=True, overflow="ellipsis")
        narrow = all(len(line[number]) <= len(column) for line in lines)
        least = len(column) if roomy else None
        table.add_column(header, overflow="fold", min_width=least, no_wrap=roomy and narrow)
    for line in lines:
        table.add_row(*line)
    console.print(table)


def print_tables(tables: Iterable[TextTable]) -> None:
    """Each with its title, and its note below it."""
    for table in tables:
        print_table(table.title, table.columns, table.rows)
        if table.note:
            print(textwrap.fill(table.note, 100) + "\n")


def print_notes(notes: Iterable[str]) -> None:
    """Each remark once, to standard error, so that it never mixes with the answer."""
    for note in dict.fromkeys(notes):
        print(f"note: {note}", file=sys.stderr)
