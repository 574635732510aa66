"""Answers by the library's own ``generate``: beams, as BAT's released code decodes, and sampling, as its paper says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bat_agent_llama.config import BEAM, LlamaReasonerConfig


def generate(llm: Any, beginnings: Sequence[Tensor], end: int, config: LlamaReasonerConfig) -> list[list[int]]:
    """Tokens of an answer to each of N embedded prompts (T, H), without the end-of-text token.

    Prompts of different length are padded on the left, where the released code pads as well. Sampling draws from a
    generator of its own, seeded with ``config.seed`` at every call.
    """
    longest = max(map(len, beginnings))
    rows = [torch.nn.functional.pad(b, (0, 0, longest - len(b), 0)) for b in beginnings]
    lengths = torch.tensor([len(b) for b in beginnings])
    mask = (torch.arange(longest) >= longest - lengths[:, None]).long().to(rows[0].device)
    how: dict[str, Any] = {"do_sample": False, "num_beams": config.num_beams}
    if config.decoding != BEAM:
        how = {"do_sample": True, "temperature": config.temperature, "top_p": config.top_p, "top_k": 0}
    with torch.random.fork_rng(devices=[llm.device] if llm.device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        ids = llm.generate(
            inputs_embeds=torch.stack(rows), attention_mask=mask, max_new_tokens=config.max_answer_tokens,
            eos_token_id=end, pad_token_id=end, **how,
        )  # fmt: skip
    found = ids.tolist()
    return [row[: row.index(end)] if end in row else row for row in found]
