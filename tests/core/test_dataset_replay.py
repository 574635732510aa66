"""RIRs made again from their JSON: the same bytes, or a plain word on what differs or is lacking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.datasets.layout import ReverberationFile
from bat_agent.datasets.plan import Plan
from bat_agent.datasets.replay import replay
from bat_agent.datasets.rirs import make_rirs
from bat_agent.errors import BadInput

JSON = "mp3d_reverb/train_reverberation.json"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A set with two sources at once, mono, and options."""
    out = tmp_path / "made"
    options = {"ear_offset_m": 0.1, "head_shadow_db": 9.0}
    make_rirs(Plan("echo", 3, 13, options=options, sources=2, seconds=0.05, mono=True), out)
    return out


def test_a_set_made_again_from_its_json_alone_is_the_same(made: Path, tmp_path: Path) -> None:
    """Only the JSON travels: options, length, sources and mono all come from it."""
    lonely = tmp_path / "train_reverberation.json"
    lonely.write_bytes((made / JSON).read_bytes())
    result = replay(lonely, tmp_path / "again")
    assert (result.rirs, result.differing) == (13, ())
    assert contents(tmp_path / "again") == contents(made)


@pytest.mark.parametrize("seconds", [None, 0.1])
def test_shoebox_rirs_come_again_bit_for_bit(tmp_path: Path, seconds: float | None) -> None:
    """Late tails too, which are noise from the scene's seed; two sources, and a heading."""
    options = {"random_heading": True, "onset": "direct_at_zero"}
    make_rirs(Plan("shoebox", 2, 6, options=options, sources=2, seconds=seconds), tmp_path)
    assert replay(tmp_path / JSON).differing == ()
    only = "shoebox-train-00001/2.npy"
    assert replay(tmp_path / JSON, tmp_path / "one", only=[only]).rirs == 1
    written = contents(tmp_path / "one")
    assert written == {f"mp3d_reverb/binaural/{only}": (tmp_path / "mp3d_reverb/binaural" / only).read_bytes()}
    assert np.load(tmp_path / "mp3d_reverb/binaural" / only).any()


def test_what_differs_is_told(made: Path) -> None:
    folder = made / "mp3d_reverb"
    one = folder / "binaural/echo-train-00000/1.npy"
    rir = np.load(one)
    peak = np.abs(rir).max()
    rir[0, 5] += peak * 2**-20
    np.save(one, rir)
    (folder / "mono/echo-train-00001/0.npy").unlink()
    (folder / "binaural/echo-train-00002/3.npy").write_bytes(b"nonsense")
    np.save(folder / "binaural/echo-train-00002/0.npy", rir.astype(np.float32))
    result = replay(made / JSON)
    assert result.rirs == 13
    assert result.differing == (
        "echo-train-00000/1.npy: binaural file differs by up to 9.5e-07 of the peak",
        "echo-train-00001/0.npy: mono file cannot be read (No such file or directory)",
        "echo-train-00002/0.npy: binaural file is float32 (2, 1600), made again float64 (2, 1600)",
        "echo-train-00002/3.npy: binaural file is no whole .npy file",
    )


def test_bytes_other_than_the_checksum_are_told_when_written(made: Path, tmp_path: Path) -> None:
    file = made / JSON
    data = json.loads(file.read_text())
    data["data"][4]["sha256"] = "0" * 64
    file.write_text(json.dumps(data))
    (told,) = replay(file, tmp_path / "again").differing
    assert told == f"{data['data'][4]['fname']}: not the bytes whose checksum the JSON holds"


def test_a_released_file_cannot_be_replayed_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "train_reverberation.json"
    released = {"fname": "17DRP5sb8fy/3.npy", "sensor_position": "1.0,1.5,2.0", "source_position": "2.0,1.0,2.5"}
    file.write_text(json.dumps({"data": [released, released]}))
    with pytest.raises(BadInput) as refused:
        replay(file)
    assert str(refused.value) == (
        f"{file} holds no scene for 2 of 2 RIRs, such as 17DRP5sb8fy/3.npy: without room, materials, head, simulator "
        f"and seed, which released files lack, a RIR cannot be made again; replay a file that bat-agent dataset rirs "
        f"wrote"
    )


def test_an_unknown_name_is_refused(made: Path) -> None:
    with pytest.raises(BadInput, match=r"has no entry 'house/9\.npy'; name entries as their fname, scene/n\.npy"):
        replay(made / JSON, only=["house/9.npy", "echo-train-00000/0.npy"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scene": {"sources": [1, 2]}}, r"echo-train-00000/1\.npy: scene lacks \['listener', 'room'\]"),
        ({"seconds": -1}, r"echo-train-00000/1\.npy: seconds must be null or lie in \(0, 60\], got -1"),
        ({"source_index": 7}, r"echo-train-00000/1\.npy: source_index 7 is not among the 2 sources of its scene"),
        ({"fname": "../../etc/1.npy"}, r"line 3: fname '\.\./\.\./etc/1\.npy' is not of the form scene/n\.npy"),
        ({"fname": "/etc/1.npy"}, r"line 3: fname '/etc/1\.npy' is not of the form scene/n\.npy"),
        ({"source_position": "1,2"}, r"line 3: '1,2' is no position x,y,z"),
        ({"source_position": None}, r"line 3: an entry of data lacks source_position"),
        ({"heading_deg": "north"}, r"line 3: heading_deg must be a number, got 'north'"),
    ],
)
def test_a_malformed_entry_is_told_by_line_or_name(made: Path, change: dict[str, Any], says: str) -> None:
    file = made / JSON
    lines = file.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2].rstrip(",")) | change) + ","
    file.write_text("\n".join(lines))
    with pytest.raises(BadInput, match=says):
        replay(file)


# --- reading the JSON, which is done piece by piece ---

ENTRY = {"fname": "a/0.npy", "sensor_position": "0,1.5,0", "source_position": "1,1,1"}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("shape", ["object", "list", "keys around"])
def test_every_layout_of_json_is_read(tmp_path: Path, indent: int | None, count: int, shape: str) -> None:
    data = [ENTRY | {"fname": f"a/{i}.npy", "more": {"x": [1, {"y": "]},"}]}} for i in range(count)]
    around = {"version": [1, {"data": 2}], "note": None, "data": data, "after": 1}
    value = {"object": {"data": data}, "list": data, "keys around": around}[shape]
    file = tmp_path / "r.json"
    file.write_text(json.dumps(value, indent=indent))
    read = ReverberationFile(file)
    assert list(read) == list(read) == data
    assert read.header == ({"version": [1, {"data": 2}], "note": None} if shape == "keys around" else {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: expected '{' and found 'the end of the file'"),
        ("hello", "line 1: expected '{' and found 'h'"),
        ('{\n"a": 1\n}', "line 3: it has no list named data"),
        ('{"data": 5}', "line 1: expected '[' and found '5'"),
        ('{"data": [\n{"fname": "a/0.npy"\n"x": 1}]}', "line 3: Expecting ',' delimiter"),
        ('{"data": [\n5]}', "line 2: an entry of data is no object"),
        (json.dumps({"data": [ENTRY]})[:-2], "line 1: expected ',' and found 'the end of the file'"),
        ('{"data" [', "line 1: expected ':' and found '['"),
    ],
)
def test_broken_json_is_told_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(BadInput) as refused:
        list(ReverberationFile(file))
    message = str(refused.value)
    assert message.startswith(f"{file}, {says}")
    assert message.endswith("; expected a reverberation JSON, mend or download it again")


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="no UTF-8 text"):
        ReverberationFile(tmp_path / "r.json")
    with pytest.raises(BadInput, match="No such file"):
        ReverberationFile(tmp_path / "absent.json")
