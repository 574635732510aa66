"""``bat-agent evaluate free``: how well a model answers free questions when it hears perfectly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_table
from bat_agent.cli.progress import progress_of
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.evaluation.intervals import Figure
    from bat_agent.questions import QARecord


def free(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="A shipped model or a model's folder.")] = None,
    answers: Annotated[Path | None, typer.Option(help="Score the answers in this JSONL file; no model is run.")] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the questions with their truth as a QA file, and stop.")
    ] = None,
    reasoner: inputs.ReasonerName = None,
    reasoner_option: inputs.ReasonerOptions = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many questions, intent after intent.")] = 640,
    seed: Annotated[int, typer.Option(min=0, help="Another number asks other questions.")] = 25,
    split: Annotated[
        Literal["eval", "judge"],
        typer.Option(help="Voices of validation, or those that judge: ask these once something is finished."),
    ] = "eval",
    batch: Annotated[int, typer.Option(min=1, help="Questions a model is asked at once.")] = 16,
    device: inputs.Device = None,
    threads: inputs.Threads = None,
    json: inputs.AsJson = False,
) -> None:
    """Ask a fixed set of free questions, in voices never trained on, of one who hears what is true; right by intent."""
    from bat_agent.questions import write_records
    from bat_agent.questions.free.fixed import fixed_records
    from bat_agent.scoring.free import ALL, by_intent, free_scores

    records = fixed_records(count, seed, split=split)
    if write is not None:
        write_records(write, records)
        print(f"{len(records)} questions: {write}")
        return
    if answers is not None and model is not None:
        raise BadInput(f"MODEL {model!r} and --answers {answers} both name answers; give one of them")
    instead = inputs.Instead(reasoner=reasoner, reasoner_options=reasoner_option)
    said = _read(answers, records) if answers is not None else _ask(model, instead, records, batch, device)
    figures = by_intent(records, said)
    scores = [free_scores(record, text) or {} for record, text in zip(records, said, strict=True)]
    understood = 1 - sum(one["malformed"] for one in scores) / len(scores)
    if json:
        print_json({"understood": understood, "intents": {name: figure.to_dict() for name, figure in figures.items()}})
        return
    order = [ALL, *(name for name in figures if name != ALL)]
    print_table(
        f"Free questions: {100 * understood:.1f} % understood",
        ("intent", "right", "95 % interval", "of"),
        [_line(name, figures[name]) for name in order],
    )


def _line(name: str, figure: Figure) -> tuple[str, ...]:
    interval = f"{100 * figure.low:.1f} to {100 * figure.high:.1f}"
    return name, f"{100 * figure.value:.1f} %", interval, str(figure.count)


def _ask(
    model: str | None, instead: inputs.Instead, records: list[QARecord], batch: int, device: str | None
) -> list[str]:
    from bat_agent.scoring.asked import oracle_encodings

    bat = inputs.of_torch(inputs.open_bat(model or inputs.DEFAULT_MODEL, device, instead))
    encode = oracle_encodings(dict(enumerate(records)), bat.encoder.token_dim)
    said: list[str] = []
    with progress_of("questions") as progress:
        for first in range(0, len(records), batch):
            some = range(first, min(first + batch, len(records)))
            replies = bat.reasoner.answer(encode(some), [records[n].question for n in some])
            said += [str(reply) for reply in replies]
            progress(len(said), len(records))
    return said


def _read(file: Path, records: list[QARecord]) -> list[str]:
    from bat_agent.scoring.answers import read_answers

    if not file.is_file():
        raise BadInput(f"no answers at {file}, expected a JSONL file such as evaluate qa --out writes")
    found = read_answers(file, [record.key for record in records])
    return [text if isinstance(text, str) else "" for text in found.texts]
