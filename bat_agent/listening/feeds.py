"""Sound that does not come from a sound card: files as if live, raw samples on standard input, a socket for robots."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_rows
from bat_agent.listening.blocks import Block, Notice, Samples
from bat_agent.sound.audio import UNFINISHED, check_length
from bat_agent.sound.wav_header import finished

BLOCK_S = 0.05
FORMATS = {"s16le": ("<i2", 2**15), "s32le": ("<i4", 2**31), "f32le": ("<f4", 1)}
"""Raw samples: numpy type and full scale."""
LEAST_HZ, MOST_HZ = 1000, 768_000
"""Rates that samples may have."""
MOST_CHANNELS = 1024
MOST_DEG = 1e9
"""Headings, and their times, beyond this are a mistake."""
QUIET_S = 2.0
"""Who has sent nothing for so long gives way to who comes now."""
_READ_BYTES = 1 << 16


class File:
    """An audio file, as if it sounded now; or, with ``pace="fast"``, as fast as it is read, by a clock of its own."""

    def __init__(
        self, path: str | os.PathLike[str], *, pace: str = "real", start_s: float = 0.0, loop: bool = False,
        headings: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        """Nothing is read yet; ``headings`` is a table of where the head faced (:func:`read_headings`).

        Raises :class:`~bat_agent.errors.BadInput` for no such file, table or pace.
        """
        if pace not in ("real", "fast"):
            raise BadInput(f"pace must be 'real' or 'fast', got {pace!r}")
        if loop and pace == "fast":
            raise BadInput(
                "a file that is played again and again as fast as possible never ends: leave one of them out"
            )
        self.path, self.start_s, self.loop = Path(path), start_s, loop
        if not self.path.is_file():
            raise BadInput(f"there is no file {self.path}: give an audio file with two ears")
        self.name, self.live = self.path.name, pace == "real"
        self.sample_rate_hz = self.channels = 0
        self._file: soundfile.SoundFile | None = None
        self._begin_s: float | None = None
        self._played = 0
        self._at: int | None = None
        self._remarks: list[str] = []
        self._headings = None if headings is None else read_headings(headings)

    def open(self) -> None:
        """Open the file; where it was paused it goes on."""
        content = finished(self.path)
        self._remarks = [] if content is None else [UNFINISHED]
        try:
            self._file = soundfile.SoundFile(self.path if content is None else io.BytesIO(content))
        except (soundfile.LibsndfileError, OSError) as error:
            raise BadInput(
                f"cannot read {self.path} as audio ({_short(error)}): give a WAV, FLAC, OGG or MP3"
            ) from error
        check_length(self._file, self.path.stat().st_size, str(self.path))
        self.sample_rate_hz, self.channels = self._file.samplerate, self._file.channels
        begin = round(self.start_s * self.sample_rate_hz) if self._at is None else self._at
        if begin >= self._file.frames:
            seconds = self._file.frames / self.sample_rate_hz
            raise BadInput(f"{self.path} lasts {seconds:.1f} s and cannot begin at {self.start_s:g} s: begin earlier")
        self._file.seek(begin)
        self._begin_s = None

    def read(self, timeout_s: float) -> list[Block | Notice]:
        """The next block, when its time has come."""
        if self._begin_s is None:
            self._begin_s = time.monotonic() - self._played / self.sample_rate_hz
        samples = self._next()
        remarks, self._remarks = [Notice("note", text, self.clock_s()) for text in self._remarks], []
        if not len(samples):
            return [*remarks, Notice("ended", f"{self.name} has ended", self.clock_s())]
        self._played += len(samples)
        if self.live:
            time.sleep(max(0.0, self._begin_s + self._played / self.sample_rate_hz - time.monotonic()))
        return [*remarks, Block(samples, self.clock_s(), self._heading_deg())]

    def _heading_deg(self) -> float | None:
        """Where the head faced at the end of what was read last."""
        if self._headings is None or self._file is None:
            return None
        times_s, headings_deg = self._headings
        return float(np.interp(self._file.tell() / self.sample_rate_hz, times_s, headings_deg))

    def _next(self) -> Samples:
        assert self._file is not None
        wanted = round(BLOCK_S * self.sample_rate_hz)
        try:
            samples: Samples = self._file.read(wanted, dtype="float32", always_2d=True)
            if not len(samples) and self.loop:
                self._file.seek(0)
                samples = self._file.read(wanted, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise BadInput(f"{self.path} is broken ({_short(error)}); record or copy it again") from error
        return samples

    def clock_s(self) -> float:
        """Monotonic time, or the time of the samples."""
        return time.monotonic() if self.live else self._played / max(self.sample_rate_hz, 1)

    def close(self) -> None:
        """Close the file, and keep the place."""
        if self._file is not None:
            self._at = self._file.tell()
            self._file.close()
            self._file = None


def read_headings(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and degrees of a CSV table with the columns ``t_s`` and ``heading_deg``, unwrapped; between two rows the
    head turns evenly, by less than half a circle.

    Raises :class:`~bat_agent.errors.BadInput` for another table.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            (_, columns), *lines = parse_rows(file)
        if missing := {"t_s", "heading_deg"} - columns.keys():
            raise ValueError(f"it lacks {' and '.join(sorted(missing))}")
        rows = [(float(row["t_s"]), float(row["heading_deg"])) for _, row in lines]
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror}): give a table of headings") from error
    except ValueError as error:
        raise BadInput(
            f"{path} is no table of headings ({_short(error)}): expected the columns t_s and heading_deg, numbers"
        ) from error
    times_s, headings_deg = np.array(rows or [(0.0, 0.0)]).T
    if not rows or not (np.abs(rows) <= MOST_DEG).all() or (np.diff(times_s) <= 0).any():
        raise BadInput(
            f"{path} needs rows of numbers up to {MOST_DEG:g} in rising order of t_s: sort it, and leave out the rest"
        )
    return times_s, np.unwrap(headings_deg, period=360)


class Raw:
    """Interleaved samples from a pipe: ``arecord``, ``ffmpeg`` or ``pw-record`` writes them."""

    def __init__(
        self, stream: BinaryIO | None = None, *, sample_rate_hz: int = 32_000, channels: int = 2, form: str = "s16le"
    ) -> None:
        """``stream`` is standard input unless given."""
        self.name, self.live = "standard input", True
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self._decoder = Decoder(form, channels, sample_rate_hz)
        self._stream = stream

    def open(self) -> None:
        """Nothing to do: the other side is writing."""
        if self._stream is None:
            self._stream = sys.stdin.buffer
            if sys.stdin.isatty():
                raise BadInput("standard input is a terminal, expected raw samples: pipe them in, e.g. from arecord")

    def read(self, timeout_s: float) -> list[Block | Notice]:
        """What has been written since."""
        assert self._stream is not None
        if not select.select([self._stream], [], [], timeout_s)[0]:
            return []
        data = os.read(self._stream.fileno(), _READ_BYTES)
        if not data:
            return [Notice("ended", "standard input has ended", self.clock_s())]
        return [Block(samples, self.clock_s()) for samples in self._decoder.decode(data)]

    def clock_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def close(self) -> None:
        """Leave the stream to its owner."""


class Tcp:
    """A port to which a robot connects and sends interleaved samples; one at a time, and it may come back.

    One that lost its power never says goodbye: who comes while nothing is sent takes its place.
    """

    def __init__(
        self, port: int, host: str = "127.0.0.1", *, sample_rate_hz: int = 32_000, channels: int = 2,
        form: str = "s16le", remote: bool = False,
    ) -> None:  # fmt: skip
        """Raises :class:`~bat_agent.errors.BadInput` for a host that others reach, unless ``remote`` allows it."""
        check_host(host, remote)
        self.host, self.port = host, port
        self.name, self.live = f"tcp://{host}:{port}", True
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self._form = form
        self._decoder = Decoder(form, channels, sample_rate_hz)
        self._server: socket.socket | None = None
        self._client: socket.socket | None = None
        self._sent_s = 0.0
        self._lost_s: float | None = None
        self._before = False

    def open(self) -> None:
        """Wait for somebody; raises :class:`~bat_agent.errors.BadInput` for a port in use."""
        try:
            self._server = socket.create_server((self.host, self.port))
        except OSError as error:
            raise BadInput(f"cannot listen on {self.name} ({error.strerror}): choose another port") from error
        self.port = self._server.getsockname()[1]
        self.name = f"tcp://{self.host}:{self.port}"
        self._lost_s = self.clock_s() if self._before else None

    def read(self, timeout_s: float) -> list[Block | Notice]:
        """What has been sent since."""
        assert self._server is not None
        there = [each for each in (self._server, self._client) if each is not None]
        ready = select.select(there, [], [], timeout_s)[0]
        found: list[Block | Notice] = []
        if self._client in ready:
            found += self._receive()
        if self._server in ready:
            found += self._welcome()
        return found

    def _receive(self) -> list[Block | Notice]:
        assert self._client is not None
        try:
            data = self._client.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._leave()
            return [Notice("lost", f"nobody sends to {self.name} any more: waiting for a connection", self.clock_s())]
        self._sent_s = self.clock_s()
        return [Block(samples, self._sent_s) for samples in self._decoder.decode(data)]

    def _welcome(self) -> list[Block | Notice]:
        assert self._server is not None
        with contextlib.suppress(OSError):  # it has gone again
            client, _ = self._server.accept()
            if self._client is not None and self.clock_s() - self._sent_s < QUIET_S:
                client.close()  # somebody is sending
                return []
            return self._take(client)
        return []

    def _take(self, client: socket.socket) -> list[Block | Notice]:
        if self._client is not None:
            self._leave()
            self._lost_s = self._sent_s
        _keep_alive(client)
        self._client, self._sent_s = client, self.clock_s()
        self._decoder = Decoder(self._form, self.channels, self.sample_rate_hz)
        missing_s = 0.0 if self._lost_s is None else self.clock_s() - self._lost_s
        kind, text = ("back", "connected again") if self._before else ("note", "connected")
        self._before, self._lost_s = True, None
        return [Notice(kind, f"{self.name}: {text}", self.clock_s(), missing_s)]  # type: ignore[arg-type]

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._lost_s = None, self.clock_s()

    def clock_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def close(self) -> None:
        """Send everybody away."""
        self._leave()
        if self._server is not None:
            self._server.close()
            self._server = None


class Decoder:
    """Bytes to frames; what is left of a frame waits for the rest of it."""

    def __init__(self, form: str, channels: int, sample_rate_hz: int = 32_000) -> None:
        if form not in FORMATS:
            raise BadInput(f"raw samples of form {form!r} are unknown: give one of {', '.join(FORMATS)}")
        if not LEAST_HZ <= sample_rate_hz <= MOST_HZ:
            raise BadInput(f"raw sound has {LEAST_HZ} to {MOST_HZ} samples a second, got a rate of {sample_rate_hz}")
        if channels < 2:
            raise BadInput(f"raw sound needs at least 2 channels, got {channels}: one ear hears no direction")
        if channels > MOST_CHANNELS:
            raise BadInput(f"raw sound has {MOST_CHANNELS} channels at most, got {channels}")
        self._type, self._full_scale = FORMATS[form]
        self._frame, self._channels, self._rest = np.dtype(self._type).itemsize * channels, channels, b""

    def decode(self, data: bytes) -> Iterator[Samples]:
        """Whole frames (n, channels), full scale ±1."""
        data = self._rest + data
        whole = len(data) // self._frame * self._frame
        self._rest = data[whole:]
        if whole:
            yield (np.frombuffer(data[:whole], self._type).reshape(-1, self._channels) / self._full_scale).astype(
                np.float32
            )


def _keep_alive(client: socket.socket) -> None:
    """Let the system find out within half a minute that the other machine is gone, though nobody else comes."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            client.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def check_host(host: str, remote: bool) -> None:
    """Refuse an address that other machines reach, unless that is wanted."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not (local or remote):
        raise BadInput(f"{host} can be reached by other machines: take 127.0.0.1, or say --allow-remote")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())
