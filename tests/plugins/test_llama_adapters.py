"""LLaMA-Adapter V2 and LoRA: no difference at first, the formulas afterwards, and nothing but the difference saved."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from bat_agent.errors import BadInput, WeightsError
from bat_agent.interfaces import Encoding
from bat_agent_llama.adapter_v2 import AdapterV2
from bat_agent_llama.config import LlamaReasonerConfig
from bat_agent_llama.reasoner import LlamaReasoner

DIM = 32
QUESTIONS = ("Identify the sound events in the audio clip.", "Is the speech on your left side?")
ANSWERS = ("dog; speech", "Yes")
SaveModel = Callable[..., Path]
EVERY_SHAPE = ("llama", "grouped", "biased", "mistral", "qwen2", "qwen3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, save_model: SaveModel) -> Path:
    return save_model(tmp_path_factory.mktemp("llm"))


def reasoner(folder: Path, adapter: str, **options: Any) -> LlamaReasoner:
    options = {"token_dim": DIM, "dtype": "float32", "lora_dropout": 0.0, "adapter_prompts": 3, **options}
    return LlamaReasoner(LlamaReasonerConfig(llm=str(folder), adapter=adapter, **options))


def encoding(clips: int = 2, seed: int = 0) -> Encoding:
    return Encoding(tokens=torch.randn(clips, 7, DIM, generator=torch.Generator().manual_seed(seed)))


def logits(found: LlamaReasoner) -> Tensor:
    ids = torch.arange(3, 33).view(2, 15)
    return found.llm(input_ids=ids).logits


def shake(found: LlamaReasoner, seed: int = 5) -> LlamaReasoner:
    """Trained, as it were: every adapter tensor is somewhere else."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in found.named_parameters():
            if name.startswith("adapter.") or "lora_" in name:
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("scale", ["output", "input"])
@pytest.mark.parametrize("shape", EVERY_SHAPE)
def test_logits_are_the_base_models_bit_for_bit_at_first(
    tmp_path: Path, save_model: SaveModel, shape: str, scale: str, dtype: str
) -> None:
    where = save_model(tmp_path, shape, layers=3)
    base = logits(reasoner(where, "none", dtype=dtype))
    for adapter in ("llama-adapter-v2", "lora", "llama-adapter-v2+lora"):
        found = reasoner(where, adapter, dtype=dtype, adapter_scale=scale)
        assert torch.equal(logits(found), base)
        assert not torch.equal(logits(shake(found)), base)  # the test could fail


def test_gradient_checkpointing_changes_nothing(folder: Path) -> None:
    expected = _gradients(shake(reasoner(folder, "llama-adapter-v2+lora")))
    found = _gradients(shake(reasoner(folder, "llama-adapter-v2+lora", gradient_checkpointing=True)))
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name


def test_eager_attention_says_the_same(folder: Path) -> None:
    found = shake(reasoner(folder, "llama-adapter-v2+lora"))
    expected = logits(found)
    assert found.adapter is not None
    found.adapter.detach(found.llm)
    found.llm.set_attn_implementation("eager")
    found.adapter.attach(found.llm)
    torch.testing.assert_close(logits(found), expected, atol=1e-4, rtol=1e-4)


def test_gradient_checkpointing_computes_again(folder: Path) -> None:
    """Otherwise it would be an option without effect."""
    calls = []
    for checkpointing in (False, True):
        found = reasoner(folder, "llama-adapter-v2", gradient_checkpointing=checkpointing)
        seen: list[int] = []
        found.llm.model.layers[0].input_layernorm.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        _gradients(found)
        calls.append(len(seen))
    assert calls == [1, 2]


@pytest.mark.parametrize("adapter", ["llama-adapter-v2", "lora", "llama-adapter-v2+lora"])
def test_gradients_reach_exactly_what_is_trained(folder: Path, adapter: str) -> None:
    found = shake(reasoner(folder, adapter))
    _gradients(found)
    trained = set(found.trained_state_dict())
    assert {name for name, p in found.named_parameters() if p.grad is not None and p.grad.abs().max() > 0} == trained
    assert {name for name, p in found.named_parameters() if p.requires_grad} == trained
    base = {name for name, _ in reasoner(folder, "none").llm.named_parameters()}
    assert not {name.removeprefix("llm.").replace(".base_layer", "") for name in trained} & base
    assert all(found.get_parameter(name).dtype == torch.float32 for name in trained)


def test_closed_gates_let_the_gradient_of_the_gates_through(folder: Path) -> None:
    """At the first step the prompts have none, as nothing they say is heard; the gates must open by themselves."""
    gradients = _gradients(reasoner(folder, "llama-adapter-v2"))
    assert all(g.abs().max() > 0 for name, g in gradients.items() if name.endswith("gate"))
    assert all(g.abs().max() == 0 for name, g in gradients.items() if name.endswith("prompt"))


@pytest.mark.parametrize("scale", ["output", "input", "none"])
def test_logits_follow_the_formulas_of_the_paper(folder: Path, scale: str) -> None:
    """A Llama with LLaMA-Adapter V2 written out in float64, one position and one head after the other."""
    found = shake(reasoner(folder, "llama-adapter-v2", adapter_scale=scale))
    ids = torch.arange(3, 12)
    expected = _written_out(found, ids)
    torch.testing.assert_close(found.llm(input_ids=ids[None]).logits[0].double(), expected, atol=1e-4, rtol=1e-4)


def test_seven_billion_parameters_get_as_many_as_the_formulas_say() -> None:
    """On LLaMA-2 7B: bias and scale of 7 linear maps in 32 layers, 65 norms, 10 prompts and 32 gates in 30 layers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        adapter = AdapterV2(LlamaForCausalLM(LlamaConfig(num_hidden_layers=32)))
    outputs = 32 * (5 * 4096 + 2 * 11008)
    assert sum(p.numel() for p in adapter.linears.parameters()) == 2 * outputs == 2 * 1_359_872
    assert sum(p.numel() for p in adapter.norms.parameters()) == 65 * 4096
    assert sum(p.numel() for p in adapter.prompts.parameters()) == 30 * (10 * 4096 + 32)
    assert sum(p.numel() for p in adapter.parameters()) == 4_215_744


@pytest.mark.parametrize("adapter", ["llama-adapter-v2", "lora", "llama-adapter-v2+lora"])
def test_only_what_is_trained_is_saved_and_read_again(folder: Path, tmp_path: Path, adapter: str) -> None:
    found = shake(reasoner(folder, adapter))
    found.save_weights(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == set(found.trained_state_dict())
    again = reasoner(folder, adapter, seed=3)
    assert not torch.equal(logits(again), logits(found))
    again.load_weights(tmp_path)
    assert torch.equal(logits(again), logits(found))
    with pytest.raises(WeightsError, match=r"unexpected|missing"):
        reasoner(folder, "none").load_weights(tmp_path)


def test_an_adapter_of_another_depth_is_refused(folder: Path, tmp_path: Path, save_model: SaveModel) -> None:
    reasoner(folder, "llama-adapter-v2").save_weights(tmp_path)
    shallow = reasoner(save_model(tmp_path / "llm", layers=3), "llama-adapter-v2")
    with pytest.raises(WeightsError, match=r"unexpected \(adapter"):
        shallow.load_weights(tmp_path)


@pytest.mark.parametrize("adapter", ["llama-adapter-v2", "lora", "llama-adapter-v2+lora"])
@pytest.mark.parametrize("shape", ["llama", "biased"])
def test_merged_adapter_says_the_same(tmp_path: Path, save_model: SaveModel, shape: str, adapter: str) -> None:
    found = shake(reasoner(save_model(tmp_path, shape), adapter)).eval()
    before = logits(found)
    modules = sum(1 for _ in found.llm.modules())
    found.merge_adapter()
    torch.testing.assert_close(logits(found), before, atol=2e-4, rtol=1e-4)
    assert not [name for name, _ in found.llm.named_modules() if "lora_" in name]
    hooks = [m for m in found.llm.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not hooks
    assert sum(1 for _ in found.llm.modules()) <= modules
    with pytest.raises(BadInput, match="before merging"):
        found.save_weights(tmp_path)


def test_nothing_to_merge(folder: Path) -> None:
    with pytest.raises(BadInput, match="adapter=none"):
        reasoner(folder, "none").merge_adapter()


@pytest.mark.parametrize("adapter", ["llama-adapter-v2", "llama-adapter-v2+lora"])
def test_generate_with_cache_is_generate_without(folder: Path, adapter: str) -> None:
    found = shake(reasoner(folder, adapter)).eval()
    ids = torch.arange(3, 15).view(2, 6)
    mask = torch.ones_like(ids)
    mask[1, :2] = 0
    common: dict[str, Any] = {"attention_mask": mask, "max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    plain = found.llm.generate(ids, use_cache=False, **common)
    assert torch.equal(found.llm.generate(ids, use_cache=True, **common), plain)
    assert torch.equal(found.llm.generate(ids, cache_implementation="static", **common), plain)
    beams = [found.llm.generate(ids, use_cache=cache, num_beams=4, **common) for cache in (True, False)]
    assert torch.equal(*beams)


def test_compiled_forward_is_the_plain_one(folder: Path) -> None:
    found = shake(reasoner(folder, "llama-adapter-v2")).eval()
    ids = torch.arange(3, 15).view(2, 6)
    compiled = torch.compile(found.llm.model, backend="eager", fullgraph=True)
    with torch.no_grad():
        expected = found.llm.model(input_ids=ids, use_cache=False).last_hidden_state
        got = compiled(input_ids=ids, use_cache=False).last_hidden_state
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_bfloat16_base_with_a_float32_adapter_learns(folder: Path) -> None:
    found = reasoner(folder, "llama-adapter-v2+lora", dtype="bfloat16")
    optimiser = torch.optim.AdamW([p for p in found.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(30):
        loss = found.loss(encoding(), QUESTIONS * 2, ["dog; speech", "Yes", "music", "No"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert found.llm.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16


def test_detached_adapter_gives_the_base_back(folder: Path) -> None:
    found = shake(reasoner(folder, "llama-adapter-v2"))
    base = logits(reasoner(folder, "none"))
    assert found.adapter is not None
    found.adapter.detach(found.llm)
    assert torch.equal(logits(found), base)
    found.adapter.attach(found.llm)
    assert not torch.equal(logits(found), base)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"adapter": "llama-adapter-v2", "adapter_layers": 9}, "more than the 4 layers"),
        ({"adapter": "lora", "lora_targets": ["query"]}, "expected names such as q_proj"),
        (
            {"adapter": "llama-adapter-v2", "adapter_prompts": 0, "adapter_bias": False, "adapter_scale": "none",
             "adapter_norms": False},
            "has no parts",
        ),
    ],
)  # fmt: skip
def test_adapters_that_cannot_be_built(folder: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        reasoner(folder, **{"adapter": "none", **options})


def _gradients(found: LlamaReasoner) -> dict[str, Tensor]:
    found.zero_grad()
    found.train()
    found.loss(encoding(), QUESTIONS * 2, ANSWERS * 2).backward()
    return {name: p.grad.clone() for name, p in found.named_parameters() if p.grad is not None}


def _written_out(found: LlamaReasoner, ids: Tensor) -> Tensor:
    """Logits (T, V) of one text: every formula as it stands in the papers, nothing shared with the adapter's code."""
    llm, adapter = copy.deepcopy(found.llm).double(), {k: v.double() for k, v in found.state_dict().items()}
    config, model = llm.config, llm.model
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads

    def linear(x: Tensor, name: str, module: Any) -> Tensor:
        key = f"adapter.linears.{name.replace('.', '-')}"
        scale, bias = adapter.get(f"{key}.scale", torch.ones(1).double()), adapter[f"{key}.bias"]
        if found.config.adapter_scale == "input":
            return F.linear(scale * x, module.weight) + bias
        return scale * (F.linear(x, module.weight) + bias)

    def norm(x: Tensor, name: str, module: Any) -> Tensor:
        unit = x / (x.square().mean(-1, keepdim=True) + config.rms_norm_eps).sqrt()
        return unit * module.weight * adapter[f"adapter.norms.{name.replace('.', '-')}.factor"]

    def rotate(x: Tensor) -> Tensor:
        angle = torch.arange(len(x)).double()[:, None] / 10_000 ** (torch.arange(0, size, 2).double() / size)
        cos, sin = (torch.cat([part, part], dim=-1) for part in (angle.cos(), angle.sin()))
        turned = torch.cat([-x[:, size // 2 :], x[:, : size // 2]], dim=-1)
        return x * cos + turned * sin

    hidden = model.embed_tokens.weight[ids]
    first = config.num_hidden_layers - len(found.adapter.prompts)  # type: ignore[union-attr]
    for n, layer in enumerate(model.layers):
        at, mlp, name = layer.self_attn, layer.mlp, f"layers.{n}"
        x = norm(hidden, f"{name}.input_layernorm", layer.input_layernorm)
        q, k, v = (linear(x, f"{name}.self_attn.{p}_proj", getattr(at, f"{p}_proj")) for p in "qkv")
        said = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            query, key = rotate(q[:, part]), rotate(k[:, part])
            weights = (query @ key.T / size**0.5).masked_fill(torch.ones(len(ids), len(ids)).triu(1).bool(), -torch.inf)
            out = weights.softmax(-1) @ v[:, part]
            if n >= first:
                prompt = adapter[f"adapter.prompts.{n - first}.prompt"]
                pk, pv = (linear(prompt, f"{name}.self_attn.{p}_proj", getattr(at, f"{p}_proj"))[:, part] for p in "kv")
                gate = adapter[f"adapter.prompts.{n - first}.gate"][head].tanh()
                out = out + gate * (query @ pk.T / size**0.5).softmax(-1) @ pv
            said.append(out)
        hidden = hidden + linear(torch.cat(said, dim=-1), f"{name}.self_attn.o_proj", at.o_proj)
        x = norm(hidden, f"{name}.post_attention_layernorm", layer.post_attention_layernorm)
        gated = F.silu(linear(x, f"{name}.mlp.gate_proj", mlp.gate_proj)) * linear(
            x, f"{name}.mlp.up_proj", mlp.up_proj
        )
        hidden = hidden + linear(gated, f"{name}.mlp.down_proj", mlp.down_proj)
    return norm(hidden, "norm", model.norm) @ llm.lm_head.weight.T


@pytest.mark.parametrize("past", [True, False])
def test_prompts_go_past_lora_or_through_it(folder: Path, past: bool) -> None:
    """The released code of LLaMA-Adapter leads prompts through the language model's own maps, without LoRA; what they
    are to a layer stays so when LoRA is merged into these maps.
    """
    found = shake(reasoner(folder, "llama-adapter-v2+lora", adapter_prompts_past_lora=past))
    assert found.adapter is not None
    layer = found.llm.model.layers[-1].self_attn
    key, value = found.adapter.prompts[-1].keys_and_values(layer, torch.float32)
    for said, module, name in ((key, layer.k_proj, "k"), (value, layer.v_proj, "v")):
        weight = module.base_layer.weight if hasattr(module, "base_layer") else module.weight
        if not past and hasattr(module, "lora_A"):
            weight = weight + module.scaling["default"] * module.lora_B.default.weight @ module.lora_A.default.weight
        change = found.adapter.linears[f"layers-{len(found.llm.model.layers) - 1}-self_attn-{name}_proj"]
        expected = change.scale * (found.adapter.prompts[-1].prompt @ weight.T + change.bias)
        torch.testing.assert_close(said.flatten(), expected.flatten(), atol=1e-5, rtol=1e-5)
    before = logits(found)
    found.merge_adapter()
    torch.testing.assert_close(logits(found), before, atol=1e-4, rtol=1e-4)
