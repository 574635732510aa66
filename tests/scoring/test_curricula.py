"""Which rows of the paper's tables a recipe belongs to."""

from __future__ import annotations

from typing import Any

import pytest

from bat_agent.questions import QuestionType
from bat_agent.recipes.schema import Part, Recipe, Stage
from bat_agent.scoring import curricula
from bat_agent.scoring.curricula import curriculum_of, letter_of, rows_of
from bat_agent.scoring.published import TABLES


def curriculum(*asks: str, encoder: str = "spatial-ast", oracle: bool = False, **options: Any) -> Recipe:
    found = [
        Stage(f"s{n}", "reasoner", question_types=list(letters), oracle_heads=oracle) for n, letters in enumerate(asks)
    ]
    ears = Part(encoder, {"features": "mono"} if options.pop("mono", False) else {})
    return Recipe("r", encoder=ears, reasoner=Part("llama", options), stages=[Stage("listen", "encoder"), *found])


@pytest.mark.parametrize(
    ("recipe", "rows"),
    [
        (curriculum("AB"), ("10/stage-1",)),
        (curriculum("ABP"), ("10/stage-1",)),
        (curriculum("AB", "ABCD"), ("10/stages-1-2",)),
        (curriculum("AB", "ABCD", "ABCDE"), ("4/three-stages", "10/three-stages")),
        (curriculum("P", "AB", "AB", "ABCD", "ABCDEENP"), ("4/three-stages", "10/three-stages")),
        (curriculum("ABCDE"), ("4/one-stage", "10/stage-3", "11/both")),
        (curriculum("ABE"), ("4/one-stage-without-c-d", "10/stage-3-without-c-d")),
        (curriculum("ABCD", "ABEN"), ("10/stages-2-3-without-c-d",)),
        (curriculum("AB", "ABCD", "ABE"), ("10/three-stages-without-c-d",)),
        (curriculum("ABCD"), ()),
        (curriculum("ABCDN"), ()),
        (curriculum("ABC"), ()),
        (curriculum("P"), ()),
        (curriculum("ABCDE", "AB", "ABCD", "ABCDE"), ()),
        (curriculum("ABCDE", tokens="cls"), ("11/cls",)),
        (curriculum("ABCDE", tokens="patches"), ("11/audio",)),
        (curriculum("ABCDE", tokens="all"), ("4/one-stage", "10/stage-3", "11/both")),
        (curriculum("AB", "ABCD", "ABCDE", tokens="cls"), ()),
        (curriculum("AB", "ABCD", "ABCDE", projector="qformer", num_queries=32),
         ("4/three-stages", "10/three-stages", "12/32")),
        (curriculum("AB", "ABCD", "ABCDE", projector="qformer"), ("4/three-stages", "10/three-stages", "12/64")),
        (curriculum("AB", "ABCD", "ABCDE", num_queries=64), ("4/three-stages", "10/three-stages", "12/64")),
        (curriculum("ABCDE", num_queries=64), ("4/one-stage", "10/stage-3", "11/both")),
        (curriculum("AB", "ABCD", "ABCDE", mono=True), ("4/mono",)),
        (curriculum("ABCDE", mono=True), ("4/mono",)),
        (curriculum("AB", "ABCD", mono=True), ()),
        (curriculum("ABCDE", oracle=True, mono=True, tokens="cls"), ("4/one-stage", "10/stage-3")),
        (curriculum("ABCDE", encoder="echo"), ("4/one-stage", "10/stage-3", "11/both")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_recipe_finds_its_rows(recipe: Recipe, rows: tuple[str, ...]) -> None:
    assert rows_of(recipe, recipe.stages[-1].name) == rows


def test_every_stage_of_three_stands_in_a_row_of_its_own() -> None:
    recipe = curriculum("AB", "ABCD", "ABCDE", num_queries=32)
    assert [rows_of(recipe, f"s{n}") for n in range(3)] == [
        ("10/stage-1",),
        ("10/stages-1-2",),
        ("4/three-stages", "10/three-stages", "12/32"),
    ]


def test_rows_are_those_of_the_published_tables() -> None:
    known = {row.id for table in TABLES for row in table.rows}
    ours = {row for rows in curricula.ROWS.values() for row in rows}
    assert {*ours, *curricula._TOKENS.values(), *curricula._QUERIES.values(), "4/mono"} <= known


def test_records_say_what_a_stage_asks_by_their_file_or_by_the_types_taken_of_it() -> None:
    def of(*what: dict[str, Any]) -> tuple[str, ...]:
        found = [Stage(f"s{n}", "reasoner", records="data", **each) for n, each in enumerate(what)]
        return curriculum_of(Recipe("r", stages=found), found[-1].name)

    assert of(*({"records_stage": n} for n in (1, 2, 3))) == ("1", "2", "3")
    assert of({}) == ("3",)
    assert of({"records_stage": 4}) == ()
    assert of({"records_stage": 3, "question_types": ["A", "B", "E"]}) == ("3*",)


def test_letters_of_recipes() -> None:
    kinds = (QuestionType.MIXUP_NONBINARY_SOURCE, QuestionType.MIXUP_DIRECTION, QuestionType.PLAIN, QuestionType.ANGLE)
    assert "".join(map(letter_of, kinds)) == "NEPX"
