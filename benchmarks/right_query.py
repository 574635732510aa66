"""What is lost in reading: a model's answers to free questions beside what the right queries get from the same heads.

    python benchmarks/right_query.py [--model bat-talk] [--split eval|judge] [--count 640]     # hearing the truth
    python benchmarks/right_query.py --data ROOT/closed-end/stage5-free/eval-stage5-free.json  # by ear

A record holds the query that its question asks. That query is answered by the machinery of ``talk`` with the thresholds
of the model, and the model's own answer is marked by the same truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bat_agent import load
from bat_agent.evaluation.intervals import mean_figure
from bat_agent.hearing.posterior import hear
from bat_agent.interfaces import Encoding
from bat_agent.questions import QARecord
from bat_agent.questions.free import read_query
from bat_agent.questions.free.fixed import fixed_records
from bat_agent.questions.free.marking import score_free
from bat_agent.scoring.asked import oracle_encodings
from bat_agent.scoring.data import open_questions
from bat_agent.scoring.free import NOT_UNDERSTOOD, truth_of
from bat_agent.sound.waveform import fit
from bat_agent_talk.answering import answer
from bat_agent_talk.scene import Scene

Heard = Callable[[int], Encoding]
CANNOT, YES_NO = "cannot be heard", ("yes", "no")


def what_is_asked(given: argparse.Namespace, bat: object) -> tuple[dict[int, QARecord], Heard]:
    """Records by number, and the encoding of what each is about."""
    if given.data is None:
        records = dict(enumerate(fixed_records(given.count, split=given.split)))
        encode = oracle_encodings(records, 768)
        return records, lambda number: encode([number])
    found = open_questions(given.data)
    records = {n: r for n, r in zip(found.numbers, found.records, strict=True) if isinstance(r, QARecord)}
    encoder = bat.encoder  # type: ignore[attr-defined]
    return records, lambda number: encoder(fit(found.data.waveform(number)[None], encoder))


def row(table: Table, name: str, values: Iterable[float]) -> float:
    """A line of the table; the mean."""
    figure = mean_figure(np.array(list(values), dtype=float))
    table.add_row(name, f"{figure.value:.1%}", f"{figure.low:.1%} to {figure.high:.1%}", str(figure.count))
    return figure.value


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="bat-talk")
    options.add_argument("--data", type=Path, help="A QA file of free questions; of imagined scenes without.")
    options.add_argument("--split", default="eval", choices=("eval", "judge"))
    options.add_argument("--count", type=int, default=640)
    given = options.parse_args()
    torch.set_num_threads(1)
    bat = load(given.model, device="cpu")
    limits = bat.reasoner.config.thresholds
    records, heard = what_is_asked(given, bat)
    marks: list[tuple[bool, bool, bool, bool, str]] = []
    for number, record in records.items():
        truth = truth_of(record)
        if truth is None or record.query is None:
            continue
        encoding = heard(number)
        said = str(bat.reasoner.answer(encoding, [record.question])[0])
        by_right = str(answer(Scene(hear(encoding, limits)[0], limits), read_query(record.query)))
        read = str(bat.reasoner.queries([record.question])[0]) if hasattr(bat.reasoner, "queries") else ""
        marks.append(
            (
                score_free(truth, said), NOT_UNDERSTOOD not in said.lower(), read == record.query,
                score_free(truth, by_right), truth.answer.lower(),
            )
        )  # fmt: skip
    table = Table("what", "share", "95 % interval", "of", title=f"{given.model}: {given.data or given.split}")
    own = row(table, "right", (mark[0] for mark in marks))
    row(table, "understood", (mark[1] for mark in marks))
    row(table, "the right query", (mark[2] for mark in marks))
    best = row(table, "right with the right query", (mark[3] for mark in marks))
    row(table, "right, yes or no", (mark[0] for mark in marks if mark[4] in YES_NO))
    row(table, '"cannot be heard" right', (mark[0] for mark in marks if mark[4] == CANNOT))
    Console(width=100).print(table)
    print(f"right, as a share of what the right query gets: {own / best:.1%}")


if __name__ == "__main__":
    main()
