"""Free questions in a SpatialSoundQA set and from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bat_agent.datasets.check import check
from bat_agent.datasets.draw_qa import Draw
from bat_agent.datasets.qa import QAPlan, make_qa
from bat_agent.datasets.rooms import ReleasedRooms
from bat_agent.datasets.sound_libraries import from_manifest
from bat_agent.datasets.spatialsoundqa import SpatialSoundQA
from bat_agent.questions import QARecord, QuestionType, parse_types, read_records
from bat_agent.questions.free import INTENTS
from bat_agent.questions.free.fixed import fixed_records
from bat_agent.questions.free.voices import HELD_OUT, TRAIN
from bat_agent.scoring.statistics import question_statistics

Run = Callable[..., tuple[int, str, str]]
AT_REST = [name for name, intent in INTENTS.items() if not intent.moving]


@pytest.fixture(scope="module")
def free_set(qa_set: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("free")
    for split, fold in (("train", 1), ("eval", 2)):
        make_qa(QAPlan(str(manifest), 7, rirs=str(qa_set), free=5 * len(AT_REST), split=split, folds=(fold,)), root)
    return root


def test_a_set_has_all_intents_in_the_voices_of_its_part(free_set: Path) -> None:
    for split, voices in (("train", TRAIN), ("eval", HELD_OUT)):
        records = list(SpatialSoundQA(free_set, stages=[5], split=split))
        assert {record.type for record in records} == {QuestionType.FREE}
        assert len(records) == 5 * len(AT_REST)
        assert {(r.kind or "").partition(".")[0] for r in records} == set(AT_REST)
        assert {(r.kind or "").partition(".")[2] for r in records} == set(voices)
        assert {r.type.letter for r in records} == {"F"}
    assert parse_types("F") == [QuestionType.FREE]
    assert (free_set / "closed-end/stage5-free/eval-stage5-free.json").is_file()


def test_every_record_is_checked(free_set: Path) -> None:
    found = check(free_set, types=[QuestionType.FREE])
    assert found.problems == []
    assert found.answers_verified == found.records == 10 * len(AT_REST)


def test_a_wrong_answer_is_a_problem(free_set: Path, tmp_path: Path) -> None:
    file = free_set / "closed-end/stage5-free/eval-stage5-free.json"
    content = json.loads(file.read_text())
    number = next(n for n, r in enumerate(content["data"]) if r["answer"] == "Yes")
    content["data"][number]["answer"] = "No"
    (tmp_path / "closed-end/stage5-free").mkdir(parents=True)
    (tmp_path / "closed-end/stage5-free/train.json").write_text(json.dumps(content))
    for name in ("AudioSet", "mp3d_reverb"):
        (tmp_path / name).symlink_to(free_set / name)
    (problem,) = check(tmp_path).problems
    assert problem.record == number
    assert "the answer is 'No', but 'Yes' is true" in str(problem)


def test_made_again_it_is_the_same_and_every_record_is_derived(free_set: Path, manifest: Path) -> None:
    records = list(SpatialSoundQA(free_set, stages=[5], split="train"))
    draw = Draw(
        from_manifest(manifest).filter(folds=[1]),
        ReleasedRooms(free_set / "mp3d_reverb/train_reverberation.json", 1.0),
        lambda sound: "balanced_train/audio/Y" + sound.id.replace("/", "-").removesuffix(".flac"),
        seed=0,
        split="train",
    )
    again = [drawn.record for drawn in draw.records([QuestionType.FREE] * 40, 7)]
    assert [draw.derive(record).record for record in reversed(again)] == again[::-1]
    assert len(records) > len(again)


def test_sets_without_them_say_nothing_of_them(manifest: Path) -> None:
    assert "free" not in QAPlan(str(manifest), 7, rirs="x").arguments()
    assert QAPlan(str(manifest), 7, rirs="x", free=3).arguments()["free"] == 3


def test_statistics_are_by_intent(free_set: Path) -> None:
    found = question_statistics(free_set)
    intents = {one.intent: one for one in found.intents}
    assert set(intents) == set(AT_REST)
    assert {one.records for one in found.intents} == {5}
    assert intents["is_side"].yes in (0.4, 0.6)
    assert intents["how_far"].yes is None


def test_records_keep_their_query_in_files(free_set: Path) -> None:
    for record in SpatialSoundQA(free_set, stages=[5], limit=50):
        assert QARecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
        assert record.query


def test_the_command_asks_scores_and_writes(run: Run, tmp_path: Path) -> None:
    file, said = tmp_path / "free.json", tmp_path / "said.jsonl"
    assert run("evaluate", "free", "--count", "61", "--write", str(file))[0] == 0
    records = read_records(file)
    assert records == fixed_records(61)
    said.write_text("".join(json.dumps({"record": n, "answer": r.answer}) + "\n" for n, r in enumerate(records)))
    code, out, _ = run("evaluate", "free", "--count", "61", "--answers", str(said), "--json")
    told = json.loads(out)
    assert code == 0
    assert told["understood"] == 1.0
    assert told["intents"]["all"] == {"value": 1.0, "low": 1.0, "high": 1.0, "count": 61}
    code, out, _ = run("evaluate", "free", "--count", "61")
    assert code == 0
    assert "understood" in out
    code, _, err = run("evaluate", "free", "bat-small", "--answers", str(said))
    assert code != 0
    assert "give one of them" in err


def test_evaluate_qa_tells_intents(run: Run, free_set: Path, tmp_path: Path) -> None:
    file = free_set / "closed-end/stage5-free/eval-stage5-free.json"
    said = tmp_path / "said.jsonl"
    said.write_text(
        "".join(json.dumps({"record": n, "answer": r.answer}) + "\n" for n, r in enumerate(read_records(file)))
    )
    code, out, err = run("evaluate", "qa", str(file), "--answers", str(said))
    assert code == 0, err
    line = next(line for line in out.splitlines() if "F turn_degrees" in line)
    assert "100.0" in line
