"""Bat with the null plugin inside: what passes between waveform and answer, and what is kept on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bat_agent
from bat_agent.agent import Bat, ModelConfig
from bat_agent.errors import BadInput, WeightsError
from bat_agent.hearing.answers import Answer
from bat_agent.hearing.confidence import Calibration, Curve
from bat_agent.hearing.perception import Perception, Thresholds
from bat_agent.interfaces import Encoding, Reply, SlotEncoding
from bat_agent.labels import labels
from bat_agent.questions.answers import AXES
from bat_agent.scene import region
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner

RATE_HZ = 32_000
QUESTION = "Where is the dog?"
load = partial(bat_agent.load, device="cpu")
CONFIG = ModelConfig("echo", {"name": "echo", "options": {"token_dim": 8}}, {"name": "echo", "options": {}})


class CountingEncoder(EchoEncoder):
    """Counts the clips it encodes."""

    clips = 0

    def forward(self, waveform: torch.Tensor) -> Encoding:
        self.clips += len(waveform)
        return super().forward(waveform)


@pytest.fixture
def bat() -> Bat:
    encoder = CountingEncoder(EchoEncoderConfig(token_dim=8))
    return Bat(CONFIG, encoder, EchoReasoner(EchoReasonerConfig()))


def clip(left: float = 0.1, right: float = 0.1, seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((2, round(seconds * RATE_HZ)))
    return (noise * [[left], [right]]).astype(np.float32)


# --- perceive and ask ---


def test_perceive_says_where_the_louder_ear_is(bat: Bat) -> None:
    for left, right, azimuth in ((0.5, 0.1, 180.0), (0.1, 0.5, 0.0)):
        perception = bat.perceive(clip(left, right))
        (source,) = perception.sources
        assert source.azimuth_deg == azimuth
        assert source.region == region(azimuth, 0)
        assert source.labels == (labels()[0],)
        assert set(perception.class_probs) == set(labels())


def test_one_question_one_answer_several_a_list(bat: Bat) -> None:
    answer = bat.ask(clip(), QUESTION)
    assert isinstance(answer, Answer)
    assert str(answer) == f"You asked: {QUESTION}"
    assert answer.to_dict() == {
        "question": QUESTION, "answer": str(answer), "confidence": 1.0, "sure": True, "spoken": str(answer),
        "alternatives": {}, "failed": None,
    }  # fmt: skip
    answers = bat.ask(clip(), [QUESTION, "What is it?"])
    assert [a.question for a in answers] == [QUESTION, "What is it?"]
    assert [str(a) for a in answers] == [f"You asked: {QUESTION}", "You asked: What is it?"]
    assert bat.ask(clip(), []) == []


def test_a_batch_gives_one_entry_per_clip_even_if_it_is_one(bat: Bat) -> None:
    batch = np.stack((clip(0.5, 0.1), clip(0.1, 0.5), 0 * clip()))
    perceptions = bat.perceive(batch)
    assert perceptions == [bat.perceive(one) for one in batch]
    assert [[s.azimuth_deg for s in p.sources] for p in perceptions] == [[180.0], [0.0], []]
    assert [str(a) for a in bat.ask(batch, QUESTION)] == [str(bat.ask(one, QUESTION)) for one in batch]
    assert [[str(a) for a in row] for row in bat.ask(batch, [QUESTION, "What?"])][2] == ["I hear nothing."] * 2
    assert len(bat.perceive(batch[:1])) == len(bat.ask(batch[:1], QUESTION)) == 1


def test_silence_has_no_sources_and_is_said(bat: Bat) -> None:
    perception = bat.perceive(np.zeros((2, RATE_HZ), np.float32))
    assert perception.sources == ()
    assert set(perception.class_probs.values()) == {0.0}
    assert "silence" in perception.notes[0]
    answer = bat.ask(torch.zeros(2, RATE_HZ), QUESTION)
    assert (str(answer), answer.confidence) == ("I hear nothing.", 1.0)
    assert answer.notes == perception.notes


class SlotEncoder(EchoEncoder):
    """Two slots that are as active as they are told to be."""

    activity = (-3.0, -2.0)

    def forward(self, waveform: torch.Tensor) -> Encoding:
        encoding = super().forward(waveform)
        assert encoding.class_logits is not None
        activity = torch.tensor([self.activity]).expand(len(waveform), -1)
        encoding.slots = SlotEncoding(activity, encoding.class_logits[:, None].expand(-1, 2, -1))
        return encoding


def test_where_no_slot_holds_a_source_nothing_is_heard() -> None:
    encoder = SlotEncoder(EchoEncoderConfig(token_dim=8))
    bat = Bat(CONFIG, encoder, EchoReasoner(EchoReasonerConfig()))
    assert bat.perceive(clip()).sources == ()
    answer = bat.ask(clip(), QUESTION)
    assert str(answer) == "I hear nothing."
    assert answer.confidence == pytest.approx(1 - 1 / (1 + np.exp(2.0)))
    assert list(bat.stream(clip(), QUESTION)) == ["I hear nothing."]
    encoder.activity = (-3.0, 2.0)
    assert len(bat.perceive(clip(seed=1)).sources) == 1
    assert str(bat.ask(clip(seed=1), QUESTION)) == f"You asked: {QUESTION}"


class Says(EchoReasoner):
    """Answers each question with the next of its replies."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__(EchoReasonerConfig())
        self.replies = list(replies)

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[Reply]:
        return self.replies[: len(questions)]


def test_confidence_is_calibrated_and_too_little_of_it_is_not_sure() -> None:
    """Yes with 0.9 comes true with 0.55 here: less than a fifth of the way from a coin to certainty."""
    yes = Reply("Yes", 0.9, [("Yes", 0.9), ("No", 0.1)])
    place = Reply("left, front, above; 2m", 0.3)
    config = replace(
        CONFIG,
        thresholds=Thresholds(unsure=0.2),
        calibration=Calibration(answers={"yes_no": Curve(0.0, float(np.log(0.55 / 0.45)))}),
    )
    bat = Bat(config, EchoEncoder(EchoEncoderConfig(token_dim=8)), Says(yes, place))
    doubtful, sure = bat.ask(clip(), ["Is it?", "Where is it?"])
    assert doubtful.confidence == pytest.approx(0.55)
    assert dict(doubtful.alternatives) == {"Yes": pytest.approx(0.55), "No": pytest.approx(0.45)}
    assert (str(doubtful), doubtful.spoken, doubtful.sure) == ("Yes", "not sure; perhaps Yes", False)
    assert (sure.spoken, sure.confidence, sure.sure) == ("left, front, above; 2m", 0.3, True)
    assert doubtful.to_dict()["sure"] is False


def test_what_cannot_be_told_is_said_so_and_the_text_stays_a_guess() -> None:
    """The part that is told is weighed by its own confidence; what claims nothing is never "perhaps"."""
    place = Reply("left, behind, above; 2m", 0.3, plain=("left, above; in front or behind I cannot tell; 2m", 0.6))
    faint = Reply("left, behind, above; 2m", 0.1, plain=("left, above; in front or behind I cannot tell; 2m", 0.2))
    side = Reply("behind", 0.51, [("behind", 0.51), ("front", 0.49)], plain=("in front or behind I cannot tell", None))
    confused = Reply("I did not understand the question.", 0.0)
    absent = Reply("left, front, above; 2m", 0.9, sure=False)
    bat = Bat(
        replace(CONFIG, thresholds=Thresholds(unsure=0.2)),
        EchoEncoder(EchoEncoderConfig(token_dim=8)),
        Says(place, faint, side, confused, absent),
    )
    answers = bat.ask(clip(), ["?"] * 5)
    assert [answer.spoken for answer in answers] == [
        "left, above; in front or behind I cannot tell; 2m",
        "not sure; perhaps left, above; in front or behind I cannot tell; 2m",
        "in front or behind I cannot tell",
        "I did not understand the question.",
        "not sure; perhaps left, front, above; 2m",
    ]
    assert [answer.text for answer in answers[:3]] == [str(place), str(faint), "behind"]
    assert not any(answer.sure or answer.to_dict()["sure"] for answer in answers)


def test_notes_about_the_input_reach_perception_and_answer(bat: Bat) -> None:
    short = clip(seconds=0.1)
    assert "very short" in bat.perceive(short).notes[0]
    assert "very short" in bat.ask(short, QUESTION).notes[0]


@pytest.mark.parametrize("question", ["", "  ", ["What?", ""], [3]])
def test_an_empty_question_is_refused(bat: Bat, question: Any) -> None:
    with pytest.raises(BadInput, match="a question is empty: ask something like"):
        bat.ask(clip(), question)


class Sure(EchoReasoner):
    """Says how sure it is, or not."""

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[str]:  # type: ignore[override]
        return [Reply("Yes", 0.75, (("Yes", 0.75), ("No", 0.25))), "plain text"][: len(questions)]


def test_confidence_and_alternatives_come_from_the_reasoner() -> None:
    bat = Bat(CONFIG, EchoEncoder(EchoEncoderConfig()), Sure(EchoReasonerConfig()))
    yes, plain = bat.ask(clip(), ["Is it?", "What?"])
    assert yes.to_dict()["confidence"] == 0.75
    assert yes.to_dict()["alternatives"] == {"Yes": 0.75, "No": 0.25}
    assert (str(plain), plain.confidence, plain.to_dict()["confidence"]) == ("plain text", None, None)
    json.dumps([yes.to_dict(), plain.to_dict()])


# --- what is computed, and when ---


def test_the_sound_is_encoded_once_for_all_its_questions(bat: Bat) -> None:
    first, second = clip(seed=1), clip(seed=2)
    bat.ask(first, [QUESTION] * 5)
    bat.ask(first, "What?")
    bat.perceive(first.copy())
    assert bat.encoder.clips == 1  # type: ignore[attr-defined]
    bat.ask(second, QUESTION)
    assert bat.encoder.clips == 2  # type: ignore[attr-defined]
    bat.ask(np.stack((first, second)), [QUESTION] * 3)
    assert bat.encoder.clips == 4  # type: ignore[attr-defined]


def test_the_same_samples_in_another_shape_are_another_sound(bat: Bat) -> None:
    """One clip of two seconds and two clips of one have the same bytes; the encoding of one was given for both."""
    one = clip(0.5, 0.1, seconds=2.0)
    two = one.reshape(2, 2, RATE_HZ)
    assert len(bat.perceive(one[None])) == 1
    assert len(bat.perceive(two)) == 2
    assert [p.sources[0].azimuth_deg for p in bat.perceive(two)] == [90.0, 90.0]


def test_silence_is_not_even_encoded_for_questions(bat: Bat) -> None:
    bat.ask(np.zeros((2, RATE_HZ), np.float32), QUESTION)
    assert bat.encoder.clips == 0  # type: ignore[attr-defined]


def test_parts_are_in_evaluation_mode_and_no_gradient_is_kept(bat: Bat) -> None:
    assert not bat.encoder.training  # type: ignore[attr-defined]
    assert not bat.reasoner.training  # type: ignore[attr-defined]
    bat.perceive(clip())
    assert bat._last is not None
    assert not bat._last[1].tokens.requires_grad


def test_perceiving_never_loads_the_reasoner() -> None:
    def explode() -> EchoReasoner:
        raise WeightsError("loaded")

    bat = Bat(CONFIG, EchoEncoder(EchoEncoderConfig()), explode)
    assert bat.perceive(clip()).sources
    assert str(bat.ask(torch.zeros(2, RATE_HZ), QUESTION)) == "I hear nothing."
    with pytest.raises(WeightsError, match="loaded"):
        bat.ask(clip(), QUESTION)


class NoModule:
    """A reasoner that is no ``torch.nn.Module``."""

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[str]:
        return ["fine"] * len(questions)

    def loss(self, *_: Any) -> torch.Tensor:
        return torch.zeros(())


def test_a_reasoner_without_parameters_need_not_be_a_module() -> None:
    assert str(Bat(CONFIG, EchoEncoder(EchoEncoderConfig()), NoModule()).ask(clip(), QUESTION)) == "fine"


# --- another encoder ---


def test_with_another_encoder_rules_answer(bat: Bat, tmp_path: Path) -> None:
    other = bat.with_encoder("echo", threshold_db=40.0)
    sound = clip(0.5, 0.1)
    assert bat.perceive(sound).sources[0].azimuth_deg == 180.0
    assert other.perceive(sound).sources[0].azimuth_deg == 90.0  # 14 dB are not lateral for these ears
    assert str(bat.with_encoder("echo").ask(sound, "Is the sound on the left or on the right?")).lower() == "left"
    assert other.config.encoder == {"name": "echo", "options": {"threshold_db": 40.0}}
    other.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again.perceive(sound) == other.perceive(sound)
    assert isinstance(again.perceive(sound), Perception)
    assert again.ask(sound, QUESTION) == other.ask(sound, QUESTION)


def test_another_encoder_takes_its_own_weights(bat: Bat, tmp_path: Path) -> None:
    torch.nn.init.constant_(bat.encoder.sharpness, 0.9)  # type: ignore[attr-defined]
    bat.save_pretrained(tmp_path)
    other = bat.with_encoder("echo", weights=str(tmp_path / "encoder"))
    assert other.encoder.sharpness.item() == pytest.approx(0.9)  # type: ignore[attr-defined]
    assert other.config.thresholds == bat.config.thresholds


# --- another reasoner ---


def test_with_another_reasoner_the_same_ears_answer(bat: Bat, tmp_path: Path) -> None:
    other = bat.with_reasoner("rules", label=0.25)
    assert other.encoder is bat.encoder
    assert str(other.ask(clip(0.5, 0.1), "Is the sound on the left or on the right?")) == "left"
    assert str(bat.ask(clip(0.5, 0.1), QUESTION)) == f"You asked: {QUESTION}"  # the first one stays as it was
    # The width is kept; thresholds are the model's, unless given, and told again when it is loaded.
    assert other.config.reasoner == {"name": "rules", "options": {"token_dim": 8, "label": 0.25}}
    told = other.reasoner.config  # type: ignore[attr-defined]
    assert (told.label, told.activity, told.heard) == (0.25, 0.5, 0.0)
    assert {axis: getattr(told, axis) for axis in AXES} == dict.fromkeys(AXES, 0.5)
    other.save_pretrained(tmp_path)
    assert load(tmp_path).ask(clip(), QUESTION) == other.ask(clip(), QUESTION)


def test_another_reasoner_takes_its_own_weights(bat: Bat, tmp_path: Path) -> None:
    bat.save_pretrained(tmp_path)
    assert str(bat.with_reasoner("echo", weights=str(tmp_path / "reasoner")).ask(clip(), QUESTION)).endswith(QUESTION)
    with pytest.raises(WeightsError, match="nowhere"):
        bat.with_reasoner("echo", weights=str(tmp_path / "nowhere"))


def test_a_reasoner_that_cannot_be_is_told_before_the_first_question(bat: Bat) -> None:
    with pytest.raises(BadInput, match="unknown reasoner 'rule', expected one of 'rules'"):
        bat.with_reasoner("rule")
    with pytest.raises(BadInput, match="no option 'lable', expected one of 'label'"):
        bat.with_reasoner("rules", lable=0.5)
    with pytest.raises(WeightsError, match="there is no language model folder /nowhere/llama"):
        bat.with_reasoner("llama", llm="/nowhere/llama")
    with pytest.raises(WeightsError, match="/nowhere/llama is no folder"):
        bat.with_reasoner("scene-prompt", backend="transformers", model="/nowhere/llama")


def test_a_reasoner_that_was_not_trained_says_so_in_the_notes(bat: Bat) -> None:
    untrained = bat.with_reasoner("llama", tiny_layers=1, num_cls_tokens=1, num_queries=1, max_answer_tokens=2)
    assert "not trained" in untrained.ask(clip(), QUESTION).notes[-1]
    assert not any("not trained" in note for note in bat.ask(clip(), QUESTION).notes)
