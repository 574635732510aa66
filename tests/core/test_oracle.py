"""Imagined encodings tell the truth: the rules read it back out of them."""

from __future__ import annotations

import numpy as np
import torch

from bat_agent.clips.mixtures import truth_of
from bat_agent.clips.oracle import oracle_encoding, source_tokens
from bat_agent.questions import HeardSource, QuestionType, compatible, generate
from bat_agent.scene import Position
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.reasoner import RulesReasoner

NAMES = ("Dog", "Siren", "Rain", "Speech", "Knock")


def scene(rng: np.random.Generator) -> list[HeardSource]:
    """Two sources that can be told apart, away from the borders of the regions."""
    while True:
        names = rng.choice(NAMES, 2, replace=False)
        sides = rng.choice([45.0, 135.0, 225.0, 315.0], 2) + rng.integers(-15, 16, 2)
        heights = rng.choice([-30.0, 30.0], 2) + rng.integers(-8, 9, 2)
        metres = rng.integers(1, 15, 2) / 2
        found = [
            HeardSource((str(n),), Position(*map(float, p)))
            for n, *p in zip(names, sides, heights, metres, strict=True)
        ]
        if compatible(*found):
            return found


def test_the_rules_answer_an_oracle_encoding_rightly(rng: np.random.Generator) -> None:
    rules, generator = RulesReasoner(RulesConfig()), torch.Generator().manual_seed(0)
    types = [QuestionType.MIXUP_SINGLE_DOA, QuestionType.MIXUP_SINGLE_CLASSIFICATION, QuestionType.MIXUP_DIRECTION]
    right = []
    for _ in range(40):
        heard = scene(rng)
        questions = generate(heard, types, rng, 6, typed=False)
        encoding = oracle_encoding(truth_of([heard]), 8, 4, generator)
        said = rules.answer(encoding, [question.text for question in questions])
        right += [str(answer) == question.answer for answer, question in zip(said, questions, strict=True)]
    assert np.mean(right) > 0.97


def test_either_slot_may_be_the_louder_one_and_a_seed_repeats() -> None:
    heard = scene(np.random.default_rng(1))
    truth = truth_of([heard] * 200)
    first, again = (oracle_encoding(truth, 8, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.slots is not None
    assert again.slots is not None
    assert torch.equal(first.slots.activity_logits, again.slots.activity_logits)
    louder = (first.slots.activity_logits[:, 0] > first.slots.activity_logits[:, 1]).float().mean()
    assert 0.35 < float(louder) < 0.65


def test_an_absent_source_is_silent_and_tokens_are_empty() -> None:
    encoding = oracle_encoding(truth_of([scene(np.random.default_rng(2))[:1]]), 8, 4, torch.Generator().manual_seed(0))
    assert encoding.slots is not None
    assert (encoding.slots.activity_logits > 0).tolist() == [[True, False]]
    assert encoding.tokens.shape == (1, 4, 8)
    assert not encoding.tokens.any()


def test_oracle_tokens_tell_the_truth_of_each_source_apart() -> None:
    rng = np.random.default_rng(3)
    scenes = [scene(rng) for _ in range(300)]
    truth = truth_of([*scenes, scenes[0][:1]])
    encoding = oracle_encoding(truth, 512, 4, torch.Generator().manual_seed(0), truth_in_tokens=True)
    tokens = source_tokens(truth, 512)
    assert torch.equal(encoding.tokens[:, :2], tokens)
    assert not encoding.tokens[:, 2:].any()
    assert not tokens[-1, 1].any()
    assert torch.equal(tokens[-1, 0], tokens[0, 0])
    # A linear map reads each bin's facts, as the heads of an encoder do.
    heard = tokens[truth.active]
    wanted = torch.nn.functional.one_hot(truth.distance[truth.active], 21).float()
    read = heard @ torch.linalg.lstsq(heard, wanted, driver="gelsd").solution
    assert float((read.argmax(-1) == truth.distance[truth.active]).float().mean()) > 0.97
