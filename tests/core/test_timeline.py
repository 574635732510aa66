"""Recordings of any length: which stretch is heard, what becomes a track, and the files that other programs read."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from bat_agent.ambisonics import to_ears
from bat_agent.cli.recordings import expanded
from bat_agent.errors import BadInput
from bat_agent.hearing.perception import PerceivedSource, Perception
from bat_agent.recordings import Recording
from bat_agent.sound.audio import read_audio
from bat_agent.timeline import Timeline, hear
from bat_agent.timeline.picture import timeline_figure
from bat_agent.timeline.writing import write_csv, write_csv_header, write_jsonl, write_labels

RATE_HZ = 32_000
Run = Callable[..., tuple[int, str, str]]


class Levels:
    """Ears that hear a dog on the left where the left ear is loud, and rain behind where the right one is."""

    def __init__(self, clip_seconds: float = 10.0) -> None:
        self.encoder = SimpleNamespace(clip_seconds=clip_seconds)
        self.windows: list[np.ndarray] = []

    def perceive(self, batch: np.ndarray) -> list[Perception]:
        self.windows += list(batch)
        return [self._one(window) for window in batch]

    def _one(self, window: np.ndarray) -> Perception:
        left, right = (np.abs(window) > 0.05).mean(axis=1) > 0.2
        found = []
        if left:
            found.append(PerceivedSource(("Dog",), 170.0, 10.0, 2.0, 0.9))
        if right:
            found.append(PerceivedSource(("Rain",), 270.0, None, None, 0.6))
        return Perception(tuple(found), {}, ("loud",) if left else ())


def a_file(
    path: Path, seconds: float, dog: tuple[float, float], rain: tuple[float, float], rate_hz: int = RATE_HZ
) -> Path:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = 0.5 * np.sin(2 * np.pi * 440 * time_s)  # a constant would be an offset, which is taken out
    ears = [tone * ((time_s >= begin) & (time_s < end)) for begin, end in (dog, rain)]
    soundfile.write(path, np.stack(ears, axis=1), rate_hz, subtype="FLOAT")
    return path


# --- which stretch is heard ---


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100])
def test_a_stretch_is_what_reading_all_of_it_has_there(tmp_path: Path, rate_hz: int, rng: np.random.Generator) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.1 * rng.standard_normal((7 * rate_hz, 2)), rate_hz, subtype="FLOAT")
    recording = Recording(path)
    assert recording.seconds == 7
    whole = read_audio(path).numpy()
    np.testing.assert_allclose(recording.read()[:, : whole.shape[1]], whole[:, : recording.read().shape[1]], atol=1e-4)
    part = recording.read(2.5, 3.0)
    assert part.shape == (2, 3 * RATE_HZ)
    inner = slice(3000, -3000)  # resampling rings at a beginning
    np.testing.assert_allclose(part[:, inner], whole[:, 80_000:176_000][:, inner], atol=1e-4)


@pytest.mark.parametrize(
    ("begin_s", "seconds", "every_s", "windows", "first_s", "size_s"),
    [
        (0.0, None, None, 20, 0.0, 2.0),  # the last one ends where the file ends
        (3.0, 5.0, None, 4, 3.0, 2.0),
        (0.0, None, 4.0, 6, 0.0, 4.0),
        (0.0, None, 15.0, 2, 0.0, 10.0),
        (19.7, None, None, 1, 19.7, 1.2),
    ],
)
def test_windows_cover_the_stretch(
    tmp_path: Path, begin_s: float, seconds: float, every_s: float, windows: int, first_s: float, size_s: float
) -> None:
    time_s = np.arange(round(20.9 * RATE_HZ)) / RATE_HZ
    soundfile.write(tmp_path / "a.wav", np.stack([time_s, time_s], axis=1) / 100, RATE_HZ, subtype="FLOAT")
    ears = Levels()
    found = hear(ears, Recording(tmp_path / "a.wav"), begin_s=begin_s, seconds=seconds, every_s=every_s)  # type: ignore[arg-type]
    assert len(ears.windows) == windows
    assert ears.windows[0][0, 0] * 100 == pytest.approx(first_s, abs=1e-4)
    assert ears.windows[0].shape[1] == pytest.approx(size_s * RATE_HZ, abs=2)
    end_s = 20.9 if seconds is None else begin_s + seconds
    assert found.end_s == pytest.approx(end_s)
    if every_s != 15.0:
        assert ears.windows[-1][0, -1] * 100 == pytest.approx(end_s, abs=0.001)
        assert not any("were heard" in note for note in found.notes)
    else:
        assert any("10 s of every 15 s" in note for note in found.notes)


@pytest.mark.parametrize(
    ("begin_s", "every_s", "says"),
    [
        (30.0, None, "begin earlier"),
        (float("nan"), None, "begin earlier"),
        (float("-inf"), None, "begin earlier"),
        (0.0, 0.0, "0.01 s apart"),
        (0.0, 1e-9, "0.01 s apart"),  # a look at each sample: it never ended
        (0.0, float("nan"), "0.01 s apart"),
    ],
)
def test_a_stretch_that_is_not_there_is_told(tmp_path: Path, begin_s: float, every_s: float, says: str) -> None:
    path = a_file(tmp_path / "a.wav", 4, (0, 4), (0, 0))
    with pytest.raises(BadInput, match=says):
        hear(Levels(), Recording(path), begin_s=begin_s, every_s=every_s)  # type: ignore[arg-type]


def test_numbers_that_are_none_are_told_and_no_end_is_the_end(tmp_path: Path) -> None:
    """They ended in a traceback, as every program takes ``--start nan`` for a number."""
    recording = Recording(a_file(tmp_path / "a.wav", 4, (0, 4), (0, 0)))
    assert hear(Levels(), recording, seconds=float("inf")).end_s == 4.0  # type: ignore[arg-type]
    assert recording.read(seconds=float("inf")).shape == (2, 4 * RATE_HZ)
    with pytest.raises(BadInput, match="expected more than 0"):
        hear(Levels(), recording, seconds=float("nan"))  # type: ignore[arg-type]
    for heading in (float("nan"), float("inf")):
        with pytest.raises(BadInput, match="no direction"):
            to_ears(np.zeros((4, RATE_HZ)), heading_deg=heading)


# --- what becomes a track ---


def test_tracks_begin_and_end_where_sounds_do(tmp_path: Path) -> None:
    path = a_file(tmp_path / "a.wav", 60, (12.3, 20.8), (15.0, 60.0))
    found = hear(Levels(), Recording(path))  # type: ignore[arg-type]
    dog, rain = found.tracks
    assert (dog.label, rain.label) == ("Dog", "Rain")
    assert (dog.begin_s, dog.end_s) == (pytest.approx(12.3, abs=1.0), pytest.approx(20.8, abs=1.0))
    assert (rain.begin_s, rain.end_s) == (pytest.approx(15.0, abs=1.0), 60.0)
    assert (dog.azimuth_deg, dog.elevation_deg) == (pytest.approx(170), pytest.approx(10))
    assert (dog.distance_m, dog.region) == (pytest.approx(2.0), "left, front, above")
    # A head that the model lacks stays empty.
    assert (rain.azimuth_deg, rain.distance_m) == (pytest.approx(270), None)
    assert [note for note in found.notes if note.startswith("loud (in ")]


def test_the_same_sound_later_is_another_track(tmp_path: Path) -> None:
    one, other = (a_file(tmp_path / f"{n}.wav", 40, span, (0, 0)) for n, span in enumerate(((3, 8), (30, 35))))
    both = sum(soundfile.read(path)[0] for path in (one, other))
    soundfile.write(tmp_path / "both.wav", both, RATE_HZ, subtype="FLOAT")
    tracks = hear(Levels(), Recording(tmp_path / "both.wav")).tracks  # type: ignore[arg-type]
    assert [track.number for track in tracks] == [1, 2]
    assert tracks[1].begin_s == pytest.approx(30, abs=1)


# --- files for other programs ---


@pytest.fixture
def timeline(tmp_path: Path) -> Timeline:
    return hear(Levels(), Recording(a_file(tmp_path / 'a, "b".wav', 20, (2, 9), (4, 20))))  # type: ignore[arg-type]


class Confused:
    """Ears that take front for behind in every so many looks."""

    encoder = SimpleNamespace(clip_seconds=10.0)

    def __init__(self, every: int) -> None:
        self.looks, self.every = 0, every

    def perceive(self, batch: np.ndarray) -> list[Perception]:
        found = []
        for _ in batch:
            self.looks += 1
            mistaken = self.looks % self.every < 5 * self.every // 12
            source = PerceivedSource(("Dog",), 280.0 if mistaken else 80.0, 10.0, 2.0, 0.9)
            found.append(Perception((source,), {}, ()))
        return found


@pytest.mark.parametrize(("every", "words"), [(12, "right, above"), (1, "right, front, above")])
def test_a_track_is_where_something_was_heard(every: int, words: str, tmp_path: Path) -> None:
    """The mean of looks in front and behind lay on the right, where nothing ever was; the sides were told as sure."""
    file = a_file(tmp_path / "a.wav", 13.0, (0, 13), (0, 0))
    (track,) = hear(Confused(every), Recording(file)).tracks  # type: ignore[arg-type]
    assert track.azimuth_deg == pytest.approx(80.0, abs=1e-6)
    assert track.azimuth_deg in {point.azimuth_deg for point in track.path}
    assert track.region == words


class Named:
    """Ears that hear one source, by another name in each look, as surely as they say."""

    encoder = SimpleNamespace(clip_seconds=10.0)

    def __init__(self, *names: tuple[str, float]) -> None:
        self.names = list(names)

    def perceive(self, batch: np.ndarray) -> list[Perception]:
        said = [self.names.pop(0) for _ in batch]
        return [
            Perception((PerceivedSource((name,), 180.0, 0.0, 2.0, 0.99, {"label": sure}, guessed=sure < 0.3),))
            for name, sure in said
        ]


@pytest.mark.parametrize(
    ("names", "label", "told"),
    [
        # Of two looks each, those that knew it better; the first of them was not told yet, as it was alone.
        ((("Wind", 0.53), ("Wind", 0.36), ("Helicopter", 0.46), ("Helicopter", 0.29)), "Wind", "Wind"),
        ((("Wind", 0.2), ("Wind", 0.25), ("Wind", 0.2), ("Helicopter", 0.2)), "Wind", "perhaps Wind"),
    ],
)
def test_a_track_is_named_by_the_looks_that_knew_it_best(
    names: tuple[tuple[str, float], ...], label: str, told: str, tmp_path: Path
) -> None:
    """The demo's wind was a helicopter: votes counted that something sounds, not what, and the first look had none."""
    file = a_file(tmp_path / "a.wav", 5.0, (0, 5), (0, 0))
    (track,) = hear(Named(*names), Recording(file)).tracks  # type: ignore[arg-type]
    assert (track.label, track.name) == (label, told)
    assert track.to_dict()["guessed"] == told.startswith("perhaps")
    assert [point.t_s for point in track.path] == [1.0, 2.0, 3.0, 4.0]


def test_csv_is_read_back_by_the_csv_module(timeline: Timeline) -> None:
    stream = io.StringIO()
    write_csv_header(stream)
    write_csv(timeline, stream)
    dog, rain = csv.DictReader(io.StringIO(stream.getvalue()))
    assert dog["file"] == timeline.name
    assert (dog["label"], dog["region"], float(dog["azimuth_deg"])) == ("Dog", "left, front, above", 170.0)
    assert rain["distance_m"] == ""


def test_jsonl_holds_the_path_of_each_track(timeline: Timeline) -> None:
    stream = io.StringIO()
    write_jsonl(timeline, stream)
    dog, _ = map(json.loads, stream.getvalue().splitlines())
    assert len(dog["path"]) >= 6
    assert {point["azimuth_deg"] for point in dog["path"]} == {170.0}


def test_labels_are_as_audacity_has_them(timeline: Timeline) -> None:
    """Begin, end and text with tabs between, seconds with a point: File, Import, Labels."""
    stream = io.StringIO()
    write_labels(timeline, stream)
    for line, track in zip(stream.getvalue().splitlines(), timeline.tracks, strict=True):
        begin, end, text = line.split("\t")
        assert float(begin) == pytest.approx(track.begin_s, abs=0.001)
        assert float(end) == pytest.approx(track.end_s, abs=0.001)
        assert text.startswith(str(track.label))


def test_the_picture_has_a_row_a_class_and_bars_in_their_places(timeline: Timeline) -> None:
    figure = timeline_figure(timeline)
    above, below = figure.axes
    assert [label.get_text() for label in above.get_yticklabels()] == ["Dog", "Rain"]
    bars = [(bar.get_x(), bar.get_width()) for bar in above.patches]
    assert bars == [(pytest.approx(t.begin_s), pytest.approx(t.end_s - t.begin_s)) for t in timeline.tracks]
    assert below.get_xlim() == (0.0, 20.0)


# --- the command ---


def test_no_two_rows_of_the_picture_look_alike(timeline: Timeline) -> None:
    """The ninth class had the colour and the marker of the first."""
    one = timeline.tracks[0]
    names = [f"sound {number}" for number in range(20)]
    tracks = tuple(replace(one, number=number, label=name) for number, name in enumerate(names))
    _, below = timeline_figure(replace(timeline, tracks=tracks)).axes
    looks = {(line.get_color(), line.get_marker()) for line in below.lines}
    assert len(looks) == len(names)


def test_names_folders_and_patterns_become_files(tmp_path: Path) -> None:
    for name in ("b.wav", "a.flac", "notes.txt", "sub/c.OGG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = ["a.flac", "b.wav", "sub/c.OGG"]
    assert expanded([tmp_path]) == [tmp_path / name for name in names]
    assert expanded([tmp_path / "b.wav", tmp_path / "*.wav"]) == [tmp_path / "b.wav"]
    (tmp_path / "none").mkdir()
    for bad, says in ((tmp_path / "none", "no recording"), (tmp_path / "*.mp3", "nothing fits")):
        with pytest.raises(BadInput, match=says):
            expanded([bad])


@pytest.mark.usefixtures("_echo")
def test_a_folder_with_a_bad_file_is_heard_but_for_that(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        a_file(folder / f"{number}.wav", 3, (0, 3), (0, 0))
    (folder / "2.wav").write_bytes(b"RIFF is not enough")
    code, out, err = run(
        "perceive",
        folder,
        "--csv",
        tmp_path / "a.csv",
        "--labels",
        tmp_path / "labels",
        "--plot",
        tmp_path / "p",
        "--json",
    )
    assert code == 0
    told = json.loads(out)
    assert [("error" in one) for one in told] == [False, False, True, False]
    assert err.count("error:") == 1
    assert "1 of 4 recordings could not be heard" in err
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert [Path(row["file"]).name for row in rows] == ["0.wav", "1.wav", "3.wav"]
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["0.wav.txt", "1.wav.txt", "3.wav.txt"]
    assert (tmp_path / "p" / "0.wav.png").read_bytes()[:4] == b"\x89PNG"
    for number in (0, 1, 3):
        (folder / f"{number}.wav").unlink()
    assert run("perceive", folder / "2.wav", folder / "gone.wav")[0] == 2


@pytest.mark.usefixtures("_echo")
def test_a_remark_is_made_once_with_the_recordings_it_is_about(run: Run, tmp_path: Path) -> None:
    """Forty recordings had the same remark forty times, without a name; ``--csv -`` had none."""
    for number in range(6):
        a_file(tmp_path / f"{number}.wav", 3, (0, 3), (0, 3 * (number == 0)), 44_100)
    for where in ((), ("--csv", "-")):
        code, _, err = run("perceive", tmp_path, *where)
        assert code == 0
        assert err.count("resampled from 44100 Hz") == 1
        (dead,) = (line for line in err.splitlines() if "5 of 6 recordings" in line)
        assert dead.endswith(f"recordings: {', '.join(str(tmp_path / f'{number}.wav') for number in (1, 2, 3))}, …)")


@pytest.mark.usefixtures("_echo")
def test_a_long_file_is_a_timeline_and_a_question_says_what_it_heard(run: Run, tmp_path: Path) -> None:
    """Today the first ten seconds of three minutes were all that was heard."""
    path = a_file(tmp_path / "a.wav", 25, (0, 25), (0, 0))
    code, out, _ = run("perceive", path, "--json", "--every", "5")
    (track,) = json.loads(out)["tracks"]
    assert (code, track["begin_s"], track["end_s"]) == (0, 0.0, 25.0)
    assert track["label"]
    assert (track["azimuth_deg"], track["distance_m"], track["region"]) == (None, None, None)  # one ear is dead
    code, _, err = run("ask", path, "What is it?")
    assert code == 0
    assert "heard: 0 s to 10.0 s of 25.0 s" in err
    assert "--start" in err
    _, _, err = run("ask", path, "What is it?", "--start", "20", "--seconds", "3")
    assert "heard: 20 s to 23.0 s of 25.0 s" in err
    for option, said, says in (("--start", "30", "begin earlier"), ("--start", "nan", "begin earlier"),
                               ("--seconds", "nan", "more than 0"), ("--every", "nan", "s apart")):  # fmt: skip
        code, out, err = run("perceive", path, option, said)
        assert (code, out) == (2, "")
        assert says in err


@pytest.mark.usefixtures("_echo")
def test_a_recording_comes_through_a_pipe(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = a_file(tmp_path / "a.wav", 2, (0, 2), (0, 0)).read_bytes()

    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))

    pipe(content)
    code, out, _ = run("perceive", "-", "--json")
    assert (code, len(json.loads(out)["sources"])) == (0, 1)
    pipe(content)
    assert run("ask", "-", "Where is it?")[0] == 0
    pipe(b"")
    code, _, err = run("perceive", "-")
    assert code == 2
    assert "standard input" in err


@pytest.mark.usefixtures("_echo")
def test_an_ambisonic_file_is_heard(run: Run, tmp_path: Path, rng: np.random.Generator) -> None:
    """A wave from the left; ``--heading`` 90 turns the head to it."""
    sound = 0.1 * rng.standard_normal(2 * RATE_HZ)
    soundfile.write(tmp_path / "a.wav", np.outer(sound, [1, 1, 0, 0]), RATE_HZ, subtype="FLOAT")
    levels: dict[str, Any] = {}
    for heading in ("0", "90"):
        code, out, err = run("perceive", tmp_path / "a.wav", "--json", "--heading", heading)
        assert (code, err) == (0, "")
        levels[heading] = json.loads(out)
    assert levels["0"]["sources"][0]["region"].startswith("left")
    assert any("ambix" in note for note in levels["0"]["notes"])
    assert run("ask", tmp_path / "a.wav", "Where is it?", "--ambisonics", "ambix")[0] == 0
    code, _, err = run("perceive", tmp_path / "a.wav", "--ambisonics", "no")
    assert code == 2
    assert "4 channels" in err
