"""Runs evaluated stage by stage: each finished reasoner stage is asked the same questions, and answers are kept.

Runs of one recipe that differ in their seed stand in one row, as the mean over the seeds.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.evaluation.tables import NONE, Table
from bat_agent.questions import QuestionType
from bat_agent.recipes.loading import to_yaml
from bat_agent.scoring.ask import AnswerLog, Progress, ask_all
from bat_agent.scoring.asked import QuestionSet, oracle_encodings
from bat_agent.scoring.classes import ClassScorer
from bat_agent.scoring.curricula import rows_of
from bat_agent.scoring.report import ANSWERS, Report, evaluate_answers, write_json
from bat_agent.scoring.results import FILE, Result
from bat_agent.scoring.rows import PROMPT_ONLY, RANDOM
from bat_agent.scoring.score import Scores
from bat_agent.scoring.tables import answer_tables
from bat_agent.scoring.trained import Ears, TrainedRun

FOLDER = "evaluation"
"""Where answers and scores of a stage are kept, in its folder."""
SEEDS_NOTE = "Rows of several seeds are their mean ± its standard error over the seeds."
_NO_MATTER: dict[str, Any] = {"seed": 0, "run_dir": "", "rooms_dir": None, "workers": 1}
"""What may differ in recipes of one row."""
Begin = Callable[[str], Progress]
"""What is asked → its progress."""

_T = QuestionType
MAIN = (
    ("A", "F1", _T.CLASSIFICATION, "f1"),
    ("B", "eight regions", _T.DOA, "region"),
    ("B", "DER ↓", _T.DOA, "der"),
    ("C", "F1", _T.MIXUP_SINGLE_CLASSIFICATION, "f1"),
    ("D", "eight regions", _T.MIXUP_SINGLE_DOA, "region"),
    ("D", "DER ↓", _T.MIXUP_SINGLE_DOA, "der"),
    ("E", "yes/no, direction", None, "direction"),
    ("E", "yes/no, distance", None, "distance"),
    ("E", "yes/no, mean", None, "accuracy"),
    ("N", "direction, accuracy", _T.MIXUP_NONBINARY_DIRECTION, "accuracy"),
    ("N", "distance, DER ↓", _T.MIXUP_NONBINARY_DISTANCE, "der"),
    ("N", "source, F1", _T.MIXUP_NONBINARY_SOURCE, "f1"),
    ("P", "accuracy", _T.PLAIN, "accuracy"),
)
"""Letter, words, question type (``None`` for the yes/no answers of table 4) and measure of the overview by stage."""


@dataclass(frozen=True)
class StageReport:
    """What one run is worth after one of its stages."""

    run: TrainedRun
    stage: str
    report: Report
    questions: QuestionSet
    rows: tuple[str, ...]
    """Rows of the paper's tables that it stands in."""
    file: Path
    """Its scores."""


@dataclass(frozen=True)
class Row:
    """A stage of one run, or of runs that differ in their seed."""

    name: str
    """What the tables call it."""
    stage: str
    reports: list[StageReport]
    """One a seed."""
    last: bool
    """Whether it is the last stage that was asked."""

    @property
    def scores(self) -> dict[str, Any]:
        """As ``Scores.to_dict`` gives them; of several seeds their mean."""
        return averaged([each.report.scores.to_dict() for each in self.reports])

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows of the paper's tables that it stands in."""
        return self.reports[0].rows

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "name": self.name,
            "stage": self.stage,
            "rows": list(self.rows),
            "seeds": [each.run.recipe.seed for each in self.reports],
            "runs": [str(each.run.folder) for each in self.reports],
            "files": [str(each.file) for each in self.reports],
            "scores": self.scores,
        }


@dataclass
class Evaluation:
    """Asks and scores; what several runs have in common is computed once."""

    scorer: ClassScorer
    device: str | None = None
    batch: int = 16
    begin: Begin = lambda what: lambda done, total: None
    notes: list[str] = field(default_factory=list)
    """What to know about the figures so far."""
    _beside: dict[str, dict[str, Scores]] = field(default_factory=dict)

    def of(self, run: TrainedRun, questions: QuestionSet) -> list[StageReport]:
        """Every stage of ``run``; its answers and ``scores.json`` are in ``RUN/STAGE/evaluation``.

        Raises :class:`~bat_agent.errors.BadInput` where other answers are there, or nothing can be written.
        """
        logs = [self._log(run, number, questions) for number in range(len(run.stages))]
        if any(number not in log.found for log in logs for number in questions.records):
            self._ask(run, questions, logs)
        return [self._report(run, number, questions, log) for number, log in enumerate(logs)]

    def _log(self, run: TrainedRun, number: int, questions: QuestionSet) -> AnswerLog:
        stage = run.stages[number]
        folder = run.folder / stage.name / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        who = hashlib.sha256(f"{run.weights_id(stage)} {run.oracle_heads} {questions.id}".encode()).hexdigest()[:12]
        model = f"{run.recipe.name}/{stage.name} {who}"
        return AnswerLog.open(folder / ANSWERS, model, questions.keys, advice=f"move {folder} away to ask anew")

    def _ask(self, run: TrainedRun, questions: QuestionSet, logs: Sequence[AnswerLog]) -> None:
        ears = Ears(run, self.device)
        heard, whole = ears.encoder.clip_seconds, questions.seconds
        encode = (
            oracle_encodings(questions.records, ears.encoder.token_dim, run.oracle_tokens) if run.oracle_heads else None
        )
        if encode is None and heard < whole:
            self.notes.append(
                f"{run.folder} hears only the first {heard:g} s of each clip of {whole:g} s, so some of its questions "
                "cannot be answered"
            )
        for stage, log in zip(run.stages, logs, strict=True):
            what = f"questions ({run.folder.name}/{stage.name})"
            ask_all(
                ears.after(stage), questions.sound, questions.records, log, batch=self.batch, encode=encode,
                progress=self.begin(what),
            )  # fmt: skip

    def _report(self, run: TrainedRun, number: int, questions: QuestionSet, log: AnswerLog) -> StageReport:
        stage = run.stages[number].name
        rows = rows_of(run.recipe, stage)
        about = {
            "name": f"{run.recipe.name}/{stage}", "data": questions.words, "model": log.model, "stage": stage,
            "training_seed": run.recipe.seed, "oracle_heads": run.oracle_heads, "rows": list(rows),
        }  # fmt: skip
        records, answers = list(questions.records.values()), log.answers(list(questions.records))
        beside = self._beside.get(questions.id)
        found = evaluate_answers(records, answers, self.scorer, about, rows=beside)
        self._beside[questions.id] = found.rows
        self.notes += found.notes
        assert log.path is not None
        file = write_json(log.path.parent / FILE, found.to_dict())
        return StageReport(run, stage, found, questions, rows, file)


def rows_by_seed(reports: Iterable[StageReport]) -> list[list[Row]]:
    """For each recipe its stages in their order, runs that differ in seed (and place) alone in one row."""
    groups: dict[str, dict[str, list[StageReport]]] = defaultdict(lambda: defaultdict(list))
    for each in reports:
        groups[to_yaml(replace(each.run.recipe, **_NO_MATTER))][each.stage].append(each)
    found = list(groups.values())
    order = [list(dict.fromkeys(stage.name for some in g.values() for one in some for stage in one.run.stages))
             for g in found]  # fmt: skip
    names = _names([next(iter(group.values()))[0].run for group in found])
    return [
        [Row(_called(name, stage, group[stage]), stage, group[stage], stage == stages[-1]) for stage in stages]
        for name, stages, group in zip(names, order, found, strict=True)
    ]


def _names(runs: Sequence[TrainedRun]) -> list[str]:
    """The names of the recipes, or of the folders where recipes of one name differ."""
    names = [run.recipe.name for run in runs]
    return [run.folder.resolve().name if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]


def _called(name: str, stage: str, reports: Sequence[StageReport]) -> str:
    seeds = f", {len(reports)} seeds" if len(reports) > 1 else ""
    return f"{name}/{stage}{', oracle heads' if reports[0].run.oracle_heads else ''}{seeds}"


def averaged(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each figure over seeds, with the standard error of that mean in place of its interval, and each
    seed's own value; of one seed its scores as they are.
    """
    if len(scores) == 1:
        return scores[0]
    types = {kind: None for each in scores for kind in each["types"]}
    first = scores[0]
    return {
        **first,
        "types": {kind: _mean([each["types"].get(kind, {}) for each in scores]) for kind in types},
        **{part: _mean([each[part] for each in scores]) for part in ("binary", "swap")},
        "notes": list(dict.fromkeys(note for each in scores for note in each["notes"])),
    }


def _mean(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in figures for name in each):
        those = [each[name] for each in figures if name in each]
        values = [figure["value"] for figure in those]
        mean = float(np.mean(values))
        error = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
        found[name] = {**those[0], "value": mean, "low": mean - error, "high": mean + error, "seeds": values}
    return found


def by_stage(rows: Sequence[Row]) -> Table:
    """What each stage of one recipe improved: the main figure of each question type, stage by stage, beside chance and
    what the question alone gives away.
    """
    computed = rows[0].reports[0].report.rows
    columns = [(row.stage, row.scores) for row in rows]
    columns += [(name, computed[name].to_dict()) for name in (RANDOM, PROMPT_ONLY) if name in computed]
    lines = []
    for letter, words, kind, measure in MAIN:
        figures = [(s["binary"] if kind is None else s["types"].get(kind.value, {})).get(measure) for _, s in columns]
        if any(figures):
            lines.append((letter, words, *map(_cell, figures)))
    name = rows[-1].name.replace(f"/{rows[-1].stage}", "", 1)
    title = f"{name}, stage by stage: {rows[0].reports[0].questions.words}, in per cent"
    note = SEEDS_NOTE if any(len(row.reports) > 1 for row in rows) else "In brackets 95 % intervals over the questions."
    return Table(title, ("type", "measure", *(name for name, _ in columns)), tuple(lines), note)


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return NONE
    value, low, high = (100 * figure[part] for part in ("value", "low", "high"))
    return f"{value:.1f}±{(high - low) / 2:.1f}" if "seeds" in figure else f"{value:.1f} [{low:.1f}, {high:.1f}]"


def paper_tables(groups: Sequence[Sequence[Row]]) -> list[Table]:
    """Tables 4, 10, 11 and 12 of BAT with every row where it belongs. Table 4 takes at its end the last stage of what
    has no row in it, but no stages on the way there.
    """
    rows = [row for group in groups for row in group]
    beside = rows[0].reports[0].report.rows
    computed = [Result(name, scores.to_dict(), computed=name) for name, scores in beside.items()]
    ours = [Result(row.name, row.scores, row.rows) for row in rows]
    ends = [result for row, result in zip(rows, ours, strict=True) if row.last or _in_table_4(row)]
    first, *others = answer_tables([*computed, *ends])[:1] + answer_tables([*computed, *ours])[1:]
    more = SEEDS_NOTE if any(len(row.reports) > 1 for row in rows) else ""
    return [replace(table, note=f"{table.note} {more}".strip()) for table in (first, *others)]


def _in_table_4(row: Row) -> bool:
    return any(id_.startswith("4/") for id_ in row.rows)


def notes_of(groups: Sequence[Sequence[Row]]) -> list[str]:
    """What to know before figures are compared."""
    rows = [row for group in groups for row in group]
    reports = [each for row in rows for each in row.reports]
    notes = [note for each in reports for note in (*each.run.notes, *each.questions.notes)]
    if any(each.run.oracle_heads for each in reports):
        notes.append("a run marked as oracle heads heard no sound: it was told by an encoder that is always right")
    if len({each.questions.id for each in reports}) > 1:
        notes.append("the runs were asked different questions, so their figures cannot be compared; give --data")
    for group in groups:
        end = group[-1]
        if not end.rows:
            notes.append(f"{end.name} is no run of tables 4, 10, 11 and 12, so it stands at the end of table 4")
    return list(dict.fromkeys(notes))
