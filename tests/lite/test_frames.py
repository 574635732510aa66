"""Frames that are kept say what frames computed anew say, however windows follow one another."""

from __future__ import annotations

import numpy as np
import pytest

from bat_agent import lite
from bat_agent.lite.frames import MOST_CLIPS, FrameMemory
from bat_agent.lite.session import LiteEncoder
from bat_agent.sound.overlap import Windows, overlap

pytest.importorskip("onnxruntime")
SECOND, HOP = 32_000, 320
Slices = list[tuple[int, int]]


@pytest.fixture(scope="module")
def encoder() -> LiteEncoder:
    return lite.load().encoder


@pytest.fixture
def counted(encoder: LiteEncoder) -> tuple[FrameMemory, list[int]]:
    """A memory of its own, and how many samples its graph was given in each call."""
    assert encoder._frames is not None
    given: list[int] = []

    def run(waveform: np.ndarray) -> list[np.ndarray]:
        given.append(waveform.size // 2)
        return list(encoder._frames._run(waveform))  # type: ignore[union-attr]

    return FrameMemory(encoder._frames._graph, run), given


def sound(seconds: float, clips: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.05 * rng.standard_normal((clips, 2, round(seconds * SECOND)))).astype(np.float32)


WINDOWS: dict[str, Slices] = {
    "a quarter of a second on": [(n * 8_000, n * 8_000 + 64_000) for n in range(4)],
    "a length that is no multiple": [(n * 1_600, n * 1_600 + 40_123) for n in range(4)],
    "windows that grow": [(0, 16_000 * n) for n in range(1, 5)],
    "windows that shrink": [(0, 64_000), (0, 48_000), (6_400, 38_400)],
    "no whole hop": [(0, 64_000), (7_999, 71_999)],
    "back again": [(32_000, 96_000), (0, 64_000)],
    "the same once more": [(0, 64_000), (0, 64_000)],
    "nothing shared": [(0, 32_000), (64_000, 96_000)],
    "hardly anything shared": [(0, 32_000), (30_080, 62_080)],
}


@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("clips", [1, 3])
def test_what_is_kept_is_what_is_computed(
    windows: Slices, clips: int, counted: tuple[FrameMemory, list[int]], encoder: LiteEncoder
) -> None:
    memory, _ = counted
    whole = sound(4.0, clips)
    assert encoder._frames is not None
    for begin, end in windows:
        window = np.ascontiguousarray(whole[:, :, begin:end])
        found, wanted = memory(window), encoder._frames._run(window)
        for one, other in zip(found.values(), wanted, strict=True):
            assert one.shape == other.shape == (clips, 2, window.shape[2] // HOP + 1, 128)
            np.testing.assert_allclose(one, other, atol=1e-6, rtol=1e-4)


def test_only_what_is_new_is_computed(counted: tuple[FrameMemory, list[int]]) -> None:
    memory, given = counted
    whole = sound(3.0)
    memory(whole[:, :, :64_000])
    memory(whole[:, :, 8_000:72_000])
    assert given[0] == 64_000
    assert sum(given[1:]) < 12_000


def test_streams_go_on_by_themselves(counted: tuple[FrameMemory, list[int]], encoder: LiteEncoder) -> None:
    """Two streams of which one is ahead, then in another order, and one alone: what a server and vectors hear."""
    memory, given = counted
    whole = sound(4.0, 2)
    memory(whole[:, :, :64_000])
    batches = [
        np.stack([whole[0, :, 8_000:72_000], whole[1, :, 16_000:80_000]]),
        np.stack([whole[1, :, 24_000:88_000], whole[0, :, 16_000:80_000]]),
        whole[1:, :, 32_000:96_000],
        whole[:1, :, 24_000:72_000],
    ]
    assert encoder._frames is not None
    for batch in batches:
        given.clear()
        found, wanted = memory(np.ascontiguousarray(batch)), encoder._frames._run(np.ascontiguousarray(batch))
        assert sum(given) < 20_000 * len(batch)
        for one, other in zip(found.values(), wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6, rtol=1e-4)


def test_many_clips_are_not_remembered(counted: tuple[FrameMemory, list[int]]) -> None:
    memory, given = counted
    many = sound(0.5, MOST_CLIPS + 1)
    assert memory(many)["mel"].shape[0] == len(many)
    memory(many)
    assert given == [many.size // 2] * 2


def test_of_many_windows_the_oldest_are_forgotten() -> None:
    """A minute of sound is kept, however it is cut: twenty recordings of ten seconds would take a hundred megabytes."""
    whole = sound(3.0)[0]
    windows: Windows[str] = Windows(HOP, 1_024, most_s=2.0)
    for name, begin in (("one", 0), ("two", 32_000), ("three", 64_000)):
        windows.keep(whole[:, begin : begin + 32_000], name)
    assert windows.before(whole[:, 3_200:32_000]) is None
    kept = [windows.before(whole[:, begin + 3_200 : begin + 32_000]) for begin in (32_000, 64_000)]
    assert [(one.made, one.start) for one in kept if one] == [("two", 3_200), ("three", 3_200)]
    assert windows.before(whole[:, 35_200:64_000]) is None  # who goes on with a window takes it


@pytest.mark.parametrize(("old", "new", "found"), [
    ((0, 3_200), (640, 3_840), 640),
    ((0, 3_200), (0, 3_200), 0),
    ((0, 3_200), (641, 3_841), None),
    ((0, 3_200), (3_200, 6_400), None),
    ((640, 3_840), (0, 3_200), None),
])  # fmt: skip
def test_where_windows_overlap(old: tuple[int, int], new: tuple[int, int], found: int | None) -> None:
    whole = sound(0.3)[0]
    assert overlap(whole[:, slice(*old)], whole[:, slice(*new)], HOP, 1_024) == found


def test_one_sample_that_differs_is_no_overlap() -> None:
    whole = sound(0.3)[0]
    new = whole[:, 640:3_840].copy()
    new[1, 1_000] += 1e-4
    assert overlap(whole[:, :3_200], new, HOP, 1_024) is None
