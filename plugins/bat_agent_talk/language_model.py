"""The frozen language model, and LoRA inside it.

LoRA is a dozen lines here and not peft's, as the whole of it must be loaded and answering within seconds: importing
peft alone takes one of them.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bat_agent.errors import WeightsError
from bat_agent.extras import needed
from bat_agent.hub import why_not_loaded
from bat_agent.language import check_name, converted_folder
from bat_agent.sound.torchaudio_parts import let_transformers_load

FAMILY = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose parts are called as Llama's are."""
_HELP = "choose another llm=, for instance smollm2-135m"


def check_language_model(name: str) -> None:
    """Raise ``WeightsError`` where ``name`` cannot be a language model, without loading any; a hub is not asked."""
    folder = Path(name).expanduser()
    if check_name(name) or folder.is_dir():
        return
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise WeightsError(f"there is no language model folder {folder}; {_HELP}")


# Width, layers, heads, key-value heads, inner width, vocabulary, tied embeddings (from their config.json files) of
# models that a recipe may name where their files are not at hand, to say what training would cost.
SHAPES = {
    "HuggingFaceTB/SmolLM2-360M-Instruct": (960, 32, 15, 5, 2560, 49152, True),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": (2048, 24, 32, 32, 8192, 49152, True),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": (2048, 22, 32, 4, 5632, 32000, False),
    "meta-llama/Llama-2-7b-hf": (4096, 32, 32, 32, 11008, 32000, False),
}


def outline_language_model(name: str, dtype: str) -> tuple[Any, Any]:
    """A model of a known shape without weights, on torch's meta device; the tokenizer is that of smollm2-135m, which
    must be here. Raises :class:`~bat_agent.errors.WeightsError` where the shape is not known.
    """
    if name not in SHAPES:
        raise WeightsError(
            f"the shape of {name} is not known here; give a folder with it, or one of {', '.join(SHAPES)}"
        )
    folder = converted_folder("smollm2-135m")
    let_transformers_load()
    with needed("llm", "the reasoner talk"):
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    width, layers, heads, groups, inner, vocabulary, tied = SHAPES[name]
    config = LlamaConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=groups,
        intermediate_size=inner, vocab_size=vocabulary, tie_word_embeddings=tied,
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype), attn_implementation="sdpa")
    return model.requires_grad_(False), AutoTokenizer.from_pretrained(str(folder))


def load_language_model(name: str, dtype: str) -> tuple[Any, Any]:
    """The causal language model and its tokenizer.

    Raises :class:`~bat_agent.errors.WeightsError` where the model is not here or of another family.
    """
    check_language_model(name)
    folder = converted_folder(name) or Path(name).expanduser()
    where = str(folder) if folder.exists() else name
    let_transformers_load()
    with needed("llm", "the reasoner talk"):
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(where)
        if config.model_type not in FAMILY:
            raise WeightsError(
                f"{name} is of model type {config.model_type!r}, expected the Llama architecture or a near relative "
                f"({', '.join(FAMILY)}); {_HELP}"
            )
        model = AutoModelForCausalLM.from_pretrained(
            where, config=config, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
        tokenizer = AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{why_not_loaded(name, error, 'llm')}, {_HELP}") from error
    return model.requires_grad_(False), tokenizer


class Lora(nn.Module):
    """A frozen linear map with an update of low rank: y = W·x + (α/r)·B·A·x, B = 0 at first (Hu et al. 2106.09685)."""

    def __init__(self, base: nn.Linear, rank: int, alpha: int) -> None:
        super().__init__()
        self.base, self.scale, self.merged = base, alpha / rank, False
        device = base.weight.device
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features, device=device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, device=device))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """x (…, in) → (…, out)."""
        out: Tensor = self.base(x)
        if self.merged:
            return out
        update = x.to(self.lora_a.dtype) @ self.lora_a.T @ self.lora_b.T
        return out + (self.scale * update).to(out.dtype)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the update to the frozen weights, for good; the update itself stays to be saved."""
        if not self.merged:
            self.base.weight += (self.scale * self.lora_b @ self.lora_a).to(self.base.weight.dtype)
            self.merged = True


def inject(model: nn.Module, rank: int, alpha: int) -> None:
    """Give every linear map of every layer an update, and let the last normalisation be trained."""
    layers: Any = model.layers
    for module in list(layers.modules()):
        for part, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, part, Lora(child, rank, alpha))
    norm: Any = model.norm
    norm.weight = nn.Parameter(norm.weight.detach().float())
