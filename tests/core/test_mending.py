"""Recordings that lie, as other programs write them: what is mended, what is told, and that no place is made up."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve

import bat_agent
from bat_agent.agent import Bat, ModelConfig
from bat_agent.hearing.arrays import hearing_arrays
from bat_agent.recordings import Recording
from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at
from bat_agent.sound.audio import read_audio, read_mono, read_recording
from bat_agent.sound.mending import mend
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner

RATE_HZ = 32_000
Run = Callable[..., tuple[int, str, str]]


def noise(seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    shape = (2, round(seconds * RATE_HZ))
    return (level * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)


def mended(sound: np.ndarray) -> Any:
    return mend(sound.astype(np.float32))


def test_a_good_clip_stays_the_very_same() -> None:
    clip = noise()
    found = mend(clip)
    assert found.clip is clip
    assert (found.silent, found.placeless, found.notes) == (False, False, ())


@pytest.mark.parametrize("offset", [(0.3, 0.3), (0.0, -0.2), (0.05, 0.0)])
def test_an_offset_is_taken_out_and_told(offset: tuple[float, float]) -> None:
    """Speech with an offset of 0.3 was heard as "Drip": a clip that begins with a step."""
    clean = noise()
    found = mended(clean + np.float32(offset)[:, None])
    np.testing.assert_allclose(found.clip, clean, atol=2e-3)
    assert "offset" in found.notes[0]
    assert ("recording" in found.notes[0]) == all(offset)


@pytest.mark.parametrize("level", [0.1, 1e-4])
def test_an_offset_alone_is_silence(level: float) -> None:
    """A constant of 0.1 was "Beep, bleep" with 0.96."""
    found = mended(np.full((2, RATE_HZ), level))
    assert found.silent
    assert not found.placeless


def test_deep_sounds_and_short_ones_have_no_offset() -> None:
    """The mean of a few periods is not zero, and no offset."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    for seconds, pitch_hz in ((1.0, 20.3), (0.12, 55.0), (0.02, 130.0)):
        tone = 0.1 * np.sin(2 * np.pi * pitch_hz * time_s[: round(seconds * RATE_HZ)])
        ears = np.stack([tone, 0.7 * np.roll(tone, 11)])
        assert not any("offset" in note for note in mended(ears).notes), (seconds, pitch_hz)


@pytest.mark.parametrize("peak", [1e3, 32767.0, 1e18, 3e38])
def test_huge_samples_are_scaled_down(peak: float) -> None:
    """1e18 is finite, and its square in single precision is not: probabilities were NaN."""
    sound = noise()
    found = mended(sound / np.abs(sound).max() * np.float32(peak))
    assert float(np.abs(found.clip).max()) == pytest.approx(1.0, rel=1e-5)
    assert "far beyond full scale" in found.notes[0]


def test_an_inverted_ear_is_turned_back() -> None:
    simulator = bat_agent.load_simulator("shoebox")
    listener = Listener((2.0, 1.5, 3.0))
    source = Source(point_at(listener, Position(40.0, 0.0, 1.0)))
    (rir,) = simulator.render(Scene(Room((4.0, 2.6, 5.0), 0.2), listener, (source,)))
    dry = np.random.default_rng(1).standard_normal(RATE_HZ)
    ears = np.stack([0.1 * fftconvolve(dry, ear)[:RATE_HZ] for ear in rir.numpy()]).astype(np.float32)
    found = mended(ears * np.float32([[1], [-1]]))
    np.testing.assert_array_equal(found.clip, ears)
    assert "turned back" in found.notes[0]
    assert not found.placeless


# --- files ---


def sine_44100(gain: float) -> np.ndarray:
    tone = np.sin(2 * np.pi * 997 * np.arange(44_100) / 44_100)
    return np.stack([np.clip(gain * tone, -1, 1), 0.5 * np.clip(gain * np.roll(tone, 20), -1, 1)], axis=1)


@pytest.mark.parametrize(("gain", "clips"), [(2.0, True), (0.98, False)])
def test_clipping_is_looked_for_at_the_rate_of_the_file(gain: float, clips: bool, tmp_path: Path) -> None:
    """Resampling rounds the corners, and no sample lies at full scale any more."""
    soundfile.write(tmp_path / "loud.wav", sine_44100(gain), 44_100)
    notes = " ".join(read_recording(tmp_path / "loud.wav").notes)
    assert ("clips" in notes) == clips
    assert "resampled from 44100 Hz" in notes
    # So it is where long recordings and many are read, piece by piece.
    pieces = Recording(tmp_path / "loud.wav")
    pieces.read()
    assert sorted(pieces.notes) == sorted(read_recording(tmp_path / "loud.wav").notes)


def unfinished(file: Path, subtype: str = "PCM_16") -> np.ndarray:
    """As a recorder leaves it that lost its power: the sizes are still 0; returns what is in it."""
    soundfile.write(file, noise(0.7).T, RATE_HZ, subtype=subtype)
    whole = soundfile.read(file, dtype="float32")[0].T
    content = bytearray(file.read_bytes())
    struct.pack_into("<I", content, 4, 0)
    struct.pack_into("<I", content, content.index(b"data") + 4, 0)
    file.write_bytes(content)
    assert soundfile.info(file).frames == 0, "libsndfile reads it by itself now: the reader of headers may go"
    return np.asarray(whole)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_header_that_was_never_finished_costs_nothing(subtype: str, tmp_path: Path) -> None:
    whole = unfinished(tmp_path / "cut.wav", subtype)
    recording = read_recording(tmp_path / "cut.wav")
    np.testing.assert_array_equal(recording.waveform.numpy(), whole)
    assert "never finished" in " ".join(recording.notes)
    np.testing.assert_array_equal(read_mono(tmp_path / "cut.wav"), whole[0])


def test_a_header_that_was_never_finished_costs_nothing_of_long_recordings_and_pipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read by another way, which said that the file holds no samples."""
    whole = unfinished(tmp_path / "cut.wav")
    piped = SimpleNamespace(buffer=io.BytesIO((tmp_path / "cut.wav").read_bytes()), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", piped)
    for name in (tmp_path / "cut.wav", "-"):
        recording = Recording(name)
        np.testing.assert_array_equal(recording.read(), whole)
        assert "never finished" in " ".join(recording.notes)


def test_a_recording_that_is_truly_empty_is_still_refused(tmp_path: Path) -> None:
    """Also where its header goes on behind the sound that is not there."""
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), RATE_HZ)
    text = b"LIST" + struct.pack("<I", 12) + b"INFOINAM\x00\x00\x00\x00"
    for more in (b"", text):
        content = bytearray((tmp_path / "empty.wav").read_bytes())
        content = content[: content.index(b"data") + 8] + more
        (tmp_path / "more.wav").write_bytes(content)
        with pytest.raises(bat_agent.errors.BadInput, match="holds no samples"):
            read_audio(tmp_path / "more.wav")


# --- what is told of a recording that carries no direction ---


@pytest.fixture
def bat() -> Bat:
    parts: dict[str, Any] = {"name": "echo", "options": {}}
    return Bat(ModelConfig("echo", parts, parts), EchoEncoder(EchoEncoderConfig()), EchoReasoner(EchoReasonerConfig()))


PLACELESS = {
    "one microphone": np.stack([noise()[0]] * 2),
    "panned": noise()[:1] * np.float32([[1.0], [0.5]]),
    "dead ear": noise() * np.float32([[1.0], [0.0]]),
    "out of step": np.stack([noise()[0], np.roll(noise()[0], 160)]),
}


@pytest.mark.parametrize("name", PLACELESS)
def test_no_place_is_told_where_none_can_be_heard(bat: Bat, name: str) -> None:
    """The note said that no direction can be heard, and the table beside it 90°, +74°, confidence 1.00."""
    clip = PLACELESS[name]
    perception = bat.perceive(clip)
    assert "no direction can be heard" in " ".join(perception.notes)
    for source in perception.sources:
        assert (source.azimuth_deg, source.elevation_deg, source.distance_m, source.region) == (None,) * 4
        assert source.labels
        assert not {"direction", "distance"} & set(source.confidences)
    assert not hearing_arrays(bat, clip)["valid"].any()
    assert not hearing_arrays(bat, clip)["direction"].any()
    assert hearing_arrays(bat, clip)["class_probs"].any()
    two = bat.perceive(np.stack([clip, noise()]))
    assert two[0].sources[0].azimuth_deg is None
    assert two[1].sources[0].azimuth_deg is not None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Where is the speech?", "I cannot hear where."),
        ("Is the dog on my left?", "I cannot hear where."),
        ("WHICH WAY DOES IT COME FROM", "I cannot hear where."),
        ("How far is the dog?", "I cannot hear how far."),
        ("Which is closer, the dog or the siren?", "I cannot hear how far."),
    ],
)
def test_questions_about_places_are_answered_by_that(bat: Bat, question: str, answer: str) -> None:
    said = bat.ask(PLACELESS["one microphone"], question)
    assert (said.text, said.sure, said.spoken) == (answer, False, answer)
    assert "no direction can be heard" in " ".join(said.notes)
    assert "".join(bat.stream(PLACELESS["one microphone"], question)) == answer
    assert bat.ask(noise(), question).text != answer


def test_what_sounds_is_still_answered(bat: Bat) -> None:
    for question in ("What do you hear?", "Is it right that there is a dog?", "Is there music?"):
        assert bat.ask(PLACELESS["panned"], question).text == bat.ask(noise(), question).text


@pytest.mark.usefixtures("_echo")
def test_the_command_prints_none(run: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.opus", PLACELESS["one microphone"].T, 48_000, format="OGG", subtype="OPUS")
    code, out, err = run("perceive", tmp_path / "one.opus", "--plot", tmp_path / "one.png")
    assert code == 0
    assert "no direction can be heard" in err
    assert "°" not in out
    said = json.loads(run("perceive", tmp_path / "one.opus", "--json")[1])
    assert [(s["azimuth_deg"], s["elevation_deg"], s["region"]) for s in said["sources"]] == [(None, None, None)]
    assert "I cannot hear where." in run("ask", tmp_path / "one.opus", "Where is it?")[1]
