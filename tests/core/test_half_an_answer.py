"""Half an answer rather than none: a question fails alone, and of an encoder is measured what it has heads for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bat_agent import registry
from bat_agent.agent import Bat, ModelConfig
from bat_agent.cli.evaluate_qa import _print
from bat_agent.errors import BadInput, Unavailable
from bat_agent.evaluation.figures import single_source, swap_consistency, two_sources
from bat_agent.evaluation.hearing import Heard
from bat_agent.evaluation.real_rooms import where_figures
from bat_agent.hearing.answers import CANNOT_ANSWER, each_answered
from bat_agent.interfaces import Encoding
from bat_agent.labels import labels
from bat_agent.listening.answering import Answering
from bat_agent.questions import QARecord
from bat_agent.scoring import ClassScorer, LexicalEmbedder
from bat_agent.scoring.answers import Answers, read_answers
from bat_agent.scoring.ask import AnswerLog
from bat_agent.scoring.report import evaluate_answers
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.reasoner import RulesReasoner

Run = Callable[..., tuple[int, str, str]]
SIDE, FAR, WHAT = "Is the sound on the left?", "How far away is the sound?", "What do you hear?"


class Compass(nn.Module):
    """A stranger's encoder that has an azimuth head alone: 170° where the left ear is louder, else 10°."""

    sample_rate_hz, clip_seconds, token_dim, num_tokens = 32_000, 10.0, 4, 1
    labels = labels()

    def forward(self, waveform: Tensor) -> Encoding:
        left = waveform.square().mean(-1).diff(dim=1)[:, 0] < 0
        azimuth = torch.full((len(waveform), 360), -9.0)
        azimuth[range(len(waveform)), torch.where(left, 170, 10)] = 9.0
        return Encoding(torch.zeros(len(waveform), 1, 4), azimuth_logits=azimuth)


@pytest.fixture
def _compass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every encoder that is asked for is this one."""
    monkeypatch.setattr(registry, "load_encoder", lambda name, weights=None, **options: Compass())


def compass() -> Bat:
    config = ModelConfig("compass", {"name": "compass", "options": {}}, {"name": "rules", "options": {}})
    return Bat(config, Compass(), RulesReasoner(RulesConfig()))  # type: ignore[arg-type]


# --- questions ---


@pytest.mark.usefixtures("_compass")
def test_a_question_that_cannot_be_answered_fails_alone(run: Run, left: Path) -> None:
    """One of three needs a head that is not there: it took the other two with it, and exit code 0."""
    code, out, err = run("ask", left, SIDE, FAR, WHAT, "--encoder", "echo", "--json")
    assert code == 0
    side, far, what = json.loads(out)
    assert (side["answer"], side["failed"]) == ("Yes", None)
    assert (far["answer"], far["sure"], far["confidence"]) == (CANNOT_ANSWER, False, None)
    assert "no distance head" in far["failed"]
    assert "no class head" in what["failed"]
    assert "given no weights" not in err  # there are none to give
    code, out, err = run("ask", left, SIDE, FAR, "--encoder", "echo")
    assert (code, out.count("\n")) == (0, 2)
    assert f"note: {FAR!r} was not answered: this question needs the distance" in err


@pytest.mark.usefixtures("_compass")
def test_where_none_can_be_answered_the_command_fails(run: Run, left: Path) -> None:
    code, out, err = run("ask", left, FAR, WHAT, "--encoder", "echo")
    assert (code, out) == (2, "")
    assert "no distance head" in err
    assert err.count("\n") == 1


def test_in_a_batch_every_clip_keeps_its_answers() -> None:
    rng = np.random.default_rng(0).standard_normal((2, 2, 32_000)).astype(np.float32)
    clips = rng * np.array([[0.1, 0.01], [0.01, 0.1]], np.float32)[..., None]
    said = [[str(answer) for answer in found] for found in compass().ask(list(clips), [FAR, SIDE])]
    assert said == [[CANNOT_ANSWER, "Yes"], [CANNOT_ANSWER, "No"]]
    with pytest.raises(BadInput, match="no distance head"):
        compass().ask(clips[0], FAR)


class Fussy(RulesReasoner):
    """Refuses what has a k in it, or everything."""

    def __init__(self, error: type[BadInput]) -> None:
        super().__init__(RulesConfig())
        self.error, self.calls = error, 0

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[str]:  # type: ignore[override]
        self.calls += 1
        for question in questions:
            if "k" in question:
                raise self.error(f"no {question}")
        return [f"{question} of {encoding.tokens[n * len(encoding.tokens) // len(questions), 0, 0]:.0f}"
                for n, question in enumerate(questions)]  # fmt: skip


def test_each_question_is_asked_of_its_own_clip() -> None:
    encoding = Encoding(torch.tensor([1.0, 2.0]).reshape(2, 1, 1))
    said = each_answered(Fussy(BadInput), encoding, ["a", "k", "b", "c"])
    assert [str(reply) for reply in said] == ["a of 1", "no k", "b of 2", "c of 2"]
    with pytest.raises(BadInput, match="no k"):
        each_answered(Fussy(BadInput), encoding, ["a", "k", "b"])  # three questions for two clips


def test_nobody_is_asked_again_where_a_server_is_down() -> None:
    reasoner = Fussy(Unavailable)
    with pytest.raises(Unavailable):
        each_answered(reasoner, Encoding(torch.zeros(1, 1, 1)), ["a", "k", "b"])
    assert reasoner.calls == 1


def test_who_listens_live_is_told_why_there_is_no_answer() -> None:
    """Asked by itself, such a question vanished without a word."""
    answering = Answering(compass(), [FAR])
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 32_000)).astype(np.float32)
    answering.look(noise, 1.0, full=True, wait=True)
    (answered,) = answering.new()
    assert "no distance head" in str(answered.answer.failed)
    assert answered.answer.spoken.startswith(f"{CANNOT_ANSWER} This question needs the distance")


# --- scores ---


def record(number: int, kind: str, answer: str) -> QARecord:
    return QARecord.from_dict(
        {"question_id": number, "question_type": kind, "question": "?", "answer": answer, "audio_id": "a.wav",
         "audio_id2": None, "reverb_id": "r.npy", "reverb_id2": None}
    )  # fmt: skip


def test_what_is_answered_is_scored_and_the_rest_has_no_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yes_no, place = "PLAIN", "DOA"
    records = [record(n, yes_no, "Yes") for n in range(4)] + [
        record(4 + n, place, "left, front, above; 2m") for n in range(2)
    ]
    log = AnswerLog.open(tmp_path / "answers.jsonl", "compass", [r.key for r in records])
    why = BadInput("this question needs the distance of a sound, but the encoder has no distance head; ask else")
    log.add([(n, r.key, "Yes" if n < 3 else "No" if n == 3 else why) for n, r in enumerate(records)])
    answers = log.answers(range(6))
    again = AnswerLog.open(tmp_path / "answers.jsonl", "compass", [r.key for r in records]).answers(range(6))
    assert again == answers == read_answers(tmp_path / "answers.jsonl", [r.key for r in records])
    found = evaluate_answers(records, answers, ClassScorer(LexicalEmbedder()), {"name": "compass", "data": "six"})
    assert found.scores.count == 4
    assert found.scores.types[yes_no]["accuracy"].value == 0.75
    assert found.to_dict()["unanswered"] == {place: {"count": 2, "of": 2, "why": str(why)}}
    _print(found, [])
    assert any(
        "B DOA" in line and "no head" in line and "2 of 2" in line for line in capsys.readouterr().out.splitlines()
    )


def test_where_no_question_can_be_answered_there_is_no_empty_table() -> None:
    answers = Answers([None] * 2, [None] * 2, [True] * 2, ["the encoder has no class head"] * 2)
    records = [record(n, "DOA", "left, front, above; 2m") for n in range(2)]
    with pytest.raises(BadInput, match="none of the 2 questions can be answered: the encoder has no class head"):
        evaluate_answers(records, answers, ClassScorer(LexicalEmbedder()), {"name": "x", "data": "y"})


# --- encoders ---


def heard(**said: object) -> Heard:
    true_deg = np.array([[10.0, 0.0], [170.0, 20.0], [350.0, -20.0], [100.0, 0.0]])
    true_bins = np.stack((np.zeros(4, int), true_deg[:, 0].astype(int), true_deg[:, 1].astype(int) + 90), axis=1)
    return Heard(true_deg, true_bins, np.ones((4, 3), bool), None, **said)  # type: ignore[arg-type]


def test_an_azimuth_alone_is_measured_by_hand_worked_figures() -> None:
    """Errors 5, 10, 20 (round 0°) and 180 degrees; three of four sides are right, of front and behind two."""
    azimuth = np.array([15.0, 160.0, 10.0, 280.0])
    lone = heard(azimuths_deg={"kernel": azimuth}, swapped_azimuths_deg={"kernel": 180.0 - azimuth})
    found = single_source(lone)
    assert {name: figure.value for name, figure in found.items()} == {
        "azimuth_mae_deg": 53.75, "left_right": 0.75, "front_behind": 0.5,
    }  # fmt: skip
    assert lone.missing == ("class", "elevation", "distance")
    assert {name: figure.value for name, figure in swap_consistency(lone).items()} == {
        "mirrors": 1.0,
        "side_flips": 1.0,
    }
    assert where_figures(lone)["azimuth_mae_deg"].value == 53.75


def test_an_elevation_alone_is_measured_too() -> None:
    found = single_source(heard(elevations_deg={"kernel": np.array([5.0, 20.0, 10.0, -3.0])}))
    assert {name: figure.value for name, figure in found.items()} == {"elevation_mae_deg": 9.5, "above_below": 0.5}


SOUNDS = "sounds=[{source: procedural, train_folds: [1, 2, 3], valid_folds: [4]}]"
RECIPE = ("--recipe", "spatial-ast-tiny", "--clips", "4", "--seconds", "1", "--batch", "4", "--set", SOUNDS)


@pytest.mark.usefixtures("_compass")
def test_evaluate_says_no_head_of_what_it_cannot_measure(run: Run) -> None:
    code, out, _ = run("evaluate", "encoder", "--encoder", "echo", *RECIPE)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    lacking = {"mAP", "ER20", "MAE", "above or below", "eight regions", "DER"}
    said = {" ".join(row[2:-2]) for row in rows if row[-2:] == ["no", "head"]}
    assert said == lacking
    assert any("left or right" in line and "%" in line for line in out.splitlines())


def test_an_encoder_without_any_head_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(Compass):
        def forward(self, waveform: Tensor) -> Encoding:
            return Encoding(torch.zeros(len(waveform), 1, 4))

    monkeypatch.setattr(registry, "load_encoder", lambda name, weights=None, **options: Mute())
    code, out, err = run("evaluate", "encoder", "--encoder", "echo", "--name", "mute", *RECIPE)
    assert (code, out) == (2, "")
    assert "the encoder mute has no head, so there is nothing to measure" in err


def test_weights_are_drawn_by_lot_only_where_there_are_some(run: Run) -> None:
    """``echo`` has one parameter; a stranger's encoder may have none, of which the same was said."""
    from bat_agent.cli.inputs import has_weights

    assert not has_weights(Compass())
    assert has_weights(nn.Linear(1, 1))


def test_two_sources_are_matched_by_azimuth_where_that_is_all() -> None:
    from bat_agent.clips import corpus
    from bat_agent.recipes.loading import load_recipe

    recipe = load_recipe("spatial-ast-tiny", [SOUNDS])
    data = corpus.validation(recipe, 4, seconds=1.0, clips_per_batch=4, two_sources=1.0)
    found = two_sources(Compass(), data, "cpu")
    assert set(found) == {"azimuth_mae_deg"}
    assert found["azimuth_mae_deg"].count == 4
