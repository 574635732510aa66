"""Our runs beside the published figures: every run in the row it fits, as cells for the terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bat_agent.errors import BadInput
from bat_agent.evaluation.published import (
    ALL_TASKS,
    COMPARABLE_NOTE,
    FIGURE_2_NOTE,
    FIGURE_2_TITLE,
    MEASURES,
    SPATIAL_AST,
    TABLES,
    Published,
    Row,
)
from bat_agent.evaluation.runs import Result, Run

NONE = "–"
HEADINGS = {"map": "mAP % ↑", "er20": "ER20 % ↓", "mae_deg": "MAE ° ↓", "der": "DER % ↓"}
_SCALE = {"map": 100.0, "er20": 100.0, "mae_deg": 1.0, "der": 100.0}


@dataclass(frozen=True)
class Table:
    """A table of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """As Markdown, with a heading."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"### {self.title}\n\n{body}\n" + (f"\n{self.note}\n" if self.note else "")


def tables(results: Sequence[Result]) -> list[Table]:
    """Tables 3, 7 and 8 and figure 2 with every result beside the rows it fits.

    A result that fits none stands at the end of table 3. Raises :class:`~bat_agent.errors.BadInput` for a row that does
    not exist.
    """
    known = [row.id for table in TABLES for row in table.rows]
    for result in results:
        if result.row is not None and result.row not in known:
            raise BadInput(f"no row {result.row!r} for {result.run.name}; rows are {', '.join(known)}")
    homeless = [r for r in results if not any(fits(row, r) for table in TABLES for row in table.rows)]
    found = [_table(table, results, homeless if table.id == "3" else []) for table in TABLES]
    return [replace(found[0], note=COMPARABLE_NOTE), *found[1:], _figure_2(results)]


def fits(row: Row, result: Result) -> bool:
    """Whether a result belongs beside a row: told to, or, where it was told nothing, by what it was."""
    if result.row is not None:
        return result.row == row.id
    return bool(row.match) and all(_is(result.run, name, wanted) for name, wanted in row.match.items())


def lambda_sweep(results: Sequence[Result]) -> list[Result]:
    """What figure 2 is drawn from: binaural Spatial-ASTs with every task, by λ1."""
    chosen = [
        r
        for r in results
        if r.run.encoder in SPATIAL_AST
        and r.run.features == "mel+ipd"
        and r.run.tasks == ALL_TASKS
        and r.run.training in ("joint", "stage 2")
        and r.run.class_weight is not None
    ]
    return sorted(chosen, key=lambda r: r.run.class_weight or 0.0)


def cell(figure: dict[str, float] | None, measure: str) -> str:
    """``48.1 [46.9, 49.4]`` in the unit of the tables."""
    if figure is None:
        return NONE
    value, low, high = (_SCALE[measure] * figure[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _is(run: Run, name: str, wanted: object) -> bool:
    value = getattr(run, name)
    return value in wanted if name == "encoder" and isinstance(wanted, tuple) else value == wanted


def _table(table: Published, results: Sequence[Result], homeless: Iterable[Result]) -> Table:
    columns = (*table.columns, "whose", *(HEADINGS[measure] for measure in table.measures))
    lines: list[tuple[str, ...]] = []
    for row in table.rows:
        figures = dict(zip(MEASURES, row.published, strict=True))
        published = (NONE if figures[m] is None else f"{figures[m]:.2f}" for m in table.measures)
        lines.append((*row.words, "paper", *published))
        lines += [_ours(result, table, row.words) for result in results if fits(row, result)]
    lines += [_ours(result, table, _words(result.run)) for result in homeless]
    return Table(table.title, columns, tuple(lines))


def _ours(result: Result, table: Published, words: tuple[str, ...]) -> tuple[str, ...]:
    return (*words, f"ours: {result.run.name}", *(cell(result.figures.get(m), m) for m in table.measures))


def _words(run: Run) -> tuple[str, ...]:
    """A run as a row of table 3."""
    audio = {"mono": "mono"}.get(run.features or "", "binaural")
    heard = {"mono": "mel", "mel+ipd": "mel, IPD"}.get(run.features or "", run.features or "?")
    training = run.training or "?"
    extras = [] if run.normalise else ["level as it is"]
    extras += {"full": [], "direct": ["direct sound only"], "none": ["no room"]}.get(run.reverberation, [])
    return run.encoder, audio, heard, ", ".join([training, *extras])


def _figure_2(results: Sequence[Result]) -> Table:
    rows = [
        (f"{r.run.class_weight:g}", f"ours: {r.run.name}", *(cell(r.figures.get(m), m) for m in ("map", "mae_deg")))
        for r in lambda_sweep(results)
    ]
    rows.append(("1250", "paper", "50.03", "17.94"))
    columns = ("λ1", "whose", HEADINGS["map"], HEADINGS["mae_deg"])
    return Table(FIGURE_2_TITLE, columns, tuple(rows), FIGURE_2_NOTE)
