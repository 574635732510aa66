"""Models asked about rendered clips: every question once, every clip encoded once, and killed runs go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bat_agent import agent
from bat_agent.errors import BadInput, PluginError
from bat_agent.interfaces import Encoding, Reply
from bat_agent.questions import QARecord, mirror
from bat_agent.scoring import score
from bat_agent.scoring.ask import AnswerLog, ask_all
from bat_agent.scoring.embedders import LexicalEmbedder
from bat_agent.scoring.score import ALL
from bat_agent_echo.config import EchoEncoderConfig
from bat_agent_echo.echo import EchoEncoder


class Clips:
    """Noise on the side that the number of the record says: even right, odd left."""

    def __init__(self) -> None:
        self.rendered: list[int] = []

    def waveform(self, index: int) -> Tensor:
        self.rendered.append(index)
        noise = torch.randn(320_000, generator=torch.Generator().manual_seed(index)) * 0.1
        return torch.stack([noise * (1.0 if index % 2 else 0.1), noise * (0.1 if index % 2 else 1.0)])


class Listener:
    """A reasoner that says the louder side, and sometimes dies."""

    def __init__(self, dies_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self.clips = 0
        self.dies_after = dies_after

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[str]:
        assert len(encoding.tokens) == len(questions)
        if len(self.asked) >= self.dies_after:
            raise KeyboardInterrupt
        self.asked += questions
        self.clips += len(encoding.tokens)
        left = encoding.azimuth_logits.argmax(dim=1) == 180  # type: ignore[union-attr]
        return [Reply("left" if is_left else "right", 0.75) for is_left in left.tolist()]


def bat(reasoner: Any) -> agent.Bat:
    config = agent.ModelConfig("listener", {"name": "echo", "options": {}}, {"name": "none", "options": {}})
    return agent.Bat(config, EchoEncoder(EchoEncoderConfig()), reasoner)


def records(count: int) -> dict[int, QARecord]:
    return {
        n: QARecord(f"a{n}", f"{n}.npy", "b", "b.npy", n, "MIXUP_NONBINARY_DIRECTION", f"Left or right, {n}?",
                    "left" if n % 2 else "right")
        for n in range(count)
    }  # fmt: skip


def open_log(path: Path | None, asked: dict[int, QARecord], model: str = "listener") -> AnswerLog:
    return AnswerLog.open(path, model, [record.key for record in asked.values()])


def test_what_is_heard_is_answered_and_mirrored_with_the_ears_swapped() -> None:
    asked, clips, reasoner = records(7), Clips(), Listener()
    log, swapped = open_log(None, asked), open_log(None, asked)
    steps: list[tuple[int, int]] = []
    ask_all(bat(reasoner), clips, asked, log, swapped=swapped, sided=range(7), batch=3,
            progress=lambda done, total: steps.append((done, total)))  # fmt: skip
    answers, mirrored = log.answers(range(7)), swapped.answers(range(7))
    assert answers.texts == [record.answer for record in asked.values()]
    assert answers.confidences == [0.75] * 7
    assert mirrored.texts == [mirror(record.answer) for record in asked.values()]
    assert clips.rendered == list(range(7))  # once for both
    assert set(reasoner.asked) == {q for r in asked.values() for q in (r.text, mirror(r.text))}
    assert steps == [(3, 7), (6, 7), (7, 7)]
    found = score(list(asked.values()), answers.texts, embedder=LexicalEmbedder(), swapped=mirrored.texts)
    assert found.swap[ALL].value == 1.0


def test_questions_about_one_clip_share_its_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    one = QARecord("a", "a.npy", None, None, 0, "DOA", "Where?", "left")
    asked = {n: QARecord(*[*one.to_dict().values()][:4], n, "DOA", f"Where, {n}?", "left") for n in range(5)}
    clips, reasoner, encoded = Clips(), Listener(), []
    ears = bat(reasoner)
    forward = ears.encoder.forward  # type: ignore[attr-defined]
    monkeypatch.setattr(ears.encoder, "forward", lambda sound: encoded.append(len(sound)) or forward(sound))
    log = open_log(None, asked)
    ask_all(ears, clips, asked, log, batch=5)
    assert (clips.rendered, encoded, len(reasoner.asked)) == ([0], [1], 5)
    assert log.answers(range(5)).texts == ["right"] * 5


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Also where the kill left half a line; the answers are those of a run that was not killed."""
    asked, file, mirror_file = records(10), tmp_path / "answers.jsonl", tmp_path / "swapped.jsonl"
    dying = Listener(dies_after=8)
    with pytest.raises(KeyboardInterrupt):
        ask_all(bat(dying), Clips(), asked, open_log(file, asked), swapped=open_log(mirror_file, asked),
                sided=range(10), batch=2)  # fmt: skip
    assert len(file.read_text().splitlines()) == 4
    with file.open("a") as text:
        text.write('{"record": 4, "key": "MIXUP')
    clips, log, swapped = Clips(), open_log(file, asked), open_log(mirror_file, asked)
    ask_all(bat(Listener()), clips, asked, log, swapped=swapped, sided=range(10), batch=2)
    assert clips.rendered == list(range(4, 10))
    assert log.answers(range(10)).texts == [record.answer for record in asked.values()]
    assert [json.loads(line)["record"] for line in file.read_text().splitlines()] == list(range(10))
    again = Clips()
    ask_all(bat(Listener()), again, asked, open_log(file, asked), batch=2)
    assert again.rendered == []


@pytest.mark.parametrize(
    "line",
    [
        '{"record": 0, "key": "DOA-0", "answer": "x", "model": "listener"}\n',
        '{"record": 0, "key": "MIXUP_NONBINARY_DIRECTION-0", "answer": "x", "model": "other"}\n',
        '{"record": 0, "key": "MIXUP_NONBINARY_DIRECTION-0", "answer": "x"}\n',
        '{"record": 9, "key": "MIXUP_NONBINARY_DIRECTION-9", "answer": "x", "model": "listener"}\n',
        "\n",
        "half of something else",
    ],
)
def test_answers_of_another_run_are_not_mixed_in_and_stay_as_they_are(tmp_path: Path, line: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(line)
    with pytest.raises(BadInput, match="line 1 is of another run"):
        open_log(file, records(3))
    assert file.read_text() == line


def test_encodings_that_are_given_take_the_place_of_sound() -> None:
    asked, clips, reasoner, given = records(5), Clips(), Listener(), []
    ears = bat(reasoner)

    def encode(numbers: Sequence[int]) -> Encoding:
        given.append(list(numbers))
        return ears.encoder(torch.stack([Clips().waveform(n) for n in numbers]))

    log = open_log(None, asked)
    ask_all(ears, clips, asked, log, batch=3, encode=encode)
    assert (clips.rendered, given) == ([], [[0, 1, 2], [3, 4]])
    assert log.answers(range(5)).texts == [record.answer for record in asked.values()]
    with pytest.raises(BadInput, match="no ears to swap"):
        ask_all(ears, clips, asked, log, swapped=open_log(None, asked), encode=encode)


def test_a_reasoner_that_answers_too_little_is_told() -> None:
    class Shy(Listener):
        def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[str]:
            return ["left"]

    asked = records(3)
    with pytest.raises(PluginError, match="Shy gave 1 answers to 3 questions"):
        ask_all(bat(Shy()), Clips(), asked, open_log(None, asked))


def test_answers_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    asked = records(2)
    log = AnswerLog(tmp_path / "none" / "answers.jsonl", "listener")
    with pytest.raises(BadInput, match="cannot write"):
        ask_all(bat(Listener()), Clips(), asked, log)
