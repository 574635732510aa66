"""Conversations: the last questions are kept, so that the next may say no more than "and how far is it?".

What a question leaves out is taken from those before it; every answer is of the sound that is given with the question.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from bat_agent.errors import BadInput
from bat_agent.questions.history import with_history

KEPT = 6
"""Questions that are remembered."""
FORGOTTEN_AFTER_S = 300.0
"""A conversation in which nothing was asked for so long begins anew."""
LONGEST = 300
"""A question or an answer of more characters is not remembered."""
MOST_CONVERSATIONS = 256
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MARK = re.compile(r"\b([QA]):\s")
Clock = Callable[[], float]


class Asked(Protocol):
    """What a conversation is held with: a :class:`~bat_agent.Bat`."""

    @property
    def converses(self) -> bool:
        """Whether its reasoner understands questions behind earlier ones."""
        ...

    def ask(self, waveform: Any, question: Any) -> Any:
        """The answer about one clip."""
        ...


class Chat:
    """One conversation with a :class:`~bat_agent.Bat`; made by :meth:`bat_agent.Bat.chat`.

    Not for several threads at once.
    """

    def __init__(
        self,
        bat: Asked,
        *,
        kept: int = KEPT,
        forgotten_after_s: float = FORGOTTEN_AFTER_S,
        clock: Clock = time.monotonic,
    ) -> None:
        """``kept`` questions are remembered, until nothing was asked for ``forgotten_after_s``."""
        if kept < 1 or forgotten_after_s <= 0:
            raise BadInput(
                f"a conversation keeps at least one question for some time, got kept={kept} and "
                f"forgotten_after_s={forgotten_after_s:g}; leave both out for {KEPT} and {FORGOTTEN_AFTER_S:g}"
            )
        self._bat, self._clock = bat, clock
        self._forgotten_after_s, self._asked_s = forgotten_after_s, clock()
        self._turns: deque[tuple[str, str]] = deque(maxlen=kept)

    def ask(self, waveform: Any, question: str) -> Any:
        """The :class:`~bat_agent.Answer` to a question about one clip (2, samples), left ear first, 32 kHz.

        Raises :class:`~bat_agent.errors.BadInput` as :meth:`bat_agent.Bat.ask` does; such a question is forgotten.
        """
        if not isinstance(question, str) or not question.strip():
            raise BadInput('a question is empty: ask something like "Where is the sound coming from?"')
        if self._clock() - self._asked_s > self._forgotten_after_s:
            self.forget()
        before = self._turns if self._bat.converses else ()
        answer = self._bat.ask(waveform, with_history(tuple(before), _plain(question)))
        self._asked_s = self._clock()
        self._remember(question, str(answer), getattr(answer, "understood", True))
        return replace(answer, question=question)

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """The questions that are remembered, with their answers, the oldest first."""
        return tuple(self._turns)

    @property
    def idle_s(self) -> float:
        """How long nothing was asked."""
        return self._clock() - self._asked_s

    def forget(self) -> None:
        """Begin anew."""
        self._turns.clear()

    def _remember(self, question: str, answer: str, understood: bool) -> None:
        """What was not understood helps nobody to understand the next."""
        if understood and max(len(question), len(answer)) <= LONGEST:
            self._turns.append((_plain(question), _plain(answer)))


class Conversations:
    """Conversations by name: of at most ``most``, those that nobody held for longest are forgotten first."""

    def __init__(
        self,
        bat: Asked,
        *,
        most: int = MOST_CONVERSATIONS,
        forgotten_after_s: float = FORGOTTEN_AFTER_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._bat, self._most, self._clock, self._forgotten_after_s = bat, most, clock, forgotten_after_s
        self._chats: OrderedDict[str, Chat] = OrderedDict()

    def __len__(self) -> int:
        return len(self._chats)

    def named(self, name: str) -> Chat:
        """The conversation of this name, a new one where there is none any more."""
        for old in [old for old, chat in self._chats.items() if chat.idle_s > self._forgotten_after_s]:
            del self._chats[old]
        if name not in self._chats:
            self._chats[name] = Chat(self._bat, forgotten_after_s=self._forgotten_after_s, clock=self._clock)
        self._chats.move_to_end(name)
        while len(self._chats) > self._most:
            self._chats.popitem(last=False)
        return self._chats[name]


def conversation_name(text: str) -> str:
    """The text; raises :class:`~bat_agent.errors.BadInput` for what is no name of a conversation."""
    if _NAME.fullmatch(text) is None:
        raise BadInput(
            f"a conversation is named by 1 to 64 letters, digits, dots, dashes and underscores, got {text!r:.80}"
        )
    return text


def _plain(text: str) -> str:
    """On one line, and without the marks of question and answer, which tell turns apart."""
    return _MARK.sub(r"\1 ", " ".join(text.split()) + " ").strip()
