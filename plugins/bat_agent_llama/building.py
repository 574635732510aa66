"""The trained parts around and inside a language model, as the config asks for them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bat_agent_llama import lora
from bat_agent_llama.adapter_v2 import AdapterV2
from bat_agent_llama.config import CLS, PATCHES, QFORMER, LlamaReasonerConfig
from bat_agent_llama.projector import Projector
from bat_agent_llama.qformer import QFormer


def adapt(llm: Any, config: LlamaReasonerConfig) -> AdapterV2 | None:
    """Put LoRA into the frozen language model, and LLaMA-Adapter V2 on top of it, which is returned if there is one."""
    if config.has_lora:
        lora.inject(
            llm, rank=config.lora_rank, alpha=config.lora_alpha, dropout=config.lora_dropout,
            targets=config.lora_targets,
        )  # fmt: skip
    if not config.has_adapter_v2:
        return None
    adapter = AdapterV2(
        llm, prompts=config.adapter_prompts, layers=config.adapter_layers, bias=config.adapter_bias,
        scale=config.adapter_scale, norms=config.adapter_norms, past_lora=config.adapter_prompts_past_lora,
    )  # fmt: skip
    adapter.attach(llm)
    return adapter


def heard(tokens: Tensor, config: LlamaReasonerConfig) -> Tensor:
    """The encoder tokens (B, K, D) that ``config.tokens`` lets through."""
    leading = config.num_cls_tokens
    return {CLS: tokens[:, :leading], PATCHES: tokens[:, leading:]}.get(config.tokens, tokens)


def build_projector(config: LlamaReasonerConfig, llm_dim: int) -> Projector | QFormer:
    """From encoder tokens to a language model of width ``llm_dim``."""
    sizes: dict[str, Any] = {
        "num_queries": config.num_queries,
        "layers": config.projector_layers,
        "dim": config.projector_dim,
        "heads": config.projector_heads,
    }
    if config.projector == QFORMER:
        return QFormer(config.token_dim, llm_dim, dropout=config.projector_dropout, **sizes)
    return Projector(config.token_dim, llm_dim, num_direct=config.num_direct, **sizes)
