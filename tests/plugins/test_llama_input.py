"""The reasoner `llama`: input, options and weights that do not fit, and its vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bat_agent.errors import BadInput, WeightsError
from bat_agent.interfaces import Encoding
from bat_agent.labels import labels
from bat_agent_llama import language_model
from bat_agent_llama.config import LlamaReasonerConfig
from bat_agent_llama.reasoner import LlamaReasoner
from bat_agent_llama.tokenizer import load_tokenizer, prompt_ids, shipped_tokenizer, train_tokenizer

DIM = 32
TOKENIZER = shipped_tokenizer()


def tiny(**options: object) -> LlamaReasoner:
    return LlamaReasoner(LlamaReasonerConfig(**{"token_dim": DIM, "tiny_layers": 1, **options}))


def random_encoding(clips: int, dim: int = DIM) -> Encoding:
    return Encoding(tokens=torch.randn(clips, 7, dim, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def reasoner() -> LlamaReasoner:
    return tiny().eval()


# Bad input


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"adapter": "lora"}, "for a language model that stays frozen"),
        ({"adapter": "prefix"}, "expected one of none, llama-adapter-v2, lora"),
        ({"projector": "mlp"}, "expected one of resampler, qformer"),
        ({"tokens": "some"}, "expected one of all, cls, patches"),
        ({"decoding": "best"}, "expected one of greedy, beam, sample"),
        ({"temperature": 0.0}, "decoding=greedy"),
        ({"projector": "qformer", "num_queries": 0}, "give num_queries a positive number"),
        ({"tokens": "patches", "num_queries": 0}, "passes no sound"),
        ({"tokens": "cls", "num_cls_tokens": 0}, "say how many leading tokens"),
        ({"lora_dropout": 1.0}, "below 1"),
        ({"adapter": "lora", "llm": "folder", "lora_targets": []}, "name linear maps"),
        ({"dtype": "int8"}, "expected one of float32"),
        ({"num_queries": 0, "num_cls_tokens": 0}, "passes no sound"),
        ({"num_queries": -1}, "must lie in 0…8192"),
        ({"projector_dim": 30}, "multiple of projector_heads=4"),
        ({"tiny_layers": 0}, "at least 1"),
    ],
)
def test_options_that_contradict(options: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        LlamaReasonerConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("encoding", "questions", "says"),
    [
        (random_encoding(1), ["What?", "  "], "question 1 is empty"),
        (random_encoding(1), ["dog " * 3000], "'dog dog.*shorten it"),
        (random_encoding(1, dim=48), ["What?"], "48 wide but the reasoner has token_dim=32"),
        (random_encoding(2), ["What?"] * 3, "3 questions about 2 clips"),
        (Encoding(tokens=torch.zeros(1, 2, DIM)), ["What?"], "gives 2 tokens"),
        (random_encoding(1), "What?", "single string"),
    ],
)
def test_input_that_does_not_fit(reasoner: LlamaReasoner, encoding: Encoding, questions: list[str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        reasoner.answer(encoding, questions)
    with pytest.raises(BadInput, match=says):
        reasoner.loss(encoding, questions, ["Yes"] * len(questions))


def test_answers_that_do_not_fit(reasoner: LlamaReasoner) -> None:
    assert reasoner.answer(random_encoding(2), []) == []
    for questions, answers, says in (
        (["What?"], ["a", "b"], "got 2 answers to 1"),
        ([], [], "got 0 answers"),
        (["What?"], [" "], "answer 0 is empty"),
    ):
        with pytest.raises(BadInput, match=says):
            reasoner.loss(random_encoding(1), questions, answers)


def test_weights_that_do_not_fit(reasoner: LlamaReasoner, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no reasoner weights"):
        reasoner.load_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(WeightsError, match="not a readable safetensors"):
        reasoner.load_weights(tmp_path)
    tiny(num_queries=4, num_cls_tokens=0).save_weights(tmp_path)
    other = tiny(num_queries=8)
    with pytest.raises(WeightsError, match=r"missing.*projector.direct.*misshapen.*projector.queries is \(4, 256\)"):
        other.load_weights(tmp_path)
    reasoner.save_weights(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="not a readable tokenizer"):
        tiny().load_weights(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=r"tokenizer.json is missing"):
        tiny().load_weights(tmp_path)


# Tokenizer


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_survives_the_vocabulary(text: str) -> None:
    tokenizer = TOKENIZER
    # Surrogates are no text, and the three control tokens are not spelt out in questions.
    if any(0xD800 <= ord(c) < 0xE000 for c in text) or any(t in text for t in tokenizer.all_special_tokens):
        return
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_vocabulary_of_answers() -> None:
    def pieces(text: str) -> list[str]:
        return [TOKENIZER.decode([i]) for i in TOKENIZER(text, add_special_tokens=False).input_ids]

    assert pieces(" Yes") == [" Yes"]
    assert pieces(" No") == [" No"]
    assert pieces(" left, behind, below; 10.5m") == [
        *(" left", ",", " behind", ",", " below", ";"),
        *(" ", "1", "0", ".", "5", "m"),
    ]
    assert len(TOKENIZER) <= language_model.TINY_VOCABULARY
    lengths = [len(pieces(f" {name.lower()}")) for name in labels()]
    assert sum(lengths) / len(lengths) < 4


def test_training_a_vocabulary_is_deterministic(tmp_path: Path) -> None:
    texts = [f" {name}" for name in labels()]
    one, two = train_tokenizer(texts), train_tokenizer(iter(texts))
    assert one.get_vocab() == two.get_vocab()
    one.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path / "tokenizer.json").get_vocab() == one.get_vocab()


def test_prompt_is_the_papers() -> None:
    """BAT, appendix G; the beginning-of-text token stands between audio prefix and text."""
    (ids,) = prompt_ids(TOKENIZER, ["Where is it?"])
    assert TOKENIZER.decode(ids) == (
        "<bos>Based on the audio you've heard, refer to the instruction and provide a response.\n\n"
        "### Instruction:\nWhere is it?\n\n### Response:"
    )
