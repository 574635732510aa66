"""WAV files whose header was never finished, as a recorder leaves them that was cut off before it knew how long they are.

The header of such a file says 0 bytes (or as many as fit into its field) where the sound begins, though there is sound.
"""

from __future__ import annotations

import struct
from pathlib import Path

_UNKNOWN = (0, 0xFFFFFFFF)
_HEAD = 12
_MOST_HEADER = 1 << 20
"""Of a file, so much is searched for the beginning of the sound."""


def finished(path: Path) -> bytes | None:
    """The bytes of a WAV file with the sizes that it has, where its header left open how long the sound is; ``None``
    where the header knows, where there is no sound, and where it is no WAV file.
    """
    with path.open("rb") as stream:
        head = stream.read(_MOST_HEADER)
    if head[:4] != b"RIFF" or head[8:_HEAD] != b"WAVE":
        return None
    place = _data_size_at(head)
    if place is None or struct.unpack_from("<I", head, place)[0] not in _UNKNOWN:
        return None
    content = bytearray(path.read_bytes())
    sound = len(content) - place - 4
    if sound <= 0:
        return None
    struct.pack_into("<I", content, place, min(sound, 0xFFFFFFFF - place))
    struct.pack_into("<I", content, 4, min(len(content) - 8, 0xFFFFFFFF))
    return bytes(content)


def _data_size_at(head: bytes) -> int | None:
    """Where the size of the sound stands; ``None`` where no sound begins."""
    place = _HEAD
    while place + 8 <= len(head):
        name, size = head[place : place + 4], struct.unpack_from("<I", head, place + 4)[0]
        if name == b"data":
            return place + 4
        place += 8 + size + size % 2
    return None
