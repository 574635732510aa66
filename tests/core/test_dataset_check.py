"""``bat-agent dataset check``: a whole set passes, and each way to break one is found at its file, record and line."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.datasets.check import check
from bat_agent.errors import BadInput

Run = Callable[..., tuple[int, str, str]]
FILE = "closed-end/stage1-clsdoa/train.json"
Item = dict[str, Any]


@pytest.fixture
def copy(qa_set: Path, tmp_path: Path) -> Path:
    """The train part of stage 1 with what it needs, to be broken."""
    for folder in ("AudioSet", "mp3d_reverb", "closed-end/stage1-clsdoa"):
        shutil.copytree(qa_set / folder, tmp_path / folder)
    return tmp_path


def change(root: Path, edit: Callable[[list[Item]], None], file: str = FILE) -> None:
    value = json.loads((root / file).read_text())
    edit(value["data"])
    lines = ",\n".join(json.dumps(item) for item in value["data"])
    (root / file).write_text(f'{{"data": [\n{lines}\n]}}\n')


def test_a_whole_set_passes(qa_set: Path) -> None:
    found = check(qa_set, listen=True)
    assert found.problems == []
    assert found.notes == []
    assert found.answers_verified == found.records > 1700
    assert len(found.types) == 20
    assert found.recordings == 32
    assert found.rirs > 96


def first(kind: str) -> Callable[[list[Item]], Item]:
    return lambda items: next(item for item in items if item["question_type"] == kind)


def mirrored(items: list[Item]) -> None:
    item = first("DOA")(items)
    swap = {"left": "right", "right": "left"}
    item["answer"] = " ".join(
        swap.get(w.rstrip(","), w.rstrip(",")) + w[len(w.rstrip(",")) :] for w in item["answer"].split()
    )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda items: items[0].update(audio_id="x/audio/Ynone"), "no recording AudioSet/x/audio/Ynone.wav"),
        (lambda items: items[0].update(reverb_id="house/7.npy"), "no mp3d_reverb/binaural/house/7.npy under"),
        (lambda items: items[0].update(reverb_id="../../etc/0.npy"), "leads out of the data set"),
        (lambda items: items[0].update(answer=""), "the answer is empty"),
        (lambda items: first("CLASSIFICATION")(items).update(answer="dog; unicorn"), "names 'unicorn', which is"),
        (lambda items: items[0].update(question_type="SMELL"), "unknown question_type 'SMELL'"),
        (lambda items: items[0].update(audio_id2="x/audio/Y"), "audio_id2 is given and reverb_id2 is not"),
        (lambda items: items[0].pop("question"), "it lacks question"),
        (mirrored, "left|right"),
        (lambda items: items[0]["geometry"][0].update(distance_m=9.9), "m from where the reverberation file has it"),
    ],
)  # fmt: skip
def test_broken_records_are_found(copy: Path, edit: Callable[[list[Item]], None], message: str) -> None:
    whole = check(copy, split="train")
    change(copy, edit)
    found = check(copy, split="train")
    (problem,) = found.problems
    assert problem.file == FILE
    assert problem.record is not None
    assert problem.line == problem.record + 2
    assert re.search(message, str(problem)), problem
    assert f"{FILE}, record {problem.record} (line {problem.line}): " in str(problem)
    assert found.records >= whole.records - 1


def test_json_that_breaks_off_is_a_problem_of_its_file(copy: Path) -> None:
    path = copy / FILE
    path.write_text(path.read_text()[:-30])
    found = check(copy)
    (problem,) = found.problems
    assert problem.record is None
    assert "the file ends within it" in problem.what
    assert found.records > 0, "other files are checked all the same"


def test_a_record_that_is_no_json(copy: Path) -> None:
    path = copy / FILE
    lines = path.read_text().split("\n")
    lines[4] = lines[4].replace('"question":', '"question"', 1)
    path.write_text("\n".join(lines))
    (problem,) = check(copy, split="train").problems
    assert (problem.record, problem.line) == (3, 5)
    assert "is not valid JSON" in problem.what


def test_cut_and_foreign_rirs(copy: Path) -> None:
    used = json.loads((copy / FILE).read_text())["data"][0]["reverb_id"]
    path = copy / "mp3d_reverb/binaural" / used
    content = path.read_bytes()
    for broken, message in (
        (content[: len(content) // 2], "is cut off"),
        (b"hello", "is no .npy file"),
        (b"", "is no .npy file"),
    ):
        path.write_bytes(broken)
        problems = check(copy, split="train").problems
        assert problems
        assert all(message in problem.what for problem in problems), problems[0]
    np.save(path, np.zeros((1, 10)))
    assert "has the shape (1, 10)" in check(copy, split="train").problems[0].what
    np.save(path, np.full((2, 10), np.nan))
    assert check(copy, split="train").problems == []
    assert "expected finite numbers" in check(copy, split="train", listen=True).problems[0].what


def test_recordings_that_are_none_are_heard_when_listened_to(copy: Path) -> None:
    audio = json.loads((copy / FILE).read_text())["data"][0]["audio_id"]
    (path,) = (copy / "AudioSet").glob(f"{audio}.*")
    path.write_bytes(b"no sound at all")
    assert check(copy, split="train").problems == []
    assert "as audio" in check(copy, split="train", listen=True).problems[0].what
    path.write_bytes(b"")
    assert "is empty (0 bytes)" in check(copy, split="train").problems[0].what


def test_repeated_ids_are_a_note_as_the_release_has_them(copy: Path) -> None:
    change(copy, lambda items: items.append(dict(items[0])))
    found = check(copy, split="train")
    assert found.problems == []
    assert "1 pairs of question_type and question_id are not unique" in found.notes[0]


def test_released_answers_are_checked_against_the_positions(copy: Path) -> None:
    """Records of the release have no geometry: where the answer says the source is, its RIR must be."""

    def as_released(items: list[Item]) -> None:
        for item in items:
            for ours in ("geometry", "kind", "seed"):
                item.pop(ours, None)

    change(copy, as_released)
    found = check(copy, split="train")
    assert found.problems == []
    assert found.answers_verified == 0
    assert found.locations_verified == found.types["DOA"]
    change(copy, mirrored)
    assert "but shoebox-train-" in check(copy, split="train").problems[0].what

    change(copy, mirrored)  # back again

    def farther(items: list[Item]) -> None:
        item = first("DOA")(items)
        item["answer"] = item["answer"].partition(";")[0] + "; 9.5m"

    change(copy, farther)
    assert any("the answer says 9.5 m" in problem.what for problem in check(copy, split="train").problems)


def test_a_broken_reverberation_file_is_a_problem(copy: Path) -> None:
    path = copy / "mp3d_reverb/train_reverberation.json"
    path.write_text(path.read_text()[:-200])
    (problem,) = check(copy, split="train").problems
    assert "train_reverberation.json, line" in problem.what


def test_a_zip_that_is_cut(copy: Path, tmp_path: Path) -> None:
    archive = copy / "mp3d_reverb.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted((copy / "mp3d_reverb").rglob("*.*")):
            packed.write(file, file.relative_to(copy))
    shutil.rmtree(copy / "mp3d_reverb")
    assert check(copy, limit=3).problems == []
    archive.write_bytes(archive.read_bytes()[:-100])
    problems = check(copy, limit=3).problems
    assert problems
    assert all("is damaged or no whole zip archive" in problem.what for problem in problems)


def test_filters(qa_set: Path) -> None:
    from bat_agent.questions import QuestionType

    assert check(qa_set, stages=[1], split="eval", limit=5).records == 10
    found = check(qa_set, types=[QuestionType.DOA], split="train", stages=[3], limit=7)
    assert found.types == {"DOA": 7}
    with pytest.raises(BadInput, match="holds no"):
        check(qa_set / "AudioSet")


def test_the_command(run: Run, copy: Path) -> None:
    code, out, _ = run("dataset", "check", copy, "--split", "train", "--stage", 1)
    assert code == 0
    assert "0 problems" in out
    change(copy, lambda items: items[0].update(reverb_id="house/7.npy"))
    code, out, _ = run("dataset", "check", copy, "--types", "A,B", "--json")
    assert code == 1
    assert json.loads(out)["problems"][0]["record"] == 0
    code, out, _ = run("dataset", "check", copy)
    assert code == 1
    assert "train.json, record 0 (line 2): no mp3d_reverb" in out
    code, _, err = run("dataset", "check", copy / "nothing")
    assert code == 2
    assert "does not exist" in err
