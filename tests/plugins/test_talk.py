"""The reasoner `talk` reads questions: with small language models, as a user would bring them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent.errors import BadInput, WeightsError
from bat_agent.interfaces import Encoding
from bat_agent.questions.free import KINDS, read_query
from bat_agent.questions.free.rehearsal import rehearse
from bat_agent_talk.config import TalkConfig
from bat_agent_talk.reasoner import UNTRAINED, TalkReasoner
from bat_agent_talk.shapes import SHAPES, SOUND, fixed_choices, own_choices, query_of, slots_after, symbols

SaveModel = Callable[..., Path]
QUESTIONS = (
    "Where is the zebra?",
    "would I have the dog behind me if i turned 40 degrees to the right",
    "Is the bell nearer than 3.7 m?",
    "Q: Is there a siren? A: Yes Q: And where?",
    "?",
    "ÄÖ 123 ¿qué?",
)
NOTHING = Encoding(torch.zeros(1, 1, 4))


@pytest.fixture(scope="module")
def folder(save_model: SaveModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("llm"), "grouped", layers=2)


def reasoner(folder: Path, **options: Any) -> TalkReasoner:
    return TalkReasoner(TalkConfig(llm=str(folder), lora_rank=4, lora_alpha=8, **options)).eval()


def test_every_query_is_written_and_read_back() -> None:
    assert {shape.kind for shape in SHAPES} == set(KINDS)
    assert len({shape.word for shape in SHAPES}) == len(SHAPES)
    for question, query in rehearse(np.random.default_rng(3), 400):
        said = symbols(query)
        assert said is not None
        assert query_of(said) == query == read_query(str(query))
        for slot, text in zip(("", *slots_after(said[0])), said, strict=True):
            known = text in fixed_choices(slot) or text in own_choices(slot, question)
            assert known or slot == SOUND, (question, text)


def test_a_question_lends_names_and_numbers_that_the_table_has_not() -> None:
    assert "zebra" in own_choices(SOUND, "Where is the zebra?")
    assert "washing machine" in own_choices(SOUND, "How far to the washing machine over there?")
    assert own_choices(SOUND, "Is the dog on my left?") == ()
    assert own_choices("limit", "Is it within 3.7 m?") == ("3.7",)
    assert own_choices("turn", "if I turned 40 degrees") == ("left 40", "right 40")


def test_what_is_read_is_as_likely_as_training_has_it(folder: Path) -> None:
    """Token by token with a cache next to all at once, alone next to many in a row."""
    found = reasoner(folder)
    together = found.reader.read(QUESTIONS)
    for question, reading in zip(QUESTIONS, together, strict=True):
        (alone,) = found.reader.read([question])
        assert alone.query == reading.query
        loss = float(found.loss(NOTHING, [question], [str(reading.query)]).detach())
        assert math.exp(-loss) == pytest.approx(reading.probability, rel=1e-3)
        assert alone.probability == pytest.approx(reading.probability, rel=1e-3)


def test_it_learns_to_read(folder: Path) -> None:
    found = reasoner(folder).train()
    asked = ["where is the dog", "is the rain on my left", "how many are there", "who wrote Hamlet"]
    queries = ["where: dog", "is side: rain; side left", "count", "not about sound"]
    assert found.notes == (UNTRAINED,)
    optimiser = torch.optim.AdamW([p for p in found.parameters() if p.requires_grad], lr=0.02)
    frozen = found.reader.model.layers[0].mlp.up_proj.base.weight.clone()  # type: ignore[union-attr]
    for _ in range(40):
        optimiser.zero_grad()
        found.loss(NOTHING, asked, queries).backward()
        optimiser.step()
    assert [str(query) for query in found.eval().queries(asked)] == queries
    assert torch.equal(frozen, found.reader.model.layers[0].mlp.up_proj.base.weight)  # type: ignore[union-attr]


def test_folded_in_and_read_from_disk_it_reads_the_same(folder: Path, tmp_path: Path) -> None:
    found = reasoner(folder)
    with torch.no_grad():
        for name, tensor in found.named_parameters():
            if name.endswith("lora_b"):
                tensor.normal_(std=0.05)
    found.save_weights(tmp_path)
    other = reasoner(folder)
    assert other.notes == (UNTRAINED,)
    other.load_weights(tmp_path)
    assert other.notes == ()
    before = found.reader.read(QUESTIONS)
    other.reader.merge()
    for first, second in zip(before, other.reader.read(QUESTIONS), strict=True):
        assert first.query == second.query
        assert first.probability == pytest.approx(second.probability, rel=1e-2)


def test_wrong_input_is_told_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    found = reasoner(folder)
    with pytest.raises(BadInput, match=r"got 1 queries to 2 questions"):
        found.loss(NOTHING, ["a", "b"], ["count"])
    with pytest.raises(BadInput, match="no query is of the kind 'yes'"):
        found.loss(NOTHING, ["a"], ["Yes"])
    with pytest.raises(BadInput, match="no way to write the query"):
        found.loss(NOTHING, ["a"], ["is side: dog; side left front; turn around"])
    with pytest.raises(BadInput, match="do not divide"):
        found.answer(Encoding(torch.zeros(2, 1, 4)), ["a", "b", "c"])
    with pytest.raises(WeightsError, match="there are no reasoner weights"):
        found.load_weights(tmp_path)
    with pytest.raises(WeightsError, match="no language model folder"):
        TalkConfig(llm=str(tmp_path / "none" / "at" / "all")).check()
    for wrong in ({"dtype": "int8"}, {"lora_rank": 0}, {"sure": 1.5}):
        with pytest.raises(BadInput, match=next(iter(wrong))):
            TalkConfig(**wrong)  # type: ignore[arg-type]
