"""Typing while something else is drawn: single letters as they come, the terminal as it was afterwards."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from bat_agent.errors import BadInput
from bat_agent.hearing.answers import Answer
from bat_agent.listening.control import Control

COMMANDS = {":p": "pause or go on", ":s": "swap the ears", ":q": "quit"}
HELP = "type a question and press Enter; " + ", ".join(f"{key} {what}" for key, what in COMMANDS.items())
_ENTER, _DELETE, _CLEAR, _ESCAPE = "\r\n", "\x7f\b", "\x15", "\x1b"


class Line:
    """What has been typed; Enter asks it, or does what it says after a colon."""

    def __init__(self, control: Control, changed: Callable[[], None] = lambda: None) -> None:
        """``changed`` is called, from any thread, when there is something else to show."""
        self.text = ""
        self.said = ""
        """What became of the last line."""
        self._control, self._changed = control, changed

    def type(self, letters: str) -> None:
        """Take what was typed."""
        if letters.startswith(_ESCAPE):  # an arrow key, say
            return
        for letter in letters:
            if letter in _ENTER:
                self.enter()
            elif letter in _DELETE:
                self.text = self.text[:-1]
            elif letter == _CLEAR:
                self.text = ""
            elif letter.isprintable():
                self.text += letter
        self._changed()

    def enter(self) -> None:
        """Do it."""
        text, self.text, self.said = self.text.strip(), "", ""
        if not text:
            return
        if not text.startswith(":"):
            self._ask(text)
        elif text == ":q":
            self._control.stop()
        elif text == ":s":
            self._control.swap()
            self.said = "the ears are swapped"
        elif text == ":p":
            self._control.resume() if self._control.paused else self._control.pause()
        else:
            self.said = f"{text} is no command: {HELP}"

    def _ask(self, question: str) -> None:
        self.said = f"asked: {question}"
        try:
            self._control.ask(question).add_done_callback(self._done)
        except BadInput as error:
            self.said = str(error)

    def _done(self, future: Future[Answer]) -> None:
        # The answer itself comes with an update.
        error = None if future.cancelled() else future.exception()
        self.said = "" if error is None else f"the question could not be answered: {error}"
        self._changed()


@contextmanager
def typing(line: Line, *, letters: bool) -> Iterator[None]:
    """Within, what is typed goes to ``line``, letter by letter or in whole lines; nothing where no terminal types."""
    if not sys.stdin.isatty():
        yield
        return
    if not letters:
        with _reading(line, lambda: sys.stdin.readline()):
            yield
        return
    try:
        import termios
        import tty
    except ImportError:  # no such terminals on this system: whole lines then
        with _reading(line, lambda: sys.stdin.readline()):
            yield
        return
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)
        with _reading(line, lambda: os.read(handle, 64).decode(errors="ignore")):
            yield
    finally:
        with suppress(termios.error):  # it was closed
            termios.tcsetattr(handle, termios.TCSADRAIN, before)


@contextmanager
def _reading(line: Line, read: Callable[[], str]) -> Iterator[None]:
    over = threading.Event()

    def follow() -> None:
        while not over.is_set():
            if os.name == "nt" or select.select([sys.stdin], [], [], 0.2)[0]:
                try:
                    letters = read()
                except (OSError, ValueError):  # the terminal was closed
                    return
                if not letters:
                    return
                line.type(letters)

    thread = threading.Thread(target=follow, name="bat-keys", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(0.5)
