"""The files of a data set by their path from its root: on disk, or in archives beside them that nobody unpacked."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from bat_agent.datasets.archives import COMPRESSED_TARS, SUFFIXES, Archive, Members, refuse_compressed
from bat_agent.datasets.sounds import RELEASED_SUFFIXES
from bat_agent.errors import BadInput
from bat_agent.files.leftovers import make_temporary_folder
from bat_agent.files.reading import file_name, parse_array

_FOLDERS = ("", "AudioSet", "AudioSet/*", "AudioSet/*/audio", "mp3d_reverb", "closed-end", "owl-questions")
"""Where archives are looked for."""


class MissingFile(BadInput):
    """A file that a data set refers to is not there."""


class Store:
    """Files under ``root``, a folder or an archive.

    A file on disk comes before one in an archive. A member is found by its path from the root or any end of it (so
    ``mp3d_reverb.zip`` may hold ``mp3d_reverb/binaural/…`` or ``binaural/…``, and a shard file names alone). Archives
    are opened when something is not on disk. Raises :class:`~bat_agent.errors.BadInput` for a root that is not there.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not self.root.exists():
            raise BadInput(f"{self.root} does not exist; name the folder that holds AudioSet and mp3d_reverb")
        if self.root.is_file():
            refuse_compressed(self.root)
            if self.root.suffix not in SUFFIXES:
                raise BadInput(
                    f"{self.root} is no folder and no {' or '.join(SUFFIXES)} archive; name a data set's root"
                )

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return self._on_disk(path) is not None or self._in_archive(path) is not None

    def read(self, path: str, most: int = -1) -> bytes:
        """The content of a file, or its first ``most`` bytes; raises :class:`MissingFile` where it is not there."""
        file = self._on_disk(path)
        if file is not None:
            try:
                with file.open("rb") as opened:
                    return opened.read(most)
            except OSError as error:
                raise BadInput(f"cannot read {file}: {error.strerror or error}; check its permissions") from error
        found = self._in_archive(path)
        if found is None:
            raise MissingFile(f"no {path} under {self.root}{self._hint()}; fetch it, or leave out what refers to it")
        return found[0].read(found[1], most)

    def size(self, path: str) -> int:
        """Bytes of a file."""
        file = self._on_disk(path)
        if file is not None:
            return file.stat().st_size
        found = self._in_archive(path)
        return len(self.read(path)) if found is None else found[0].size(found[1])

    def local(self, path: str) -> Path:
        """The file on disk; what lies in an archive is unpacked into a temporary folder that goes with this object."""
        file = self._on_disk(path)
        if file is not None:
            return file
        target = self._unpacked / path
        if not target.exists():
            content = self.read(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return target

    def find_audio(self, path: str) -> str | None:
        """The path of a recording that is named without its suffix."""
        for suffix in RELEASED_SUFFIXES:
            if self._on_disk(path + suffix) is not None:
                return path + suffix
        return next(
            (path + suffix for suffix in RELEASED_SUFFIXES if self._in_archive(path + suffix) is not None), None
        )

    def glob(self, pattern: str) -> list[str]:
        """Paths of the files that match a pattern, sorted: those on disk, or, where there are none, in archives."""
        if self.root.is_dir():
            found = {file.relative_to(self.root).as_posix() for file in self.root.glob(pattern) if file.is_file()}
            if found:
                return sorted(found)
        found = set()
        parts = pattern.count("/") + 1
        for name in self._members.paths():
            short = "/".join(name.split("/")[-parts:])
            if short.count("/") == parts - 1 and PurePosixPath(short).match(pattern):
                found.add(short)
        return sorted(found)

    def array(self, path: str) -> np.ndarray:
        """A ``.npy`` file."""
        content = self.read(path)
        try:
            return parse_array(content)
        except ValueError as error:
            raise BadInput(f"{self.shown(path)} is no whole .npy file ({error}); make or download it again") from error

    def shown(self, path: str) -> str:
        """What a message calls a file."""
        return str(self.root / path)

    def _on_disk(self, path: str) -> Path | None:
        file_name(path)
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise BadInput(f"{path!r} leads out of the data set, expected a path below {self.root}; mend the record")
        file = self.root / path
        return file if file.is_file() else None

    def _in_archive(self, path: str) -> tuple[Archive, int] | None:
        return self._members.find(path)

    @cached_property
    def _members(self) -> Members:
        return Members([Archive(path) for path in self._archive_files()])

    def _archive_files(self) -> Iterator[Path]:
        if self.root.is_file():
            yield self.root
            return
        folders = [folder for name in _FOLDERS for folder in (sorted(self.root.glob(name)) if name else [self.root])]
        for folder in folders:
            if folder.is_dir():
                yield from sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())

    @cached_property
    def _unpacked(self) -> Path:
        folder = make_temporary_folder()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _hint(self) -> str:
        """What else lies there that may hold the file."""
        packed = (
            sorted(f.name for f in self.root.glob("*") if f.name.endswith(COMPRESSED_TARS))
            if self.root.is_dir()
            else []
        )
        return f" ({packed[0]} is compressed as a whole: unpack it with tar -xf {packed[0]})" if packed else ""
