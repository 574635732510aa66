"""What tests of several plugins share: habitat's stand-in, and small language models as a user would bring them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def _load_stand_in() -> None:
    """The package next door, which pytest's importlib mode does not find by itself."""
    folder = Path(__file__).with_name("habitat_stand_in")
    spec = importlib.util.spec_from_file_location("habitat_stand_in", folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])


_load_stand_in()

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "grouped": {"num_key_value_heads": 2},
    "biased": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"model_type": "mistral", "num_key_value_heads": 2},
    "qwen2": {"model_type": "qwen2", "num_key_value_heads": 2},
    "qwen3": {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 32},
}


@pytest.fixture(scope="session")
def save_model() -> Callable[..., Path]:
    """Writes a model of hidden size 64 with four heads, whose weights are large enough to make a difference."""

    def save(folder: Path, shape: str = "llama", *, seed: int = 1, layers: int = 4, **more: Any) -> Path:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        from bat_agent_llama.tokenizer import shipped_tokenizer

        sizes = {"vocab_size": 2048, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96}
        sizes |= {"max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        options = {"model_type": "llama", **sizes, "num_hidden_layers": layers, **SHAPES[shape], **more}
        config = AutoConfig.for_model(options.pop("model_type"), **options)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(config)
            for parameter in model.parameters():
                vector = parameter.ndim == 1
                torch.nn.init.normal_(parameter, mean=float(vector), std=0.3 if vector else 0.15)
        model.save_pretrained(folder)
        shipped_tokenizer().save_pretrained(folder)
        return folder

    return save
