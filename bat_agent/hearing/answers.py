"""An answer: what is said to one question, how surely, and why where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bat_agent.errors import BadInput, PluginError, Unavailable
from bat_agent.interfaces import Encoding, Reasoner, Reply

CANNOT_ANSWER = "I cannot answer that."


@dataclass(frozen=True)
class Answer:
    """The answer to one question; ``str(answer)`` is its text."""

    question: str
    text: str
    confidence: float | None = None
    """Probability that the text is right, calibrated where the model is; ``None`` if the reasoner cannot say."""
    alternatives: tuple[tuple[str, float], ...] = ()
    """Answers that were weighed against each other, likeliest first."""
    notes: tuple[str, ...] = ()
    """What the listener should know about the input."""
    sure: bool = True
    """False where the text is the best guess: its confidence lies below the model's threshold ``unsure``, part of it
    cannot be told (:attr:`plain`), or the reasoner does not stand by it."""
    plain: str | None = None
    """What to say in its place where part of it cannot be told: ``left; in front or behind I cannot tell; 2.5m``."""
    failed: str | None = None
    """Why there is no answer, such as a head that the encoder lacks; the text then only says that there is none."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        sure = "" if self.confidence is None else f", confidence={self.confidence:.2f}"
        unsure = ", failed" if self.failed else "" if self.sure else ", not sure"
        return f"Answer({shortened(self.text, 34)!r}{sure}{unsure}, question={shortened(self.question, 28)!r})"

    @property
    def understood(self) -> bool:
        """Whether the text is an answer, not that the question was not understood: of that nobody is sure at all."""
        return self.confidence != 0.0

    @property
    def spoken(self) -> str:
        """What to say: :attr:`plain`, else the text, or ``not sure; perhaps …``, or why there is no answer. What claims
        nothing, such as that a question was not understood, is said as it is.
        """
        if self.failed is not None:
            return f"{self.text} {self.failed[:1].upper()}{self.failed[1:]}."
        if self.plain is not None:
            return self.plain
        return self.text if self.sure or not self.understood else perhaps(self.text)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "question": self.question,
            "answer": self.text,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "sure": self.sure,
            "spoken": self.spoken,
            "alternatives": {text: round(probability, 4) for text, probability in self.alternatives},
            "failed": self.failed,
        }


def each_answered(reasoner: Reasoner, encoding: Encoding, questions: Sequence[str]) -> list[str | BadInput]:
    """What a reasoner answers to n·B questions about B clips, n to each; where it cannot answer some of them, the error
    stands in their place. Raises :class:`~bat_agent.errors.Unavailable` where it can answer nothing at all now.
    """
    try:
        replies: list[str | BadInput] = list(reasoner.answer(encoding, questions))
    except Unavailable:
        raise
    except BadInput as error:
        if len(questions) == 1:
            return [error]
        each, left_over = divmod(len(questions), len(encoding.tokens) or 1)
        if left_over:
            raise
        alone = ((encoding[[number // each]], question) for number, question in enumerate(questions))
        return [reply for one, question in alone for reply in each_answered(reasoner, one, [question])]
    if len(replies) != len(questions):
        raise PluginError(
            f"the reasoner {type(reasoner).__name__} gave {len(replies)} answers to {len(questions)} questions, "
            "expected one each; mend its plugin"
        )
    return replies


def perhaps(text: str) -> str:
    """A best guess, said as one."""
    return f"not sure; perhaps {text}"


def shared_out(reply: Reply, confidence: float) -> tuple[tuple[str, float], ...]:
    """Two alternatives with what the calibrated ``confidence`` in the first leaves to the other."""
    return tuple((text, confidence if text == str(reply) else 1 - confidence) for text, _ in reply.alternatives)


def shortened(text: str, most: int) -> str:
    """One line of so many characters at most."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
