"""Options that ``ask`` and ``perceive`` share, and how they read: long, ambisonic and piped recordings."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bat_agent.cli import inputs
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from bat_agent.recordings import Recording

ENDINGS = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".amb", ".aif", ".aiff", ".aifc", ".caf", ".w64", ".rf64", ".au",
)  # fmt: skip
"""Files of a folder that are taken for recordings."""


class Ambisonics(str, Enum):
    """What the channels of a file are."""

    auto = "auto"
    no = "no"
    ambix = "ambix"
    n3d = "n3d"
    fuma = "fuma"


Ambisonic = Annotated[
    Ambisonics,
    typer.Option(
        "--ambisonics", help="Format of an ambisonic recording, or no; auto: what the file says or looks like."
    ),
]
Heading = Annotated[
    float, typer.Option(metavar="DEG", help="Ambisonics: turn the head, counter-clockwise seen from above.")
]
Start = Annotated[float | None, typer.Option(metavar="SECONDS", help="Where to begin in the recording.")]
Seconds = Annotated[float | None, typer.Option(metavar="SECONDS", help="How much of it to hear.")]
Every = Annotated[float | None, typer.Option(metavar="SECONDS", help="Time between looks; 1 s unless given.")]


@dataclass(frozen=True)
class Reading:
    """How files are read, as options say."""

    mono: inputs.Mono = inputs.Mono.refuse
    channels: tuple[int, int] | None = None
    """The left and the right one, counted from 1."""
    ambisonics: Ambisonics = Ambisonics.auto
    heading_deg: float = 0.0

    def open(self, path: Path) -> Recording:
        """The recording; raises :class:`~bat_agent.errors.BadInput` where it cannot be heard with two ears."""
        from bat_agent.recordings import Recording

        return Recording(
            path,
            mono=self.mono.value,
            channels=self.channels,
            ambisonics=self.ambisonics.value,
            heading_deg=self.heading_deg,
        )

    def read(
        self, recording: Recording, most_s: float, start: float | None = None, seconds: float | None = None
    ) -> tuple[np.ndarray, list[str]]:
        """What is heard of a recording at once, ``most_s`` at most: (2, N), and which stretch that is, if not all."""
        begin_s = start or 0.0
        wanted_s = recording.seconds - begin_s if seconds is None else seconds
        heard_s = min(wanted_s, most_s)
        all_of_it = begin_s == 0 and heard_s >= recording.seconds
        if all_of_it and recording.is_plain:
            return inputs.read_ears(recording.path, self.mono, self.channels)
        ears, notes = recording.read(begin_s, heard_s), list(recording.notes)
        if not all_of_it:
            more = "" if wanted_s <= most_s else f"; the model hears {most_s:g} s at once, --start says which"
            end_s = min(begin_s + heard_s, recording.seconds)
            notes.append(f"heard: {begin_s:g} s to {end_s:.1f} s of {recording.seconds:.1f} s{more}")
        return ears, notes


def expanded(names: Sequence[Path]) -> list[Path]:
    """Files for names, folders (what lies in them, by name) and patterns, in order, each once.

    Raises :class:`~bat_agent.errors.BadInput` for a folder without recordings and a pattern that fits nothing.
    """
    found: list[Path] = []
    for name in names:
        text = os.fspath(name)
        if name.is_dir():
            inside = sorted(file for file in name.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
            if not inside:
                raise BadInput(
                    f"no recording lies in the folder {name}, expected files such as {', '.join(ENDINGS[:4])}"
                )
            found += inside
        elif glob.has_magic(text) and not name.exists():
            fitting = [Path(file) for file in sorted(glob.glob(text, recursive=True)) if os.path.isfile(file)]
            if not fitting:
                raise BadInput(f"nothing fits {text!r}; check the pattern")
            found += fitting
        else:
            found.append(name)
    return list(dict.fromkeys(found))
