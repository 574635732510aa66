"""``bat-agent dataset audioset``: lists written by hand with known counts, and weights counted again."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from bat_agent.datasets import audioset, clip_lists
from bat_agent.datasets.audioset import curate, find_lists
from bat_agent.datasets.sound_libraries import from_audioset
from bat_agent.errors import BadInput
from bat_agent.labels import label_table

Run = Callable[..., tuple[int, str, str]]
MID = {name: mid for mid, name in label_table()}
DOG, BARK, SPEECH, BELL = (MID[name] for name in ("Dog", "Bark", "Speech", "Bell"))
NOISE, ECHO = "/m/096m7z", "/m/01b9nn"  # classes of AudioSet that BAT leaves out
EVAL = f"""\
# Segments csv created Sun Mar  5 10:54:25 2017
# num_ytids=5, num_segs=5, num_unique_labels=5, num_positive_labels=8
# YTID, start_seconds, end_seconds, positive_labels
--4gqARaEJE, 0.000, 10.000, "{DOG},{NOISE},{BARK}"
-0RWZT-miFs, 420.000, 430.000, "{ECHO}"
YbcdefghijK, 30.000, 40.000, "{DOG}"
_1234567890, 5, 15, "{SPEECH},{SPEECH}"
abcdefghijk, 0.000, 7.500, "{NOISE},{ECHO}"
"""
KEPT = [
    {"id": "Y--4gqARaEJE", "folder": "eval/audio", "label": [DOG, BARK]},
    {"id": "YYbcdefghijK", "folder": "eval/audio", "label": [DOG]},
    {"id": "Y_1234567890", "folder": "eval/audio", "label": [SPEECH]},
]


@pytest.fixture
def google(tmp_path: Path) -> Path:
    """A folder with Google's evaluation list."""
    folder = tmp_path / "google"
    folder.mkdir()
    (folder / "eval_segments.csv").write_text(EVAL)
    return folder


def metadata(root: Path, name: str = "eval") -> list[dict[str, object]]:
    items: list[dict[str, object]] = json.loads((root / f"AudioSet/metadata/{name}.json").read_text())
    return items


def weights(root: Path, name: str = "eval") -> np.ndarray:
    return np.loadtxt(root / f"AudioSet/metadata/weights/{name}_weight.csv", ndmin=1)


def counted(items: list[dict[str, object]]) -> list[float]:
    """The weights as the released script counts them, on the list itself."""
    count = Counter(mid for item in items for mid in item["label"])  # type: ignore[attr-defined]
    return [sum(1000.0 / (count[mid] + 0.01) for mid in item["label"]) for item in items]  # type: ignore[attr-defined]


def released(folder: Path, items: object, name: str = "eval", **style: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(items, **style))  # type: ignore[arg-type]
    return folder


# --- what is kept ---


def test_a_list_written_by_hand_is_curated(google: Path, tmp_path: Path) -> None:
    assert {NOISE, ECHO}.isdisjoint(MID.values())
    (report,) = curate([google], tmp_path / "out").splits
    assert metadata(tmp_path / "out") == KEPT
    dog, bark, speech = 1000 / 2.01, 1000 / 1.01, 1000 / 1.01
    np.testing.assert_allclose(weights(tmp_path / "out"), [dog + bark, dog, speech], rtol=1e-15)
    assert (report.read, report.no_label, report.missing_audio, report.kept, report.classes) == (5, 2, None, 3, 3)
    assert (report.split, report.paper) == ("eval", 17_148)
    table = (tmp_path / "out/AudioSet/metadata/class_labels_indices_subset.csv").read_text().splitlines()
    assert len(table) == 1 + 355
    assert table[1] == f"0,{SPEECH},Speech"
    written = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == {"eval.json", "eval_weight.csv", "class_labels_indices_subset.csv"}


def test_every_split_has_its_folder_its_names_and_its_own_weights(google: Path, tmp_path: Path) -> None:
    (google / "balanced_train_segments.csv").write_text(EVAL.splitlines(keepends=True)[3])
    (google / "unbalanced_train_segments.csv").write_text(EVAL.replace("\n", "\r\n") + "\r\n", newline="")
    report = curate([google], tmp_path)
    assert [split.split for split in report.splits] == ["unbalanced_train", "balanced_train", "eval"]
    assert metadata(tmp_path, "balanced") == [KEPT[0] | {"folder": "balanced_train/audio"}]
    assert metadata(tmp_path, "unbalanced") == [item | {"folder": "unbalanced_train/audio"} for item in KEPT]
    np.testing.assert_allclose(weights(tmp_path, "balanced"), [2 * 1000 / 1.01])
    assert len(weights(tmp_path, "unbalanced")) == 3
    again = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    curate([google], tmp_path)
    assert again == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def clip(path: Path, level: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(320, level, dtype=np.float32), 32_000, subtype="FLOAT")


@pytest.mark.parametrize("root", ["audio", "audio/AudioSet"])
def test_clips_whose_audio_is_there_are_kept_and_read_by_the_library(google: Path, tmp_path: Path, root: str) -> None:
    """An id that itself begins with Y is looked for as it is written, with another Y in front or without."""
    base = tmp_path / "audio/AudioSet"
    clip(base / "eval/audio/YYbcdefghijK.wav", 0.25)
    clip(base / "eval/audio/Y--4gqARaEJE.wav", 0.75)
    for name in (
        "eval/audio/Y_1234567890.wav.part",
        "balanced_train/audio/Y_1234567890.wav",
        "eval/audio/Yabcdefghijk.wav",
    ):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).touch()
    (report,) = curate([google], tmp_path / "audio", audio=tmp_path / root).splits
    assert (report.read, report.no_label, report.missing_audio, report.kept) == (5, 2, 1, 2)
    sounds = from_audioset(tmp_path / "audio", "eval")
    assert [(s.id, s.labels) for s in sounds] == [
        ("eval/audio/Y--4gqARaEJE.wav", ("Dog", "Bark")),
        ("eval/audio/YYbcdefghijK.wav", ("Dog",)),
    ]
    assert [s.waveform()[0] for s in sounds] == [0.75, 0.25]
    np.testing.assert_array_equal(sounds.weights(), weights(tmp_path / "audio"))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".WAV", ".aac", ""])
@pytest.mark.parametrize("place", ["eval/audio/Y{}", "eval/Y{}", "eval/audio/{}"])
def test_audio_is_there_where_the_library_finds_it(google: Path, tmp_path: Path, suffix: str, place: str) -> None:
    (tmp_path / "eval/audio").mkdir(parents=True)
    (tmp_path / f"{place.format('_1234567890')}{suffix}").touch()
    if suffix not in (".wav", ".flac", ".ogg", ".mp3"):
        with pytest.raises(BadInput, match="audio of none of 3 clips"):
            curate([google], tmp_path, audio=tmp_path)
        return
    (report,) = curate([google], tmp_path / "out", audio=tmp_path).splits
    assert [item["id"] for item in metadata(tmp_path / "out")] == ["Y_1234567890"]
    (tmp_path / "out/AudioSet/eval").symlink_to(tmp_path / "eval")
    assert len(from_audioset(tmp_path / "out", "eval")) == report.kept == 1


def test_a_folder_of_audio_is_listed_once_and_no_file_is_asked_for(
    google: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eval/audio").mkdir(parents=True)
    (tmp_path / "eval/audio/Y_1234567890.wav").touch()
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(clip_lists.os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    asked: list[str] = []
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: asked.append(path.name) or is_file(path))
    curate([google], tmp_path, audio=tmp_path)
    listed = [path for path in listed if path.startswith(str(tmp_path / "eval"))]
    assert listed == [str(tmp_path / "eval/audio"), str(tmp_path / "eval")]
    assert not [name for name in asked if name.startswith("Y")]


def test_the_same_id_may_stand_in_two_splits(google: Path, tmp_path: Path) -> None:
    (google / "unbalanced_train_segments.csv").write_text(EVAL)
    assert [split.kept for split in curate([google], tmp_path).splits] == [3, 3]


def test_a_split_without_clips_is_left_out_with_a_note(google: Path, tmp_path: Path) -> None:
    (google / "balanced_train_segments.csv").write_text(EVAL)
    (tmp_path / "eval/audio").mkdir(parents=True)
    (tmp_path / "eval/audio/Y_1234567890.wav").touch()
    report = curate([google], tmp_path, audio=tmp_path)
    assert [(s.split, s.kept, s.metadata is None) for s in report.splits] == [
        ("balanced_train", 0, True),
        ("eval", 1, False),
    ]
    assert report.notes()[0].startswith("no clip of balanced_train is left")
    assert not (tmp_path / "AudioSet/metadata/balanced.json").exists()


# --- released lists ---


@pytest.mark.parametrize("place", ["AudioSet/metadata", "metadata", "."])
def test_released_lists_are_filtered_by_the_audio_at_hand(tmp_path: Path, place: str) -> None:
    items = [
        {"id": "Y--4gqARaEJE", "folder": "eval/audio", "label": [DOG, BARK]},
        {"id": "YbcdefghijK", "folder": "eval", "label": [NOISE, DOG], "more": {"ignored": "]"}},
        {"id": "_1234567890", "folder": "eval", "label": [SPEECH]},
    ]
    folder = released(tmp_path / "in" / place, items)
    for source in (tmp_path / "in", folder / "eval.json"):
        curate([source], tmp_path / "out")
        assert metadata(tmp_path / "out") == KEPT
    (tmp_path / "eval/audio").mkdir(parents=True)
    (tmp_path / "eval/audio/YYbcdefghijK.wav").touch()
    (report,) = curate([tmp_path / "in"], tmp_path / "out", audio=tmp_path).splits
    assert (report.read, report.missing_audio, report.kept) == (3, 2, 1)
    assert metadata(tmp_path / "out") == KEPT[1:2]
    np.testing.assert_allclose(weights(tmp_path / "out"), [1000 / 1.01])


IDS = st.lists(st.text("aYZ-_9", min_size=11, max_size=11), unique=True, min_size=1, max_size=12)
LABELS = st.lists(st.sampled_from([DOG, BARK, SPEECH, BELL, NOISE, ECHO]), unique=True, min_size=1, max_size=4)


@given(data=st.data(), ids=IDS, block=st.integers(1, 400), indent=st.sampled_from([None, 0, 3]))
@settings(max_examples=60, deadline=None)
def test_lists_of_any_clips_agree_with_a_count_by_hand(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, ids: list[str], block: int, indent: int | None
) -> None:
    """Google's list, and the released one in blocks of any size, give what a plain reading of them gives."""
    root = tmp_path_factory.mktemp("any")
    clips = [(clip, data.draw(LABELS)) for clip in ids] + [("0123456789a", [BELL])]
    lines = [f'{clip}, 0.000, 10.000, "{",".join(mids)}"\n' for clip, mids in clips]
    (root / "balanced_train_segments.csv").write_text("".join(lines))
    classes = set(MID.values())
    expected = [
        {"id": f"Y{clip}", "folder": "balanced_train/audio", "label": here}
        for clip, mids in clips
        if (here := [mid for mid in mids if mid in classes])
    ]
    items = [{"id": f"Y{clip}", "folder": "balanced_train", "label": mids} for clip, mids in clips]
    released(root / "in", items, "balanced", indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_lists, "_BLOCK", block)
        patch.setattr(clip_lists, "_CHUNK", 3)
        for source in (root, root / "in"):
            (report,) = curate([source], root / "out").splits
            assert metadata(root / "out", "balanced") == expected
            np.testing.assert_allclose(weights(root / "out", "balanced"), counted(expected), rtol=1e-14)
            assert report.classes == len({mid for item in expected for mid in item["label"]})
            assert report.read == report.no_label + report.kept == len(clips)


def test_googles_lists_go_before_released_ones_of_the_same_folder(google: Path) -> None:
    """So that a result may stand beside its lists, and the same command can be run again."""
    released(google / "AudioSet/metadata", KEPT)
    released(google / "AudioSet/metadata", KEPT, "balanced")
    assert find_lists([google]) == {"eval": google / "eval_segments.csv"}
    assert list(find_lists([google / "AudioSet"])) == ["balanced_train", "eval"]


# --- the command ---


def test_the_command_prints_counts_beside_the_papers(run: Run, google: Path, tmp_path: Path) -> None:
    code, out, err = run("dataset", "audioset", google, "--out", tmp_path)
    assert code == 0
    (row,) = (line.split() for line in out.splitlines() if line.strip().startswith("eval"))
    assert row == ["eval", "5", "2", "not", "looked", "3", "17,148", "3"]
    assert f"written: {tmp_path / 'AudioSet/metadata/eval.json'}, " in out
    assert "(eval 3, not 17,148): the paper counts after filtering" in err
    assert "--audio DIR keeps only clips whose file is" in err


def test_the_command_prints_json(run: Run, google: Path, tmp_path: Path) -> None:
    (tmp_path / "eval/audio").mkdir(parents=True)
    (tmp_path / "eval/audio/Y_1234567890.ogg").touch()
    code, out, err = run(
        "dataset", "audioset", google / "eval_segments.csv", "--out", tmp_path, "--audio", tmp_path, "--json"
    )
    assert (code, err) == (0, "")
    told = json.loads(out)
    base = tmp_path / "AudioSet/metadata"
    assert told["splits"] == [
        {
            "split": "eval",
            "source": str(google / "eval_segments.csv"),
            "read": 5,
            "no_label": 2,
            "missing_audio": 2,
            "kept": 1,
            "classes": 1,
            "paper": 17148,
            "metadata": str(base / "eval.json"),
            "weights": str(base / "weights/eval_weight.csv"),
        }
    ]
    assert len(told["notes"]) == 1


def test_no_note_on_counts_that_are_the_papers(
    run: Run, google: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(audioset.PAPER_CLIPS, "eval", 3)
    code, out, _ = run("dataset", "audioset", google, "--out", tmp_path, "--json")
    assert code == 0
    assert not any("paper" in note for note in json.loads(out)["notes"])
