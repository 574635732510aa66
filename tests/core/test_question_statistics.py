"""What a set asks and gives away: shares, levels, wordings and leaks against counts by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bat_agent.errors import BadInput
from bat_agent.questions import QARecord, write_records
from bat_agent.scoring.statistics import question_statistics

Run = Callable[..., tuple[int, str, str]]


def ask(number: int, question: str, answer: str, kind: str = "MIXUP_DIRECTION") -> QARecord:
    second = (f"eval/audio/b{number}", "s/1.npy") if kind.startswith("MIXUP") else (None, None)
    return QARecord(f"eval/audio/a{number}", "s/0.npy", *second, number, kind, question, answer)


def test_shares_and_levels_are_counted(qa_set: Path) -> None:
    items = json.loads((qa_set / "closed-end/stage3-mixup/train.json").read_text())["data"]
    items += json.loads((qa_set / "closed-end/stage4-beyond/train.json").read_text())["data"]
    found = question_statistics(qa_set, sample=10_000)
    assert found.records == found.sampled == len(items) == 1440
    counts = Counter(item["question_type"] for item in items)
    assert {kind.type: kind.records for kind in found.types} == dict(counts)
    for kind in found.types:
        said = [item["answer"] for item in items if item["question_type"] == kind.type]
        if kind.type in ("MIXUP_DIRECTION", "MIXUP_DISTANCE_BOTH"):
            assert kind.yes == pytest.approx(said.count("Yes") / len(said))
            assert kind.share == pytest.approx(len(said) / 1200)
        if kind.type in ("CLASSIFICATION", "DOA"):
            assert kind.yes is None
            assert kind.wordings >= 20
    assert sum(values["share"] for values in found.letters.values()) == pytest.approx(1)


def test_a_question_that_gives_itself_away_is_caught(tmp_path: Path) -> None:
    """Yes whenever it says left: the prompt alone is worth 100 %, the most frequent answer 50 %."""
    records = [
        ask(n, f"Is the dog on the {'left' if n % 2 else 'right'} of the rain?", "Yes" if n % 2 else "No")
        for n in range(400)
    ]
    write_records(tmp_path / "closed-end/stage3-mixup/train.json", records)
    (kind,) = question_statistics(tmp_path).types
    (leak,) = kind.leaks
    assert leak.measure == "accuracy"
    assert leak.prompt_only == 1.0
    assert leak.majority == pytest.approx(0.5, abs=0.05)
    assert leak.random == pytest.approx(0.5, abs=0.1)
    assert kind.wordings == 2


def test_a_leak_is_caught_however_many_wordings_there_are(tmp_path: Path) -> None:
    """Yes to 70 % of the questions with "left", in two hundred wordings: their words vary, the direction does not."""
    words = [f"{a} {b}" for a in "abcdefghijklmno" for b in "abcdefghijklmno"][:200]
    records = [
        ask(
            n,
            f"Is {words[n // 2 % 200]} the dog {side} of the rain?",
            "Yes" if (n // 2 % 10 < 7) == (side == "left") else "No",
        )
        for n in range(2000)
        for side in ["left" if n % 2 else "right"]
    ]
    write_records(tmp_path / "closed-end/stage3-mixup/train.json", records)
    ((leak,),) = [kind.leaks for kind in question_statistics(tmp_path).types]
    assert leak.prompt_only == pytest.approx(0.7, abs=0.02)
    assert leak.majority == pytest.approx(0.5, abs=0.05)


def test_repeats_in_later_stages_count_once_and_eval_files_all(qa_set: Path) -> None:
    found = question_statistics(qa_set, split="eval")
    assert found.records == 600
    assert len(found.files) == 8
    with pytest.raises(BadInput, match="--questions must be 1 or more"):
        question_statistics(qa_set, sample=0)


def test_the_command_prints_rooms_and_questions(run: Run, qa_set: Path, tmp_path: Path) -> None:
    code, out, _ = run("dataset", "stats", qa_set, "--measure", 3, "--questions", 300)
    assert code == 0
    for text in ("DER of 1, 1.5 and 2 m", "41.2 %", "prompt only", "MIXUP_DIRECTION", "1440 questions"):
        assert text in out
    code, out, _ = run("dataset", "stats", qa_set, "--measure", 3, "--questions", 50, "--split", "eval", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["questions"]["sampled"] == 50
    assert told["rirs"] == 192
    write_records(tmp_path / "closed-end/stage1-clsdoa/train.json", [ask(0, "Where?", "left, front, above; 1m", "DOA")])
    code, out, _ = run("dataset", "stats", tmp_path, "--json")
    assert code == 0
    assert list(json.loads(out)) == ["questions"]
    code, out, _ = run("dataset", "stats", tmp_path / "closed-end/stage1-clsdoa/train.json", "--json")
    assert code == 0
    assert json.loads(out)["questions"]["records"] == 1
