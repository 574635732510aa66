"""One step of the optimiser: the loss of a batch in pieces, alike on one process and on many, and what ends a run.

A step depends on (seed, stage, step) alone, and gradients are those of the mean over the clips of all processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from bat_agent.extras import needed

with needed("train", "training"):
    from accelerate import Accelerator
    from accelerate.utils import gather_object

from bat_agent import distributed
from bat_agent.clips.batch import Batch
from bat_agent.clips.oracle import ORACLE_TOKENS, oracle_encoding
from bat_agent.distributed.sharding import is_sharded
from bat_agent.errors import BatAgentError
from bat_agent.interfaces import Encoding
from bat_agent.recipes.schema import Recipe, Stage
from bat_agent.sound.waveform import fit
from bat_agent.training import folder as files
from bat_agent.training.launch import held_back, too_large
from bat_agent.training.objective import part_of, pieces
from bat_agent.training.optimizers import Optimizers, Schedule


@dataclass(frozen=True)
class Now:
    """The stage that is being trained."""

    number: int
    stage: Stage
    folder: Path
    module: nn.Module
    """The part that it trains."""
    objective: nn.Module
    """What it minimises."""
    optimizers: Optimizers
    rates: Schedule


class Stepper:
    """Takes the steps of all stages of one run."""

    def __init__(self, recipe: Recipe, encoder: Any, reasoner: Any, accelerator: Accelerator) -> None:
        self.recipe, self.encoder, self.reasoner = recipe, encoder, reasoner
        self.accelerator, self.device = accelerator, accelerator.device

    def take(self, now: Now, batch: Batch, step: int) -> dict[str, float]:
        """One step of the optimiser; what is logged is of all processes."""
        now.optimizers.zero()
        try:
            sums = self._backward(now, batch, step)
        except torch.OutOfMemoryError as error:
            raise too_large(now.stage, now.number, step, error) from error
        log = dict(zip(sums, distributed.summed(torch.stack(list(sums.values()))).tolist(), strict=True))
        if not np.isfinite(log["loss"]):
            self._stop(now, batch, step, "loss", log["loss"])
        rate = now.rates.rate(step)
        norm = float(now.optimizers.update(rate))
        if not np.isfinite(norm):
            self._stop(now, batch, step, "gradient", norm)
        return {**log, "gradient_norm": norm, "learning_rate": rate}

    def _backward(self, now: Now, batch: Batch, step: int) -> dict[str, Tensor]:
        """Gradients of the mean loss over the clips of all processes; that loss and its parts, this process' share."""
        here, world = len(batch.waveform), distributed.world_size()
        total = here * world  # clips are shared out evenly, so every process has as many pieces to meet the others in
        spans = pieces(here, now.stage.accumulate)
        sums: dict[str, Tensor] = {}
        for (start, stop), share in zip(spans, self._shares(now, batch, spans), strict=True):
            torch.manual_seed(self.seed(now, step))
            with held_back(now.objective, held=stop < here), distributed.computing(total, start, stop):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
                    loss, log = self._loss(now, part_of(batch, start, stop))
                # Wrapped for several processes, the gradient is the mean over them: here it shall be the sum.
                (loss * (share * world)).backward()
            for name, value in {"loss": loss.detach(), **log}.items():
                counts = name in ("questions", "answer_tokens")
                sums[name] = sums.get(name, 0.0) + value.float() * (1.0 if counts else share)
        return sums

    def _shares(self, now: Now, batch: Batch, spans: list[tuple[int, int]]) -> list[float]:
        """What each piece of this process counts in the loss of all: its clips, or, where known, its answer tokens."""
        if len(spans) == distributed.world_size() == 1:
            return [1.0]
        count = getattr(self.reasoner, "answer_tokens", None)
        if now.stage.trains == "encoder" or count is None:
            return [(stop - start) / (spans[-1][1] * distributed.world_size()) for start, stop in spans]
        counts = [count([q.answer for some in batch.questions[a:b] for q in some]) for a, b in spans]
        total = float(distributed.summed(torch.tensor(float(sum(counts)), device=self.device)))
        return [number / total for number in counts]

    def _loss(self, now: Now, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if now.stage.trains == "encoder":
            self.encoder.train()
            return now.objective(fit(batch.waveform.to(self.device), self.encoder), batch.truth)
        self.encoder.eval()
        self.reasoner.train()
        questions = [q for asked in batch.questions for q in asked]
        encoding = self.encode(now.stage, batch)
        return now.objective(encoding, [q.text for q in questions], [q.answer for q in questions])

    @torch.no_grad()
    def encode(self, stage: Stage, batch: Batch, generator: torch.Generator | None = None) -> Encoding:
        """What the encoder says of a batch, or an ideal encoder would, where the stage has oracle heads."""
        if batch.encoding is not None:
            return batch.encoding.to(self.device)
        return self._oracle(batch, stage, generator) if stage.oracle_heads else self._hear(batch)

    def _hear(self, batch: Batch) -> Encoding:
        return self.encoder(fit(batch.waveform.to(self.device), self.encoder))

    def _oracle(self, batch: Batch, stage: Stage, generator: torch.Generator | None) -> Encoding:
        width = self.encoder.token_dim
        return oracle_encoding(batch.truth, width, ORACLE_TOKENS, generator, stage.oracle_tokens).to(self.device)

    def seed(self, now: Now, step: int) -> int:
        """Seed of all that is drawn while a step is computed; the same on every machine."""
        drawn = np.random.SeedSequence((self.recipe.seed, now.number, step)).generate_state(1, np.uint64)
        return int(drawn[0] >> np.uint64(1))

    def _stop(self, now: Now, batch: Batch, step: int, what: str, value: float) -> NoReturn:
        """Keep what is needed to look at a step that went wrong, and end the run."""
        finite = batch.waveform.isfinite().flatten(1).all(dim=1).tolist()
        clips = gather_object(list(zip(batch.ids, finite, strict=True)))
        leads = self.accelerator.is_main_process
        failure = files.Failure(step, what, value, self.seed(now, step), clips)
        if leads or is_sharded(now.module):
            files.save_failure(now.folder, now.module, now.optimizers, failure, writes=leads)
        self.accelerator.wait_for_everyone()  # the end of one process ends the others, also in the middle of a file
        raise BatAgentError(
            f"stage {now.stage.name}: the {what} of step {step} is {value:g} ({failure.suspects}); lower "
            f"learning_rate, or look at the clips: {now.folder / files.FAILED} keeps the state, failed.json names them"
        )
