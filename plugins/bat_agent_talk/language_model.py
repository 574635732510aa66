"""The frozen language model, cut to its first layers, and LoRA inside it.

LoRA is a dozen lines here and not peft's, as the whole of it must be loaded and answering within seconds: importing peft
alone takes one of them.
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


def load_language_model(name: str, depth: float, dtype: str) -> tuple[Any, Any]:
    """The first layers, a share ``depth`` of all, of the model (``model.model`` of a causal one), and its tokenizer.

    Raises :class:`~bat_agent.errors.WeightsError` where the model is not here or of another family.
    """
    check_language_model(name)
    folder = converted_folder(name) or Path(name).expanduser()
    where = str(folder) if folder.exists() else name
    let_transformers_load()
    with needed("llm", "the reasoner talk"):
        from transformers import AutoConfig, AutoModel, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(where)
        if config.model_type not in FAMILY:
            raise WeightsError(
                f"{name} is of model type {config.model_type!r}, expected the Llama architecture or a near relative "
                f"({', '.join(FAMILY)}); {_HELP}"
            )
        cut(config, depth)
        model = AutoModel.from_pretrained(
            where, config=config, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
        tokenizer = AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{why_not_loaded(name, error, 'llm')}, {_HELP}") from error
    return model.requires_grad_(False), tokenizer


def cut(config: Any, depth: float) -> None:
    """Leave a configuration only its first layers."""
    config.num_hidden_layers = math.ceil(depth * config.num_hidden_layers - 1e-9)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]


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
    for name, module in list(model.layers.named_modules()):  # type: ignore[union-attr, operator]
        for part, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, part, Lora(child, rank, alpha))
        assert name is not None
    norm: Any = model.norm
    norm.weight = nn.Parameter(norm.weight.detach().float())
