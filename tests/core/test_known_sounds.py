"""What a model has never learnt it neither hears nor denies: it says so, with the nearest that it knows."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

import bat_agent
from bat_agent.agent import Bat
from bat_agent.errors import BadInput
from bat_agent.interfaces import NUM_CLASSES, Encoding
from bat_agent.labels import label_index, labels
from bat_agent.questions.families import related
from bat_agent.questions.relatives import nearest_classes
from bat_agent.sound.synthesis import synthesise
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.reasoner import RulesReasoner
from bat_agent_rules.vocabulary import sounding

Run = Callable[..., tuple[int, str, str]]
KNOWN = ("Dog", "Bark", "Speech", "Snare drum", "Helicopter")


@pytest.fixture(scope="module")
def shipped() -> Bat:
    return bat_agent.load("bat-small")


def heard(**shares: float) -> Encoding:
    logits = torch.full((1, NUM_CLASSES), -8.0)
    for name, share in shares.items():
        logits[0, label_index()[name]] = np.log(share / (1 - share))
    return Encoding(torch.zeros(1, 4, 8), logits)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Do you hear a piano?", "I do not know how a piano sounds; the nearest I know is snare drum."),
        ("Where is the cat?", "I do not know how a cat sounds; the nearest I know is bark."),
        ("Is the siren on my right?", "I do not know how a siren sounds; the nearest I know is"),
        ("Is the dog closer than the accordion?", "I do not know how an accordion sounds; the nearest I know is"),
    ],
)
def test_a_sound_that_was_never_learnt_is_neither_heard_nor_denied(question: str, answer: str) -> None:
    """It was ``No`` or ``not heard``, both with confidence 1.00."""
    (reply,) = RulesReasoner(RulesConfig(known=KNOWN)).answer(heard(Dog=0.9), [question])
    assert str(reply).startswith(answer)
    assert reply.confidence == 0.0
    assert {name for name, _ in reply.alternatives} <= {name.lower() for name in KNOWN}


def test_what_was_learnt_is_answered_as_before() -> None:
    knowing, all_of_them = (RulesReasoner(RulesConfig(known=known)) for known in (KNOWN, ()))
    for question in ("Do you hear a dog?", "Is there speech?", "What do you hear?", "Do you hear barking?"):
        assert knowing.answer(heard(Dog=0.9), [question]) == all_of_them.answer(heard(Dog=0.9), [question])


def test_an_unknown_name_among_the_known_is_refused() -> None:
    with pytest.raises(BadInput, match="Unicorn"):
        RulesConfig(known=("Dog", "Unicorn"))


@pytest.mark.parametrize("label", ["Cat", "Piano", "Fixed-wing aircraft, airplane", "Female speech, woman speaking"])
def test_the_nearest_is_a_relative_where_there_is_one(label: str) -> None:
    first = nearest_classes(label, KNOWN)[0]
    kin = [name for name in KNOWN if related(label, name)]
    assert not kin or first in kin
    assert nearest_classes("Glass", KNOWN)  # of no realm that is known: still one


def test_names_stand_in_a_sentence() -> None:
    said = {name: sounding(name) for name in labels()}
    assert said["Piano"] == "a piano sounds"
    assert said["Accordion"] == "an accordion sounds"
    assert said["Music"] == "music sounds"
    assert said["Walk, footsteps"] == "a walk sounds"
    assert said["Dishes, pots, and pans"] == "dishes sound"
    assert said["Glass"] == "a glass sounds"


def test_the_shipped_model_says_what_it_knows(shipped: Bat) -> None:
    """As many as its card lists, in the order of the table."""
    assert len(shipped.labels) == 36
    assert [label_index()[name] for name in shipped.labels] == sorted(label_index()[name] for name in shipped.labels)
    siren = synthesise("Siren", np.random.default_rng(0))[:64_000]
    ears = 0.3 * np.stack([siren, 0.5 * np.roll(siren, 12)]).astype(np.float32)
    answer = shipped.ask(ears, "Do you hear a piano?")
    assert answer.text.startswith("I do not know how a piano sounds")
    assert (answer.sure, answer.spoken) == (False, answer.text)
    assert {name for name, _ in answer.alternatives} <= {name.lower() for name in shipped.labels}
    assert "I do not know" not in shipped.ask(ears, "Do you hear a dog?").text


def test_another_encoder_counts_as_knowing_all(shipped: Bat) -> None:
    assert shipped.with_encoder("echo").labels == labels()
    told = shipped.with_reasoner("rules").ask(np.full((2, 32_000), 0.0, np.float32), "Do you hear a piano?")
    assert told.text == "I hear nothing."


def test_the_command_lists_them(run: Run) -> None:
    code, out, err = run("perceive", "--known")
    assert (code, err) == (0, "")
    assert out.startswith("36 sounds:\n  Applause\n")
    assert len(json.loads(run("perceive", "--known", "--json")[1])) == 36
    code, out, err = run("perceive")
    assert (code, out) == (2, "")
    assert "--known" in err
