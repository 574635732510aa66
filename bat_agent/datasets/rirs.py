"""The driver that makes a set: hands out tasks, writes what comes back, and resumes where it was killed.

While a set is made, ``<split>_reverberation.jsonl`` lists what is finished: the arguments in its first line, then one
entry for each RIR whose file is in place. In the end the entries, in order, become the reverberation JSON, and the
list goes. So the files of a finished set depend on the arguments alone, however often and wherever it was interrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bat_agent.datasets import layout
from bat_agent.datasets.engines import Engine, in_process
from bat_agent.datasets.layout import Item, ReverberationFile
from bat_agent.datasets.plan import Plan
from bat_agent.datasets.tasks import Made, MakeRirs, versions
from bat_agent.errors import BadInput
from bat_agent.files.locking import take_lock
from bat_agent.files.reading import parse_json
from bat_agent.files.writing import RESUMES, whole_file, write_bytes, writing

MADE_BY = "bat-agent dataset rirs"
Progress = Callable[[int, int], None]
"""Called with how many RIRs are finished, and of how many."""


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    json: str
    """The reverberation JSON."""
    rirs: int
    """RIRs in the set."""
    made: int
    """RIRs made now; the others were there."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return asdict(self)


def make_rirs(
    plan: Plan, out: Path, *, engine: Engine = in_process, progress: Progress = lambda done, total: None
) -> Summary:
    """Make the set of ``plan`` in the folder ``out``, or what is missing of it.

    Raises :class:`~bat_agent.errors.BadInput` where ``out`` holds a set of other arguments or cannot be written, and
    whatever the simulator raises; what was finished by then stays and is not made again.
    """
    target = layout.json_path(out, plan.split)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--out {out} is no folder that can be written ({error.strerror}); choose another") from error
    if _is_complete(plan, target):
        return Summary(str(target), plan.count, 0)
    with Journal(plan, target) as journal:
        layout.clear_temporaries(target.parent, f"{plan.simulator}-{plan.split}-*")
        kept = journal.finished
        progress(kept, plan.count)
        for some in engine(MakeRirs(plan), plan.tasks(journal.has)):
            for made in some:
                _write(made, target, journal)
            progress(journal.finished, plan.count)
        journal.publish()
    return Summary(str(target), plan.count, plan.count - kept)


def _write(made: Made, target: Path, journal: Journal) -> None:
    """The file first, then its entry: an entry without its file cannot be."""
    item = made.item
    here = versions(item["scene"]["simulator"]["name"])
    if item["versions"] != here:
        raise BadInput(f"a worker has {item['versions']} and this machine {here}; install the same versions on all")
    content = layout.npy_bytes(made.rir)
    write_bytes(layout.rir_path(target, item["fname"]), content, folder=True, advice=RESUMES)
    if made.mono is not None:
        write_bytes(
            layout.rir_path(target, item["fname"], layout.MONO),
            layout.npy_bytes(made.mono),
            folder=True,
            advice=RESUMES,
        )
    journal.add(item | {"samples": made.rir.shape[-1], "sha256": hashlib.sha256(content).hexdigest()})


def is_in_place(item: Item, target: Path) -> bool:
    """Whether the files of an entry exist in their full size."""
    wanted = [(layout.BINAURAL, 2), *([(layout.MONO, 1)] if item["mono"] else [])]
    try:
        return all(
            layout.rir_path(target, item["fname"], kind).stat().st_size == layout.npy_size(channels, item["samples"])
            for kind, channels in wanted
        )
    except OSError:
        return False


def _is_complete(plan: Plan, target: Path) -> bool:
    """Whether the set is there, whole; raises where it is another one."""
    if not target.exists() or _journal_of(target).exists():
        return False
    file = ReverberationFile(target)
    if file.header.get("made_by") != MADE_BY:
        raise BadInput(f"{target} was not written by {MADE_BY}; choose another --out")
    _refuse_other(plan, file.header.get("arguments"), target)
    return sum(is_in_place(item, target) for item in file) == plan.count


def _refuse_other(plan: Plan, arguments: Any, file: Path) -> None:
    wanted = json.loads(json.dumps(plan.arguments()))
    if arguments == wanted:
        return
    before = arguments if isinstance(arguments, dict) else {}
    changed = [
        f"{name} {before.get(name)!r}, now {value!r}" for name, value in wanted.items() if before.get(name) != value
    ]
    raise BadInput(
        f"{file} was begun with other arguments ({'; '.join(changed)}); give the same again to resume, or another --out"
    )


def _journal_of(target: Path) -> Path:
    return target.with_suffix(".jsonl")


class Journal:
    """The list of finished RIRs; on disk all of it, in memory 8 bytes each.

    A context manager; only one process at a time may hold it (:class:`~bat_agent.errors.BadInput` otherwise).
    """

    def __init__(self, plan: Plan, target: Path) -> None:
        self._plan, self._target, self._path = plan, target, _journal_of(target)
        self._at = array("q", [-1]) * plan.count
        self._first = plan.indices()
        self.finished = 0

    def __enter__(self) -> Journal:
        with writing(self._path):
            self._file: io.BufferedRandom = open(self._path, "a+b")
        try:
            take_lock(self._file, f"another run is writing {self._path.parent}; wait for it, or choose another --out")
            self._read()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Its buffer may hold what a full disk refused; the error that matters is already on its way.
        with contextlib.suppress(OSError):
            self._file.close()

    def has(self, index: int) -> bool:
        """Whether RIR ``index`` is finished."""
        return self._at[index] >= 0

    def add(self, item: Item) -> None:
        """Note a finished RIR; it survives whatever happens to this process from here on."""
        index = self._index(item["fname"])
        at = self._append(item)
        self.finished += self._at[index] < 0
        self._at[index] = at

    def publish(self) -> None:
        """Write the reverberation JSON, all entries in order, and remove this list."""
        head = json.dumps({"made_by": MADE_BY, "arguments": self._plan.arguments()})[:-1] + ', "data": [\n'
        with whole_file(self._target, durable=True, advice=RESUMES) as out:
            out.write(head.encode())
            for number, line in enumerate(self._lines()):
                out.write((b",\n" if number else b"") + line)
            out.write(b"\n]}\n")
        self._path.unlink()

    def _lines(self) -> Iterator[bytes]:
        for at in self._at:
            self._file.seek(at)
            yield self._file.readline().rstrip(b"\n")

    def _index(self, fname: str) -> int:
        scene, _, number = fname.removesuffix(".npy").rpartition("/")
        return self._first[scene] + int(number)

    def _append(self, value: Any) -> int:
        with writing(self._path, advice=RESUMES):
            at = self._file.seek(0, os.SEEK_END)
            self._file.write(json.dumps(value).encode() + b"\n")
            self._file.flush()
        return at

    def _read(self) -> None:
        """What is finished already: from the list, or from a published set that has lost files."""
        self._file.seek(0)
        header = self._file.readline()
        if not header.endswith(b"\n"):  # new, or killed while writing the very first line
            self._file.truncate(0)
            self._append({"made_by": MADE_BY, "arguments": self._plan.arguments()})
            self._take_published()
            return
        _refuse_other(self._plan, self._parse(header, 1).get("arguments"), self._path)
        number, at = 1, self._file.tell()
        while (line := self._file.readline()).endswith(b"\n"):
            number += 1
            self._take(self._parse(line, number), at, number)
            at += len(line)
        self._file.truncate(at)  # what a killed run left of its last line

    def _take(self, item: Item, at: int, number: int) -> None:
        try:
            if not is_in_place(item, self._target):
                return
            index = self._index(item["fname"])
        except (KeyError, ValueError, TypeError) as error:
            raise self._broken(number) from error
        self.finished += self._at[index] < 0
        self._at[index] = at

    def _take_published(self) -> None:
        if self._target.exists():
            for item in ReverberationFile(self._target):
                if is_in_place(item, self._target):
                    self.add(item)

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            value = parse_json(line)
        except ValueError as error:
            raise self._broken(number) from error
        if not isinstance(value, dict):
            raise self._broken(number)
        return value

    def _broken(self, number: int) -> BadInput:
        return BadInput(f"{self._path}, line {number}: not what {MADE_BY} writes; delete this file to begin anew")
