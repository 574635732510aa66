"""Ambisonic files as a source of sound: turned and rendered to two ears while they are played."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.blocks import Samples
from bat_agent.listening.feeds import BLOCK_S, File
from bat_agent.recordings import Ambisonics, Recording


class AmbisonicFile(File):
    """As :class:`~bat_agent.listening.feeds.File`, with two ears at 32 kHz."""

    def __init__(self, recording: Recording, *, pace: str = "real", start_s: float = 0.0, loop: bool = False) -> None:
        super().__init__(recording.path, pace=pace, start_s=start_s, loop=loop)
        self.recording = recording
        self.name = f"{self.name} ({recording.form}, {recording.num_channels} channels)"
        self._pieces: Iterator[Samples] = iter(())
        self._rest: Samples = np.zeros((0, 2), np.float32)

    def open(self) -> None:
        """Begin, or go on where it was paused."""
        self.sample_rate_hz, self.channels = SAMPLE_RATE_HZ, 2
        if self.start_s >= self.recording.seconds:
            seconds = self.recording.seconds
            raise BadInput(f"{self.path} lasts {seconds:.1f} s and cannot begin at {self.start_s:g} s: begin earlier")
        if self._at is None:
            self._at = 0
            self._pieces = (piece.T for piece in self.recording.ears(self.start_s))
        self._begin_s = None

    def _next(self) -> Samples:
        wanted = round(BLOCK_S * SAMPLE_RATE_HZ)
        while len(self._rest) < wanted:
            piece = next(self._pieces, None)
            if piece is None:
                if not self.loop:
                    break
                self._pieces = (piece.T for piece in self.recording.ears())
                continue
            self._rest = np.concatenate([self._rest, piece])
        block, self._rest = self._rest[:wanted], self._rest[wanted:]
        return block

    def close(self) -> None:
        """What was rendered stays for when it goes on."""


def ambisonic_file(path: str | os.PathLike[str], ambisonics: Ambisonics) -> Recording | None:
    """The recording, if it is ambisonic; with ``auto`` every other file is ``None``, also one that cannot be read.

    Raises :class:`~bat_agent.errors.BadInput` where a format is named that the file does not have.
    """
    if ambisonics == "no":
        return None
    try:
        recording = Recording(path, ambisonics=ambisonics)
    except BadInput:
        if ambisonics != "auto":
            raise
        return None
    return recording if recording.form else None
