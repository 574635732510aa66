"""RIRs made again from their reverberation JSON: written anew, or compared bit for bit with the files that exist."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.datasets import layout
from bat_agent.datasets.engines import Engine, in_process
from bat_agent.datasets.layout import Item, ReverberationFile
from bat_agent.datasets.plan import RIRS_AT_ONCE
from bat_agent.datasets.rirs import Progress
from bat_agent.datasets.tasks import Made, RemakeRirs
from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_array
from bat_agent.files.writing import RESUMES, write_bytes


@dataclass(frozen=True)
class Replayed:
    """What came of it."""

    rirs: int
    """RIRs made again."""
    differing: tuple[str, ...]
    """Those that are not what they were, each with how; in order."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return asdict(self) | {"differing": list(self.differing)}


def replay(
    source: Path,
    out: Path | None = None,
    *,
    only: Sequence[str] = (),
    engine: Engine = in_process,
    progress: Progress = lambda done, total: None,
) -> Replayed:
    """Make the RIRs of the reverberation JSON ``source`` again: into the folder ``out``, or, without one, to compare.

    What is written is compared with the checksums in ``source``; a whole set gets its JSON too. Without ``out``, the
    files beside ``source`` are compared, byte for byte. ``only`` names some entries (``scene/n.npy``). Raises
    :class:`~bat_agent.errors.BadInput` where an entry holds no scene or is not there.
    """
    file = ReverberationFile(source)
    total = _check(file, only)
    target = source if out is None else out / layout.REVERB / source.name
    differing: dict[str, str] = {}
    progress(0, total)
    done = 0
    for some in engine(RemakeRirs(), _tasks(file, only)):
        for made in some:
            difference = _compare(made, source) if out is None else _write(made, target)
            if difference:
                differing[made.item["fname"]] = difference
        done += len(some)
        progress(done, total)
    if out is not None and not only and target.resolve() != source.resolve():
        shutil.copyfile(source, target)
    return Replayed(total, tuple(f"{fname}: {differing[fname]}" for fname in sorted(differing)))


def _check(file: ReverberationFile, only: Sequence[str]) -> int:
    """How many entries are asked for; all must be there and hold a scene."""
    total, lacking, missing = 0, [], set(only)
    for item in _selected(file, only):
        total += 1
        missing.discard(item["fname"])
        if not isinstance(item.get("scene"), dict):
            lacking.append(item["fname"])
    if missing:
        raise BadInput(f"{file.path} has no entry {min(missing)!r}; name entries as their fname, scene/n.npy")
    if lacking:
        raise BadInput(
            f"{file.path} holds no scene for {len(lacking)} of {total} RIRs, such as {lacking[0]}: without room, "
            f"materials, head, simulator and seed, which released files lack, a RIR cannot be made again; "
            f"replay a file that bat-agent dataset rirs wrote"
        )
    return total


def _selected(file: ReverberationFile, only: Sequence[str]) -> Iterator[Item]:
    wanted = set(only)
    return (item for item in file if not wanted or item["fname"] in wanted)


def _tasks(file: ReverberationFile, only: Sequence[str]) -> Iterator[list[Item]]:
    items = ({"mono": None} | item for item in _selected(file, only))
    while some := list(itertools.islice(items, RIRS_AT_ONCE)):
        yield some


def _write(made: Made, target: Path) -> str | None:
    fname, content = made.item["fname"], layout.npy_bytes(made.rir)
    write_bytes(layout.rir_path(target, fname), content, folder=True, advice=RESUMES)
    if made.mono is not None:
        write_bytes(
            layout.rir_path(target, fname, layout.MONO), layout.npy_bytes(made.mono), folder=True, advice=RESUMES
        )
    known = made.item.get("sha256")
    same = known is None or hashlib.sha256(content).hexdigest() == known
    return None if same else "not the bytes whose checksum the JSON holds"


def _compare(made: Made, source: Path) -> str | None:
    """How the file beside the JSON differs, if it does."""
    for kind, rir in ((layout.BINAURAL, made.rir), (layout.MONO, made.mono)):
        if rir is None:
            continue
        try:
            before = layout.rir_path(source, made.item["fname"], kind).read_bytes()
        except OSError as error:
            return f"{kind} file cannot be read ({error.strerror})"
        if before != layout.npy_bytes(rir):
            return f"{kind} file {_how(before, rir)}"
    return None


def _how(before: bytes, rir: np.ndarray) -> str:
    try:
        old = parse_array(before)
    except ValueError:
        return "is no whole .npy file"
    if old.shape != rir.shape or old.dtype != np.float64:
        return f"is {old.dtype} {old.shape}, made again float64 {rir.shape}"
    return f"differs by up to {np.abs(old - rir).max() / max(np.abs(rir).max(), 1e-300):.1e} of the peak"
