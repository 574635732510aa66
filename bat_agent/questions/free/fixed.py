"""Free questions about scenes that are only imagined: a fixed set for validation, and as many as wanted to learn from.

A language model that turns questions into queries needs nothing else: no sound is rendered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.questions.answers import HeardSource
from bat_agent.questions.free.asking import FreeQuestion, ask_free
from bat_agent.questions.free.intents import Intent, intents_for
from bat_agent.questions.free.names_table import SHIPPED
from bat_agent.questions.free.voices import VoiceSplit
from bat_agent.questions.generator import Balance, compatible
from bat_agent.questions.records import QARecord
from bat_agent.scene import Position

SEED = 25
"""Seed of the fixed set."""
COUNT = 640
"""How many questions it has."""
_NEAREST_M, _FARTHEST_M = 0.5, 8.0
_HIGHEST = 0.7  # sine of the elevation, up or down
_TRIES = 5000
_DIGITS = 4


def fixed_records(
    count: int = COUNT,
    seed: int = SEED,
    *,
    split: VoiceSplit = "eval",
    labels: Sequence[str] = SHIPPED,
    most_sources: int = 2,
    moving: bool = False,
) -> list[QARecord]:
    """``count`` free questions, intent after intent, each about an imagined scene of its own.

    Args:
        count, seed: The same numbers give the same questions; fewer of one seed are the first of more.
        split: ``eval``: the voices that are never trained on; ``train`` for the others,
            ``judge`` for those that are not looked at either.
        labels: What may sound, one class a source.
        most_sources: At most so many at once, 2 to 4.
        moving: Whether motion is asked about as well.

    Raises :class:`~bat_agent.errors.BadInput` where the labels do not admit the questions.
    """
    intents = [i for i in intents_for(labels, moving) if min(i.counts) <= most_sources]
    balance = Balance()
    records = []
    for number in range(count):
        scene, asked = _one(intents[number % len(intents)], np.random.default_rng((seed, number)), split, labels,
                            most_sources, balance)  # fmt: skip
        records.append(_record(number, scene, asked))
    return records


def imagine_scene(
    rng: np.random.Generator, count: int, labels: Sequence[str], moving: bool = False
) -> list[HeardSource]:
    """``count`` sources around a listener that may share a clip; all directions and distances from 0.5 to 8 m."""
    sources: list[HeardSource] = []
    for _ in range(_TRIES):
        if len(sources) == count:
            break
        label = labels[int(rng.integers(len(labels)))]
        source = HeardSource((label,), _position(rng), _position(rng) if moving else None)
        if all(compatible(source, other) for other in sources):
            sources.append(source)
    return sources


def _one(
    intent: Intent,
    rng: np.random.Generator,
    split: VoiceSplit,
    labels: Sequence[str],
    most_sources: int,
    balance: Balance,
) -> tuple[list[HeardSource], FreeQuestion]:
    counts = [count for count in intent.counts if count <= most_sources]
    for _ in range(_TRIES):
        moving = intent.moving and bool(rng.integers(2))
        scene = imagine_scene(rng, counts[int(rng.integers(len(counts)))], labels, moving)
        if scene and (asked := ask_free(
            scene, rng, 1, intents=(intent.name,), split=split, known_labels=labels, balance=balance
        )):  # fmt: skip
            return scene, asked[0]
    raise BadInput(f"no question {intent.name!r} was found in {_TRIES} imagined scenes; give more labels")


def _position(rng: np.random.Generator) -> Position:
    elevation_deg = math.degrees(math.asin(rng.uniform(-_HIGHEST, _HIGHEST)))
    distance_m = math.exp(rng.uniform(math.log(_NEAREST_M), math.log(_FARTHEST_M)))
    return Position(
        round(float(rng.uniform(0, 360)), _DIGITS) % 360, round(elevation_deg, _DIGITS), round(distance_m, _DIGITS)
    )


def _record(number: int, scene: Sequence[HeardSource], asked: FreeQuestion) -> QARecord:
    ids: dict[str, str] = {}
    for place in range(len(scene)):
        end = str(place + 1) if place else ""
        ids |= {f"audio_id{end}": f"imagined/{number}-{place}", f"reverb_id{end}": f"imagined/{number}-{place}.npy"}
    return QARecord.from_dict(
        {
            **ids,
            "question_id": number,
            "question_type": asked.type.value,
            "question": asked.text,
            "answer": asked.answer,
            "geometry": [source.to_dict() for source in scene],
            "kind": asked.kind,
            "query": str(asked.query),
        }
    )
