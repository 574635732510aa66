"""Sound libraries: what is read is what was written, what is drawn is balanced, what is broken is named."""

from __future__ import annotations

import csv
import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bat_agent.datasets.sound_libraries import from_audioset, from_folder, from_manifest, open_sounds, procedural
from bat_agent.datasets.sounds import Sound, SoundSet, combine
from bat_agent.errors import BadInput
from bat_agent.labels import class_number, label_table, labels
from bat_agent.sound.synthesis import PROCEDURAL_LABELS


def clip(path: Path, value: float = 0.5, samples: int = 64) -> Path:
    """A constant clip, so that its value tells which file was read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(samples, value, np.float32), 32_000, "FLOAT")
    return path


def manifest(folder: Path, *lines: str, heading: str = "file,labels,fold") -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join((heading, *lines)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def small(tmp_path: Path) -> SoundSet:
    """Six dogs, two of which bark, and one bell."""
    names = [("d0", "Bark;Dog", "1"), ("d1", "Dog;Bark", "2"), *((f"d{i}", "Dog", "2") for i in range(2, 6))]
    lines = []
    for i, (name, label, fold) in enumerate([*names, ("bell", "Bell", "")]):
        clip(tmp_path / f"{name}.wav", (i + 1) / 10)
        lines.append(f"{name}.wav,{label},{fold}")
    return from_manifest(manifest(tmp_path, *lines))


# --- manifest ---


def test_a_manifest_gives_files_labels_and_folds(small: SoundSet) -> None:
    assert len(small) == 7
    assert (small[0].id, small[0].labels, small[0].fold) == ("d0.wav", ("Bark", "Dog"), 1)
    assert (small[-1].id, small[-1].labels, small[-1].fold) == ("bell.wav", ("Bell",), None)
    assert [round(float(sound.waveform()[0]), 4) for sound in small] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert set(small.labels()) == {"Dog", "Bark", "Bell"}
    assert list(small.labels()) == sorted(small.labels(), key=labels().index)
    with pytest.raises(IndexError):
        small[7]


def test_columns_may_come_in_any_order_with_commas_marks_and_accents(tmp_path: Path) -> None:
    clip(tmp_path / "é ü.wav", 0.25)
    path = tmp_path / "m.csv"
    path.write_text('\ufefflabels,licence,file\n" beep, BLEEP ; Dog",CC0,é ü.wav\n\n', encoding="utf-8")
    (sound,) = from_manifest(path)
    assert sound.labels == ("Beep, bleep", "Dog")
    assert sound.fold is None
    assert sound.waveform()[0] == 0.25


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.wav,Dogg,1", "'Dogg'.*did you mean 'dog'"),
        ("a.wav,,1", "no label"),
        (",Dog,1", "no file name"),
        ("b.wav,Dog,1", r"no audio file at .*b\.wav"),
        ("a.wav,Dog,first", "whole number"),
        ("a.wav,Beep, bleep,1", "unknown sound class|whole number"),
        ("a.wav", "no label"),
    ],
)
def test_a_broken_line_is_named_with_file_and_number(tmp_path: Path, line: str, message: str) -> None:
    clip(tmp_path / "a.wav")
    path = manifest(tmp_path, "a.wav,Dog,1", line, "a.wav,Dog,1")
    with pytest.raises(BadInput, match=message) as caught:
        from_manifest(path)
    assert str(caught.value).startswith(f"{path}:3: ")


def test_a_manifest_without_its_columns_or_lines_or_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r":1: .*'labels'"):
        from_manifest(manifest(tmp_path, "a.wav,Dog", heading="file,class"))
    with pytest.raises(BadInput, match="lists no sound"):
        from_manifest(manifest(tmp_path))
    with pytest.raises(BadInput, match="no sound manifest"):
        from_manifest(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(128, 256)) * 8)
    with pytest.raises(BadInput, match="lacks the columns"):
        from_manifest(tmp_path / "binary.csv")


def test_the_shared_recordings_are_read_as_their_own_table_says(shared: Path) -> None:
    path = shared / "data/sounds/manifest.csv"
    with path.open(newline="", encoding="utf-8") as lines:
        table = list(csv.DictReader(lines))
    sounds = from_manifest(path)
    assert len(sounds) == len(table)
    for sound, row in zip(sounds, table, strict=True):
        assert sound.labels == tuple(row["labels"].split(";"))
        assert sound.fold == int(row["fold"])
    for number in range(0, len(sounds), 60):
        waveform = sounds[number].waveform()
        assert waveform.dtype == np.float32
        assert len(waveform) / 32_000 == pytest.approx(float(table[number]["seconds"]), abs=0.01)
        assert np.abs(waveform).max() > 0.001


# --- filtering, joining, drawing ---


def test_filter_keeps_exactly_what_was_asked_for(small: SoundSet) -> None:
    assert [s.id for s in small.filter(folds=[1])] == ["d0.wav"]
    assert [s.id for s in small.filter(labels=["bark"])] == ["d0.wav", "d1.wav"]
    assert [s.id for s in small.filter(labels=["Bark", "Bell"], folds=[2, 3])] == ["d1.wav"]
    assert [s.labels for s in small.filter(folds=[2]).filter(labels=["Bark"])] == [("Dog", "Bark")]
    assert [s.id for s in small[5:]] == ["d5.wav", "bell.wav"]
    assert len(small.filter()) == 7
    with pytest.raises(BadInput, match="no sound is left"):
        small.filter(folds=[9])
    with pytest.raises(BadInput, match="unknown sound class"):
        small.filter(labels=["Unicorn"])


def test_drawing_by_class_is_uniform_over_classes(small: SoundSet) -> None:
    """Bell has 1 clip of 7, Bark 2, Dog 6; drawn by class each is chosen a third of the time."""
    rng = np.random.default_rng(0)
    drawn = Counter(small.sample(rng).id for _ in range(3000))
    expected = {
        "bell.wav": 1 / 3,
        "d0.wav": 1 / 6 + 1 / 18,
        "d1.wav": 1 / 6 + 1 / 18,
        "d2.wav": 1 / 18,
        "d5.wav": 1 / 18,
    }
    for name, share in expected.items():
        assert drawn[name] / 3000 == pytest.approx(share, abs=4 * np.sqrt(share / 3000))


def test_bat_weights_are_those_of_the_released_script(small: SoundSet) -> None:
    """Σ over labels of 1000 / (count + 0.01): Dog 6, Bark 2, Bell 1."""
    dog, bark, bell = 1000 / 6.01, 1000 / 2.01, 1000 / 1.01
    np.testing.assert_allclose(small.weights(), [dog + bark] * 2 + [dog] * 4 + [bell])
    rng = np.random.default_rng(1)
    drawn = Counter(small.sample(rng, "bat").id for _ in range(3000))
    shares = small.weights() / small.weights().sum()
    for sound, share in zip(small, shares, strict=True):
        assert drawn[sound.id] / 3000 == pytest.approx(share, abs=4 * np.sqrt(share / 3000))


def test_drawing_without_balance_is_uniform_over_clips(small: SoundSet) -> None:
    rng = np.random.default_rng(2)
    drawn = Counter(small.sample(rng, "none").id for _ in range(3000))
    assert all(abs(count / 3000 - 1 / 7) < 0.03 for count in drawn.values())
    assert len(drawn) == 7


def test_drawing_is_reproducible_and_refuses_nonsense(small: SoundSet) -> None:
    for balance in ("class", "bat", "none"):
        first, second = ([small.sample(np.random.default_rng(s), balance).id for s in range(20)] for _ in "ab")
        assert first == second
    with pytest.raises(BadInput, match="balance"):
        small.sample(np.random.default_rng(0), "loudness")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="empty"):
        small[:0].sample(np.random.default_rng(0))


def test_combined_sets_keep_their_order_folds_and_samples(small: SoundSet, tmp_path: Path) -> None:
    clip(tmp_path / "other" / "Cat" / "c.wav", -0.5)
    both = combine(small.filter(labels=["Bell"]), from_folder(tmp_path / "other"), procedural(0, 1), small)
    assert len(both) == 1 + 1 + len(PROCEDURAL_LABELS) + 7
    assert [s.id for s in both[:2]] == ["bell.wav", "Cat/c.wav"]
    assert both[1].waveform()[0] == -0.5
    assert both[-7].labels == ("Bark", "Dog")
    assert {"Cat", "Bell", "Siren"} <= set(both.labels())
    again = combine(both, small)
    assert again[-1].waveform()[0] == small[-1].waveform()[0]
    assert again.filter(labels=["Cat"])[0].waveform()[0] == -0.5


def test_a_set_survives_the_way_to_a_worker_process(small: SoundSet) -> None:
    sent: SoundSet = pickle.loads(pickle.dumps(combine(small, procedural(3, 1)).cached()))
    assert [s.labels for s in sent][:7] == [s.labels for s in small]
    assert sent[2].waveform()[0] == pytest.approx(0.3, rel=1e-4)


# --- cache ---


def test_the_cache_reads_a_file_once_and_is_true_to_16_bits(tmp_path: Path, rng: np.random.Generator) -> None:
    quiet = (0.01 * rng.uniform(-1, 1, 5000)).astype(np.float32)
    soundfile.write(clip(tmp_path / "Dog" / "q.wav"), quiet, 32_000, "FLOAT")
    (sound,) = from_folder(tmp_path).cached()
    first = sound.waveform()
    (tmp_path / "Dog" / "q.wav").unlink()
    np.testing.assert_array_equal(sound.waveform(), first)
    np.testing.assert_allclose(first, quiet, atol=0.01 / 32767)
    first[:] = 0  # what a caller does to its copy stays with the caller
    assert np.abs(sound.waveform()).max() > 0.009


def test_without_the_cache_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    path = clip(tmp_path / "Dog" / "gone.wav")
    (sound,) = from_folder(tmp_path)
    path.unlink()
    with pytest.raises(BadInput, match=r"gone\.wav"):
        sound.waveform()


# --- procedural ---


def test_procedural_has_every_class_in_every_fold() -> None:
    sounds = procedural(seed=4, variants_per_class=5)
    assert len(sounds) == 5 * len(PROCEDURAL_LABELS)
    assert set(sounds.labels()) == set(PROCEDURAL_LABELS)
    for fold in range(1, 6):
        assert set(sounds.filter(folds=[fold]).labels()) == set(PROCEDURAL_LABELS)


def test_a_variant_depends_on_seed_class_and_number_only() -> None:
    def ticks(seed: int, variants: int) -> list[Sound]:
        return list(procedural(seed, variants).filter(labels=["Tick"]))

    np.testing.assert_array_equal(ticks(1, 2)[1].waveform(), ticks(1, 9)[1].waveform())
    lengths = {len(sound.waveform()) for sound in (*ticks(1, 3), *ticks(2, 3))}
    assert len(lengths) == 6
    with pytest.raises(BadInput, match="at least 1"):
        procedural(0, 0)


# --- folder ---


def test_folder_names_are_labels_in_any_case_with_underscores(tmp_path: Path) -> None:
    clip(tmp_path / "beep,_bleep" / "b.wav", 0.1)
    clip(tmp_path / "DOG" / "deep" / "a.WAV", 0.2)
    clip(tmp_path / "hund" / "c.ogg.wav", 0.3)
    clip(tmp_path / ".cache" / "x.wav")
    (tmp_path / "DOG" / "notes.txt").write_text("not a sound")
    sounds = from_folder(tmp_path, labels={"hund": ["Bark", "Dog"]})
    assert {s.id: s.labels for s in sounds} == {
        "beep,_bleep/b.wav": ("Beep, bleep",),
        "DOG/deep/a.WAV": ("Dog",),
        "hund/c.ogg.wav": ("Bark", "Dog"),
    }
    assert all(s.fold is None for s in sounds)
    with pytest.raises(BadInput, match=r"hund, rename it or pass labels=.*unknown sound class 'hund'"):
        from_folder(tmp_path)


def test_folders_without_sound_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no audio file"):
        from_folder(tmp_path)
    with pytest.raises(BadInput, match="no folder of sounds"):
        from_folder(tmp_path / "absent")


# --- AudioSet ---


def audioset(root: Path, items: list[dict[str, object]], name: str = "eval") -> Path:
    base = root / "AudioSet"
    (base / "metadata").mkdir(parents=True, exist_ok=True)
    (base / "metadata" / f"{name}.json").write_text(json.dumps(items))
    return base


MID = {name: mid for mid, name in label_table()}


@pytest.mark.parametrize(
    ("folder", "clip_id"), [("eval", "abc"), ("eval/audio", "Yabc"), ("eval/audio", "abc"), ("eval", "Yabc")]
)
def test_audioset_is_found_however_the_list_writes_the_place(tmp_path: Path, folder: str, clip_id: str) -> None:
    base = audioset(tmp_path, [{"id": clip_id, "folder": folder, "label": [MID["Dog"], "/m/none", MID["Bark"]]}])
    clip(base / "eval/audio/Yabc.wav", 0.4)
    for root in (tmp_path, base):
        (sound,) = from_audioset(root, "eval")
        assert sound.labels == ("Dog", "Bark")
        assert sound.waveform()[0] == np.float32(0.4)


def test_audioset_drops_clips_without_one_of_the_355_classes_and_names_missing_ones(tmp_path: Path) -> None:
    items = [
        {"id": "a", "folder": "balanced_train", "label": [MID["Bell"]]},
        {"id": "b", "folder": "balanced_train", "label": ["/m/none"]},
        {"id": "c", "folder": "balanced_train", "label": [MID["Dog"]]},
    ]
    base = audioset(tmp_path, items, "balanced")  # type: ignore[arg-type]
    clip(base / "balanced_train/audio/Ya.wav")
    with pytest.raises(BadInput, match=r"1 of 2 clips .*Yc\.wav.*missing=skip"):
        from_audioset(tmp_path, "balanced_train")
    assert [s.labels for s in from_audioset(tmp_path, "balanced", missing="skip")] == [("Bell",)]
    assert len(open_sounds(f"audioset:{base}/balanced_train?missing=skip")) == 1
    (base / "balanced_train/audio/Ya.wav").unlink()
    with pytest.raises(BadInput, match="2 of 2"):
        from_audioset(tmp_path, "balanced", missing="skip")


def test_broken_audioset_metadata_is_named(tmp_path: Path) -> None:
    base = audioset(tmp_path, [{"id": "a", "folder": "eval"}])
    with pytest.raises(BadInput, match=r"eval\.json: item 0 is broken.*label"):
        from_audioset(base, "eval")
    (base / "metadata/eval.json").write_text('[\n{"id": }]')
    with pytest.raises(BadInput, match=r"eval\.json:2: is no JSON list of clips"):
        from_audioset(base, "eval")
    (base / "metadata/eval.json").write_text('{"id": 1}')
    with pytest.raises(BadInput, match="is no JSON list of clips"):
        from_audioset(base, "eval")
    with pytest.raises(BadInput, match="no AudioSet metadata"):
        from_audioset(base, "test")


def test_the_released_clip_is_found_in_its_own_layout(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "AudioSet").mkdir()
    (tmp_path / "AudioSet/eval").symlink_to(shared / "data/spatialsoundqa/AudioSet/eval")
    audioset(tmp_path, [{"id": "CqvbWnTBfTk", "folder": "eval", "label": [MID["Speech"]]}])
    (sound,) = open_sounds(f"audioset:{tmp_path}/eval")
    assert len(sound.waveform()) > 9 * 32_000


# --- recipes ---


def test_specs_open_what_they_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip(tmp_path / "Dog" / "a.wav")
    path = manifest(tmp_path, "Dog/a.wav,Dog,1")
    assert len(open_sounds("procedural:2")) == 2 * len(PROCEDURAL_LABELS)
    assert set(open_sounds("procedural").labels()) == set(PROCEDURAL_LABELS)
    assert len(open_sounds(f"folder:{tmp_path}")) == len(open_sounds(f"manifest:{path}", cache=True)) == 1
    monkeypatch.setenv("BAT_SHARED", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_sounds(["manifest:$BAT_SHARED/manifest.csv", "folder:~", "folder:${BAT_SHARED}"])) == 3


def test_shared_data_is_looked_for_beside_the_working_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(tmp_path / "shared/data/Dog/a.wav")
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.delenv("BAT_SHARED", raising=False)
    assert open_sounds("folder:$BAT_SHARED/data")[0].labels == ("Dog",)


@pytest.mark.parametrize("spec", ["", "freesound:x", "manifest", "folder:", "procedural:few", "audioset:eval"])
def test_a_spec_that_names_nothing_is_refused(spec: str) -> None:
    with pytest.raises(BadInput, match=r"expected|must"):
        open_sounds(spec)


def test_two_million_clips_cost_columns_not_objects() -> None:
    """A clip costs a name, its classes and a few numbers: below 100 bytes, where a Python object takes 500."""
    from bat_agent.datasets.sounds import Row

    number = class_number("Dog")
    rows = (Row(f"eval/audio/Y{i:011d}.wav", (number, 3), None) for i in range(20_000))
    sounds = SoundSet(rows, lambda _: np.zeros(1, np.float32))
    columns = (sounds._ids, sounds._classes, sounds._ends, sounds._folds, sounds._origin)
    assert sum(column.nbytes for column in columns) < 100 * len(sounds)
