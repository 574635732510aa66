"""Computed rows: chance is where the paper has it, and what is learnt is never learnt from the question itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.questions import QARecord, QuestionType, write_records
from bat_agent.scoring import LexicalEmbedder, comparison_rows, score
from bat_agent.scoring.rows import majority_answers

T = QuestionType
REGIONS = [f"{a}, {b}, {c}" for a in ("left", "right") for b in ("front", "behind") for c in ("above", "below")]


def asked(kind: QuestionType, answers: list[str], text: str = "What is it?") -> list[QARecord]:
    second = ("z", "z.npy") if kind.num_sources == 2 else (None, None)
    return [QARecord(f"a{n}", f"{n}.npy", *second, n, kind.value, text, answer) for n, answer in enumerate(answers)]


def test_chance_is_one_in_eight_and_one_in_two(rng: np.random.Generator) -> None:
    """BAT, table 4: 12.5 % and 50 %; over 20 000 questions the standard error is 0.35 points at most.

    Truth is lopsided, as in real rooms, which chance does not care about. It is drawn with the seed that chance has
    too: answers drawn from the same generator as the truth were once all right.
    """
    n = 20_000
    places = rng.choice(REGIONS, size=n, p=np.array([5, 1, 4, 2, 3, 1, 2, 2]) / 20)
    records = asked(T.DOA, [f"{place}; {d / 2:g}m" for place, d in zip(places, rng.integers(1, 20, n), strict=True)])
    records += asked(T.MIXUP_DIRECTION, rng.choice(["Yes", "No"], size=n, p=[0.7, 0.3]).tolist())
    records += asked(T.MIXUP_DISTANCE_BOTH, np.random.default_rng(0).choice(["Yes", "No"], size=n).tolist())
    found = score(records, comparison_rows(records)["random"], embedder=LexicalEmbedder())
    assert found.types["DOA"]["region"].value == pytest.approx(0.125, abs=0.01)
    for axis in ("left_right", "front_behind", "above_below"):
        assert found.types["DOA"][axis].value == pytest.approx(0.5, abs=0.015)
    assert {name: f.value for name, f in found.binary.items()} == pytest.approx(
        {"direction": 0.5, "distance": 0.5, "accuracy": 0.5}, abs=0.015
    )
    assert found.types["DOA"]["malformed"].value == 0.0


def test_the_oracle_is_the_truth(records: list[QARecord]) -> None:
    assert comparison_rows(records)["oracle"] == [r.answer for r in records]


def test_majority_of_each_type() -> None:
    train = asked(T.DOA, ["a", "b", "b"]) + asked(T.MIXUP_DIRECTION, ["No", "No", "No", "Yes"])
    wanted = asked(T.DOA, ["?"]) + asked(T.MIXUP_DIRECTION, ["?"]) + asked(T.CLASSIFICATION, ["?"])
    assert majority_answers(train, wanted) == ["b", "No", "No"]
    with pytest.raises(BadInput, match="at least one"):
        majority_answers([], wanted)


def test_questions_about_one_clip_do_not_teach_each_other() -> None:
    """Each clip has its own answer to its own wording, asked twice: learnt across the halves nothing of it is known."""
    one = [QARecord(f"a{n}", f"{n}.npy", None, None, n, "CLASSIFICATION", f"What is sound {n:03d}?", f"label {n}")
           for n in range(40)]  # fmt: skip
    rows = comparison_rows(one * 2)
    for name in ("prompt only", "majority"):
        assert not any(said == r.answer for said, r in zip(rows[name], one * 2, strict=True))


def test_a_training_file_teaches_what_the_wording_gives_away(tmp_path: Path) -> None:
    train = asked(T.MIXUP_DIRECTION, ["Yes"] * 3, "Is the dog on your left?")
    train += asked(T.MIXUP_DIRECTION, ["No"] * 4, "Is the dog above you?")
    write_records(tmp_path / "train.json", train)
    wanted = asked(T.MIXUP_DIRECTION, ["Yes"], "Is the rain on your left?")
    rows = comparison_rows(wanted, train=tmp_path / "train.json")
    assert rows["prompt only"] == ["Yes"]
    assert rows["majority"] == ["No"]
    write_records(tmp_path / "empty.json", [])
    with pytest.raises(BadInput, match=r"empty\.json has no record to learn from"):
        comparison_rows(wanted, train=tmp_path / "empty.json")


def test_a_single_clip_has_no_learnt_rows() -> None:
    assert set(comparison_rows(asked(T.DOA, ["left, front, above; 2m"]))) == {"random", "oracle"}


def test_rows_depend_on_the_seed_alone(records: list[QARecord]) -> None:
    assert comparison_rows(records, 1) == comparison_rows(records, 1)
    assert comparison_rows(records, 1)["random"] != comparison_rows(records, 2)["random"]
