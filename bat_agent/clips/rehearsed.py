"""Batches without clips: free questions of imagined scenes with their queries, for a reasoner that learns to read them.

A batch depends on (seed, step) alone, as all batches do.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from bat_agent.clips.batch import Batch, truth_of
from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding
from bat_agent.questions import Question
from bat_agent.questions.free.rehearsal import rehearse
from bat_agent.questions.records import QuestionType


class Rehearsed(Dataset[Batch]):
    """One clip a step, of which nothing is heard; what is to be learnt stands where answers stand: the text of the
    query. With ``shard=(rank, world)``, the questions rank::world of each step.
    """

    def __init__(self, *, questions: int, steps: int, seed: int, shard: tuple[int, int] = (0, 1)) -> None:
        rank, world = shard
        if questions % world or not 0 <= rank < world:
            raise BadInput(
                f"a step of {questions} questions cannot be shared evenly by {world} processes; change "
                "questions_per_clip, or the number of processes"
            )
        self.questions, self.steps, self.seed, self.shard = questions, steps, seed, shard

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        """This process' questions of one step."""
        rank, world = self.shard
        asked = rehearse(np.random.default_rng((self.seed, step)), self.questions)[rank::world]
        questions = [Question(QuestionType.FREE, text, str(query), None, query.kind) for text, query in asked]
        nothing = Encoding(torch.zeros(1, 1, 1))
        return Batch(torch.zeros(1, 2, 0), truth_of([[]]), [[]], [questions], [f"step {step}"], encoding=nothing)

    def finish(self, batch: Batch, device: torch.device | str) -> Batch:
        """The batch as it is: there is no sound."""
        return batch
