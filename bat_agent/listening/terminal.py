"""What is heard, in a terminal: a radar with tracks, levels, answers; or plain lines for pipes and screen readers."""

from __future__ import annotations

import re
import threading
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, OverflowMethod
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bat_agent.listening import words
from bat_agent.listening.control import Control
from bat_agent.listening.events import Answered, TrackedSource, Update
from bat_agent.listening.keys import HELP, Line, typing
from bat_agent.listening.radar import Dot, draw

if TYPE_CHECKING:
    from typing_extensions import Self

COLOURS = ("bright_cyan", "bright_yellow", "bright_magenta", "bright_green", "bright_blue", "bright_red")
FLOOR_DBFS = -72.0
ANSWERS = 3
LEAST_RADAR = 9
"""Lines the radar keeps, or half of all: less important ones below it go first."""
WIDE_TABLE = 64
"""Characters from which the table also has angles and ages."""
_UNKNOWN_M = 5.0
"""Where a source is drawn whose distance is not known."""


class TerminalView:
    """Shows updates; use it as a context manager."""

    def __init__(self, control: Control, console: Console | None = None, *, plain: bool = False) -> None:
        """``plain``: lines instead of a radar, as it is by itself where the console is no terminal."""
        self.control, self.console = control, console or Console()
        self.plain = plain or not self.console.is_terminal
        self.line = Line(control, self._redraw)
        self._encoding = self.console.encoding or "ascii"
        self._ascii = not self._encoding.lower().startswith("utf")
        self._cut: OverflowMethod = "crop" if self._ascii else "ellipsis"
        self._answers: deque[Answered] = deque(maxlen=ANSWERS)
        self._told: dict[int, str] = {}
        self._notes: set[str] = set()
        self._privacy = ""
        self._last: Update | None = None
        self._lock = threading.RLock()  # who types has a thread
        self._live: Live | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:  # the terminal is as before also where the second fails
            if not self.plain:
                waiting = Text(self._shown(f"opening {self.control.source_name} with {self.control.model_name} ..."))
                self._live = opened.enter_context(Live(waiting, console=self.console, screen=True, auto_refresh=False))
            opened.enter_context(typing(self.line, letters=not self.plain))
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._live = None
        with suppress(OSError):  # the terminal was closed
            self._open.close()

    def show(self, update: Update) -> None:
        """Draw it, or say what has changed."""
        with self._lock:
            self._answers.extend(update.answers)
            self._last = update
        if self.plain:
            self._say(update)
        else:
            self._redraw()

    def _redraw(self) -> None:
        with self._lock:
            if self._live is not None and self._last is not None:
                self._live.update(self.picture(self._last), refresh=True)

    def _shown(self, text: str) -> str:
        """``text`` in one line, as far as this terminal can write it; nothing in it can steer the terminal."""
        plain = "".join(letter if letter.isprintable() else " " for letter in text)
        return plain.encode(self._encoding, "replace").decode(self._encoding)

    # --- plain lines ---

    def _say(self, update: Update) -> None:
        if (privacy := words.privacy(update)) != self._privacy:
            self._privacy = privacy
            self._print(update, privacy)
        now = {tracked.track: words.sentence(tracked) for tracked in update.sources if tracked.unheard_s == 0}
        for track, said in now.items():
            # A step of half a metre is not worth a line.
            kept = said.rsplit(", ", 1)[0] if said.endswith(" m") else said
            if self._told.get(track) != kept:
                self._told[track] = kept
                self._print(update, said)
        alive = {tracked.track: tracked for tracked in update.sources}
        for track in [number for number in self._told if number not in alive]:
            self._print(update, f"{self._told.pop(track).split(',')[0]} is gone")
        for answered in update.answers:
            self._print(update, f"{answered.answer.question} {answered.answer.spoken}")
        texts = {re.sub(r"[\d.]+", "", note.text): note.text for note in update.health}
        for same in sorted(texts.keys() - self._notes):  # another number is no news
            self._print(update, f"warning: {texts[same]}")
        self._notes = set(texts)

    def _print(self, update: Update, text: str) -> None:
        self._write(Text(self._shown(f"{update.t_s:7.1f} s  {text}")))

    def _write(self, text: Text) -> None:
        # A name may hold brackets and colons, which are markup and emoji in a string.
        self.console.print(text, soft_wrap=True)

    # --- the picture ---

    def picture(self, update: Update) -> Layout:
        """The whole screen."""
        width, height = self.console.size
        below = self._below(update, width, max(height - max(LEAST_RADAR, height // 2), 3))
        above = max(height - len(below), 1)
        layout = Layout()
        layout.split_column(Layout(name="above"), Layout(Group(*below), name="below", size=len(below)))
        radar_width = max(min(2 * above, max(width - WIDE_TABLE, 2 * width // 5)), 8)
        dots = self._dots(update, max(radar_width // 2 - 3, 0))
        radar = Panel(
            Group(*draw(dots, radar_width - 4, max(above - 2, 1), ascii_only=self._ascii)),
            title="where", border_style="red" if update.saving_to or update.paused else "dim",
        )  # fmt: skip
        table = self._table(update, width - radar_width)
        layout["above"].split_row(Layout(radar, size=radar_width), Layout(table))
        return layout

    def _dots(self, update: Update, longest: int) -> list[Dot]:
        dots = []
        for tracked in reversed(update.sources):
            source = tracked.source
            if source.azimuth_deg is None:
                continue
            up = words.height(source.elevation_deg)
            mark = {
                "": "o" if self._ascii else "●",
                "above": "^" if self._ascii else "▴",
                "below": "v" if self._ascii else "▾",
            }[up]
            distance_m = _UNKNOWN_M if source.distance_m is None else source.distance_m
            name = self._shown(words.short_name(tracked))[:longest]
            dots.append(Dot(source.azimuth_deg, distance_m, mark, name, _style(tracked)))
        # Once more without labels: none may cover another's dot.
        return dots + [replace(dot, label="") for dot in dots]

    def _table(self, update: Update, width: int) -> Panel:
        wide = width >= WIDE_TABLE
        table = Table(expand=True, box=None, pad_edge=False, collapse_padding=True)
        table.add_column("what", overflow=self._cut, no_wrap=True, ratio=3)
        table.add_column("where", overflow=self._cut, no_wrap=True, ratio=3, min_width=18 if wide else None)
        for name in ("az", "el", "m", "sure", "for") if wide else ("m", "sure"):
            table.add_column(name, justify="right", no_wrap=True, min_width=4, overflow=self._cut)
        for tracked in update.sources:
            source = tracked.source
            angles = [self._angle(angle) for angle in (source.azimuth_deg, source.elevation_deg)]
            where = words.where(source).replace(", above", " above").replace(", below", " below")
            far = "?" if source.distance_m is None else f"{source.distance_m:.1f}"
            numbers = [*angles, far, f"{source.confidence:.0%}", f"{tracked.age_s:.0f} s"] if wide else []
            row = [self._shown(words.short_name(tracked)), where, *(numbers or [far, f"{source.confidence:.0%}"])]
            table.add_row(*map(Text, row), style=_style(tracked))  # a string would be read as markup
        empty = Text("nothing is heard" if not update.paused else "paused", style="dim")
        title = Text(self._shown(self.control.source_name))
        title.truncate(max(width - 6, 1), overflow=self._cut)
        return Panel(table if update.sources else empty, title=title, border_style="dim")

    def _angle(self, angle_deg: float | None) -> str:
        return "?" if angle_deg is None else f"{angle_deg:.0f}" + ("" if self._ascii else "°")

    def _below(self, update: Update, width: int, room: int) -> list[Text]:
        """At most ``room`` lines: where there are more, what matters least is left out, and never the last line."""
        ranked = [
            (4, self._meter(side, rms, peak, width))
            for side, rms, peak in zip("LR", update.levels_dbfs, update.peaks_dbfs, strict=True)
        ]
        for note in update.health:
            style, first = ("bold red" if note.kind == "lost" else "yellow"), note is update.health[0]
            lines = self._wrapped(Text(f"! {self._shown(note.text)}", style), width, 2)
            ranked += [(6 if number or not first else 2, line) for number, line in enumerate(lines)]
        for answered in self._answers:
            said = Text(f"{self._shown(answered.answer.question)}  ", style="dim")
            said.append(self._shown(answered.answer.spoken), style="bold" if answered.answer.sure else "bold yellow")
            ranked += [(3 if answered is self._answers[-1] else 7, line) for line in self._wrapped(said, width, 2)]
        # The end of what is typed, as that is where typing goes on.
        typed = self._shown(self.line.text)[-max(width - 8, 1) :]
        ranked.append((1, Text(f"ask> {typed}_", style="bold")))
        hint = Text(self._shown(self.line.said or HELP), style="dim")
        ranked += [(2 if self.line.said else 5, line) for line in self._wrapped(hint, width, 2)]
        ranked += [(0, line) for line in self._status(update, width)]
        while len(ranked) > room and (least := max(rank for rank, _ in ranked)) > 0:
            ranked.pop([rank for rank, _ in ranked].index(least))
        return [line for _, line in ranked][-room:]

    def _status(self, update: Update, width: int) -> list[Text]:
        now = f"{self.control.model_name}, {update.t_s:.1f} s, hop {self.control.hop_s:g} s, {words.status(update)}"
        alarm = "bold red" if update.saving_to or update.paused else "dim"
        both = [Text(self._shown(words.privacy(update)), alarm), Text(self._shown(now), "dim")]
        if sum(map(len, both)) + 2 < width:
            return [Text("; ", "dim").join(both)]
        lag = Text(words.status(update), "dim")
        told = [both[0], both[1] if len(both[1]) < width else lag]
        for text in told:
            text.truncate(max(width - 1, 1), overflow=self._cut)
        return told

    def _wrapped(self, text: Text, width: int, most: int) -> list[Text]:
        lines = list(text.wrap(self.console, max(width - 1, 1)))
        if len(lines) > most:
            lines[most - 1].append(" " + " ".join(line.plain for line in lines[most:]))
            lines[most - 1].truncate(max(width - 1, 1), overflow=self._cut)
        return lines[:most]

    def _meter(self, side: str, rms_dbfs: float, peak_dbfs: float, width: int) -> Text:
        size = max(width - 24, 4)
        filled = round(_share(rms_dbfs) * size)
        peak = min(round(_share(peak_dbfs) * size), size - 1)
        full, empty = ("#", "-") if self._ascii else ("█", "─")
        bar = [full] * filled + [empty] * (size - filled)
        bar[peak] = "|" if self._ascii else "┃"
        clips = peak_dbfs > -0.1
        line = Text(f"{side} ", no_wrap=True)
        line.append("".join(bar), style="red" if clips else "green")
        line.append(f" {rms_dbfs:6.1f} dBFS", style="dim")
        if clips:
            line.append(" CLIP", style="bold red")
        line.truncate(max(width - 1, 1), overflow=self._cut)
        return line


def _share(level_dbfs: float) -> float:
    return min(max(1 - level_dbfs / FLOOR_DBFS, 0.0), 1.0)


def _style(tracked: TrackedSource) -> str:
    colour = COLOURS[tracked.track % len(COLOURS)]
    return f"dim {colour}" if tracked.state == "vanishing" else colour
