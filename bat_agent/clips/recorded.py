"""Batches of clips and questions that are written down: the records of a SpatialSoundQA data set, rendered as released.

A batch depends on (seed, step) alone, as those of :mod:`bat_agent.clips.mixtures` do, never on the number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from bat_agent.clips.batch import Batch, truth_of
from bat_agent.clips.mixtures import Mixtures
from bat_agent.clips.plan import mirrored_source
from bat_agent.clips.rehearsed import Rehearsed
from bat_agent.clips.token_cache import TokenCache
from bat_agent.datasets.spatialsoundqa import SpatialSoundQA
from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.questions import HeardSource, QARecord, Question, choices_for, mirror
from bat_agent.recipes.schema import Mixing

_SAMPLED = 64


class Recorded(Dataset[Batch]):
    """Batches of records, one per training step, one question a clip.

    ``shuffle`` goes through all records in an order drawn anew for each epoch, and swaps the ears (and left and right
    in question and answer) of a share ``mixing.mirror`` of the clips; without it they come in their order, as they are.
    Of clips longer than the window that ``mixing`` draws, the beginning is taken. With ``shard=(rank, world)``, clips
    rank::world of each step.
    """

    def __init__(
        self,
        data: SpatialSoundQA,
        mixing: Mixing,
        *,
        clips_per_step: int,
        steps: int,
        seed: int = 0,
        shuffle: bool = False,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        rank, world = shard
        if not 0 <= rank < world:
            raise BadInput(f"shard must be (rank, world) with 0 <= rank < world, got {shard}")
        if clips_per_step % world:
            raise BadInput(
                f"a step of {clips_per_step} clips cannot be shared evenly by {world} processes; change "
                "seconds_per_step, or the number of processes"
            )
        self.data, self.mixing, self.clips_per_step, self.steps = data, mixing, clips_per_step, steps
        self.seed, self.shuffle, self.shard = seed, shuffle, shard
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))
        self.tokens: TokenCache | None = None
        """Where what the encoder says of the clips is kept; none renders them."""

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        """This process' clips of one step."""
        clips = range(step * self.clips_per_step, (step + 1) * self.clips_per_step)[self.shard[0] :: self.shard[1]]
        samples = self._samples(step)
        rows = [self._row(clip) for clip in clips]
        mirrored = [self._mirrored(clip) for clip in clips]
        found = [self._asked(row, swap) for row, swap in zip(rows, mirrored, strict=True)]
        heard = [sources for sources, _ in found]
        if self.tokens is None:
            encoding = None
            waveform = torch.stack([self._render(row, swap, samples) for row, swap in zip(rows, mirrored, strict=True)])
        else:
            encoding = self.tokens.read([self.entry(row, swap) for row, swap in zip(rows, mirrored, strict=True)])
            waveform = torch.zeros(len(rows), 2, 0)
        questions = [[question] for _, question in found]
        names = [self.data.name(row) for row in rows]
        return Batch(waveform, truth_of(heard), heard, questions, names, encoding=encoding)

    @property
    def identity(self) -> str:
        """What the clips are, for a name that changes with them: how many records, and the clips of some of them."""
        rows = sorted({len(self.data) * n // _SAMPLED for n in range(_SAMPLED)})
        some = [(*self.data[row].sources, self.data[row].reverb_path) for row in rows]
        return repr((str(self.data.root), len(self.data), some))

    @property
    def entries(self) -> int:
        """How many different clips there are, those with swapped ears included."""
        return len(self.data) * (2 if self.swaps else 1)

    @property
    def swaps(self) -> bool:
        """Whether ears are swapped at times."""
        return self.shuffle and self.mixing.mirror > 0

    def entry(self, row: int, mirrored: bool) -> int:
        """Number of a clip among :attr:`entries`."""
        return 2 * row + mirrored if self.swaps else row

    def waveforms(self, entries: Sequence[int]) -> torch.Tensor:
        """(len(entries), 2, N) of clips by their number among :attr:`entries`, at the one length there is."""
        samples = self._samples(0)
        pairs = (divmod(entry, 2) if self.swaps else (entry, 0) for entry in entries)
        return torch.stack([self._render(row, bool(swap), samples) for row, swap in pairs])

    def finish(self, batch: Batch, device: torch.device | str) -> Batch:
        """The batch with its waveform on ``device``."""
        batch.waveform = batch.waveform.to(device, non_blocking=True)
        return batch

    def _mirrored(self, clip: int) -> bool:
        return self.shuffle and np.random.default_rng((self.seed, 1, clip)).random() < self.mixing.mirror

    def _render(self, row: int, mirrored: bool, samples: int) -> torch.Tensor:
        waveform = self.data.audio.render(self.data[row])[:, :samples]
        return waveform.flip(0) if mirrored else waveform

    def _asked(self, row: int, mirrored: bool) -> tuple[list[HeardSource], Question]:
        record = self.data[row]
        heard = list(record.geometry or ())
        if not mirrored:
            return heard, _question(record, record.question, record.answer)
        swapped = [mirrored_source(source) for source in heard]
        return swapped, _question(record, mirror(record.question), mirror(record.answer))

    def _row(self, clip: int) -> int:
        epoch, place = divmod(clip, len(self.data))
        if not self.shuffle:
            return place
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.data))
        return int(self._order[1][place])

    def _samples(self, step: int) -> int:
        shares: Sequence[float] = self.mixing.window_weights
        chances = np.asarray(shares) / sum(shares)
        seconds = np.random.default_rng((self.seed, 2, step)).choice(self.mixing.window_seconds, p=chances)
        return round(float(seconds) * SAMPLE_RATE_HZ)


Batches = Mixtures | Recorded | Rehearsed
"""What a stage trains on: clips that are drawn, clips that are written down, or questions alone."""


def _question(record: QARecord, text: str, answer: str) -> Question:
    return Question(record.type, text, answer, choices_for(answer), record.kind or record.type.value)
