"""Recordings and files of a SpatialSoundQA set: what they are called, and how they come into it without a loss."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path, PurePosixPath

from bat_agent.datasets.sounds import RELEASED_SUFFIXES, Sound
from bat_agent.errors import BadInput
from bat_agent.files.leftovers import temporary_folder
from bat_agent.files.writing import whole_path, write_bytes
from bat_agent.labels import label_table
from bat_agent.sound.audio import write_wav
from bat_agent.sound.wav_header import finished

FOLDER_OF_SPLIT = {"train": "balanced_train", "eval": "eval"}
_LIST_OF_SPLIT = {"train": "balanced", "eval": "eval"}
Progress = Callable[[str, int, int], None]
"""Called with what is being made, how many are done, and of how many."""


def listing_path(audio_set: Path, split: str) -> Path:
    """The list of the recordings of a split, with their labels."""
    return audio_set / "metadata" / f"{_LIST_OF_SPLIT[split]}.json"


def lies_in(sound: Sound, folder: Path) -> bool:
    """Whether the sound is a file under the folder."""
    return sound.path is not None and sound.path.resolve().is_relative_to(folder.resolve())


class Recordings:
    """What recordings are called in a set, and their way into it."""

    def __init__(self, out: Path, split: str) -> None:
        self._audio_set, self._split = out / "AudioSet", split
        self._sound_of: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def __call__(self, sound: Sound) -> str:
        """``<folder>/audio/Y<name>``, flat as in the release; a recording that is in the set keeps its name."""
        if sound.id not in self._names:
            self._names[sound.id] = self._name(sound)
        return self._names[sound.id]

    def _name(self, sound: Sound) -> str:
        path = sound.path
        if path is not None and lies_in(sound, self._audio_set):
            return path.resolve().relative_to(self._audio_set.resolve()).with_suffix("").as_posix()
        stem = sound.id if path is None else PurePosixPath(sound.id).with_suffix("").as_posix()
        name = re.sub(r"[^\w.-]+", "-", re.sub(r"^.*/audio/Y", "", stem))
        if self._sound_of.setdefault(name, sound.id) != sound.id:
            raise BadInput(f"the sounds {self._sound_of[name]} and {sound.id} would both be called Y{name}; rename one")
        return f"{FOLDER_OF_SPLIT[self._split]}/audio/Y{name}"

    def bring(self, sounds: Iterable[Sound], progress: Progress) -> None:
        """Link the recordings into the set, or copy them where they cannot be linked, and list them with labels."""
        mids = {name: mid for mid, name in label_table()}
        # What lies in the set already is listed there already.
        chosen = sorted((s for s in sounds if not lies_in(s, self._audio_set)), key=lambda sound: sound.id)
        if not chosen:
            return
        rows = []
        for number, sound in enumerate(chosen, 1):
            audio_id = self(sound)
            folder, _, name = audio_id.rpartition("/")
            rows.append({"id": name, "folder": folder, "label": [mids[label] for label in sound.labels]})
            _bring(sound, self._audio_set / audio_id)
            progress("recordings", number, len(chosen))
        listing = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
        write_bytes(listing_path(self._audio_set, self._split), listing.encode(), folder=True, durable=True)
        table = resources.files("bat_agent.data").joinpath("class_labels_indices_subset.csv").read_bytes()
        write_bytes(self._audio_set / "metadata" / "class_labels_indices_subset.csv", table, folder=True, durable=True)


def _bring(sound: Sound, target: Path) -> None:
    """The recording as it is, where readers of the layout know its kind; else, where it has no file, and where its
    header was never finished, which other readers take for empty, as WAV.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = "" if sound.path is None else sound.path.suffix.lower()
    if sound.path is not None and suffix in RELEASED_SUFFIXES and finished(sound.path) is None:
        link(sound.path, target.with_name(target.name + suffix))
        return
    with temporary_folder() as folder:
        write_wav(made := folder / target.name, sound.waveform())
        link(made, target.with_name(f"{target.name}.wav"), sound.id)


def link(source: Path, target: Path, name: str | None = None) -> None:
    """A hard link, which takes no room and survives the source; a copy on another disk.

    Raises :class:`~bat_agent.errors.BadInput` where another file has that name; ``name`` tells of the source.
    """
    if target.exists():
        if not target.samefile(source) and not filecmp.cmp(source, target, shallow=False):
            raise BadInput(f"{target} is there already and differs from {name or source}; choose another --out")
        return
    with whole_path(target) as partial:
        try:
            partial.hardlink_to(source.resolve())
        except OSError:
            shutil.copyfile(source, partial)
