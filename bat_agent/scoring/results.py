"""Finished scorings as rows of tables, and the file they stay in: ``scores.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json

FORMAT = 1
FILE = "scores.json"


@dataclass(frozen=True)
class Result:
    """Figures of one system, as tables take them."""

    name: str
    """What its row is called."""
    scores: dict[str, Any]
    """As ``Scores.to_dict`` gives them."""
    rows: tuple[str, ...] = ()
    """Rows that it was told to stand in."""
    computed: str | None = None
    """Which row of :mod:`bat_agent.scoring.rows` it is, if it is one."""


def parse_rows(text: str | None) -> tuple[str, ...]:
    """``4/three-stages,10/three-stages`` → ids of rows."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def read_result(spec: str) -> Result:
    """Read ``FILE`` or ``FILE=ROW[,ROW]``: the ``scores.json`` of another scoring, or its folder, for these rows.

    Raises :class:`~bat_agent.errors.BadInput` where there is no such file, or something else in it.
    """
    place, equals, rows = spec.rpartition("=")
    file = Path(place if equals else spec)
    if not equals or not file.exists():
        # A folder may have "=" in its name.
        file, rows = (file, rows) if equals and not Path(spec).exists() else (Path(spec), "")
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        raise BadInput(f"no scores at {file}; bat-agent evaluate qa DATA --out DIR writes DIR/{FILE}")
    try:
        data = parse_json(file.read_text(encoding="utf-8"))
        name, scores = str(data["run"]["name"]), data["scores"]
        figures = [*scores["binary"].values(), *(f for found in scores["types"].values() for f in found.values())]
        for figure in figures:
            _ = figure["value"] + figure["low"] + figure["high"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{file} holds no scores of answers ({error!r:.80}), expected what bat-agent evaluate qa --out wrote; "
            "score those answers again"
        ) from error
    return Result(name, scores, parse_rows(rows))
