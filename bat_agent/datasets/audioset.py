"""AudioSet for SpatialSoundQA (BAT, section 3.1): from Google's lists of clips, or the released ones, to metadata.

Labels outside the 355 classes are dropped, clips that have no other too and, with a folder of audio, those that are not
there. What is written under ``AudioSet/metadata`` is what
:func:`~bat_agent.datasets.sound_libraries.from_audioset` reads.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from bat_agent.datasets.clip_lists import Clips, have_audio, read_list
from bat_agent.datasets.sounds import RELEASED_SUFFIXES
from bat_agent.errors import BadInput
from bat_agent.files.writing import whole_file
from bat_agent.labels import label_table, labels

PAPER_CLIPS = {"unbalanced_train": 1_861_750, "balanced_train": 18_373, "eval": 17_148}
"""Clips of each split after BAT's curation (BAT, section 3.1)."""
SPLITS = tuple(PAPER_CLIPS)
"""The splits, by the folder of their audio; Google's list of one is ``<split>_segments.csv``."""
LABEL_TABLE = "class_labels_indices_subset.csv"
"""The table of the 355 classes, as shipped and as written beside the lists."""
_Fill = Callable[[TextIO], object]


def list_name(split: str) -> str:
    """The released name of a split's list: ``balanced.json`` for balanced_train."""
    return f"{split.removesuffix('_train')}.json"


def weights_name(split: str) -> str:
    """Where the weights of a split stand, relative to its list: ``weights/balanced_weight.csv``."""
    return f"weights/{split.removesuffix('_train')}_weight.csv"


@dataclass(frozen=True)
class SplitReport:
    """What became of the clips of one split: ``read`` = ``no_label`` + ``missing_audio`` + ``kept``."""

    split: str
    source: str
    """The list they were read from."""
    read: int
    no_label: int
    """Clips without any of the 355 classes."""
    missing_audio: int | None
    """Clips that have one, but no audio; ``None`` where nobody looked."""
    kept: int
    classes: int
    """How many of the 355 classes the clips kept have."""
    paper: int
    """Clips kept by BAT."""
    metadata: str | None
    """The list written; ``None`` where no clip was kept."""
    weights: str | None
    """The weights written."""


@dataclass(frozen=True)
class Report:
    """What :func:`curate` did, split by split."""

    splits: tuple[SplitReport, ...]

    def notes(self) -> list[str]:
        """Remarks: where the counts are not the paper's and why, and what was not written or not looked for."""
        notes = [
            f"no clip of {s.split} is left, so nothing was written for it; files of it from before stay as they are"
            for s in self.splits
            if not s.kept
        ]
        if differ := [f"{s.split} {s.kept:,}, not {s.paper:,}" for s in self.splits if s.kept not in (0, s.paper)]:
            notes.append(
                f"other counts than BAT's ({'; '.join(differ)}): the paper counts after filtering, and probably "
                "without the clips its authors could not download; every copy of AudioSet lacks others"
            )
        if any(s.missing_audio is None for s in self.splits):
            notes.append("nobody looked whether the audio is there; --audio DIR keeps only clips whose file is")
        return notes

    def to_dict(self) -> dict[str, Any]:
        """``splits``, each with the fields of :class:`SplitReport`, and ``notes``."""
        return {"splits": [asdict(split) for split in self.splits], "notes": self.notes()}


def curate(sources: Iterable[Path], out: Path, *, audio: Path | None = None) -> Report:
    """Write lists, sampling weights and label table of AudioSet under ``out/AudioSet/metadata``.

    ``sources`` are lists or folders of them, see :func:`find_lists`; the splits found are written, all or none. With
    ``audio``, a root in the released layout (``AudioSet`` or the folder above it), only clips stay whose file is there.
    A weights file has one number a line in the order of the list: Σ over the clip's labels of 1000 / (count + 0.01),
    where count is how many of the clips written bear the label.

    Raises :class:`~bat_agent.errors.BadInput` where lists are missing or broken, no clip is left, ``out`` cannot be
    written, or it would overwrite a list that was read.
    """
    lists = find_lists(sources)
    metadata = out / "AudioSet" / "metadata"
    for split, path in lists.items():
        target = metadata / list_name(split)
        if target.exists() and target.samefile(path):
            raise BadInput(f"{path} would be overwritten by what is left of it; choose another place for the result")
    if audio is not None and not audio.is_dir():
        raise BadInput(f"no folder of audio at {audio}, expected one that holds AudioSet/eval/audio; name that one")
    reports, kept = [], {}
    for split, path in lists.items():
        clips, report = _filtered(split, path, metadata, audio)
        reports.append(report)
        if report.kept:
            kept[split] = clips
    if not kept:
        raise BadInput(_nothing_left(reports, audio))
    with _all_or_nothing() as write:
        for split, clips in kept.items():
            write(metadata / list_name(split), partial(_write_list, clips, split))
            write(metadata / weights_name(split), partial(_write_weights, clips))
        write(metadata / LABEL_TABLE, _write_label_table)
    return Report(tuple(reports))


def find_lists(sources: Iterable[Path]) -> dict[str, Path]:
    """The list of each split that is in ``sources``, in the order of :data:`SPLITS`.

    A source is a list named as Google's (``eval_segments.csv``) or the released ones (``eval.json``), or a folder of
    Google's lists; without any, the released ones are looked for in its ``AudioSet/metadata``, ``metadata`` and itself.
    Raises :class:`~bat_agent.errors.BadInput` where a source has none, and for two lists of one split.
    """
    found: dict[str, Path] = {}
    for source in sources:
        for split, path in _lists_of(source):
            if split in found:
                raise BadInput(f"{found[split]} and {path} are both lists of {split}, expected one; leave one out")
            found[split] = path
    return {split: found[split] for split in SPLITS if split in found}


def _lists_of(source: Path) -> list[tuple[str, Path]]:
    google = {f"{split}_segments.csv": split for split in SPLITS}
    released = {list_name(split): split for split in SPLITS}
    if source.is_file():
        if split := (google | released).get(source.name):
            return [(split, source)]
        names = ", ".join([*google, *released])
        raise BadInput(f"the name of {source} says no split, expected one of {names}; rename it")
    if not source.is_dir():
        raise BadInput(f"{source} does not exist, expected a folder with {' or '.join(google)}; name that folder")
    places = [(source, google)]
    places += [(folder, released) for folder in (source / "AudioSet" / "metadata", source / "metadata", source)]
    for folder, splits in places:
        if lists := [(split, folder / name) for name, split in splits.items() if (folder / name).is_file()]:
            return lists
    raise BadInput(
        f"{source} holds no list of clips, looked for {', '.join(google)} and, there, in metadata and in "
        f"AudioSet/metadata, for {', '.join(released)}; download them from research.google.com/audioset"
    )


def _filtered(split: str, path: Path, metadata: Path, audio: Path | None) -> tuple[Clips, SplitReport]:
    """The clips of a list that stay, and what became of the others."""
    clips = read_list(path, split)
    labelled = clips.take(np.diff(clips.ends) > 0)
    kept = labelled if audio is None else labelled.take(have_audio(labelled, audio, split))
    report = SplitReport(
        split=split,
        source=str(path),
        read=len(clips),
        no_label=len(clips) - len(labelled),
        missing_audio=None if audio is None else len(labelled) - len(kept),
        kept=len(kept),
        classes=len(np.unique(kept.classes)),
        paper=PAPER_CLIPS[split],
        metadata=str(metadata / list_name(split)) if len(kept) else None,
        weights=str(metadata / weights_name(split)) if len(kept) else None,
    )
    return kept, report


def _nothing_left(reports: Sequence[SplitReport], audio: Path | None) -> str:
    lists = ", ".join(report.source for report in reports)
    if not (missing := sum(report.missing_audio or 0 for report in reports)):
        return f"none of the clips of {lists} has one of the {len(labels())} classes; name the lists of AudioSet"
    folders = " and ".join(f"{report.split}/audio" for report in reports)
    suffixes = ", ".join(RELEASED_SUFFIXES[1:])
    return (
        f"{audio} has the audio of none of {missing:,} clips of {lists}, looked for Y<id>.wav ({suffixes}) in "
        f"{folders} of its AudioSet or of itself; name another folder, or none to write lists without looking"
    )


# --- writing ---


def _write_list(clips: Clips, split: str, file: TextIO) -> None:
    mids = [mid for mid, _ in label_table()]
    before = "[\n"
    for clip, classes in clips:
        item = {"id": f"Y{clip}", "folder": f"{split}/audio", "label": [mids[c] for c in classes]}
        file.write(before + json.dumps(item))
        before = ",\n"
    file.write("\n]\n")


def _write_weights(clips: Clips, file: TextIO) -> None:
    np.savetxt(file, clips.weights())  # in the format of the released script, 18 digits


def _write_label_table(file: TextIO) -> None:
    file.write(resources.files("bat_agent.data").joinpath(LABEL_TABLE).read_text(encoding="utf-8"))


@contextmanager
def _all_or_nothing() -> Iterator[Callable[[Path, _Fill], None]]:
    """Files that are filled under temporary names and renamed when all are whole: a list never meets other weights."""
    with ExitStack() as staged:

        def write(path: Path, fill: _Fill) -> None:
            stream = staged.enter_context(whole_file(path, folder=True, durable=True))
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="\n")
            fill(text)
            text.detach()

        yield write
