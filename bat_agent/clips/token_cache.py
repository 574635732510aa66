"""What the encoder says of every clip of a stage, computed once and kept in files that are read in place.

The clips of ``records`` come back in every epoch and every stage, and the encoder is frozen: with the cache each is
rendered and encoded once. Files are shards of clips, one ``.npy`` for each tensor of an encoding, half precision,
mapped into memory when read. The folder is named by what the tensors depend on, so another encoder, data set or clip
length has another one; an interrupted filling goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bat_agent.errors import BadInput
from bat_agent.files import leftovers
from bat_agent.files.reading import parse_json, read_array
from bat_agent.files.writing import whole_file
from bat_agent.interfaces import Encoding, SlotEncoding

CLIPS_PER_SHARD = 256
OPEN_SHARDS = 64
"""Shards that a reader keeps mapped."""
_NAMES = "tensors.json"
_ADVICE = "free some space there and go on, set rooms_dir to a folder on another disk, or leave cache_tokens out"
GB = 1e9
Progress = Callable[[int, int], None]
Encode = Callable[[Sequence[int]], Encoding]
"""The encoding of entries of the cache, by number."""


class TokenCache:
    """Encodings of ``entries`` clips in ``folder``."""

    def __init__(self, folder: Path, entries: int) -> None:
        self.folder, self.entries = folder, entries
        self._names: list[str] | None = None

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.entries // CLIPS_PER_SHARD)

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there yet."""
        return [number for number in range(self.shards) if not (self.folder / f"{number:06d}.done").exists()]

    def announce(self, encode: Encode) -> str:
        """What filling takes and where, in a sentence; raises :class:`~bat_agent.errors.BadInput` for a full disk."""
        tensors = flatten(encode([0]))
        size = sum(tensor.numel() * 2 for tensor in tensors.values())
        left = size * min(self.entries, len(self.missing()) * CLIPS_PER_SHARD)
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        said = f"tokens of {self.entries:,} clips: {size * self.entries / GB:,.2f} GB in {self.folder}"
        if left > free:
            raise BadInput(
                f"{said}, but {free / GB:,.2f} GB are free there; free some, set rooms_dir to a folder on a larger "
                "disk, or leave cache_tokens out"
            )
        return f"{said}, {left / GB:,.2f} GB still to be made, {free / GB:,.2f} GB free"

    def fill(
        self, encode: Encode, *, batch: int = 16, share: tuple[int, int] = (0, 1),
        progress: Progress = lambda done, total: None,
    ) -> None:  # fmt: skip
        """Make the shards that are missing, or of them those of process ``share = (rank, world)``."""
        # By number, as another process may finish some before this one looks.
        todo = [number for number in self.missing() if number % share[1] == share[0]]
        for done, number in enumerate(todo):
            entries = range(number * CLIPS_PER_SHARD, min((number + 1) * CLIPS_PER_SHARD, self.entries))
            parts = [flatten(encode(entries[i : i + batch])) for i in range(0, len(entries), batch)]
            self._write(number, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})
            progress(done + 1, len(todo))

    def _write(self, number: int, tensors: dict[str, Tensor]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        leftovers.clear(self.folder)
        for name, tensor in tensors.items():
            _replace(self.folder / f"{number:06d}.{name}.npy", partial(_save, tensor.numpy()))
        _replace(self.folder / _NAMES, lambda file: file.write(json.dumps(list(tensors)).encode()))
        (self.folder / f"{number:06d}.done").touch()

    def read(self, entries: Sequence[int]) -> Encoding:
        """The encoding of some entries, in their order, float32. Raises ``BadInput`` where one was never made."""
        if self._names is None:
            try:
                self._names = parse_json((self.folder / _NAMES).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise BadInput(f"{self.folder} holds no tokens ({error}); remove it and start again") from error
        tensors = {
            name: torch.from_numpy(
                np.stack([_mapped(self._file(entry, name))[entry % CLIPS_PER_SHARD] for entry in entries])
            ).float()
            for name in self._names
        }
        return unflatten(tensors)

    def _file(self, entry: int, name: str) -> Path:
        return self.folder / f"{entry // CLIPS_PER_SHARD:06d}.{name}.npy"


def flatten(encoding: Encoding) -> dict[str, Tensor]:
    """Every tensor of an encoding by name (``tokens``, ``slots.activity_logits`` …), half precision, on the CPU."""
    found: dict[str, Tensor] = {}
    for field in fields(encoding):
        value = getattr(encoding, field.name)
        if isinstance(value, SlotEncoding):
            found |= {f"slots.{name}": tensor for name, tensor in flatten(value).items()}  # type: ignore[arg-type]
        elif value is not None:
            found[field.name] = value.detach().half().cpu()
    return found


def unflatten(tensors: dict[str, Tensor]) -> Encoding:
    """The inverse of :func:`flatten`, but for the precision."""
    slots = {name.removeprefix("slots."): value for name, value in tensors.items() if name.startswith("slots.")}
    if "claims" in slots:  # the name of masks in files until bat-agent 0.3
        slots["masks"] = slots.pop("claims")
    rest: dict[str, Any] = {name: value for name, value in tensors.items() if not name.startswith("slots.")}
    return Encoding(**rest, slots=SlotEncoding(**slots) if slots else None)


def digest(encoder: nn.Module, *facts: object) -> str:
    """A name for what tokens depend on: the encoder's weights and some facts about the clips."""
    found = hashlib.sha256(repr(facts).encode())
    for name, tensor in encoder.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else b"")
    return found.hexdigest()[:16]


@lru_cache(maxsize=OPEN_SHARDS)
def _mapped(file: Path) -> np.ndarray:
    try:
        return read_array(file, mapped=True)
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read the tokens in {file} ({error}); remove {file.parent} and start again") from error


def _save(values: np.ndarray, file: Any) -> None:
    np.save(file, values)


def _replace(file: Path, write: Callable[[Any], object]) -> None:
    """Written whole or not at all."""
    with whole_file(file, advice=_ADVICE) as stream:
        write(stream)
