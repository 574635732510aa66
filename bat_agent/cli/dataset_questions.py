"""What ``bat-agent dataset stats`` tells of questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bat_agent.cli.output import print_table
from bat_agent.cli.progress import progress_of
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.scoring.statistics import QAFigures

_MEASURE_NAMES = {"accuracy": "accuracy", "f1": "F1 of labels", "region": "region", "der": "DER (less is better)"}


def has_questions(path: Path) -> bool:
    """Whether this is a question file, or a set that has some."""
    from bat_agent.datasets.spatialsoundqa import question_files
    from bat_agent.datasets.store import Store
    from bat_agent.questions import RecordFile

    try:
        if path.is_file() and path.suffix == ".json":
            return bool(RecordFile(path)[:1])
        return bool(question_files(Store(path)))
    except BadInput:
        return False


def split_of(path: Path) -> str:
    """``train`` where a set has questions of it, as a file by itself may; else ``eval``."""
    from bat_agent.datasets.spatialsoundqa import question_files
    from bat_agent.datasets.store import Store

    if path.is_file():
        return "train"
    try:
        return "train" if question_files(Store(path), split="train") else "eval"
    except BadInput:
        return "eval"


def has_rirs(path: Path) -> bool:
    """Whether the set has RIRs on disk."""
    from bat_agent.datasets.layout import find_reverberations

    try:
        return path.is_dir() and bool(find_reverberations(path))
    except BadInput:
        return False


def question_figures(path: Path, split: str, sample: int) -> QAFigures:
    """Figures of the questions of a split, with a progress bar."""
    from bat_agent.scoring.statistics import question_statistics

    with progress_of("questions") as progress:
        return question_statistics(path, split=split, sample=sample, progress=progress)


def print_questions(found: QAFigures) -> None:
    """Shares, wordings and leaks as tables."""
    rows = [
        (letter, f"{100 * values['share']:.1f} %", f"{100 * values['paper']:.1f} %")
        for letter, values in found.letters.items()
    ]
    print_table("Questions of the paper's types", ("type", "this set", "BAT"), rows)
    cells = [
        (
            kind.type,
            str(kind.records),
            f"{100 * kind.share:.1f} %",
            "" if kind.yes is None else f"{100 * kind.yes:.1f} %",
            str(kind.wordings),
        )
        for kind in found.types
    ]
    print_table(f"{found.records} questions", ("type", "records", "share", "Yes", "wordings"), cells)
    intents = [
        (one.intent, str(one.records), "" if one.yes is None else f"{100 * one.yes:.1f} %", str(one.voices))
        for one in found.intents
    ]
    if intents:
        print_table("Free questions", ("intent", "records", "Yes", "voices"), intents)
    leaks = [
        (
            kind.type,
            _MEASURE_NAMES[leak.measure],
            *(f"{100 * v:.1f} %" for v in (leak.prompt_only, leak.majority, leak.random)),
        )
        for kind in found.types
        for leak in kind.leaks
    ]
    title = f"Without hearing anything, {found.sampled} questions: what the wording gives away"
    print_table(title, ("type", "measure", "prompt only", "most frequent", "random"), leaks)
