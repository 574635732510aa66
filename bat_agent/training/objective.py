"""What a stage minimises, as modules whose forward pass ends in the loss: what is wrapped to train in many processes.

A wrapper that averages gradients must know which parameters a loss depends on; a stage may well leave heads out of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bat_agent.clips.mixtures import Batch, Truth
from bat_agent.interfaces import Encoding
from bat_agent.recipes.schema import Stage
from bat_agent.training.losses import encoder_loss


class EncoderObjective(nn.Module):
    """The loss of an encoder. With ``compiled`` its forward pass is compiled; parameters and their names stay."""

    def __init__(self, encoder: Any, stage: Stage, compiled: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.stage = stage
        # In a tuple, so that the compiled form is not a second submodule with the same parameters.
        self._hear: tuple[Callable[[Tensor], Encoding]] = (torch.compile(encoder) if compiled else encoder,)

    def forward(self, waveform: Tensor, truth: Truth) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of clips (B, 2, N), and its parts."""
        encoding = self._hear[0](waveform)
        adapt = getattr(self.encoder, "adapt", None) if self.encoder.training else None
        if adapt is not None:
            encoding = adapt(encoding, truth.to(waveform.device))
        return encoder_loss(encoding, truth, self.stage)


class ReasonerObjective(nn.Module):
    """The loss of a reasoner on encodings that are not trained."""

    def __init__(self, reasoner: Any) -> None:
        super().__init__()
        self.reasoner = reasoner

    def forward(
        self, encoding: Encoding, questions: Sequence[str], answers: Sequence[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of the answers, and how many there were, in tokens too where the reasoner can tell."""
        loss = self.reasoner.loss(encoding, questions, answers)
        counts = {"questions": len(questions)}
        if hasattr(self.reasoner, "answer_tokens"):
            counts["answer_tokens"] = self.reasoner.answer_tokens(answers)
        return loss, {name: loss.new_tensor(float(count)) for name, count in counts.items()}


def pieces(clips: int, wanted: int) -> list[tuple[int, int]]:
    """Beginnings and ends of ``wanted`` almost equal pieces of a batch (no more than it has clips)."""
    count = max(1, min(wanted, clips))
    edges = [clips * number // count for number in range(count + 1)]
    return list(itertools.pairwise(edges))


def part_of(batch: Batch, start: int, stop: int) -> Batch:
    """Clips ``start`` to ``stop`` of a batch whose waveform is there."""
    if (start, stop) == (0, len(batch.waveform)):
        return batch
    lists: dict[str, Any] = {
        name: getattr(batch, name)[start:stop] for name in ("heard", "questions", "ids") if hasattr(batch, name)
    }
    if batch.encoding is not None:
        lists["encoding"] = batch.encoding[start:stop]
    return replace(batch, waveform=batch.waveform[start:stop], truth=batch.truth[start:stop], **lists)
