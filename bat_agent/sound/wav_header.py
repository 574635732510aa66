"""WAV files whose header was never finished, as a recorder leaves them that was cut off before it knew their length.

The header of such a file says 0 bytes where the sound begins, though there is sound, and libsndfile 1.2.2 reads none.
(As many bytes as fit into the field, which programs write into a pipe, it takes as they are meant.)
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEAD = 12
_LIKELY_HEADER, _MOST_HEADER = 1 << 12, 1 << 20
"""Of a file, so much is searched for the beginning of the sound, and where it is not there, so much."""


def finished(source: Path | bytes) -> bytes | None:
    """The bytes of a WAV file, or of what came through a pipe, with the sizes that it has, where its header left open
    how long the sound is; ``None`` where the header knows, where there is no sound, and where it is no WAV file.
    """
    if isinstance(source, bytes):
        head = source[:_MOST_HEADER]
    else:
        with source.open("rb") as stream:
            head = stream.read(_LIKELY_HEADER)
            if _data_size_at(head) is None:
                head += stream.read(_MOST_HEADER - len(head))
    if head[:4] != b"RIFF" or head[8:_HEAD] != b"WAVE":
        return None
    place = _data_size_at(head)
    if place is None or struct.unpack_from("<I", head, place)[0]:
        return None
    content = bytearray(source if isinstance(source, bytes) else source.read_bytes())
    sound = len(content) - place - 4
    if sound <= 0 or _are_chunks(content, place + 4):
        return None
    struct.pack_into("<I", content, place, min(sound, 0xFFFFFFFF - place))
    struct.pack_into("<I", content, 4, min(len(content) - 8, 0xFFFFFFFF))
    return bytes(content)


def _are_chunks(content: bytearray, place: int) -> bool:
    """Whether what follows is more of the header, as of a recording that is truly empty: chunks up to the end."""
    while place + 8 <= len(content):
        name, size = content[place : place + 4], struct.unpack_from("<I", content, place + 4)[0]
        if not all(32 <= letter < 127 for letter in name):
            return False
        place += 8 + size + size % 2
    return place == len(content)


def _data_size_at(head: bytes) -> int | None:
    """Where the size of the sound stands; ``None`` where no sound begins."""
    place = _HEAD
    while place + 8 <= len(head):
        name, size = head[place : place + 4], struct.unpack_from("<I", head, place + 4)[0]
        if name == b"data":
            return place + 4
        place += 8 + size + size % 2
    return None
