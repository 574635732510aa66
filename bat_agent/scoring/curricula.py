"""Which rows of BAT's tables 4, 10, 11 and 12 a reasoner belongs to: read from its recipe, nothing else.

A curriculum is the list of its kinds of stages: ``1`` asks A and B, ``2`` also C and D, ``3`` also E; ``3*`` asks A, B
and E without C and D. Plain questions, non-binary ones and those beyond the paper may come on top.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from bat_agent.questions import QuestionType
from bat_agent.recipes.schema import Part, Recipe, Stage

KINDS = {"AB": "1", "ABCD": "2", "ABCDE": "3", "ABE": "3*"}
"""Letters of the paper that a stage asks → its kind."""
ONE_STAGE, THREE_STAGES = ("3",), ("1", "2", "3")
ROWS = {
    ("1",): ("10/stage-1",),
    ("1", "2"): ("10/stages-1-2",),
    ONE_STAGE: ("4/one-stage", "10/stage-3"),
    ("3*",): ("4/one-stage-without-c-d", "10/stage-3-without-c-d"),
    ("2", "3*"): ("10/stages-2-3-without-c-d",),
    ("1", "2", "3*"): ("10/three-stages-without-c-d",),
    THREE_STAGES: ("4/three-stages", "10/three-stages"),
}
"""Curriculum → the rows that it stands in."""
_TOKENS = {"all": "11/both", "cls": "11/cls", "patches": "11/audio"}
_QUERIES = {32: "12/32", 64: "12/64"}
_WITH_QUERIES = ("qformer", "resampler")
_RECORDS = {1: "AB", 2: "ABCD", 3: "ABCDEN", 4: "X", 5: "F", None: "ABCDENXF"}  # letters of each question file


def rows_of(recipe: Recipe, stage: str) -> tuple[str, ...]:
    """Ids of the rows that a run of ``recipe`` stands in after its stage named ``stage``; none where it fits nowhere.

    Table 11 is for one stage, table 12 for three. A run on some of the encoder's tokens stands in table 11 alone, one
    that hears with one ear in ``4/mono`` alone. Imagined encodings have neither ears nor tokens, so that their runs
    stand in neither. Raises :class:`~bat_agent.errors.BadInput` where a plugin of the recipe is not there.
    """
    kinds = curriculum_of(recipe, stage)
    if kinds not in ROWS:
        return ()
    rows = ROWS[kinds]
    if not has_oracle_heads(recipe):
        if _option("encoder", recipe.encoder, "features") == "mono":
            return ("4/mono",) if kinds in (ONE_STAGE, THREE_STAGES) else ()
        tokens = _option("reasoner", recipe.reasoner, "tokens") or "all"
        beside = (_TOKENS[tokens],) if kinds == ONE_STAGE and tokens in _TOKENS else ()
        if tokens != "all":
            return beside
        rows = (*rows, *beside)
    if kinds == THREE_STAGES and _option("reasoner", recipe.reasoner, "projector") in _WITH_QUERIES:
        queries = _option("reasoner", recipe.reasoner, "num_queries")
        rows = (*rows, _QUERIES[queries]) if queries in _QUERIES else rows
    return rows


def curriculum_of(recipe: Recipe, stage: str) -> tuple[str, ...]:
    """The kinds of the reasoner's stages up to ``stage``, equal ones in a row once; ``?`` is none of the paper's.

    Stages that ask nothing of the paper are passed over.
    """
    kinds: list[str] = []
    for entry in reasoner_stages(recipe):
        asked = letters_of(entry) & set("ABCDEN")
        if asked:
            # Non-binary questions are of E, but do not teach to say yes or no.
            known = asked - {"N"} if "E" in asked else asked
            kinds.append(KINDS.get("".join(sorted(known)), "?"))
        if entry.name == stage:
            break
    return tuple(kind for kind, _ in groupby(kinds))


def letters_of(stage: Stage) -> set[str]:
    """Letters of the question types that a reasoner stage asks; ``N`` are the non-binary ones of E, ``X`` those beyond
    the paper.
    """
    if stage.question_types or stage.records is None:
        return set(stage.question_types)
    return set(_RECORDS.get(stage.records_stage, ""))


def letter_of(kind: QuestionType) -> str:
    """The letter of a question type in recipes, where the non-binary ones of E are ``N``."""
    return "N" if "NONBINARY" in kind.value else kind.letter


def reasoner_stages(recipe: Recipe) -> list[Stage]:
    """The stages that train the reasoner, in their order."""
    return [stage for stage in recipe.stages if stage.trains == "reasoner"]


def has_oracle_heads(recipe: Recipe) -> bool:
    """Whether the reasoner ends without having heard sound: its last stage has oracle heads."""
    stages = reasoner_stages(recipe)
    return bool(stages) and stages[-1].oracle_heads


def _option(kind: Any, part: Part, name: str) -> Any:
    """An option of a part, as the recipe sets it or as its plugin does; ``None`` where the part has no such option."""
    from bat_agent.registry import config_of

    return getattr(config_of(kind, part.name, part.options), name, None)
