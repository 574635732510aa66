"""``bat-agent evaluate qa``: how good answers to SpatialSoundQA are, a model's or those in a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_notes, print_table, print_tables
from bat_agent.cli.progress import progress_of
from bat_agent.errors import BadInput
from bat_agent.interfaces import CLIP_SECONDS

if TYPE_CHECKING:
    from bat_agent.evaluation.tables import Table
    from bat_agent.scoring import Answers, ClassScorer
    from bat_agent.scoring.data import Questions
    from bat_agent.scoring.report import Report
    from bat_agent.scoring.results import Result

NAMES = {"map": "mAP", "f1": "F1", "exact": "exact set", "region": "eight regions", "der": "DER"}
NAMES |= {"within_hour": "within an hour", "error_deg": "mean error", "heard": "heard or not"}
NAMES |= {"left_right": "left or right", "front_behind": "front or behind", "above_below": "above or below"}
_SWAP = "mirrored too"

Results = Annotated[
    list[str] | None,
    typer.Option("--result", metavar="FILE[=ROW,…]", help="scores.json of another run, for tables; may be repeated."),
]
Types = Annotated[str | None, typer.Option(metavar="A,B,…", help="Only these question types, by letter or name.")]
Embed = Annotated[
    str, typer.Option(metavar="SPEC", help="Class scores by lexical, sentence-transformers:NAME or api:MODEL.")
]
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write answers, scores and tables; resume a model's run.")
]


def qa(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A QA file, or a data set in the released layout.")],
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="A shipped model or a model's folder.")] = None,
    answers: Annotated[Path | None, typer.Option(help="Score the answers in this JSONL file; no model is run.")] = None,
    answers_swapped: Annotated[
        Path | None, typer.Option(help="With --answers: those to the mirrored questions, ears swapped.")
    ] = None,
    encoder: inputs.EncoderName = None,
    encoder_option: inputs.EncoderOptions = None,
    weights: inputs.Weights = None,
    reasoner: inputs.ReasonerName = None,
    reasoner_option: inputs.ReasonerOptions = None,
    root: Annotated[Path | None, typer.Option(help="Where the sounds of a QA file are; default: its data set.")] = None,
    stage: Annotated[int | None, typer.Option(min=1, max=5, help="Of a data set: the files of this stage.")] = None,
    types: Types = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many questions, evenly spread.")] = None,
    swap: Annotated[bool, typer.Option(help="Also ask about sides in a mirror, with the ears swapped.")] = True,
    embed: Embed = "lexical",
    class_embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Class names as they are embedded already, (355, D).")
    ] = None,
    whole_answer: Annotated[
        bool, typer.Option("--whole-answer", help="Embed whole answers, as the paper, not their parts.")
    ] = False,
    train: Annotated[Path | None, typer.Option(help="QA file that prompt only and majority learn from.")] = None,
    tables: Annotated[bool, typer.Option("--tables", help="Print tables 1, 2, 4, 10, 11, 12 of BAT with it.")] = False,
    row: Annotated[str | None, typer.Option(metavar="ROW,…", help="Its rows, such as 10/three-stages.")] = None,
    result: Results = None,
    name: Annotated[str | None, typer.Option(help="What to call it in the tables.")] = None,
    out: Out = None,
    seed: Annotated[int, typer.Option(min=0, help="Of chance answers and intervals.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Questions a model is asked at once.")] = 16,
    device: inputs.Device = None,
    threads: inputs.Threads = None,
    json: inputs.AsJson = False,
) -> None:
    """Score answers by question type, each figure with its 95 % interval, beside chance and the published figures."""
    from bat_agent.questions import parse_types
    from bat_agent.scoring.data import open_questions
    from bat_agent.scoring.report import evaluate_answers, write
    from bat_agent.scoring.results import parse_rows

    wanted = parse_types(types) if types is not None else ()
    instead = inputs.Instead(encoder, encoder_option, weights, reasoner, reasoner_option)
    subject = _Subject(model, answers, answers_swapped, instead, device, batch, swap, name, out)
    subject.check()
    others = _others(result, subject.name or "this run", row)
    scorer = _scorer(embed, class_embeddings, whole_answer)
    questions = open_questions(data, stage=stage, types=wanted, limit=limit, root=root)
    print_notes(questions.notes)
    said, mirrored, run = subject.answers_to(questions)
    with _steps() as progress:
        found = evaluate_answers(
            questions.records, said, scorer, run, swapped=mirrored, train=train, seed=seed, progress=progress
        )
    made = _tables(data, questions, [*found.results(parse_rows(row)), *others]) if tables or out is not None else []
    files = [*subject.kept, *write(found, out, made)] if out is not None else []
    if json:
        print_json(found.to_dict())
    else:
        _print(found, made if tables else [])
    print_notes(dict.fromkeys(part["why"] for part in found.unanswered.values()))
    print_notes([*found.notes, *([f"written: {', '.join(map(str, files))}"] if files else [])])


@dataclass
class _Subject:
    """Whose answers are scored, as the options say."""

    model: str | None
    file: Path | None
    file_swapped: Path | None
    instead: inputs.Instead
    device: str | None
    batch: int
    swap: bool
    name: str | None
    out: Path | None

    def check(self) -> None:
        """Tell now what would otherwise be told after minutes."""
        from bat_agent.evaluation.report import check_out

        listens = self.model or self.instead.encoder or self.instead.reasoner
        if self.file is not None and listens is not None:
            raise BadInput(f"MODEL {listens!r} and --answers {self.file} both name answers; give one of them")
        if self.file is None and self.file_swapped is not None:
            raise BadInput("--answers-swapped goes with --answers; a model is asked with swapped ears itself")
        for file in (self.file, self.file_swapped):
            if file is not None and not file.is_file():
                raise BadInput(f"no answers at {file}, expected a JSONL file; bat-agent evaluate qa --out writes one")
        if self.out is not None:
            check_out(self.out)

    @property
    def kept(self) -> list[Path]:
        """Files of answers in ``--out``."""
        from bat_agent.scoring.report import ANSWERS, SWAPPED

        return [self.out / name for name in (ANSWERS, SWAPPED) if self.out and (self.out / name).exists()]

    def answers_to(self, questions: Questions) -> tuple[Answers, Answers | None, dict[str, Any]]:
        """The answers, those with swapped ears, and what ``run`` of the scores says."""
        return self._read(questions) if self.file is not None else self._ask(questions)

    def _read(self, questions: Questions) -> tuple[Answers, Answers | None, dict[str, Any]]:
        from bat_agent.scoring.answers import read_answers
        from bat_agent.scoring.report import ANSWERS, SWAPPED, keep_answers

        found: list[Answers | None] = []
        for file, kept in ((self.file, ANSWERS), (self.file_swapped, SWAPPED)):
            said = None if file is None else read_answers(file, questions.keys).of(questions.numbers)
            found.append(said)
            if file is None or said is None:
                continue
            if not any(said.given):
                raise BadInput(f"{file} answers none of the {questions.words}; name the data that it is of")
            if self.out is not None:
                keep_answers(self.out, file, questions, said, kept)
        assert self.file is not None
        assert found[0] is not None
        run = {"name": self.name or self.file.stem, "data": questions.words, "answers": str(self.file)}
        return found[0], found[1], run

    def _ask(self, questions: Questions) -> tuple[Answers, Answers | None, dict[str, Any]]:
        from bat_agent.scoring.ask import AnswerLog, ask_all
        from bat_agent.scoring.report import ANSWERS, SWAPPED
        from bat_agent.scoring.score import about_sides

        chosen = (self.model or inputs.DEFAULT_MODEL, self.instead.encoder, self.instead.reasoner)
        called = " with ".join(filter(None, chosen))
        place = self.out or Path()
        paths = [place / kept if self.out is not None else None for kept in (ANSWERS, SWAPPED)]
        log = AnswerLog.open(paths[0], called, questions.keys)
        mirrored = AnswerLog.open(paths[1], called, questions.keys) if self.swap else None
        bat = inputs.of_torch(inputs.open_bat(self.model or inputs.DEFAULT_MODEL, self.device, self.instead))
        if bat.encoder.clip_seconds < CLIP_SECONDS:
            heard = f"{bat.encoder.clip_seconds:g} s of each clip of {CLIP_SECONDS:g} s"
            print_notes([f"{called} hears only the first {heard}, so some of its questions cannot be answered"])
        numbers = questions.numbers
        with progress_of("questions") as progress:
            ask_all(
                bat, questions.data, dict(zip(numbers, questions.records, strict=True)), log, swapped=mirrored,
                sided=[numbers[n] for n in about_sides(questions.records)], batch=self.batch, progress=progress,
            )  # fmt: skip
        run = {"name": self.name or bat.config.name, "data": questions.words, "model": called}
        return log.answers(numbers), None if mirrored is None else mirrored.answers(numbers), run


def _others(specs: list[str] | None, name: str, row: str | None) -> list[Result]:
    """Results of other runs; a row that does not exist is told now."""
    from bat_agent.scoring.results import Result, parse_rows, read_result
    from bat_agent.scoring.tables import check_rows

    others = [read_result(spec) for spec in specs or []]
    check_rows([*others, Result(name, {}, parse_rows(row))])
    return others


def _scorer(embed: str, class_embeddings: Path | None, whole: bool) -> ClassScorer:
    from bat_agent.scoring import ClassScorer, load_class_vectors, open_embedder

    vectors = None if class_embeddings is None else load_class_vectors(class_embeddings)
    scorer = ClassScorer(open_embedder(embed), vectors, whole)
    if vectors is not None:
        scorer(["speech"])  # an embedder that does not fit is told now
    return scorer


def _tables(data: Path, questions: Questions, results: list[Result]) -> list[Table]:
    from bat_agent.scoring.data import stage_counts
    from bat_agent.scoring.tables import answer_tables, curriculum, overview

    return [overview(questions.records), curriculum(stage_counts(data)), *answer_tables(results)]


@contextmanager
def _steps() -> Iterator[Any]:
    """Says what is scored, where a person watches."""
    from rich.console import Console

    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield lambda what: None
        return
    with console.status("scoring") as status:
        yield lambda what: status.update(f"scoring: {what}")


def _print(found: Report, tables: list[Table]) -> None:
    own, rows = found.scores.to_dict(), [scores.to_dict() for scores in found.rows.values()]
    lines = []
    for kind, figures in own["types"].items():
        for measure, figure in figures.items():
            beside = [row["types"].get(kind, {}).get(measure) for row in rows]
            lines.append(_line(_called(kind), measure, figure, beside))
    for measure, figure in own["binary"].items():
        what = "mean" if measure == "accuracy" else measure
        beside = [row["binary"].get(measure) for row in rows]
        lines.append(_line(f"E yes/no, {what}", "accuracy", figure, beside))
    lines += [_line(_called(kind), _SWAP, figure, [None] * len(rows)) for kind, figure in own["swap"].items()]
    for intent, figure in own.get("intents", {}).items():
        beside = [row.get("intents", {}).get(intent) for row in rows]
        lines.append(_line(f"F {intent}", "accuracy", figure, beside))
    lines += [_unanswered(kind, part, len(rows)) for kind, part in found.unanswered.items()]
    heading = f"{found.run['name']}: {found.run['data']}, class scores: {found.scores.embedder}"
    print_table(heading, ("type", "measure", "%", "95 % interval", "of", *found.rows), lines)
    print_tables(tables)


def _called(kind: str) -> str:
    from bat_agent.questions import QuestionType
    from bat_agent.scoring.score import ALL

    return "all" if kind == ALL else f"{QuestionType(kind).letter} {kind}"


def _unanswered(kind: str, part: dict[str, Any], rows: int) -> tuple[str, ...]:
    """A row for what cannot be answered: ``no head`` where the encoder lacks one."""
    figure = "no head" if re.search(r"\bno \w+ head\b", part["why"]) else "not answered"
    return (_called(kind), "", figure, "", f"{part['count']} of {part['of']}", *["–"] * rows)


def _line(kind: str, measure: str, figure: dict[str, float], beside: list[dict[str, float] | None]) -> tuple[str, ...]:
    """A figure with its interval, and the same measure of other rows."""
    scale, unit = (1.0, "°") if measure.endswith("_deg") else (100.0, "")
    cells = ("–" if other is None else f"{scale * other['value']:.1f}{unit}" for other in beside)
    value, low, high = (scale * figure[part] for part in ("value", "low", "high"))
    interval = f"{low:.1f} to {high:.1f}{unit}"
    return (kind, NAMES.get(measure, measure), f"{value:.1f}{unit}", interval, str(int(figure["count"])), *cells)
