"""The microphone source on real PortAudio streams, whose sound is known to the last bit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.listening.blocks import Block, Notice
from bat_agent.listening.devices import find_device, list_devices, refresh
from bat_agent.listening.microphone import Microphone, frames_of

Items = list[Block | Notice]
SECONDS = 60.0 if os.environ.get("BAT_LONG") == "1" else 6.0


@pytest.fixture(autouse=True)
def _fresh(microphone: Any) -> None:
    refresh()


@pytest.fixture
def batmic(microphone: Any) -> Iterator[Microphone]:
    source = Microphone("batmic", sample_rate_hz=32_000)
    source.open()
    yield source
    source.close()


def read(source: Microphone, seconds: float, until: Callable[[Items], bool] = lambda items: False) -> Items:
    end_s, items = time.monotonic() + seconds, []
    while time.monotonic() < end_s and not until(items):
        items += source.read(0.05)
    return items


def notices(items: Items) -> list[str]:
    return [item.kind for item in items if isinstance(item, Notice)]


def counter(frames: int, begin: int = 1) -> np.ndarray:
    """Frames that name themselves: 14 bits left, the rest right, neither ever zero."""
    number = np.arange(begin, begin + frames)
    return np.stack((1 + number % 2**14, 1 + number // 2**14), axis=1).astype(np.int16)


def numbers(samples: np.ndarray) -> np.ndarray:
    """Which frames were heard; silence before and after is left out."""
    whole = np.rint(samples.astype(np.float64) * 2**15).astype(np.int64)
    heard = whole[(whole != 0).all(axis=1)]
    return (heard[:, 0] - 1) + (heard[:, 1] - 1) * 2**14


def hear(server: Any, source: Microphone, frames: int, sink: str = "bat", rate_hz: int = 32_000) -> Items:
    items = read(source, 3.0, lambda found: bool(found))
    player = server.play(counter(frames), sink, rate_hz)
    items += read(source, frames / rate_hz + 2.5)
    assert player.wait(5) == 0
    return items


def test_no_frame_is_lost_repeated_or_changed_and_left_is_left(microphone: Any, batmic: Microphone) -> None:
    frames = round(SECONDS * 32_000)
    items = hear(microphone, batmic, frames)
    np.testing.assert_array_equal(numbers(frames_of(items)), np.arange(1, frames + 1))
    assert notices(items) == []
    assert (batmic.sample_rate_hz, batmic.channels, batmic.name) == (32_000, 2, "batmic")


def test_a_device_at_48_khz_and_one_with_swapped_ears(microphone: Any) -> None:
    source = Microphone("bat48", sample_rate_hz=48_000)
    source.open()
    frames = numbers(frames_of(hear(microphone, source, 96_000, "bat48", 48_000)))
    source.close()
    np.testing.assert_array_equal(frames, np.arange(1, 96_001))
    swapped = Microphone("batswap", channels=(2, 1), sample_rate_hz=32_000)
    swapped.open()
    frames = numbers(frames_of(hear(microphone, swapped, 64_000)))
    swapped.close()
    np.testing.assert_array_equal(frames, np.arange(1, 64_001))


def test_a_mono_microphone_gives_two_equal_ears(microphone: Any) -> None:
    """Which PortAudio does not tell; the health of the sound does (test_health)."""
    source = Microphone("batmono")
    source.open()
    samples = frames_of(hear(microphone, source, 32_000))
    source.close()
    assert samples.any()
    np.testing.assert_array_equal(samples[:, 0], samples[:, 1])


def test_a_muted_microphone_sends_zeros(microphone: Any, batmic: Microphone) -> None:
    microphone.control("set-source-mute", "bat.monitor", "1")
    try:
        items = hear(microphone, batmic, 32_000)
    finally:
        microphone.control("set-source-mute", "bat.monitor", "0")
    assert len(frames_of(items)) > 64_000
    assert not frames_of(items)[16_000:].any()
    assert notices(items) == []


def test_a_frozen_microphone_is_lost_and_comes_back(microphone: Any, batmic: Microphone) -> None:
    read(batmic, 1.0)
    microphone.control("suspend-sink", "bat", "1")
    try:
        lost = read(batmic, 6.0, lambda items: "lost" in notices(items))
    finally:
        microphone.control("suspend-sink", "bat", "0")
    assert "lost" in notices(lost)
    back = read(batmic, 12.0, lambda items: "back" in notices(items))
    (notice,) = [item for item in back if isinstance(item, Notice)]
    assert notice.kind == "back"
    assert 1.0 < notice.missing_s < 12.0


def test_an_unplugged_microphone_is_lost_and_comes_back(microphone: Any) -> None:
    source = Microphone("bat48", sample_rate_hz=48_000)
    source.open()
    read(source, 1.0)
    microphone.control("set-default-source", "bat.monitor")
    try:
        # Both go, or the sound server would give us the other one.
        microphone.unplug("bat48")
        microphone.unplug("bat")
        lost = read(source, 6.0, lambda items: "lost" in notices(items))
    finally:
        microphone.plug("bat")
        microphone.plug("bat48", 48_000)
    assert "lost" in notices(lost)
    back = read(source, 15.0, lambda items: "back" in notices(items))
    assert "back" in notices(back)
    source.close()


def test_a_silent_switch_to_another_microphone_is_seen(microphone: Any) -> None:
    source = Microphone("bat48", sample_rate_hz=48_000)
    source.open()
    read(source, 6.0, lambda items: source._server._at is not None)
    try:
        microphone.unplug("bat48")
        items = read(source, 9.0, lambda items: "switched" in notices(items))
    finally:
        microphone.plug("bat48", 48_000)
        source.close()
    (notice,) = [item for item in items if isinstance(item, Notice) and item.kind == "switched"]
    assert "bat.monitor instead of bat48.monitor" in notice.text


def test_devices_are_listed_and_found_by_name(microphone: Any) -> None:
    devices = {device.name: device for device in list_devices()}
    assert {"batmic", "bat48", "batswap", "batmono"} <= set(devices)
    assert 48_000 in devices["bat48"].rates_hz
    assert find_device("BATMIC").index == devices["batmic"].index
    assert find_device("swap").name == "batswap"
    assert find_device(devices["batmono"].index).name == "batmono"
    assert find_device(None).is_default
    with pytest.raises(BadInput, match="'bat' fits 4 microphones"):
        find_device("bat")
    with pytest.raises(BadInput, match=r"no microphone is called 'batmike': did you mean .*'batmic'"):
        find_device("batmike")
    with pytest.raises(BadInput, match="no microphone has the number 99"):
        find_device(99)
    with pytest.raises(BadInput, match="has 32 channels, but channel 40 was asked for"):
        Microphone("batmic", channels=(39, 40))
