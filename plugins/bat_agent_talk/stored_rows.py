"""Embeddings that stay in their file: a question needs some twenty rows of SmolLM2's 49,152, which take 57 MB."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from bat_agent.errors import WeightsError

MOST_KEPT = 8192
"""Rows that are kept once they were read; with one more, only those that are wanted then."""
_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


class StoredRows(nn.Module):
    """A matrix (V, H) in a safetensors file, of which the rows are read that are looked up.

    The file is not mapped into memory: the system maps all of a file around what is read of it, and counts that as
    memory of the process. It must stay as it is for as long as rows are looked up.
    """

    def __init__(self, file: Path, key: str) -> None:
        """Raises :class:`~bat_agent.errors.WeightsError` where the file has no such matrix."""
        super().__init__()
        self.file = file
        try:
            with file.open("rb") as opened:
                length = int.from_bytes(opened.read(8), "little")
                entry = json.loads(opened.read(length))[key]
            self.dtype = _DTYPES[entry["dtype"]]
            self.rows, self.width = entry["shape"]
            self.begin = 8 + length + entry["data_offsets"][0]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{file} holds no readable matrix {key} ({error}); copy it again") from error
        self.row_bytes = self.width * self.dtype.itemsize
        self._kept: tuple[dict[int, int], Tensor] = ({}, torch.empty(0, self.width, dtype=self.dtype))

    def forward(self, ids: Tensor) -> Tensor:
        """The rows (…, H) of ``ids`` (…), on their device.

        Raises :class:`~bat_agent.errors.WeightsError` where the file is gone or shorter.
        """
        wanted: list[int] = ids.flatten().tolist()
        places, table = self._kept
        if new := sorted(set(wanted) - places.keys()):
            if len(places) + len(new) > MOST_KEPT:
                places, table, new = {}, table[:0], sorted(set(wanted))
            # Replaced at once and never changed, so that threads may look up at the same time.
            places = places | {row: len(places) + number for number, row in enumerate(new)}
            table = torch.cat([table, self._read(new)])
            self._kept = places, table
        found = table[torch.tensor([places[row] for row in wanted], dtype=torch.long)]
        return found.reshape(*ids.shape, self.width).to(ids.device)

    def _read(self, rows: list[int]) -> Tensor:
        found = bytearray()
        try:
            with self.file.open("rb", buffering=0) as opened:
                for row in rows:
                    opened.seek(self.begin + row * self.row_bytes)
                    found += opened.read(self.row_bytes)
        except OSError as error:
            raise WeightsError(f"{self.file} can no longer be read ({error}); load the model again") from error
        if len(found) != len(rows) * self.row_bytes:
            raise WeightsError(f"{self.file} has become shorter since it was loaded; load the model again")
        return torch.frombuffer(found, dtype=self.dtype).reshape(len(rows), self.width)
