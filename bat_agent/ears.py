"""Ears, whatever computes them: the whole flow from waveform to answer on one screen.

:class:`~bat_agent.agent.Bat` hears by torch, :class:`~bat_agent.lite.LiteBat` by ONNX Runtime. What they add is how a
clip is encoded; what is made of it is here, once, and imports no torch.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

import numpy as np
from numpy.typing import NDArray

from bat_agent import registry
from bat_agent.chat import FORGOTTEN_AFTER_S, KEPT, Chat
from bat_agent.errors import BadInput
from bat_agent.hearing.answers import CANNOT_ANSWER, Answer, each_answered, perhaps, shared_out, shortened
from bat_agent.hearing.confidence import answer_form, is_sure
from bat_agent.hearing.model_folder import ModelConfig
from bat_agent.hearing.perception import Perception, hears_nothing, perceive
from bat_agent.interfaces import Encoding, HeadsOnly, Reasoner, Reply
from bat_agent.questions.places import place_asked
from bat_agent.sound.waveform import Prepared, prepare

if TYPE_CHECKING:
    from torch import Tensor

SILENCE_ANSWER = "I hear nothing."
NO_PLACE_ANSWER = "I cannot hear {}."
"""``where`` or ``how far``, of a recording that carries no direction, such as one of a single microphone."""
Waveform: TypeAlias = "np.ndarray[Any, Any] | Tensor"
"""Samples as floats of any width, an array or a torch tensor, left ear first, 32 kHz, full scale ±1."""


class Ears(ABC):
    """:meth:`perceive` says what sounds where, :meth:`ask` answers questions in plain language.

    Waveforms are (2, samples) or (batch, 2, samples), left ear first, 32 kHz, full scale ±1 (numpy or torch). For a
    batch both methods return a list with one entry per clip. A type cannot tell how many axes an array has, so type
    checkers and editors take an array for one clip and a list of clips, such as ``list(batch)``, for a batch.
    """

    device: Any
    """Where it computes."""

    def __init__(
        self, config: ModelConfig, encoder: Any, reasoner: Reasoner | Callable[[], Reasoner], level_known: bool
    ) -> None:
        self.config = config
        self.encoder = encoder
        self.level_known = level_known
        if hasattr(encoder, "as_probabilities"):
            encoder.as_probabilities = True
        if hasattr(encoder, "level_known"):
            encoder.level_known = encoder.level_known and level_known
        # Perceiving needs no language model, so a reasoner may come as a function that loads it when first asked.
        self._reasoner: Reasoner | None = None
        loads = (lambda: reasoner) if hasattr(reasoner, "answer") else reasoner
        self._load_reasoner = cast("Callable[[], Reasoner]", loads)
        self._last: tuple[NDArray[np.float32], Encoding] | None = None

    def __repr__(self) -> str:
        encoder, reasoner = self.config.encoder["name"], self.config.reasoner["name"]
        level = "" if self.level_known else ", level_known=False"
        return (
            f"{type(self).__name__}({shortened(self.config.name, 40)!r}, encoder={shortened(encoder, 16)!r}, "
            f"reasoner={shortened(reasoner, 16)!r}, device={str(self.device)!r}{level})"
        )

    @abstractmethod
    def _encode(self, sound: NDArray[np.float32], heads_only: bool) -> Encoding:
        """The encoding of clips (B, 2, N); with ``heads_only`` it may lack tokens that only a reasoner needs."""

    def hearing(self, waveform: Any) -> contextlib.AbstractContextManager[None]:
        """Around all that is computed for a perception of clips."""
        return contextlib.nullcontext()

    def _answering(self) -> contextlib.AbstractContextManager[None]:
        """Around what the reasoner computes."""
        return contextlib.nullcontext()

    def _streamed(self, encoding: Encoding, question: str) -> Iterator[str]:
        """Between two pieces the caller computes as it likes."""
        pieces = iter(self.reasoner.stream(encoding, question))  # type: ignore[attr-defined]
        while True:
            with self._answering():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def _build_reasoner(self) -> Reasoner:
        return self._load_reasoner()

    @property
    def reasoner(self) -> Reasoner:
        """The reasoner, loaded when first used."""
        if self._reasoner is None:
            self._reasoner = self._build_reasoner()
        return self._reasoner

    def encode(self, prepared: Prepared, *, heads_only: bool = False) -> Encoding:
        """The encoding of prepared clips; asked again about the same sound, it is not computed twice.

        With ``heads_only`` it may lack the tokens that only a reasoner needs, where that costs the encoder less.
        """
        sound, last = prepared.waveform, self._last
        if last is not None and np.array_equal(last[0], sound) and (heads_only or not isinstance(last[1], HeadsOnly)):
            return last[1]
        encoding = self._encode(sound, heads_only)
        self._last = (sound.copy(), encoding)
        return encoding

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes it knows, by their display names: of all that its encoder can say, those it has learnt."""
        known = set(self.config.labels or self.encoder.labels)
        return tuple(name for name in self.encoder.labels if name in known)

    @property
    def level_note(self) -> str:
        """What to know about distances."""
        apart = hasattr(self.encoder, "level_known")
        if apart and not self.encoder.level_known:
            return "distances are judged from reverberation and colour, not by level"
        if not self.level_known:
            return "the level is unknown, but this encoder judges distance by it, so distances are a guess"
        return "distances are judged by level, as in the training clips; where the level is unknown they are a guess"

    # A string is a sequence of strings too, which mypy remarks; the first overload that fits counts.
    @overload
    def ask(  # type: ignore[overload-overlap]
        self, waveform: Sequence[Waveform], question: str
    ) -> list[Answer]: ...
    @overload
    def ask(self, waveform: Sequence[Waveform], question: Sequence[str]) -> list[list[Answer]]: ...
    @overload
    def ask(self, waveform: Waveform, question: str) -> Answer: ...  # type: ignore[overload-overlap]
    @overload
    def ask(self, waveform: Waveform, question: Sequence[str]) -> list[Answer]: ...
    def ask(
        self, waveform: Waveform | Sequence[Waveform], question: str | Sequence[str]
    ) -> Answer | list[Answer] | list[list[Answer]]:
        """Answer one question, or several about the same clip (the sound is encoded once).

        One :class:`Answer` for one clip (2, samples) and one question; a list of them, in the order of the questions,
        for several questions; and for a batch a list with that of each clip. Of several questions, one that cannot be
        answered fails alone (:attr:`Answer.failed`). Raises :class:`~bat_agent.errors.BadInput` where none can be
        answered, for an empty question, and for a waveform of another shape, with samples that are not finite, or
        shorter than 20 ms.
        """
        questions = [question] if isinstance(question, str) else list(question)
        if not all(isinstance(q, str) and q.strip() for q in questions):
            raise BadInput('a question is empty: ask something like "Where is the sound coming from?"')
        with self.hearing(waveform):
            prepared = prepare(waveform, self.encoder)
            encoding = None if all(prepared.silent) else self.encode(prepared)
        answers = [self._answer(prepared, encoding, clip, questions) for clip in range(len(prepared.waveform))]
        every = [answer.failed for found in answers for answer in found]
        if every and None not in every:
            raise BadInput(str(every[0]))
        if isinstance(question, str):
            first = [found[0] for found in answers]
            return first if prepared.batched else first[0]
        return answers if prepared.batched else answers[0]

    @property
    def converses(self) -> bool:
        """Whether the reasoner understands a question that leaves out what was said before (:meth:`chat`)."""
        return bool(getattr(self.reasoner, "converses", False))

    def chat(self, *, kept: int = KEPT, forgotten_after_s: float = FORGOTTEN_AFTER_S) -> Chat:
        """A conversation: ``chat.ask(waveform, "Where is the dog?")``, then ``chat.ask(waveform, "And how far?")``.

        The last ``kept`` questions are remembered, until nothing was asked for ``forgotten_after_s``. Every answer is
        of the clip that comes with the question. A reasoner that does not converse takes each question for itself.
        """
        return Chat(self, kept=kept, forgotten_after_s=forgotten_after_s)

    def stream(self, waveform: Waveform, question: str) -> Iterator[str]:
        """The answer to one question about one clip (2, samples), piece by piece as a language model says it.

        The pieces joined are what :meth:`ask` answers; a reasoner that cannot stream says all at once.
        """
        if not isinstance(question, str) or not question.strip():
            raise BadInput('a question is empty: ask something like "Where is the sound coming from?"')
        prepared = prepare(waveform, self.encoder)
        if prepared.batched:
            raise BadInput("answers are streamed for one clip (2, samples) at a time; use ask for a batch")
        if prepared.silent[0]:
            yield SILENCE_ANSWER
            return
        encoding = self.encode(prepared)
        if hears_nothing(encoding, self.config.thresholds) != [None]:
            yield SILENCE_ANSWER
            return
        if prepared.placeless[0]:
            yield self._answer(prepared, encoding, 0, [question])[0].text
            return
        if hasattr(self.reasoner, "stream"):
            yield from self._streamed(encoding, question)
        else:
            yield str(self.reasoner.answer(encoding, [question])[0])

    @overload
    def perceive(self, waveform: Sequence[Waveform]) -> list[Perception]: ...
    @overload
    def perceive(self, waveform: Waveform) -> Perception: ...
    def perceive(self, waveform: Waveform | Sequence[Waveform]) -> Perception | list[Perception]:
        """What sounds where: a :class:`~bat_agent.hearing.perception.Perception` for one clip (2, samples); for a
        batch, (batch, 2, samples) or a list of clips of one length, a list of them.

        Raises :class:`~bat_agent.errors.BadInput` for another shape, samples that are not finite, or less than 20 ms.
        """
        config = self.config
        with self.hearing(waveform):
            prepared = prepare(waveform, self.encoder)
            encoding = self.encode(prepared, heads_only=True)
            found = perceive(encoding, self.encoder.labels, config.thresholds, calibration=config.calibration)
        each = [self._as_perceived(prepared, clip, perceived) for clip, perceived in enumerate(found)]
        return each if prepared.batched else each[0]

    def _as_perceived(self, prepared: Prepared, clip: int, perceived: Perception) -> Perception:
        notes = prepared.notes[clip]
        if prepared.silent[clip]:
            return Perception((), dict.fromkeys(perceived.class_probs, 0.0), notes)
        if prepared.placeless[clip]:
            return Perception(tuple(s.without_place() for s in perceived.sources), perceived.class_probs, notes)
        return Perception(perceived.sources, perceived.class_probs, self._with_level(notes))

    def _answer(self, prepared: Prepared, encoding: Encoding | None, clip: int, questions: list[str]) -> list[Answer]:
        notes = self._with_level(prepared.notes[clip])
        if prepared.silent[clip] or encoding is None:
            return [Answer(q, SILENCE_ANSWER, 1.0, (), notes) for q in questions]
        # The encoding itself where there is one clip: a reasoner may remember what it made of it.
        one = encoding if len(prepared.waveform) == 1 else encoding[[clip]]
        (nothing,) = hears_nothing(one, self.config.thresholds)
        if nothing is not None:
            return [Answer(q, SILENCE_ANSWER, nothing, (), notes) for q in questions]
        if prepared.placeless[clip]:
            replies = [self._without_place(one.without_place(), question) for question in questions]
            notes = prepared.notes[clip]
        else:
            with self._answering():
                replies = each_answered(self.reasoner, one, questions)
        notes += tuple(getattr(self.reasoner, "notes", ()))
        return [self._as_answer(q, reply, notes) for q, reply in zip(questions, replies, strict=True)]

    def _without_place(self, encoding: Encoding, question: str) -> str | BadInput:
        """The reply to a question about a clip in which no direction can be heard, whatever the reasoner."""
        asked = place_asked(question)
        unknown = Reply(NO_PLACE_ANSWER.format(asked or "where"), 0.0)
        if asked:
            return unknown
        (reply,) = each_answered(self.reasoner, encoding, [question])
        if isinstance(reply, BadInput):  # it needs a head that was taken away
            return unknown
        return unknown if answer_form(reply) in ("side", "location", "distance") else reply

    def _as_answer(self, question: str, reply: str | BadInput, notes: tuple[str, ...]) -> Answer:
        text = str(reply)
        if isinstance(reply, BadInput):
            return Answer(question, CANNOT_ANSWER, None, (), notes, sure=False, failed=text)
        if not isinstance(reply, Reply) or reply.confidence is None:
            return Answer(question, text, None, getattr(reply, "alternatives", ()), notes)
        if reply.confidence == 0.0:  # it says that it did not understand, which is no answer that one may be sure of
            return Answer(question, text, 0.0, reply.alternatives, notes, sure=False)
        confidence = self.config.calibration.answer(text, reply.confidence)
        alternatives = reply.alternatives if len(reply.alternatives) != 2 else shared_out(reply, confidence)
        unsure = self.config.thresholds.unsure
        sure = reply.sure is not False and is_sure(text, confidence, unsure)
        if reply.plain is None:
            return Answer(question, text, confidence, alternatives, notes, sure)
        plain, share = reply.plain
        if share is not None and not (
            reply.sure is not False and is_sure(text, self.config.calibration.answer(text, share), unsure)
        ):
            plain = perhaps(plain)
        return Answer(question, text, confidence, alternatives, notes, False, plain)

    def _with_level(self, notes: tuple[str, ...]) -> tuple[str, ...]:
        return notes if self.level_known else (*notes, self.level_note)


def reasoner_options(config: ModelConfig, reasoner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The options of a reasoner with the model's thresholds and the classes that its ears know (``known``), as far as
    it takes them and is given no others: what is perceived and what is answered are then decided alike.
    """
    taken = {option.name for option in fields(registry.config_of("reasoner", reasoner["name"], reasoner["options"]))}
    own = {**asdict(config.thresholds), **more, **({"known": config.labels} if config.labels else {})}
    return {key: value for key, value in own.items() if key in taken} | reasoner["options"]
