"""Answers said piece by piece: by a language model as it goes, by any other reasoner all at once."""

from __future__ import annotations

import numpy as np
import pytest

from bat_agent.agent import SILENCE_ANSWER, Bat, ModelConfig
from bat_agent.errors import BadInput
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner

CONFIG = ModelConfig("echo", {"name": "echo", "options": {"token_dim": 8}}, {"name": "echo", "options": {}})
QUESTION = "Where is the dog?"


@pytest.fixture
def bat() -> Bat:
    return Bat(CONFIG, EchoEncoder(EchoEncoderConfig(token_dim=8)), EchoReasoner(EchoReasonerConfig()))


def noise() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal((2, 32_000))).astype(np.float32)


def test_pieces_are_what_ask_answers(bat: Bat) -> None:
    assert "".join(bat.stream(noise(), QUESTION)) == bat.ask(noise(), QUESTION).text
    tiny = bat.with_reasoner("llama", tiny_layers=1, num_cls_tokens=1, num_queries=2, max_answer_tokens=5)
    pieces = list(tiny.stream(noise(), QUESTION))
    assert "".join(pieces) == tiny.ask(noise(), QUESTION).text


def test_silence_is_said_and_what_cannot_be_streamed_refused(bat: Bat) -> None:
    assert list(bat.stream(np.zeros((2, 32_000), np.float32), QUESTION)) == [SILENCE_ANSWER]
    with pytest.raises(BadInput, match="one clip"):
        next(bat.stream(noise()[None], QUESTION))
    with pytest.raises(BadInput, match="a question is empty"):
        next(bat.stream(noise(), " "))
