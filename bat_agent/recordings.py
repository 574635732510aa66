"""Recordings of any length and kind as two ears: stereo files, ambisonic ones, what comes on standard input.

A file is read piece by piece, so its length does not matter; only what arrives on standard input is kept as it came.
"""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from bat_agent.ambisonics.formats import FORMS, Form, could_be, guess, named_form, to_ambix
from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.sound.audio import CLIPS, UNFINISHED, check_length, clips, decode
from bat_agent.sound.wav_header import finished

Floats = NDArray[np.float32]
Ambisonics = Literal["auto", "no", "ambix", "n3d", "fuma"]
STDIN = "-"
_PIECE_S = 2.0
_LOOK_S = 10.0
"""How much of a file is looked at to tell whether it is ambisonic."""


class Recording:
    """An audio file, opened; raises :class:`~bat_agent.errors.BadInput` where it cannot be heard with two ears.

    ``mono="duplicate"`` gives both ears the one channel there is; ``channels`` are the left and the right one, counted
    from 1. ``ambisonics`` is the format of an ambisonic file, ``no`` for one that is none, or ``auto``: a file that
    names itself (``.amb``, WAVEX B-format) or has 4, 9 or 16 channels that look so is taken for one.
    ``heading_deg`` turns the head in it, counter-clockwise from above.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mono: Literal["refuse", "duplicate"] = "refuse",
        channels: tuple[int, int] | None = None,
        ambisonics: Ambisonics = "auto",
        heading_deg: float = 0.0,
    ) -> None:
        if ambisonics not in ("auto", "no", *FORMS):
            raise BadInput(f"ambisonics must be auto, no, {', '.join(FORMS)}, got {ambisonics!r}")
        self.name = "standard input" if os.fspath(path) == STDIN else os.fspath(path)
        self._path, self._content = Path(path), b""  # what came on standard input
        self._whole: tuple[Floats, int] | None = None
        if os.fspath(path) == STDIN:
            if sys.stdin.isatty():
                raise BadInput("standard input is a terminal, expected an audio file: pipe one in, as in cat a.wav |")
            self._content = sys.stdin.buffer.read()
        self.notes: list[str] = []
        """What to know about how it is read; that it clips is found while it is read."""
        with self._opened() as file:
            check_length(file, len(self._content) or self._path.stat().st_size, self.name)
            self.rate_hz, self.num_channels, self._frames = file.samplerate, file.channels, file.frames
            self._named = named_form(file, os.fspath(path))
        if not self._frames:
            # Nothing, or a header that was never finished, which libsndfile takes for nothing.
            whole = finished(self._content or self._path)
            if whole is not None:
                self.notes.append(UNFINISHED)
            self._whole = decode(whole or self._bytes(), self.name)
            self._frames = self._whole[0].shape[1]
        if self.rate_hz != SAMPLE_RATE_HZ:
            self.notes.append(f"resampled from {self.rate_hz} Hz to {SAMPLE_RATE_HZ} Hz")
        self._heading_deg = heading_deg
        self.form: Form | None = self._form(ambisonics, channels)
        """The format of an ambisonic recording; ``None`` where it is none."""
        self._sides = None if self.form else self._two(mono, channels)

    @property
    def path(self) -> Path:
        """Where it lies; ``-`` is standard input."""
        return self._path

    @property
    def is_plain(self) -> bool:
        """Whether it is a file that is not ambisonic, which :func:`bat_agent.read_audio` reads as well."""
        return self.form is None and not self._content

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self._frames / self.rate_hz

    def ears(self, begin_s: float = 0.0, seconds: float | None = None) -> Iterator[Floats]:
        """Two ears at 32 kHz, (2, n) at a time, from ``begin_s`` for so long, or to the end.

        Raises :class:`~bat_agent.errors.BadInput` for a beginning that is not in the recording, and for samples that
        are no numbers.
        """
        first = round(begin_s * self.rate_hz) if math.isfinite(begin_s) else -1
        if not 0 <= first < self._frames:
            raise BadInput(
                f"{self.name} lasts {self.seconds:.1f} s and cannot be heard from {begin_s:g} s on: begin earlier"
            )
        count = self._frames - first
        if seconds is not None:
            if not seconds > 0:
                raise BadInput(f"{seconds:g} s of a recording cannot be heard, expected more than 0")
            count = round(min(count, seconds * self.rate_hz))
        pieces = map(self._as_field, self._pieces(first, count))
        if self.form is None:
            yield from self._resampled(pieces, 2)
            return
        num_in = len(to_ambix(np.zeros((self.num_channels, 1)), self.form))
        from bat_agent.ambisonics.rendering import Renderer

        renderer = Renderer(num_in, heading_deg=self._heading_deg)
        for piece in self._resampled(pieces, num_in):
            yield renderer.push(piece)
        yield renderer.finish()

    def read(self, begin_s: float = 0.0, seconds: float | None = None) -> Floats:
        """All of that in one, (2, N)."""
        return np.concatenate(list(self.ears(begin_s, seconds)), axis=1)

    # --- what is in the file ---

    def _opened(self) -> soundfile.SoundFile:
        if not self._content:
            if os.fspath(self._path) == STDIN:
                raise BadInput("nothing came on standard input, expected an audio file: pipe one in, as in cat a.wav |")
            if self._path.is_dir():
                raise BadInput(f"{self.name} is a folder, expected an audio file; name a file in it")
            if not self._path.exists():
                raise BadInput(f"no audio file at {self.name}; check the name")
            if not self._path.stat().st_size:
                raise BadInput(f"{self.name} is empty (0 bytes), expected audio; record or copy it again")
        try:
            return soundfile.SoundFile(io.BytesIO(self._content) if self._content else self._path)
        except (soundfile.LibsndfileError, OSError) as error:
            reason = str(getattr(error, "error_string", error)).rstrip(".")
            wanted = "expected WAV, FLAC, OGG or MP3; convert it, e.g. with ffmpeg"
            raise BadInput(f"cannot read {self.name} as audio ({reason}), {wanted}") from error

    def _bytes(self) -> bytes:
        return self._content or self._path.read_bytes()

    def _pieces(self, first: int, count: int) -> Iterator[Floats]:
        """(channels, n) at the file's rate."""
        if self._whole is not None:
            yield self._whole[0][:, first : first + count].astype(np.float32)
            return
        step = round(_PIECE_S * self.rate_hz)
        with self._opened() as file:
            file.seek(first)
            while count > 0:
                try:
                    samples = file.read(min(step, count), dtype="float32", always_2d=True)
                except soundfile.LibsndfileError as error:
                    raise BadInput(f"{self.name} is broken ({error.error_string}); record or copy it again") from error
                if not len(samples):
                    return
                if not np.isfinite(samples).all():
                    raise BadInput(
                        f"{self.name} holds samples that are NaN or infinite, expected finite numbers; export it again"
                    )
                count -= len(samples)
                yield samples.T

    def _as_field(self, samples: Floats) -> Floats:
        if self.form is not None:
            return to_ambix(samples, self.form)
        assert self._sides is not None
        ears = samples[list(self._sides)]
        # At the rate of the file, as resampling hides it.
        if CLIPS not in self.notes and clips(ears):
            self.notes.append(CLIPS)
        return ears

    def _resampled(self, pieces: Iterator[Floats], lanes: int) -> Iterator[Floats]:
        if self.rate_hz == SAMPLE_RATE_HZ:
            yield from pieces
            return
        stream = soxr.ResampleStream(self.rate_hz, SAMPLE_RATE_HZ, lanes, dtype="float32", quality="HQ")
        for piece in pieces:
            yield stream.resample_chunk(np.ascontiguousarray(piece.T)).T
        yield stream.resample_chunk(np.zeros((0, lanes), np.float32), last=True).T

    # --- which channels are what ---

    def _form(self, wanted: Ambisonics, channels: tuple[int, int] | None) -> Form | None:
        if wanted == "no" or channels is not None:
            return None
        if wanted != "auto":
            to_ambix(np.zeros((self.num_channels, 1)), wanted)  # refuses other numbers of channels
            found: Form = wanted
        elif self._named:
            found = self._named
        elif could_be(self.num_channels):
            found = self._looks_like()
        else:
            return None
        self.notes.append(f"ambisonic ({found}, {self.num_channels} channels), heard through the head of a KEMAR")
        return found

    def _looks_like(self) -> Form:
        frames = min(self._frames, round(_LOOK_S * self.rate_hz))
        # From the middle: recordings often begin with handling noise.
        pieces = list(self._pieces((self._frames - frames) // 2, frames))
        sound = np.concatenate(pieces, axis=1)
        found = guess(sound, self.rate_hz)
        if found is None and sound.any():
            raise BadInput(
                f"{self.name} has {self.num_channels} channels that do not look ambisonic (AmbiX or FuMa); choose the "
                "two ears with --channels 1,2, or name the format with --ambisonics ambix, n3d or fuma"
            )
        found = found or "ambix"
        self.notes.append(
            f"the file does not say what its {self.num_channels} channels are: they look like {found}; if they are "
            "microphones, choose two with --channels 1,2"
        )
        return found

    def _two(self, mono: str, channels: tuple[int, int] | None) -> tuple[int, int]:
        count = self.num_channels
        if channels is not None:
            if len(channels) != 2 or not all(1 <= number <= count for number in channels):
                raise BadInput(
                    f"channels={channels} does not fit {self.name}, which has {count} channels; "
                    f"name two from 1 to {count}"
                )
            return channels[0] - 1, channels[1] - 1
        if count == 2:
            return 0, 1
        if count > 2:
            raise BadInput(
                f"{self.name} has {count} channels, expected 2 (left and right ear), or 4, 9 or 16 of ambisonics; "
                "choose two with --channels 1,2"
            )
        if mono == "duplicate":
            return 0, 0
        raise BadInput(
            f"{self.name} is a mono recording and carries no direction, expected 2 channels; record with two "
            "microphones, or use --mono duplicate to treat it as both ears hearing the same"
        )
