"""The typed query over a scene: its text form, what it refuses, and what is true of it, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.questions import HeardSource
from bat_agent.questions.free import KINDS, Query, answer, read_query
from bat_agent.questions.free.fixed import fixed_records
from bat_agent.scene import Position

DOG = HeardSource(("Dog", "Bark"), Position(180.0, 0.0, 2.0))  # left, at ear level
RAIN = HeardSource(("Rain",), Position(60.0, 40.0, 4.0))  # front, a little right, above
BELL = HeardSource(("Bell",), Position(300.0, -30.0, 1.0))  # behind, a little right, below
VOICE = HeardSource(("Speech",), Position(135.0, 0.0, 3.0))
CAR = HeardSource(("Car",), Position(90.0, 0.0, 4.0), Position(20.0, 0.0, 1.5))  # comes closer, to the right


@pytest.mark.parametrize("split", ["train", "eval"])
def test_text_and_query_are_each_others_inverse(split: str) -> None:
    records = fixed_records(300, 3, split=split, moving=True, most_sources=4)  # type: ignore[arg-type]
    queries = [read_query(record.query or "") for record in records]
    assert [str(query) for query in queries] == [record.query for record in records]
    assert {query.kind for query in queries} == set(KINDS)
    assert read_query("  IS SIDE: Dog;  side left ; turn right 90 ") == Query(
        "is side", ("dog",), ("left",), turn_deg=-90
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no query is of the kind ''"),
        ("wherefore: dog", "no query is of the kind 'wherefore'"),
        ("where", r"has 1 sound\(s\)"),
        ("where: dog & rain", r"has 1 sound\(s\)"),
        ("where: ", r"has 1 sound\(s\)"),
        ("is side: dog", "has 2 side"),
        ("is side: dog; side up", "has 2 side"),
        ("side: dog", "lacks, or has no use for, axis"),
        ("side: dog; axis right left", "the axis of a query is one of"),
        ("compare: dog & rain; word nearest", "the word of a query 'compare' is one of closer"),
        ("is within: dog; limit far", "'limit far' of the query .* was not understood"),
        ("is within: dog; limit 2m; limit 3m", "or stands there twice"),
        ("distance: dog; walk up 2m", "'walk up 2m'"),
        ("where: dog; turn left 90", "no use for, turn_deg"),
        ("is side: dog; side left; turn left 900", "turns by 180 degrees at most"),
        ("is side: dog; side left; turn left 90; walk front 2m", "does not walk as well"),
        ("describe; mood good", "'mood good'"),
    ],
)
def test_what_is_no_query_is_told_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as told:
        read_query(text)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("query", "sources", "true"),
    [
        ("what", (DOG, RAIN), "bark; dog; rain"),
        ("what; side left", (DOG, BELL), "bark; dog"),
        ("what; side above", (BELL, VOICE), None),  # speech at ear level is neither above nor below
        ("what; side left", (BELL,), "nothing"),
        ("what; word nearest", (DOG, RAIN, BELL), "bell"),
        ("what; word highest", (BELL, RAIN), "rain"),
        ("what; word loudest", (DOG, RAIN), "bark; dog"),
        ("what; word loudest", (DOG, VOICE), None),  # 2 m and 3 m: less than 6 dB
        ("what else: dog", (DOG, RAIN), "rain"),
        ("is anything else: dog", (DOG,), "No"),
        ("is anything; side behind", (BELL, RAIN), "Yes"),
        ("count", (DOG, RAIN, BELL), "3"),
        ("is several", (DOG,), "No"),
        ("is heard: dog", (DOG,), "Yes"),
        ("is heard: bow-wow", (DOG,), None),  # a dog may well do that
        ("is heard: piano", (DOG,), "No"),
        ("is heard: someone", (VOICE,), "Yes"),
        ("is heard: someone", (DOG,), "No"),
        ("where: rain", (DOG, RAIN), "right, front, above; 4m"),
        ("where: piano", (DOG, RAIN), "not heard"),
        ("where else: dog", (DOG, RAIN), "right, front, above; 4m"),
        ("side: dog; axis left right", (DOG,), "left"),
        ("side: dog; axis above below", (DOG,), None),
        ("is side: rain; side front right", (RAIN,), "Yes"),
        ("is side: dog; side front; turn left 90", (DOG,), "Yes"),
        ("is side: dog; side behind; turn right 90", (DOG,), "Yes"),
        ("side: dog; axis left right; turn around", (DOG,), "right"),
        ("turn: rain", (RAIN,), "right"),
        ("turn degrees: rain", (RAIN,), "30 degrees right"),
        ("turn degrees: dog", (DOG,), "90 degrees left"),
        ("clock: dog", (DOG,), "9 o'clock"),
        ("clock: rain", (RAIN,), "1 o'clock"),
        ("heading: someone", (VOICE,), "front left"),
        ("distance: dog; walk left 1m", (DOG,), "1m"),
        ("distance: dog; walk front 2m", (DOG,), "3m"),  # 2.83 m
        ("is within: dog; limit 2.5m", (DOG,), "Yes"),
        ("is beyond: dog; limit 2.5m", (DOG,), "No"),
        ("is within: dog; limit 2m", (DOG,), None),
        ("gets closer: dog; walk right 1m", (DOG,), "No"),
        ("is safe; side left", (DOG,), None),  # exactly at the edge of 2 m
        ("is safe; side front", (DOG, BELL), "Yes"),
        ("is safe; side behind", (BELL,), "No"),
        ("compare: dog & rain; word closer", (DOG, RAIN), "Yes"),
        ("compare: rain & bell; word higher", (RAIN, BELL), "Yes"),
        ("compare: rain & dog; word left", (RAIN, DOG), "No"),
        ("which: rain & dog; word closer", (RAIN, DOG), "dog"),
        ("difference: dog & rain", (DOG, RAIN), "2m"),
        ("difference: rain & dog", (DOG, RAIN), None),  # it is not nearer
        ("apart: dog & bell", (DOG, BELL), "2.5m"),  # (−2, 0, 0) and (0.43, −0.5, 0.75): 2.59 m
        ("angle: dog & rain", (DOG, RAIN), "120 degrees"),
        ("same side: rain & bell", (RAIN, BELL), "Yes"),
        ("opposite sides: dog & rain", (DOG, RAIN), "Yes"),
        ("am between: dog & rain", (DOG, RAIN), None),
        ("is moving: dog", (DOG,), "No"),
        ("is moving: car", (CAR,), "Yes"),
        ("approach: car", (CAR,), "closer"),
        ("drift: car", (CAR,), "right"),
        ("describe", (RAIN, BELL), "bell: right, behind, below; 1m. rain: right, front, above; 4m"),
        ("cannot be heard", (DOG,), "cannot be heard"),
        ("not about sound", (), "cannot be heard"),
    ],
)
def test_what_is_true(query: str, sources: tuple[HeardSource, ...], true: str | None) -> None:
    found = answer(read_query(query), sources)
    assert (found and found.answer) == true


def test_an_hour_near_its_border_may_be_either() -> None:
    found = answer(read_query("clock: bell"), [HeardSource(("Bell",), Position(73.0, 0.0, 2.0))])
    assert found is not None
    assert {found.answer, *found.accepted} == {"12 o'clock", "1 o'clock"}


def test_a_turned_listener_hears_what_one_with_that_heading_would() -> None:
    """The frame of a listener with a heading, by the converter of scenes, says the same as the query."""
    from bat_agent.questions import from_scene
    from bat_agent.scene import Listener, Room, Scene, Source

    rng = np.random.default_rng(5)
    for _ in range(200):
        turn = (90, -90, 180)[rng.integers(3)]
        at = tuple(float(v) for v in rng.uniform(0.5, 5.5, 3))
        straight, turned = (
            from_scene(Scene(Room((6, 6, 6)), Listener((3, 3, 3), heading), (Source(at, ("Dog",)),)))
            for heading in (0.0, float(turn))
        )
        for side in ("left", "right", "front", "behind"):
            found = answer(Query("is side", ("dog",), (side,), turn_deg=turn), straight)
            if found is not None:
                assert (found.answer == "Yes") == (side in turned[0].position.region)
