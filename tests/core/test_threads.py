"""Threads: what is small is heard on one, whatever the caller computes with, and the caller keeps its own number."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

import bat_agent
from bat_agent import threads
from bat_agent.agent import Bat
from bat_agent.errors import BadInput

CLIP = (0.05 * np.random.default_rng(0).standard_normal((2, 16_000))).astype(np.float32)


@pytest.fixture
def _caller() -> Any:
    """A caller whose own models take three threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> tuple[Bat, list[int]]:
    """bat-small, and how many threads there were in each of its encodings."""
    bat, seen = bat_agent.load(), []
    inner = bat.encoder.forward

    def watched(*args: Any, **options: Any) -> Any:
        seen.append(torch.get_num_threads())
        return inner(*args, **options)

    monkeypatch.setattr(bat.encoder, "forward", watched)
    monkeypatch.setattr(threads, "_CHOSEN", [])
    return bat, seen


@pytest.mark.usefixtures("_caller")
def test_a_window_is_heard_on_one_thread_and_the_caller_keeps_three(used: tuple[Bat, list[int]]) -> None:
    """Beside a busy process a look on two threads took thirty times as long as on one."""
    bat, seen = used
    bat.perceive(CLIP)
    bat.ask(CLIP, "Where is the sound?")
    with pytest.raises(BadInput):
        bat.perceive(CLIP[:1])
    assert set(seen) == {1}
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("_caller")
def test_an_option_overrides_it(used: tuple[Bat, list[int]]) -> None:
    bat, seen = used
    bat.threads = 2
    bat.perceive(CLIP)
    assert seen == [2]
    assert torch.get_num_threads() == 3
    with pytest.raises(BadInput, match="threads must be a whole number from 1"):
        bat_agent.load(threads=0)


@pytest.mark.usefixtures("_caller")
def test_another_thread_of_the_program_keeps_its_own_number(used: tuple[Bat, list[int]]) -> None:
    """The setting of torch belongs to each thread of the program: what learns meanwhile goes on as it was."""
    bat, _ = used
    ready, go, found = threading.Event(), threading.Event(), []

    def learn() -> None:
        found.append(torch.get_num_threads())
        ready.set()
        go.wait(10)
        found.append(torch.get_num_threads())

    learner = threading.Thread(target=learn)
    learner.start()
    ready.wait(10)
    with threads.computing(1):
        go.set()
        learner.join()
    bat.perceive(CLIP)
    assert found == [3, 3]


def test_what_is_large_is_left_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_CHOSEN", [])
    assert threads.fastest(15e6, 8 * 2.0) == 1  # eight environments
    assert threads.fastest(86e6, 10.0) is None  # the released encoder
    assert threads.fastest(7e9) is None
