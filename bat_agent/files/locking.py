"""One writer at a time: a lock that the system frees when its process dies, however it dies."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bat_agent.errors import BadInput
from bat_agent.files.writing import writing

LOCK_FILE = ".lock"
_held: weakref.WeakSet[IO[Any]] = weakref.WeakSet()


@contextlib.contextmanager
def locked(folder: Path, otherwise: str) -> Iterator[None]:
    """Hold ``folder`` for this process; raises :class:`~bat_agent.errors.BadInput` ``otherwise`` where another does.

    The empty file ``.lock`` stays in the folder: to remove it would let a third process lock another one.
    """
    file = folder / LOCK_FILE
    with writing(file):
        folder.mkdir(parents=True, exist_ok=True)
        stream = file.open("ab")
    with stream:
        take_lock(stream, otherwise)
        _held.add(stream)
        yield


def take_lock(file: IO[Any], otherwise: str) -> None:
    """Lock an open file until it is closed; raises :class:`~bat_agent.errors.BadInput` where another process has."""
    try:
        import fcntl
    except ImportError:  # Windows: one user, one run
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BadInput(otherwise) from error
    except OSError:  # a file system without locks
        return


def _let_go() -> None:
    """A worker process inherits the lock and would keep it for seconds after the run was killed."""
    for stream in _held:
        with contextlib.suppress(OSError):
            os.close(stream.fileno())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
