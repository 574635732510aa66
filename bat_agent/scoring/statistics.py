"""What is asked in a SpatialSoundQA set, beside the paper's shares, and what the questions alone give away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.datasets.draw_qa import PAPER_SHARES
from bat_agent.datasets.spatialsoundqa import SpatialSoundQA
from bat_agent.errors import BadInput
from bat_agent.evaluation.metrics import blank_labels, score_answer
from bat_agent.questions import QARecord, QuestionType, parse_yes_no
from bat_agent.scoring.free import IntentFigures, free_scores, intent_figures
from bat_agent.scoring.rows import MAJORITY, PROMPT_ONLY, RANDOM, comparison_rows

_OWN = ("stage4", "stage5")  # what folders begin with whose files repeat none of the stages before them
_MEASURES = ("accuracy", "f1", "region", "der")
"""What a leak is told in, where a type has it; of ``der`` less is better."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Leak:
    """One measure of one type by answerers that hear nothing; shares of 1."""

    measure: str
    prompt_only: float
    """The best answer by the wording, learnt from other clips."""
    majority: float
    """The most frequent answer of the type."""
    random: float


@dataclass(frozen=True)
class TypeFigures:
    """One question type."""

    type: str
    letter: str
    records: int
    share: float
    """Of the records of the paper's types; of all for others."""
    yes: float | None
    """Share of Yes among yes/no answers."""
    wordings: int
    """Different questions with the names of sounds left out, in the sample."""
    leaks: tuple[Leak, ...]


@dataclass(frozen=True)
class QAFigures:
    """A set's questions."""

    files: tuple[str, ...]
    records: int
    """Different records: those of a stage stand in the files of later stages again and count once."""
    sampled: int
    """Records that wordings and leaks are measured on."""
    types: tuple[TypeFigures, ...]
    letters: dict[str, dict[str, float]]
    """Share of each of the paper's letters, beside that of table 1."""
    intents: tuple[IntentFigures, ...] = ()
    """Free questions of the sample by intent."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return asdict(self)


def question_statistics(
    root: Path | str, *, split: str = "train", sample: int = 20_000, progress: Progress = lambda done, total: None
) -> QAFigures:
    """Figures of the questions of one split, or of a single question file; leaks of at most ``sample`` of them, evenly
    spread.

    Raises :class:`~bat_agent.errors.BadInput` where there is no question file, or one is broken.
    """
    if sample < 1:
        raise BadInput(f"--questions must be 1 or more, got {sample}")
    alone = Path(root).suffix == ".json"
    data = SpatialSoundQA(Path(root).parent, files=[root]) if alone else SpatialSoundQA(root, split=split)
    parts = _without_repeats(data, split)
    types = [kind for part in parts for kind in part.types]
    counts = Counter(types)
    chosen = np.unique(np.linspace(0, len(types) - 1, min(sample, len(types))).round().astype(int)).tolist()
    records = _read(parts, chosen, progress)
    leaks = _leaks(records)
    of_paper = sum(number for kind, number in counts.items() if kind.letter in PAPER_SHARES)
    letters = {
        letter: {
            "share": sum(n for kind, n in counts.items() if kind.letter == letter) / max(of_paper, 1),
            "paper": share,
        }
        for letter, share in PAPER_SHARES.items()
    }
    figures = tuple(
        _figures(kind, counts[kind], of_paper if kind.letter in PAPER_SHARES else len(types), records, leaks)
        for kind in QuestionType
        if counts[kind]
    )
    return QAFigures(tuple(map(str, data.files)), len(types), len(records), figures, letters, intent_figures(records))


@dataclass(frozen=True)
class _Part:
    data: SpatialSoundQA
    types: list[QuestionType]


def _without_repeats(data: SpatialSoundQA, split: str) -> list[_Part]:
    """Of files that hold those of the stages before as well, the last; files of evaluation do not repeat."""
    files = list(data.files)
    if split == "train":
        released = [file for file in files if not file.parent.name.startswith(_OWN)]
        files = [*released[-1:], *(file for file in files if file.parent.name.startswith(_OWN))]
    parts = []
    for file in files:
        part = data.only(file)
        parts.append(_Part(part, part.types()))
    return parts


def _read(parts: Sequence[_Part], chosen: Sequence[int], progress: Progress) -> list[QARecord]:
    records, first = [], 0
    for part in parts:
        rows = [number - first for number in chosen if first <= number < first + len(part.types)]
        for row in rows:
            records.append(part.data[row])
            if len(records) % 1000 == 0:
                progress(len(records), len(chosen))
        first += len(part.types)
    return records


def _leaks(records: Sequence[QARecord]) -> dict[QuestionType, tuple[Leak, ...]]:
    rows = comparison_rows(records)
    if not {PROMPT_ONLY, MAJORITY, RANDOM} <= rows.keys():
        return {}
    values: dict[tuple[QuestionType, str], dict[str, list[float]]] = {}
    for name in (PROMPT_ONLY, MAJORITY, RANDOM):
        for record, answer in zip(records, rows[name], strict=True):
            scores = free_scores(record, answer) or score_answer(record.type, record.answer, answer)
            for measure, value in scores.items():
                if measure in _MEASURES:
                    values.setdefault((record.type, measure), {}).setdefault(name, []).append(value)
    found: dict[QuestionType, tuple[Leak, ...]] = {}
    for (kind, measure), by_name in values.items():
        means = [float(np.mean(by_name[name])) for name in (PROMPT_ONLY, MAJORITY, RANDOM)]
        found[kind] = (*found.get(kind, ()), Leak(measure, *means))
    return found


def _figures(
    kind: QuestionType,
    count: int,
    of: int,
    records: Sequence[QARecord],
    leaks: dict[QuestionType, tuple[Leak, ...]],
) -> TypeFigures:
    mine = [record for record in records if record.type is kind]
    said = [yes for record in mine if (yes := parse_yes_no(record.answer)) is not None]
    return TypeFigures(
        kind.value,
        kind.letter,
        count,
        count / of,
        float(np.mean(said)) if said else None,
        len({blank_labels(record.question) for record in mine}),
        leaks.get(kind, ()),
    )
