"""What is heard, in a terminal: a radar with tracks, levels, answers; or plain lines for pipes and screen readers."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
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
_UNKNOWN_M = 5.0
"""Where a source is drawn whose distance is not known."""


class TerminalView:
    """Shows updates; use it as a context manager."""

    def __init__(self, control: Control, console: Console | None = None, *, plain: bool = False) -> None:
        """``plain``: lines instead of a radar, as it is by itself where the console is no terminal."""
        self.control, self.console = control, console or Console()
        self.plain = plain or not self.console.is_terminal
        self.line = Line(control)
        self._ascii = not (self.console.encoding or "").lower().startswith("utf")
        self._answers: deque[Answered] = deque(maxlen=ANSWERS)
        self._told: dict[int, str] = {}
        self._notes: set[str] = set()
        self._live: Live | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if self.plain:
            greeting = f"listening to {self.control.source_name} with {self.control.model_name}"
            self.console.print(greeting, style="dim", highlight=False, soft_wrap=True)
        else:
            self._live = Live(console=self.console, screen=True, auto_refresh=False)
            self._open.enter_context(self._live)
        self._open.enter_context(typing(self.line, not self.plain))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def show(self, update: Update) -> None:
        """Draw it, or say what has changed."""
        self._answers.extend(update.answers)
        if self.plain:
            self._say(update)
        elif self._live is not None:
            self._live.update(self.picture(update), refresh=True)

    # --- plain lines ---

    def _say(self, update: Update) -> None:
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
        texts = {note.text for note in update.health}
        for text in sorted(texts - self._notes):
            self._print(update, f"warning: {text}")
        self._notes = texts

    def _print(self, update: Update, text: str) -> None:
        self.console.print(f"{update.t_s:7.1f} s  {text}", highlight=False, markup=False, soft_wrap=True)

    # --- the picture ---

    def picture(self, update: Update) -> Layout:
        """The whole screen."""
        width, height = self.console.size
        low = 6 + len(update.health) + len(self._answers)
        layout = Layout()
        layout.split_column(Layout(name="above"), Layout(Group(*self._below(update, width)), name="below", size=low))
        radar_width = min(2 * (height - low), max(width - 44, width // 2))
        radar = Panel(
            Group(*draw(self._dots(update), radar_width - 4, max(height - low - 2, 5), ascii_only=self._ascii)),
            title="where", border_style="red" if update.saving_to or update.paused else "dim",
        )  # fmt: skip
        layout["above"].split_row(Layout(radar, size=radar_width), Layout(self._table(update)))
        return layout

    def _dots(self, update: Update) -> list[Dot]:
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
            dots.append(Dot(source.azimuth_deg, distance_m, mark, words.short_name(tracked), _style(tracked)))
        return dots

    def _table(self, update: Update) -> Panel:
        table = Table(expand=True, box=None, pad_edge=False)
        table.add_column("what", overflow="ellipsis", no_wrap=True, ratio=3)
        table.add_column("where", overflow="ellipsis", no_wrap=True, ratio=3)
        table.add_column("m", justify="right", no_wrap=True, min_width=4)
        table.add_column("sure", justify="right", no_wrap=True, min_width=4)
        for tracked in update.sources:
            source = tracked.source
            where = " ".join(
                part for part in (words.side(source.azimuth_deg), words.height(source.elevation_deg)) if part
            )
            far = "?" if source.distance_m is None else f"{source.distance_m:.1f}"
            table.add_row(words.short_name(tracked), where, far, f"{source.confidence:.0%}", style=_style(tracked))
        empty = Text("nothing is heard" if not update.paused else "paused", style="dim")
        return Panel(table if update.sources else empty, title=Text(self.control.source_name), border_style="dim")

    def _below(self, update: Update, width: int) -> list[Text]:
        lines = [
            self._meter(side, rms, peak, width)
            for side, rms, peak in zip("LR", update.levels_dbfs, update.peaks_dbfs, strict=True)
        ]
        lines += [
            Text(f"! {note.text}", style="bold red" if note.kind == "lost" else "yellow") for note in update.health
        ]
        for answered in self._answers:
            line = Text(f"{answered.answer.question}  ", style="dim")
            line.append(answered.answer.spoken, style="bold" if answered.answer.sure else "bold yellow")
            lines.append(line)
        lines.append(Text(f"ask> {self.line.text}_", style="bold"))
        lines.append(Text(self.line.said or HELP, style="dim"))
        now = f"{words.privacy(update)}; {self.control.model_name}, {update.t_s:.1f} s, {words.status(update)}"
        lines.append(Text(now, style="bold red" if update.saving_to or update.paused else "dim"))
        for line in lines:
            line.truncate(max(width - 1, 1), overflow="ellipsis")
        return lines

    def _meter(self, side: str, rms_dbfs: float, peak_dbfs: float, width: int) -> Text:
        size = max(width - 24, 10)
        filled = round(_share(rms_dbfs) * size)
        peak = min(round(_share(peak_dbfs) * size), size - 1)
        full, empty = ("#", "-") if self._ascii else ("█", "─")
        bar = [full] * filled + [empty] * (size - filled)
        bar[peak] = "|" if self._ascii else "┃"
        clips = peak_dbfs > -0.1
        line = Text(f"{side} ")
        line.append("".join(bar), style="red" if clips else "green")
        line.append(f" {rms_dbfs:6.1f} dBFS", style="dim")
        if clips:
            line.append(" CLIP", style="bold red")
        return line


def _share(level_dbfs: float) -> float:
    return min(max(1 - level_dbfs / FLOOR_DBFS, 0.0), 1.0)


def _style(tracked: TrackedSource) -> str:
    colour = COLOURS[tracked.track % len(COLOURS)]
    return f"dim {colour}" if tracked.state == "vanishing" else colour
