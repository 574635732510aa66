"""What the inference thread of the server computes: perceptions and arrays for a batch, answers for one clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bat_agent.chat import Conversations
from bat_agent.hearing.arrays import hearing_arrays, hearing_shapes
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.serving.protocol import ARRAYS, PERCEPTIONS
from bat_agent.sound.waveform import prepare

if TYPE_CHECKING:
    from bat_agent.ears import Ears as Hearing

BATCH_ON_CPU_S = 20.0
"""Sound in one batch on a CPU. Measured with bat-small, a clip of 1 s takes 44 % of the time in a batch of 16, of 4 s
74 % in one of 4, and of 10 s 92 % in one of 2 but 115 % in one of 16."""


@dataclass(frozen=True, eq=False)
class Job:
    """One clip and what is wanted of it: perceptions, arrays, or else answers to questions."""

    waveform: np.ndarray
    """(2, N) float32"""
    want: frozenset[str] = frozenset()
    questions: tuple[str, ...] = ()
    conversation: str | None = None
    """Name of the conversation that the questions belong to."""

    @property
    def key(self) -> int | None:
        """Its length where clips of equal length are one batch; ``None`` for questions."""
        return self.waveform.shape[1] if self.want else None


@dataclass(frozen=True)
class Heard:
    """What became of a job; only what it wanted is there."""

    perception: dict[str, Any] | None = None
    arrays: dict[str, np.ndarray] | None = None
    """Without the batch axis."""
    answers: list[dict[str, Any]] | None = None


class Ears:
    """A :class:`~bat_agent.agent.Bat` as the server needs it. :meth:`run` is called by the inference thread alone."""

    def __init__(self, bat: Hearing) -> None:
        self.bat = bat
        self._conversations = Conversations(bat)
        self.labels = list(bat.encoder.labels)
        self.model = {
            "name": bat.config.name,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "clip_seconds": bat.encoder.clip_seconds,
            "arrays": {key: list(shape) for key, shape in hearing_shapes(bat).items()},
        }

    def most_at_once(self, samples: int, max_batch: int) -> int:
        """Clips of so many samples that are best encoded together, ``max_batch`` at most.

        A CPU gains from batches while what they hold in memory is small; beyond, all would only wait for the last.
        """
        if not str(self.bat.device).startswith("cpu"):
            return max_batch
        heard_s = min(samples / SAMPLE_RATE_HZ, self.bat.encoder.clip_seconds)
        return max(1, min(max_batch, int(BATCH_ON_CPU_S / heard_s)))

    def check(self, waveform: np.ndarray) -> None:
        """Raise :class:`~bat_agent.errors.BadInput` for what cannot be heard, so that it never enters a batch."""
        for clip in waveform if waveform.ndim == 3 and len(waveform) else [waveform]:  # in the memory of one
            prepare(clip, self.bat.encoder)

    def run(self, jobs: Sequence[Job]) -> list[Heard]:
        """One result for each job of equal key."""
        if not jobs[0].want:
            return [self._asked(job) for job in jobs]
        batch = np.stack([job.waveform for job in jobs])
        want = frozenset().union(*(job.want for job in jobs))
        # Arrays first: they take the whole encoding, which then serves the perceptions too.
        arrays = hearing_arrays(self.bat, batch) if ARRAYS in want else {}
        perceptions = self.bat.perceive(list(batch)) if PERCEPTIONS in want else [None for _ in jobs]
        return [
            Heard(
                perception.to_dict() if perception is not None and PERCEPTIONS in job.want else None,
                {key: array[clip] for key, array in arrays.items()} if ARRAYS in job.want else None,
            )
            for clip, (job, perception) in enumerate(zip(jobs, perceptions, strict=True))
        ]

    def _asked(self, job: Job) -> Heard:
        if job.conversation is None:
            answers = self.bat.ask(job.waveform, job.questions)
        else:
            chat = self._conversations.named(job.conversation)
            answers = [chat.ask(job.waveform, question) for question in job.questions]
        return Heard(answers=[{**answer.to_dict(), "notes": list(answer.notes)} for answer in answers])
