"""Microphones without PortAudio: what is said when something is missing, with a module that stands in for it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.listening import devices
from bat_agent.listening.blocks import Block, Notice
from bat_agent.listening.devices import find_device, list_devices
from bat_agent.listening.microphone import Microphone


class Stream:
    """Does nothing; its callback is called by the test."""

    def __init__(self, fake: Any, **settings: Any) -> None:
        self.settings, self.active, self.fake = settings, True, fake
        fake.streams.append(self)

    def start(self) -> None:
        if self.fake.busy:
            raise self.fake.PortAudioError("Device unavailable [PaErrorCode -9985]")

    def abort(self, ignore_errors: bool = True) -> None:
        pass

    def close(self, ignore_errors: bool = True) -> None:
        self.active = False


class Fake:
    """Stands in for sounddevice."""

    class PortAudioError(Exception):
        """As there."""

    def __init__(self, *inputs: tuple[str, int], rates: tuple[int, ...] = (48_000,)) -> None:
        self.inputs, self.rates, self.busy, self.streams = inputs, rates, False, []
        self.default = SimpleNamespace(device=(0, 0))
        self.InputStream = lambda **settings: Stream(self, **settings)

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": "ALSA"}]

    def query_devices(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "hostapi": 0, "max_input_channels": channels, "default_samplerate": 44_100.0}
            for name, channels in self.inputs
        ]

    def check_input_settings(self, samplerate: int, **settings: Any) -> None:
        if samplerate not in self.rates:
            raise self.PortAudioError("Invalid sample rate")


def use(monkeypatch: pytest.MonkeyPatch, fake: Any) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", fake)


def test_without_the_package_or_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, None)
    with pytest.raises(BadInput, match=r"pip install 'bat-agent\[listen\]'"):
        list_devices()

    def missing(name: str) -> Any:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(devices.importlib, "import_module", missing)
    with pytest.raises(BadInput, match="apt install libportaudio2"):
        Microphone()


def test_what_cannot_be_a_pair_of_ears(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Fake())
    with pytest.raises(BadInput, match="this machine has no microphone"):
        find_device()
    use(monkeypatch, Fake(("Headset", 1), ("Speakers", 0)))
    assert [device.name for device in list_devices()] == ["Headset"]
    with pytest.raises(BadInput, match="'Headset' has one channel, and one ear hears no direction"):
        Microphone("Headset")
    use(monkeypatch, Fake(("Array", 4), rates=()))
    with pytest.raises(BadInput, match=r"opens with two channels at none of 32, 48, 44\.1, 96 kHz"):
        Microphone("Array")
    with pytest.raises(BadInput, match="two different numbers from 1"):
        Microphone("Array", channels=(2, 2))


def test_a_busy_device_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(("Array", 2))
    use(monkeypatch, fake)
    fake.busy = True
    with pytest.raises(BadInput, match=r"cannot open 'Array' \(Device unavailable .*close other programs"):
        Microphone("Array").open()


def test_the_overflow_flag_is_a_gap_and_a_pair_is_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(("Array", 6), rates=(44_100, 96_000))
    use(monkeypatch, fake)
    source = Microphone("array", channels=(5, 3))
    source.open()
    assert source.sample_rate_hz == 44_100
    callback = fake.streams[0].settings["callback"]
    samples = np.arange(12, dtype=np.float32).reshape(2, 6)
    for overflow in (False, True):
        callback(samples, 2, None, SimpleNamespace(input_overflow=overflow))
    samples[:] = -1  # PortAudio uses its memory again
    items = source.read(0.0)
    blocks = [item.samples.tolist() for item in items if isinstance(item, Block)]
    assert blocks == [[[4.0, 2.0], [10.0, 8.0]]] * 2
    assert [item.kind for item in items if isinstance(item, Notice)] == ["gap"]
    source.close()


def test_sound_that_the_clock_misses_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, now = Fake(("Array", 2)), [100.0]
    use(monkeypatch, fake)
    monkeypatch.setattr("bat_agent.listening.microphone.time", SimpleNamespace(monotonic=lambda: now[0]))
    source = Microphone("Array")
    source._server._pactl = None
    source.open()
    callback = fake.streams[0].settings["callback"]
    kinds = []
    for step in range(100):  # 0.1 s each; half a second never comes
        now[0] += 0.1
        if not 40 <= step < 45:
            callback(np.zeros((4_800, 2), np.float32), 4_800, None, SimpleNamespace(input_overflow=False))
        kinds += [item for item in source.read(0.0) if isinstance(item, Notice)]
    assert [(item.kind, round(item.missing_s, 2)) for item in kinds] == [("gap", 0.5)]
    source.close()
