"""The decoder of `talk` computes what transformers' models compute, from the folders that transformers writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from bat_agent.errors import WeightsError
from bat_agent_talk.decoder import Shape
from bat_agent_talk.language_model import load_language_model
from bat_agent_talk.packing import Row
from bat_agent_talk.stored_rows import MOST_KEPT, StoredRows

SaveModel = Callable[..., Path]
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"tie_word_embeddings": True}),
    "llama with biases": ("biased", {}),
    "llama with grouped, wide heads": ("grouped", {"head_dim": 32, "tie_word_embeddings": False}),
    "llama 3.1": ("llama", {"rope_parameters": LLAMA3}),
    "llama with positions interpolated": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}},
    ),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
}


@pytest.mark.parity
@pytest.mark.parametrize("name", list(MODELS))
def test_hidden_states_are_those_of_transformers(name: str, save_model: SaveModel, tmp_path: Path) -> None:
    """All at once, and in two pieces, the keys and values of the first kept, next to another question in the row."""
    shape, options = MODELS[name]
    reference = AutoModelForCausalLM.from_pretrained(save_model(tmp_path, shape, layers=3, **options)).eval()
    ids = torch.randint(0, 2048, (40,), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        wanted = reference.model(input_ids=ids[None]).last_hidden_state[0]
        llm = load_language_model(str(tmp_path), "float32")
        found = Row(llm.decoder, keep=False).extend([(0, ids.tolist())])
        row = Row(llm.decoder, keep=True)
        row.extend([(7, [5, 6, 7]), (0, ids[:25].tolist())])
        later = row.extend([(0, ids[25:].tolist()), (7, [8])])[:15]
        logits = found @ llm.head(torch.arange(2048)).float().T
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(later, wanted[25:], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(logits, reference(input_ids=ids[None]).logits[0], atol=5e-3, rtol=1e-3)


def test_what_questions_begin_with_alike_is_computed_once(save_model: SaveModel, tmp_path: Path) -> None:
    """Each hidden state is that of the question alone, also what is appended, and of the same question twice."""
    decoder = load_language_model(str(save_model(tmp_path, "grouped")), "float32").decoder
    first = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 7, 8], [6, 5], [5, 6]]
    later = [[3, 4], [3, 4], [3, 4], [3, 4], [7]]
    with torch.inference_mode():
        row = Row(decoder, keep=True)
        found = [row.extend(list(enumerate(some))).split([len(tokens) for tokens in some]) for some in (first, later)]
        assert row.width == 7 + 7
        for number, tokens in enumerate(zip(first, later, strict=True)):
            alone = Row(decoder, keep=False).extend([(0, tokens[0] + tokens[1])])
            torch.testing.assert_close(torch.cat([part[number] for part in found]), alone, atol=1e-5, rtol=1e-4)
    assert len(Row(decoder, keep=False).extend(list(enumerate(first)))) == 15  # learnt from, each stands for itself


def test_loading_imports_no_compiler(save_model: SaveModel, tmp_path: Path) -> None:
    """First values drawn on torch's meta device imported it, with sympy and triton: 1.5 s and 130 MB of every start."""
    save_model(tmp_path, "llama")
    code = (
        "import sys; from bat_agent_talk.language_model import load_language_model as load; "
        f"load({str(tmp_path)!r}, 'float32'); "
        "print([name for name in ('torch._dynamo', 'sympy', 'triton') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_rows_are_read_from_their_file(dtype: torch.dtype, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    matrix = torch.randn(MOST_KEPT + 100, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_file({"other": torch.ones(5), "table": matrix, "last": torch.ones(2)}, file)
    rows = StoredRows(file, "table")
    draw = torch.Generator().manual_seed(1)
    for count in (1, 7, 0, 5000, 5000):  # the last is more than is kept
        ids = torch.randint(0, len(matrix), (count,), generator=draw)
        assert torch.equal(rows(ids), matrix[ids])
    twice = torch.tensor([[3, 4], [3, 0]])
    assert torch.equal(rows(twice), matrix[twice])
    with pytest.raises(WeightsError, match="holds no readable matrix embedding"):
        StoredRows(file, "embedding")
    rows = StoredRows(file, "table")
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(WeightsError, match="has become shorter"):
        rows(torch.tensor([len(matrix) - 1]))
    file.unlink()
    with pytest.raises(WeightsError, match="can no longer be read"):
        rows(torch.tensor([9]))


def test_layers_that_are_computed_again_have_the_same_gradients(save_model: SaveModel, tmp_path: Path) -> None:
    save_model(tmp_path, "qwen3")
    gradients = []
    for again in (False, True):
        decoder = load_language_model(str(tmp_path), "float32").decoder.requires_grad_(True)
        decoder.again = again
        Row(decoder, keep=False).extend([(0, [1, 2, 3]), (1, [4, 5])]).square().sum().backward()
        gradients.append([tensor.grad for tensor in decoder.layers.parameters()])
    assert all(torch.allclose(one, other) for one, other in zip(*gradients, strict=True))


def test_half_precision_keeps_the_norms_of_the_result_close(save_model: SaveModel, tmp_path: Path) -> None:
    save_model(tmp_path, "llama")
    wide = load_language_model(str(tmp_path), "float32").decoder
    half = load_language_model(str(tmp_path), "bfloat16").decoder
    assert half.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16  # type: ignore[union-attr]
    with torch.inference_mode():
        first, second = (Row(model, keep=False).extend([(0, [9, 8, 7])]) for model in (wide, half))
    assert torch.nn.functional.cosine_similarity(first, second.float(), dim=-1).min() > 0.99


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt2"}, "model type 'gpt2'"),
        ({"hidden_act": "gelu"}, "other layers than Llama's"),
        ({"hidden_size": None}, "does not describe a language model"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rotation 'yarn'"),
    ],
)
def test_other_models_are_refused_in_a_sentence(changes: dict[str, Any], words: str) -> None:
    sizes = {
        "vocab_size": 9,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = {**sizes, "model_type": "llama", **changes}
    with pytest.raises(WeightsError, match=words):
        Shape.of(config, "this").frequencies()


def test_a_folder_without_its_parts_is_refused_in_a_sentence(save_model: SaveModel, tmp_path: Path) -> None:
    save_model(tmp_path, "llama")
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"not a readable safetensors file .* copy it again"):
        load_language_model(str(tmp_path), "float32")
    weights.unlink()
    with pytest.raises(WeightsError, match=r"holds no \*\.safetensors"):
        load_language_model(str(tmp_path), "float32")
    weights.write_bytes(whole)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"no readable tokenizer\.json"):
        load_language_model(str(tmp_path), "float32")
    for broken in ('{"model_type": "llama", "hidden_size": 32', "[" * 10_000):
        (tmp_path / "config.json").write_text(broken)
        with pytest.raises(WeightsError, match=r"no readable config\.json"):
            load_language_model(str(tmp_path), "float32")
