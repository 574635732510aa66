"""Looking at a stage while it trains: loss and figures of clips that it does not train on, and some of its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from bat_agent.clips import corpus
from bat_agent.clips.batch import Batch
from bat_agent.clips.mixtures import Mixtures
from bat_agent.evaluation.agent import encoder_figures, flatten
from bat_agent.evaluation.hearing import batches
from bat_agent.evaluation.metrics import score_answers
from bat_agent.interfaces import Encoding
from bat_agent.questions import Question
from bat_agent.recipes.schema import Recipe, Stage

QUESTIONS_PER_CLIP = 4
SHOWN = 12
"""Answers that are shown as text."""


@dataclass(frozen=True)
class Seen:
    """What a validation found."""

    loss: float
    """Mean loss, as training computes it."""
    figures: dict[str, float]
    answers: list[tuple[Question, str]]
    """Some questions with what was answered; none for an encoder."""

    def write(self, writer: SummaryWriter, step: int) -> None:
        """To TensorBoard: figures as curves, answers as a table."""
        for name, value in {"loss": self.loss, **self.figures}.items():
            writer.add_scalar(f"valid/{name}", value, step)
        if self.answers:
            writer.add_text("valid/answers", answer_table(self.answers), step)
        writer.flush()

    def line(self) -> str:
        """On one line of a terminal."""
        return ", ".join(f"{name} {value:.3f}" for name, value in {"loss": self.loss, **self.figures}.items())


class Validation:
    """Validates stages of a recipe."""

    def __init__(self, recipe: Recipe, encoder: Any, reasoner: Any, device: torch.device) -> None:
        self.recipe, self.encoder, self.reasoner, self.device = recipe, encoder, reasoner, device

    @torch.no_grad()
    def __call__(
        self, stage: Stage, encode: Callable[[Batch], Encoding], loss: Callable[[Batch], tuple[Any, int]]
    ) -> Seen:
        """Loss, figures and answers now.

        Args:
            stage: The stage; its kind of clips and questions is taken, of the validation split.
            encode: The encoding of a batch.
            loss: The loss of a batch, and how many clips or answer tokens it is the mean over.
        """
        self.encoder.eval()
        self.reasoner.eval()
        data = self._data(stage)
        total, count, asked, said = 0.0, 0, [], []
        for batch in batches(data, self.device):
            value, weight = loss(batch)
            total, count = total + float(value) * weight, count + weight
            if stage.free_queries:
                questions = [question for some in batch.questions for question in some]
                said += [str(query) for query in self.reasoner.queries([q.text for q in questions])]
                asked += questions
            elif stage.trains == "reasoner":
                questions = [question for some in batch.questions for question in some]
                said += [str(answer) for answer in self.reasoner.answer(encode(batch), [q.text for q in questions])]
                asked += questions
        if stage.trains == "encoder":
            return Seen(total / max(count, 1), encoder_figures(self.encoder, data, self.device), [])
        pairs = list(zip(asked, said, strict=True))
        shown = pairs[:: max(1, len(pairs) // SHOWN)][:SHOWN]
        if stage.free_queries:
            right = sum(question.answer == query for question, query in pairs) / max(len(pairs), 1)
            return Seen(total / max(count, 1), {"queries_right": right}, shown)
        return Seen(total / max(count, 1), flatten(score_answers(asked, said)), shown)

    def _data(self, stage: Stage) -> Any:
        if stage.records is not None:
            return corpus.recorded(self.recipe, stage, "eval")
        if stage.free_queries:
            return corpus.rehearsed(self.recipe, self.recipe.stages.index(stage), "valid")
        if stage.trains == "encoder":
            return self._fresh(energies=stage.mask_weight > 0)
        two = self.recipe.mixing.two_sources if stage.two_sources is None else stage.two_sources
        return self._fresh(
            two_sources=two, letters=stage.question_types, questions_per_clip=QUESTIONS_PER_CLIP,
            truth_only=stage.oracle_heads, simple_words=stage.simple_words,
        )  # fmt: skip

    def _fresh(self, **what: Any) -> Mixtures:
        """Validation clips of the length that is most frequent in training."""
        mixing = self.recipe.mixing
        seconds = max(zip(mixing.window_weights, mixing.window_seconds, strict=True))[1]
        return corpus.validation(self.recipe, self.recipe.validation_clips, seconds=seconds, **what)


def answer_table(answers: Sequence[tuple[Question, str]]) -> str:
    """Questions, truths and answers in Markdown, as TensorBoard shows text."""
    return "\n".join(_rows(answers))


def _rows(answers: Sequence[tuple[Question, str]]) -> Iterator[str]:
    yield "| type | question | truth | answer |"
    yield "|---|---|---|---|"
    for question, said in answers:
        cells = (question.type.letter, question.text, question.answer, said)
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
