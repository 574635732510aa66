"""``bat-agent evaluate qa`` from end to end: answers in a file, a model over sound, what is written and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bat_agent.errors import BadInput
from bat_agent.questions import QARecord, QuestionType, mirror, parse_types, read_records, write_records
from bat_agent.scoring import write_answers
from bat_agent.scoring.data import open_questions, stage_counts

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def truth(tmp_path: Path, records: list[QARecord]) -> Path:
    """True answers, as a system would hand them in."""
    file = tmp_path / "truth.jsonl"
    write_answers(file, records, [r.answer for r in records])
    return file


def test_answers_of_a_file_beside_the_computed_rows(run: Run, qa_file: Path, truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "scored"
    code, text, err = run("evaluate", "qa", qa_file, "--answers", truth, "--out", out, "--name", "perfect", "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found == json.loads((out / "scores.json").read_text())
    assert found["run"] == {
        "name": "perfect",
        "data": "400 questions of questions.json",
        "answers": str(truth),
        "seed": 0,
    }
    assert found["scores"]["types"]["CLASSIFICATION"]["map"]["value"] == 1.0
    assert found["scores"]["binary"]["accuracy"]["value"] == 1.0
    assert list(found["rows"]) == ["random", "prompt only", "majority", "oracle"]
    assert found["rows"]["oracle"]["types"] == found["scores"]["types"]
    assert found["scores"]["swap"] == {}
    assert {json.loads(line)["answer"] for line in (out / "answers.jsonl").read_text().splitlines()}
    assert "ours: perfect" in (out / "tables.md").read_text()
    assert "written: " in err


def test_the_table_for_people_and_published_tables(run: Run, qa_file: Path, truth: Path, tmp_path: Path) -> None:
    run("evaluate", "qa", qa_file, "--answers", truth, "--out", tmp_path / "first")
    code, text, err = run(
        "evaluate", "qa", qa_file, "--answers", truth, "--tables", "--row", "10/three-stages",
        "--result", f"{tmp_path / 'first'}=12/32",
    )  # fmt: skip
    assert code == 0, err
    assert "A CLASSIFICATION" in text
    assert "class scores: lexical" in text
    assert "BAT, table 10" in text
    assert "BAT, table 2" in text
    assert text.count("ours: truth") == 4  # both in table 4, one each in tables 10 and 12
    assert "their mAP is by OpenAI's text embeddings" in " ".join(text.split())


def test_swapped_answers_show_who_listens(run: Run, qa_file: Path, truth: Path, tmp_path: Path) -> None:
    some = read_records(qa_file)
    write_answers(tmp_path / "swapped.jsonl", some, [mirror(r.answer) for r in some])
    arguments = ("evaluate", "qa", qa_file, "--answers", truth, "--answers-swapped")
    code, text, _ = run(*arguments, tmp_path / "swapped.jsonl", "--json")
    assert code == 0
    assert json.loads(text)["scores"]["swap"]["ALL"]["value"] == 1.0
    write_answers(tmp_path / "fewer.jsonl", some[:100], [mirror(r.answer) for r in some[:100]])
    code, text, err = run(*arguments, tmp_path / "fewer.jsonl", "--types", "D")
    assert code == 2
    assert "answers none of the 40 of 400 questions" in err
    code, text, err = run(*arguments, tmp_path / "fewer.jsonl")
    assert code == 0
    assert "note: with the ears swapped, 220 of 280 questions have no answer; they count as wrong" in err
    assert "mirrored too" in text


def test_types_and_a_limit_choose_among_the_questions(run: Run, qa_file: Path, truth: Path) -> None:
    code, text, _ = run("evaluate", "qa", qa_file, "--answers", truth, "--types", "b,MIXUP_DIRECTION", "--limit", 10,
                        "--json")  # fmt: skip
    assert code == 0
    found = json.loads(text)["scores"]
    assert {kind: f["malformed"]["count"] for kind, f in found["types"].items()} == {"DOA": 5, "MIXUP_DIRECTION": 5}
    assert list(found["binary"]) == ["direction", "accuracy"]


def test_missing_answers_count_as_wrong_and_are_told(run: Run, qa_file: Path, tmp_path: Path) -> None:
    some = read_records(qa_file)
    write_answers(tmp_path / "few.jsonl", some[:10], [r.answer for r in some[:10]])
    code, text, err = run("evaluate", "qa", qa_file, "--answers", tmp_path / "few.jsonl", "--types", "A", "--json")
    assert code == 0
    assert "note: 30 of 40 questions have no answer; they count as wrong" in err
    found = json.loads(text)
    assert found["scores"]["types"]["CLASSIFICATION"]["exact"]["value"] == 0.25
    assert found["notes"] == ["30 of 40 questions have no answer; they count as wrong"]


@pytest.mark.usefixtures("_echo")
def test_a_model_over_the_sound_of_a_data_set(run: Run, data_set: Path, tmp_path: Path) -> None:
    """The null reasoner says where the louder ear is; it gets the side right here, and right again in the mirror."""
    out = tmp_path / "out"
    code, text, err = run("evaluate", "qa", data_set, "--stage", 1, "--out", out, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found["run"] == {"name": "echo", "data": "4 questions of set", "model": "bat-small", "seed": 0}
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == [f"DOA-{n}" for n in range(4)]
    assert len((out / "answers-swapped.jsonl").read_text().splitlines()) == 4
    before = (out / "answers.jsonl").read_bytes()
    assert run("evaluate", "qa", data_set, "--stage", 1, "--out", out)[0] == 0
    assert (out / "answers.jsonl").read_bytes() == before  # nothing was asked again
    code, _, err = run("evaluate", "qa", data_set, "--stage", 3, "--out", out)
    assert code == 2
    assert "is of another run" in err
    again = run("evaluate", "qa", data_set, "--stage", 1, "--answers", out / "answers.jsonl", "--json")
    assert json.loads(again[1])["scores"]["types"] == found["scores"]["types"]
    code, text, _ = run("evaluate", "qa", data_set, "--no-swap", "--limit", 3, "--json")
    assert code == 0
    assert json.loads(text)["scores"]["swap"] == {}


def test_answers_that_are_kept_are_not_replaced_by_others(run: Run, qa_file: Path, truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("evaluate", "qa", qa_file, "--types", "E", "--answers")
    assert run(*arguments, truth, "--out", out)[0] == 0
    assert run(*arguments, truth, "--out", out)[0] == 0
    assert run(*arguments, out / "answers.jsonl", "--out", out)[0] == 0
    some = [r for r in read_records(qa_file) if r.type.letter == "E"]
    numbers = [n for n, r in enumerate(read_records(qa_file)) if r.type.letter == "E"]
    write_answers(tmp_path / "other.jsonl", some, ["No"] * len(some), numbers=numbers)
    code, _, err = run(*arguments, tmp_path / "other.jsonl", "--out", out)
    assert code == 2
    assert "holds other answers already" in err
    assert sorted(p.name for p in out.iterdir()) == ["answers.jsonl", "scores.json", "tables.md"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none.json",), "none.json does not exist; name a QA file or the root of a data set"),
        (("Q", "--types", "Z"), "unknown question type 'Z', expected letters (A, B, C, D, E, P, X, F, N) or names"),
        (("Q", "--answers", "none.jsonl"), "no answers at none.jsonl"),
        (("Q", "bat-small", "--answers", "T"), "MODEL 'bat-small' and --answers"),
        (("Q", "--encoder", "echo", "--answers", "T"), "MODEL 'echo' and --answers"),
        (("Q", "--answers-swapped", "T"), "--answers-swapped goes with --answers"),
        (("Q", "--answers", "T", "--embed", "magic"), "--embed 'magic' was not understood"),
        (("Q", "--answers", "T", "--embed", "api:x"), "BAT_EMBED_URL is not set"),
        (("Q", "--answers", "T", "--class-embeddings", "none.npy"), "cannot read class embeddings none.npy"),
        (("Q", "--answers", "T", "--row", "4/best"), "no row '4/best' for this run"),
        (("Q", "--answers", "T", "--result", "none"), "no scores at none"),
        (("Q", "--answers", "T", "--stage", "1"), "--stage chooses files of a data set"),
        (("Q", "--answers", "T", "--train", "none.json"), "cannot read QA file none.json"),
        (("Q", "--answers", "T", "--out", "T"), "it is a file; name a folder with --out"),
        (("Q", "--answers", "T", "--limit", "0"), "--limit"),
        (("Q", "--answers", "Q"), "line 1 is not valid JSON"),
        (("Q", "--types", "X", "--answers", "T"), "has no question of the types that were asked for; it has CLASS"),
        (("D", "--root", ".", "--answers", "T"), "--root says where the sounds of a QA file are"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_misuse_is_one_line_with_exit_code_2(
    run: Run, qa_file: Path, truth: Path, data_set: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, says: str
) -> None:
    monkeypatch.delenv("BAT_EMBED_URL", raising=False)
    places = {"Q": qa_file, "T": truth, "D": data_set}
    code, out, err = run("evaluate", "qa", *(places.get(argument, argument) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


# --- the questions ---


def test_questions_of_a_data_set_are_those_of_its_evaluation_files(data_set: Path) -> None:
    everything = open_questions(data_set)
    assert [r.key for r in everything.records] == [
        *(f"DOA-{n}" for n in range(4)),
        *(f"MIXUP_DIRECTION-{n}" for n in range(3)),
    ]
    third = open_questions(data_set, stage=3)
    assert (third.numbers, third.words) == ([0, 1, 2], "3 questions of set")
    few = open_questions(data_set, limit=3)
    assert few.numbers == [0, 2, 4]
    assert few.words == "3 of 7 questions of set"
    assert len(few.keys) == 7
    for file in data_set.glob("closed-end/*/eval-*"):
        file.unlink()
    trained = open_questions(data_set, stage=1, types=[QuestionType.DOA], limit=2)
    assert trained.numbers == [0, 6]
    assert trained.notes == [f"{data_set} has no eval-*.json, so its training questions are scored"]


def test_a_file_in_a_data_set_finds_its_sound(data_set: Path) -> None:
    questions = open_questions(data_set / "closed-end" / "stage1-clsdoa" / "eval-stage1-doa.json")
    assert questions.data.waveform(1).shape == (2, 320_000)


def test_stages_are_counted_by_letter(data_set: Path, qa_file: Path) -> None:
    counts = stage_counts(data_set)
    assert {stage: dict(letters) for stage, letters in counts.items()} == {1: {"B": 12}, 3: {"B": 12, "E": 3}}
    assert stage_counts(qa_file) == {}
    (data_set / "closed-end" / "stage1-clsdoa" / "train.json").unlink()
    assert dict(stage_counts(data_set)[1]) == {"B": 4}


def test_an_unknown_question_type_is_told_with_its_place(tmp_path: Path) -> None:
    items = [
        {
            **QARecord("a", "a.npy", None, None, 0, "DOA", "Where?", "left, front, above; 2m").to_dict(),
            "question_type": "ODD",
        }
    ]
    (tmp_path / "odd.json").write_text(json.dumps({"data": items}))
    with pytest.raises(BadInput, match=r"record 0 .*unknown question_type 'ODD'"):
        open_questions(tmp_path / "odd.json")
    write_records(tmp_path / "empty.json", [])
    with pytest.raises(BadInput, match="it has no question at all"):
        open_questions(tmp_path / "empty.json")


def test_letters_and_names_of_types() -> None:
    kinds = QuestionType
    assert parse_types("a, d") == [kinds.CLASSIFICATION, kinds.MIXUP_SINGLE_DOA]
    assert parse_types("DOA,B") == [kinds.DOA]
    assert len(parse_types("E")) == 5
    with pytest.raises(BadInput, match="unknown question type ''"):
        parse_types("A,,B")
