"""Records and prompt of SpatialSoundQA: released examples, round trips, files that are cut, broken or very long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bat_agent.errors import BadInput
from bat_agent.questions import PROMPT, QARecord, iter_records, prompt, read_records, write_records

README = (  # verbatim from the released README
    {"audio_id": "eval/audio/YI-HlrcP6Qg4", "reverb_id": "q9vSo1VnCiC/0.npy", "audio_id2": None, "reverb_id2": None,
     "question_id": 0, "question_type": "CLASSIFICATION",
     "question": "Enumerate the sound occurrences in the audio clip.",
     "answer": "accelerating, revving, vroom; car; vehicle"},
    {"audio_id": "eval/audio/YZX2fVPmUidA", "reverb_id": "q9vSo1VnCiC/32.npy", "audio_id2": "eval/audio/YjNjUU01quLs",
     "reverb_id2": "q9vSo1VnCiC/31.npy", "question_id": 58, "question_type": "MIXUP_NONBINARY_DISTANCE",
     "question": "How far away is the sound of the banjo from the sound of the whack, thwack?", "answer": "2m"},
)  # fmt: skip


@pytest.mark.parametrize("wrap", [lambda r: {"data": r}, lambda r: r])
@pytest.mark.parametrize("indent", [None, 2])
def test_released_files_read(tmp_path: Path, wrap, indent) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "qa.json"
    path.write_text(json.dumps(wrap(list(README)), indent=indent))
    records = read_records(path)
    assert [r.to_dict() for r in records] == list(README)
    assert [r.type.letter for r in records] == ["A", "E"]


def test_large_files_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records across the borders of read chunks come out whole, for every position of the border."""
    path = tmp_path / "qa.json"
    records = [QARecord(**{**README[i % 2], "question_id": i, "question": f"Où? {'ü' * i}"}) for i in range(40)]
    assert write_records(path, records) == 40
    assert json.loads(path.read_text(encoding="utf-8"))["data"][7]["question"] == "Où? üüüüüüü"
    for chunk in (1000, 1013, 4096):
        monkeypatch.setattr("bat_agent.questions.files._BLOCK", chunk)
        assert read_records(path) == records
    write_records(path, [])
    assert read_records(path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"rows": []}', "must hold"),
        ('{"data": [{"audio_id": 1}]}', r"record 0 of QA file .*qa.json .line 1.: it lacks reverb_id"),
        ('{"data": [7]}', "record 0 .* must be an object"),
        ('{"data": [' + json.dumps(README[0]) + ', {"audio_id": ]}]}', "record 1 .*line 1. is not valid JSON"),
        ('{"data": [' + json.dumps(README[0]) + ",", "ends after record 0"),
        ('{"data": [' + json.dumps(README[0])[:-30], "record 0 .* not valid JSON"),
        (json.dumps([{**README[0], "question_type": "DOAA"}]), "record 0 .*unknown question_type 'DOAA'"),
        (
            json.dumps([README[0], {**README[1], "audio_id2": None}]),
            "record 1 .*reverb_id2 is given and audio_id2 is not",
        ),
        (json.dumps([{**README[0], "question_type": "MIXUP_DIRECTION"}]), "about 2 source"),
        (json.dumps([{**README[0], "answer": None}]), "answer must be a text"),
    ],
)
def test_malformed_files_name_the_record(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "qa.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        list(iter_records(path))


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot read QA file .*none\.json"):
        read_records(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"[\xff\xfe\x00")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_records(tmp_path / "b.json")


def test_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "qa.json"
    write_records(path, [QARecord(**README[0])])  # type: ignore[arg-type]
    before = path.read_bytes()

    def broken():  # type: ignore[no-untyped-def]
        yield QARecord(**README[1])  # type: ignore[arg-type]
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        write_records(path, broken())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["qa.json"]


def test_prompt_is_the_papers() -> None:
    assert prompt("Where is {it}?").endswith("### Instruction:\nWhere is {it}?\n\n### Response:")
    assert PROMPT.startswith("Based on the audio you've heard, refer to the instruction and provide a response.\n\n###")
