"""How a process ends while its threads still compute.

A daemon thread that Python stops in the middle of a C++ library aborts the whole process ("terminate called without an
active exception", exit code 134). So those that compute are waited for, some seconds, before Python ends; a command
that will not wait longer leaves without Python's own end, after everything was flushed.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import IO, NoReturn

AT_EXIT_S = 30.0
"""How long the end of Python waits for what is being computed."""
_workers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def signals_that_end() -> list[signal.Signals]:
    """Those that ask a command to end: Ctrl-C, ``kill``, a closed terminal unless ``nohup`` told to ignore that."""
    ends = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    return ends


def worker(target: Callable[[], None], name: str) -> threading.Thread:
    """A thread, not started, that does not keep the process but is waited for at its end."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    _workers.add(thread)
    return thread


def wait_for_workers(seconds: float) -> bool:
    """Wait until no worker runs, so long at most; whether none does."""
    end_s = time.monotonic() + seconds
    for thread in list(_workers):
        if thread.is_alive():
            thread.join(max(0.0, end_s - time.monotonic()))
    return not any(thread.is_alive() for thread in _workers)


def leave(code: int) -> NoReturn:
    """End the process with ``code`` now; what was written is flushed, as far as anybody reads it."""
    if all([_flushed(sys.stdout), _flushed(sys.stderr)]) and wait_for_workers(0.0):
        raise SystemExit(code)
    os._exit(code)


def _flushed(stream: IO[str]) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):  # the terminal or the other end of the pipe is gone
        return False
    return True


atexit.register(wait_for_workers, AT_EXIT_S)
