"""The queue of the server: what shares a batch, what waits, what is refused, and that nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bat_agent.serving.batching import Batcher, QueueFull

LONG_S = 10.0  # never waited for in full: a test that does has failed


class Recorder:
    """Squares numbers, keeps the batches, and waits for its gate before each."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.began = threading.Event()
        self.gate.set()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.began.set()
        assert self.gate.wait(LONG_S)
        self.batches.append(list(items))
        if 13 in items:
            raise ValueError("thirteen")
        return [item * item for item in items]

    def hold(self, batcher: Batcher[int, int]) -> None:
        """Keep the thread busy with one item until the gate opens."""
        self.gate.clear()
        self.began.clear()
        batcher.submit([1])
        assert self.began.wait(LONG_S)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def batcher(recorder: Recorder) -> Iterator[Batcher[int, int]]:
    """Odd and even numbers do not mix; negative ones are run alone."""
    made = Batcher(recorder, key=lambda n: None if n < 0 else n % 2, max_batch=4, max_wait_s=0.01, capacity=8)
    yield made
    recorder.gate.set()
    made.close()


def test_what_waits_is_run_in_batches_of_equal_key_oldest_first(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    recorder.hold(batcher)
    futures = batcher.submit([2, 3, 4, 6, 8, 10, 5])
    recorder.gate.set()
    assert [future.result(LONG_S) for future in futures] == [4, 9, 16, 36, 64, 100, 25]
    assert recorder.batches == [[1], [2, 4, 6, 8], [3, 5], [10]]


def test_an_item_without_key_is_run_alone(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    recorder.hold(batcher)
    futures = batcher.submit([-2, -4, 2])
    recorder.gate.set()
    assert [future.result(LONG_S) for future in futures] == [4, 16, 4]
    assert recorder.batches == [[1], [-2], [-4], [2]]


def test_a_full_batch_does_not_wait(recorder: Recorder) -> None:
    """With an hour to wait for company, four items that make a batch are run; a fifth stays."""
    batcher = Batcher(recorder, key=lambda n: 0, max_batch=4, max_wait_s=3600.0, capacity=8)
    futures = batcher.submit([2, 3, 4, 5, 6])
    assert [future.result(LONG_S) for future in futures[:4]] == [4, 9, 16, 25]
    assert not futures[4].done()
    batcher.close()
    assert futures[4].cancelled()


def test_one_that_comes_alone_does_not_wait(recorder: Recorder) -> None:
    batcher = Batcher(recorder, key=lambda n: 0, max_wait_s=3600.0)
    for number in (2, 3):
        (future,) = batcher.submit([number])
        assert future.result(LONG_S) == number**2
    batcher.close()


def test_how_many_share_a_batch_may_depend_on_the_key(recorder: Recorder) -> None:
    batcher = Batcher(recorder, key=lambda n: n % 2, max_batch=lambda odd: 2 if odd else 3, max_wait_s=0.0)
    recorder.hold(batcher)
    futures = batcher.submit([3, 5, 7, 2, 4, 6, 8])
    recorder.gate.set()
    assert [future.result(LONG_S) for future in futures] == [9, 25, 49, 4, 16, 36, 64]
    assert recorder.batches == [[1], [3, 5], [7], [2, 4, 6], [8]]
    batcher.close()


def test_a_full_queue_takes_all_or_nothing_and_says_when(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    recorder.hold(batcher)
    waiting = batcher.submit([2] * 7)
    with pytest.raises(QueueFull, match=r"7 clips wait and its queue takes 8; ask again") as full:
        batcher.submit([4, 4])
    assert full.value.retry_after_s > 0
    assert batcher.waiting == 7
    waiting += batcher.submit([6])
    recorder.gate.set()
    assert [future.result(LONG_S) for future in waiting] == [4] * 7 + [36]


def test_cancelled_items_are_not_run_and_make_room(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    recorder.hold(batcher)
    for future in batcher.submit([2] * 8)[1:]:
        future.cancel()
    futures = batcher.submit([4, 6])
    recorder.gate.set()
    assert [future.result(LONG_S) for future in futures] == [16, 36]
    assert recorder.batches == [[1], [2, 4, 6]]


def test_when_all_that_waited_was_cancelled_the_thread_goes_on(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    recorder.hold(batcher)
    for future in batcher.submit([2] * 3):
        future.cancel()
    recorder.gate.set()
    (last,) = batcher.submit([5])
    assert last.result(LONG_S) == 25


def test_one_that_fails_does_not_fail_those_beside_it(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    recorder.hold(batcher)
    before, wrong, after = batcher.submit([11, 13, 15])
    recorder.gate.set()
    assert (before.result(LONG_S), after.result(LONG_S)) == (121, 225)
    with pytest.raises(ValueError, match="thirteen"):
        wrong.result(LONG_S)


def test_after_the_end_nothing_is_taken(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    recorder.hold(batcher)
    (waiting,) = batcher.submit([2])
    recorder.gate.set()
    batcher.close()
    assert waiting.done()
    with pytest.raises(QueueFull, match="shutting down"):
        batcher.submit([2])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=5), max_size=12), st.integers(1, 5))
def test_whatever_is_asked_everyone_gets_their_own_answer(requests: list[list[int]], max_batch: int) -> None:
    recorder = Recorder()
    batcher = Batcher(
        recorder, key=lambda n: None if n < 0 else n % 3, max_batch=max_batch, max_wait_s=0.0, capacity=100
    )
    futures = [batcher.submit(request) for request in requests]
    for request, promised in zip(requests, futures, strict=True):
        assert [future.result(LONG_S) for future in promised] == [n * n for n in request]
    batcher.close()
    assert sorted(n for batch in recorder.batches for n in batch) == sorted(n for request in requests for n in request)
    assert all(len(batch) <= max_batch and len({n % 3 for n in batch}) == 1 for batch in recorder.batches)
