"""Where tasks are done: in this process, in worker processes, or on a Ray cluster.

An engine is called with a piece of work and an iterable of tasks and yields ``work(task)`` for each, in any order. It
holds a bounded number of tasks and results, so that memory does not grow with the set, and has the task of a worker
that died done again. Errors of the work itself end the run. Each worker computes on one thread, so that sums round the
same everywhere.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any, Protocol

from bat_agent.errors import BadInput, BatAgentError
from bat_agent.extras import needed
from bat_agent.threads import computing

Work = Callable[[Any], Any]
TASKS_PER_WORKER = 2
"""How many tasks a worker is given ahead, so that it never waits."""
MOST_RETRIES = 5
"""So often Ray does a task again whose worker or machine was lost."""
MOST_DEATHS = 3
"""So many workers may die one after the other before the run gives up."""


_ANSWER_S = 5.0


class Engine(Protocol):
    """See the top of this module."""

    def __call__(self, work: Work, tasks: Iterable[Any]) -> Iterator[Any]:
        """``work(task)`` of every task, in any order."""
        ...


def engine_of(workers: int = 1, ray_address: str | None = None) -> Engine:
    """The engine that a user asks for with ``--workers`` or ``--ray``; raises :class:`~bat_agent.errors.BadInput`."""
    if ray_address is not None:
        if workers != 1:
            raise BadInput("--workers and --ray were both given; on Ray the cluster's CPUs decide, leave out --workers")
        import_ray()  # a missing extra is told before anything is made
        return functools.partial(on_ray, address=ray_address)
    if workers < 1:
        raise BadInput(f"--workers must be 1 or more, got {workers}")
    return in_process if workers == 1 else functools.partial(in_processes, workers=workers)


def in_process(work: Work, tasks: Iterable[Any]) -> Iterator[Any]:
    """One task after the other, here."""
    for task in tasks:
        with computing(1):
            result = work(task)
        yield result


# --- processes ---


def in_processes(work: Work, tasks: Iterable[Any], workers: int) -> Iterator[Any]:
    """On ``workers`` fresh processes of this machine."""
    todo, queue, deaths = deque[Any](), iter(tasks), 0
    while True:
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
        running: dict[Future[Any], Any] = {}
        try:
            for result in _round(pool, work, todo, queue, running, TASKS_PER_WORKER * workers):
                deaths = 0
                yield result
            return
        except BrokenProcessPool as error:
            deaths += 1
            todo.extend(running.values())
            if deaths >= MOST_DEATHS:
                raise BatAgentError(
                    f"worker processes died {deaths} times in a row, as when memory runs out; "
                    f"run the same command again with fewer --workers, it resumes"
                ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _round(
    pool: ProcessPoolExecutor,
    work: Work,
    todo: deque[Any],
    queue: Iterator[Any],
    running: dict[Future[Any], Any],
    most: int,
) -> Iterator[Any]:
    """Results until all is done; where the pool breaks, ``todo`` and ``running`` hold what is not."""
    nothing = object()
    while True:
        while len(running) < most:
            if not todo and (task := next(queue, nothing)) is not nothing:
                todo.append(task)
            if not todo:
                break
            running[pool.submit(work, todo[0])] = todo[0]  # taken off only when it is on its way
            todo.popleft()
        if not running:
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            result = future.result()
            del running[future]
            yield result


def _start_worker() -> None:
    """One thread each; Ctrl-C is the parent's business; and no worker outlives a parent that was killed."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


# --- Ray ---


def on_ray(work: Work, tasks: Iterable[Any], address: str) -> Iterator[Any]:
    """On the CPUs of a Ray cluster: ``address`` of its head, ``auto`` for the running one, ``local`` to start one here.

    Results travel back to this process, so the machines need no common disk, but the same packages. Ray does the tasks
    of a worker or a machine that is lost again; the CPUs of machines that join later are used too.
    """
    ray = import_ray()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        remote = ray.remote(num_cpus=1, max_retries=MOST_RETRIES)(_one_thread_task)
        sent, running = ray.put(work), set()
        for task in tasks:
            running.add(remote.remote(sent, task))
            while len(running) >= TASKS_PER_WORKER * max(1, int(ray.cluster_resources().get("CPU", 1))):
                yield from _finished(ray, running)
        while running:
            yield from _finished(ray, running)
    finally:
        if ours:
            ray.shutdown()


def import_ray() -> Any:
    """The module ray; raises :class:`~bat_agent.errors.BadInput` where it is not installed."""
    with needed("ray", "--ray"):
        import ray
    return ray


def _connect(ray: Any, address: str) -> None:
    import logging

    try:
        _knock(address)
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": False}
        ray.init(address=address, include_dashboard=False if address == "local" else None, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"no Ray cluster answers at {address!r}; start one with 'ray start --head', or write --ray local"
        ) from error


def _knock(address: str) -> None:
    """Raise OSError where nothing listens at host:port; Ray itself would wait there for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()


def _one_thread_task(work: Work, task: Any) -> Any:
    with computing(1):
        return work(task)


def _finished(ray: Any, running: set[Any]) -> Iterator[Any]:
    """Results of what is finished, at least one; each is forgotten by the cluster once it is here."""
    done, _ = ray.wait(list(running), num_returns=1)
    for reference in done:
        running.discard(reference)
        try:
            yield ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, BatAgentError) else error from None
        except ray.exceptions.RayError as error:
            raise BatAgentError(
                f"the Ray cluster lost a task ({type(error).__name__}); run the same command again, it resumes"
            ) from error
