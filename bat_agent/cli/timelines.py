"""Recordings heard from beginning to end: the part of ``bat-agent perceive`` that prints and writes timelines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bat_agent.cli.output import print_at_once, print_json, print_notes, print_table
from bat_agent.cli.progress import progress_of
from bat_agent.errors import BadInput, BatAgentError
from bat_agent.files.writing import whole_lines, write_text

if TYPE_CHECKING:
    from bat_agent.ears import Ears
    from bat_agent.recordings import Recording
    from bat_agent.timeline import Timeline, Track

Open = Callable[[Path], "Recording"]
_NAMED = 3


@dataclass(frozen=True)
class Wanted:
    """Which stretch to hear, and where to write what was heard."""

    start_s: float | None = None
    seconds: float | None = None
    every_s: float | None = None
    csv: str | None = None
    jsonl: str | None = None
    labels: Path | None = None
    """A file for one recording, a folder for several; as ``plot``."""
    plot: Path | None = None
    json: bool = False

    @property
    def asks_for_time(self) -> bool:
        """Whether anything in it is about time."""
        return any(value is not None for value in (self.start_s, self.seconds, self.every_s)) or self.writes

    @property
    def writes(self) -> bool:
        """Whether files are wanted that only timelines have."""
        return any(value is not None for value in (self.csv, self.jsonl, self.labels))


def hear_all(files: Sequence[Path], wanted: Wanted, open_one: Open, bat: Ears) -> None:
    """Hear each file, one after the other; one that cannot be heard is told, and the others are heard all the same.

    Raises :class:`~bat_agent.errors.BadInput` where none can be heard, or a place cannot be written.
    """
    many = len(files) > 1
    _check_places(wanted, many)
    alone = "-" not in (wanted.csv, wanted.jsonl) and not wanted.json
    told: list[dict[str, Any]] = []
    failed: list[str] = []
    heard: list[Timeline] = []
    with ExitStack() as stack:
        sinks = list(_sinks(wanted, stack))
        for file, found in _heard(files, wanted, open_one, bat):
            if isinstance(found, str):
                failed.append(found)
                told.append({"file": str(file), "error": found})
                if many:
                    print(f"error: {found}", file=sys.stderr)
                continue
            told.append(found.to_dict())
            for sink in sinks:
                sink(found)
            _write_own(found, wanted, file, many)
            heard.append(found)
    # Not before: while a bar is on the terminal, rich sends there what is printed, also where it goes into a file.
    if not wanted.json:
        print_notes(_notes(heard, bat))
    for timeline in heard if alone else ():
        _print(timeline)
    if wanted.json and len(failed) < len(files):
        print_json(told if many else told[0])
    if failed:
        if len(failed) == len(files):
            raise BadInput(failed[0] if not many else f"none of {len(files)} recordings could be heard")
        print_notes([f"{len(failed)} of {len(files)} recordings could not be heard, the others were"])


def _heard(files: Sequence[Path], wanted: Wanted, open_one: Open, bat: Ears) -> Iterator[tuple[Path, Timeline | str]]:
    from bat_agent.timeline import hear

    what = "recordings" if len(files) > 1 else "seconds"
    with progress_of(what) as progress:
        for number, file in enumerate(files):
            try:
                recording = open_one(file)
                # In this order: the least of a number and of what is none is then the number.
                total = round(min(recording.seconds, wanted.seconds or recording.seconds))

                def tell(seconds: float, total: int = total) -> None:
                    if len(files) == 1:
                        progress(min(round(seconds), total), total)

                found: Timeline | str = hear(
                    bat, recording, begin_s=wanted.start_s or 0.0, seconds=wanted.seconds, every_s=wanted.every_s,
                    progress=tell,
                )  # fmt: skip
            except BatAgentError as error:
                found = str(error)
            if len(files) > 1:
                progress(number + 1, len(files))
            yield file, found


# --- where it goes ---


def _check_places(wanted: Wanted, many: bool) -> None:
    for option, place in (("--labels", wanted.labels), ("--plot", wanted.plot)):
        if place is None:
            continue
        if many and place.suffix:
            raise BadInput(f"{option} {place} is one file, but several recordings are heard; give a folder")
        if many:
            place.mkdir(parents=True, exist_ok=True)
        elif option == "--plot" and not place.is_dir():
            from bat_agent.evaluation import plotting

            plotting.check_figure_path(place)
        elif not place.is_dir() and not place.parent.is_dir():
            raise BadInput(f"cannot write {place}: the folder {place.parent} does not exist; make it first")


def _sinks(wanted: Wanted, stack: ExitStack) -> Iterator[Callable[[Timeline], None]]:
    from bat_agent.timeline import writing

    if wanted.csv is not None:
        add = stack.enter_context(_lines_to(wanted.csv))
        add(_written(writing.write_csv_header))
        yield partial(_add, add, writing.write_csv)
    if wanted.jsonl is not None:
        yield partial(_add, stack.enter_context(_lines_to(wanted.jsonl)), writing.write_jsonl)


def _add(add: Callable[[str], None], write: Callable[[Timeline, TextIO], None], timeline: Timeline) -> None:
    """At once: what is heard is kept, whatever becomes of the rest."""
    add(_written(partial(write, timeline)))


def _written(write: Callable[[TextIO], None]) -> str:
    text = StringIO(newline="")
    write(text)
    return text.getvalue()


def _lines_to(place: str) -> AbstractContextManager[Callable[[str], None]]:
    return nullcontext(print_at_once) if place == "-" else whole_lines(Path(place))


def _write_own(timeline: Timeline, wanted: Wanted, file: Path, many: bool) -> None:
    """Label track and picture of one recording."""
    from bat_agent.timeline import writing

    if wanted.labels is not None:
        write_text(_place(wanted.labels, file, ".txt"), _written(partial(writing.write_labels, timeline)))
    if wanted.plot is not None:
        from bat_agent.evaluation import plotting
        from bat_agent.timeline.picture import timeline_figure

        place = _place(wanted.plot, file, ".png")
        plotting.save_figure(timeline_figure(timeline), place)
        if not many and not wanted.json:
            print_notes([f"picture: {place}"])


def _place(wanted: Path, file: Path, ending: str) -> Path:
    """Itself, or in a folder the recording's name; the whole name, as a.wav and a.flac may lie side by side."""
    return wanted / f"{file.name if file.name != '-' else 'stdin'}{ending}" if wanted.is_dir() else wanted


def _notes(heard: Sequence[Timeline], bat: Ears) -> list[str]:
    """Each once; of several recordings with those it is about, of which three are named."""
    names: dict[str, list[str]] = {}
    for timeline in heard:
        for note in timeline.notes:
            names.setdefault(note, []).append(timeline.name)
    told = []
    for note, those in names.items():
        named = ", ".join(those[:_NAMED]) + (", …" if len(those) > _NAMED else "")
        about = f" ({len(those)} of {len(heard)} recordings: {named})" if len(heard) > len(those) else ""
        told.append(f"{note}{about}")
    if any(track.distance_m is not None for timeline in heard for track in timeline.tracks):
        told.append(bat.level_note)
    return told


def _print(timeline: Timeline) -> None:
    title = f"{timeline.name}, {timeline.begin_s:g} s to {timeline.end_s:.1f} s"
    if not timeline.tracks:
        print(f"{title}: no source heard")
        return
    columns = ("from", "to", "sound", "azimuth", "elevation", "distance", "region", "confidence")
    print_table(title, columns, map(_row, timeline.tracks))


def _row(track: Track) -> tuple[str, ...]:
    return (
        _clock(track.begin_s),
        _clock(track.end_s),
        track.name or "",
        "" if track.azimuth_deg is None else f"{track.azimuth_deg:.0f}°",
        "" if track.elevation_deg is None else f"{track.elevation_deg:+.0f}°",
        "" if track.distance_m is None else f"{track.distance_m:.1f} m",
        track.region or "",
        f"{track.confidence:.2f}",
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f}:{rest:04.1f}"
