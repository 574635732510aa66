"""Heads put into words: the mixture is the embedding of the word the heads say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.functional import one_hot

from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.labels import class_number
from bat_agent.scene import Listener, Position, point_at
from bat_agent_llama.config import LlamaReasonerConfig
from bat_agent_llama.reasoner import LlamaReasoner
from bat_agent_llama.spoken import TOKENS_PER_SLOT, TYPICAL_DISTANCE_M, SpokenPerception, _expected_position
from bat_agent_llama.tokenizer import shipped_tokenizer

WIDTH = 24


@pytest.fixture(scope="module")
def spoken() -> SpokenPerception:
    return SpokenPerception(shipped_tokenizer(), 2, WIDTH)


def sure(*rows: int, bins: int) -> torch.Tensor:
    """Logits (1, S, bins) that are certain of one bin each."""
    return 60.0 * one_hot(torch.tensor([rows]), bins) - 30.0


def encoding(activity: tuple[float, float] = (9.0, 20.0)) -> Encoding:
    """Slot 0: siren, left (170°), above (+20°), 3 m; slot 1, more active: dog, right (10°), below (−20°), 1.5 m."""
    slots = SlotEncoding(
        torch.tensor([activity]),
        sure(class_number("Siren"), class_number("Dog"), bins=355),
        sure(6, 3, bins=21),
        sure(170, 10, bins=360),
        sure(110, 70, bins=180),
    )
    return Encoding(torch.randn(1, 8, 16), slots=slots)


def word(text: str, embeddings: torch.Tensor) -> torch.Tensor:
    return embeddings[shipped_tokenizer().encode(f" {text}", add_special_tokens=False)].mean(dim=0)


def test_a_sure_encoding_is_spoken_in_its_words_most_active_first(spoken: SpokenPerception) -> None:
    embeddings = torch.randn(len(shipped_tokenizer()), WIDTH)
    said = spoken(encoding(), embeddings)
    assert said.shape == (1, 2 * TOKENS_PER_SLOT, WIDTH)
    wanted = [("dog", "right", "front", "below", "1.5m"), ("siren", "left", "front", "above", "3m")]
    for tokens, (what, *attributes) in zip(said[0].split(TOKENS_PER_SLOT), wanted, strict=True):
        # At first an attribute is its word plus the word of what it belongs to.
        attributes_said = [word(what, embeddings) + word(text, embeddings) for text in attributes]
        expected = torch.stack([word(what, embeddings), *attributes_said])
        torch.testing.assert_close(tokens[:-1], expected, rtol=1e-3, atol=1e-3)


def test_the_sixth_token_carries_the_position_in_metres(spoken: SpokenPerception) -> None:
    heard = encoding()
    assert heard.slots is not None
    said = TYPICAL_DISTANCE_M * _expected_position(heard.slots)[0]
    for row, where in zip(said, (Position(170, 20, 3.0), Position(10, -20, 1.5)), strict=True):
        x, y, z = point_at(Listener((0.0, 0.0, 0.0)), where)
        assert row.tolist() == pytest.approx([x, -z, y, where.distance_m], abs=1e-2)


def test_an_undecided_direction_is_no_position(spoken: SpokenPerception) -> None:
    unsure = encoding()
    assert unsure.slots is not None
    unsure.slots.azimuth_logits = torch.zeros(1, 2, 360)
    right, front, _, distance = _expected_position(unsure.slots)[0, 0].tolist()
    assert (right, front) == pytest.approx((0, 0), abs=1e-4)
    assert distance == pytest.approx(3.0 / TYPICAL_DISTANCE_M, abs=1e-3)


def test_an_empty_slot_is_silent(spoken: SpokenPerception) -> None:
    said = spoken(encoding((-30.0, 20.0)), torch.randn(len(shipped_tokenizer()), WIDTH))
    assert float(said[:, TOKENS_PER_SLOT:].detach().abs().max()) < 1e-4


def test_an_undecided_side_lies_between_its_words(spoken: SpokenPerception) -> None:
    unsure = encoding()
    assert unsure.slots is not None
    unsure.slots.azimuth_logits = torch.zeros(1, 2, 360)
    embeddings = torch.randn(len(shipped_tokenizer()), WIDTH)
    middle = (word("left", embeddings) + word("right", embeddings)) / 2 + word("dog", embeddings)
    torch.testing.assert_close(spoken(unsure, embeddings)[0, 1], middle, rtol=1e-3, atol=1e-3)


def test_the_reasoner_hears_what_is_spoken() -> None:
    reasoner = LlamaReasoner(LlamaReasonerConfig(token_dim=16, spoken_slots=2, num_queries=2, tiny_layers=1))
    heard = encoding()
    loss = reasoner.loss(heard, ["Where is the dog?"], ["right, front, below; 1.5m"])
    loss.backward()
    assert reasoner.spoken.places.grad is not None
    assert float(reasoner.spoken.places.grad.abs().max()) > 0
    swapped = reasoner.loss(encoding((20.0, 9.0)), ["Where is the dog?"], ["right, front, below; 1.5m"])
    assert not torch.equal(swapped, loss)


def test_what_it_needs_is_said() -> None:
    reasoner = LlamaReasoner(LlamaReasonerConfig(token_dim=16, spoken_slots=1, num_queries=2, tiny_layers=1))
    with pytest.raises(BadInput, match="spoken_slots needs an encoder with all four heads"):
        reasoner.answer(Encoding(torch.randn(1, 8, 16)), ["Where is it?"])


def test_a_language_model_in_bfloat16_hears_it_too(tmp_path: Path, save_model: Callable[..., Path]) -> None:
    """Its word embeddings are bfloat16, what is trained beside them float32; matrices of both cannot be multiplied."""
    options = {"token_dim": 16, "llm": str(save_model(tmp_path)), "spoken_slots": 2, "num_queries": 2}
    losses = []
    for dtype in ("bfloat16", "float32"):
        torch.manual_seed(0)
        reasoner = LlamaReasoner(LlamaReasonerConfig(**options, dtype=dtype))  # type: ignore[arg-type]
        loss = reasoner.loss(encoding(), ["Where is the dog?"], ["right, front, below; 1.5m"])
        loss.backward()
        assert reasoner.spoken.places.grad is not None
        assert reasoner.spoken.places.grad.dtype == torch.float32
        losses.append(float(loss.detach()))
        assert len(reasoner.eval().answer(encoding(), ["Where is the dog?"])) == 1
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_what_is_spoken_may_be_all_that_is_heard(tmp_path: Path) -> None:
    """Heads in words need no tokens of the encoder beside them; without either, nothing would be heard."""
    config = LlamaReasonerConfig(token_dim=16, spoken_slots=2, num_queries=0, num_cls_tokens=0, tiny_layers=1)
    reasoner = LlamaReasoner(config)
    assert reasoner.prefix_tokens == 2 * TOKENS_PER_SLOT
    heard = encoding()
    loss = reasoner.loss(heard, ["Where is the dog?"], ["right, front, below; 1.5m"])
    loss.backward()
    other = Encoding(torch.randn(1, 8, 16), slots=heard.slots)
    assert reasoner.eval().answer(other, ["Where?"]) == reasoner.answer(heard, ["Where?"])
    reasoner.save_weights(tmp_path)
    LlamaReasoner(config).load_weights(tmp_path)
    for more in ({"spoken_slots": 0}, {"projector": "qformer"}):
        given = {"token_dim": 16, "spoken_slots": 2, "num_queries": 0, "num_cls_tokens": 0}
        with pytest.raises(BadInput, match="passes no sound on"):
            LlamaReasonerConfig(**(given | more))  # type: ignore[arg-type]
