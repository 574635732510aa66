"""A model answers questions about rendered clips; answers are kept as they come, so that a killed run goes on.

Clips are encoded in batches, each once for all questions about it that follow each other. With the ears swapped, the
mirrored question is asked of the same sound with its channels exchanged. Instead of sound, encodings may be given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from bat_agent.agent import Bat
from bat_agent.errors import BadInput
from bat_agent.files.writing import RESUMES, writing
from bat_agent.hearing.answers import each_answered
from bat_agent.interfaces import Encoding
from bat_agent.questions import QARecord, mirror
from bat_agent.scoring.answers import Answers, answer_line, key_of, parse_line
from bat_agent.sound.waveform import fit

_BEGIN = b'{"record": '
Progress = Callable[[int, int], None]
"""(questions done, questions in all) → nothing."""
Encode = Callable[[Sequence[int]], Encoding]
"""Numbers of records → the encoding of what each asks about, one row each."""


class Sounding(Protocol):
    """Clips by number of their record: a :class:`~bat_agent.datasets.spatialsoundqa.SpatialSoundQA`."""

    def waveform(self, index: int) -> Tensor:
        """(2, 320000) float32."""
        ...


@dataclass
class AnswerLog:
    """Answers by number of their record, and the file they are appended to, if any."""

    path: Path | None
    model: str
    """Whose answers they are; another model's are not mixed with them."""
    found: dict[int, tuple[str | None, float | None, str | None]] = field(default_factory=dict)
    """Number of the record → answer, confidence, why there is no answer."""
    advice: str = "choose another --out or move the file away"
    """What to do about a file of another run."""

    @classmethod
    def open(cls, path: Path | None, model: str, keys: Sequence[str], advice: str | None = None) -> AnswerLog:
        """With the answers that an earlier run left at ``path``; a line it was killed in is cut off.

        Raises :class:`~bat_agent.errors.BadInput`, which ends with ``advice``, where the file holds something else, or
        answers of another model or to other data (``keys``: ``TYPE-ID`` of every record).
        """
        log = cls(path, model, advice=cls.advice if advice is None else advice)
        if path is None or not path.exists():
            return log
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(f"cannot read {path} ({error.strerror or error}); {log.advice}") from error
        end = content.rfind(b"\n") + 1
        for number, text in enumerate(content[:end].decode("utf-8", "replace").splitlines(), 1):
            log._recall(text, number, keys)
        if end < len(content):
            if not content[end:].startswith(_BEGIN[: len(content) - end]):
                raise log._foreign(content.count(b"\n") + 1)
            _cut(path, end)
        return log

    def _recall(self, text: str, line: int, keys: Sequence[str]) -> None:
        item = parse_line(text, f"{self.path}, line {line}") if text.strip() else {}
        number = item.get("record")
        if not isinstance(number, int) or not 0 <= number < len(keys) or key_of(item) != keys[number]:
            raise self._foreign(line)
        failed = item.get("failed")
        if item.get("model") != self.model or not isinstance(item.get("answer") if failed is None else failed, str):
            raise self._foreign(line)
        self.found[number] = (item.get("answer"), item.get("confidence"), failed)

    def _foreign(self, line: int) -> BadInput:
        return BadInput(
            f"{self.path}, line {line} is of another run (of other data, or not of the model {self.model}), so this "
            f"one cannot go on from it; {self.advice}"
        )

    def add(self, items: Iterable[tuple[int, str, str | BadInput]]) -> None:
        """Keep (number of the record, key, reply or why there is none) of some questions, and append them to the
        file.
        """
        lines = []
        for number, key, reply in items:
            failed = isinstance(reply, BadInput)
            text, why = (None, str(reply)) if failed else (str(reply), None)
            self.found[number] = (text, getattr(reply, "confidence", None), why)
            more: dict[str, Any] = {"failed": why} if failed else {}
            lines.append(answer_line(number, key, *self.found[number][:2], model=self.model, **more))
        if self.path is None:
            return
        with writing(self.path, advice=RESUMES), self.path.open("a", encoding="utf-8") as file:
            file.writelines(lines)

    def answers(self, numbers: Sequence[int]) -> Answers:
        """The answers to records with these numbers; those not asked count as missing."""
        found = [self.found.get(number) for number in numbers]
        return Answers(
            [f[0] if f else None for f in found],
            [f[1] if f else None for f in found],
            [f is not None for f in found],
            [f[2] if f else None for f in found],
        )


@dataclass
class _Job:
    """Questions asked in one way, plain or mirrored."""

    log: AnswerLog
    records: dict[int, QARecord]
    """By number, those to be answered."""
    swapped: bool


def ask_all(
    bat: Bat,
    sound: Sounding,
    records: dict[int, QARecord],
    log: AnswerLog,
    *,
    swapped: AnswerLog | None = None,
    sided: Iterable[int] = (),
    batch: int = 16,
    encode: Encode | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Ask a model every question that ``log`` has no answer to, and with the ears swapped those of ``sided`` that
    ``swapped`` has none to.

    Args:
        bat: The model.
        sound: Renders clips by number of the record.
        records: Records by their number.
        log: Where answers are kept.
        swapped: Where those with swapped ears are kept; they are not asked for without.
        sided: Numbers of the records to ask with swapped ears.
        batch: Questions asked at once, and so the most clips in memory.
        encode: Gives the encodings, in place of the model's encoder; then nothing is rendered, nor can ears be swapped.
        progress: Told after every batch.
    """
    jobs = [_Job(log, {n: r for n, r in records.items() if n not in log.found}, False)]
    if swapped is not None:
        if encode is not None:
            raise BadInput("encodings that are given have no ears to swap; ask without swapped ears")
        jobs.append(_Job(swapped, {n: records[n] for n in sided if n not in swapped.found}, True))
    numbers = sorted({number for job in jobs for number in job.records})
    for start in range(0, len(numbers), batch):
        some = numbers[start : start + batch]
        clips: dict[Any, int] = {}
        for number in some:
            clips.setdefault(_clip(records[number]), number)
        hear = _from_sound(bat, sound, clips) if encode is None else _from_encodings(encode, clips)
        for job in jobs:
            _ask(bat, [(n, job.records[n]) for n in some if n in job.records], hear, job)
        progress(start + len(some), len(numbers))


_Hear = Callable[[Iterable[Any], bool], Encoding]
"""(clips, whether the ears are swapped) → their encoding."""


def _from_sound(bat: Bat, sound: Sounding, clips: dict[Any, int]) -> _Hear:
    waveforms = {clip: sound.waveform(number) for clip, number in clips.items()}

    def hear(some: Iterable[Any], swapped: bool) -> Encoding:
        heard = torch.stack([waveforms[clip] for clip in some]).to(bat.device)
        return bat.encoder(fit(heard.flip(1) if swapped else heard, bat.encoder))

    return hear


def _from_encodings(encode: Encode, clips: dict[Any, int]) -> _Hear:
    return lambda some, swapped: encode([clips[clip] for clip in some])


@torch.inference_mode()
def _ask(bat: Bat, asked: list[tuple[int, QARecord]], hear: _Hear, job: _Job) -> None:
    if not asked:
        return
    clips = {clip: row for row, clip in enumerate(dict.fromkeys(_clip(record) for _, record in asked))}
    encoding = hear(clips, job.swapped).to(bat.device)
    rows = [clips[_clip(record)] for _, record in asked]
    if len(rows) > len(clips):
        encoding = encoding[rows]  # one clip a question, as reasoners take them
    texts = [mirror(record.text) if job.swapped else record.text for _, record in asked]
    replies = each_answered(bat.reasoner, encoding, texts)
    job.log.add((number, record.key, reply) for (number, record), reply in zip(asked, replies, strict=True))


def _clip(record: QARecord) -> Any:
    return (*record.sources, record.reverb_path)


def _cut(path: Path, size: int) -> None:
    """Leave out what a killed run wrote last: half a line."""
    with writing(path), path.open("r+b") as file:
        file.truncate(size)
