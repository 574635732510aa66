"""Language models of many kinds, as users bring them: families, vocabularies without pad or beginning, other widths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bat_agent.errors import BadInput, WeightsError
from bat_agent.interfaces import Encoding
from bat_agent_llama.config import LlamaReasonerConfig
from bat_agent_llama.language_model import SHAPES
from bat_agent_llama.reasoner import LlamaReasoner
from bat_agent_llama.tokenizer import prompt_ids, separator_of

DIM = 32
QUESTIONS = ("Identify the sound events in the audio clip.", "Is the speech on your left side?")
SaveModel = Callable[..., Path]
# Parameters in million, as their authors and model cards give them.
SIZES = {
    "meta-llama/Llama-2-7b-hf": 6738.4,
    "meta-llama/Llama-2-13b-hf": 13015.9,
    "meta-llama/Llama-3.1-8B": 8030.3,
    "meta-llama/Llama-3.2-1B": 1235.8,
    "openlm-research/open_llama_7b_v2": 6738.4,
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T": 1100.0,
    "smollm2-135m": 134.5,
    "HuggingFaceTB/SmolLM2-135M": 134.5,
    "HuggingFaceTB/SmolLM2-360M": 361.8,
    "HuggingFaceTB/SmolLM2-1.7B": 1711.4,
}


def reasoner(folder: Path | str, **options: Any) -> LlamaReasoner:
    given: dict[str, Any] = {"token_dim": DIM, "dtype": "float32", "max_answer_tokens": 6}
    return LlamaReasoner(LlamaReasonerConfig(llm=str(folder), **(given | options)))


def encoding(clips: int = 2) -> Encoding:
    return Encoding(tokens=torch.randn(clips, 7, DIM, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("shape", ["grouped", "biased", "mistral", "qwen2", "qwen3"])
def test_every_family_trains_and_answers(tmp_path: Path, save_model: SaveModel, shape: str) -> None:
    """Packed questions next to one at a time, for loss and answers, with both adapters."""
    found = reasoner(save_model(tmp_path, shape), adapter="llama-adapter-v2+lora", lora_dropout=0.0)
    answers = ["dog; speech", "Yes", "music", "No"]
    packed = found.loss(encoding(), QUESTIONS * 2, answers)
    single = found.loss(encoding()[[0, 0, 1, 1]], QUESTIONS * 2, answers)
    torch.testing.assert_close(packed, single, atol=1e-4, rtol=1e-4)
    packed.backward()
    found.eval()
    together = found.answer(encoding(), QUESTIONS * 2)
    alone = [found.answer(encoding()[[clip]], [question])[0] for clip in (0, 1) for question in QUESTIONS]
    assert together == alone


def test_a_tokenizer_without_pad_and_beginning_will_do(tmp_path: Path, save_model: SaveModel) -> None:
    """As SmolLM2's: no pad token, and one that both begins and ends a text, which is not put in front."""
    save_model(tmp_path)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.pad_token = None
    tokenizer.bos_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path)
    found = reasoner(tmp_path)
    assert found.tokenizer.pad_token is None
    (ids,) = prompt_ids(found.tokenizer, ["What?"])
    assert ids[0] != found.tokenizer.eos_token_id
    assert len(found.eval().answer(encoding(), QUESTIONS * 2)) == 4
    for decoding in ("beam", "sample"):
        other = reasoner(tmp_path, decoding=decoding).eval()
        assert len(other.answer(encoding(), ["What?", "Where is the dog, please tell me?"])) == 2


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path, save_model: SaveModel) -> None:
    save_model(tmp_path)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="no end-of-text token"):
        reasoner(tmp_path)


def test_weights_of_another_width_are_refused_with_the_reason(tmp_path: Path, save_model: SaveModel) -> None:
    narrow = reasoner(save_model(tmp_path / "a"), adapter="llama-adapter-v2")
    wide = reasoner(save_model(tmp_path / "b", hidden_size=96), adapter="llama-adapter-v2")
    narrow.save_weights(tmp_path / "weights")
    with pytest.raises(WeightsError, match=r"misshapen .*another language model, or an encoder"):
        wide.load_weights(tmp_path / "weights")
    with pytest.raises(BadInput, match="build it with token_dim=48"):
        wide.answer(Encoding(tokens=torch.zeros(1, 7, 48)), ["What?"])


def test_a_question_that_does_not_fit_is_refused_before_anything_is_computed(
    tmp_path: Path, save_model: SaveModel
) -> None:
    found = reasoner(save_model(tmp_path, max_position_embeddings=80))
    with pytest.raises(BadInput, match=r"needs \d+ tokens with prompt and answer, expected at most \d+; shorten it"):
        found.answer(encoding(1), ["Where is the dog? " * 40])
    with pytest.raises(BadInput, match="question 1 is empty"):
        found.answer(encoding(1), ["What?", "  "])


@pytest.mark.parametrize("name", SHAPES)
def test_known_shapes_have_the_size_that_their_authors_give(name: str) -> None:
    """Built without weights or network, adapter included; the base alone is counted."""
    found = LlamaReasoner.outline(LlamaReasonerConfig(llm=name, token_dim=DIM, adapter="llama-adapter-v2"))
    base = sum(parameter.numel() for parameter in found.llm.parameters())
    assert base / 1e6 == pytest.approx(SIZES[name], rel=1e-3)
    assert all(parameter.device.type == "meta" for parameter in found.parameters())
    assert not any(parameter.requires_grad for parameter in found.llm.parameters())


def test_an_unknown_model_that_is_not_at_hand_cannot_be_outlined() -> None:
    with pytest.raises(WeightsError, match="/nowhere/nothing"):
        LlamaReasoner.outline(LlamaReasonerConfig(llm="/nowhere/nothing", token_dim=DIM))


def words(**options: Any) -> Any:
    """A byte-level vocabulary with SmolLM2's marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "</s>", *alphabet, "ĠY", "es", "ĠYes"]
    merges = [("Ġ", "Y"), ("e", "s"), ("ĠY", "es")]
    bpe = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", **options)


@pytest.mark.parametrize(("template", "front"), [("<s> $A", [0]), ("$A", []), ("<s> $A </s>", [0])])
def test_a_prompt_begins_as_the_tokenizer_begins_a_text(template: str, front: list[int]) -> None:
    """SmolLM2-Instruct names a beginning-of-text token, which opens a turn of its chat, and puts none in front."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = words()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    (ids,) = prompt_ids(tokenizer, ["What?"])
    assert ids[: len(front)] == front
    assert 0 not in ids[len(front) :]
    assert 1 not in ids


def test_an_answer_stands_behind_a_blank_where_words_have_theirs() -> None:
    """Byte-level vocabularies know " Yes" as one token; Llama 2's puts the blank in front by itself, as released."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    assert separator_of(words()) == " "
    vocabulary = {token: number for number, token in enumerate(["<s>", "▁", "Yes", "▁Yes"])}
    pieces = Tokenizer(models.BPE(vocabulary, [], unk_token="<s>"))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    assert separator_of(PreTrainedTokenizerFast(tokenizer_object=pieces)) == ""


def test_who_was_never_trained_says_so(tmp_path: Path, save_model: SaveModel) -> None:
    """In the notes of every answer, also after it was saved and loaded; a step of training ends it."""
    found = reasoner(save_model(tmp_path), adapter="llama-adapter-v2").eval()
    assert "not trained" in found.notes[0]
    for half in (False, True):
        found.save_weights(tmp_path / "saved", half=half)
        again = reasoner(tmp_path, adapter="llama-adapter-v2")
        again.load_weights(tmp_path / "saved")
        assert again.notes == found.notes
    found.train().loss(encoding(), QUESTIONS * 2, ["dog", "Yes"] * 2).backward()
    with torch.no_grad():
        found.projector.queries += 0.1  # type: ignore[operator]
    assert found.notes == ()
    found.save_weights(tmp_path / "saved")
    again.load_weights(tmp_path / "saved")
    assert again.notes == ()
