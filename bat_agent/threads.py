"""How many threads of the processor a computation takes, without changing what the caller's own models take.

Threads of torch wait for one another many times in each layer. Where a core is busy with something else, all wait for
the one on it, and a window that takes 30 ms on one thread takes a second on two. What is small is fastest on one
thread, busy machine or not; what is large is left to the caller's setting (``torch.set_num_threads``,
``OMP_NUM_THREADS``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from bat_agent.errors import BadInput

SMALL_WORK = 5e8
"""Weights times seconds of sound in a batch, up to which one thread computes: of bat-small (15 million) 33 s, as in 16
windows of 2 s."""
SMALL_MODEL = 3e7
"""Weights of a reasoner, up to which one thread computes."""
_CHOSEN: list[int] = []
"""What a command was told with ``--threads``."""


def choose(threads: int) -> None:
    """Compute with so many threads from now on, whatever is computed: what a command was told."""
    import torch

    torch.set_num_threads(threads)
    _CHOSEN[:] = [threads]


def checked(threads: Any) -> int | None:
    """A number of threads as given; ``None`` for what is fastest.

    Raises :class:`~bat_agent.errors.BadInput` for anything but a whole number from 1.
    """
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise BadInput(f"threads must be a whole number from 1, or None for what is fastest, got {threads!r}")
    return threads


def fastest(weights: float, seconds: float | None = None) -> int | None:
    """Threads for a model of so many weights and so many seconds of sound (all clips of a batch together); without
    ``seconds`` for what does not grow with them. ``None`` leaves it to the caller's setting.
    """
    if _CHOSEN:
        return None
    small = weights <= SMALL_MODEL if seconds is None else weights * seconds <= SMALL_WORK
    return 1 if small else None


@contextlib.contextmanager
def computing(threads: int | None) -> Iterator[None]:
    """Within, torch computes with so many threads in this thread of the program; after it, with as many as before.

    ``None`` changes nothing. What other threads of the program compute meanwhile stays on their own number.
    """
    import torch

    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def weights_of(part: Any) -> int:
    """How many numbers an encoder or a reasoner has learnt; 0 for what is no network."""
    return sum(weight.numel() for weight in part.parameters()) if hasattr(part, "parameters") else 0
