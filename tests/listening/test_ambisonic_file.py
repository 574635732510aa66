"""Ambisonic files played to live ears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bat_agent.errors import BadInput
from bat_agent.listening.ambisonic import AmbisonicFile
from bat_agent.listening.blocks import Block
from bat_agent.listening.feeds import File
from bat_agent.listening.opening import open_file, open_source
from bat_agent.recordings import Recording

RATE_HZ = 32_000


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A wave from the left, AmbiX of first order, 3 s."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE_HZ)
    soundfile.write(tmp_path / "left.wav", np.outer(noise, [1, 1, 0, 0]), RATE_HZ, subtype="FLOAT")
    return tmp_path / "left.wav"


def played(source: File, blocks: int | None = None) -> np.ndarray:
    """(2, N) of so many blocks, or of all."""
    heard: list[np.ndarray] = []
    while blocks is None or len(heard) < blocks:
        for item in source.read(0.0):
            if not isinstance(item, Block):
                return np.concatenate(heard).T
            heard.append(item.samples)
    return np.concatenate(heard).T


def test_what_is_played_is_what_the_recording_holds_also_after_a_pause(left: Path) -> None:
    source = open_file(left, fast=True)
    assert isinstance(source, AmbisonicFile)
    source.open()
    assert (source.channels, source.sample_rate_hz) == (2, RATE_HZ)
    first = played(source, 7)
    source.close()
    source.open()
    whole = np.concatenate([first, played(source)], axis=1)
    np.testing.assert_array_equal(whole, Recording(left).read())
    ears = np.sqrt((whole**2).mean(axis=1))
    assert ears[0] > 1.5 * ears[1]


def test_it_begins_where_it_should_and_goes_round(left: Path) -> None:
    source = open_file(left, start_s=2.9, loop=True)
    source.live = False  # no waiting in a test
    source.open()
    assert played(source, 8).shape == (2, 8 * 1600)  # type: ignore[arg-type]
    late = open_file(left, start_s=9.0, fast=True)
    with pytest.raises(BadInput, match="begin earlier"):
        late.open()


def test_named_channels_and_no_are_taken_at_their_word(left: Path) -> None:
    assert not isinstance(open_file(left, ambisonics="no"), AmbisonicFile)
    assert not isinstance(open_source(left, channels=(2, 3)), AmbisonicFile)
    two = left.with_name("two.wav")
    soundfile.write(two, np.zeros((100, 2)), RATE_HZ)
    with pytest.raises(BadInput, match="got 2"):
        open_file(two, ambisonics="ambix")
