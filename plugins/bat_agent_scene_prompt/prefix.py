"""What prompts begin with alike, computed once: the frame, and the description while questions are about one clip."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch


class Prefix:
    """The beginning of the last prompts in a key-value cache of one row."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._cache: Any = None

    def forget(self) -> None:
        """Begin anew, as after a change of device or number format."""
        self.ids, self._cache = [], None

    def of(self, llm: Any, rows: Sequence[list[int]]) -> dict[str, Any]:
        """What ``generate`` is given for prompts (their tokens): a cache that holds ``self.ids``, with which all of
        them begin; nothing for a language model whose cache cannot be cut, such as one with a sliding window.
        """
        common = _common([row[:-1] for row in rows])
        kept = _common([self.ids, common])
        if self._cache is not None and len(kept) < len(self.ids):
            self._cache.crop(len(kept) - len(self.ids))  # a negative number is what every version understands
        if new := common[len(kept) :]:
            before = {} if self._cache is None or not kept else {_name(): self._cache}
            ids = torch.tensor([new], device=llm.device)
            self._cache = getattr(llm.base_model(input_ids=ids, use_cache=True, **before), _name(), None)
        self.ids = common
        if not common or not _can_be_cut(self._cache):
            self.forget()
            return {}
        cache = copy.deepcopy(self._cache)  # generate writes into it
        if len(rows) > 1:
            cache.batch_repeat_interleave(len(rows))
        return {_name(): cache}


def _common(rows: Sequence[list[int]]) -> list[int]:
    """The tokens that all rows begin with."""
    length = next(
        (place for place, tokens in enumerate(zip(*rows, strict=False)) if len(set(tokens)) > 1), min(map(len, rows))
    )
    return rows[0][:length]


def _name() -> str:
    """Transformers 5.24 renamed it, and warns of the old name."""
    from transformers.modeling_outputs import BaseModelOutputWithPast

    return "cache" if "cache" in BaseModelOutputWithPast.__dataclass_fields__ else "past_key_values"


def _can_be_cut(cache: Any) -> bool:
    from transformers.cache_utils import DynamicLayer

    layers = getattr(cache, "layers", [])
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
