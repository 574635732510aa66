"""Dynamic batching: what many ask for at once is computed together, in one thread, from a queue with an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bat_agent.errors import BatAgentError

Item = TypeVar("Item")
Result = TypeVar("Result")
_SMOOTHING = 0.2


class QueueFull(BatAgentError):
    """No room for more; :attr:`retry_after_s` says when there may be."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(eq=False)
class _Job(Generic[Item, Result]):
    item: Item
    key: int | None
    future: Future[Result] = field(default_factory=Future)
    arrived_s: float = field(default_factory=time.monotonic)


class Batcher(Generic[Item, Result]):
    """A thread that runs waiting items in batches, oldest first.

    Items with equal keys share a batch, of at most ``max_batch``, a number or a function of the key. Where others have
    lately come at the same time, the oldest waits up to ``max_wait_s`` for them. An item whose key is ``None`` is run
    alone and at once. At most ``capacity`` items wait. An item whose future was cancelled is not run, and one that
    fails does not fail those beside it.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        key: Callable[[Item], int | None],
        max_batch: int | Callable[[int], int] = 16,
        max_wait_s: float = 0.005,
        capacity: int = 64,
        name: str = "bat-inference",
    ) -> None:
        self.run = run
        self.key = key
        self.max_batch = max_batch if callable(max_batch) else lambda key: max_batch
        self.max_wait_s = max_wait_s
        self.capacity = capacity
        self._waiting: list[_Job[Item, Result]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._seconds_an_item = 0.02
        self._in_company = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many items wait; those being run are not among them."""
        return len(self._waiting)

    def submit(self, items: Sequence[Item]) -> list[Future[Result]]:
        """Queue all items or none; raises :class:`QueueFull` where they do not fit."""
        jobs: list[_Job[Item, Result]] = [_Job(item, self.key(item)) for item in items]
        with self._changed:
            self._waiting = [job for job in self._waiting if not job.future.cancelled()]
            if self._closed:
                raise QueueFull("the server is shutting down: ask again when it is back", 1.0)
            if len(self._waiting) + len(jobs) > self.capacity:
                raise QueueFull(
                    f"the server is busy: {len(self._waiting)} clips wait and its queue takes {self.capacity}; ask "
                    "again in a moment",
                    self._seconds_an_item * len(self._waiting) / 2,
                )
            self._waiting += jobs
            self._changed.notify()
        return [job.future for job in jobs]

    def close(self) -> None:
        """Finish the batch that is being run, and cancel what waits."""
        with self._changed:
            self._closed = True
            left, self._waiting = self._waiting, []
            self._changed.notify()
        for job in left:
            job.future.cancel()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            running = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if not running:
                continue
            began = time.monotonic()
            self._finish(running)
            each_s = (time.monotonic() - began) / len(running)
            self._seconds_an_item += _SMOOTHING * (each_s - self._seconds_an_item)

    def _next_batch(self) -> list[_Job[Item, Result]]:
        """The next jobs to run together; none at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return []
                oldest = self._waiting[0]
                most = 1 if oldest.key is None else self.max_batch(oldest.key)
                # A client that is alone would wait in vain.
                if most > 1 and (self._in_company or len(self._waiting) > 1):
                    self._wait_for_company(oldest, most)
                # Meanwhile it may have been cancelled, and swept away.
                if batch := self._beside(oldest)[:most]:
                    self._in_company = len(batch) > 1
                    taken = set(map(id, batch))
                    self._waiting = [job for job in self._waiting if id(job) not in taken]
                    return batch

    def _wait_for_company(self, oldest: _Job[Item, Result], most: int) -> None:
        left_s = oldest.arrived_s + self.max_wait_s - time.monotonic()
        self._changed.wait_for(lambda: self._closed or len(self._beside(oldest)) >= most, left_s)

    def _beside(self, oldest: _Job[Item, Result]) -> list[_Job[Item, Result]]:
        return [job for job in self._waiting if job is oldest or (job.key is not None and job.key == oldest.key)]

    def _finish(self, jobs: Sequence[_Job[Item, Result]]) -> None:
        try:
            finished = list(zip(jobs, self.run([job.item for job in jobs]), strict=True))
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            for job in jobs:
                self._finish([job])
            return
        for job, result in finished:
            job.future.set_result(result)
