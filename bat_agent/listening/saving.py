"""Sound written to disk, for those who asked for it: a folder of WAV files, private, of limited size."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import soundfile

from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound.ring import Waveform

FILE_S = 60.0
MEGABYTE = 10**6


class Recorder:
    """Writes what the ears hear into one file a minute; the oldest go where there is too much."""

    def __init__(self, folder: str | os.PathLike[str], most_mb: float = 1000.0) -> None:
        """Raises :class:`~bat_agent.errors.BadInput` for a folder that cannot be made."""
        self.folder, self.most_bytes = Path(folder), most_mb * MEGABYTE
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"cannot save into {folder} ({error.strerror}): choose another folder") from error
        self._file: soundfile.SoundFile | None = None
        self._files: list[Path] = []

    def write(self, chunk: Waveform) -> None:
        """Keep (2, n) samples at 32 kHz; raises :class:`~bat_agent.errors.BadInput` where the disk is full."""
        try:
            if self._file is None or self._file.frames >= FILE_S * SAMPLE_RATE_HZ:
                self.close()
                self._begin()
            assert self._file is not None
            self._file.write(chunk.T)
        except (OSError, soundfile.LibsndfileError) as error:
            why = " ".join(str(error).split())
            raise BadInput(f"cannot write into {self.folder} ({why}): make room there, or save elsewhere") from error

    def close(self) -> None:
        """Finish the file: what comes next goes into another one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        while self._files and sum(f.stat().st_size for f in self._files if f.exists()) > self.most_bytes:
            self._files.pop(0).unlink(missing_ok=True)
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S_%fZ")
        path = self.folder / f"heard-{now}.wav"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.close(handle)
        self._file = soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 2, "PCM_24", format="WAV")
        self._files.append(path)
