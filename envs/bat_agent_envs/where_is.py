"""``WhereIs-v0``: a question about two sounds, to be answered from wherever the agent has walked to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.labels import class_number, labels
from bat_agent.questions import HeardSource, QuestionType, compatible, from_scene, generate
from bat_agent.questions.answers import AXES, YES_NO, parse_location, parse_yes_no
from bat_agent.questions.verify_reading import SIDES, Reading
from bat_agent.questions.verify_truth import coordinates
from bat_agent.scene import Scene
from bat_agent_envs.navigation import RIGHT, NavigationEnv
from bat_agent_envs.world import World

Asked = Literal["yes_no", "region"]
TYPES: dict[str, tuple[QuestionType, ...]] = {
    "yes_no": (QuestionType.MIXUP_DIRECTION, QuestionType.MIXUP_DISTANCE_BOTH),
    "region": (QuestionType.MIXUP_SINGLE_DOA,),
}
"""Types of questions (BAT, table 1) by what their answers are."""
KINDS = ("locate_named", "both", "pair", "relation", "closer", "farther")
"""What a question asks; the first number of its encoding."""
WORDS = tuple(SIDES)
"""The directions that a question may say."""
REGIONS = tuple(", ".join(words) for words in product(*AXES.values()))
ANSWERS = (*YES_NO, *REGIONS)
"""What may be answered, in the order of the actions after the moves."""
MOVES = RIGHT + 1
"""How many actions move: ahead, left, right."""
_HEADINGS_TRIED, _WORLDS_TRIED = 60, 50


@dataclass(frozen=True)
class Query:
    """What a question asks, apart from its words."""

    kind: str
    """One of :data:`KINDS`."""
    text: str
    named: tuple[int, ...]
    """Numbers of the sources, in the order in which they are named."""
    words: tuple[str, ...]
    """The directions it says, in order."""

    def encoded(self, scene: Scene) -> NDArray[np.int64]:
        """(5,): kind, class of the first and of the second name, first and second direction; behind the last: none."""
        classes = [class_number(scene.sources[number].labels[0]) for number in self.named]
        words = [WORDS.index(word) for word in self.words]
        classes += [len(labels())] * (2 - len(classes))
        words += [len(WORDS)] * (2 - len(words))
        return np.array([KINDS.index(self.kind), *classes, *words], np.int64)

    def answer(self, sources: Sequence[HeardSource]) -> str:
        """The true answer, one of :data:`ANSWERS`, where the sources are heard so."""
        heard = [sources[number] for number in self.named]
        if self.kind == "locate_named":
            return heard[0].position.region
        points = [coordinates(source) for source in heard]
        return YES_NO[not self._holds(points)]

    def _holds(self, points: list[tuple[float, float, float]]) -> bool:
        if self.kind in ("closer", "farther"):
            near, far = points if self.kind == "closer" else points[::-1]
            return math.hypot(*near) < math.hypot(*far)
        if self.kind == "relation":
            return _reach(points[0], self.words[0]) > _reach(points[1], self.words[0])
        # One direction for both, or one for each.
        return all(_reach(point, word) > 0 for point, word in zip(points, self.words * 2, strict=False))


class WhereIsEnv(NavigationEnv):
    """Answer a question about two things that sound, after as many looks around as ``max_steps`` allows.

    Observation: as :class:`~bat_agent_envs.audio_goal.AudioGoalEnv`, and ``question``, MultiDiscrete (5,): what is
    asked (of :data:`KINDS`), the classes of the sounds it names (of ``bat_agent.labels.labels()``; 355: no second one)
    and the directions it says (of :data:`WORDS`; 6: none). ``info["question"]`` is its text, made by
    :mod:`bat_agent.questions`, in words that ``bat-small`` was not trained with. Actions: 0 ahead, 1 turn left, 2 turn
    right, then one for each of :data:`ANSWERS`: ``Yes``, ``No`` and eight regions such as ``left, front, above``. An
    answer ends the episode, with reward 1 if it is true where the agent now stands and faces (the text never changes,
    its answer may: ``info["truth"]["answer"]``), else 0. Moves cost nothing; ``max_steps`` of them end the episode.
    ``info["episode_metrics"]`` holds ``success``, ``answered`` and ``na``, the number of actions.

    Args:
        asked: What is asked about: ``yes_no``, ``region`` or both; each type of question is as likely.
        max_steps: Actions after which an episode without an answer is cut short.
        options: Those of :class:`~bat_agent_envs.navigation.NavigationEnv`; actions are discrete.
    """

    num_sources = 2

    def __init__(self, *, asked: Sequence[Asked] = ("yes_no", "region"), max_steps: int = 20, **options: Any) -> None:
        if not asked or isinstance(asked, str) or not set(asked) <= set(TYPES):
            raise BadInput(f"asked must be a list of some of {', '.join(TYPES)}, got {asked!r}")
        self._types = [kind for name in asked for kind in TYPES[name]]
        super().__init__(max_steps=max_steps, **options)
        if not self._discrete:
            raise BadInput("WhereIs-v0 has discrete actions only, as answers are; leave out action_space")

    def _actions(self) -> gym.Space[Any]:
        """Moves, then answers."""
        return gym.spaces.Discrete(MOVES + len(ANSWERS))

    def _spaces(self) -> dict[str, gym.Space[Any]]:
        classes, words = len(labels()) + 1, len(WORDS) + 1
        question = gym.spaces.MultiDiscrete([len(KINDS), classes, classes, words, words])
        return {**super()._spaces(), "question": question}

    def _draw_world(self, named: list[tuple[str, ...]]) -> World:
        """A world that can be asked about from where the agent begins."""
        for _ in range(_WORLDS_TRIED):
            world = super()._draw_world(named)
            for _ in range(_HEADINGS_TRIED):
                if (query := self._ask(world)) is not None:
                    self.query = query
                    return world
                # Two sounds close to one another are told apart from few headings, or from none.
                world.heading_deg = float(self.np_random.uniform(0, 360))
        raise BadInput(
            f"nothing can be asked about the sounds of any of {_WORLDS_TRIED} rooms: take larger rooms "
            "(simulator_options), or another library of sounds"
        )

    def _ask(self, world: World) -> Query | None:
        heard = from_scene(world.heard_from_here())
        if not compatible(*heard):
            return None
        made = generate(heard, self._types, self.np_random, 1, split="eval", typed=False)
        if not made:
            return None
        reading = Reading(made[0].text, heard)
        return Query(
            made[0].kind.partition(".")[0], made[0].text, tuple(reading.called),
            tuple(side.word for side in reading.sides),
        )  # fmt: skip

    def _extra(self) -> dict[str, Any]:
        return {"question": self.query.encoded(self.world.scene)}

    def _info(self) -> dict[str, Any]:
        info = super()._info()
        info["truth"]["answer"] = self.query.answer(from_scene(self.world.heard_from_here()))
        return {**info, "question": self.query.text}

    def _caption(self) -> str:
        return f"{self._soundscape.time_s:.2f} s   {self.query.text}"

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Move, or answer and be done; either takes ``step_s`` seconds."""
        answered, right, collided = int(action) >= MOVES, False, False
        if answered:
            true = self.query.answer(from_scene(self.world.heard_from_here()))
            right = ANSWERS[int(action) - MOVES] == true
        else:
            collided, _ = self._move(action)
        self._steps += 1
        observation, info = self._observe(collided), self._info()
        truncated = not answered and self._steps >= self.max_steps
        if answered or truncated:
            measures = {"success": right, "answered": answered, "na": self._steps}
            info["episode_metrics"] = {name: float(value) for name, value in measures.items()}
        return observation, float(right), answered, truncated, info

    @staticmethod
    def action_of(answer: str) -> int:
        """The action that gives an answer in words, such as a language model's ``left, front, above; 2.5m``.

        Raises :class:`~bat_agent.errors.BadInput` for what is neither yes or no nor a region.
        """
        said = parse_yes_no(answer)
        if said is not None:
            return MOVES + ANSWERS.index(YES_NO[not said])
        # A place is read with its distance alone; a bare region gets one.
        place = parse_location(answer) or parse_location(f"{answer}; 1m")
        if place is None:
            raise BadInput(f"expected yes, no or a region such as {REGIONS[0]!r}, got {answer!r}")
        return MOVES + ANSWERS.index(place[0])


def _reach(point: tuple[float, float, float], word: str) -> float:
    """How far a point lies in a direction, metres."""
    axis, sign = SIDES[word]
    return sign * point[axis]
