"""Temporary files and folders: how they are named, and which of them nobody will finish.

A process that is killed leaves them behind. Their names say which process on which machine made them, so that the next
one that writes there can tell them from those of a process that still runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

OLD_S = 24 * 3600.0
"""What nobody has written to for so long is left over, whoever made it."""
_FOLDER = "bat-agent-"
_OURS = re.compile(r"\.(?P<maker>[0-9a-f]{6}-\d+)-\d+\.part(\.\w+)?$")
_OUR_FOLDER = re.compile(rf"^{_FOLDER}(?P<maker>[0-9a-f]{{6}}-\d+)-\w+$")


class Leftover(NamedTuple):
    """What a killed process left."""

    path: Path
    bytes: int


_count = itertools.count()
_cleared: set[str] = set()


def temporary_beside(path: Path, suffix: str = "") -> Path:
    """Where to write what becomes ``path``: hidden beside it, another file each time."""
    return path.with_name(f".{path.name[:60]}.{_maker()}-{next(_count)}.part{suffix}")


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of its own under the system's temporary one; it goes at the end, or when the next one is made."""
    folder = make_temporary_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_temporary_folder() -> Path:
    """The folder of :func:`temporary_folder` for those who remove it themselves; what killed processes left goes."""
    for left in leftover_folders():
        shutil.rmtree(left.path, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{_maker()}-"))


def leftover_folders() -> list[Leftover]:
    """Our folders under the system's temporary one whose processes are gone."""
    root = Path(tempfile.gettempdir())
    with contextlib.suppress(OSError):
        return [_measured(each) for each in sorted(root.iterdir()) if each.is_dir() and _is_left(each, folder=True)]
    return []


def leftovers(folder: Path, *, deep: bool = False) -> list[Leftover]:
    """Temporary files, and folders of unfinished models, in ``folder`` that nobody will finish; ``deep``: below, too.

    A link is not followed, and a folder that cannot be read holds none.
    """
    found = []
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if _is_left(path := Path(root, name), folder=False):
                found.append(_measured(path))
                if name in folders:
                    folders.remove(name)
        if not deep:
            break
    return sorted(found)


def clear(folder: Path, *, deep: bool = False) -> None:
    """Remove :func:`leftovers`; for the beginning of what writes into ``folder``."""
    for left in leftovers(folder, deep=deep):
        remove(left)


def clear_once(folder: Path) -> None:
    """:func:`clear`, the first time that this process writes into ``folder``: to look again each time would take the
    square of the files in it.
    """
    if (place := os.path.abspath(folder)) not in _cleared:
        _cleared.add(place)
        clear(folder)


def remove(left: Leftover) -> bool:
    """Remove a file or folder; whether it is gone."""
    with contextlib.suppress(OSError):
        if left.path.is_dir() and not left.path.is_symlink():
            shutil.rmtree(left.path, ignore_errors=True)
        else:
            left.path.unlink(missing_ok=True)
    return not left.path.exists()


def _is_left(path: Path, *, folder: bool) -> bool:
    """Whether the name is one of ours and its maker is gone, or has not touched it for a day."""
    ours = (_OUR_FOLDER if folder else _OURS).search(path.name)
    if ours is None:  # ".x.part" and "x.1234.tmp" are what many programs call what they are still writing
        return False
    try:
        told = path.lstat()
    except OSError:
        return False
    if hasattr(os, "getuid") and told.st_uid != os.getuid():
        return False
    machine, _, process = ours["maker"].partition("-")
    if machine == _machine() and not _runs(int(process)):
        return True
    return time.time() - told.st_mtime > OLD_S


def _measured(path: Path) -> Leftover:
    size = 0
    with contextlib.suppress(OSError):
        files = [path] if not path.is_dir() else path.rglob("*")
        size = sum(file.lstat().st_size for file in files if not file.is_dir())
    return Leftover(path, size)


def _runs(process: int) -> bool:
    if os.name != "posix":  # there, signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _maker() -> str:
    return f"{_machine()}-{os.getpid()}"


@cache
def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]
