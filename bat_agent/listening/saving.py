"""Sound written to disk, for those who asked for it: a folder of WAV files, private, of limited size.

What was heard until a second before the process was killed is in a file that every program can read: the sizes in its
header are kept right while it grows.
"""

from __future__ import annotations

import os
import wave
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bat_agent.files.writing import writing
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound.ring import Waveform

FILE_S = 60.0
_FLUSH_S = 1.0
_FULL_SCALE = 2**23
MEGABYTE = 10**6


class Recorder:
    """Writes what the ears hear into one file a minute; the oldest go where there is too much."""

    def __init__(self, folder: str | os.PathLike[str], most_mb: float = 1000.0) -> None:
        """Raises :class:`~bat_agent.errors.BadInput` for a folder that cannot be made."""
        self.folder, self.most_bytes = Path(folder), most_mb * MEGABYTE
        with writing(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file: wave.Wave_write | None = None
        self._stream: BinaryIO | None = None
        self._flushed = 0
        self._files: list[Path] = []

    def write(self, chunk: Waveform) -> None:
        """Keep (2, n) samples at 32 kHz; raises :class:`~bat_agent.errors.BadInput` where the disk is full."""
        with writing(self.folder, advice="make room there, or save elsewhere"):
            if self._file is None or self._file.tell() >= FILE_S * SAMPLE_RATE_HZ:
                self.close()
                self._begin()
            assert self._file is not None
            assert self._stream is not None
            self._file.writeframes(_pcm24(chunk))  # with sizes in the header as they are now
            if self._file.tell() - self._flushed >= _FLUSH_S * SAMPLE_RATE_HZ:
                self._stream.flush()
                self._flushed = self._file.tell()

    def close(self) -> None:
        """Finish the file: what comes next goes into another one."""
        file, stream, self._file, self._stream = self._file, self._stream, None, None
        if file is not None and stream is not None:
            with writing(self.folder, advice="make room there, or save elsewhere"), stream:
                file.close()

    def _begin(self) -> None:
        while self._files and sum(f.stat().st_size for f in self._files if f.exists()) > self.most_bytes:
            self._files.pop(0).unlink(missing_ok=True)
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S_%fZ")
        path = self.folder / f"heard-{now}.wav"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._stream, self._flushed = os.fdopen(handle, "wb"), 0
        self._file = wave.open(self._stream, "wb")  # noqa: SIM115 - it is closed with the minute
        self._file.setparams((2, 3, SAMPLE_RATE_HZ, 0, "NONE", ""))
        self._files.append(path)


def _pcm24(chunk: Waveform) -> bytes:
    """(2, n) float as interleaved little-endian integers of three bytes, clipped at full scale."""
    whole = np.rint(chunk.T.astype(np.float64) * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype("<i4")
    return np.ascontiguousarray(whole).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
