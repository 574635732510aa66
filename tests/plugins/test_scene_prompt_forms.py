"""The reasoner `scene-prompt` without a model: the frame it tells, the forms of answers, and what options may say."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import torch

from bat_agent.errors import BadInput
from bat_agent.hearing.perception import Thresholds
from bat_agent.interfaces import Encoding
from bat_agent.scene import Position
from bat_agent_scene_prompt.config import ScenePromptConfig, is_loopback
from bat_agent_scene_prompt.description import describe
from bat_agent_scene_prompt.prompt import SYSTEM
from bat_agent_scene_prompt.reasoner import ScenePromptReasoner
from bat_agent_scene_prompt.replies import tidy


def test_other_classes_are_refused() -> None:
    with pytest.raises(BadInput, match=r"355 classes.*has 527"):
        describe(Encoding(torch.zeros(1, 2, 4), class_logits=torch.zeros(1, 527)), Thresholds())


def test_the_frame_told_is_the_frame_of_the_scene() -> None:
    sides = dict(re.findall(r"(\d+)(?: degrees is)? (right|front|left|behind)", SYSTEM.split("- elevation")[0]))
    assert sides == {"0": "right", "90": "front", "180": "left", "270": "behind"}
    for degrees, side in sides.items():
        # Half a degree on, so that no border decides; an elevation of 0 counts as above.
        assert side in Position(float(degrees) + 0.5 * (side in ("front", "behind")), 1.0, 1.0).region


@pytest.mark.parametrize(
    ("said", "question", "answer"),
    [
        ("Yes.", "Is the dog on your left?", "Yes"),
        ("no", "Is the dog on your left?", "No"),
        ("Yes, the dog is on the left.", "Is the dog on your left?", "Yes"),
        ("No sound is near", "What is near?", "No sound is near"),
        ("<think>\nThe dog is left.\n</think>\n\nLeft.", "Left or right?", "left"),
        ("it is left, so </think> **Left**", "Left or right?", "left"),
        ("<think>It could be", "Left or right?", ""),
        ('"Left, front, above; 2.5 m."', "Where is it?", "left, front, above; 2.5m"),
        ("A dog, left, front, above; 2.5m", "Describe it.", "A dog, left, front, above; 2.5m"),
        ("Answer: 2.5 metres", "How far is it?", "2.5m"),
        ("Dog, Bark.", "What is it?", "bark; dog"),
        ("- Music\n- Male speech, man speaking", "What is it?", "male speech, man speaking; music"),
        ("Male speech, man speaking and dog", "What is it?", "dog; male speech, man speaking"),
        ("Bee, wasp, etc.", "What is it?", "bee, wasp, etc."),
        ("a unicorn", "What is it?", "a unicorn"),
        ("B) dog", "Which is it? A. music; B. dog. Answer with the letter.", "B"),
        ("Dog", "Which is it? A. music; B. dog. Answer with the letter.", "B"),
        ("Azimuth 120°", "At which azimuth?", "azimuth 120 degrees"),
        ("3 o'clock.", "At what o'clock?", "3 o'clock"),
        ("Not heard.", "Where is it, if heard?", "not heard"),
        ("  ", "What is it?", ""),
    ],
)
def test_replies_are_brought_into_form(said: str, question: str, answer: str) -> None:
    assert tidy(said, question) == answer
    assert tidy(answer, question) == answer  # what is in form stays


def test_another_machine_must_be_allowed_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    for address in ("http://192.0.2.7:8000/v1", "https://chat.example.org/v1", "http://127.0.0.1.example.org/v1"):
        with pytest.raises(BadInput, match=r"not on this machine.*sound never does.*remote=true"):
            ScenePromptConfig(base_url=address)
    with caplog.at_level(logging.WARNING):
        ScenePromptReasoner(ScenePromptConfig(base_url="http://192.0.2.7:8000/v1", remote=True))
        assert [record.message.count("never sound") for record in caplog.records] == [1]
        ScenePromptReasoner(ScenePromptConfig())
    assert len(caplog.records) == 1
    hosts = {"localhost": 1, "127.0.0.5": 1, "::1": 1, "::ffff:127.0.0.1": 1, "0.0.0.0": 0, "192.168.0.2": 0, "home": 0}
    assert {host: int(is_loopback(host)) for host in hosts} == hosts


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"backend": "cloud"}, "backend='cloud' is unknown, expected one of server, transformers"),
        ({"backend": "transformers"}, "needs model="),
        ({"backend": "transformers", "model": "m", "remote": True}, "remote belongs to backend=server"),
        ({"dtype": "float32"}, "dtype belongs to backend=transformers"),
        ({"concurrency": 0}, "concurrency=0 is too small"),
        ({"timeout_s": 0.0}, "timeout_s must be a positive number"),
        ({"label": 1.5}, "label must be a probability"),
        ({"base_url": "127.0.0.1:8000"}, "is no address of a server"),
        ({"base_url": "http://localhost:port/v1"}, "base_url is no address"),
        ({"base_url": "http://me:secret@localhost/v1"}, "holds a user name or password"),
        ({"api_key_env": "sk-secret"}, "not the name of an environment variable"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_contradictions_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        ScenePromptConfig(**options)
    assert "secret" not in str(caught.value)
