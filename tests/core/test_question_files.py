"""Files of records by their bytes: every record found where a JSON parser finds it, whatever its strings hold."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bat_agent.errors import BadInput
from bat_agent.questions import HeardSource, QARecord, RecordFile, files, write_records
from bat_agent.questions.files import RecordWriter, encode
from bat_agent.scene import Position

ONE = QARecord("eval/audio/Ya", "s/0.npy", None, None, 0, "DOA", "Where?", "left, front, above; 1m")
# What ends strings, opens objects or closes lists for whoever reads bytes carelessly.
awkward = st.text(alphabet='"\\{}[],:ü☃\n\t abc', max_size=20)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    questions=st.lists(awkward, max_size=6),
    block=st.integers(1, 70),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
    bare=st.booleans(),
)
def test_records_are_found_where_a_parser_finds_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    questions: list[str],
    block: int,
    ascii_only: bool,
    indent: int | None,
    bare: bool,
) -> None:
    """In blocks of any size, so that every border falls anywhere, also between a backslash and what it escapes."""
    monkeypatch.setattr(files, "_BLOCK", block)
    items = [ONE.to_dict() | {"question_id": n, "question": text} for n, text in enumerate(questions)]
    value = items if bare else {"made_by": {"a": ["}", {"data": "]"}]}, "data": items}
    path = tmp_path / "qa.json"
    path.write_text(json.dumps(value, ensure_ascii=ascii_only, indent=indent), encoding="utf-8")
    file = RecordFile(path)
    assert [record.question for record in file] == questions
    assert [file[n].question for n in range(len(file))] == questions
    assert file.types() == ["DOA"] * len(questions)


def test_any_record_by_its_number(tmp_path: Path) -> None:
    records = [QARecord(**{**ONE.to_dict(), "question_id": n}) for n in range(50)]
    write_records(tmp_path / "qa.json", records, {"made_by": "a test"})
    file = RecordFile(tmp_path / "qa.json")
    assert file[-1] == records[-1]
    assert file[10:13] == records[10:13]
    assert file.line(0) == 2
    assert file.line(49) == 51
    with pytest.raises(IndexError):
        file[50]
    assert list(pickle.loads(pickle.dumps(file))) == records


def test_memory_holds_places_not_records(tmp_path: Path) -> None:
    """Sixteen bytes a record, however long the records are."""
    path = tmp_path / "qa.json"
    with RecordWriter(path) as file:
        line = encode(QARecord(**{**ONE.to_dict(), "question": "x" * 2000}))
        for _ in range(3000):
            file.add(line)
    opened = RecordFile(path)
    assert len(opened) == 3000
    assert len(pickle.dumps(opened)) < 3000 * 16 + 1000 < path.stat().st_size / 100


def test_what_ours_adds_goes_through_and_others_ignore_it(tmp_path: Path) -> None:
    source = HeardSource(("Dog", "Bark"), Position(12.5, -3.0, 2.25), Position(90.0, 0.0, 1.0))
    record = QARecord(
        **{**ONE.to_dict(), "question_type": "MOTION"}, geometry=(source,), kind="moves", seed=(0, 1, 2, 3),
        reverb_path=("s/0.npy", "s/1.npy"),
    )  # fmt: skip
    write_records(tmp_path / "qa.json", [record, ONE])
    assert list(RecordFile(tmp_path / "qa.json")) == [record, ONE]
    (ours, released) = json.loads((tmp_path / "qa.json").read_text())["data"]
    assert list(ours)[:8] == list(released) == list(ONE.to_dict())
    assert ours["geometry"][0]["azimuth_deg"] == 12.5
    assert QARecord.from_dict(released | {"somebody's": 1}) == ONE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reverb_id2": "s/1.npy"}, "reverb_id2 is given and audio_id2 is not"),
        ({"audio_id2": "eval/audio/Yb"}, "audio_id2 is given and reverb_id2 is not"),
        ({"audio_id3": "x", "reverb_id3": "y"}, "source 2 is missing between others"),
        ({"geometry": [{"labels": ["Dog"]}]}, "a source of geometry must have labels, azimuth_deg"),
        ({"geometry": 3}, "geometry must be a list"),
        ({"geometry": []}, "geometry has 0 sources, but the record names 1"),
        ({"seed": "abc"}, "seed must be a list"),
    ],
)
def test_half_a_source_is_none(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        QARecord.from_dict(ONE.to_dict() | change)


def test_bidepth_asks_its_types_of_two_sources() -> None:
    """BiDepth (OWL) has the eight fields, but CLASSIFICATION and DOA for either number of sources."""
    item = ONE.to_dict() | {"audio_id2": "a/b", "reverb_id2": "s/1.npy", "answer": "two o'clock, up, 2.5 m"}
    assert len(QARecord.from_dict(item).sources) == 2
    with pytest.raises(BadInput, match="MIXUP_DIRECTION is about 2 source"):
        QARecord.from_dict(ONE.to_dict() | {"question_type": "MIXUP_DIRECTION"})


def test_garbage_between_records_is_told_with_its_place(tmp_path: Path) -> None:
    text = json.dumps(ONE.to_dict())
    for broken, message in (
        (f'{{"data": [\n{text},\n7\n]}}', r"record 1 .*line 3.* must be an object .* got '7\\n\]\}'|got '7"),
        (f"[{text} oops {text}]", "record 1 .*must be an object"),
        (f"[{text}", "ends after record 0 without closing"),
        (f"[{text[:-5]}", "record 0 .*the file ends within it"),
        ("", "must hold"),
        ('{"data": {"a": 1}}', "must hold"),
    ):
        (tmp_path / "qa.json").write_text(broken)
        with pytest.raises(BadInput, match=message):
            RecordFile(tmp_path / "qa.json")


def test_bounds_are_those_of_the_bytes(tmp_path: Path) -> None:
    """The index against an independent search for the objects in a file without awkward strings."""
    rng = np.random.default_rng(0)
    records = [QARecord(**{**ONE.to_dict(), "question": "é" * int(n)}) for n in rng.integers(0, 400, 200)]
    path = tmp_path / "qa.json"
    write_records(path, records)
    lines = path.read_bytes().split(b"\n")[1:-2]
    file = RecordFile(path)
    assert [file._read(int(a), int(b - a)) for a, b in file._bounds] == [line.rstrip(b",") for line in lines]
