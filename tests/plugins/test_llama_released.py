"""The released BAT's checkpoint: layout, logits and decoding, against the libraries that it was made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bat_agent.errors import WeightsError
from bat_agent.interfaces import Encoding
from bat_agent_llama.checkpoint import to_released
from bat_agent_llama.config import LlamaReasonerConfig
from bat_agent_llama.qformer import QFormer
from bat_agent_llama.reasoner import LlamaReasoner

# peft asks by a name that transformers has renamed since.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
DIM, QUERIES, LAYERS, WIDTH, HEADS = 32, 6, 4, 48, 4
QUESTIONS = ("Where is the sound of the dog coming from?", "Is the speech on your left side?", "What?")
PROMPT = (
    "Based on the audio you've heard, refer to the instruction and provide a response.\n\n### Instruction:\n{}\n\n"
    "### Response:"
)
SaveModel = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, save_model: SaveModel) -> Path:
    return save_model(tmp_path_factory.mktemp("llm"))


def released_parts(folder: Path) -> tuple[Any, Any, nn.Module]:
    """BLIP-2's Q-Former, a LLaMA in peft's LoRA, and the linear map, as the released system is put together."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Blip2QFormerConfig, Blip2QFormerModel

    config = Blip2QFormerConfig(hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=4 * WIDTH)
    config.encoder_hidden_size, config.num_hidden_layers = DIM, LAYERS
    qformer = Blip2QFormerModel(config).eval()
    llm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    wrapped = get_peft_model(llm, LoraConfig(r=8, lora_alpha=32, target_modules=["q_proj", "v_proj"])).eval()
    rest = nn.Module()
    rest.query = nn.Parameter(torch.randn(1, QUERIES, WIDTH))
    rest.linear, rest.norm = nn.Linear(WIDTH, 64), nn.LayerNorm(64)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for module in (qformer, rest):
            for tensor in module.parameters():
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator) + float(tensor.ndim == 1))
        for name, tensor in wrapped.named_parameters():
            if "lora_" in name:
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
    return qformer, wrapped, rest


def released_file(parts: tuple[Any, Any, nn.Module], file: Path) -> Path:
    """``model.pt`` as the released trainer writes it: the parameters that it trains, under its names, nothing else."""
    qformer, wrapped, rest = parts
    tensors = {f"encoder_projector.qformer.{name}": tensor for name, tensor in qformer.named_parameters()}
    tensors |= {f"encoder_projector.{name}": tensor for name, tensor in rest.named_parameters()}
    tensors |= {f"llm.{name}": tensor for name, tensor in wrapped.named_parameters() if tensor.requires_grad}
    torch.save({name: tensor.detach().clone() for name, tensor in tensors.items()}, file)
    return file


def reasoner(folder: Path, **options: Any) -> LlamaReasoner:
    given = {"projector": "qformer", "adapter": "lora", "num_queries": QUERIES, "projector_layers": LAYERS}
    given |= {"projector_dim": WIDTH, "projector_heads": HEADS, "token_dim": DIM, "dtype": "float32"}
    return LlamaReasoner(
        LlamaReasonerConfig(**{"llm": str(folder), "max_answer_tokens": 12, **given, **options})
    ).eval()


def encoding(clips: int = 1) -> Encoding:
    return Encoding(tokens=torch.randn(clips, 9, DIM, generator=torch.Generator().manual_seed(0)))


def embedded_prompt(parts: tuple[Any, Any, nn.Module], found: LlamaReasoner, tokens: Tensor, question: str) -> Tensor:
    """[audio queries] [BOS prompt], embedded, by the parts themselves."""
    qformer, wrapped, rest = parts
    seen = qformer(query_embeds=rest.query.expand(1, -1, -1), encoder_hidden_states=tokens).last_hidden_state
    ids = torch.tensor([[found.tokenizer.bos_token_id, *found.tokenizer(PROMPT.format(question)).input_ids]])
    return torch.cat([rest.norm(rest.linear(seen)), wrapped.get_input_embeddings()(ids)], dim=1)


@torch.no_grad()
def test_logits_are_those_of_blip2_and_peft(folder: Path, tmp_path: Path) -> None:
    parts = released_parts(folder)
    found = reasoner(folder)
    found.load_weights(released_file(parts, tmp_path / "model.pt"))
    clip = encoding()
    for question in QUESTIONS:
        embedded = embedded_prompt(parts, found, clip.tokens, question)
        expected = parts[1](inputs_embeds=embedded).logits
        ids = found.tokenizer(PROMPT.format(question)).input_ids
        ours = found.llm(inputs_embeds=found._beginning(clip, [found.tokenizer.bos_token_id, *ids])).logits
        assert expected.std() > 0.1  # large enough to differ
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("decoding", ["greedy", "beam"])
def test_answers_are_those_of_the_released_parts(folder: Path, tmp_path: Path, decoding: str) -> None:
    parts = released_parts(folder)
    found = reasoner(folder, decoding=decoding, closed_answers=False)
    found.load_weights(released_file(parts, tmp_path / "model.pt"))
    clip, end = encoding(), found.tokenizer.eos_token_id
    expected = []
    for question in QUESTIONS:
        embedded = embedded_prompt(parts, found, clip.tokens, question)
        ids = parts[1].generate(
            inputs_embeds=embedded, attention_mask=torch.ones(embedded.shape[:2], dtype=torch.long), do_sample=False,
            num_beams=4 if decoding == "beam" else 1, max_new_tokens=12, eos_token_id=end, pad_token_id=end,
        )  # fmt: skip
        expected.append(found.tokenizer.decode(ids[0], skip_special_tokens=True).strip())
    replies = found.answer(clip, QUESTIONS)
    assert [str(reply) for reply in replies] == expected
    assert len(set(expected)) == len(QUESTIONS)
    assert all(0 <= reply.confidence <= 1 for reply in replies)  # type: ignore[operator]


def test_released_sizes_are_the_released_files() -> None:
    """303 tensors: 69,367,296 numbers in 175 of the Q-Former, 4,194,304 in 128 of LoRA on q and v of 32 layers."""
    with torch.device("meta"):
        qformer = QFormer(768, 4096)
    shapes = [tuple(p.shape) for p in qformer.parameters()]
    assert len(shapes) == 175
    assert sum(p.numel() for p in qformer.parameters()) == 69_367_296
    names = {name for name, _ in qformer.named_parameters()}
    crossed = {name.split(".")[3] for name in names if "crossattention" in name}
    assert crossed == {"0", "2", "4", "6"}


def test_names_go_there_and_back(folder: Path, tmp_path: Path) -> None:
    """Our weights under the released names are the released file's tensors, all of them and no others."""
    file = released_file(released_parts(folder), tmp_path / "model.pt")
    found = reasoner(folder)
    found.load_weights(file)
    released = torch.load(file, weights_only=True)
    back = to_released(found.trained_state_dict())
    assert set(back) == set(released)
    assert all(torch.equal(back[name], released[name]) for name in released)


def test_a_released_file_in_another_reasoner_says_how_to_build_it(folder: Path, tmp_path: Path) -> None:
    file = released_file(released_parts(folder), tmp_path / "model.pt")
    other = LlamaReasoner(LlamaReasonerConfig(llm=str(folder), token_dim=DIM, adapter="llama-adapter-v2"))
    with pytest.raises(WeightsError, match="projector=qformer, adapter=lora"):
        other.load_weights(file)
    tensors = torch.load(file, weights_only=True)
    tensors.pop("encoder_projector.query")
    torch.save(tensors, tmp_path / "lacks.pt")
    with pytest.raises(WeightsError, match=r"1 missing \(projector.query\)"):
        reasoner(folder).load_weights(tmp_path / "lacks.pt")
    torch.save({"encoder.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="it looks like nothing known here"):
        reasoner(folder).load_weights(tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"or the released model\.pt"):
        reasoner(folder).load_weights(tmp_path / "nowhere.pt")


def test_sampling_follows_its_seed_and_the_papers_values_are_greedy_in_practice(folder: Path) -> None:
    found, again, other = (reasoner(folder, decoding="sample", temperature=2.0, top_p=1.0, seed=s) for s in (0, 0, 1))
    for reasoner_ in (again, other):
        reasoner_.load_trained_state_dict(found.trained_state_dict())
    assert found.answer(encoding(), QUESTIONS) == again.answer(encoding(), QUESTIONS)
    assert found.answer(encoding(), QUESTIONS) != other.answer(encoding(), QUESTIONS)


@pytest.mark.parametrize(("tokens", "places"), [("cls", range(3)), ("patches", range(3, 9)), ("all", range(9))])
def test_only_the_chosen_tokens_are_heard(folder: Path, tokens: str, places: range) -> None:
    for projector in ("qformer", "resampler"):
        found = reasoner(folder, projector=projector, tokens=tokens)
        clip = encoding().tokens.requires_grad_()
        found._beginning(Encoding(tokens=clip), []).square().sum().backward()
        assert clip.grad is not None
        heard = (clip.grad[0].abs().sum(dim=1) > 0).nonzero().flatten().tolist()
        assert heard == list(places), projector
