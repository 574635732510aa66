"""Free answers to free questions: right or wrong by what is true of the scene, and how many are right by intent.

What a record asks is its query and where its sources are its geometry, so the truth is computed anew, with all that is
true beside the answer that the record gives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bat_agent.evaluation.intervals import Figure, mean_figure
from bat_agent.questions import HeardSource, QARecord, QuestionType, mirror
from bat_agent.questions.free import Truth, answer, read_query
from bat_agent.questions.free.marking import score_free

NOT_UNDERSTOOD = "not understand"
ALL = "all"
"""All intents together."""


@dataclass(frozen=True)
class IntentFigures:
    """Free questions of one intent."""

    intent: str
    records: int
    yes: float | None
    """Share of "Yes" among yes/no questions."""
    voices: int
    """How many voices ask."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return asdict(self)


def truth_of(record: Any) -> Truth | None:
    """What is true of a free question; ``None`` for any other, or one that does not say what it asks, or of what."""
    if not isinstance(record, QARecord) or record.type is not QuestionType.FREE:
        return None
    if record.query is None or not record.geometry:
        return None
    return answer(read_query(record.query), record.geometry)


def free_scores(record: Any, said: str) -> dict[str, float] | None:
    """``accuracy``, and ``malformed`` where nothing was understood; ``None`` for what is no free question."""
    truth = truth_of(record)
    if truth is None:
        return None
    malformed = not said.strip() or NOT_UNDERSTOOD in said.lower()
    return {"accuracy": float(score_free(truth, said)), "malformed": float(malformed)}


def mirrored(record: QARecord) -> QARecord:
    """A free question about the same scene with the ears swapped."""
    query = None if record.query is None else mirror(record.query).replace("axis right left", "axis left right")
    geometry = None if record.geometry is None else tuple(_swapped(source) for source in record.geometry)
    return replace(
        record, question=mirror(record.question), answer=mirror(record.answer), query=query, geometry=geometry
    )


def _swapped(source: HeardSource) -> HeardSource:
    ends = [
        None if place is None else place._replace(azimuth_deg=(180 - place.azimuth_deg) % 360)
        for place in (source.position, source.moves_to)
    ]
    assert ends[0] is not None
    return replace(source, position=ends[0], moves_to=ends[1])


def by_intent(records: Sequence[Any], answers: Sequence[Any], seed: int = 0) -> dict[str, Figure]:
    """Intent → share of right answers with its interval, and all together; empty where no question is free."""
    right: dict[str, list[float]] = defaultdict(list)
    for record, said in zip(records, answers, strict=True):
        scores = free_scores(record, said if isinstance(said, str) else "")
        if scores is not None:
            right[intent_of(record)].append(scores["accuracy"])
    figures = {intent: mean_figure(np.array(values), seed) for intent, values in right.items()}
    everything = [value for values in right.values() for value in values]
    return figures | ({ALL: mean_figure(np.array(everything), seed)} if everything else {})


def intent_of(record: QARecord) -> str:
    """The intent that the kind of a free question begins with."""
    return (record.kind or "").partition(".")[0]


def intent_figures(records: Sequence[QARecord]) -> tuple[IntentFigures, ...]:
    """What free questions there are, by intent."""
    found: dict[str, list[QARecord]] = defaultdict(list)
    for record in records:
        if record.type is QuestionType.FREE:
            found[intent_of(record)].append(record)
    figures = []
    for intent, some in found.items():
        said = [r.answer == "Yes" for r in some if r.answer in ("Yes", "No")]
        voices = {(r.kind or "").partition(".")[2] for r in some}
        figures.append(IntentFigures(intent, len(some), float(np.mean(said)) if said else None, len(voices)))
    return tuple(figures)
