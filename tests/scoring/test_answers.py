"""Files of answers: every way to name a question, and every way to get it wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bat_agent.errors import BadInput
from bat_agent.questions import QARecord
from bat_agent.scoring import Answers, read_answers, write_answers
from bat_agent.scoring.answers import answer_line, parse_line

KEYS = ["CLASSIFICATION-0", "DOA-0", "DOA-1", "DOA-0", "MIXUP_DIRECTION-x-1"]


def write(path: Path, *items: Any) -> Path:
    file = path / "answers.jsonl"
    file.write_text("".join((i if isinstance(i, str) else json.dumps(i)) + "\n" for i in items), encoding="utf-8")
    return file


def test_every_way_to_name_a_question(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"record": 1, "answer": "b", "confidence": 0.25},
        {"record": 3, "key": "DOA-0", "answer": "d"},
        {"question_type": "DOA", "question_id": 1, "answer": "c"},
        {"key": "CLASSIFICATION-0", "answer": "a", "confidence": "high"},
        "",
        {"id": "x-1", "answer": None},
    )
    found = read_answers(file, KEYS)
    assert found.texts == ["a", "b", "c", "d", None]
    assert found.confidences == [None, 0.25, None, None, None]
    assert found.given == [True] * 5
    assert found.notes == ["1 of 5 answers is no text; it counts as malformed"]


def test_repeated_keys_are_matched_in_order_of_appearance(tmp_path: Path) -> None:
    """``question_id`` is not unique in the release."""
    file = write(
        tmp_path, {"id": "DOA-0", "answer": "first"}, {"id": 1, "answer": "c"}, {"id": "DOA-0", "answer": "2nd"}
    )
    found = read_answers(file, KEYS)
    assert found.texts == [None, "first", "c", "2nd", None]
    assert found.notes == ["2 of 5 questions have no answer; they count as wrong"]
    assert found.of([1, 2, 3]).notes == []
    file = write(tmp_path, {"key": "DOA-0", "answer": "only one"})
    with pytest.raises(BadInput, match=r"1 answer\(s\) to DOA-0 \(line 1\), but the data has 2 record"):
        read_answers(file, KEYS)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", r"line 2 is not valid JSON \(.*\)"),
        ("[" * 100_000, "line 2 is not valid JSON"),
        ("[1]", "line 2 is no object but a list"),
        ({"record": 1}, "line 2 lacks answer"),
        ({"answer": "x"}, "line 2 does not say which question it answers"),
        ({"record": 5, "answer": "x"}, "line 2 answers record 5, expected a whole number from 0 to 4"),
        ({"record": "1", "answer": "x"}, "line 2 answers record '1'"),
        ({"record": True, "answer": "x"}, "line 2 answers record True"),
        ({"record": 1, "key": "DOA-1", "answer": "x"}, "line 2 answers DOA-1, but record 1 of the data is DOA-0"),
        ({"record": 0, "answer": "x"}, "line 2 answers record 0, which line 1 answers already"),
        ({"key": "DOA-7", "answer": "x"}, "line 2 answers DOA-7, but no record of the data has this key"),
        ({"id": 7, "answer": "x"}, "line 2 answers 7, but no record of the data has this id"),
        ({"key": "CLASSIFICATION-0", "answer": "x"}, "line 2 answers record 0, which line 1 answers already"),
    ],
    ids=str,
)
def test_a_wrong_line_is_told_with_file_and_line(tmp_path: Path, line: Any, says: str) -> None:
    file = write(tmp_path, {"record": 0, "answer": "a"}, line)
    with pytest.raises(BadInput, match=says) as told:
        read_answers(file, KEYS)
    assert str(file) in str(told.value)
    assert "\n" not in str(told.value)


def test_files_that_hold_no_answers(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no answer"):
        read_answers(write(tmp_path), KEYS)
    with pytest.raises(BadInput, match="cannot read answers"):
        read_answers(tmp_path / "none.jsonl", KEYS)
    (tmp_path / "latin.jsonl").write_bytes(b'{"record": 0, "answer": "\xe9"}')
    with pytest.raises(BadInput, match="no UTF-8 text"):
        read_answers(tmp_path / "latin.jsonl", KEYS)


def test_what_is_written_is_read_back(tmp_path: Path, records: list[QARecord]) -> None:
    some = records[5:9]
    file = tmp_path / "out.jsonl"
    write_answers(file, some, ["a", "b; c", "\ud800 30°", "Yes"], [0.5, None, 1.0, 0.123456], range(5, 9))
    found = read_answers(file, [record.key for record in records])
    assert found.of(range(5, 9)) == Answers(["a", "b; c", "\ud800 30°", "Yes"], [0.5, None, 1.0, 0.1235], [True] * 4)
    assert found.given.count(True) == 4
    with pytest.raises(BadInput, match="4 records but 1 answers"):
        write_answers(file, some, ["a"])
    with pytest.raises(BadInput, match="cannot write"):
        write_answers(tmp_path / "out.jsonl" / "x", some, ["a"] * 4)


@given(st.integers(0, 10**6), st.text(), st.one_of(st.text(), st.none(), st.floats(allow_nan=False), st.booleans()))
def test_any_answer_survives_a_line(number: int, key: str, answer: Any) -> None:
    line = answer_line(number, key, answer)
    assert line.count("\n") == 1
    assert line.isascii()
    assert parse_line(line, "here") == {"record": number, "key": key, "answer": answer}
