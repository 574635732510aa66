"""The released layout read in place: files, filters, archives; and the rendering contract against float64 numpy."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

import bat_agent
from bat_agent.datasets.spatialsoundqa import SpatialSoundQA
from bat_agent.datasets.store import MissingFile
from bat_agent.errors import BadInput
from bat_agent.labels import labels
from bat_agent.questions import QARecord, QuestionType, parse_labels, write_records
from bat_agent.questions.answers import parse_not_heard

RATE_HZ, CLIP = 32_000, 320_000


def record(number: int = 0, kind: str = "DOA", **values: Any) -> QARecord:
    first = {"audio_id": "eval/audio/Ya", "reverb_id": "house/0.npy"}
    second = {"audio_id2": "eval/audio/Yb", "reverb_id2": "house/1.npy"} if kind.startswith("MIXUP") else {}
    item = first | {"audio_id2": None, "reverb_id2": None} | second
    item |= {"question_id": number, "question_type": kind, "question": "Where?", "answer": "left, front, above; 1m"}
    return QARecord.from_dict(item | values)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three stages, each with the records of those before it; two recordings, two RIRs."""
    rng = np.random.default_rng(0)
    audio = tmp_path / "AudioSet/eval/audio"
    audio.mkdir(parents=True)
    soundfile.write(audio / "Ya.wav", 0.1 * rng.standard_normal(20_000), RATE_HZ, subtype="FLOAT")
    soundfile.write(audio / "Yb.flac", 0.1 * rng.standard_normal((30_000, 2)), 44_100)
    rirs = tmp_path / "mp3d_reverb/binaural/house"
    rirs.mkdir(parents=True)
    for number in range(2):
        np.save(rirs / f"{number}.npy", rng.standard_normal((2, 900 + number)))
    one = [record(0), record(1, "CLASSIFICATION", answer="dog")]
    two = [*one, record(2, "MIXUP_SINGLE_DOA")]
    three = [*two, record(3, "MIXUP_DIRECTION", answer="Yes"), record(4, "MIXUP_DIRECTION", answer="No")]
    for stage, records in (("stage1-clsdoa", one), ("stage2-single", two), ("stage3-mixup", three)):
        write_records(tmp_path / "closed-end" / stage / "train.json", records)
    write_records(tmp_path / "closed-end/stage1-clsdoa/eval-stage1-doa.json", one[:1])
    return tmp_path


def test_stages_splits_types_and_limits(root: Path) -> None:
    assert [len(SpatialSoundQA(root, stages=[n], split="train")) for n in (1, 2, 3)] == [2, 3, 5]
    assert len(SpatialSoundQA(root)) == 11
    assert [file.name for file in SpatialSoundQA(root, split="eval").files] == ["eval-stage1-doa.json"]
    asked = SpatialSoundQA(root, stages=[3], types=[QuestionType.MIXUP_DIRECTION])
    assert [r.question_id for r in asked] == [3, 4] == [asked[0].question_id, asked[-1].question_id]
    assert [kind.value for kind in asked.types()] == ["MIXUP_DIRECTION"] * 2
    assert [r.question_id for r in SpatialSoundQA(root, stages=[2, 3], split="train", limit=4)] == [0, 1, 2, 0]
    assert "stage3-mixup/train.json, record 3 (line 5)" in asked.where(0)
    assert list(pickle.loads(pickle.dumps(asked))) == list(asked)


def test_what_is_not_there(root: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no eval question file in closed-end/\{stage2-single\}"):
        SpatialSoundQA(root, stages=[2], split="eval")
    with pytest.raises(BadInput, match="numbered 1 to 5, got 6"):
        SpatialSoundQA(root, stages=[6])
    with pytest.raises(BadInput, match="split must be train or eval"):
        SpatialSoundQA(root, split="test")
    with pytest.raises(BadInput, match="no record of ANGLE"):
        SpatialSoundQA(root, types=[QuestionType.ANGLE])
    with pytest.raises(BadInput, match="limit must be 1 or more"):
        SpatialSoundQA(root, limit=0)
    data = SpatialSoundQA(root, split="eval")
    with pytest.raises(MissingFile, match=r"no recording AudioSet/eval/audio/Yc.wav \(nor .flac, .ogg, .mp3\)"):
        data.audio.render(record(audio_id="eval/audio/Yc"))
    with pytest.raises(MissingFile, match=r"no mp3d_reverb/binaural/house/9\.npy under"):
        data.audio.render(record(reverb_id="house/9.npy"))
    np.save(root / "mp3d_reverb/binaural/house/3.npy", np.zeros(5))
    with pytest.raises(BadInput, match=r"3.npy holds \(5,\), expected finite numbers"):
        data.audio.render(record(reverb_id="house/3.npy"))


def test_zipped_as_released(root: Path) -> None:
    """``mp3d_reverb.zip`` beside ``AudioSet`` gives the same sound as its content unpacked."""
    plain = SpatialSoundQA(root, split="eval").waveform(0)
    with zipfile.ZipFile(root / "mp3d_reverb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((root / "mp3d_reverb").rglob("*.npy")):
            archive.write(file, file.relative_to(root))
            file.unlink()
    assert (SpatialSoundQA(root, split="eval").waveform(0) == plain).all()


def test_all_in_one_zip(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for folder in ("AudioSet", "mp3d_reverb", "closed-end"):
            for file in sorted((root / folder).rglob("*.*")):
                packed.write(file, f"SpatialSoundQA/{file.relative_to(root)}")
    data, plain = SpatialSoundQA(archive, split="train", stages=[3]), SpatialSoundQA(root, split="train", stages=[3])
    assert list(data) == list(plain)
    assert (data.waveform(3) == plain.waveform(3)).all()


def test_bidepth_layout(tmp_path: Path) -> None:
    """``owl-questions/<stage>/{train,val,test}.json``; everything but train is for evaluation."""
    for name in ("train", "val", "test"):
        write_records(tmp_path / "owl-questions/stage1-clsdoa" / f"{name}.json", [record(answer=name)])
    assert [r.answer for r in SpatialSoundQA(tmp_path, split="train")] == ["train"]
    assert [r.answer for r in SpatialSoundQA(tmp_path, split="eval")] == ["test", "val"]


# --- the rendering contract ---


def by_hand(dry: np.ndarray, rir: np.ndarray) -> np.ndarray:
    """−14 dBFS, full convolution as a sum over taps of the longer FFT, ten seconds; float64 throughout."""
    rms = np.sqrt(np.mean(dry**2))
    dry = dry * (10 ** (-14 / 20) / rms) if rms > 0 else dry
    size = len(dry) + rir.shape[1] - 1
    wet = np.fft.ifft(np.fft.fft(dry, size) * np.fft.fft(rir, size)).real
    out = np.zeros((2, CLIP))
    out[:, : min(size, CLIP)] = wet[:, :CLIP]
    return out


def test_one_and_two_sources_by_the_contract(root: Path) -> None:
    data = SpatialSoundQA(root)
    first, _ = soundfile.read(root / "AudioSet/eval/audio/Ya.wav")
    second, _ = soundfile.read(root / "AudioSet/eval/audio/Yb.flac")
    rirs = [np.load(root / f"mp3d_reverb/binaural/house/{n}.npy") for n in range(2)]
    a = by_hand(first, rirs[0])
    b = by_hand(resample_poly(second[:, 0], 320, 441), rirs[1])
    assert np.abs(data.audio.render(record()).numpy() - a).max() < 1e-5 * np.abs(a).max()
    mixed = data.audio.render(record(kind="MIXUP_DIRECTION")).numpy()
    assert mixed.dtype == np.float32
    assert mixed.shape == (2, CLIP)
    assert np.abs(mixed - (a + b) / 2).max() < 1e-5 * np.abs(a + b).max()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_recordings_of_every_kind_are_found_by_their_name_alone(root: Path, suffix: str) -> None:
    """Also lossy ones: a tone stays the tone it was."""
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ)
    soundfile.write(root / f"AudioSet/eval/audio/Ytone.{suffix}", tone, RATE_HZ)
    found = SpatialSoundQA(root).audio.dry("eval/audio/Ytone")
    spectrum = np.abs(np.fft.rfft(found[:RATE_HZ]))
    assert found.dtype == np.float64
    assert spectrum.argmax() == 1000


def test_the_whole_rir_counts_and_silence_stays(root: Path) -> None:
    """A tap 9 s late is heard, unlike in the encoder's trainer, which cuts RIRs; silence is not scaled up."""
    rir = np.zeros((2, 9 * RATE_HZ + 1))
    rir[:, -1] = 1.0
    np.save(root / "mp3d_reverb/binaural/house/late.npy", rir)
    heard = SpatialSoundQA(root).audio.render(record(reverb_id="house/late.npy")).numpy()
    assert not heard[:, : 9 * RATE_HZ - 10].round(9).any()
    level = np.sqrt(np.mean(heard[0, 9 * RATE_HZ : 9 * RATE_HZ + 20_000].astype(float) ** 2))
    assert 20 * np.log10(level) == pytest.approx(-14, abs=0.01)
    soundfile.write(root / "AudioSet/eval/audio/Yzero.wav", np.zeros(1000), RATE_HZ)
    assert not SpatialSoundQA(root).audio.render(record(audio_id="eval/audio/Yzero")).any()


def test_a_moving_source_begins_and_ends_where_it_should(root: Path) -> None:
    """Between RIRs that differ in gain alone the gain goes along a straight line."""
    for number, gain in enumerate((1.0, 0.0, 3.0)):
        np.save(root / f"mp3d_reverb/binaural/house/p{number}.npy", np.full((2, 1), gain))
    # Half a second of sound, as a drum may be, is heard all along the way.
    soundfile.write(root / "AudioSet/eval/audio/Yone.wav", np.full(RATE_HZ // 2, 0.5), RATE_HZ, subtype="FLOAT")
    path = ["house/p0.npy", "house/p1.npy", "house/p2.npy"]
    moving = record(kind="MOTION", audio_id="eval/audio/Yone", reverb_id=path[0], reverb_path=path)
    heard = SpatialSoundQA(root).audio.render(moving).numpy()[0] / 10 ** (-14 / 20)
    times = np.linspace(0, 2, CLIP)
    assert np.allclose(heard, np.interp(times, [0, 1, 2], [1, 0, 3]), atol=1e-5)


@pytest.mark.parity
def test_real_clip_in_real_rir_equals_the_contract(shared: Path, tmp_path: Path) -> None:
    """The AudioSet clip ⊗ the Matterport RIR, in float64 by numpy, to 1e-6."""
    real = shared / "data/spatialsoundqa"
    (clip,) = sorted(real.glob("AudioSet/eval/audio/*.wav"))
    asked = record(audio_id=f"eval/audio/{clip.stem}", reverb_id="sample/74.npy")
    write_records(tmp_path / "one.json", [asked])
    data = SpatialSoundQA(real, files=[tmp_path / "one.json"])
    dry, rate = soundfile.read(clip)
    assert rate == RATE_HZ
    expected = by_hand(dry if dry.ndim == 1 else dry[:, 0], np.load(real / "mp3d_reverb/binaural/sample/74.npy"))
    assert np.abs(data.waveform(0).numpy() - expected).max() <= 1e-6


def test_the_examples_of_the_release(root: Path) -> None:
    """The two records that its README prints are read, rendered, and answered by the shipped model in their form."""
    released = [
        {
            "audio_id": "eval/audio/YI-HlrcP6Qg4", "reverb_id": "q9vSo1VnCiC/0.npy", "audio_id2": None,
            "reverb_id2": None, "question_id": 0, "question_type": "CLASSIFICATION",
            "question": "Enumerate the sound occurrences in the audio clip.",
            "answer": "accelerating, revving, vroom; car; vehicle",
        },
        {
            "audio_id": "eval/audio/YZX2fVPmUidA", "reverb_id": "q9vSo1VnCiC/32.npy",
            "audio_id2": "eval/audio/YjNjUU01quLs", "reverb_id2": "q9vSo1VnCiC/31.npy", "question_id": 58,
            "question_type": "MIXUP_NONBINARY_DISTANCE",
            "question": "How far away is the sound of the banjo from the sound of the whack, thwack?", "answer": "2m",
        },
    ]  # fmt: skip
    for clip in ("YI-HlrcP6Qg4", "YZX2fVPmUidA", "YjNjUU01quLs"):
        noise = 0.1 * np.random.default_rng(len(clip)).standard_normal(CLIP)
        soundfile.write(root / f"AudioSet/eval/audio/{clip}.wav", noise, RATE_HZ)
    (root / "mp3d_reverb/binaural/q9vSo1VnCiC").mkdir()
    rir = np.zeros((2, 13))  # the right ear later and softer, as to the left of a head
    rir[0, :3], rir[1, 10:] = 1.0, 0.5
    for number in (0, 31, 32):
        np.save(root / f"mp3d_reverb/binaural/q9vSo1VnCiC/{number}.npy", rir)
    file = root / "closed-end/stage3-mixup/eval-stage3-nonbinary.json"
    file.write_text(json.dumps({"data": released}))
    data = SpatialSoundQA(root, files=[file])
    assert [r.type.letter for r in data] == ["A", "E"]
    bat = bat_agent.load(device="cpu")
    replies = [str(bat.ask(data.waveform(n), data[n].question)) for n in range(2)]
    assert parse_labels(replies[0], labels()) is not None
    assert replies[1].startswith("I do not know how a banjo sounds")  # a class of which this model has no recording
    known = data[1].question.replace("banjo", "snare drum").replace("whack, thwack", "bark")
    assert parse_not_heard(str(bat.ask(data.waveform(1), known)))  # the hiss here is neither
