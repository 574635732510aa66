"""Tables of answers: figures as printed in the papers, and each result in the rows it belongs to."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bat_agent.errors import BadInput
from bat_agent.questions import QARecord
from bat_agent.scoring import LexicalEmbedder, comparison_rows, score
from bat_agent.scoring.published import MEASURES, TABLE_2, TABLES
from bat_agent.scoring.results import Result, parse_rows, read_result
from bat_agent.scoring.tables import answer_tables, cell, curriculum, figure_of, overview


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "count": 100}


SCORES: dict[str, Any] = {
    "types": {
        "CLASSIFICATION": {"map": figure(0.25)},
        "MIXUP_SINGLE_DOA": {"region": figure(0.4), "der": figure(0.5)},
    },
    "binary": {"direction": figure(0.7), "distance": figure(0.8), "accuracy": figure(0.75)},
    "swap": {},
}


def lines(number: int, *results: Result) -> list[tuple[str, ...]]:
    return list(answer_tables(results)[number].rows)


def test_what_the_paper_says_of_itself_stands_in_the_tables() -> None:
    """Abstract and section 5.3: 76.89 % for three stages; the same systems stand in several tables."""
    rows = {row.id: row.published for table in TABLES for row in table.rows}
    assert rows["4/three-stages"] == (26.34, 9.89, 75.54, 37.65, 29.16, 47.90, 69.77, 84.01, 76.89)
    assert rows["4/three-stages"][6:] == rows["10/three-stages"][6:] == rows["12/64"][6:]
    assert rows["4/one-stage"][6:] == rows["10/stage-3"][6:] == rows["11/both"][6:]
    assert rows["4/one-stage-without-c-d"][6:] == rows["10/stage-3-without-c-d"][6:]
    assert [len(table.rows) for table in TABLES] == [16, 8, 3, 2]
    assert len(rows) == 29  # no id twice
    assert all(len(published) == len(MEASURES) for published in rows.values())


@pytest.mark.parametrize("id_", [row.id for table in TABLES for row in table.rows])
def test_the_mean_is_the_mean_of_its_parts(id_: str) -> None:
    """As printed, to rounding: a figure mistyped in any of the three would show here."""
    direction, distance, mean = next(r.published for t in TABLES for r in t.rows if r.id == id_)[6:]
    if direction is not None and distance is not None and mean is not None:
        assert mean == pytest.approx((direction + distance) / 2, abs=0.011)


def test_a_result_stands_in_its_rows_and_else_at_the_end_of_table_4() -> None:
    ours = Result("mine", SCORES, ("10/three-stages", "12/64"))
    table_4, table_10, table_11, table_12 = (lines(n, ours) for n in range(4))
    assert table_4[-1] == ("mine", "–", "ours: mine", "25.0±1.0 | –", "– | 40.0±1.0", "– | 50.0±1.0", "70.0±1.0",
                           "80.0±1.0", "75.0±1.0")  # fmt: skip
    assert table_10[-1] == ("BAT", "yes", "yes", "yes", "ours: mine", "70.0±1.0", "80.0±1.0", "75.0±1.0")
    assert table_10[-2][4] == "paper"
    assert table_12[-1][:2] == ("64", "ours: mine")
    assert not any("ours" in cell_ for line in table_11 for cell_ in line)
    inside = lines(0, Result("mine", SCORES, ("4/three-stages",)))
    assert [line[2] for line in inside if line[0] == "BAT, three stages"] == ["paper", "ours: mine"]
    assert len(inside) == 17
    with pytest.raises(BadInput, match="no row '4/best' for mine; rows are 4/random"):
        answer_tables([Result("mine", SCORES, ("4/best",))])


def test_computed_rows_stand_beside_those_of_their_name(records: list[QARecord]) -> None:
    said = comparison_rows(records)
    computed = [Result(name, score(records, a, embedder=LexicalEmbedder()).to_dict(), computed=name)
                for name, a in said.items()]  # fmt: skip
    table = lines(0, *computed)
    ours = {line[0]: line for line in table if line[2] == "ours"}
    assert list(ours) == ["Random", "Prompt only", "Oracle", "Majority"]
    assert ours["Oracle"][3:] == (
        "100.0±0.0 | 100.0±0.0",
        "100.0±0.0 | 100.0±0.0",
        "0.0±0.0 | 0.0±0.0",
        *["100.0±0.0"] * 3,
    )
    assert ours["Majority"][1] == "P"
    assert table.index(ours["Oracle"]) == 9
    assert [line[0] for line in lines(1, *computed) if line[4] == "ours"] == ["Random"]


def test_missing_figures_are_dashes() -> None:
    assert cell(None) == "–"
    assert figure_of(SCORES, "map_c") is None
    assert figure_of(SCORES, "der_d") == figure(0.5)
    assert figure_of({"types": {}, "binary": {}}, "mean") is None
    assert lines(0, Result("none", {"types": {}, "binary": {}}))[-1][3:] == ("–",) * 6


def test_the_overview_counts_what_is_asked(records: list[QARecord]) -> None:
    table = overview(records)
    assert [row[0][0] for row in table.rows] == list("ABCDEP")
    a, e = table.rows[0], table.rows[4]
    assert a[1:4] == ("1", "139K, 15.9 %", "40, 10.0 %")
    assert a[4:] == (records[0].text, records[0].answer)
    assert e[2:4] == ("358K, 41.2 %", "200, 50.0 %")
    assert overview(records[:40]).rows[1][2:] == ("139K, 15.9 %", "–", "–", "–")


def test_the_curriculum_beside_the_papers() -> None:
    """The paper's own shares: 278 784 of 872 312 questions are 32.0 %, where it says 31.8."""
    assert [row[3] for row in TABLE_2] == ["31.8 %", "58.8 %", "100 %"]
    stages = {1: Counter(A=139_392, B=139_392), 3: Counter(A=139_392, B=139_392, C=118_000, D=118_000, E=357_528)}
    table = curriculum(stages | {4: Counter(X=10)})
    ours = [row for row in table.rows if row[2] == "ours"]
    assert ours == [
        ("1", "A, B", "ours", "278784", "32.0 %"),
        ("3", "A, B, C, D, E", "ours", "872312", "100.0 %"),
        ("4", "X", "ours", "10", "0.0 %"),
    ]
    assert len(curriculum({}).rows) == 3


def test_markdown_keeps_two_figures_in_a_cell() -> None:
    text = answer_tables([Result("mine", SCORES)])[0].markdown()
    assert "| BAT, three stages | B+P | paper | 26.34 \\| 9.89 |" in text
    assert "mAP A\\|C" in text
    assert "arXiv 2509.13927" in text


# --- results of other runs ---


def test_results_are_read_back_with_their_rows(tmp_path: Path) -> None:
    folder = tmp_path / "a=b"
    folder.mkdir()
    (folder / "scores.json").write_text(json.dumps({"format": 1, "run": {"name": "mine"}, "scores": SCORES}))
    assert read_result(str(folder)) == Result("mine", SCORES)
    assert read_result(f"{folder}/scores.json=4/mono,12/32") == Result("mine", SCORES, ("4/mono", "12/32"))
    assert parse_rows(" 4/mono, ,12/32") == ("4/mono", "12/32")
    assert parse_rows(None) == ()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"run": {"name": "x"}, "scores": {"binary": {"a": 1}, "types": {}}}', "\ud800"]
)
def test_results_that_are_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "scores.json"
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(BadInput, match="holds no scores of answers"):
        read_result(str(file))
    with pytest.raises(BadInput, match="no scores at"):
        read_result(str(tmp_path / "none"))
