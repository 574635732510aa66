"""Zeros that a sound server puts in for lost frames are told from silence, however the sound is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bat_agent.listening.blocks import Block
from bat_agent.listening.intake import Intake
from bat_agent.listening.lost_frames import EDGE, LostFrames

RATE_HZ = 48_000


def sound(frames: int, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(0).normal(0, level, (frames, 2)).astype(np.float32)


def with_zeros(*stretches: tuple[int, int], frames: int = 20_000, level: float = 0.1) -> np.ndarray:
    samples = sound(frames, level)
    for begin, count in stretches:
        samples[begin : begin + count] = 0.0
    return samples


def counted(samples: np.ndarray, cuts: list[int]) -> int:
    lost = LostFrames(RATE_HZ)
    blocks = np.split(samples, sorted(cuts))
    assert sum(lost.take(block) for block in blocks) == lost.total
    return lost.total


CASES: list[tuple[np.ndarray, int]] = [
    (with_zeros(), 0),
    (with_zeros((5000, 65)), 65),
    (with_zeros((5000, 64)), 0),
    (with_zeros((1000, 256), (1400, 256), (9000, 1024)), 1536),
    (with_zeros((1000, 100), (1110, 100)), 200),
    (with_zeros((0, 5000)), 0),  # it begins
    (with_zeros((15_000, 5000)), 0),  # it ends
    (with_zeros((5000, 500), level=EDGE / 20), 0),  # rounding
    (with_zeros((10_000, 49_000), frames=80_000), 0),  # muted
]


@pytest.mark.parametrize("case", range(len(CASES)))
@settings(max_examples=15, deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(0, 19_999), max_size=12))
def test_what_was_put_in_is_counted_in_any_blocks(case: int, cuts: list[int]) -> None:
    samples, wanted = CASES[case]
    assert counted(samples, cuts) == wanted
    assert counted(samples, list(range(480, len(samples), 480))) == wanted


def test_one_silent_ear_is_no_loss() -> None:
    samples = sound(20_000)
    samples[5000:6000, 0] = 0.0
    assert counted(samples, [5500]) == 0


def test_48_khz_become_32_khz_to_the_last_kilohertz() -> None:
    """A server's own resampler costs 11 dB at 14 kHz; libsoxr's HQ is flat to 91 % of the band and quiet above it."""
    intake = Intake()
    intake.open(RATE_HZ, 2)
    t = np.arange(RATE_HZ) / RATE_HZ
    heard = {}
    for hz in (1000, 14_000, 20_000):
        intake.gap(0.0)
        tone = np.sin(2 * np.pi * hz * t).astype(np.float32)
        for begin in range(0, RATE_HZ, 480):
            piece = tone[begin : begin + 480]
            intake.take(Block(np.stack([piece, piece], axis=1), 0.0))
        heard[hz] = 20 * np.log10(np.sqrt(2 * np.square(intake.window(0.5)[0]).mean()) + 1e-12)
    assert heard[1000] == pytest.approx(0, abs=0.01)
    assert heard[14_000] == pytest.approx(0, abs=0.1)
    assert heard[20_000] < -90
