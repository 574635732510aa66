"""Reasoner ``talk``: question → query → answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bat_agent.checkpoint import check_state, read_tensors, write_tensors
from bat_agent.errors import BadInput, WeightsError
from bat_agent.interfaces import Encoding, Reply
from bat_agent.questions.free.query import Query, read_query
from bat_agent_talk.config import TalkConfig
from bat_agent_talk.reader import Reader

WEIGHTS_FILE = "model.safetensors"
UNTRAINED = "the reasoner talk was not trained, so its answers mean nothing; train it, or load weights"


class TalkReasoner(nn.Module):
    """A language model reads the question as a query (:mod:`bat_agent_talk.reader`), the heads answer it."""

    def __init__(self, config: TalkConfig | None = None, *, reader: Reader | None = None) -> None:
        super().__init__()
        self.config = config = config or TalkConfig()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.reader = reader or Reader.load(
                config.llm, config.depth, config.dtype, config.lora_rank, config.lora_alpha
            )
        self._trained = self._trains = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a listener should know of the answers."""
        return () if self._trained else (UNTRAINED,)

    def train(self, mode: bool = True) -> TalkReasoner:
        """Training mode; from the first time on LoRA is never folded into the weights."""
        self._trains = getattr(self, "_trains", False) or mode
        return super().train(mode)

    def loss(self, encoding: Encoding, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Mean −log probability of the queries, which stand in the place of answers; the encoding is not looked at."""
        if not questions or len(answers) != len(questions):
            raise BadInput(f"got {len(answers)} queries to {len(questions)} questions, expected one to each")
        return self.reader.loss(questions, [read_query(answer) for answer in answers])

    def queries(self, questions: Sequence[str]) -> list[Query]:
        """What each question asks, whatever is heard."""
        return [reading.query for reading in self.reader.read(questions)]

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[Reply]:
        """The query of each question, for now."""
        return [Reply(str(r.query), r.probability) for r in self.reader.read(questions)]

    def save_weights(self, directory: str | Path, *, half: bool = False) -> None:
        """Write what is trained, ``model.safetensors`` (float16 if ``half``)."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.trained_state_dict().items()}
        if half:
            tensors = {name: tensor.half() for name, tensor in tensors.items()}
        write_tensors(Path(directory) / WEIGHTS_FILE, tensors)

    def load_weights(self, path: str | Path) -> None:
        """Read what :meth:`save_weights` wrote; what does not fit raises ``WeightsError``."""
        file = Path(path).expanduser()
        file = file / WEIGHTS_FILE if file.is_dir() else file
        if not file.is_file():
            raise WeightsError(f"there are no reasoner weights at {file}; pass a folder with {WEIGHTS_FILE}")
        found = read_tensors(file)
        check_state(self.trained_state_dict(), found, str(file), "this reasoner")
        self.load_trained_state_dict(found)

    def trained_state_dict(self) -> dict[str, Tensor]:
        """LoRA and the last normalisation; never the language model."""
        return {name: tensor.detach() for name, tensor in self.named_parameters() if tensor.requires_grad}

    @torch.no_grad()
    def load_trained_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take up what :meth:`trained_state_dict` gave."""
        for name, tensor in self.trained_state_dict().items():
            tensor.copy_(tensors[name])
        self._trained = True
