"""The language model behind the projector: the built-in ``tiny`` one, or one from a folder or a hub; and its decoding.

transformers takes seconds to import, so a folder is checked before it is touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bat_agent.errors import WeightsError
from bat_agent_llama.tokenizer import TINY_VOCABULARY

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM
    from transformers.cache_utils import DynamicCache

TINY_CONTEXT = 2048
STAND_IN = "or use llm=tiny, which needs no download"


def build_tiny(layers: int) -> LlamaForCausalLM:
    """A small Llama with fresh weights: width 256, ``layers`` layers, 4 heads, embeddings shared with the output."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=TINY_VOCABULARY,
        hidden_size=256,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=688,
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
    """The model and the tokenizer in folder or hub repository ``name``; what is missing raises ``WeightsError``."""
    folder = Path(name).expanduser()
    if folder.exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        _check_folder(folder)
        name = str(folder)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        # The library's own default is the number format on disk, which is float16 for Llama-2.
        model = AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, dtype), attn_implementation="sdpa")
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise WeightsError(_explain(name, error)) from error
    if model.config.model_type != "llama":
        raise WeightsError(
            f"{name} is of model type {model.config.model_type!r}, expected a Llama-architecture model ('llama'); "
            "choose another llm=, for instance HuggingFaceTB/SmolLM2-135M"
        )
    if tokenizer.eos_token_id is None:
        raise WeightsError(
            f"the tokenizer of {name} has no end-of-text token, so answers would not end; choose another llm="
        )
    return model, tokenizer


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


def _explain(name: str, error: Exception) -> str:
    text = f"{error} {error.__cause__}".lower()
    if "gated" in text:
        return (
            f"{name} is a gated model; accept its licence at https://huggingface.co/{name}, run `hf auth login`, then "
            f"`hf download {name}`, {STAND_IN}"
        )
    if "connect" in text or "offline" in text:
        return (
            f"{name} is not in the local cache and the hub cannot be reached; run `hf download {name}` where there is "
            f"a network and pass llm=FOLDER, {STAND_IN}"
        )
    if "not a valid model identifier" in text or "repository not found" in text:
        return f"there is neither a folder nor a hub repository {name}; check the name given as llm=, {STAND_IN}"
    return f"{name} cannot be loaded as a language model ({str(error).splitlines()[0]}); check the files, {STAND_IN}"


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """How many leading numbers all sequences share, leaving each at least one of its own."""
    limit = min(len(sequence) for sequence in sequences) - 1
    first = sequences[0]
    for place in range(limit):
        if any(sequence[place] != first[place] for sequence in sequences):
            return place
    return limit


def forward(llm: Any, cache: DynamicCache | None = None, **inputs: Tensor) -> tuple[Tensor, DynamicCache]:
    """The last hidden states (B, T, width), and the key-value cache with these inputs behind what it held."""
    from transformers.modeling_outputs import BaseModelOutputWithPast

    # Transformers 5.24 renamed it, and warns of the old name.
    name = "cache" if "cache" in BaseModelOutputWithPast.__dataclass_fields__ else "past_key_values"
    before = {} if cache is None else {name: cache}
    output = llm.model(**inputs, **before, use_cache=True)
    return output.last_hidden_state, getattr(output, name)


def repeat_cache(cache: Any, rows: Tensor) -> DynamicCache:
    """A copy of a key-value cache whose row i is row ``rows[i]`` of the old one."""
    from transformers.cache_utils import DynamicCache

    copy = DynamicCache()
    for number, layer in enumerate(cache.layers):
        copy.update(layer.keys.index_select(0, rows), layer.values.index_select(0, rows), number)
    return copy


@dataclass
class Decoded:
    """Greedy continuations of N prompts, and what is needed to weigh others."""

    ids: list[list[int]]
    """Tokens of each continuation, without the end-of-text token."""
    log_probability: Tensor
    """(N,) of the continuation, its end included."""
    first_log_probabilities: Tensor
    """(N, V) of the first token."""
    cache: DynamicCache
    mask: Tensor
    """(N, T) bool: which columns of ``cache`` belong to the prompt."""
    lengths: Tensor
    """(N,) tokens in each prompt."""


class Decoder:
    """Greedy decoding and scoring of continuations behind a cached beginning."""

    def __init__(self, llm: Any, end: int) -> None:
        self.llm = llm
        self.end = end

    def _step(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        embedded = self.llm.get_input_embeddings()(ids)
        return forward(self.llm, cache, inputs_embeds=embedded, attention_mask=mask, position_ids=positions)[0]

    def _log_probabilities(self, hidden: Tensor) -> Tensor:
        return self.llm.lm_head(hidden).float().log_softmax(dim=-1)

    def greedy(self, cache: DynamicCache, prompts: Sequence[list[int]], limit: int) -> Decoded:
        """Continue row i of ``cache`` with ``prompts[i]``, then with the likeliest tokens, ``limit`` at most."""
        device = self.llm.device
        start = cache.get_seq_length()
        # Padding stands between the shared beginning and the question, so that all answers begin in one column.
        ids = pad_sequence([torch.tensor(p[::-1]) for p in prompts], batch_first=True).flip(1).to(device)
        own = torch.tensor([len(p) for p in prompts], device=device)
        real = torch.arange(ids.shape[1], device=device) >= ids.shape[1] - own[:, None]
        mask = torch.cat([real.new_ones(len(prompts), start), real], dim=1)
        positions = start + (real.cumsum(1) - 1).clamp(min=0)
        log_p = first = self._log_probabilities(self._step(ids, mask, positions, cache)[:, -1])
        prompt_mask, lengths = mask, start + own
        total = log_p.new_zeros(len(prompts))
        running = torch.ones(len(prompts), dtype=torch.bool, device=device)
        tokens: list[Tensor] = []
        for count in range(limit):
            best, token = log_p.max(dim=-1)
            total = total + best.where(running, torch.zeros_like(best))
            token = token.where(running, torch.full_like(token, self.end))
            running = running & (token != self.end)
            tokens.append(token)
            if count + 1 == limit or not running.any():
                break
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
            log_p = self._log_probabilities(self._step(token[:, None], mask, (lengths + count)[:, None], cache)[:, 0])
        rows = torch.stack(tokens, dim=1).tolist()
        kept = [row[: row.index(self.end)] if self.end in row else row for row in rows]
        # Columns that decoding added stay in the cache; the mask hides them from whoever scores another continuation.
        hidden_columns = cache.get_seq_length() - prompt_mask.shape[1]
        prompt_mask = torch.cat([prompt_mask, prompt_mask.new_zeros(len(prompts), hidden_columns)], dim=1)
        return Decoded(kept, total, first, cache, prompt_mask, lengths)

    def score(self, decoded: Decoded, rows: Sequence[int], continuations: Sequence[list[int]]) -> Tensor:
        """Log probability (M,) of ``continuations[i]``, its end-of-text token included, behind prompt ``rows[i]``."""
        chosen = torch.tensor(rows, device=decoded.mask.device)
        targets = pad_sequence([torch.tensor(c) for c in continuations], batch_first=True, padding_value=-1)
        targets = targets.to(chosen.device)
        log_p = decoded.first_log_probabilities[chosen, None]
        if targets.shape[1] > 1:
            fed = targets[:, :-1].clamp(min=0)
            mask = torch.cat([decoded.mask[chosen], decoded.mask.new_ones(fed.shape)], dim=1)
            positions = decoded.lengths[chosen, None] + torch.arange(fed.shape[1], device=chosen.device)
            hidden = self._step(fed, mask, positions, repeat_cache(decoded.cache, chosen))
            log_p = torch.cat([log_p, self._log_probabilities(hidden)], dim=1)
        each = log_p.gather(2, targets.clamp(min=0)[..., None])[..., 0]
        return each.where(targets >= 0, torch.zeros_like(each)).sum(dim=1)
