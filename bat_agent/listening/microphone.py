"""A sound card as a source: PortAudio, and a watchdog over it.

PortAudio says little of what goes wrong: on Linux desktops its overflow flag stays off while seconds are lost, an
unplugged device ends without an error, a frozen one just stops calling. So the frames that arrive are compared with
the clock, and silence of the callback is taken as loss.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections import deque
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.listening.blocks import Block, Notice, Samples
from bat_agent.listening.devices import RATES_HZ, Device, find_device, list_devices, portaudio, refresh
from bat_agent.listening.lost_frames import LostFrames

SILENT_S = 1.0
"""A callback that does not come for so long has stopped."""
SHORT_S = 0.25
SHORT_FOR_S = 2.0
"""So much less sound than time, for so long, is lost."""
DRIFT = 1e-3
"""So much slower than the clock a sound card may run (crystals: 1e-4) without anything being lost."""
BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 4.0)
FIRST_BLOCK_S = 1.5
_JOIN_S = 3.0
_LOOK_S = 2.0
_MOST_BLOCKS = 4096
_streaming: set[Microphone] = set()
_starting = threading.RLock()
"""PortAudio is one for all: to look for devices anew ends every stream, so nobody does while others stream."""


class Microphone:
    """An input device with two ears; it comes back by itself after it was unplugged or frozen."""

    live = True

    def __init__(
        self, device: str | int | None = None, *, channels: tuple[int, int] = (1, 2), sample_rate_hz: int | None = None,
        reconnect: bool = True,
    ) -> None:  # fmt: skip
        """``channels``: the left and the right one, counted from 1; blocks hold these two. Nothing is opened yet.

        Raises :class:`~bat_agent.errors.BadInput` for a device that is not there or cannot be used.
        """
        if channels[0] == channels[1] or min(channels) < 1:
            raise BadInput(f"channels must be two different numbers from 1, left first, got {channels}")
        self._wanted, self._pair, self._rate_wanted = device, channels, sample_rate_hz
        self._reconnect = reconnect
        self._device = self._find()
        self.name, self.channels = self._device.name, 2
        self.sample_rate_hz = sample_rate_hz or self._device.rates_hz[0]
        self._stream: Any = None
        self._blocks: deque[tuple[Samples, float, bool]] = deque(maxlen=_MOST_BLOCKS)
        self._arrived = threading.Event()
        self._lost_since_s: float | None = None
        self._tries, self._next_try_s = 0, 0.0
        self._closing: threading.Thread | None = None
        self._opened = self._ended = self._heard = False
        self._last_s = self._looked_s = self._awake_s = 0.0
        self._behind_s = 0.0
        self._short_since_s: float | None = None
        self._server = _Server()
        self._lost_frames = LostFrames(self.sample_rate_hz)

    def _find(self) -> Device:
        return self._usable(find_device(self._wanted))

    def _find_again(self) -> Device:
        if self._wanted is None:
            return self._find()
        # By name: numbers change when something is plugged in. Of several with this name, only the one in its old place
        # can be meant.
        same = [device for device in list_devices() if device.name == self.name]
        if len(same) > 1:
            same = [device for device in same if device.index == self._device.index]
        if not same:
            raise BadInput(f"{self.name!r} is not there: plug it in, or choose another device")
        return self._usable(same[0])

    def _usable(self, device: Device) -> Device:
        if max(self._pair) > device.input_channels:
            raise BadInput(
                f"{device.name!r} has {device.input_channels} channels, but channel {max(self._pair)} was asked for: "
                "change --channels"
            )
        if not device.rates_hz:
            rates = ", ".join(f"{hz / 1000:g}" for hz in RATES_HZ)
            raise BadInput(f"{device.name!r} opens with two channels at none of {rates} kHz: choose another device")
        return device

    def open(self) -> None:
        """Begin; raises :class:`~bat_agent.errors.BadInput` where the device is busy, forbidden or no longer there."""
        with _starting:
            if self._opened:
                self._start_anew()
            else:
                self._start()
        self._opened, self._ended, self._lost_since_s = True, False, None

    def _start_anew(self) -> None:
        """Start where devices may have come, gone or changed their numbers since the last time."""
        with _starting:
            if not self._let_go():  # PortAudio hangs in the driver; to look for devices anew would hang as well
                raise BadInput(f"{self.name!r} does not let go: unplug it, or start again")
            try:
                if not _streaming:
                    refresh()
                self._device = self._find_again()
            except portaudio().PortAudioError as error:
                raise BadInput(f"the sound system does not answer ({error}): start it again") from error
            self._start()

    def _start(self) -> None:
        sound = portaudio()
        self._blocks.clear()
        self._behind_s, self._heard, self._short_since_s = 0.0, False, None
        self._lost_frames = LostFrames(self.sample_rate_hz)
        try:
            self._stream = sound.InputStream(
                device=self._device.index, channels=max(self._pair), samplerate=self.sample_rate_hz, dtype="float32",
                latency="high", blocksize=0, callback=self._callback,
            )  # fmt: skip
            _streaming.add(self)
            self._stream.start()
        except sound.PortAudioError as error:
            self._let_go()
            said = " ".join(str(error).split())
            raise BadInput(
                f"cannot open {self.name!r} ({said}): close other programs that use it, allow the microphone in the "
                "system settings, or choose another device"
            ) from error
        self._last_s = self._looked_s = self._awake_s = time.monotonic()

    def _callback(self, samples: Samples, frames: int, times: Any, status: Any) -> None:
        # Copy and return: what takes long here is lost sound.
        self._blocks.append((samples.copy(), time.monotonic(), bool(status.input_overflow)))
        self._arrived.set()

    def read(self, timeout_s: float) -> list[Block | Notice]:
        """All that has arrived, and what the watchdog saw."""
        if self._stream is None:
            self._blocks.clear()  # a stream that is closing may send; that does not mean that the device is back
        if not self._blocks:
            self._arrived.clear()
            if not self._blocks:
                self._arrived.wait(timeout_s)
        found: list[Block | Notice] = []
        pair = [self._pair[0] - 1, self._pair[1] - 1]
        for _ in range(len(self._blocks)):
            samples, arrived_s, overflow = self._blocks.popleft()
            if self._lost_since_s is not None:
                found.append(self._is_back(arrived_s))
            if overflow:
                found.append(Notice("gap", f"{self.name}: the system dropped some sound", arrived_s))
            self._weigh(len(samples) / self.sample_rate_hz, arrived_s)
            found.append(Block(samples[:, pair], arrived_s))
            if lost := self._lost_frames.take(samples[:, pair]):
                found.append(self._zeros(lost, arrived_s))
        return found + self._watch()

    def _zeros(self, lost: int, arrived_s: float) -> Notice:
        total_ms = 1000 * self._lost_frames.total / self.sample_rate_hz
        text = f"{self.name}: {total_ms:.0f} ms of sound were lost so far, for which the sound server put zeros"
        return Notice("zeros", text, arrived_s, lost / self.sample_rate_hz)

    def _weigh(self, sound_s: float, arrived_s: float) -> None:
        """Sound against clock, from the first block on: a device may take its time to begin.

        What came late but came is not missing, nor is what a slow crystal leaves out; a fast one saves nothing up.
        """
        if self._heard:
            self._behind_s += (1 - DRIFT) * (arrived_s - self._last_s) - sound_s
            self._behind_s = max(self._behind_s, 0.0)
        self._heard, self._last_s = True, arrived_s

    def _is_back(self, arrived_s: float) -> Notice:
        missing_s = arrived_s - (self._lost_since_s or arrived_s)
        self._lost_since_s, self._tries = None, 0
        self._behind_s, self._heard = 0.0, False  # or a stream that thawed by itself would miss it once more
        text = f"{self.name} is back after {missing_s:.1f} s"
        if self._device.name != self.name:  # the default is another one by now
            text = f"{self._device.name} is heard instead of {self.name}, after {missing_s:.1f} s"
            self.name = self._device.name
        return Notice("back", text, arrived_s, missing_s)

    def _watch(self) -> list[Block | Notice]:
        now_s = time.monotonic()
        if now_s - self._looked_s > SILENT_S / 2 and self._awake_s <= self._last_s:
            # It was us who stood still: what the device sent meanwhile may still come. One such respite a silence,
            # or a slow reader would never see any.
            self._awake_s = now_s
        self._looked_s = now_s
        if self._lost_since_s is not None:
            self._try_again(now_s)
            return []
        if self._stream is None or self._ended:
            return []
        if not self._is_active():
            return self._lose(f"{self.name} is gone: is it plugged in?", now_s)
        if now_s - max(self._last_s, self._awake_s) > SILENT_S:
            return self._lose(f"{self.name} has stopped sending.", now_s)
        return [*self._missing(now_s), *self._server.moved(now_s)]

    def _is_active(self) -> bool:
        try:
            return bool(self._stream.active)
        except portaudio().PortAudioError:  # somebody else ended PortAudio, and with it all streams
            return False

    def _missing(self, now_s: float) -> list[Notice]:
        """What the clock says is missing."""
        short_s = self._behind_s
        if short_s < SHORT_S:
            self._short_since_s = None
            return []
        self._short_since_s = self._short_since_s or now_s
        if now_s - self._short_since_s < SHORT_FOR_S:
            return []
        self._behind_s, self._short_since_s = 0.0, None
        return [Notice("gap", f"{self.name}: {short_s:.1f} s of sound were lost", now_s, short_s)]

    def _lose(self, text: str, now_s: float) -> list[Block | Notice]:
        if not self._reconnect:
            self._ended = True
            return [Notice("lost", text, now_s), Notice("ended", f"{self.name} is not opened again", now_s)]
        self._lost_since_s, self._next_try_s, self._tries = self._last_s, now_s, 0
        return [Notice("lost", f"{text} Trying to open it again", now_s)]

    def _try_again(self, now_s: float) -> None:
        if now_s < self._next_try_s:
            return
        wait_s = BACKOFF_S[min(self._tries, len(BACKOFF_S) - 1)]
        self._tries += 1
        try:
            self._start_anew()
            wait_s += FIRST_BLOCK_S
        except BadInput:
            pass
        self._next_try_s = time.monotonic() + wait_s

    def _let_go(self) -> bool:
        """Close the stream, in a thread that may hang; whether none hangs."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._closing = threading.Thread(target=self._close, args=(stream,), daemon=True)
            self._closing.start()
            self._closing.join(_JOIN_S)
        return self._closing is None or not self._closing.is_alive()

    def _close(self, stream: Any) -> None:
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
        _streaming.discard(self)

    def clock_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def close(self) -> None:
        """Let the device go; the system's microphone mark goes out."""
        self._let_go()
        self._blocks.clear()


class _Server:
    """Sees a sound server move our stream to another microphone, which PortAudio never says."""

    def __init__(self) -> None:
        self._pactl = shutil.which("pactl")
        self._at: str | None = None
        self._next_s = 0.0
        self._asking: threading.Thread | None = None
        self._found: str | None = None

    def moved(self, now_s: float) -> list[Notice]:
        """A notice where the stream comes from elsewhere than before."""
        if self._pactl is None or now_s < self._next_s:
            return []
        self._next_s = now_s + _LOOK_S
        before, found = self._at, self._found
        if self._asking is None or not self._asking.is_alive():
            # Beside, as a server that hangs must not hold up the sound.
            self._asking = threading.Thread(target=self._ask, daemon=True)
            self._asking.start()
        if found is None or found == before:
            return []
        self._at = found
        if before is None:
            return []
        return [Notice("switched", f"the sound server now listens to {found} instead of {before}", now_s)]

    def _ask(self) -> None:
        assert self._pactl is not None
        try:
            outputs, sources = (
                json.loads(
                    subprocess.run(
                        [self._pactl, "-f", "json", "list", what], capture_output=True, timeout=1.5, check=True
                    ).stdout
                )
                for what in ("source-outputs", "sources")
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            self._next_s += 30.0
            return
        mine = [o for o in outputs if str(o["properties"].get("application.process.id")) == str(os.getpid())]
        names = {source["index"]: source["name"] for source in sources}
        if len(mine) == 1:
            self._found = names.get(mine[0]["source"])


def frames_of(blocks: list[Block | Notice]) -> Samples:
    """The samples of some blocks, (n, 2)."""
    return np.concatenate([np.zeros((0, 2), np.float32), *(b.samples for b in blocks if isinstance(b, Block))])
