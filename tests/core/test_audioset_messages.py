"""``bat-agent dataset audioset``: what is wrong with lists, audio or output is told in one sentence."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bat_agent.datasets import audioset, clip_lists
from bat_agent.datasets.audioset import curate
from bat_agent.errors import BadInput

Run = Callable[..., tuple[int, str, str]]
DOG, SPEECH, BELL = "/m/0bt9lr", "/m/09x0r", "/m/0395lw"
NOISE = "/m/096m7z"  # a class of AudioSet that BAT leaves out
EVAL = f"""\
# YTID, start_seconds, end_seconds, positive_labels
--4gqARaEJE, 0.000, 10.000, "{DOG},{NOISE}"
_1234567890, 5.000, 15.000, "{SPEECH}"
abcdefghijk, 0.000, 7.500, "{NOISE}"
"""
KEPT = [
    {"id": "--4gqARaEJE", "folder": "eval", "label": [DOG]},
    {"id": "_1234567890", "folder": "eval", "label": [SPEECH]},
]


@pytest.fixture
def google(tmp_path: Path) -> Path:
    """A folder with Google's evaluation list."""
    folder = tmp_path / "google"
    folder.mkdir()
    (folder / "eval_segments.csv").write_text(EVAL)
    return folder


def released(folder: Path, items: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "eval.json").write_text(json.dumps(items))
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "abcdefghijk",
        f'abc defghij, 0.000, 10.000, "{DOG}"',
        f'abcdefghijk, zero, 10.000, "{DOG}"',
        f'abcdefghijk, 0.000, "{DOG}"',
        "abcdefghijk, 0.000, 10.000, Dog",
        'abcdefghijk, 0.000, 10.000, ""',
        f'abcdefghijk, 0.000, 10.000, "{DOG}',
        f'abcdefghijk, 0.000, 10.000, "{DOG}", 1',
        f'{"a" * 40}, 0.000, 10.000, "{DOG}"',
        "YTID,start_seconds,end_seconds,positive_labels",
        "\x00\x01",
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "eval_segments.csv"
    file.write_text(f'# comment\n--4gqARaEJE, 0.000, 10.000, "{DOG}"\n\n{line}\n')
    with pytest.raises(BadInput, match=r"eval_segments\.csv:4: .* is no clip, expected YTID, .*; mend or delete it"):
        curate([file], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_text_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "eval_segments.csv"
    file.write_bytes(b"\xff\xfe\x00\x80" * 100)
    with pytest.raises(BadInput, match=r"eval_segments\.csv:1: .{1,400} is no clip"):
        curate([file], tmp_path)


def test_an_id_that_stands_twice_is_named_with_both_lines(google: Path, tmp_path: Path) -> None:
    file = google / "eval_segments.csv"
    file.write_text(EVAL + f'zzzzzzzzzzz, 0, 1, "{DOG}"\nabcdefghijk, 0, 1, "{DOG}"\nzzzzzzzzzzz, 0, 1, "{DOG}"\n')
    with pytest.raises(BadInput, match=r"csv:6: clip abcdefghijk stands already at .*csv:4, expected each once"):
        curate([google], tmp_path)
    folder = released(tmp_path / "in", [KEPT[0], KEPT[1], KEPT[0] | {"id": "Y--4gqARaEJE"}])
    with pytest.raises(BadInput, match=r"eval\.json: item 2: clip --4gqARaEJE stands already at .*eval\.json: item 0"):
        curate([folder], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"eval\.json:1: is no JSON list of clips \(it breaks off\); mend it or download it again"),
        ('{"data": []}', r"eval\.json:1: .*'\{' stands where '\[' was expected"),
        ('[\n{"id": }]', r"eval\.json:2: .*\(Expecting value\)"),
        ('[\n{"id": "a"', r"eval\.json:2: .*\(Expecting"),
        ('[{"id": "abc", "folder": "eval", "label": []}\n\n;', r"eval\.json:3: .*';' stands where ',' was"),
        ('[{"id": "abc", "folder": "eval", "label": []}', r"eval\.json:1: .*it breaks off"),
        ("[]\n[]", r"eval\.json:2: .*something stands behind the list"),
        ("[1]", r"eval\.json: item 0 is '1', expected \{\"id\": \"…\", \"folder\": \"eval\", .*; mend or delete it"),
        ('[{"id": "abc", "folder": "eval"}]', "item 0 is .*abc.*, expected"),
        ('[{"id": "a/c", "folder": "eval", "label": []}]', "item 0 is .*a/c.*, expected"),
        ('[{"id": "abc", "folder": "eval", "label": [3]}]', "item 0 is .*, expected"),
        ('[{"id": "abc", "folder": "test", "label": []}]', "item 0 is in folder 'test', expected 'eval'; mend"),
        ('[{"id": "abc", "folder": "eval/more", "label": []}]', "item 0 is in folder 'eval/more', expected 'eval'"),
    ],
)
@pytest.mark.parametrize("block", [1 << 20, 5])
def test_a_broken_released_list_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str, block: int
) -> None:
    monkeypatch.setattr(clip_lists, "_BLOCK", block)
    (tmp_path / "eval.json").write_text(text)
    with pytest.raises(BadInput, match=message):
        curate([tmp_path], tmp_path / "out")


def test_a_long_broken_list_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks broken may be cut by the block, so more is read; but no more than an item may take."""
    monkeypatch.setattr(clip_lists, "_BLOCK", 64)
    monkeypatch.setattr(clip_lists, "_LONGEST_ITEM", 100)
    (tmp_path / "eval.json").write_text('[{"id"; "abc"},\n' + '{"id": "abc"},\n' * 1000)
    blocks = 0

    class Counting(clip_lists._JsonList):
        def _read(self) -> bool:
            nonlocal blocks
            blocks += 1
            return super()._read()

    monkeypatch.setattr(clip_lists, "_JsonList", Counting)
    with pytest.raises(BadInput, match=r"eval\.json:1: .*Expecting ':'"):
        curate([tmp_path], tmp_path / "out")
    assert blocks <= 3


def test_sources_without_lists_are_refused(google: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput, match="holds no list of clips") as caught:
        curate([empty], tmp_path)
    for name in ("unbalanced_train_segments", "balanced_train_segments", "eval_segments"):
        assert f"{name}.csv" in str(caught.value)
    for name in ("unbalanced.json", "balanced.json", "eval.json", "AudioSet/metadata", "research.google.com/audioset"):
        assert name in str(caught.value)
    with pytest.raises(BadInput, match=r"absent does not exist, expected a folder with .*eval_segments\.csv; name"):
        curate([tmp_path / "absent"], tmp_path)
    (tmp_path / "mine.csv").touch()
    with pytest.raises(BadInput, match=r"mine\.csv says no split, expected one of .*eval\.json; rename it"):
        curate([tmp_path / "mine.csv"], tmp_path)
    with pytest.raises(BadInput, match=r"are both lists of eval, expected one; leave one out"):
        curate([google, google / "eval_segments.csv"], tmp_path)


def test_a_list_that_cannot_be_read_is_named(google: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # a file's mode does not hinder root
    with pytest.raises(BadInput, match=r"cannot read .*eval_segments\.csv \(Permission denied\); name a list"):
        curate([google], tmp_path)


def test_an_empty_result_is_refused_and_writes_nothing(google: Path, tmp_path: Path) -> None:
    for text in ("# only comments\n", f'abcdefghijk, 0, 1, "{NOISE}"\n'):
        (tmp_path / "eval_segments.csv").write_text(text)
        with pytest.raises(BadInput, match=r"none of the clips of .* has one of the 355 classes; name the lists"):
            curate([tmp_path / "eval_segments.csv"], tmp_path / "out")
    (tmp_path / "eval/audio").mkdir(parents=True)
    for audio in (tmp_path, google):
        with pytest.raises(BadInput, match=r"has the audio of none of 2 clips .*Y<id>\.wav .* in eval/audio of its"):
            curate([google], tmp_path / "out", audio=audio)
    with pytest.raises(BadInput, match=r"no folder of audio at .*absent, expected one that holds AudioSet/eval/audio"):
        curate([google], tmp_path / "out", audio=tmp_path / "absent")
    assert not (tmp_path / "out").exists()


def test_a_released_list_is_not_overwritten_by_what_is_left_of_it(tmp_path: Path) -> None:
    released(tmp_path / "AudioSet/metadata", KEPT)
    for source in (tmp_path, tmp_path / "AudioSet/metadata/eval.json"):
        with pytest.raises(BadInput, match=r"eval\.json would be overwritten by what is left of it; choose another"):
            curate([source], tmp_path)
    assert json.loads((tmp_path / "AudioSet/metadata/eval.json").read_text()) == KEPT


def test_an_output_that_cannot_be_written_is_named(google: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"cannot write .*eval\.json \(.+\); choose another place"):
        curate([google], tmp_path / "file")
    (tmp_path / "out/AudioSet/metadata/eval.json").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"cannot write .*eval\.json \(Is a directory\); choose another place"):
        curate([google], tmp_path / "out")


def test_a_full_disk_leaves_the_files_from_before(
    google: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """List and weights belong together, so a run that fails between them must change neither."""
    curate([google], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (google / "eval_segments.csv").write_text(EVAL.replace(SPEECH, BELL))
    before[google / "eval_segments.csv"] = (google / "eval_segments.csv").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(audioset, "_write_weights", full)
    with pytest.raises(BadInput, match=r"eval_weight\.csv \(No space left on device\); free some space"):
        curate([google], tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_misuse_of_the_command_is_one_line_with_exit_code_2(run: Run, google: Path, tmp_path: Path) -> None:
    for arguments in (("--out", tmp_path), (google,), (tmp_path / "absent", "--out", tmp_path)):
        code, out, err = run("dataset", "audioset", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
