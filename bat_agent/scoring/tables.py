"""Tables 1, 2, 4, 10, 11 and 12 of BAT with ours beside the published figures, as cells for terminal or Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.evaluation.metrics import Asked
from bat_agent.evaluation.tables import NONE, Table
from bat_agent.questions import QuestionType
from bat_agent.scoring.published import (
    BEYOND,
    COMPARABLE_NOTE,
    MEASURES,
    SOURCES_NOTE,
    TABLE_1,
    TABLE_2,
    TABLES,
    Kind,
    Published,
    Row,
)
from bat_agent.scoring.results import Result
from bat_agent.scoring.rows import MAJORITY

HEADINGS = ("mAP A|C ↑", "Acc B|D ↑", "DER B|D ↓", "BA direction ↑", "BA distance ↑", "BA mean ↑")
_PLACES = {
    "map_a": (QuestionType.CLASSIFICATION, "map"),
    "map_c": (QuestionType.MIXUP_SINGLE_CLASSIFICATION, "map"),
    "acc_b": (QuestionType.DOA, "region"),
    "acc_d": (QuestionType.MIXUP_SINGLE_DOA, "region"),
    "der_b": (QuestionType.DOA, "der"),
    "der_d": (QuestionType.MIXUP_SINGLE_DOA, "der"),
}
_BINARY = {"direction": "direction", "distance": "distance", "mean": "accuracy"}


def overview(records: Sequence[Asked]) -> Table:
    """Table 1: what is asked how often, with an example of these questions, beside the paper's numbers."""
    counts = Counter(record.type.letter for record in records)
    examples = {letter: next(r for r in records if r.type.letter == letter) for letter in counts}
    kinds = [*TABLE_1, *(kind for kind in BEYOND if counts[kind.letter])]
    rows = tuple(_overview_row(kind, counts, examples) for kind in kinds)
    columns = ("type", "sources", "paper", "here", "question", "answer")
    note = "The paper counts training questions; here stand those that were scored."
    return Table("BAT, table 1: question types", columns, rows, note)


def _overview_row(kind: Kind, counts: Counter[str], examples: Mapping[str, Asked]) -> tuple[str, ...]:
    number, total = counts[kind.letter], counts.total()
    here = f"{number}, {100 * number / total:.1f} %" if number else NONE
    example = examples.get(kind.letter)
    shown = (example.text, example.answer) if example else (NONE, NONE)
    return f"{kind.letter}: {kind.asks}", kind.sources, kind.count, here, *shown


def curriculum(stages: Mapping[int, Counter[str]]) -> Table:
    """Table 2: the questions of each stage, beside the paper's; ``stages`` as
    :func:`bat_agent.scoring.data.stage_counts` counts them.
    """
    most = max((stages[stage].total() for stage in (1, 2, 3) if stage in stages), default=0)
    rows: list[tuple[str, ...]] = []
    for stage, types, samples, share in TABLE_2:
        rows.append((str(stage), types, "paper", samples, share))
        if stage in stages:
            rows.append(_stage_row(stage, stages[stage], most))
    rows += [_stage_row(stage, stages[stage], most) for stage in sorted(stages) if stage > len(TABLE_2)]
    columns = ("stage", "question types", "whose", "samples", "share")
    return Table("BAT, table 2: the curriculum", columns, tuple(rows), "Shares are of the largest of stages 1 to 3.")


def _stage_row(stage: int, counts: Counter[str], most: int) -> tuple[str, ...]:
    share = f"{100 * counts.total() / most:.1f} %" if most else NONE
    return str(stage), ", ".join(sorted(counts)), "ours", str(counts.total()), share


def answer_tables(results: Sequence[Result]) -> list[Table]:
    """Tables 4, 10, 11 and 12 with every result in the rows it was told to stand in, or, for a computed row, in those
    that it is. What has no row in table 4 stands at its end.

    Raises :class:`~bat_agent.errors.BadInput` for a row that does not exist.
    """
    check_rows(results)
    found = [_table(table, results) for table in TABLES]
    return [replace(found[0], note=f"{COMPARABLE_NOTE} {SOURCES_NOTE}"), *found[1:]]


def check_rows(results: Sequence[Result]) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` for a result told to stand in a row that does not exist."""
    known = [row.id for table in TABLES for row in table.rows]
    for result in results:
        for row in result.rows:
            if row not in known:
                raise BadInput(f"no row {row!r} for {result.name}; rows are {', '.join(known)}")


def fits(row: Row, result: Result) -> bool:
    """Whether a result belongs beside a row."""
    return row.id in result.rows or (row.match is not None and row.match == result.computed)


def figure_of(scores: Mapping[str, Any], measure: str) -> Mapping[str, float] | None:
    """One of :data:`~bat_agent.scoring.published.MEASURES` in what ``Scores.to_dict`` gives; ``None`` if not there."""
    if measure in _BINARY:
        figures, name = scores["binary"], _BINARY[measure]
    else:
        kind, name = _PLACES[measure]
        figures = scores["types"].get(kind.value, {})
    found: Mapping[str, float] | None = figures.get(name)
    return found


def cell(figure: Mapping[str, float] | None) -> str:
    """``48.1±1.2`` in per cent: a figure and half the width of its interval."""
    if figure is None:
        return NONE
    return f"{100 * figure['value']:.1f}±{50 * (figure['high'] - figure['low']):.1f}"


def _table(table: Published, results: Sequence[Result]) -> Table:
    lines: list[tuple[str, ...]] = []
    for row in table.rows:
        cells = [NONE if number is None else f"{number:.2f}" for number in row.published]
        lines.append((*row.words, row.source, *_paired(cells, table.binary)))
        lines += [_ours(result, row.words, table.binary) for result in results if fits(row, result)]
    if not table.binary:
        homeless = [result for result in results if not any(fits(row, result) for row in table.rows)]
        lines += [_ours(result, (result.name, _input(result)), table.binary) for result in homeless]
    headings = HEADINGS[3:] if table.binary else HEADINGS
    return Table(table.title, (*table.columns, "whose", *headings), tuple(lines))


def _ours(result: Result, words: tuple[str, ...], binary: bool) -> tuple[str, ...]:
    whose = "ours" if result.computed else f"ours: {result.name}"
    if result.computed:  # the published row of the same kind may be a model's
        words = (result.name.capitalize(), *words[1:])
    return (*words, whose, *_paired([cell(figure_of(result.scores, m)) for m in MEASURES], binary))


def _input(result: Result) -> str:
    return "P" if result.computed == MAJORITY else NONE  # of others nobody knows what they heard


def _paired(cells: Sequence[str], binary: bool) -> list[str]:
    """Nine figures as six cells, or the last three: those of A and C, and of B and D, share one."""
    pairs = [] if binary else [f"{cells[n]} | {cells[n + 1]}" for n in (0, 2, 4)]
    return [*(NONE if pair == f"{NONE} | {NONE}" else pair for pair in pairs), *cells[6:]]
