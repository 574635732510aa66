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
from bat_agent.listening.devices import RATES_HZ, Device, find_device, portaudio, refresh

SILENT_S = 1.0
"""A callback that does not come for so long has stopped."""
SHORT_S = 0.25
SHORT_FOR_S = 2.0
"""So much less sound than time, for so long, is lost."""
BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 4.0)
FIRST_BLOCK_S = 1.5
_JOIN_S = 3.0
_LOOK_S = 2.0
_MOST_BLOCKS = 4096


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
        self._begin_s = self._last_s = 0.0
        self._frames = 0
        self._short_since_s: float | None = None
        self._server = _Server()

    def _find(self) -> Device:
        # By name, once it is known: numbers change when something is plugged in.
        device = find_device(self._wanted if not hasattr(self, "name") or self._wanted is None else self.name)
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
        """Begin; raises :class:`~bat_agent.errors.BadInput` where the device is busy or forbidden."""
        self._start()
        self._lost_since_s = None

    def _start(self) -> None:
        sound = portaudio()
        self._blocks.clear()
        self._frames, self._short_since_s = 0, None
        self._begin_s = self._last_s = time.monotonic()
        try:
            self._stream = sound.InputStream(
                device=self._device.index, channels=max(self._pair), samplerate=self.sample_rate_hz, dtype="float32",
                latency="high", blocksize=0, callback=self._callback,
            )  # fmt: skip
            self._stream.start()
        except sound.PortAudioError as error:
            self._stream = None
            said = " ".join(str(error).split())
            raise BadInput(
                f"cannot open {self.name!r} ({said}): close other programs that use it, allow the microphone in the "
                "system settings, or choose another device"
            ) from error

    def _callback(self, samples: Samples, frames: int, times: Any, status: Any) -> None:
        # Copy and return: what takes long here is lost sound.
        self._blocks.append((samples.copy(), time.monotonic(), bool(status.input_overflow)))
        self._arrived.set()

    def read(self, timeout_s: float) -> list[Block | Notice]:
        """All that has arrived, and what the watchdog saw."""
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
            self._frames, self._last_s = self._frames + len(samples), arrived_s
            found.append(Block(samples[:, pair], arrived_s))
        return found + self._watch()

    def _is_back(self, arrived_s: float) -> Notice:
        missing_s = arrived_s - (self._lost_since_s or arrived_s)
        self._lost_since_s, self._tries = None, 0
        return Notice("back", f"{self.name} is back after {missing_s:.1f} s", arrived_s, missing_s)

    def _watch(self) -> list[Block | Notice]:
        now_s = time.monotonic()
        if self._lost_since_s is not None:
            self._try_again(now_s)
            return []
        if self._stream is not None and not self._stream.active:
            return [self._lose(f"{self.name} is gone: is it plugged in? Trying to open it again", now_s)]
        if now_s - self._last_s > SILENT_S:
            return [self._lose(f"{self.name} has stopped sending: trying to open it again", now_s)]
        return [*self._missing(now_s), *self._server.moved(now_s)]

    def _missing(self, now_s: float) -> list[Notice]:
        """What the clock says is missing."""
        short_s = self._last_s - self._begin_s - self._frames / self.sample_rate_hz
        if short_s < SHORT_S:
            self._short_since_s = None
            return []
        self._short_since_s = self._short_since_s or now_s
        if now_s - self._short_since_s < SHORT_FOR_S:
            return []
        self._begin_s, self._frames, self._short_since_s = self._last_s, 0, None
        return [Notice("gap", f"{self.name}: {short_s:.1f} s of sound were lost", now_s, short_s)]

    def _lose(self, text: str, now_s: float) -> Notice:
        self._lost_since_s, self._next_try_s, self._tries = self._last_s, now_s, 0
        return Notice("lost", text, now_s)

    def _try_again(self, now_s: float) -> None:
        if not self._reconnect or now_s < self._next_try_s:
            return
        self._next_try_s = now_s + BACKOFF_S[min(self._tries, len(BACKOFF_S) - 1)] + FIRST_BLOCK_S
        self._tries += 1
        if not self._let_go():
            return  # PortAudio hangs in the driver; to start it anew would hang as well
        try:
            refresh()
            self._device = self._find()
            self._start()
        except BadInput:
            self._next_try_s = time.monotonic() + BACKOFF_S[min(self._tries - 1, len(BACKOFF_S) - 1)]

    def _let_go(self) -> bool:
        """Close the stream, in a thread that may hang; whether it did not."""
        stream, self._stream = self._stream, None
        if stream is None:
            return True
        thread = threading.Thread(target=_close, args=(stream,), daemon=True)
        thread.start()
        thread.join(_JOIN_S)
        return not thread.is_alive()

    def clock_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def close(self) -> None:
        """Let the device go; the system's microphone mark goes out."""
        self._let_go()
        self._blocks.clear()


def _close(stream: Any) -> None:
    stream.abort(ignore_errors=True)
    stream.close(ignore_errors=True)


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
