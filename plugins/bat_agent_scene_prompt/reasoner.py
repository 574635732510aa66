"""Reasoner ``scene-prompt``: describe what is perceived, ask a chat model, bring its answer into form."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bat_agent.checkpoint import load_module, save_module
from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding, Reply
from bat_agent_scene_prompt.certainty import certainty
from bat_agent_scene_prompt.chat_model import ChatModel
from bat_agent_scene_prompt.chat_server import ChatServer
from bat_agent_scene_prompt.config import TRANSFORMERS, ScenePromptConfig
from bat_agent_scene_prompt.description import describe
from bat_agent_scene_prompt.prompt import Prompt
from bat_agent_scene_prompt.replies import NO_ANSWER, Said, tidy

logger = logging.getLogger(__name__)


class ScenePromptReasoner(nn.Module):
    """A chat model that is told in words what the encoder's heads say (:class:`bat_agent.interfaces.Reasoner`).

    It suits every encoder and every language model, as nothing is trained: what the heads do not say, it cannot know.
    Answers in a form of :mod:`bat_agent.questions.answers` are brought into that form exactly; others are left as they
    came. A confidence is the probability that the language model gives to its answer, among the others where it is out
    of a closed set, not that the encoder heard right; a server tells it only with ``logprobs=true``. Where the model
    says nothing, the answer is ``The language model gave no answer.`` with confidence 0.
    """

    def __init__(self, config: ScenePromptConfig) -> None:
        """Load the model, or note where the server is; nothing is sent yet."""
        super().__init__()
        self.config = config
        self.chat: ChatModel | ChatServer
        if config.backend == TRANSFORMERS:
            self.chat = ChatModel(config.model.strip(), config.dtype, config.max_answer_tokens)
        else:
            self.chat = ChatServer(config)
        self._told_cut = False

    @torch.no_grad()
    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[Reply]:
        """One answer per question.

        Raises :class:`~bat_agent.errors.BadInput` where the questions do not divide among the clips, where the
        encoder's classes are not the 355, and where the server cannot be asked.
        """
        clips = len(encoding.tokens)
        if not clips or len(questions) % clips:
            raise BadInput(f"{len(questions)} questions do not divide among {clips} clips; ask each clip equally many")
        if not questions:
            return []
        per_clip = len(questions) // clips
        described = describe(encoding, self.config.thresholds)
        prompts = [Prompt(described[number // per_clip], question) for number, question in enumerate(questions)]
        said = self.chat.ask(prompts)
        return [self._reply(each, question) for each, question in zip(said, questions, strict=True)]

    def loss(self, encoding: Encoding, questions: Sequence[str], answers: Sequence[str]) -> Tensor:
        """Raises :class:`~bat_agent.errors.BadInput`: there is nothing to train."""
        raise BadInput(
            "the reasoner 'scene-prompt' cannot be trained, as its language model is used as it is; leave out the "
            "stages that train a reasoner, or use the reasoner 'llama'"
        )

    def save_weights(self, directory: str | Path, *, half: bool = False) -> None:
        """Write a ``model.safetensors`` without tensors: the language model is another's, and stays where it is."""
        save_module(nn.Module(), directory, half=half)

    def load_weights(self, path: str | Path) -> None:
        """Read what :meth:`save_weights` wrote; weights of another reasoner raise ``WeightsError``."""
        load_module(nn.Module(), path)

    def _reply(self, said: Said, question: str) -> Reply:
        text = tidy(said.text, question)
        if text:
            sure = certainty(said.tokens, text, question) if said.tokens else (None, ())
            return Reply(text, *sure)
        if said.cut and not self._told_cut:
            self._told_cut = True
            logger.warning(
                "note: the language model was stopped after max_answer_tokens=%d before it gave an answer, as one "
                "that thinks aloud may be; raise max_answer_tokens",
                self.config.max_answer_tokens,
            )
        return Reply(NO_ANSWER, 0.0)
