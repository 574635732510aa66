"""Worker processes for the engine: whatever it prints, leaks, hangs or dies on stays in one of them.

A worker is a fresh interpreter that talks through a socket: started without multiprocessing, because a spawned process
imports the user's main module again and a daemonic one (a worker of a data loader) may have no children. It ends when
its socket closes, so it cannot outlive its owner for longer than one job.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import LifoQueue
from typing import IO, Any

from bat_agent_soundspaces.engine import EngineError, Floats, HeadQuery, Trace, Traced, check_trace, perform

RECYCLE_AFTER = 2000
"""Jobs after which a worker is replaced; its memory is flat, as far as 2000 jobs can show."""
_GRACE_S = 2.0


class Worker:
    """One engine process. Not for several threads at once; :class:`Pool` sees to that."""

    def __init__(self, memory_limit_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        self.jobs = 0
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import main; main({theirs.fileno()}, {memory_limit_bytes})"],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the owner; the worker then sees its socket close
            )
        self.connection = Connection(ours.detach())
        self.close = weakref.finalize(self, _stop, self.process, self.connection, self.log, os.getpid())

    def request(self, job: Trace | HeadQuery, timeout_s: float) -> Any:
        """The job's result; :class:`~.engine.EngineError` where the engine dies, hangs or fails, and it is closed."""
        try:
            self.connection.send((job, timeout_s))
            if not self.connection.poll(timeout_s):
                raise EngineError(
                    f"the acoustic engine took more than {timeout_s:g} s for {job.what} and was stopped; raise "
                    "timeout_s, or take fewer rays or a simpler mesh"
                )
            result = self.connection.recv()
        except (EOFError, OSError) as error:
            raise EngineError(self._epitaph(job)) from error
        except BaseException:  # also Ctrl-C: an answer that nobody waits for must not meet the next question
            self.close()
            raise
        self.jobs += 1
        if isinstance(result, _Failure):
            self.close()  # nobody knows in what state that left the engine
            raise EngineError(f"the acoustic engine failed for {job.what}: {result.text}")
        return result

    def forget(self) -> None:
        """After a fork: give up this copy of the connection and leave the process to its owner."""
        self.close.detach()
        self.connection.close()
        self.log.close()
        self.process.returncode = 0  # not our child: nothing to wait for

    def _epitaph(self, job: Trace | HeadQuery) -> str:
        last = self._last_words()
        self.close()
        code = self.process.returncode or 0
        cause = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        memory = "; if memory_limit_gb is too small for it, raise that"
        return f"the acoustic engine died ({cause}{last}) on {job.what}; a new one starts with the next scene{memory}"

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE_S)
        self.log.seek(0)
        lines = self.log.read()[-2000:].decode(errors="replace").strip().splitlines()
        return f", last words {lines[-1].strip()!r}" if lines else ""


class Pool:
    """Up to ``size`` workers, started when needed, restarted when they die; for any thread, and anew after a fork."""

    def __init__(self, size: int, timeout_s: float, memory_limit_bytes: int) -> None:
        self.size, self.timeout_s, self.memory_limit_bytes = size, timeout_s, memory_limit_bytes
        self._reset()
        _POOLS.add(self)

    def _reset(self) -> None:
        self.lock = threading.Lock()  # also for whoever owns the pool: this one is new after a fork
        self._alive: set[Worker] = set()
        self._idle: LifoQueue[Worker | None] = LifoQueue()
        for _ in range(self.size):
            self._idle.put(None)

    def trace(self, trace: Trace) -> Traced:
        """Check, then render; :class:`~bat_agent.errors.BadInput` or :class:`~.engine.EngineError`."""
        check_trace(trace)
        traced: Traced = self._request(trace)
        return traced

    def head(self, query: HeadQuery) -> Floats:
        """Responses of a head (D, 2, taps), beginning with the arrival of sound, level re no head."""
        responses: Floats = self._request(query)
        return responses

    def map(self, traces: Sequence[Trace]) -> list[Traced]:
        """Many at once, results in order; the first error ends it."""
        if self.size == 1 or len(traces) < 2:
            return [self.trace(trace) for trace in traces]
        with ThreadPoolExecutor(self.size) as threads:
            futures = [threads.submit(self.trace, trace) for trace in traces]
            try:
                return [future.result() for future in futures]
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def process_ids(self) -> list[int]:
        """Ids of the processes that are running."""
        with self.lock:
            return [worker.process.pid for worker in self._alive if worker.close.alive]

    def close(self) -> None:
        """End all processes; they start again when needed."""
        with self.lock:
            alive, self._alive = self._alive, set()
        for worker in alive:
            worker.close()

    def _request(self, job: Trace | HeadQuery) -> Any:
        worker = self._idle.get()
        try:
            if worker is None or not worker.close.alive or worker.jobs >= RECYCLE_AFTER:
                worker = self._replace(worker)
            return worker.request(job, self.timeout_s)
        finally:
            if worker is not None and not worker.close.alive:
                with self.lock:
                    self._alive.discard(worker)
                worker = None
            self._idle.put(worker)

    def _replace(self, old: Worker | None) -> Worker:
        new = Worker(self.memory_limit_bytes)
        with self.lock:
            if old is not None:
                old.close()
                self._alive.discard(old)
            self._alive.add(new)
        return new

    def _after_fork(self) -> None:
        # The lock may be held by a thread that the fork did not copy.
        for worker in self._alive:
            worker.forget()
        self._reset()


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _environment() -> dict[str, str]:
    path = [entry or os.getcwd() for entry in sys.path]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(path)}


def _stop(process: subprocess.Popen[bytes], connection: Connection, log: IO[bytes], owner: int) -> None:
    """End a worker and wait for it, so that no zombie stays; runs once, at the latest when the interpreter exits."""
    if os.getpid() != owner:
        return
    connection.close()
    process.kill()  # it has nothing to save
    process.wait()
    log.close()


# --- inside the worker ---


class _Failure:
    """Why a job failed, where the engine says so."""

    def __init__(self, text: str) -> None:
        self.text = text


def main(socket_fd: int, memory_limit_bytes: int) -> None:
    """Answer jobs until the owner goes away."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory_limit_bytes, memory_limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the owner is gone: no traceback, nobody reads it
    connection = Connection(socket_fd)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            job, timeout_s = connection.recv()
            # The owner stops what hangs; this is for the case that the owner is gone.
            signal.alarm(math.ceil(timeout_s) + 10)
            os.ftruncate(2, 0)
            connection.send(_answer(job))
            signal.alarm(0)
            del job


def _answer(job: Trace | HeadQuery) -> Any:
    try:
        return perform(job)
    except Exception as error:  # the binding raises SystemError without a message for most failures
        return _Failure(" ".join(f"{type(error).__name__}: {error}".split()))
