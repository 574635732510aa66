"""Making a SpatialSoundQA set in the released layout: RIRs, recordings and questions, so that it stands on its own.

Run again, it gives the same files. RIRs come first, then questions, then the recordings that they name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bat_agent.datasets import layout
from bat_agent.datasets.draw_qa import SHARES, Draw, shared_out
from bat_agent.datasets.engines import Engine, in_process
from bat_agent.datasets.layout import BINAURAL, REVERB, ReverberationFile
from bat_agent.datasets.motion import make_paths
from bat_agent.datasets.plan import Plan
from bat_agent.datasets.qa_files import FOLDER_OF_SPLIT, Progress, Recordings, lies_in, link, listing_path
from bat_agent.datasets.rirs import make_rirs
from bat_agent.datasets.rooms import ReleasedRooms
from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.datasets.sounds import Sound, SoundSet
from bat_agent.datasets.spatialsoundqa import STAGES
from bat_agent.datasets.store import Store
from bat_agent.errors import BadInput
from bat_agent.files.writing import write_bytes, writing
from bat_agent.questions import QARecord, QuestionType
from bat_agent.questions.files import RecordWriter, encode

MADE_BY = "bat-agent dataset qa"
_EVAL_FILES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (f"{STAGES[0]}/eval-stage1-classification", ("CLASSIFICATION",)),
    (f"{STAGES[0]}/eval-stage1-doa", ("DOA",)),
    (f"{STAGES[1]}/eval-stage2-classification", ("MIXUP_SINGLE_CLASSIFICATION",)),
    (f"{STAGES[1]}/eval-stage2-doa", ("MIXUP_SINGLE_DOA",)),
    (f"{STAGES[2]}/eval-stage3-direction", ("MIXUP_DIRECTION",)),
    (f"{STAGES[2]}/eval-stage3-distance", ("MIXUP_DISTANCE_BOTH",)),
    (
        f"{STAGES[2]}/eval-stage3-nonbinary",
        ("MIXUP_NONBINARY_DIRECTION", "MIXUP_NONBINARY_DISTANCE", "MIXUP_NONBINARY_SOURCE"),
    ),
)
SOURCES_A_LISTENER = 4
PATHS = 50


@dataclass(frozen=True)
class QAPlan:
    """All that decides a set; checked when made."""

    sounds: str
    """A library (:func:`~bat_agent.datasets.sound_libraries.open_sounds`), or the path of a manifest or folder."""
    count: int
    """Records of the nine released types, over all stages."""
    rirs: str | None = None
    """Root of a set of RIRs; or"""
    simulator: str | None = None
    """the simulator that renders some."""
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    """Its options."""
    rooms: int = 200
    """Rooms to render."""
    rir_count: int = 2000
    """RIRs to render, four to each listener."""
    seed: int = 0
    """Seed of everything."""
    split: str = "train"
    """``train`` or ``eval``."""
    folds: tuple[int, ...] | None = None
    """Folds of the library to take; by default all but the last for ``train`` and the last for ``eval``."""
    shares: dict[QuestionType, float] = field(default_factory=lambda: dict(SHARES), hash=False)
    """Proportions of the types."""
    beyond: tuple[QuestionType, ...] = ()
    """Types beyond the paper, in a stage of their own, equally many of each."""
    beyond_count: int = 0
    """Records of these."""
    free: int = 0
    """Records of free questions, in a stage of their own, equally many of each intent."""
    wordings: str = "all"
    """``train``, ``eval`` (wordings kept back from it) or ``all``."""
    balance: str = "class"
    """How sounds are drawn: every ``class`` equally often, by the weights of ``bat``, or ``none``."""

    def __post_init__(self) -> None:
        if (self.rirs is None) == (self.simulator is None):
            raise BadInput("name either --rirs ROOT, a set of RIRs, or --simulator NAME, which renders one")
        if self.split not in FOLDER_OF_SPLIT:
            raise BadInput(f"--split must be train or eval, got {self.split!r}")
        if self.count < 1 or self.seed < 0 or min(self.beyond_count, self.free) < 0:
            raise BadInput(
                "--count must be 1 or more, --seed, --beyond-count and --free 0 or more, got "
                f"{self.count}, {self.seed}, {self.beyond_count} and {self.free}"
            )
        if QuestionType.MOTION in self.beyond and self.simulator is None:
            raise BadInput("moving sources need RIRs along their paths, so name --simulator instead of --rirs")
        if self.wordings not in ("train", "eval", "all"):
            raise BadInput(f"--wordings must be train, eval or all, got {self.wordings!r}")

    def arguments(self) -> dict[str, Any]:
        """What is told of the plan in the files that it makes, without places on this machine."""
        values = asdict(self)
        for name in ("sounds", "rirs"):
            values[name] = None if values[name] is None else Path(str(values[name])).name
        values["shares"] = {kind.value: share for kind, share in self.shares.items()}
        values["beyond"] = [kind.value for kind in self.beyond]
        if not self.free:
            del values["free"]
        return values


@dataclass(frozen=True)
class Made:
    """What was made."""

    root: str
    files: dict[str, int]
    """Records of each question file."""
    sounds: int
    """Recordings."""
    rirs: int
    """RIRs."""
    notes: tuple[str, ...] = ()
    left_out: int = 0
    """Recordings that hold no sound, and so are no part of it."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return asdict(self)


def make_qa(
    plan: QAPlan, out: Path, *, engine: Engine = in_process, progress: Progress = lambda what, done, total: None
) -> Made:
    """Make the set of ``plan`` in the folder ``out``.

    Raises :class:`~bat_agent.errors.BadInput` for sounds, RIRs or simulators that are not there or do not admit the
    questions, and where ``out`` cannot be written or holds files that are not of such a set.
    """
    sounds, notes = _open_sounds(plan)
    _refuse_foreign(plan, out, sounds)
    rirs = _RirFiles(plan, out, engine, progress)
    names = Recordings(out, plan.split)
    paths = _paths(plan, out)
    draw = Draw(
        sounds,
        ReleasedRooms(rirs.json_file, 1.0),
        names,
        seed=plan.seed,
        split=plan.split,
        wordings=plan.wordings,  # type: ignore[arg-type]
        balance=plan.balance,  # type: ignore[arg-type]
        paths=paths,
    )
    used: dict[str, Sound] = {}
    reverbs: set[str] = set()
    files = _write_questions(plan, out, _watched(draw, used, reverbs), progress)
    names.bring(used.values(), progress)
    num_rirs = rirs.bring(reverbs - {name for path in paths for name in path.reverb_ids}, progress)
    return Made(str(out), files, len(used), num_rirs, tuple(notes), len(sounds.left_out))


Records = Callable[[Sequence[QuestionType], int], Iterator[QARecord]]


def _watched(draw: Draw, used: dict[str, Sound], reverbs: set[str]) -> Records:
    """The records of a draw; what they are made of is noted."""

    def records(types: Sequence[QuestionType], first: int) -> Iterator[QARecord]:
        for drawn in draw.records(types, first):
            used.update((sound.id, sound) for sound in drawn.sounds)
            reverbs.update(name for _, name in drawn.record.sources)
            yield drawn.record

    return records


def _open_sounds(plan: QAPlan) -> tuple[SoundSet, list[str]]:
    place = Path(plan.sounds)
    spec = plan.sounds
    if place.suffix.lower() == ".csv":
        spec = f"manifest:{plan.sounds}"
    elif (place / "manifest.csv").is_file():
        spec = f"manifest:{place / 'manifest.csv'}"
    elif place.is_dir():
        spec = f"folder:{plan.sounds}"
    sounds = open_sounds(spec)
    left_out = sounds.left_out_note
    notes = [left_out] if left_out is not None else []
    folds = sorted({sound.fold for sound in sounds if sound.fold is not None})
    if plan.folds is not None:
        return sounds.filter(folds=plan.folds), notes
    if len(folds) < 2:
        return sounds, notes
    chosen = folds[:-1] if plan.split == "train" else folds[-1:]
    note = f"sounds of fold {', '.join(map(str, chosen))} of {folds[0]} to {folds[-1]}; --folds takes others"
    return sounds.filter(folds=chosen), [*notes, note]


def _refuse_foreign(plan: QAPlan, out: Path, sounds: SoundSet) -> None:
    """A released set, or lists that somebody curated, are not overwritten."""
    pattern = "train.json" if plan.split == "train" else "eval-*.json"
    here = sorted((out / "closed-end").glob(f"*/{pattern}"))
    if foreign := [file for file in here if not _is_ours(file)]:
        raise BadInput(f"{foreign[0]} was not written by {MADE_BY} and would be overwritten; choose another --out")
    listing = listing_path(out / "AudioSet", plan.split)
    if listing.exists() and not here and not lies_in(sounds[0], out / "AudioSet"):
        raise BadInput(f"{listing} lists other recordings and would be overwritten; choose another --out")
    rirs = layout.json_path(out, plan.split)
    if plan.rirs is not None and rirs.exists() and not _is_ours(rirs) and not _same_folder(plan.rirs, out):
        raise BadInput(f"{rirs} lists other RIRs and would be overwritten; choose another --out")


def _is_ours(file: Path) -> bool:
    begin = json.dumps({"made_by": MADE_BY})[:-1]
    with file.open("rb") as opened:
        return opened.read(len(begin)) == begin.encode()


def _same_folder(first: str, second: Path) -> bool:
    return Path(first).resolve() == second.resolve()


# --- questions ---


def _write_questions(plan: QAPlan, out: Path, records: Records, progress: Progress) -> dict[str, int]:
    header = {"made_by": MADE_BY, "arguments": plan.arguments()}
    types = shared_out(plan.count, plan.shares, plan.seed)
    files: dict[str, int] = {}
    if plan.split == "train":
        told = _told(records(types, 0), "questions", plan.count, progress)
        letters = dict(zip(STAGES, ("AB", "ABCD", "ABCDE"), strict=False))
        files |= _write(out, {f"{stage}/train": wanted for stage, wanted in letters.items()}, told, header)
    else:
        first = 0
        for name, kinds in _EVAL_FILES:
            some = [kind for kind in types if kind.value in kinds]
            if some:
                files |= _write(out, {name: ""}, _told(records(some, first), name, len(some), progress), header)
            first += len(some)
    if plan.beyond and plan.beyond_count:
        beyond = shared_out(plan.beyond_count, dict.fromkeys(plan.beyond, 1.0), plan.seed)
        name = f"{STAGES[3]}/{'train' if plan.split == 'train' else 'eval-stage4-beyond'}"
        told = _told(records(beyond, plan.count), "questions beyond the paper", len(beyond), progress)
        files |= _write(out, {name: ""}, told, header)
    if plan.free:
        free = [QuestionType.FREE] * plan.free
        name = f"{STAGES[4]}/{'train' if plan.split == 'train' else 'eval-stage5-free'}"
        told = _told(records(free, plan.count + plan.beyond_count), "free questions", plan.free, progress)
        files |= _write(out, {name: ""}, told, header)
    return files


def _write(
    out: Path, files: Mapping[str, str], records: Iterable[QARecord], header: Mapping[str, Any]
) -> dict[str, int]:
    """Write files by name, in one pass; each takes the records of its letters, or all where it names none."""
    folder = out / "closed-end"
    with writing(folder), ExitStack() as stack:
        writers = {name: stack.enter_context(RecordWriter(folder / f"{name}.json", header)) for name in files}
        for record in records:
            line, letter = encode(record), record.type.letter
            for name, letters in files.items():
                if not letters or letter in letters:
                    writers[name].add(line)
    return {f"closed-end/{name}.json": writer.count for name, writer in writers.items()}


def _told(records: Iterable[QARecord], what: str, total: int, progress: Progress) -> Iterator[QARecord]:
    for number, record in enumerate(records, 1):
        if number % 1000 == 0 or number == total:
            progress(what, number, total)
        yield record


# --- RIRs ---


class _RirFiles:
    """The RIRs of a set: rendered into it, already there, or brought from another set."""

    def __init__(self, plan: QAPlan, out: Path, engine: Engine, progress: Progress) -> None:
        self._target = layout.json_path(out, plan.split)
        self._store: Store | None = None
        if plan.simulator is not None:
            count = max(plan.rir_count, plan.rooms)
            make_rirs(
                Plan(plan.simulator, plan.rooms, count, plan.options, plan.split, plan.seed, SOURCES_A_LISTENER),
                out,
                engine=engine,
                progress=lambda done, total: progress("RIRs", done, total),
            )
            self.json_file = self._target
            return
        self._store = Store(Path(str(plan.rirs)))
        self._name = self._find(self._store, plan.split)
        self.json_file = self._store.local(self._name)
        if self.json_file.resolve() == self._target.resolve():
            self._store = None

    @staticmethod
    def _find(store: Store, split: str) -> str:
        """The reverberation file of the split, or the only one there is."""
        have = [f"{REVERB}/{s}_reverberation.json" for s in (split, "train", "eval")]
        have = [name for name in have if store.exists(name)]
        if not have:
            raise BadInput(
                f"--rirs {store.root} holds no {REVERB}/train_reverberation.json or eval_reverberation.json; name the "
                "root of a set of RIRs, or let --simulator render some"
            )
        return have[0]

    def bring(self, reverb_ids: set[str], progress: Progress) -> int:
        """Put the RIRs that are used into the set, with their entries; return how many there are."""
        if self._store is None:
            return sum(1 for _ in ReverberationFile(self.json_file))
        items = [item for item in ReverberationFile(self.json_file) if item["fname"] in reverb_ids]
        for number, item in enumerate(items, 1):
            path, target = f"{REVERB}/{BINAURAL}/{item['fname']}", layout.rir_path(self._target, item["fname"])
            target.parent.mkdir(parents=True, exist_ok=True)
            link(self._store.local(path), target)
            progress("RIRs", number, len(items))
        head = json.dumps({"made_by": MADE_BY})[:-1] + ', "data": [\n'
        body = ",\n".join(json.dumps(item) for item in items)
        write_bytes(self._target, f"{head}{body}\n]}}\n".encode(), folder=True, durable=True)
        return len(items)


def _paths(plan: QAPlan, out: Path) -> list[Any]:
    asked = plan.free or (QuestionType.MOTION in plan.beyond and plan.beyond_count)
    if not asked or plan.simulator is None:
        return []
    return make_paths(str(plan.simulator), plan.options, PATHS, out, split=plan.split, seed=plan.seed)
