"""``bat-agent dataset qa`` and ``check``: SpatialSoundQA sets, made and verified."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_notes, print_table
from bat_agent.cli.progress import progress_of
from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.questions import QuestionType

_SHOWN = 20
ALL = "all"


class SplitName(str, Enum):
    """Which part of a set."""

    train = "train"
    eval = "eval"


class Wordings(str, Enum):
    """Which wordings questions have."""

    all = "all"
    train = "train"
    eval = "eval"


class Drawing(str, Enum):
    """How sounds are drawn."""

    by_class = "class"
    bat = "bat"
    none = "none"


# --- options of qa, in the order of its help ---

Sounds = Annotated[
    str, typer.Option(metavar="LIBRARY", help="A manifest (CSV), a folder, audioset:ROOT/split, or procedural.")
]
Out = Annotated[Path, typer.Option(metavar="ROOT", help="Folder of the set; run again, it stays the same.")]
Count = Annotated[int, typer.Option(metavar="N", min=1, help="How many questions of the paper's types.")]
Rirs = Annotated[str | None, typer.Option(metavar="ROOT", help="A set of RIRs, released or made.")]
SimulatorName = Annotated[str | None, typer.Option(help="What renders RIRs instead, such as shoebox.")]
RoomCount = Annotated[int, typer.Option(min=1, help="Rooms to render.")]
RirCount = Annotated[int, typer.Option(metavar="M", min=1, help="RIRs to render, four a listener.")]
Seed = Annotated[int, typer.Option(min=0, help="Another number makes another set.")]
Part = Annotated[SplitName, typer.Option(help="Which part to make.")]
Folds = Annotated[
    str | None, typer.Option(metavar="N,N", help="Folds of the sounds; by default the last is kept for eval.")
]
Types = Annotated[
    str | None,
    typer.Option(metavar="A,B,…", help="Only these: letters A to E, N (E but yes/no), or names."),
]
Beyond = Annotated[
    list[str] | None,
    typer.Option(metavar="TYPE", help="Also a type beyond the paper (or all), in a stage 4; may be given again."),
]
BeyondCount = Annotated[
    int | None, typer.Option(metavar="M", min=1, help="How many of these; a tenth of --count by default.")
]
Free = Annotated[
    int, typer.Option(metavar="F", min=0, help="Also so many free questions, in anybody's words, in a stage 5.")
]
SomeWordings = Annotated[Wordings, typer.Option(help="All wordings, or train and eval apart.")]
Balancing = Annotated[Drawing, typer.Option(help="Draw sounds by class, by the weights of BAT, or each alike.")]
Workers = Annotated[int, typer.Option(metavar="K", help="Processes that render RIRs.")]


def qa(
    sounds: Sounds,
    out: Out,
    count: Count,
    rirs: Rirs = None,
    simulator: SimulatorName = None,
    simulator_option: inputs.SimulatorOptions = None,
    rooms: RoomCount = 200,
    rir_count: RirCount = 2000,
    seed: Seed = 0,
    split: Part = SplitName.train,
    folds: Folds = None,
    types: Types = None,
    beyond: Beyond = None,
    beyond_count: BeyondCount = None,
    free: Free = 0,
    wordings: SomeWordings = Wordings.all,
    balance: Balancing = Drawing.by_class,
    workers: Workers = 1,
    json: inputs.AsJson = False,
) -> None:
    """Make questions with true answers about sounds in rooms, in the layout of SpatialSoundQA (BAT, section 3.2).

    Types beyond the paper: many sources (MANY_CLASSIFICATION, MANY_DOA, MANY_DIRECTION, MANY_DISTANCE), ANGLE, CLOCK,
    ELEVATION, COUNT, CHOICE, NOT_HEARD, MOTION.
    """
    from bat_agent.datasets.draw_qa import SHARES
    from bat_agent.datasets.engines import engine_of
    from bat_agent.datasets.qa import QAPlan, make_qa
    from bat_agent.questions import parse_types

    wanted = parse_types(types) if types is not None else None
    if wanted is not None and (foreign := [kind for kind in wanted if kind not in SHARES]):
        option_of = "--free" if foreign[0].letter == "F" else "--beyond"
        raise BadInput(f"--types chooses among the paper's types; ask for {foreign[0].value} with {option_of}")
    extra = _beyond(beyond or [], simulator)
    if beyond_count is not None and not extra:
        raise BadInput("--beyond-count says how many of --beyond TYPE; name a type, or all")
    options = inputs.key_values(simulator_option or [], "--simulator-option")
    plan = QAPlan(
        sounds, count, rirs, simulator, options, rooms, rir_count, seed, split.value,
        _folds(folds), SHARES if wanted is None else {kind: SHARES[kind] for kind in wanted}, extra,
        (beyond_count or max(1, count // 10)) if extra else 0, free, wordings.value, balance.value,
    )  # fmt: skip
    begun = time.monotonic()
    with _bars() as progress:
        made = make_qa(plan, out, engine=engine_of(workers, None), progress=progress)
    if json:
        print_json(made.to_dict() | {"seconds": round(time.monotonic() - begun, 3)})
        return
    print_notes(made.notes)
    print_table("", ("file", "questions"), [(name, str(number)) for name, number in made.files.items()])
    print(
        f"{made.root}: {made.sounds} recordings and {made.rirs} RIRs; bat-agent dataset check {made.root} verifies it"
    )


def check(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Root of a SpatialSoundQA set, released or made.")],
    stage: Annotated[list[int] | None, typer.Option(metavar="1…5", help="Only this stage; may be given again.")] = None,
    split: Annotated[SplitName | None, typer.Option(help="Only this part.")] = None,
    types: Types = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N records of each file.")] = None,
    listen: Annotated[bool, typer.Option("--listen", help="Also decode every recording and RIR.")] = False,
    json: inputs.AsJson = False,
) -> None:
    """Verify every record: readable, what it names is there, its answer true. Exit code 1 if anything is wrong."""
    from bat_agent.datasets.check import check as check_set
    from bat_agent.questions import parse_types

    with progress_of("records") as progress:
        found = check_set(
            root,
            stages=stage,
            split=split.value if split else None,
            types=parse_types(types) if types is not None else None,
            limit=limit,
            listen=listen,
            progress=progress,
        )
    if json:
        print_json(found.to_dict())
    else:
        print_notes(found.notes)
        for problem in found.problems[:_SHOWN]:
            print(problem)
        if len(found.problems) > _SHOWN:
            print(f"… and {len(found.problems) - _SHOWN} more; --json lists all")
        rows = [(name, str(number)) for name, number in sorted(found.types.items())]
        print_table("", ("type", "records"), rows)
        print(
            f"{found.records} records, {found.recordings} recordings, {found.rirs} RIRs; {found.answers_verified} "
            f"answers follow from the geometry; {len(found.problems)} problems"
        )
    if found.problems:
        raise typer.Exit(1)


def _beyond(names: list[str], simulator: str | None) -> tuple[QuestionType, ...]:
    from bat_agent.questions import BEYOND_TYPES, QuestionType

    if names == [ALL]:
        # Moving sources need a simulator; "all" is what can be had.
        return tuple(kind for kind in BEYOND_TYPES if simulator is not None or kind is not QuestionType.MOTION)
    known = {kind.value: kind for kind in BEYOND_TYPES}
    for name in names:
        if name.upper() not in known:
            raise BadInput(f"--beyond {name} is no type beyond the paper, expected {ALL} or some of {', '.join(known)}")
    return tuple(dict.fromkeys(known[name.upper()] for name in names))


def _folds(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise BadInput(f"--folds {text!r} was not understood, expected whole numbers such as 4 or 1,2")
    return tuple(int(part) for part in parts)


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """One bar after the other, each for what is being made."""
    with contextlib.ExitStack() as stack:
        bars: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in bars:
                stack.close()
                bars[what] = stack.enter_context(progress_of(what))
            bars[what](done, total)

        yield tell
