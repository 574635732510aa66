"""``bat-agent evaluate run``: what each stage of a training run improved, and the paper's tables from run folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_notes, print_tables
from bat_agent.cli.progress import progress_of
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.evaluation.tables import Table
    from bat_agent.scoring.stages import Row
    from bat_agent.scoring.trained import TrainedRun

TABLES_JSON = "tables.json"


def run(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders that bat_agent.train wrote.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Ask these: a QA file or a SpatialSoundQA data set.")
    ] = None,
    questions: Annotated[int | None, typer.Option(min=1, help="At most so many, evenly spread.")] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage; may be given again.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write the tables: Markdown and JSON.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Questions that are asked at once.")] = 16,
    device: inputs.Device = None,
    threads: inputs.Threads = None,
    json: inputs.AsJson = False,
) -> None:
    """Ask every finished reasoner stage of training runs the same questions; tables 4, 10, 11 and 12 with all runs."""
    from bat_agent.evaluation.report import check_out
    from bat_agent.scoring import ClassScorer, LexicalEmbedder
    from bat_agent.scoring.asked import questions_of
    from bat_agent.scoring.report import TABLES, write_json, write_tables
    from bat_agent.scoring.stages import Evaluation, by_stage, notes_of, paper_tables, rows_by_seed

    trained = _open(runs, tuple(stage or ()))
    inputs.check_device(device)
    if out is not None:
        check_out(out)
    shared = questions_of(trained[0].recipe, data, questions) if data is not None else None
    asked = [shared or questions_of(each.recipe, None, questions) for each in trained]
    with _bars() as begin:
        evaluation = Evaluation(ClassScorer(LexicalEmbedder()), device, batch, begin)
        pairs = zip(trained, asked, strict=True)
        groups = rows_by_seed(report for each, those in pairs for report in evaluation.of(each, those))
    tables = [*map(by_stage, groups), *paper_tables(groups)]
    notes = [*notes_of(groups), *evaluation.notes]
    found = _plain(groups, tables, notes)
    files = [write_tables(out / TABLES, tables), write_json(out / TABLES_JSON, found)] if out is not None else []
    if json:
        print_json(found)
    else:
        print_tables(tables)
    print_notes([*notes, *([f"written: {', '.join(map(str, files))}"] if files else [])])


def _open(folders: list[Path], only: tuple[str, ...]) -> list[TrainedRun]:
    """The runs, each once; those without any of the stages that are asked for are left out."""
    from bat_agent.scoring.trained import open_run

    places = list({folder.resolve(): folder for folder in folders}.values())
    found = [open_run(place, only) for place in places]
    there = {stage.name for each in found for stage in each.stages}
    if missing := [name for name in only if name not in there]:
        have = sorted({stage.name for place in places for stage in open_run(place).stages})
        raise BadInput(f"no run has a finished reasoner stage {missing[0]!r}; there are {', '.join(have)}")
    return [each for each in found if each.stages]


@contextmanager
def _bars() -> Iterator[Any]:
    """One bar after the other."""
    with ExitStack() as stack:

        def begin(what: str) -> Any:
            stack.close()
            return stack.enter_context(progress_of(what))

        yield begin


def _plain(groups: list[list[Row]], tables: list[Table], notes: list[str]) -> dict[str, Any]:
    """JSON-able."""
    first = groups[0][0].reports[0].report
    return {
        "results": [row.to_dict() for group in groups for row in group],
        "rows": {name: scores.to_dict() for name, scores in first.rows.items()},
        "tables": [asdict(table) for table in tables],
        "notes": notes,
    }
