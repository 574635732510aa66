"""What each stage of a curriculum taught: how a run's reasoner answers after every one of them, with intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from bat_agent.agent import Bat
from bat_agent.checkpoint import find_weights, read_tensors
from bat_agent.clips import corpus
from bat_agent.clips.batch import Batch
from bat_agent.clips.oracle import ORACLE_TOKENS, oracle_encoding
from bat_agent.distributed.sharding import load_trained_state
from bat_agent.evaluation.figures import Figures
from bat_agent.evaluation.hearing import batches
from bat_agent.evaluation.intervals import mean_figure
from bat_agent.interfaces import Encoding
from bat_agent.questions import Question
from bat_agent.questions.measures import score_answer
from bat_agent.questions.records import QuestionType
from bat_agent.recipes.schema import Recipe, Stage
from bat_agent.sound.waveform import fit

ASKED = ((0.0, ("A", "B"), 2), (1.0, ("C", "D", "E"), 6))
"""Share of clips with two sources, what is asked about them, and how many questions a clip."""
SHOWN = {
    QuestionType.CLASSIFICATION: {"A exact": "exact", "A f1": "f1"},
    QuestionType.DOA: {"B region": "region", "B distance": "der"},
    QuestionType.MIXUP_SINGLE_CLASSIFICATION: {"C exact": "exact"},
    QuestionType.MIXUP_SINGLE_DOA: {"D region": "region", "D distance": "der"},
    QuestionType.MIXUP_DIRECTION: {"E direction": "accuracy"},
    QuestionType.MIXUP_DISTANCE_BOTH: {"E distance": "accuracy"},
}
"""Name of a figure → the measure it is the mean of; larger is better in all, so an error rate counts what is right."""


def oracle_encoder(bat: Bat, stage: Stage) -> Callable[[Batch], Encoding]:
    """Encodings of a stage made from the truth: the same of the same batch each time."""

    def encode(batch: Batch) -> Encoding:
        generator = torch.Generator().manual_seed(0)
        encoding = oracle_encoding(batch.truth, bat.encoder.token_dim, ORACLE_TOKENS, generator, stage.oracle_tokens)
        return encoding.to(bat.device)

    return encode


def curriculum_figures(recipe: Recipe, run: Path, clips: int, seconds: float = 10.0) -> Figures:
    """Figures of the answers to validation questions on ``clips`` clips with one source and as many with two.

    Those after the last reasoner stage bear the plain names of :data:`SHOWN`, with the kinds of E beside them; those
    after an earlier one stand behind its name. A stage is asked in its own words, and with its oracle encodings.
    """
    bat = Bat.from_pretrained(str(run / "agent"))
    stages = [stage for stage in recipe.stages if stage.trains == "reasoner"]
    found: Figures = {}
    for stage in stages[::-1]:
        file = find_weights(run / stage.name)
        load_trained_state(bat.reasoner, read_tensors(file), str(file))
        values = _values(bat, recipe, stage, clips, seconds)
        before = "" if stage is stages[-1] else f"{stage.name}: "
        found |= {before + name: mean_figure(np.array(values[name])) for name in sorted(values)}
    return found


def _values(bat: Bat, recipe: Recipe, stage: Stage, clips: int, seconds: float) -> dict[str, list[float]]:
    values: dict[str, list[float]] = defaultdict(list)
    for two_sources, letters, per_clip in ASKED:
        data = corpus.validation(
            recipe,
            clips,
            seconds=seconds,
            two_sources=two_sources,
            letters=letters,
            questions_per_clip=per_clip,
            truth_only=stage.oracle_heads,
            simple_words=stage.simple_words,
        )
        encode = oracle_encoder(bat, stage) if stage.oracle_heads else None
        for question, answer in answered(bat, batches(data, bat.device), encode):
            scores = score_answer(question.type, question.answer, answer)
            for name, measure in SHOWN[question.type].items():
                values[name].append(1 - scores[measure] if measure == "der" else scores[measure])
            if question.type.letter == "E":
                values[f"E {question.kind.split('.')[0]}"].append(scores["accuracy"])
    return values


@torch.inference_mode()
def answered(
    bat: Bat, data: Iterable[Batch], encode: Callable[[Batch], Encoding] | None = None
) -> Iterable[tuple[Question, str]]:
    """Every question of some batches with the agent's answer; ``encode`` stands in for its encoder."""
    for batch in data:
        encoding = encode(batch) if encode else bat.encoder(fit(batch.waveform.to(bat.device), bat.encoder))
        asked = [question for some in batch.questions for question in some]
        yield from zip(asked, map(str, bat.reasoner.answer(encoding, [q.text for q in asked])), strict=True)
