"""Reasoner ``talk``: question → query → answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bat_agent.checkpoint import check_state, read_tensors, write_tensors
from bat_agent.errors import BadInput, WeightsError
from bat_agent.hearing.posterior import hear
from bat_agent.interfaces import Encoding, Reply
from bat_agent.language import check_name
from bat_agent.questions.free.query import Query, read_query
from bat_agent.questions.history import split_history, with_history
from bat_agent.registry import load_reasoner
from bat_agent_talk.answering import answer
from bat_agent_talk.config import TalkConfig
from bat_agent_talk.language_model import LanguageModel, load_language_model, outline_language_model
from bat_agent_talk.reader import Reader, Reading
from bat_agent_talk.scene import Scene
from bat_agent_talk.set_forms import is_of_the_set

WEIGHTS_FILE = "model.safetensors"
NOT_UNDERSTOOD = "I did not understand the question."
REMEMBERED = 4096
"""Questions whose queries are kept."""
UNTRAINED = "the reasoner talk was not trained, so its answers mean nothing; train it, or load weights"


class TalkReasoner(nn.Module):
    """A language model reads the question as a query (:mod:`bat_agent_talk.reader`), the heads answer it."""

    converses = True
    """A question may leave out what the one before it said."""

    def __init__(self, config: TalkConfig | None = None, *, llm: LanguageModel | None = None) -> None:
        """With the language model that the options name, or with this one."""
        super().__init__()
        self.config = config = config or TalkConfig()
        llm = llm or load_language_model(config.llm, config.dtype)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.reader = Reader(llm, config.lora_rank, config.lora_alpha, again=config.gradient_checkpointing)
        self._trained = self._trains = False
        self._read: dict[str, Reading] = {}
        self._rules: Any = load_reasoner(
            "rules", token_dim=config.token_dim, activity=config.activity, label=config.label, heard=config.heard
        )

    @classmethod
    def outline(cls, config: TalkConfig) -> TalkReasoner:
        """To be counted: with its language model where that is a file or a folder, so that it can be timed; else one of
        the same shape without weights.
        """
        if check_name(config.llm) or Path(config.llm).expanduser().is_dir():
            return cls(config)
        return cls(config, llm=outline_language_model(config.llm, config.dtype))

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
        """One answer per question; its confidence is the probability of the query times that of the answer to it.

        Raises :class:`~bat_agent.errors.BadInput` where the questions do not divide among the clips, where the encoder
        lacks the head that a question needs, and where its classes are not the 355.
        """
        clips = len(encoding.tokens)
        if not clips or len(questions) % clips:
            raise BadInput(f"{len(questions)} questions do not divide among {clips} clips; ask each clip equally many")
        if not questions:
            return []
        per_clip = len(questions) // clips
        questions = [_with_the_last(text) for text in questions]
        heard = [Scene(clip, self.config.thresholds) for clip in hear(encoding, self.config.thresholds)]
        plain = self._plain(encoding, questions, per_clip)
        readings = self._readings([text for number, text in enumerate(questions) if number not in plain])
        return [
            plain[number] if number in plain else self._reply(heard[number // per_clip], readings[text])
            for number, text in enumerate(questions)
        ]

    def _plain(self, encoding: Encoding, questions: Sequence[str], per_clip: int) -> dict[int, Reply]:
        """Answers by the rules to those questions that are SpatialSoundQA's own, word for word."""
        mine = [number for number, text in enumerate(questions) if is_of_the_set(text)]
        if not mine:
            return {}
        each = encoding if len(encoding.tokens) == 1 else encoding[[number // per_clip for number in mine]]
        replies = self._rules.answer(each, [questions[number] for number in mine])
        return dict(zip(mine, replies, strict=True))

    def _readings(self, questions: Sequence[str]) -> dict[str, Reading]:
        """What each question was read as; those that were asked before are not read again."""
        if not self._trains:
            self.reader.merge()
        remembered = {} if self._trains else self._read
        new = [text for text in dict.fromkeys(questions) if text not in remembered]
        found = dict(zip(new, self.reader.read(new), strict=True))
        readings = found | {text: remembered[text] for text in questions if text in remembered}
        if not self._trains:
            self._read |= found
            for text in list(self._read)[: max(len(self._read) - REMEMBERED, 0)]:
                del self._read[text]
        return readings

    def _reply(self, scene: Scene, reading: Reading) -> Reply:
        if reading.probability < self.config.sure:
            return Reply(NOT_UNDERSTOOD, 0.0)
        reply = answer(scene, reading.query)
        if reply.confidence is None:
            return reply
        # What is not known of the question is shared out like the answers of one that asks for nothing.
        rest = 1 - reading.probability
        shares = [(text, reading.probability * share + rest / 2) for text, share in reply.alternatives]
        own = dict(shares).get(str(reply), reading.probability * reply.confidence)
        return Reply(str(reply), own, shares)

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
        self._read.clear()


def _with_the_last(text: str) -> str:
    """A question with the one before it alone, as in training; one of SpatialSoundQA's own leaves nothing out."""
    history, question = split_history(text)
    return question if is_of_the_set(question) else with_history(history[-1:], question)
