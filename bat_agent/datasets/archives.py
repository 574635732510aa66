"""Zip and tar archives read in place: where each member lies, in columns, so that two million members fit.

A tar archive of ``<key>.<extension>`` members is a WebDataset shard. What is compressed as a whole (``.tar.gz``) has no
members that can be reached without unpacking everything before them, and is refused with the command that unpacks it.
"""

from __future__ import annotations

import struct
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.files.reading import check_unpacked

SUFFIXES = (".zip", ".tar")
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_STORED, _DEFLATED = 0, 8
_LOCAL_HEADER_BYTES = 30
_CHUNK = 1 << 16
# A damaged list of members ends in any of these: version 11.7, names of no encoding, an empty one, sizes below zero.
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, NotImplementedError,
    IndexError, OverflowError, struct.error, MemoryError,
)  # fmt: skip


class _Member(NamedTuple):
    name: str
    offset: int
    """Of the local header in a zip archive, of the content in a tar archive."""
    packed: int
    size: int
    """Bytes of its content."""
    method: int
    crc: int


class Archive:
    """The members of one archive by their number.

    Raises :class:`~bat_agent.errors.BadInput` for what is no whole archive; a damaged member when it is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            members = _members_of_zip(path) if path.suffix == ".zip" else _members_of_tar(path)
            self.names, self._places = _columns(members)
        except _BROKEN as error:
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return len(self.names)

    def size(self, number: int) -> int:
        """Bytes of the content of a member."""
        return int(self._places[number, 2])

    def read(self, number: int, most: int = -1) -> bytes:
        """The content of a member, or its first ``most`` bytes, for which no more is unpacked than that."""
        offset, packed, size, *_ = self._places[number].tolist()
        try:
            check_unpacked(packed, size)
            with self.path.open("rb") as file:
                if self.path.suffix == ".zip":
                    return _unpack(file, self.path.stat().st_size, self._places[number].tolist(), most)
                file.seek(offset)
                wanted = packed if most < 0 else min(most, packed)
                content = file.read(min(wanted, self.path.stat().st_size))
            if len(content) != wanted:
                raise EOFError("it ends within a member")
            return content
        except _BROKEN as error:
            raise self._damaged(error, _shown(self.names[number])) from error

    def _damaged(self, error: Exception, member: str = "") -> BadInput:
        where = f"{member} in {self.path}" if member else str(self.path)
        why = " ".join(str(error).split()) or type(error).__name__
        return BadInput(f"{where} is damaged or no whole {self.path.suffix[1:]} archive ({why}); download it again")


class Members:
    """What lies in several archives, by any end of its path: ``binaural/x/0.npy`` also where ``mp3d_reverb/`` precedes.

    A folder that everything in an archive shares does not count. Of two members of one path, the one of the first
    archive is found.
    """

    def __init__(self, archives: Sequence[Archive]) -> None:
        self._archives = archives
        names = [_without_top(archive.names) for archive in archives]
        self._names = np.concatenate([np.zeros(0, dtype="S1"), *names])
        owners = np.repeat(np.arange(len(archives)), list(map(len, names)))
        numbers = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(some)) for some in names)])
        order = np.argsort(self._names, kind="stable")
        self._names, self._owners, self._numbers = self._names[order], owners[order], numbers[order]

    def find(self, path: str) -> tuple[Archive, int] | None:
        """The archive that holds a path, or the longest end of it, and its number there."""
        parts = path.split("/")
        for start in range(len(parts) if len(self._names) else 0):
            wanted = "/".join(parts[start:]).encode("utf-8", "surrogateescape")
            if len(wanted) > self._names.itemsize:  # longer than any here; numpy would widen a copy of all to compare
                continue
            at = int(np.searchsorted(self._names, np.bytes_(wanted)))
            if at < len(self._names) and self._names[at] == wanted:
                return self._archives[self._owners[at]], int(self._numbers[at])
        return None

    def paths(self) -> Iterator[str]:
        """Every path as it may be asked for: as it stands in its archive, and below a folder named as the archive."""
        for archive in self._archives:
            for name in archive.names:
                yield _shown(name)
                yield f"{archive.path.stem}/{_shown(name)}"


def _columns(members: Iterable[_Member]) -> tuple[np.ndarray, np.ndarray]:
    """Names, and (members, 5) of the rest: few of them are objects at a time."""
    parts, recent, places = [np.zeros(0, dtype="S1")], [], array("q")
    for member in members:
        recent.append(member.name.encode("utf-8", "surrogateescape"))
        places.extend(member[1:])
        if len(recent) == _CHUNK:
            parts.append(np.array(recent, dtype=np.bytes_))
            recent = []
    if recent:
        parts.append(np.array(recent, dtype=np.bytes_))
    return np.concatenate(parts), np.array(places, dtype=np.int64).reshape(-1, 5)


def _without_top(names: np.ndarray) -> np.ndarray:
    """The names without the folder that all of them begin with, if there is one."""
    top, slash, _ = names[0].partition(b"/") if len(names) else (b"", b"", b"")
    begin = len(top) + len(slash)
    if not slash or not np.char.startswith(names, top + slash).all() or names.itemsize == begin:
        return names
    rest = names.view(np.uint8).reshape(len(names), names.itemsize)[:, begin:]
    return np.ascontiguousarray(rest).view(f"S{names.itemsize - begin}").ravel()


def refuse_compressed(path: Path) -> None:
    """Raise :class:`~bat_agent.errors.BadInput` for an archive that cannot be read in place."""
    if path.name.endswith(COMPRESSED_TARS):
        raise BadInput(f"{path} is compressed as a whole and cannot be read in place; unpack it: tar -xf {path.name}")


def _members_of_zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename and not info.is_dir():
                packed, method = info.compress_size, info.compress_type
                yield _Member(info.filename, info.header_offset, packed, info.file_size, method, info.CRC)


def _members_of_tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, "r:") as archive:
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # else it keeps every header
            if info.isfile():
                yield _Member(info.name.removeprefix("./"), info.offset_data, info.size, info.size, _STORED, 0)


def _unpack(file: BinaryIO, num_bytes: int, place: Sequence[int], most: int) -> bytes:
    """A member of a zip archive (PKWARE APPNOTE 4.3.7: the local header repeats the name, with an extra field)."""
    offset, packed, size, method, crc = place
    file.seek(offset)
    header = file.read(_LOCAL_HEADER_BYTES)
    if header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member is not where its list says")
    if header[6] & 1:
        raise zipfile.BadZipFile("a member is encrypted")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    file.seek(name + extra, 1)
    wanted = size if most < 0 else min(most, size)
    if method == _DEFLATED:
        content = _inflated(file.read(min(packed, num_bytes)), wanted)
    elif method == _STORED:
        content = file.read(min(wanted, num_bytes))
    else:
        raise zipfile.BadZipFile(f"compression method {method} is not one of stored and deflated")
    if len(content) != wanted:
        raise zipfile.BadZipFile("a member has not the length that its list says")
    if wanted == size and zlib.crc32(content) != crc:
        raise zipfile.BadZipFile("a checksum does not fit")
    return content


def _inflated(packed: bytes, wanted: int) -> bytes:
    """At most ``wanted`` bytes of the content, however many there would be."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, wanted) if wanted else b""


def _shown(name: bytes) -> str:
    """A name as it can be looked for; letters of old archives that are no UTF-8 stand as Python keeps them."""
    return name.decode("utf-8", "surrogateescape")
