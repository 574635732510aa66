"""Tables of published figures: figures as printed in the papers, and each run beside the rows it belongs to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bat_agent.errors import BadInput
from bat_agent.evaluation.pictures import lambda_figure
from bat_agent.evaluation.published import TABLES
from bat_agent.evaluation.runs import TASKS, Result, Run, read_result, training_of
from bat_agent.evaluation.tables import cell, fits, lambda_sweep, tables
from bat_agent.recipes.schema import Part, Recipe, Stage

RunCommand = Callable[..., tuple[int, str, str]]
FIGURES = {
    name: {"value": value, "low": value * 0.9, "high": value * 1.1, "count": 100.0}
    for name, value in (("map", 0.5), ("er20", 0.25), ("mae_deg", 18.0), ("der", 0.3))
}


def result(row: str | None = None, figures: dict[str, Any] = FIGURES, **facts: Any) -> Result:
    known = {"features": "mel+ipd", "training": "stage 2", "stages": 2, "class_weight": 1250.0}
    return Result(Run(**{"name": "mine", "encoder": "spatial-ast", "options": {}, **known, **facts}), figures, row)


def homes(found: Result) -> list[str]:
    return [row.id for table in TABLES for row in table.rows if fits(row, found)]


def stage(name: str, weights: tuple[float, float, float], **options: Any) -> Stage:
    return Stage(name, options.pop("trains", "encoder"), options.pop("steps", 10), class_weight=weights[0],
                 distance_weight=weights[1], direction_weight=weights[2], **options)  # fmt: skip


def test_what_the_abstract_says_stands_in_the_table() -> None:
    """BAT's abstract: 50.03 mAP, 17.94° and 32.54 % for the two-stage binaural encoder; SELDnet's MAE is 19.21°."""
    rows = {row.id: row.published for table in TABLES for row in table.rows}
    assert rows["3/ipd-stage-2"] == rows["7/generalist"] == (50.03, 23.89, 17.94, 32.54)
    assert rows["3/mono-joint"][0::3] == rows["8/both"][0::3] == (51.39, 26.87)
    assert rows["3/seldnet"][2] == 19.21
    assert rows["3/dspast-stage-3"] == (54.53, 20.28, 14.44, 28.03)
    assert [len(table.rows) for table in TABLES] == [16, 10, 4]
    assert len(rows) == 30  # no id twice


@pytest.mark.parametrize(
    ("facts", "rows"),
    [
        ({}, ["3/ipd-stage-2", "7/generalist"]),
        ({"training": "joint"}, ["3/ipd-joint"]),
        ({"training": "stage 1", "tasks": ("class",)}, ["3/ipd-stage-1"]),
        ({"features": "mel"}, ["3/mel-stage-2"]),
        ({"features": "mono", "training": "joint"}, ["3/mono-joint", "8/both"]),
        ({"features": "mono", "training": "joint", "normalise": False}, ["8/reverberant"]),
        ({"features": "mono", "training": "joint", "reverberation": "none"}, ["8/normalised"]),
        ({"features": "mono", "training": "joint", "reverberation": "none", "normalise": False}, ["8/neither"]),
        ({"features": "mono", "training": "joint", "reverberation": "direct"}, []),
        ({"training": "single", "tasks": ("direction",)}, ["7/direction-ipd"]),
        ({"training": "single", "tasks": ("distance",), "features": "mono"}, ["7/distance-mono"]),
        ({"encoder": "dspast", "features": None, "stages": 3}, ["3/dspast-stage-3"]),
        ({"encoder": "seldnet", "features": None, "training": "joint"}, ["3/seldnet"]),
        ({"encoder": "audiomae", "features": None, "training": None}, ["3/audiomae"]),
        ({"training": None, "stages": None}, []),
        ({"encoder": "somebody-elses"}, []),
    ],
    ids=str,
)
def test_runs_find_their_rows(facts: dict[str, Any], rows: list[str]) -> None:
    assert homes(result(**facts)) == rows


def test_a_run_may_be_told_its_row_and_a_homeless_one_gets_its_own() -> None:
    assert homes(result("3/released")) == ["3/released"]
    with pytest.raises(BadInput, match=r"no row '3/nothing' for mine; rows are 3/audiomae-anechoic"):
        tables([result("3/nothing")])
    table = tables([result(training=None), result(name="other")])[0]
    ours = [line for line in table.rows if line[4].startswith("ours")]
    assert [line[4] for line in ours] == ["ours: other", "ours: mine"]
    assert table.rows[-1] is ours[-1]
    assert table.rows[table.rows.index(ours[0]) - 1][:5] == ("Spatial-AST", "binaural", "mel, IPD", "stage 2", "paper")


def test_cells_are_in_the_unit_of_the_table() -> None:
    assert cell(FIGURES["map"], "map") == "50.0 [45.0, 55.0]"
    assert cell(FIGURES["mae_deg"], "mae_deg") == "18.0 [16.2, 19.8]"
    assert cell(None, "der") == "–"
    text = tables([result(figures={"map": FIGURES["map"]})])[0].markdown()
    assert "| Spatial-AST | binaural | mel, IPD | stage 2 | ours: mine | 50.0 [45.0, 55.0] | – | – | – |" in text
    width = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert width == {10}


ALL, CLASS, DIRECTION = (1250.0, 1.0, 2.0), (1.0, 0.0, 0.0), (0.0, 0.0, 2.0)


@pytest.mark.parametrize(
    ("stages", "tasks", "up_to", "training", "learnt"),
    [
        ([ALL], TASKS, None, "joint", TASKS),
        ([CLASS, ALL], TASKS, None, "stage 2", TASKS),
        ([CLASS, ALL], TASKS, "s0", "stage 1", ("class",)),
        ([CLASS], TASKS, None, "stage 1", ("class",)),
        ([ALL], ("direction",), None, "single", ("direction",)),
        ([DIRECTION], TASKS, None, "single", ("direction",)),
    ],
)
def test_how_an_encoder_was_trained_is_read_from_its_recipe(
    stages: list[tuple[float, float, float]], tasks: tuple[str, ...], up_to: str | None, training: str,
    learnt: tuple[str, ...],
) -> None:  # fmt: skip
    entries = [stage(f"s{n}", weights) for n, weights in enumerate(stages)]
    others = [stage("never", DIRECTION, steps=0), stage("words", DIRECTION, trains="reasoner")]
    recipe = Recipe("r", encoder=Part("echo"), reasoner=Part("echo"), stages=[*entries, *others])
    facts = training_of(recipe, tasks, up_to)
    assert (facts["training"], facts["tasks"]) == (training, learnt)
    assert facts["stages"] == (1 if up_to == "s0" else len(stages))


def test_figure_2_is_sorted_by_its_weight_and_drawn_upside_down() -> None:
    runs = [result(class_weight=weight, name=f"λ{weight:g}") for weight in (1000.0, 10.0, 100.0)]
    runs += [result(features="mono"), result(training="single", tasks=("class",)), result(class_weight=None)]
    sweep = lambda_sweep(runs)
    assert [r.run.class_weight for r in sweep] == [10.0, 100.0, 1000.0]
    table = tables(runs)[-1]
    assert [line[0] for line in table.rows] == ["10", "100", "1000", "1250"]
    left, right = lambda_figure(sweep).axes
    assert left.get_ylim()[0] < left.get_ylim()[1]
    assert right.get_ylim()[0] > right.get_ylim()[1]


def test_results_are_read_back(tmp_path: Path, run: RunCommand) -> None:
    mine = result()
    folder = tmp_path / "a=b"
    folder.mkdir()
    content = {"format": 1, "run": mine.run.to_dict(), "figures": {"one source": FIGURES}}
    (folder / "figures.json").write_text(json.dumps(content))
    assert read_result(str(folder)) == mine
    assert read_result(f"{folder / 'figures.json'}=3/released") == replace(mine, row="3/released")
    code, printed, _ = run("evaluate", "tables", f"{folder}=3/released", "--markdown")
    assert code == 0
    assert "Spatial-AST, released weights | binaural | mel, IPD | stage 2 | ours: mine" in printed
    assert len(json.loads(run("evaluate", "tables", folder, "--json")[1])) == 4
    assert "50.0 [45.0" in run("evaluate", "tables", folder)[1]


@pytest.mark.parametrize("content", ["{", "[]", '{"run": {}, "figures": {}}', '{"figures": {"one source": {}}}'])
def test_files_that_are_no_results(tmp_path: Path, content: str) -> None:
    file = tmp_path / "figures.json"
    file.write_text(content)
    with pytest.raises(BadInput, match="holds no figures of an encoder"):
        read_result(str(file))
    with pytest.raises(BadInput, match="no figures at"):
        read_result(str(tmp_path / "none.json"))
