"""How a process ends while its threads still compute.

A daemon thread that Python stops in the middle of a C++ library aborts the whole process ("terminate called without an
active exception", exit code 134). So those that compute are waited for, some seconds, before Python ends; a command
that will not wait longer leaves without Python's own end, after everything was flushed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import NoReturn

AT_EXIT_S = 30.0
"""How long the end of Python waits for what is being computed."""
_workers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


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
    flushed = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the terminal or the other end of the pipe is gone
            flushed = False
    if flushed and wait_for_workers(0.0):
        raise SystemExit(code)
    with contextlib.suppress(Exception):
        sys.stdout.close()
    os._exit(code)


atexit.register(wait_for_workers, AT_EXIT_S)
