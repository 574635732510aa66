"""Microphones without PortAudio: what is said when something is missing, with a module that stands in for it."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bat_agent.cli.entry import run_app
from bat_agent.cli.listen import app
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
        self.looks = 0
        self.default = SimpleNamespace(device=(0, 0))
        self.InputStream = lambda **settings: Stream(self, **settings)

    def _terminate(self) -> None:
        self.looks += 1

    def _initialize(self) -> None:
        pass

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
    with pytest.raises(BadInput, match=r"needs the package sounddevice, .*'\.\[listen\]'"):
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
    for wanted in ("speakers", 1, "1"):
        with pytest.raises(BadInput, match=r"'Speakers' only plays sound and has no microphone: choose .*'Headset'"):
            find_device(wanted)
    with pytest.raises(BadInput, match="'Headset' has one channel, and one ear hears no direction"):
        Microphone("Headset")
    use(monkeypatch, Fake(("Array", 4), rates=()))
    with pytest.raises(BadInput, match=r"opens with two channels at none of 48, 44\.1, 96, 32 kHz"):
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


class Clocked:
    """A microphone on a stand-in device whose clock the test turns, without waiting."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, fake: Fake, name: str | None = "Array", **settings: Any
    ) -> None:
        self.now_s = 100.0
        monkeypatch.setattr("bat_agent.listening.microphone.time", SimpleNamespace(monotonic=lambda: self.now_s))
        use(monkeypatch, fake)
        self.fake, self.source = fake, Microphone(name, **settings)
        self.source._server._pactl = None
        self.source.open()

    def send(self, seconds: float = 0.1) -> None:
        samples = np.zeros((round(seconds * 48_000), 2), np.float32)
        self.fake.streams[-1].settings["callback"](samples, len(samples), None, SimpleNamespace(input_overflow=False))

    def read(self) -> list[tuple[str, float]]:
        found = self.source.read(0.0)
        return [(item.kind, round(item.missing_s, 1)) for item in found if isinstance(item, Notice)]

    def hear(self, seconds: float, step_s: float = 0.1, ppm: float = 0.0, sending: bool = True) -> list[Any]:
        """What is told while time goes by; ``ppm``: by how much the device is slower than the clock."""
        told = []
        for _ in range(round(seconds / step_s)):
            self.now_s += step_s * (1 + 1e-6 * ppm)
            if sending:
                self.send(step_s)
            told += self.read()
        return told


def test_sound_that_the_clock_misses_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Clocked(monkeypatch, Fake(("Array", 2)))
    assert live.hear(4.0) + live.hear(0.5, sending=False) + live.hear(5.0) == [("gap", 0.5)]
    live.source.close()


@pytest.mark.slow
def test_a_crystal_that_is_slow_or_fast_is_no_loss_and_hides_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all sound since the start, a card 100 ppm slow lacks 0.25 s after 42 minutes; that was told as a gap."""
    for ppm in (200.0, -200.0):
        live = Clocked(monkeypatch, Fake(("Array", 2)))
        assert live.hear(3_000.0, 0.4, ppm) == []
        assert live.hear(0.6, sending=False) + live.hear(5.0, ppm=ppm) == [("gap", 0.6)]
        live.source.close()


def test_a_device_that_is_slow_to_begin_has_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time was counted from before the opening; so a gap was told two seconds after every slow one."""
    live = Clocked(monkeypatch, Fake(("Array", 2)))
    assert live.hear(0.8, sending=False) + live.hear(5.0) == []
    live.source.close()


def test_a_program_that_stood_still_does_not_blame_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sound server keeps what we did not fetch; the first look after a stop must not take it for lost."""
    live = Clocked(monkeypatch, Fake(("Array", 2)))
    told = live.hear(2.0)
    live.now_s += 3.0
    told += live.read()
    live.send(3.0)
    assert told + live.hear(5.0) == []
    assert live.hear(1.5, sending=False) == [("lost", 0.0)]
    live.source.close()
    slow = Clocked(monkeypatch, Fake(("Array", 2)))
    assert slow.hear(8.0, 0.8) == []
    assert slow.hear(2.4, 0.8, sending=False) == [("lost", 0.0)]
    slow.source.close()


def test_what_thaws_before_it_is_opened_again_is_missed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Clocked(monkeypatch, Fake(("Array", 2)))
    live.hear(1.0)
    told = live.hear(1.1, sending=False)
    assert told + live.hear(5.0) == [("lost", 0.0), ("back", 1.2)]
    live.source.close()


def test_the_second_of_two_of_the_same_name_comes_back_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen by number, it was looked for by its name alone after a loss, and never found."""
    live = Clocked(monkeypatch, Fake(("Array", 2), ("Array", 2)), "1")
    live.hear(1.0)
    assert live.hear(1.5, sending=False) == [("lost", 0.0)]
    assert len(live.fake.streams) == 2
    assert [stream.settings["device"] for stream in live.fake.streams] == [1, 1]
    assert live.hear(1.0)[0][0] == "back"
    live.source.close()
    with pytest.raises(BadInput, match=r"'array' fits 2 microphones, .*write more of the name, or the number"):
        find_device("array")


def test_a_driver_that_hangs_is_left_alone_until_it_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """To start PortAudio anew beside a close that hangs hangs too; the second try did."""
    monkeypatch.setattr("bat_agent.listening.microphone._JOIN_S", 0.01)
    live, free = Clocked(monkeypatch, Fake(("Array", 2))), threading.Event()
    monkeypatch.setattr(live.fake.streams[0], "abort", lambda ignore_errors: free.wait(10), raising=False)
    assert live.hear(20.0, sending=False) + live.hear(1.0) == [("lost", 0.0)]
    assert (live.fake.looks, len(live.fake.streams)) == (0, 1)
    free.set()
    assert live.source._closing is not None
    live.source._closing.join()
    live.hear(5.0, sending=False)
    assert live.fake.looks == 1
    assert live.hear(1.0)[0][0] == "back"
    live.source.close()


def test_devices_are_not_looked_for_while_another_microphone_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look anew ends every stream of this process."""
    fake = Fake(("Array", 2), ("Other", 2))
    use(monkeypatch, fake)
    other = Microphone("Other")
    other.open()
    live = Clocked(monkeypatch, fake)
    live.hear(3.0, sending=False)
    assert fake.looks == 0
    assert len(fake.streams) > 2
    other.close()
    live.hear(5.0, sending=False)
    assert fake.looks > 0
    live.source.close()


def test_without_reconnect_a_loss_is_the_end_and_a_pause_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Clocked(monkeypatch, Fake(("Array", 2)), reconnect=False)
    live.source.close()
    assert live.hear(3.0, sending=False) == []
    live.source.open()
    live.hear(1.0)
    assert live.hear(9.0, sending=False) == [("lost", 0.0), ("ended", 0.0)]
    live.source.close()
    live.fake.inputs = (("Other", 2),)
    with pytest.raises(BadInput, match="'Array' is not there: plug it in"):
        live.source.open()


def test_another_default_is_named_when_it_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(("Array", 2))
    use(monkeypatch, fake)
    live = Clocked(monkeypatch, fake, None)
    live.hear(1.0)
    fake.inputs = (("Headset", 2),)
    live.hear(1.5, sending=False)
    live.send()
    (notice,) = [item for item in live.source.read(0.0) if isinstance(item, Notice)]
    assert notice.text.startswith("Headset is heard instead of Array")
    assert live.source.name == "Headset"
    live.source.close()


def test_a_list_without_microphones_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Fake(("Speakers", 0)))
    for arguments, out, said in ((["devices"], "", "no microphone"), (["devices", "--json"], "[]", "")):
        with pytest.raises(SystemExit) as ended:
            run_app(app, "bat-listen", arguments)
        assert not ended.value.code
        printed = capsys.readouterr()
        assert printed.out.strip() == out
        assert said in printed.err
