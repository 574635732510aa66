"""Questions about what is heard now: asked once, again and again, or by somebody who types; answered in a thread."""

from __future__ import annotations

import contextlib
import copy
import queue
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, replace

from bat_agent.chat import Chat
from bat_agent.ears import Ears
from bat_agent.errors import BadInput, Unavailable
from bat_agent.hearing.answers import CANNOT_ANSWER, Answer
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.listening.events import Answered
from bat_agent.listening.health import Health, forbids_direction
from bat_agent.listening.leaving import worker
from bat_agent.sound.ring import Waveform

MOST_WAITING = 64
"""Questions of those who type that wait for an answer; each holds a window of sound."""
GOODBYE_S = 3.0
"""How long an answer that is being found is waited for at the end, though nobody will read it."""
SHORTEST_S = 0.25
"""A window must hold this much before anything is said of it."""
_NOT_YET = "I have not heard enough yet."
_WITHOUT_DIRECTION = "no direction is told: the input does not carry one"


@dataclass(frozen=True, eq=False)
class _Job:
    """A question, and the sound (2, N) up to ``t_s`` that it is about."""

    question: str
    window: Waveform
    t_s: float
    future: Future[Answer]
    typed: bool
    """Whether somebody typed it, and may go on from it with the next."""


class Answering:
    """Answers questions, each about a copy of the sound of its moment; what is typed is one conversation."""

    def __init__(self, bat: Ears, questions: Sequence[str] = (), every_s: float | None = None) -> None:
        """``questions`` are asked by themselves; raises :class:`~bat_agent.errors.BadInput` for an empty one."""
        self._bat = copy.copy(bat)  # which remembers the last clip, and another thread hears others
        self._chat = Chat(self._bat)  # of those who type
        self._questions, self._every_s = [_checked(question) for question in questions], every_s
        self._next_s: float | None = 0.0 if questions else None
        self._waiting: list[tuple[str, Future[Answer]]] = []
        self._new: deque[Answered] = deque()
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._unanswered: list[_Job] = []
        # Ends with the process, however long an answer takes; an executor would keep the process waiting.
        self._thread = worker(self._work, "bat-answers")

    def ask(self, question: str, window: Waveform | None, t_s: float) -> Future[Answer]:
        """Answer about ``window`` (2, N) that ends at ``t_s``; ``None``: at the next :meth:`look`.

        Raises :class:`~bat_agent.errors.BadInput` for an empty question, and where too many wait.
        """
        if len(self._waiting) + self._typed() >= MOST_WAITING:
            raise BadInput(f"{MOST_WAITING} questions wait for their answers: ask again when they have them")
        future: Future[Answer] = Future()
        if window is None:
            self._waiting.append((_checked(question), future))
        else:
            self._later(_Job(_checked(question), window, t_s, future, typed=True))
        return future

    def look(self, window: Waveform, t_s: float, full: bool, *, wait: bool) -> None:
        """Ask what is due at ``t_s``: by itself only where the window is full. ``wait``: have answers before return."""
        asked = [_Job(question, window, t_s, future, typed=True) for question, future in self._waiting]
        self._waiting = []
        # Where answers take longer than the time between them, the next are about the sound after them.
        if full and self._next_s is not None and t_s >= self._next_s and self._typed() == len(self._unanswered):
            asked += [_Job(question, window, t_s, Future[Answer](), typed=False) for question in self._questions]
            self._next_s = None if self._every_s is None else t_s + self._every_s
        for job in asked:
            if wait:
                self._answer(job)
            else:
                self._later(job)

    @property
    def is_due(self) -> bool:
        """Whether something was never asked."""
        return bool(self._waiting) or self._next_s == 0.0

    @property
    def has_new(self) -> bool:
        """Whether there are answers that nobody has taken."""
        return bool(self._new)

    def new(self) -> tuple[Answered, ...]:
        """Answers since the last call."""
        return tuple(self._new.popleft() for _ in range(len(self._new)))

    def finish(self) -> bool:
        """Wait for what is being answered; whether there are new answers."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        return self.has_new

    def close(self) -> None:
        """Leave what is not answered; the answer that is being found is waited for, for some seconds."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        for _, future in self._waiting:
            future.cancel()
        if self._thread.is_alive():
            self._thread.join(GOODBYE_S)

    def put_back(self, answers: Sequence[Answered]) -> None:
        """Answers that were taken but not told."""
        self._new.extendleft(reversed(answers))

    def _typed(self) -> int:
        """How many of those that wait were typed."""
        return sum(job.typed for job in list(self._unanswered))

    def _later(self, job: _Job) -> None:
        if not self._thread.is_alive() and not self._closed:
            self._thread.start()
        self._unanswered.append(job)
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._closed:
                job.future.cancel()
            else:
                self._answer(job)
            self._unanswered.remove(job)

    def _answer(self, job: _Job) -> None:
        try:
            answer = self._answer_to(job)
        except BaseException as error:
            with contextlib.suppress(InvalidStateError):  # cancelled meanwhile
                job.future.set_exception(error)
            return
        self._new.append(Answered(answer, job.t_s))
        with contextlib.suppress(InvalidStateError):
            job.future.set_result(answer)

    def _answer_to(self, job: _Job) -> Answer:
        if job.window.shape[1] < SHORTEST_S * SAMPLE_RATE_HZ:
            return Answer(job.question, _NOT_YET)
        # What is asked by itself is no part of what somebody types.
        ask = self._chat.ask if job.typed else self._bat.ask
        try:
            answer: Answer = ask(job.window, job.question)
        except Unavailable:
            raise
        except BadInput as error:  # a head is lacking: told like any answer, whoever asked
            return Answer(job.question, CANNOT_ANSWER, sure=False, failed=str(error))
        if job.window.any() and forbids_direction(Health().look(job.window, job.t_s)):
            return replace(answer, notes=(*answer.notes, _WITHOUT_DIRECTION), sure=False, plain=None)
        return answer


def _checked(question: str) -> str:
    if not question.strip():
        raise BadInput('a question is empty: ask something like "Where is the sound coming from?"')
    return question
