"""Rules understand questions as people type them, and say what they do not understand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.labels import label_index
from bat_agent.questions import HeardSource
from bat_agent.scene import Position
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.reasoner import NOT_UNDERSTOOD, RulesReasoner

SURE = 40.0  # a logit that leaves nothing to its rivals

DOG = HeardSource(("Dog", "Bark"), Position(150.0, -20.0, 2.0))  # left, front, below

MUSIC = HeardSource(("Music",), Position(20.0, 10.0, 4.5))  # right, front, above


@pytest.fixture
def reasoner() -> RulesReasoner:
    return RulesReasoner(RulesConfig(token_dim=8))


def one_hot(index: int, bins: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(index), bins) * SURE


def class_logits(names: Sequence[str]) -> torch.Tensor:
    logits = torch.full((355,), -SURE)
    logits[[label_index()[name] for name in names]] = SURE
    return logits


def heads(source: HeardSource) -> dict[str, torch.Tensor]:
    """The four heads for one source, each without a batch axis; bins as in training."""
    azimuth_deg, elevation_deg, distance_m = source.position
    return {
        "class_logits": class_logits(source.labels),
        "distance_logits": one_hot(round(2 * distance_m), 21),
        "azimuth_logits": one_hot(round(azimuth_deg) % 360, 360),
        "elevation_logits": one_hot(min(round(elevation_deg) + 90, 179), 180),
    }


def encode(sources: Sequence[HeardSource], slots: int = 3) -> Encoding:
    """What a perfect encoder says; without slots (0) it hears the first source. Slots are in reverse order."""
    single = {name: head[None] for name, head in heads(sources[0]).items()}
    if not slots:
        return Encoding(torch.zeros(1, 2, 4), **single)
    nothing = {"class_logits": class_logits(()), "distance_logits": 21, "azimuth_logits": 360, "elevation_logits": 180}
    empty = {name: torch.zeros(bins) if isinstance(bins, int) else bins for name, bins in nothing.items()}
    filled = [empty] * (slots - len(sources)) + [heads(source) for source in reversed(sources)]
    stacked = {name: torch.stack([slot[name] for slot in filled])[None] for name in empty}
    activity = torch.tensor([[-SURE] * (slots - len(sources)) + [8.0 - 2 * i for i in range(len(sources))][::-1]])
    return Encoding(torch.zeros(1, 2, 4), **single, slots=SlotEncoding(activity, **stacked))


EVERYDAY = {
    "Is the dog left of the stereo?": "Yes",
    "where's the dog": "left, front, below; 2m",
    "wheres the barking dog": "left, front, below; 2m",
    "Could you please tell me where the dog is?": "left, front, below; 2m",
    "Where is it?": "right, front, above; 4.5m",
    "which side is the sound on": "right",
    "Is the sound coming from your left or your right?": "right",
    "left or right?": "right",
    "Is it right or left?": "right",
    "Does the sound come from up or down?": "above",
    "is the dog to my left": "Yes",
    "isn't the dog on the left?": "Yes",
    "is the dog right in front of you": "Yes",
    "Is it behind me?": "No",
    "Do you hear a dog on the right-hand side?": "No",
    "Is anything on your left?": "Yes",
    "what do you hear": "bark; dog; music",
    "What's that?": "bark; dog; music",
    "What's on your left?": "bark; dog",
    "What is to the left of the music": "bark; dog",
    "dog?": "Yes",
    "Is a dog barking?": "Yes",
    "Hear any cats?": "No",
    "how far away is the sound on the left?": "2m",
    "what's the distance to the dog": "2m",
    "who is closer, the dog or the music?": "dog",
    "Is the dog or the music closer?": "dog",
    "which sound is farthest": "music",
    "which one is on the right, the dog or the music?": "music",
    "which side of the music is the dog on?": "left",
    "Is the dog on the left or right side of the music?": "left",
    "is the dog in front of or behind the music": "behind",
    "are the dog and the music on the left": "No",
    "Is the dog on the left and the music on the right?": "Yes",
    "Is the dog on the right and the music on the left?": "No",
}


@pytest.mark.parametrize("question", EVERYDAY)
def test_everyday_questions(reasoner: RulesReasoner, question: str) -> None:
    """A dog barks at the left, 2 m away; music, the stronger source, plays at the right, 4.5 m away."""
    (reply,) = reasoner.answer(encode([MUSIC, DOG]), [question])
    assert str(reply) == EVERYDAY[question]
    assert reply.confidence is not None
    assert reply.confidence > 0.95


UNKNOWN = """
What is the capital of France? / Where is the unicorn? / Is the unicorn behind you?
Where is the sound of the unicorn coming from? / Is the dog left of the unicorn? / Is the unicorn left of the dog?
Is the dog closer than the unicorn? / Is the dog not on the left? / Is the dog hungry? / Why is the dog barking?
How loud is the dog? / Is the sound left and right? / Where are you? / Turn left. / ?!
"""


@pytest.mark.parametrize("question", ["", *UNKNOWN.strip().replace("\n", " / ").split(" / ")])
def test_what_it_does_not_understand_it_says(reasoner: RulesReasoner, question: str) -> None:
    """A sound that is no class, a negation or another subject is not answered as if it were something known."""
    (reply,) = reasoner.answer(encode([MUSIC, DOG]), [question])
    assert (str(reply), reply.confidence) == (NOT_UNDERSTOOD, 0.0)
