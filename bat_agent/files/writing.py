"""Files that are written whole or not at all; the one way of this house to write one that is kept.

What is written goes into a temporary file beside the target, which takes its place when all of it is there: a reader
finds the old file or the new one, whenever the process dies and however full the disk is. ``durable`` holds that over
a power cut as well: the content is on the disk before the name is, and the name before :func:`whole_file` returns.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from bat_agent.errors import BadInput
from bat_agent.files.leftovers import clear_once, temporary_beside

FULL = (errno.ENOSPC, errno.EDQUOT)
RESUMES = "free some space there and run the same command again, it goes on where it stopped"
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
_ADVICE = {
    **dict.fromkeys(FULL, "free some space there, or choose another place"),
    errno.EFBIG: "the file system or 'ulimit -f' allows no larger file: raise the limit, or choose another place",
    errno.EROFS: "nothing can be written there: choose another place",
    errno.EACCES: "you may not write there: choose another place, or change its permissions",
    errno.EPERM: "you may not write there: choose another place, or change its permissions",
    errno.ENOENT: "its folder does not exist: make it first, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk reports an error: check it, or choose another place",
    errno.EMFILE: "this process has too many files open: raise 'ulimit -n'",
}


@contextlib.contextmanager
def whole_file(
    path: Path | str, *, durable: bool = False, folder: bool = False, needs: int = 0, advice: str | None = None
) -> Iterator[IO[bytes]]:
    """A binary stream whose content becomes the file ``path`` at the end of the block, or nothing where it raises.

    ``folder`` makes the folder first. ``needs`` bytes are reserved before anything is written, where the system can.
    ``advice`` is what to do on a full disk, where that is not the usual. Raises :class:`~bat_agent.errors.BadInput`
    where the place cannot be written or is full.
    """
    how = {"durable": durable, "folder": folder, "needs": needs, "advice": advice}
    with whole_path(path, suffix="", **how) as temporary, temporary.open("wb") as stream:  # type: ignore[arg-type]
        if needs:
            _reserve(stream.fileno(), needs)
        yield stream


@contextlib.contextmanager
def whole_path(
    path: Path | str,
    *,
    suffix: str | None = None,
    durable: bool = False,
    folder: bool = False,
    needs: int = 0,
    advice: str | None = None,
) -> Iterator[Path]:
    """As :func:`whole_file` for those that write by name: where to write to, with the suffix of ``path`` or another."""
    target = Path(path)
    clear_once(target.parent)
    temporary = temporary_beside(target, target.suffix if suffix is None else suffix)
    with writing(target, needs=needs, advice=advice):
        if folder:
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if durable:
                flush(temporary)
            os.replace(temporary, target)
            if durable:
                flush(target.parent)
        finally:
            with contextlib.suppress(OSError):  # the error that matters is on its way
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_lines(path: Path) -> Iterator[Callable[[str], None]]:
    """A function that adds text to the new file ``path``, at once, and each time all of it or nothing.

    For what is read while it grows. Raises :class:`~bat_agent.errors.BadInput` where the place cannot be written.
    """
    with writing(path):
        stream = open(path, "wb", buffering=0)  # noqa: SIM115 - closed below

    def add(text: str) -> None:
        begin = stream.tell() if stream.seekable() else None
        left = memoryview(text.encode(errors="backslashreplace"))  # half a character, as of an old name of a file
        with writing(path):
            try:
                while left:
                    left = left[stream.write(left) :]
            except OSError:
                if begin is not None:
                    stream.truncate(begin)
                    stream.seek(begin)
                raise

    with stream:
        yield add


def write_bytes(path: Path | str, content: bytes, **how: Any) -> None:
    """All of ``content`` or nothing, as :func:`whole_file`."""
    with whole_file(path, **how) as stream:
        stream.write(content)


def write_text(path: Path | str, text: str, **how: Any) -> None:
    """All of ``text`` or nothing, in UTF-8, with line ends as they are."""
    write_bytes(path, text.encode(), **how)


def write_json(path: Path | str, value: Any, **how: Any) -> None:
    """A value as indented JSON with a line end; numbers that JSON does not know raise :class:`ValueError`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", **how)


@contextlib.contextmanager
def writing(path: Path, *, needs: int = 0, advice: str | None = None) -> Iterator[None]:
    """What the system raises within, about ``path`` or without a name, comes out as :func:`cannot_write` says it."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not _is_about(error, path):
            raise
        raise cannot_write(path, error, needs=needs, advice=advice) from error


def cannot_write(path: Path, error: OSError, *, needs: int = 0, advice: str | None = None) -> BadInput:
    """The sentence for a file that could not be written: why, what it needs, and what helps against this cause."""
    why = error.strerror or " ".join(str(error).split())
    what_to_do = _ADVICE.get(error.errno or 0, "choose another place")
    short = error.errno is None and _SHORT_WRITE.search(str(error)) is not None
    full = error.errno in FULL or short
    if short:  # numpy, of a full disk
        what_to_do = _ADVICE[errno.ENOSPC]
    if full and advice:
        what_to_do = advice
    if full and needs:
        why += f": it takes {_size(needs)}"
        with contextlib.suppress(OSError):
            why += f", {_size(shutil.disk_usage(_existing(path)).free)} are free"
    return BadInput(f"cannot write {path} ({why}); {what_to_do}")


def flush(path: Path) -> None:
    """Have the system put a file, or the names in a folder, on the disk before this returns."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows does not open folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that knows no such thing
            raise
    finally:
        os.close(handle)


def os_error(error: Exception) -> OSError | None:
    """The error of the system in one that a library made of it, which names its number: "(os error 28)"."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _is_about(error: OSError, path: Path) -> bool:
    """Whether the file that an error names is ``path``, its folder, or what is written in its stead."""
    named = Path(os.fsdecode(error.filename)) if not isinstance(error.filename, int) else path
    return named == path or named.parent == path.parent or named in path.parents


def _reserve(handle: int, num_bytes: int) -> None:
    """So that a full disk is told before minutes of work, and never by a signal in the middle of them."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, num_bytes)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
                raise


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.parent, *path.absolute().parents) if folder.is_dir())


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:,.2f} GB"
