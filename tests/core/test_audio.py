"""Audio files: round trips, resampling against the theory of tones, and one sentence for every bad file."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soundfile
import torch
from scipy.io import wavfile

from bat_agent.errors import BadInput
from bat_agent.sound.audio import read_audio, read_mono, resample, write_wav


def tone(frequency_hz: float, rate_hz: int, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype("f4")


def fitted(x: np.ndarray, frequency_hz: float, rate_hz: int = 32_000) -> tuple[float, float]:
    """Amplitude of the best-fitting tone of a frequency, and the RMS of what it leaves; edges left out."""
    t = np.arange(len(x)) / rate_hz
    basis = np.stack([np.sin(2 * np.pi * frequency_hz * t), np.cos(2 * np.pi * frequency_hz * t)], 1)[2000:-2000]
    inner = x[2000:-2000].astype(np.float64)
    weights = np.linalg.lstsq(basis, inner, rcond=None)[0]
    return float(np.hypot(*weights)), float(np.sqrt(np.mean((inner - basis @ weights) ** 2)))


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 44_100, 48_000, 96_000])
def test_a_tone_of_1_khz_stays_1_khz_at_its_level(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "t.wav", np.stack([tone(1000, rate_hz), 0.5 * tone(1000, rate_hz)], 1), rate_hz, "FLOAT")
    waveform = read_audio(tmp_path / "t.wav")
    assert waveform.dtype == torch.float32
    assert waveform.shape[0] == 2
    assert abs(waveform.shape[1] - 32_000) <= 1
    for ear, amplitude in zip(waveform.numpy(), (0.5, 0.25), strict=True):
        level, rest = fitted(ear, 1000.0)
        assert level == pytest.approx(amplitude, rel=1e-3)
        assert rest < 1e-4 * amplitude  # −80 dB: neither pitch error nor images


def test_what_lies_above_the_new_nyquist_frequency_is_removed_not_folded() -> None:
    folded = resample(tone(20_000, 48_000), 48_000, 32_000)
    assert np.abs(folded[2000:-2000]).max() < 1e-4


def test_channels_keep_their_times_to_a_fraction_of_a_sample() -> None:
    """The ears' time difference is the cue: resampling must delay both alike, and by nothing."""
    click = np.zeros((2, 44_100), np.float32)
    click[0, 11_025], click[1, 22_050] = 1, 1
    out = resample(click, 44_100, 32_000)
    assert np.abs(out[0]).argmax() == 8000
    assert np.abs(out[1]).argmax() == 16_000


def test_resampling_takes_and_gives_the_same_kind_and_shape() -> None:
    batch = torch.randn(3, 2, 4800, generator=torch.Generator().manual_seed(0))
    out = resample(batch, 48_000, 32_000)
    assert isinstance(out, torch.Tensor)
    assert out.shape == (3, 2, 3200)
    np.testing.assert_allclose(out[1].numpy(), resample(batch[1].numpy(), 48_000, 32_000), atol=1e-6)
    same = batch.numpy()
    np.testing.assert_array_equal(resample(same, 32_000, 32_000), same)
    with pytest.raises(BadInput, match="positive"):
        resample(same, 0, 32_000)


@pytest.mark.parametrize("shape", [(320,), (2, 320), (4, 320)])
def test_writing_and_reading_gives_the_same_samples_even_beyond_full_scale(
    tmp_path: Path, rng: np.random.Generator, shape: tuple[int, ...]
) -> None:
    loud = (3 * rng.standard_normal(shape)).astype(np.float32)
    path = write_wav(tmp_path / "loud.wav", torch.from_numpy(loud))
    back, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == 32_000
    np.testing.assert_array_equal(back.T, loud)
    assert [p.name for p in tmp_path.iterdir()] == ["loud.wav"]


def test_read_audio_keeps_left_left(tmp_path: Path) -> None:
    write_wav(tmp_path / "s.wav", np.stack([np.full(99, 0.25), np.full(99, -0.5)]))
    waveform = read_audio(str(tmp_path / "s.wav"))
    assert waveform[:, 0].tolist() == [0.25, -0.5]
    assert waveform.shape == (2, 99)
    assert read_audio(tmp_path / "s.wav", channels=(2, 1))[:, 0].tolist() == [-0.5, 0.25]
    assert read_mono(tmp_path / "s.wav").tolist() == [0.25] * 99


def test_integer_files_reach_full_scale(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "i.flac", np.array([[-32768, 16384]] * 50, np.int16), 32_000)
    assert read_audio(tmp_path / "i.flac")[:, 0].tolist() == [-1.0, 0.5]


def test_mono_is_refused_with_both_ways_out_and_duplicated_on_request(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "mono.wav", np.linspace(-1, 1, 50))
    with pytest.raises(BadInput, match=r"no direction.*two microphones.*--mono duplicate.*mono='duplicate'"):
        read_audio(path)
    ears = read_audio(path, mono="duplicate")
    assert ears.shape == (2, 50)
    torch.testing.assert_close(ears[0], ears[1], rtol=0, atol=0)
    with pytest.raises(BadInput, match="'refuse' or 'duplicate'"):
        read_audio(path, mono="yes")  # type: ignore[arg-type]


def test_more_channels_than_ears_must_be_chosen(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "four.wav", np.arange(4)[:, None] * np.full((4, 60), 0.1))
    with pytest.raises(BadInput, match=r"4 channels.*channels=\(1, 2\)"):
        read_audio(path)
    np.testing.assert_allclose(read_audio(path, channels=(4, 2))[:, 7], [0.3, 0.1], rtol=1e-6)
    for wrong in ((1, 5), (-1, 1), (1,)):
        with pytest.raises(BadInput, match="from 1 to 4"):
            read_audio(path, channels=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    samples = np.zeros((2, 100), np.float32)
    samples[1, 3] = value
    path = write_wav(tmp_path / "n.wav", samples)
    with pytest.raises(BadInput, match="NaN or infinite"):
        read_audio(path)


def test_files_that_are_no_audio_are_refused_in_one_sentence_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("This is not sound.\n" * 50)
    (tmp_path / "zero.wav").touch()
    write_wav(tmp_path / "no_samples.wav", np.zeros((2, 0)))
    bad = {
        "absent.wav": "no audio file",
        "": "is a folder",
        "text.wav": "cannot read .* as audio",
        "zero.wav": "0 bytes",
        "no_samples.wav": "no samples",
    }
    for name, message in bad.items():
        for read in (read_audio, read_mono):
            with pytest.raises(BadInput, match=message) as caught:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)
            assert "\n" not in str(caught.value)


def test_a_file_that_breaks_off_gives_what_is_there_or_an_error(tmp_path: Path) -> None:
    whole = write_wav(tmp_path / "whole.wav", np.ones((2, 1000))).read_bytes()
    for keep in (20, 44, 60, len(whole) // 2):
        (tmp_path / "part.wav").write_bytes(whole[:keep])
        try:
            part = read_audio(tmp_path / "part.wav")
        except BadInput:
            continue
        assert 0 < part.shape[1] <= 1000
        assert (part == 1).all()


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(size=(2, 500))
    first = write_wav(tmp_path / "a.wav", sound).read_bytes()
    assert b"PEAK" not in first  # the chunk that holds the time of writing
    assert write_wav(tmp_path / "b.wav", sound).read_bytes() == first
    read, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate_hz == 32_000
    np.testing.assert_array_equal(read.T, sound.astype(np.float32))


def test_writing_refuses_other_shapes_and_missing_folders_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for shape in ((320, 2), (1, 2, 320), ()):
        with pytest.raises(BadInput, match="shape"):
            write_wav(tmp_path / "x.wav", np.zeros(shape))
    with pytest.raises(BadInput, match="does not exist"):
        write_wav(tmp_path / "no" / "x.wav", np.zeros(5))
    (tmp_path / "taken.wav").mkdir()
    with pytest.raises(BadInput, match=r"cannot write .*taken\.wav"):
        write_wav(tmp_path / "taken.wav", np.zeros(5))
    assert [p.name for p in tmp_path.iterdir()] == ["taken.wav"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wav(tmp_path / "a.wav", np.full(10, 0.5))

    def full_disk(file: IO[bytes], *args: object) -> None:
        file.write(b"RIFF")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wavfile, "write", full_disk)
    with pytest.raises(BadInput, match="No space left"):
        write_wav(path, np.zeros(10))
    assert read_mono(path).tolist() == [0.5] * 10
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_the_real_clip_has_its_published_rate_and_length(shared: Path) -> None:
    """AudioSet clips of SpatialSoundQA are 32 kHz and 10 s long."""
    clip = shared / "data/spatialsoundqa/AudioSet/eval/audio/YCqvbWnTBfTk.wav"
    samples = read_mono(clip)
    assert abs(len(samples) / 32_000 - 10) < 0.1
    assert 1e-3 < np.sqrt(np.mean(samples**2)) < 1
