"""Open ears: takes sound as it comes, looks at the newest window every hop, says what is heard, answers questions.

Three threads where the source is live. One reads the source into a ring and does nothing else. One looks at the newest
window: a look that is due while the last one is still computed is left out and counted, never queued, so that what is
said is always about now. One answers questions from a copy of the window, so that a slow language model stops nothing.
A source that is not live (a file, as fast as possible) is read, looked at and asked in one thread: the same file gives
the same updates.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from bat_agent.ears import Ears
from bat_agent.errors import BadInput
from bat_agent.hearing.answers import Answer
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening import words
from bat_agent.listening.answering import Answering
from bat_agent.listening.blocks import Block, Notice, SoundSource
from bat_agent.listening.events import HealthNote, Update
from bat_agent.listening.health import NOTHING_DBFS, level_dbfs, peak_dbfs
from bat_agent.listening.intake import Intake, Sides
from bat_agent.listening.leaving import worker
from bat_agent.listening.looking import Looking
from bat_agent.listening.saving import Recorder
from bat_agent.listening.settings import Settings
from bat_agent.listening.source_notes import BEHIND, DRIFT_S, SourceNotes, drift_note, slow_note

if TYPE_CHECKING:
    from typing_extensions import Self

HEALTH_S = 1.0
_QUEUE = 256
_WAIT_S = 0.05
_GOODBYE_S = 3.0


class LiveEars:
    """Iterate over it for :class:`~bat_agent.listening.events.Update` objects, in a loop or an ``async`` one."""

    def __init__(
        self,
        source: SoundSource,
        bat: Ears,
        settings: Settings | None = None,
        *,
        sides: Sides | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Nothing is heard before the first update is asked for."""
        self.settings = settings or Settings()
        self.hop_s = self.settings.hop_s
        self.source_name, self.model_name = source.name, bat.config.name
        self._source, self._bat = source, bat
        self._intake, self._recorder = Intake(sides), recorder
        self._looking = Looking(bat, self.settings)
        self._lock = threading.RLock()  # a signal may stop listening while this very thread holds it
        self._arrived = threading.Condition(self._lock)
        self._notes = SourceNotes()
        self._updates: queue.Queue[Update | None] = queue.Queue(_QUEUE)
        self._answering = Answering(bat, self.settings.questions, self.settings.ask_every_s)
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._paused = threading.Event()
        self._error: BaseException | None = None
        self._begin_s = 0.0
        self._dropped, self._behind, self._paused_at_s = 0, 0, 0.0
        self._ended = self._started = False
        self._anew = False
        """Whether the next look must forget what earlier ones told: they are another thread's."""

    # --- for users and views; from any thread ---

    def __iter__(self) -> Iterator[Update]:
        self._start()
        try:
            yield from self._run_fast() if not self._source.live else self._run_live()
        finally:
            self.stop()
            self.close()

    async def __aiter__(self) -> AsyncIterator[Update]:
        updates, done = iter(self), object()
        try:
            while (update := await asyncio.to_thread(next, updates, done)) is not done:
                assert isinstance(update, Update)
                yield update
        finally:
            self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.close()

    def ask(self, question: str) -> Future[Answer]:
        """Answer from what is heard now; the answer also comes with one of the next updates."""
        with self._lock:
            window, t_s = self._intake.look_at(self.settings.window_s), self._intake.t_s
        return self._answering.ask(question, window if self._started and self._source.live else None, t_s)

    def pause(self) -> None:
        """Close the input: nothing is heard or kept until :meth:`resume`."""
        self._paused.set()

    def resume(self) -> None:
        """Open the input again."""
        self._paused.clear()

    @property
    def live(self) -> bool:
        """Whether sound comes at its own pace."""
        return self._source.live

    @property
    def remarks(self) -> list[str]:
        """What to know before listening: what becomes of distances, and who else is told what is heard."""
        told = [] if self._bat.level_known else [self._bat.level_note]
        return told + words.told_others(self._bat.config.reasoner["options"])

    @property
    def paused(self) -> bool:
        """Whether the input is closed."""
        return self._paused.is_set()

    def swap(self) -> None:
        """Take the left ear for the right one from now on."""
        with self._lock:
            self._intake.sides.swap = not self._intake.sides.swap
            self._forget(0.0)

    def stop(self) -> None:
        """End listening; the iteration ends."""
        self._stop.set()
        with self._arrived:
            self._arrived.notify_all()

    def close(self) -> None:
        """Wait for the threads, some seconds at most, and close the source."""
        end_s = time.monotonic() + _GOODBYE_S
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        self._source.close()
        if self._recorder is not None:
            self._recorder.close()
        self._answering.close()

    # --- beginning and end ---

    def _start(self) -> None:
        if self._started:
            raise BadInput("this listener has listened already: make another one")
        # The first look is slow; that must not be at the cost of what comes first.
        noise = np.random.default_rng(0).standard_normal((2, round(self.settings.window_s * SAMPLE_RATE_HZ)))
        self._bat.perceive((1e-3 * noise).astype(np.float32))
        self._source.open()
        self._intake.open(self._source.sample_rate_hz, self._source.channels)
        self.source_name = self._source.name
        self._begin_s = self._source.clock_s()
        self._started = True

    def _run_live(self) -> Iterator[Update]:
        work = (("bat-capture", self._capture), ("bat-looks", self._look_on))
        self._threads = [worker(partial(self._guarded, job), name) for name, job in work]
        for thread in self._threads:
            thread.start()
        goodbye_s = float("inf")
        while time.monotonic() < goodbye_s:  # until the last look has said that it is the last
            if self._stop.is_set():
                goodbye_s = min(goodbye_s, time.monotonic() + _GOODBYE_S)
            try:
                update = self._updates.get(timeout=0.2)
            except queue.Empty:
                continue
            if update is None:
                break
            yield update
        if self._error is not None:
            raise self._error

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # shown by whoever iterates
            self._error = error
            self._stop.set()
            self._offer(None)

    def _run_fast(self) -> Iterator[Update]:
        due_s = self.hop_s
        while not self._stop.is_set() and not self._ended:
            for item in self._source.read(0.0):
                self._take(item)
            while self._intake.t_s >= due_s - 1e-9 or (self._ended and self._intake.t_s > due_s - self.hop_s + 1e-9):
                yield self._look()
                due_s += self.hop_s
        if self._ended and self._answering.is_due:
            yield self._look()

    # --- taking sound ---

    def _capture(self) -> None:
        open_now = True
        while not self._stop.is_set() and not self._ended:
            if self._paused.is_set() == open_now:
                open_now = not open_now
                self._open_again() if open_now else self._close_for_now()
            if not open_now:
                self._stop.wait(_WAIT_S)
                continue
            items = self._source.read(_WAIT_S)
            with self._arrived:
                for item in items:
                    self._take(item)
                self._arrived.notify_all()

    def _close_for_now(self) -> None:
        self._source.close()
        with self._arrived:
            self._paused_at_s = self._source.clock_s()
            self._forget(0.0)
            self._arrived.notify_all()

    def _open_again(self) -> None:
        self._source.open()
        with self._arrived:
            self._intake.open(self._source.sample_rate_hz, self._source.channels)
            self._forget(self._source.clock_s() - self._paused_at_s, wanted=True)

    def _take(self, item: Block | Notice) -> None:
        if isinstance(item, Block):
            if not self._intake.heard_s:  # a robot may connect late: time begins with the first sound
                self._begin_s = item.arrived_s - len(item.samples) / self._source.sample_rate_hz
            chunk = self._intake.take(item)
            self._notes.over("lost")
            if self._recorder is not None:
                self._recorder.write(chunk)
            return
        if item.kind == "ended":
            self._ended = True
            return
        t_s = self._intake.t_s
        if item.kind == "back":
            self._notes.over("lost")
        if item.kind == "zeros":  # which keep the time
            self._intake.zeroed_s += item.missing_s
        elif item.kind != "note":
            self._forget(item.missing_s)
        self._notes.tell(item.kind, item.text, t_s)

    def _forget(self, missing_s: float, *, wanted: bool = False) -> None:
        """After a gap: nothing is joined across it."""
        self._intake.gap(missing_s, wanted=wanted)
        self._anew = True
        if self._recorder is not None:
            self._recorder.close()

    # --- looking at it ---

    def _look_on(self) -> None:
        due_s, said_s = self.hop_s, time.monotonic()
        while not self._stop.is_set():
            with self._arrived:
                if not self._is_due(due_s):
                    self._arrived.wait(self.hop_s)
                now_s, ended = self._intake.t_s, self._ended
            if self._stop.is_set():
                break
            if now_s < due_s and not ended:
                # Nothing new: paused, lost, or a slow source. Views still want to know, and show the lag.
                if time.monotonic() - said_s > 1.5 * self.hop_s:
                    self._offer(self._standing_still())
                    said_s = time.monotonic()
                continue
            skipped = max(0, int((now_s - due_s) / self.hop_s + 1e-6))
            self._dropped += skipped
            began = time.monotonic()
            self._offer(self._look())
            said_s = time.monotonic()
            self._behind = self._behind + 1 if said_s - began > self.hop_s else 0
            due_s += (skipped + 1) * self.hop_s
            if ended:
                break
        self._finish_answers()
        self._offer(None)

    def _is_due(self, due_s: float) -> bool:
        return self._stop.is_set() or self._ended or self._intake.t_s >= due_s

    def _look(self) -> Update:
        settings = self.settings
        with self._lock:
            window = self._intake.look_at(settings.window_s)
            kept_s = self._intake.window(settings.window_s).shape[1] / SAMPLE_RATE_HZ
            headings = self._intake.headings.copy()
            recent = self._intake.window(HEALTH_S)
            t_s, newest_s = self._intake.t_s, self._intake.newest_s
            clipped = self._intake.clipped_share()
            anew, self._anew = self._anew, False
        if anew:
            self._looking.clear()
        look = self._looking.look(window, recent, t_s, self._own_notes(t_s), clipped, headings)
        full = self._ended or kept_s >= settings.window_s - 1e-4
        self._answering.look(window, t_s, full, wait=not self._source.live)
        hop = recent[:, -round(self.hop_s * SAMPLE_RATE_HZ) :]
        return replace(
            self._bare_update(t_s, newest_s),
            window_s=window.shape[1] / SAMPLE_RATE_HZ,
            levels_dbfs=level_dbfs(hop),
            peaks_dbfs=peak_dbfs(hop),
            sources=look.sources,
            health=look.health,
            class_probs=look.class_probs,
        )

    def _standing_still(self) -> Update:
        t_s = self._intake.t_s
        update = self._bare_update(t_s, self._intake.newest_s)
        return replace(update, health=tuple(self._own_notes(t_s)), paused=self._paused.is_set())

    def _bare_update(self, t_s: float, newest_s: float) -> Update:
        """What there is to say without a look: time, what was lost, and answers that are ready."""
        now_s = self._source.clock_s()
        return Update(
            t_s=t_s,
            emitted_s=now_s - self._begin_s,
            lag_s=max(now_s - newest_s, 0.0),
            window_s=0.0,
            dropped=self._dropped,
            lost_s=self._intake.lost_s + self._intake.zeroed_s,
            levels_dbfs=(NOTHING_DBFS, NOTHING_DBFS),
            peaks_dbfs=(NOTHING_DBFS, NOTHING_DBFS),
            answers=self._answering.new(),
            saving_to=str(self._recorder.folder) if self._recorder is not None else None,
        )

    def _own_notes(self, t_s: float) -> list[HealthNote]:
        with self._lock:
            notes = self._notes.standing(t_s)
        if self._behind >= BEHIND:
            notes.append(slow_note(self.hop_s, t_s))
        drift_s = self._source.clock_s() - self._begin_s - t_s
        if self._source.live and abs(drift_s) > DRIFT_S and not notes and not self._paused.is_set():
            notes.append(drift_note(drift_s, t_s))
        return notes

    def _finish_answers(self) -> None:
        """At the end of the sound, wait for what is being answered and say it."""
        if not self._stop.is_set() and self._answering.finish():
            self._offer(self._standing_still())

    def _offer(self, update: Update | None) -> None:
        """The newest for whoever iterates; the oldest go where nobody does, but not their answers."""
        if self._updates.full():  # only this thread puts
            with contextlib.suppress(queue.Empty):
                if (left_out := self._updates.get_nowait()) is not None:
                    self._answering.put_back(left_out.answers)
                    self._dropped += left_out.window_s > 0
        with contextlib.suppress(queue.Full):
            self._updates.put_nowait(update)
