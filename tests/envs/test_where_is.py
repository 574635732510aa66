"""Questions to be answered while walking: the truth is that of where the agent is, by a second opinion."""

from __future__ import annotations

from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.labels import labels
from bat_agent.questions import QARecord, QuestionType, from_scene
from bat_agent.questions.verify import verify
from bat_agent.questions.verify_truth import misfit
from bat_agent_envs import registration
from bat_agent_envs.where_is import ANSWERS, KINDS, MOVES, REGIONS, TYPES, WORDS

registration.register()
TYPE_OF = dict.fromkeys(("both", "pair", "relation"), QuestionType.MIXUP_DIRECTION) | {
    "closer": QuestionType.MIXUP_DISTANCE_BOTH,
    "farther": QuestionType.MIXUP_DISTANCE_BOTH,
    "locate_named": QuestionType.MIXUP_SINGLE_DOA,
}


def make(**options: Any) -> Any:
    return gym.make("bat_agent_envs/WhereIs-v0", disable_env_checker=True, sounds="procedural:2", **options).unwrapped


def second_opinion(env: Any, text: str, answer: str, distance: str) -> str | None:
    """What is wrong with an answer, as told by code that shares nothing with what asks."""
    heard = tuple(from_scene(env.scene))
    kind = env.query.kind
    full = f"{answer}; {distance}" if kind == "locate_named" else answer
    record = QARecord(
        question_id=0, audio_id="a", reverb_id="b", audio_id2="c", reverb_id2="d", question_type=TYPE_OF[kind].value,
        question=text, answer=full, geometry=heard,
    )  # fmt: skip
    return verify(record)


def test_truth_follows_the_agent_and_only_one_answer_is_right() -> None:
    env, kinds, truths, checked, changed = make(max_steps=50), Counter(), Counter(), 0, 0
    rng = np.random.default_rng(0)
    for seed in range(25):
        _, info = env.reset(seed=seed)
        text, first = info["question"], info["truth"]["answer"]
        kinds[env.query.kind] += 1
        truths[first] += 1
        for _ in range(6):
            *_, info = env.step(int(rng.integers(MOVES)))
            assert info["question"] == text
            changed += info["truth"]["answer"] != first
            heard = from_scene(env.scene)
            if misfit(heard):  # the second opinion declines where both lie in one region
                continue
            metres = f"{round(2 * heard[env.query.named[0]].position.distance_m) / 2:g}m"
            possible = REGIONS if env.query.kind == "locate_named" else ("Yes", "No")
            right = [answer for answer in possible if second_opinion(env, text, answer, metres) is None]
            assert right == [info["truth"]["answer"]]
            checked += 1
    assert checked > 60
    assert changed > 20
    assert len(kinds) >= 5
    assert min(truths["Yes"], truths["No"]) >= 3


def test_the_right_answer_is_rewarded_and_any_other_is_not() -> None:
    env = make()
    for number in range(len(ANSWERS)):
        _, info = env.reset(seed=7)
        _, reward, terminated, truncated, end = env.step(MOVES + number)
        assert (terminated, truncated) == (True, False)
        assert reward == float(ANSWERS[number] == info["truth"]["answer"])
        assert end["episode_metrics"] == {"success": reward, "answered": 1.0, "na": 1.0}


def test_no_answer_is_no_success() -> None:
    env = make(max_steps=2)
    env.reset(seed=0)
    assert env.step(1)[2:4] == (False, False)
    _, reward, terminated, truncated, info = env.step(1)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["episode_metrics"] == {"success": 0.0, "answered": 0.0, "na": 2.0}


def test_the_encoding_says_what_the_text_says() -> None:
    env = make()
    for seed in range(12):
        observation, info = env.reset(seed=seed)
        kind, first, second, *words = observation["question"].tolist()
        text = info["question"].lower()
        named = [labels()[number].lower() for number in (first, second) if number < len(labels())]
        assert len(named) == (1 if KINDS[kind] == "locate_named" else 2)
        assert all(name in text for name in named)
        assert len(named) == 1 or text.index(named[0]) < text.index(named[1])
        assert sum(word < len(WORDS) for word in words) == {"both": 1, "relation": 1, "pair": 2}.get(KINDS[kind], 0)


@pytest.mark.parametrize("asked", list(TYPES))
def test_only_what_is_wanted_is_asked(asked: str) -> None:
    env = make(asked=[asked])
    for seed in range(6):
        _, info = env.reset(seed=seed)
        assert (info["truth"]["answer"] in ("Yes", "No")) == (asked == "yes_no")


def test_answers_in_words_become_actions() -> None:
    env = make()
    assert env.action_of("Yes") == MOVES
    assert env.action_of("no.") == MOVES + 1
    for answer in ("left, behind, above; 2.5m", "left, behind, above"):
        assert ANSWERS[env.action_of(answer) - MOVES] == "left, behind, above"
    with pytest.raises(BadInput, match="expected yes, no or a region"):
        env.action_of("not heard")


@pytest.mark.parametrize(
    ("options", "what"),
    [({"asked": []}, "yes_no, region"), ({"asked": "yes_no"}, "list"), ({"action_space": "continuous"}, "discrete")],
)
def test_wrong_arguments_are_told_in_a_sentence(options: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        make(**options)
