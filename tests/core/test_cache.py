"""Loaded sounds in memory: the same each time, loaded once, and never more than there is room for."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from bat_agent.datasets import cache
from bat_agent.datasets.cache import Cached

LOADED: Counter[str] = Counter()


def load(sound_id: str) -> np.ndarray:
    """Noise of an id, counted."""
    LOADED[sound_id] += 1
    return np.random.default_rng(int(sound_id)).standard_normal(1000).astype(np.float32)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    LOADED.clear()


def test_a_sound_is_loaded_once_and_rounded_to_16_bits() -> None:
    cached = Cached(load)
    first, second = cached("1"), cached("1")
    np.testing.assert_array_equal(first, second)
    assert LOADED["1"] == 1
    wave = load("1")
    assert np.abs(first - wave).max() <= 0.51 * np.abs(wave).max() / 32_767


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_preloaded_is_there_and_the_same(workers: int) -> None:
    before, cached = Cached(load), Cached(load)
    cached.preload(["1", "2", "3"], workers)
    LOADED.clear()
    found = [cached(name) for name in ("1", "2", "3")]
    assert not LOADED
    for name, waveform in zip(("1", "2", "3"), found, strict=True):
        np.testing.assert_array_equal(waveform, before(name))


def test_preloading_ends_when_the_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHE_BYTES", 5000)
    cached = Cached(load)
    cached.preload([str(number) for number in range(50)], 0)
    assert sum(LOADED.values()) < 5
    LOADED.clear()
    cached("0")
    cached("1")
    assert not LOADED


def test_what_does_not_fit_is_loaded_again_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sounds of 2000 bytes each fit into 5000; a library of two million would end the process otherwise."""
    monkeypatch.setattr(cache, "CACHE_BYTES", 5000)
    cached = Cached(load)
    first = {name: cached(name) for name in "123"}
    for name in "123":
        np.testing.assert_array_equal(cached(name), first[name])
    assert LOADED == {"1": 1, "2": 1, "3": 2}


def test_a_worker_process_is_sent_the_loader_and_no_samples() -> None:
    cached = Cached(load)
    empty = len(pickle.dumps(cached))
    cached("1")
    assert len(pickle.dumps(cached)) == empty
