"""Sets of questions: the layout, the proportions, true answers, the same files again, every record derived alone."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bat_agent.datasets.check import check
from bat_agent.datasets.draw_qa import PAPER_SHARES, SHARES, Draw, shared_out
from bat_agent.datasets.qa import QAPlan, make_qa
from bat_agent.datasets.rooms import ReleasedRooms
from bat_agent.datasets.sound_libraries import from_audioset, from_manifest
from bat_agent.datasets.spatialsoundqa import SpatialSoundQA
from bat_agent.errors import BadInput
from bat_agent.questions import BEYOND_TYPES, QARecord, QuestionType
from bat_agent.questions.verify import verify

T = QuestionType
Run = Callable[..., tuple[int, str, str]]


def items(root: Path, name: str) -> list[dict[str, Any]]:
    """As the released reader does it."""
    return json.loads((root / "closed-end" / f"{name}.json").read_text())["data"]


def test_the_layout_is_the_released_one(qa_set: Path) -> None:
    one, two, three = (items(qa_set, f"{s}/train") for s in ("stage1-clsdoa", "stage2-single", "stage3-mixup"))
    assert len(three) == 1200
    assert [r for r in three if r in two] == two
    assert [r for r in two if r in one] == one
    assert {r["question_type"] for r in one} == {"CLASSIFICATION", "DOA"}
    assert len({r["question_id"] for r in three}) == 1200
    for record in three[:200]:
        for number in ("", "2"):
            if (audio := record[f"audio_id{number}"]) is not None:
                assert len(list((qa_set / "AudioSet").glob(f"{audio}.*"))) == 1
                assert (qa_set / "mp3d_reverb/binaural" / record[f"reverb_id{number}"]).is_file()
    eval_files = {p.name for p in (qa_set / "closed-end").rglob("eval-*.json")}
    assert eval_files == {
        "eval-stage1-classification.json", "eval-stage1-doa.json", "eval-stage2-classification.json",
        "eval-stage2-doa.json", "eval-stage3-direction.json", "eval-stage3-distance.json",
        "eval-stage3-nonbinary.json", "eval-stage4-beyond.json",
    }  # fmt: skip


def test_sounds_of_eval_were_never_trained_on(qa_set: Path, manifest: Path) -> None:
    """The last fold is kept; and both lists read as AudioSet's do, with the labels of the manifest."""
    fold = {s.id.replace("/", "-").removesuffix(".flac"): (s.fold, s.labels) for s in from_manifest(manifest)}
    for split, folder, wanted in (("balanced_train", "balanced_train", 1), ("eval", "eval", 2)):
        sounds = from_audioset(qa_set, split)
        assert len(sounds) == 16
        for sound in sounds:
            name = Path(sound.id).stem.removeprefix("Y")
            assert sound.id.startswith(f"{folder}/audio/")
            assert fold[name] == (wanted, sound.labels)
            assert len(sound.waveform()) == 9600


def test_proportions_are_the_papers(qa_set: Path) -> None:
    counts = Counter(QuestionType(r["question_type"]).letter for r in items(qa_set, "stage3-mixup/train"))
    for letter, share in PAPER_SHARES.items():
        assert counts[letter] / 1200 == pytest.approx(share, abs=0.005)
    assert sum(PAPER_SHARES.values()) == pytest.approx(1)
    for count in (1, 7, 100_003):
        assert len(shared_out(count, SHARES, 0)) == count
    assert set(shared_out(100, SHARES, 0)) == set(SHARES) == set(tuple(T)[:9])


def test_every_answer_is_true_by_the_verifier(qa_set: Path) -> None:
    records = list(SpatialSoundQA(qa_set))
    assert {record.type for record in records} == set(SHARES) | set(BEYOND_TYPES)
    assert [wrong for record in records if (wrong := verify(record))] == []


def test_geometry_is_that_of_the_rirs(qa_set: Path) -> None:
    """What a record says of its sources against the positions in the reverberation file, by BAT's formula."""
    entries = json.loads((qa_set / "mp3d_reverb/train_reverberation.json").read_text())["data"]
    place = {entry["fname"]: entry for entry in entries}
    for record in SpatialSoundQA(qa_set, stages=[3], split="train"):
        for (_, reverb_id), source in zip(record.sources, record.geometry or (), strict=True):
            sensor, at = (
                np.array([float(v) for v in place[reverb_id][f"{end}_position"].split(",")])
                for end in ("sensor", "source")
            )
            x, y, z = at - sensor
            heading = place[reverb_id].get("heading_deg", 0.0)
            azimuth = (math.degrees(math.atan2(-z, x)) - heading) % 360
            assert source.position.distance_m == pytest.approx(math.hypot(x, y, z), abs=1e-3)
            assert source.position.azimuth_deg == pytest.approx(azimuth, abs=1e-3)
            assert source.position.elevation_deg == pytest.approx(
                math.degrees(math.atan(y / math.hypot(x, z))), abs=1e-3
            )


def test_two_sources_differ_and_are_heard_by_one_listener(qa_set: Path) -> None:
    entries = json.loads((qa_set / "mp3d_reverb/train_reverberation.json").read_text())["data"]
    listener = {entry["fname"]: entry["sensor_position"] for entry in entries}
    for record in SpatialSoundQA(qa_set, stages=[2, 3], split="train"):
        geometry = record.geometry or ()
        if len(geometry) == 2:
            assert not set(geometry[0].labels) & set(geometry[1].labels)
            assert geometry[0].position.region != geometry[1].position.region
            assert listener[record.reverb_id] == listener[str(record.reverb_id2)]


def test_yes_and_no_are_level(qa_set: Path) -> None:
    for name in ("MIXUP_DIRECTION", "MIXUP_DISTANCE_BOTH"):
        said = [r["answer"] for r in items(qa_set, "stage3-mixup/train") if r["question_type"] == name]
        assert set(said) == {"Yes", "No"}
        # Each of about 50 questions (direction words by kind) may be ahead by one.
        assert abs(2 * said.count("Yes") - len(said)) <= 50


def test_counts_are_level(qa_set: Path, manifest: Path, tmp_path: Path) -> None:
    """As often four sounds as one, though fewer rooms hold four that differ."""
    plan = QAPlan(str(manifest), 1, rirs=str(qa_set), beyond=(T.COUNT,), beyond_count=400, folds=(1,))
    make_qa(plan, tmp_path)
    found = Counter(r["answer"] for r in items(tmp_path, "stage4-beyond/train"))
    assert found == {"1": 100, "2": 100, "3": 100, "4": 100}


def test_the_same_arguments_give_the_same_bytes(qa_set: Path, manifest: Path, tmp_path: Path) -> None:
    plan = QAPlan(
        str(manifest), 500, simulator="shoebox", options={"order": 2}, rooms=12, rir_count=96, seed=3, split="eval",
        beyond=BEYOND_TYPES, beyond_count=100,
    )  # fmt: skip
    make_qa(plan, tmp_path)
    files = sorted(tmp_path.rglob("eval*.json"))
    assert len(files) == 8 + 3
    for file in files:
        assert file.read_bytes() == (qa_set / file.relative_to(tmp_path)).read_bytes(), file


def test_any_record_is_derived_again_from_its_seed(qa_set: Path, manifest: Path) -> None:
    records = list(SpatialSoundQA(qa_set, stages=[3], split="train"))[::7]
    beyond = SpatialSoundQA(qa_set, stages=[4], split="train")
    records += [record for record in beyond if record.type is not T.MOTION]
    draw = Draw(
        from_manifest(manifest).filter(folds=[1]),
        ReleasedRooms(qa_set / "mp3d_reverb/train_reverberation.json", 1.0),
        lambda sound: "balanced_train/audio/Y" + sound.id.replace("/", "-").removesuffix(".flac"),
        seed=3,
        split="train",
    )
    assert [draw.derive(record).record for record in reversed(records)] == records[::-1]
    with pytest.raises(BadInput, match="which is none of this draw"):
        draw.derive(QARecord.from_dict(records[0].to_dict() | {"seed": [4, 0, 0, 0]}))


def test_a_released_set_of_rirs_is_brought_along(qa_set: Path, manifest: Path, tmp_path: Path) -> None:
    """Only the RIRs that are used, the same bytes, and readable by themselves."""
    made = make_qa(QAPlan(str(manifest), 40, rirs=str(qa_set), seed=1), tmp_path)
    records = list(SpatialSoundQA(tmp_path, stages=[3]))
    used = {reverb_id for record in records for _, reverb_id in record.sources}
    assert made.rirs == len(used) == len(list(tmp_path.rglob("*.npy")))
    for name in used:
        path = Path("mp3d_reverb/binaural") / name
        assert (tmp_path / path).read_bytes() == (qa_set / path).read_bytes()
    assert SpatialSoundQA(tmp_path, stages=[3]).waveform(0).shape == (2, 320_000)
    assert len(ReleasedRooms(tmp_path / "mp3d_reverb/train_reverberation.json", 0.1)) == len(used)


def test_moving_sources_move_through_their_rirs(qa_set: Path) -> None:
    data = SpatialSoundQA(qa_set, stages=[4], types=[T.MOTION])
    assert len(data) > 10
    entries = json.loads((qa_set / "mp3d_reverb/train-moving_reverberation.json").read_text())["data"]
    entries += json.loads((qa_set / "mp3d_reverb/eval-moving_reverberation.json").read_text())["data"]
    points = {e["fname"]: np.array([float(v) for v in e["source_position"].split(",")]) for e in entries}
    for record in data:
        path = [points[name] for name in record.reverb_path or ()]
        steps = np.diff(path, axis=0)
        assert len(path) == 21
        assert np.allclose(steps, steps[0]), "evenly along a straight line"
        assert np.linalg.norm(path[-1] - path[0]) >= 1
        assert record.reverb_id == (record.reverb_path or ("",))[0]
        assert (record.geometry or ())[0].moves_to is not None


def test_synthesised_sounds_become_recordings(tmp_path: Path) -> None:
    make_qa(QAPlan("procedural:2", 9, simulator="echo", rooms=4, rir_count=32, folds=(1,)), tmp_path)
    files = list((tmp_path / "AudioSet/balanced_train/audio").glob("Yprocedural-*.wav"))
    assert files
    assert soundfile.info(files[0]).samplerate == 32_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"simulator": None}, "name either --rirs ROOT"),
        ({"rirs": "somewhere"}, "name either --rirs ROOT"),
        ({"split": "test"}, "--split must be train or eval"),
        ({"count": 0}, "--count must be 1 or more"),
        ({"wordings": "mine"}, "--wordings must be"),
        ({"simulator": None, "rirs": "r", "beyond": (T.MOTION,)}, "moving sources need RIRs along their paths"),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        QAPlan(**{"sounds": "procedural", "count": 10, "simulator": "echo"} | change)


def test_what_cannot_be_asked_says_why(manifest: Path, qa_set: Path, tmp_path: Path) -> None:
    lines = manifest.read_text().splitlines()
    only_dogs = manifest.parent / "dogs.csv"
    only_dogs.write_text("\n".join([lines[0], *(line for line in lines if ",Dog," in line)]) + "\n")
    with pytest.raises(BadInput, match=r"no MIXUP_\w+ question was found .* sounds of more classes"):
        make_qa(QAPlan(str(only_dogs), 40, rirs=str(qa_set)), tmp_path / "a")
    made = make_qa(QAPlan(str(manifest.parent), 9, rirs=str(qa_set)), tmp_path / "folder")
    assert made.files["closed-end/stage3-mixup/train.json"] == 9, "a folder with a manifest is read by it"
    with pytest.raises(BadInput, match="no library 'nothing'"):
        make_qa(QAPlan("nothing", 40, rirs=str(qa_set)), tmp_path / "b")
    with pytest.raises(BadInput, match=r"holds no mp3d_reverb/train_reverberation\.json"):
        make_qa(QAPlan(str(manifest), 40, rirs=str(manifest.parent)), tmp_path / "c")
    clash = manifest.parent / "clash.csv"
    shutil.copy(manifest.parent / "dog/1-0.flac", manifest.parent / "dog-1-0.flac")
    clash.write_text("file,labels\ndog/1-0.flac,Dog\ndog-1-0.flac,Cat\nrain/1-0.flac,Rain\n")
    with pytest.raises(BadInput, match="would both be called Ydog-1-0; rename one"):
        make_qa(QAPlan(str(clash), 60, rirs=str(qa_set)), tmp_path / "d")


def test_what_others_made_is_not_overwritten(qa_set: Path, manifest: Path, tmp_path: Path) -> None:
    """A released question file, a curated list, a set of RIRs, a recording or RIR of the same name: all stay."""
    plan = QAPlan(str(manifest), 20, rirs=str(qa_set))
    for name, content in (
        ("closed-end/stage1-clsdoa/train.json", '{"data": []}'),
        ("AudioSet/metadata/balanced.json", "[]"),
        ("mp3d_reverb/train_reverberation.json", '{"data": []}'),
    ):
        file = tmp_path / name.replace("/", "_") / name
        file.parent.mkdir(parents=True)
        file.write_text(content)
        with pytest.raises(BadInput, match=r"would be overwritten; choose another --out"):
            make_qa(plan, tmp_path / name.replace("/", "_"))
        assert file.read_text() == content
    make_qa(plan, tmp_path / "a")
    make_qa(plan, tmp_path / "a")  # the same again is welcome
    for pattern in ("*.flac", "*.npy"):
        file = next((tmp_path / "a").rglob(pattern))
        content = file.read_bytes()
        file.unlink()  # a link, perhaps: what it points to stays as it is
        file.write_bytes(b"mine")
        with pytest.raises(BadInput, match="is there already and differs from"):
            make_qa(plan, tmp_path / "a")
        assert file.read_bytes() == b"mine"
        file.write_bytes(content)


def test_sounds_of_a_set_stay_where_they_are(qa_set: Path, tmp_path: Path) -> None:
    """A root that has recordings, their list and RIRs gets questions, and nothing else changes."""
    root = tmp_path / "root"
    shutil.copytree(qa_set / "AudioSet", root / "AudioSet")
    shutil.copytree(qa_set / "mp3d_reverb", root / "mp3d_reverb")
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    make_qa(QAPlan(f"audioset:{root}/balanced_train", 20, rirs=str(root)), root)
    assert all(file.read_bytes() == content for file, content in before.items())
    assert SpatialSoundQA(root, stages=[3]).waveform(3).shape == (2, 320_000)


def test_recordings_of_other_kinds_become_wav(manifest: Path, qa_set: Path, tmp_path: Path) -> None:
    for label in ("Dog", "Rain", "Siren"):
        samples, rate = soundfile.read(manifest.parent / f"{label.lower()}/1-0.flac")
        (tmp_path / "in" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "in" / label / "a.aiff", samples, rate)
    (tmp_path / "in/Dog/a.flac").write_bytes((manifest.parent / "dog/1-0.flac").read_bytes())
    with pytest.raises(BadInput, match=r"would both be called Y.*; rename one"):
        make_qa(QAPlan(str(tmp_path / "in"), 60, rirs=str(qa_set)), tmp_path / "x")
    (tmp_path / "in/Dog/a.flac").unlink()
    for _ in range(2):  # the same again is welcome
        make_qa(QAPlan(str(tmp_path / "in"), 20, rirs=str(qa_set)), tmp_path / "out")
    assert {file.suffix for file in (tmp_path / "out/AudioSet/balanced_train/audio").iterdir()} == {".wav"}
    assert check(tmp_path / "out", listen=True).problems == []


# --- the command ---


def test_the_command(run: Run, manifest: Path, tmp_path: Path) -> None:
    arguments = ["dataset", "qa", "--sounds", manifest, "--simulator", "echo", "--rooms", 6, "--rir-count", 48]
    code, out, err = run(*arguments, "--count", 60, "--beyond", "COUNT", "--out", tmp_path / "a", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["files"]["closed-end/stage3-mixup/train.json"] == 60
    assert told["files"]["closed-end/stage4-beyond/train.json"] == 6
    code, out, err = run(*arguments, "--count", 20, "--types", "A,MIXUP_DIRECTION", "--out", tmp_path / "a")
    assert code == 0, err
    assert "20" in out
    assert "dataset check" in out
    assert "sounds of fold 1" in err
    types = {r["question_type"] for r in items(tmp_path / "a", "stage3-mixup/train")}
    assert types == {"CLASSIFICATION", "MIXUP_DIRECTION"}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--types", "Z"], "unknown question type 'Z'"),
        (["--types", "ANGLE"], "ask for ANGLE with --beyond"),
        (["--beyond", "SMELL"], "--beyond SMELL is no type beyond the paper"),
        (["--beyond-count", 3], "--beyond-count says how many"),
        (["--folds", "one"], "--folds 'one' was not understood"),
        (["--folds", "7"], "no sound is left"),
        (["--rirs", "x"], "name either"),
    ],
)
def test_the_command_refuses(run: Run, manifest: Path, tmp_path: Path, extra: list[Any], message: str) -> None:
    code, _, err = run(
        "dataset", "qa", "--sounds", manifest, "--simulator", "echo", "--count", 9, "--out", tmp_path, *extra
    )
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
