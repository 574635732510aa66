"""What a GGUF file says of itself: its metadata, and name, shape and number format of every tensor.

Layout (version 2 and 3, little-endian): ``GGUF``, version u32, tensors u64, entries u64; an entry is key, type u32,
value; a tensor is name, dimensions u32, each u64 (innermost first), format u32, offset u64. A text is its length as u64
and its bytes. See https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The vocabulary, of which a file has tens
of thousands of texts, is passed over: this takes a twentieth of a second where the package gguf takes seven.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bat_agent.errors import WeightsError

MAGIC = b"GGUF"
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_MOST = 1 << 32  # a longer text or list is no file of ours, and would fill the memory


@dataclass(frozen=True)
class Header:
    """The beginning of a GGUF file."""

    metadata: dict[str, Any]
    """Single values by key, such as ``general.architecture``; of a list its length."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of each tensor, as torch has it: outermost first."""
    places: dict[str, tuple[int, int]]
    """Number format and first byte of each tensor in the file."""

    @property
    def architecture(self) -> str:
        """``llama``, ``qwen2`` …"""
        return str(self.metadata.get("general.architecture", "unknown"))

    @property
    def parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(map(math.prod, self.shapes.values()))


def read_header(file: Path) -> Header:
    """The header of ``file``; raises :class:`~bat_agent.errors.WeightsError` where it is no GGUF, or ends in it."""
    try:
        with file.open("rb") as stream:
            if (magic := stream.read(4)) != MAGIC:
                raise WeightsError(
                    f"{file} is no GGUF file (it begins with {magic!r}, expected {MAGIC!r}); download the file itself, "
                    "or pass a folder in Hugging Face layout"
                )
            version, tensors, entries = _number(stream, "I"), _number(stream, "Q"), _number(stream, "Q")
            if version not in (2, 3):
                raise WeightsError(f"{file} is GGUF of version {version}, expected 2 or 3; convert it anew")
            metadata = {_text(stream): _value(stream, _number(stream, "I")) for _ in range(entries)}
            found = [_tensor(stream) for _ in range(tensors)]
            step = int(metadata.get("general.alignment", 32))
            start = -(-stream.tell() // step) * step
            shapes = {name: shape for name, shape, _, _ in found}
            return Header(metadata, shapes, {name: (kind, start + offset) for name, _, kind, offset in found})
    except OSError as error:
        raise WeightsError(f"cannot read {file} ({error.strerror}); give a GGUF file") from error
    except (struct.error, KeyError, UnicodeDecodeError, OverflowError) as error:
        raise WeightsError(f"{file} is cut off or broken (its header does not end); copy it again") from error


def _tensor(stream: BinaryIO) -> tuple[str, tuple[int, ...], int, int]:
    name = _text(stream)
    shape = [_number(stream, "Q") for _ in range(_number(stream, "I"))]
    return name, tuple(reversed(shape)), _number(stream, "I"), _number(stream, "Q")


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _text(stream)
    if kind == _ARRAY:
        of, length = _number(stream, "I"), _length(stream)
        for _ in range(length if of in (_TEXT, _ARRAY) else 0):
            if of == _TEXT:
                stream.seek(_length(stream), 1)
            else:
                _value(stream, of)
        if of in _NUMBERS:
            stream.seek(length * struct.calcsize(_NUMBERS[of]), 1)
        return length
    return _number(stream, _NUMBERS[kind])


def _number(stream: BinaryIO, code: str) -> Any:
    return struct.unpack(f"<{code}", stream.read(struct.calcsize(code)))[0]


def _text(stream: BinaryIO) -> str:
    length = _length(stream)
    text = stream.read(length)
    if len(text) < length:
        raise struct.error("the file ends within a text")
    return text.decode("utf-8")


def _length(stream: BinaryIO) -> int:
    length = int(_number(stream, "Q"))
    if length > _MOST:
        raise OverflowError(length)
    return length
