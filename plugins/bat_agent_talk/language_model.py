"""The frozen language model, and LoRA inside it.

LoRA is a dozen lines here and not peft's, as the whole of it must be loaded and answering within seconds: importing
peft alone takes one of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bat_agent.checkpoint import check_state
from bat_agent.errors import WeightsError
from bat_agent.extras import needed
from bat_agent.files.reading import parse_json
from bat_agent.hub import why_not_loaded
from bat_agent.language import check_name, converted_folder
from bat_agent_talk.decoder import Decoder, Shape
from bat_agent_talk.stored_rows import StoredRows

_HELP = "choose another llm=, for instance smollm2-135m"
_WANTED = ("config.json", "tokenizer.json", "*.safetensors", "generation_config.json")
_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


class LanguageModel(NamedTuple):
    """What reads questions."""

    decoder: Decoder
    head: nn.Module
    """Finds the output embeddings (M, H) of tokens (M,)."""
    tokenizer: Any
    """Of the package tokenizers."""
    ends: frozenset[int]
    """Tokens that end a text."""


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


def outline_language_model(name: str, dtype: str) -> LanguageModel:
    """A model of a known shape without weights, on torch's meta device; the tokenizer is that of smollm2-135m, which
    must be here. Raises :class:`~bat_agent.errors.WeightsError` where the shape is not known.
    """
    if name not in SHAPES:
        raise WeightsError(
            f"the shape of {name} is not known here; give a folder with it, or one of {', '.join(SHAPES)}"
        )
    folder = converted_folder("smollm2-135m")
    assert folder is not None
    width, layers, heads, groups, inner, vocabulary, tied = SHAPES[name]
    config = {
        "model_type": "llama", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": groups, "intermediate_size": inner, "vocab_size": vocabulary,
    }  # fmt: skip
    kind = getattr(torch, dtype)
    # Not nn.Embedding(V, H): its first values, drawn on the meta device, import torch's compiler, 1.5 s and 130 MB.
    embedding, *other = (
        nn.Embedding.from_pretrained(torch.empty(vocabulary, width, dtype=kind, device="meta"))
        for _ in range(1 if tied else 2)
    )
    with torch.device("meta"):
        decoder = Decoder(Shape.of(config, name), kind, embedding).to(kind)
    head = other[0] if other else embedding
    return LanguageModel(decoder.requires_grad_(False), head, *_tokenizer(folder, config))


def load_language_model(name: str, dtype: str) -> LanguageModel:
    """The language model called ``name``, computing in ``dtype``.

    Raises :class:`~bat_agent.errors.WeightsError` where the model is not here or of another family.
    """
    check_language_model(name)
    folder = converted_folder(name) or Path(name).expanduser()
    folder = folder if folder.is_dir() else _from_hub(name)
    config = _read_json(folder / "config.json", name)
    shape, kind = Shape.of(config, name), getattr(torch, dtype)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{folder} holds no *.safetensors; convert the language model's weights, or {_HELP}")
    found: dict[str, Tensor] = {}
    embeddings: dict[str, StoredRows] = {}
    for file in files:
        for key, tensor in _tensors(file):
            if key in (_EMBEDDING, _HEAD):
                embeddings[key] = StoredRows(file, key)
            elif not key.endswith("inv_freq"):
                found[key.removeprefix("model.")] = tensor.to(kind, copy=True)
    embedding = embeddings.get(_EMBEDDING)
    with torch.device("meta"):
        decoder = Decoder(shape, kind, embedding or nn.Identity())
        wanted = {key: torch.empty(shape.vocabulary, shape.width) for key in {_EMBEDDING, *embeddings}}
        there = {key: torch.empty(part.rows, part.width) for key, part in embeddings.items()}
    fits = "a language model of the shape in its config.json"
    check_state(decoder.state_dict() | wanted, found | there, str(folder), fits)
    assert embedding is not None
    decoder.load_state_dict(found, assign=True)
    head = embedding if config.get("tie_word_embeddings") else embeddings.get(_HEAD, embedding)
    return LanguageModel(decoder.requires_grad_(False), head, *_tokenizer(folder, config))


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    """One tensor after the other, the embeddings unread. The file is opened for each anew, as what was read of a mapped
    file counts as memory of this process until it is closed.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            keys = list(opened.keys())
        for key in keys:
            with safe_open(file, framework="pt") as opened:
                yield key, opened.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is not a readable safetensors file ({error}); copy it again") from error


def _from_hub(name: str) -> Path:
    """The folder of a model in the hub's cache, fetched where it is not there yet."""
    with needed("llm", "the reasoner talk"):
        from huggingface_hub import snapshot_download
    try:
        return Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{why_not_loaded(name, error, 'llm')}, {_HELP}") from error


def _read_json(file: Path, name: str) -> Mapping[str, Any]:
    try:
        found = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{name} has no readable {file.name} ({error}); {_HELP}") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{file} does not describe a language model; {_HELP}")
    return found


def _tokenizer(folder: Path, config: Mapping[str, Any]) -> tuple[Any, frozenset[int]]:
    """The tokenizer, and the tokens that end a text."""
    with needed("llm", "the reasoner talk"):
        from tokenizers import Tokenizer
    file = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises nothing narrower
        raise WeightsError(f"{folder} has no readable tokenizer.json ({error}); {_HELP}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ends = config.get("eos_token_id")
    return tokenizer, frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])


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
