"""Bat: an encoder and a reasoner that hear together; the whole flow from waveform to answer on one screen."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from torch import Tensor, nn

from bat_agent import registry
from bat_agent.chat import FORGOTTEN_AFTER_S, KEPT, Chat
from bat_agent.checkpoint import save_module
from bat_agent.errors import BadInput, WeightsError
from bat_agent.hearing.answers import CANNOT_ANSWER, Answer, each_answered, perhaps, shared_out, shortened
from bat_agent.hearing.confidence import answer_form, is_sure
from bat_agent.hearing.model_folder import ModelConfig, encoder_folder, find_model, read_config, write_config
from bat_agent.hearing.perception import Perception, hears_nothing, perceive
from bat_agent.interfaces import SAMPLE_RATE_HZ, Encoder, Encoding, HeadsOnly, Reasoner, Reply
from bat_agent.questions.places import place_asked
from bat_agent.sound.waveform import Prepared, prepare
from bat_agent.threads import checked, computing, fastest, weights_of

SILENCE_ANSWER = "I hear nothing."
NO_PLACE_ANSWER = "I cannot hear {}."
"""``where`` or ``how far``, of a recording that carries no direction, such as one of a single microphone."""
Waveform: TypeAlias = "np.ndarray[Any, Any] | Tensor"
"""Samples as floats of any width, left ear first, 32 kHz, full scale ±1."""


class Bat:
    """Ears: :meth:`perceive` says what sounds where, :meth:`ask` answers questions in plain language.

    Waveforms are (2, samples) or (batch, 2, samples), left ear first, 32 kHz, full scale ±1 (numpy or torch). For a
    batch both methods return a list with one entry per clip. A type cannot tell how many axes an array has, so type
    checkers and editors take an array for one clip and a list of clips, such as ``list(batch)``, for a batch.
    """

    def __init__(
        self,
        config: ModelConfig,
        encoder: Encoder,
        reasoner: Reasoner | Callable[[], Reasoner],
        device: str = "cpu",
        level_known: bool = True,
        threads: int | None = None,
    ) -> None:
        self.config = config
        self.threads = checked(threads)
        """Threads that it computes with on a processor; ``None`` for what is fastest (:mod:`bat_agent.threads`)."""
        self.device = torch.device(device)
        self.encoder = _ready(encoder, self.device)
        self._encoder_weights = weights_of(encoder)
        self.level_known = level_known
        if hasattr(encoder, "as_probabilities"):
            encoder.as_probabilities = True
        if hasattr(encoder, "level_known"):
            encoder.level_known = encoder.level_known and level_known
        # Perceiving needs no language model, so a reasoner may come as a function that loads it when first asked.
        self._reasoner: Reasoner | None = None
        self._load_reasoner = (lambda: reasoner) if hasattr(reasoner, "answer") else reasoner
        self._last: tuple[str, Encoding] | None = None

    def __repr__(self) -> str:
        encoder, reasoner = self.config.encoder["name"], self.config.reasoner["name"]
        level = "" if self.level_known else ", level_known=False"
        return (
            f"Bat({shortened(self.config.name, 40)!r}, encoder={shortened(encoder, 16)!r}, "
            f"reasoner={shortened(reasoner, 16)!r}, device={str(self.device)!r}{level})"
        )

    @property
    def reasoner(self) -> Reasoner:
        """The reasoner, loaded when first used."""
        if self._reasoner is None:
            # Built as any other module, also where the first question is asked in inference mode.
            with torch.inference_mode(False):
                self._reasoner = _ready(self._load_reasoner(), self.device)
        return self._reasoner

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
        with torch.inference_mode():
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

    def _streamed(self, encoding: Encoding, question: str) -> Iterator[str]:
        """Between two pieces the caller computes as it likes."""
        pieces = iter(self.reasoner.stream(encoding, question))  # type: ignore[attr-defined]
        while True:
            with self._computing(weights_of(self.reasoner)):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

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

    @torch.inference_mode()
    def encode(self, prepared: Prepared, *, heads_only: bool = False) -> Encoding:
        """The encoding of prepared clips; asked again about the same sound, it is not computed twice.

        With ``heads_only`` it may lack the tokens that only a reasoner needs, where that costs the encoder less.
        """
        sound = prepared.waveform
        key = f"{tuple(sound.shape)} {hashlib.blake2b(sound.numpy().tobytes(), digest_size=16).hexdigest()}"
        if self._last is not None and self._last[0] == key and (heads_only or not isinstance(self._last[1], HeadsOnly)):
            return self._last[1]
        encode = getattr(self.encoder, "perceive", self.encoder) if heads_only else self.encoder
        with self.hearing(sound):
            self._last = (key, encode(sound.to(self.device)))
        return self._last[1]

    def hearing(self, waveform: Any) -> contextlib.AbstractContextManager[None]:
        """Around all that is computed for a perception of clips: on as many threads as are fastest for it."""
        clips = waveform if isinstance(waveform, list | tuple) else [waveform]
        samples = sum(math.prod(getattr(clip, "shape", ())) for clip in clips)
        return self._computing(self._encoder_weights, samples / 2 / SAMPLE_RATE_HZ)

    def _computing(self, weights: int, seconds: float | None = None) -> contextlib.AbstractContextManager[None]:
        """On as many threads as are fastest for the encoder or the reasoner; other devices have none to spare."""
        if self.device.type != "cpu":
            return contextlib.nullcontext()
        return computing(self.threads or fastest(weights, seconds))

    @torch.inference_mode()
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
            with self._computing(weights_of(self.reasoner)):
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

    def with_encoder(self, name: str, *, weights: str | None = None, **options: Any) -> Bat:
        """The same ears with another encoder. A language model only understands the encoder it was trained with, so
        questions are then answered by the reasoner ``rules``, from what the encoder's own heads say.
        """
        encoder = registry.load_encoder(name, weights=weights, **options)
        limits = asdict(self.config.thresholds)
        del limits["unsure"]  # how sure is sure enough is decided here
        config = ModelConfig(
            name,
            {"name": name, "options": options},
            {"name": "rules", "options": limits},
            self.config.thresholds,
        )
        return Bat(
            config, encoder, lambda: registry.load_reasoner("rules", **limits), str(self.device), self.level_known,
            self.threads,
        )  # fmt: skip

    def with_reasoner(self, name: str, *, weights: str | None = None, **options: Any) -> Bat:
        """The same ears with another reasoner, built when first asked; the encoder is shared with this one.

        ``token_dim``, and of the thresholds those that the reasoner has, are this model's
        unless given. Raises :class:`~bat_agent.errors.BadInput` for an unknown reasoner or an option it does not take,
        and :class:`~bat_agent.errors.WeightsError` where ``weights`` or a file that an option names are not there.
        """
        # Options and files are checked now, not with the first question.
        config = replace(self.config, reasoner={"name": name, "options": options})
        told = _as_the_model_says(config, config.reasoner, token_dim=self.encoder.token_dim)
        if "token_dim" in told:  # what the model says is told again when it is loaded; what its encoder is, is kept
            config = replace(config, reasoner={"name": name, "options": {**options, "token_dim": told["token_dim"]}})
        built = registry.config_of("reasoner", name, told)
        if hasattr(built, "check"):
            built.check()
        if weights is not None and not Path(weights).expanduser().exists():
            raise WeightsError(f"there are no reasoner weights at {weights}; give a file or a folder with them")

        def load_reasoner() -> Reasoner:
            return registry.load_reasoner(name, weights=weights, **told)

        return Bat(config, self.encoder, load_reasoner, str(self.device), self.level_known, self.threads)

    def save_pretrained(self, directory: str | Path, *, half: bool = False) -> None:
        """Write ``config.json``, ``encoder/`` and ``reasoner/`` so that :meth:`from_pretrained` reads them back.

        ``half`` stores matrices as float16, which halves the size.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for part, module in (("encoder", self.encoder), ("reasoner", self.reasoner)):
            _save_part(module, directory / part, half)
        # The encoder is written as well, so the folder is whole without the model that it came from.
        own = {key: value for key, value in self.config.encoder.items() if key != "agent"}
        write_config(replace(self.config, encoder=own), directory)

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        *,
        device: str | None = None,
        level_known: bool = True,
        threads: int | None = None,
    ) -> Bat:
        """Load a shipped model by name, a directory, or a hub repository ``owner/name``.

        ``level_known=False`` is for recordings whose level is not calibrated: an encoder that can judges distance
        without it, and the notes say what became of the distances. ``threads``: of the processor that it computes with;
        by itself as many as are fastest, one for bat-small, whatever the environment says. What the caller set for
        models of its own stays as it is.
        Raises :class:`~bat_agent.errors.WeightsError` when there is none, or when files are missing from it.
        """
        directory = find_model(name_or_dir)
        config = read_config(directory)
        ears = encoder_folder(config, directory)
        for part in (ears, directory / "reasoner"):
            if not part.is_dir():
                raise WeightsError(
                    f"model directory {part.parent} has no weights: {part.name}/ is missing; copy the whole model"
                )
        encoder = registry.load_encoder(config.encoder["name"], weights=str(ears), **config.encoder["options"])
        wanted = config.reasoner
        borrowed = "agent" in config.encoder
        more = {"token_dim": encoder.token_dim} if borrowed else {}
        options = _as_the_model_says(config, wanted, **more)
        if borrowed:
            built = registry.config_of("reasoner", wanted["name"], options)
            if hasattr(built, "check"):  # told now, not with the first question
                built.check()

        def load_reasoner() -> Reasoner:
            return registry.load_reasoner(wanted["name"], weights=str(directory / "reasoner"), **options)

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(config, encoder, load_reasoner, device, level_known, threads)


def load(
    name_or_dir: str | Path = "bat-small",
    *,
    device: str | None = None,
    level_known: bool = True,
    threads: int | None = None,
) -> Bat:
    """Load ears; see :meth:`Bat.from_pretrained`."""
    return Bat.from_pretrained(name_or_dir, device=device, level_known=level_known, threads=threads)


def _as_the_model_says(config: ModelConfig, reasoner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The options of a reasoner with the model's thresholds and the classes that its ears know (``known``), as far as
    it takes them and is given no others: what is perceived and what is answered are then decided alike.
    """
    taken = {option.name for option in fields(registry.config_of("reasoner", reasoner["name"], reasoner["options"]))}
    own = {**asdict(config.thresholds), **more, **({"known": config.labels} if config.labels else {})}
    return {key: value for key, value in own.items() if key in taken} | reasoner["options"]


def _ready(module: Any, device: torch.device) -> Any:
    return module.to(device).eval() if isinstance(module, nn.Module) else module


def _save_part(module: Any, directory: Path, half: bool) -> None:
    if hasattr(module, "save_weights"):
        module.save_weights(directory, half=half)
    elif isinstance(module, nn.Module):
        save_module(module, directory, half=half)
