"""The verifier of records against the generator, against spoiled records, and against truths worked out by hand."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bat_agent.labels import labels
from bat_agent.questions import (
    HeardSource,
    QARecord,
    Question,
    QuestionType,
    compatible,
    generate,
    generator,
    mirror,
    wordings,
)
from bat_agent.questions.grammar import WORDINGS
from bat_agent.questions.records import RELEASED_TYPES
from bat_agent.questions.verify import verify
from bat_agent.questions.verify_reading import directions_in, norm
from bat_agent.scene import Position, mirror_azimuth_deg

TYPES = (*RELEASED_TYPES, QuestionType.PLAIN)
YES_NO_KINDS = ("both", "pair", "relation", "closer", "farther", "is_side", "presence")


def draw_source(rng: np.random.Generator) -> HeardSource:
    names = tuple(rng.choice(labels(), size=rng.integers(1, 4), replace=False).tolist())
    elevation_deg = math.degrees(math.asin(rng.uniform(-1, 1)))
    return HeardSource(names, Position(rng.uniform(0, 360), elevation_deg, rng.uniform(0.1, 10)))


def draw_sources(rng: np.random.Generator) -> list[HeardSource]:
    while True:
        sources = [draw_source(rng) for _ in range(rng.integers(1, 3))]
        if len(sources) == 1 or compatible(*sources):
            return sources


def of_question(question: Question, sources: list[HeardSource]) -> QARecord:
    second = ("train/audio/y", "s/1.npy") if len(sources) == 2 else (None, None)
    asked = (question.type.value, question.text, question.answer)
    return QARecord("train/audio/x", "s/0.npy", *second, 0, *asked, geometry=tuple(sources), kind=question.kind)


def drawn(seed: int, scenes: int, n: int = 10) -> Iterator[QARecord]:
    rng = np.random.default_rng(seed)
    for number in range(scenes):
        sources = draw_sources(rng)
        split = ("train", "eval", "all")[number % 3]
        for question in generate(sources, TYPES, rng, n, split=split, simple=number % 10 == 9):  # type: ignore[arg-type]
            yield of_question(question, sources)


# --- what is true is found true ---


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_generated_records_are_true(seed: int) -> None:
    for item in drawn(seed, 40):
        assert verify(item) is None, item


def test_every_type_and_kind_is_among_them() -> None:
    items = list(drawn(0, 400))
    assert {item.type for item in items} == set(TYPES)
    assert {str(item.kind).split(".")[0] for item in items} >= {
        *YES_NO_KINDS, "detect", "detect_at", "locate", "locate_named", "which_side_of", "between", "source_on",
        "side", "which_side", "distance", "which_closer", "which_farther",
    }  # fmt: skip


@pytest.mark.parametrize("kind", WORDINGS)
def test_every_wording_is_read(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, kind: str) -> None:
    """Each template in turn is the only one there is, as it stands and as people type it."""
    for template in wordings(kind, "all"):
        monkeypatch.setattr(generator, "_templates", lambda wording, split, template=template: (template,))
        items: list[QARecord] = []
        while len(items) < 12:
            sources = draw_sources(rng)
            asked = generate(sources, TYPES, rng, 6, kinds=(kind,), typed=bool(rng.integers(2)))
            items += [of_question(q, sources) for q in asked if q.kind.split(".")[0] == kind]
        assert [verify(item) for item in items] == [None] * len(items), template
        pieces = [norm(piece) for piece in re.split(r"\{\w+\}", template)]
        assert all(piece in norm(item.question) for item in items for piece in pieces), "this template was not asked"


def test_a_mirrored_world_is_as_true(rng: np.random.Generator) -> None:
    """Swap the ears in geometry, question and answer: nothing is to complain about."""
    for item in drawn(5, 150):
        turned = dataclasses.replace(
            item, geometry=mirrored(item), question=mirror(item.question), answer=mirror(item.answer)
        )
        assert verify(turned) is None, turned


def mirrored(item: QARecord) -> tuple[HeardSource, ...]:
    assert item.geometry is not None
    return tuple(
        HeardSource(s.labels, s.position._replace(azimuth_deg=mirror_azimuth_deg(s.position.azimuth_deg)))
        for s in item.geometry
    )


# --- what is spoiled is found out ---


def kind_of(item: QARecord) -> tuple[str, str]:
    kind, _, axis = str(item.kind).partition(".")
    return kind, axis


def test_a_flipped_yes_or_no_is_found() -> None:
    found = Counter(kind_of(item)[0] for item in drawn(1, 300) if item.answer in ("Yes", "No"))
    assert set(found) == set(YES_NO_KINDS)
    for item in drawn(1, 300):
        if item.answer in ("Yes", "No"):
            flipped = {"Yes": "No", "No": "Yes"}[item.answer]
            problem = verify(dataclasses.replace(item, answer=flipped))
            assert problem is not None, item
            assert problem.startswith(f"the answer says {flipped}, but the "), problem


def test_a_mirrored_answer_is_found() -> None:
    checked = Counter[str]()
    for item in drawn(2, 300):
        if kind_of(item)[0] in ("locate", "locate_named") or item.answer in ("left", "right"):
            checked[kind_of(item)[0]] += 1
            assert verify(dataclasses.replace(item, answer=mirror(item.answer))) is not None, item
    assert set(checked) == {"locate", "locate_named", "side", "which_side", "which_side_of"}


@pytest.mark.parametrize("step_m", [-0.5, 0.5])
def test_a_distance_half_a_metre_off_is_found(step_m: float) -> None:
    checked = Counter[str]()
    for item in drawn(3, 300):
        region, _, distance = item.answer.rpartition("; ")
        if item.answer.endswith("m") and distance[:-1].replace(".", "").isdigit():
            wrong = f"{float(distance[:-1]) + step_m:g}m"
            checked[kind_of(item)[0]] += 1
            assert verify(dataclasses.replace(item, answer=f"{region}; {wrong}" if region else wrong)), item
    assert set(checked) == {"locate", "locate_named", "between", "distance"}


SWAP_MATTERS = {
    "locate_named", "detect_at", "pair", "relation", "closer", "farther", "which_side_of", "source_on", "which_closer",
    "which_farther",
}  # fmt: skip
SWAP_IS_NOTHING = {"both", "between", "presence"}


def test_swapped_labels_are_found() -> None:
    seen = Counter[str]()
    for item in drawn(4, 300):
        if item.geometry is None or len(item.geometry) == 1:
            continue
        first, second = item.geometry
        swapped = (HeardSource(second.labels, first.position), HeardSource(first.labels, second.position))
        problem, kind = verify(dataclasses.replace(item, geometry=swapped)), kind_of(item)[0]
        seen[kind] += 1
        if kind in SWAP_MATTERS:
            assert problem is not None, item
        elif kind in SWAP_IS_NOTHING:
            assert problem is None, item
    assert set(seen) >= SWAP_MATTERS | SWAP_IS_NOTHING


def test_mirrored_geometry_is_found_where_it_matters() -> None:
    """Left and right change, and nothing else does; so does "both on the left", where it was true."""
    seen = Counter[tuple[str, bool]]()
    for item in drawn(6, 400):
        kind, axis = kind_of(item)
        said = set(directions_in(item.question)) & {"left", "right"}
        matters = kind.startswith(("locate", "detect_at")) or axis == "left_right"
        if kind in ("both", "pair"):
            if said and item.answer == "No":
                continue  # may be false in the mirror too
            matters = bool(said)
        seen[kind, matters] += 1
        problem = verify(dataclasses.replace(item, geometry=mirrored(item)))
        assert (problem is not None) == matters, (problem, item)
    assert {kind for kind, matters in seen if matters} == {
        "locate", "locate_named", "detect_at", "both", "pair", "relation", "which_side_of", "source_on", "side",
        "which_side", "is_side",
    }  # fmt: skip


def test_wrong_labels_are_found() -> None:
    for item in drawn(7, 300):
        if kind_of(item)[0] in ("detect", "detect_at", "source_on"):
            for wrong in (item.answer + "; zither", item.answer.title(), "zither", item.answer.replace(";", ",") + " "):
                assert verify(dataclasses.replace(item, answer=wrong)), wrong
