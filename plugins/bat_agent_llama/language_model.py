"""The language model behind the projector: the built-in ``tiny`` one, or one from a folder or a hub.

transformers takes seconds to import, so a folder is checked before it is touched.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bat_agent.errors import WeightsError
from bat_agent.hub import why_not_loaded
from bat_agent.language import check_name, converted_folder
from bat_agent.sound.torchaudio_parts import let_transformers_load
from bat_agent_llama.tokenizer import TINY_VOCABULARY

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

TINY_CONTEXT = 2048
FAMILY = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose parts are called as Llama's are."""
STAND_IN = "or use llm=tiny, which needs no download"


def build_tiny(layers: int, width: int = 256) -> LlamaForCausalLM:
    """A small Llama with fresh weights: 4 heads, embeddings shared with the output."""
    let_transformers_load()
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=TINY_VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=width * 43 // 16,
        max_position_embeddings=TINY_CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("sdpa")
    return model


def load_language_model(name: str, dtype: str) -> tuple[Any, Any]:
    """The model and the tokenizer of a known name, a GGUF file, a folder or a hub repository.

    What is missing raises ``WeightsError``.
    """
    check_language_model(name)
    folder = converted_folder(name) or Path(name).expanduser()
    if folder.exists():
        name = str(folder)
    let_transformers_load()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        # The library's own default is the number format on disk, which is float16 for Llama-2.
        model = AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, dtype), attn_implementation="sdpa")
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{why_not_loaded(name, error, 'llm')}, {STAND_IN}") from error
    if model.config.model_type not in FAMILY:
        raise WeightsError(
            f"{name} is of model type {model.config.model_type!r}, expected the Llama architecture or a near relative "
            f"({', '.join(FAMILY)}); choose another llm=, for instance smollm2-135m"
        )
    if tokenizer.eos_token_id is None:
        raise WeightsError(
            f"the tokenizer of {name} has no end-of-text token, so answers would not end; choose another llm="
        )
    return model, tokenizer


def check_language_model(name: str) -> None:
    """Raise ``WeightsError`` where ``name`` cannot be a language model, without loading any; a hub is not asked."""
    folder = Path(name).expanduser()
    if not check_name(name) and (folder.exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name)):
        _check_folder(folder)


# Width, layers, heads, key-value heads, inner width, vocabulary, tied embeddings (from their config.json files) of
# models that a recipe may name where their files are not at hand.
SHAPES = {
    "meta-llama/Llama-2-7b-hf": (4096, 32, 32, 32, 11008, 32000, False),
    "meta-llama/Llama-2-13b-hf": (5120, 40, 40, 40, 13824, 32000, False),
    "meta-llama/Llama-3.1-8B": (4096, 32, 32, 8, 14336, 128256, False),
    "meta-llama/Llama-3.2-1B": (2048, 16, 32, 8, 8192, 128256, True),
    "openlm-research/open_llama_7b_v2": (4096, 32, 32, 32, 11008, 32000, False),
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T": (2048, 22, 32, 4, 5632, 32000, False),
    "smollm2-135m": (576, 30, 9, 3, 1536, 49152, True),
    "HuggingFaceTB/SmolLM2-135M": (576, 30, 9, 3, 1536, 49152, True),
    "HuggingFaceTB/SmolLM2-360M": (960, 32, 15, 5, 2560, 49152, True),
    "HuggingFaceTB/SmolLM2-1.7B": (2048, 24, 32, 32, 8192, 49152, True),
}


def outline_language_model(name: str, dtype: str) -> Any:
    """The model without weights, on the device that is set; by its folder, a known shape, or the hub.

    Raises ``WeightsError`` where none of these tells what it is like.
    """
    let_transformers_load()
    from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

    folder = Path(name).expanduser()
    if name in SHAPES and not folder.exists():
        width, layers, heads, groups, inner, vocabulary, tied = SHAPES[name]
        config = LlamaConfig(
            hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=groups,
            intermediate_size=inner, vocab_size=vocabulary, tie_word_embeddings=tied, max_position_embeddings=4096,
        )  # fmt: skip
    else:
        folder = converted_folder(name) or folder
        try:
            config = AutoConfig.from_pretrained(str(folder) if folder.exists() else name)
        except (OSError, ValueError) as error:
            raise WeightsError(f"{why_not_loaded(name, error, 'llm')}, {STAND_IN}") from error
    return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype), attn_implementation="sdpa")


def _check_folder(folder: Path) -> None:
    how = "download a model in Hugging Face layout (`hf download NAME --local-dir FOLDER`) and pass llm=FOLDER"
    if not folder.is_dir():
        raise WeightsError(f"there is no language model folder {folder}; {how}, {STAND_IN}")
    if (folder / "params.json").exists() and not (folder / "config.json").exists():
        raise WeightsError(
            f"{folder} holds Llama weights in Meta's own layout, expected the Hugging Face layout (config.json, "
            f"*.safetensors, tokenizer.json); download the repository whose name ends in -hf, {STAND_IN}"
        )
    if not (folder / "config.json").exists():
        raise WeightsError(f"{folder} has no config.json, so it is no language model folder; {how}, {STAND_IN}")
    if not [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]:
        raise WeightsError(f"{folder} has a config.json but no weights (*.safetensors); {how}, {STAND_IN}")
    if not [*folder.glob("tokenizer*")]:
        raise WeightsError(f"{folder} has no tokenizer (tokenizer.json or tokenizer.model); copy it there, {STAND_IN}")
