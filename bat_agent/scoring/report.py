"""One scoring from answers to the folder it is written into: the system, the rows to compare with, the tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.evaluation.tables import Table
from bat_agent.files.writing import write_bytes
from bat_agent.questions import QARecord
from bat_agent.scoring.answers import Answers, write_answers
from bat_agent.scoring.classes import ClassScorer
from bat_agent.scoring.data import Questions
from bat_agent.scoring.results import FILE, FORMAT, Result
from bat_agent.scoring.rows import comparison_rows
from bat_agent.scoring.score import Scores, about_sides, score

ANSWERS, SWAPPED, TABLES = "answers.jsonl", "answers-swapped.jsonl", "tables.md"


@dataclass(frozen=True)
class Report:
    """What one system's answers are worth, and what those of the computed rows are."""

    run: dict[str, Any]
    """What was scored: ``name``, ``data``, ``answers`` or ``model``, ``seed``."""
    scores: Scores
    rows: dict[str, Scores]
    """Name of the row (:mod:`bat_agent.scoring.rows`) → its scores."""
    notes: tuple[str, ...] = ()
    unanswered: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Question type → ``count`` of questions that the system cannot answer, ``of`` all, and ``why``; they are not among
    those that are scored."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what ``scores.json`` holds."""
        return {
            "format": FORMAT,
            "run": self.run,
            "scores": self.scores.to_dict(),
            "rows": {name: scores.to_dict() for name, scores in self.rows.items()},
            "notes": list(self.notes),
            **({"unanswered": self.unanswered} if self.unanswered else {}),
        }

    def results(self, rows: tuple[str, ...] = ()) -> list[Result]:
        """As tables take them: the computed rows, then the system, which stands in ``rows``."""
        computed = [Result(name, scores.to_dict(), computed=name) for name, scores in self.rows.items()]
        return [*computed, Result(self.run["name"], self.scores.to_dict(), rows)]


def evaluate_answers(
    records: Sequence[QARecord],
    answers: Answers,
    scorer: ClassScorer,
    run: dict[str, Any],
    *,
    swapped: Answers | None = None,
    train: Path | None = None,
    seed: int = 0,
    rows: Mapping[str, Scores] | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Report:
    """Score one system and the rows to compare it with (which learn from the QA file ``train``, where one is given).

    ``rows`` are those of another report on the same questions, which are then not scored again. ``progress`` is told
    the name of every row before it is scored. What the system cannot answer, for lack of a head, is left out of all
    rows and counted. Raises :class:`~bat_agent.errors.BadInput` where that is all, and as
    :func:`~bat_agent.scoring.score.score` and :func:`~bat_agent.scoring.rows.comparison_rows` do.
    """
    progress(run["name"])
    unanswered = _unanswered(records, answers)
    if unanswered:
        can = [n for n, why in enumerate(answers.failed or []) if why is None]
        if not can:
            raise BadInput(
                f"none of the {len(records)} questions can be answered: {next(filter(None, answers.failed or []))}"
            )
        records, answers = [records[n] for n in can], answers.of(can)
        swapped = None if swapped is None else swapped.of(can)
    notes = list(answers.notes)
    if swapped is not None:
        of_sides = swapped.of(about_sides(records))
        notes += [f"with the ears swapped, {note}" for note in of_sides.notes]
    texts = None if swapped is None else swapped.texts
    found = score(records, answers.texts, embedder=scorer, seed=seed, swapped=texts)
    beside = dict(rows or {})
    for name, said in comparison_rows(records, seed, train).items() if rows is None else ():
        progress(name)
        beside[name] = score(records, said, embedder=scorer, seed=seed)
    return Report({**run, "seed": seed}, found, beside, tuple(dict.fromkeys([*notes, *found.notes])), unanswered)


def _unanswered(records: Sequence[QARecord], answers: Answers) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for record, why in zip(records, answers.failed or [None] * len(records), strict=True):
        if why is not None:
            of = found.setdefault(record.type.value, {"count": 0, "of": 0, "why": why})
            of["count"] += 1
    for record in records:
        if record.type.value in found:
            found[record.type.value]["of"] += 1
    return found


def keep_answers(folder: Path, source: Path, questions: Questions, answers: Answers, name: str = ANSWERS) -> None:
    """Write the answers that were read from ``source`` into the folder, in the format that models' are written in.

    Raises :class:`~bat_agent.errors.BadInput` where other answers are there already.
    """
    file = folder / name
    if file.exists() and file.samefile(source):
        return
    given = [place for place, there in enumerate(answers.given) if there]
    before = file.read_bytes() if file.is_file() else None
    chosen = answers.of(given)
    new = folder / f".{name}.new"
    try:
        write_answers(
            new,
            [questions.records[n] for n in given],
            chosen.texts,
            chosen.confidences,
            [questions.numbers[n] for n in given],
        )
        if before is not None and new.read_bytes() != before:
            raise BadInput(f"{file} holds other answers already; choose another --out or move the file away")
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


def write(report: Report, folder: Path, tables: Sequence[Table]) -> list[Path]:
    """``scores.json`` and ``tables.md``; returns the files.

    Raises :class:`~bat_agent.errors.BadInput` where they cannot be written.
    """
    return [write_json(folder / FILE, report.to_dict()), write_tables(folder / TABLES, tables)]


def write_json(file: Path, content: Any) -> Path:
    """JSON with its end of line, all or nothing; returns the file."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(file, text.encode("utf-8", "replace"), folder=True)
    return file


def write_tables(file: Path, tables: Sequence[Table]) -> Path:
    """Tables as Markdown, all or nothing; returns the file."""
    write_bytes(file, "\n".join(table.markdown() for table in tables).encode("utf-8", "replace"), folder=True)
    return file
