"""One microphone, ears out of step, ears turned over, dead ears: told by what other programs wrote, and never of heads.

Sounds are those of scipy, files those of ffmpeg, sox and soundfile; heads are measured ones and those of the simulator.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from numpy.typing import NDArray

from bat_agent import load_simulator
from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at
from bat_agent.sound.ears import between_ears

RATE_HZ = 32_000
Sound = NDArray[np.float64]


def bursts(seconds: float = 2.0, seed: int = 0) -> Sound:
    """Something like syllables: coloured noise in bursts, pauses between them."""
    rng = np.random.default_rng(seed)
    noise = scipy.signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(round(seconds * RATE_HZ)))
    gate = np.clip(np.sin(2 * np.pi * 3.1 * np.arange(noise.size) / RATE_HZ), 0, None)
    said: Sound = 0.1 * noise * gate / noise.std()
    return said


def through(dry: Sound, rir: NDArray[np.floating]) -> Sound:
    """As both ears hear it."""
    return np.stack([scipy.signal.fftconvolve(dry, ear)[: dry.size] for ear in rir])


def late(ears: Sound, milliseconds: float) -> Sound:
    """The right ear later by so much."""
    samples = round(milliseconds * RATE_HZ / 1000)
    return np.stack([ears[0], np.concatenate([np.zeros(samples), ears[1, : ears.shape[1] - samples]])])


def rendered(number: int) -> Sound:
    """A sound in a room that the simulator draws."""
    simulator = load_simulator("shoebox")
    (rir,) = simulator.render(simulator.sample_scene(np.random.default_rng(number)))
    return through(bursts(seed=number), rir.numpy())


def straight_ahead(number: int, off_centre_m: float, rt60_s: float) -> Sound:
    """A source in front of KEMAR, which is symmetric to the bit, in a dry room; on its middle line if 0."""
    rng = np.random.default_rng([number, 7])
    size_m = (rng.uniform(2.5, 6), 2.6, rng.uniform(3, 7))
    listener = Listener((size_m[0] / 2 + off_centre_m, 1.5, size_m[2] - 0.6))
    place = point_at(listener, Position(90.0, (0, 20, -30)[number % 3], (0.4, 0.7, 1.0, 1.5)[number % 4]))
    scene = Scene(Room(size_m, rt60_s), listener, (Source(place),), seed=number)
    return through(bursts(seed=number), load_simulator("shoebox").render(scene)[0].numpy())


def coded(one: Sound, folder: Path, *options: str, suffix: str) -> Sound:
    """The two channels (2, N) through a codec of ffmpeg and back."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg (apt install ffmpeg)")
    soundfile.write(folder / "in.wav", one.T, RATE_HZ, subtype="FLOAT")
    coded, back = folder / f"coded.{suffix}", folder / "back.wav"
    ffmpeg = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i"]
    subprocess.run([*ffmpeg, folder / "in.wav", *options, coded], check=True)
    subprocess.run([*ffmpeg, coded, "-ar", str(RATE_HZ), "-c:a", "pcm_f32le", back], check=True)
    heard: Sound = soundfile.read(back)[0].T
    return heard


ONE = np.stack([bursts()] * 2)
AT_ONCE = (2, 4, 5, 6)
CODECS = {
    "Opus": (("-ar", "48000", "-c:a", "libopus", "-b:a", "64k"), "opus", 1.0),
    "AAC": (("-ar", "48000", "-c:a", "aac", "-b:a", "64k"), "m4a", 1.0),
    "AAC, panned": (("-c:a", "aac", "-b:a", "128k"), "m4a", 0.5),
    "Vorbis, panned": (("-c:a", "libvorbis", "-q:a", "3"), "ogg", 0.5),
}


@pytest.mark.parametrize("name", CODECS)
def test_one_microphone_is_known_through_a_codec(name: str, tmp_path: Path) -> None:
    """It was known only where both channels were equal to the bit; a codec of two channels makes them differ."""
    options, suffix, gain = CODECS[name]
    heard = coded(ONE * [[1.0], [gain]], tmp_path, *options, suffix=suffix)
    assert not np.array_equal(heard[0], gain * heard[1]), "the codec leaves no difference, so this tests nothing"
    assert between_ears(heard).one_microphone


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_one_microphone_is_known_through_the_codec_of_libsndfile(gain: float, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.opus", ONE.T * [1.0, gain], 48_000, format="OGG", subtype="OPUS")
    heard = soundfile.read(tmp_path / "one.opus")[0].T
    assert not np.array_equal(heard[0], heard[1])
    assert between_ears(scipy.signal.resample_poly(heard, 2, 3, axis=1)).one_microphone


def test_one_microphone_is_known_through_dither(tmp_path: Path) -> None:
    """sox dithers each channel by itself: at 16 bit −40 dBFS is some 50 dB above the dither."""
    if shutil.which("sox") is None:
        pytest.skip("needs sox (apt install sox)")
    soundfile.write(tmp_path / "in.wav", 0.02 * ONE.T / np.abs(ONE).max(), RATE_HZ, subtype="FLOAT")
    subprocess.run(["sox", tmp_path / "in.wav", "-b", "16", tmp_path / "out.wav", "dither"], check=True)
    heard = soundfile.read(tmp_path / "out.wav")[0].T
    assert not np.array_equal(heard[0], heard[1])
    assert between_ears(heard).one_microphone


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.03, -1.0, -0.5])
def test_a_panned_or_inverted_copy_is_one_microphone(gain: float) -> None:
    assert between_ears(ONE * [[1.0], [gain]]).one_microphone
    noisy = ONE * [[1.0], [gain]] + 1e-3 * abs(gain) * np.random.default_rng(1).standard_normal(ONE.shape)
    assert between_ears(noisy).one_microphone


@pytest.mark.parametrize("level", [1.0, 1e-4])
def test_two_microphones_in_silence_and_in_noise_are_two(level: float) -> None:
    """Near silence both hear their own noise alone."""
    assert between_ears(level * 0.01 * np.random.default_rng(2).standard_normal((2, RATE_HZ))).carries_direction
    assert between_ears(np.zeros((2, RATE_HZ))).carries_direction


@pytest.mark.parametrize("number", range(12))
def test_rendered_heads_are_never_accused(number: int) -> None:
    found = between_ears(rendered(number))
    assert found.carries_direction
    assert not found.inverted


@pytest.mark.parametrize(("off_centre_m", "rt60_s"), [(0.0, 0.1), (0.0, 0.2), (0.02, 0.1), (0.4, 0.15)])
def test_a_source_straight_ahead_in_a_dry_room_is_no_single_microphone(off_centre_m: float, rt60_s: float) -> None:
    """The head is symmetric, and at 0 m the room is as well: only its tail differs, by −31 dB at the least."""
    for number in range(4):
        found = between_ears(straight_ahead(number, off_centre_m, rt60_s))
        assert found.carries_direction
        assert not found.inverted


def measured(shared: Path, every: int) -> list[Sound]:
    """Real rooms and a real head; every so many of the places, and all straight ahead."""
    folder = shared / "data/brir"
    with (folder / "manifest.csv").open(newline="") as lines:
        rows = list(enumerate(csv.DictReader(lines)))
    heard = []
    for number, row in rows:
        if number % every == 0 or float(row["azimuth_deg"]) == 90:
            rir = scipy.signal.resample_poly(soundfile.read(folder / row["file"])[0].T, 2, 1, axis=1)
            heard.append(through(bursts(seed=number), rir))
    return heard


def test_measured_rooms_are_never_accused(shared: Path) -> None:
    """All of them: ``python benchmarks/never_accused.py``."""
    for ears in measured(shared, every=6):
        found = between_ears(ears)
        assert found.carries_direction
        assert not found.inverted


def test_measured_heads_straight_ahead_are_never_accused(shared: Path) -> None:
    """People in free field, whom only their asymmetry tells from one microphone."""
    with np.load(shared / "data/hrtf/cipic_30_heads_32k.npz") as heads:
        ahead = int(np.argmin(heads["direction"][:, 2]))
        for responses in heads["hrir_int16"][::5, ahead]:
            assert between_ears(through(bursts(), responses.astype(float))).carries_direction


@pytest.mark.parametrize("milliseconds", [2.5, 10.0, 80.0])
def test_ears_out_of_step_are_told_with_how_much(shared: Path, milliseconds: float) -> None:
    """The true delay of a head, up to 0.8 ms, comes on top."""
    for ears in measured(shared, every=20)[:5]:
        found = between_ears(late(ears, milliseconds)).behind_s
        assert found is not None
        assert 1000 * found == pytest.approx(milliseconds, abs=0.9)
        swapped = between_ears(late(ears, milliseconds)[::-1]).behind_s
        assert swapped == pytest.approx(-found, abs=1e-4)


def test_an_ear_that_is_turned_over_is_told(shared: Path) -> None:
    for ears in measured(shared, every=20)[:5]:
        assert between_ears(ears * [[1.0], [-1.0]]).inverted
        assert between_ears(ears * [[1.0], [-1.0]]).carries_direction


def two_at_once(number: int) -> Sound:
    """Two sounds of equal level in one of the simulator's rooms."""
    simulator = load_simulator("shoebox")
    rirs = simulator.render(simulator.sample_scene(np.random.default_rng([number, 2]), 2))
    both = [through(bursts(4.0, 2 * number + n), rir.numpy()) for n, rir in enumerate(rirs)]
    return np.sum([one / np.sqrt(np.square(one).mean()) for one in both], axis=0)


@pytest.mark.parametrize("number", AT_ONCE)
def test_an_ear_turned_over_shows_in_single_moments_of_two_sources_between_walls(number: int) -> None:
    """The cross-correlation of the whole clip has no clear peak there, so nothing was noticed."""
    ears = two_at_once(number)
    right, inverted = (between_ears(e) for e in (ears, ears * [[1.0], [-1.0]]))
    assert right.carries_direction
    assert not right.inverted
    assert inverted.inverted
    assert inverted.carries_direction


def test_tones_that_repeat_themselves_are_in_step() -> None:
    """A tone fits itself again after each period, in either polarity; a head may have any phase between its ears."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    noise = 1e-4 * np.random.default_rng(3).standard_normal((2, RATE_HZ))
    for pitch_hz in (120, 440, 1000, 3000):
        for delay_s in (0.0002, 0.0005, 0.0007):
            ears = 0.1 * np.sin(2 * np.pi * pitch_hz * np.stack([time_s, time_s - delay_s])) * [[1.0], [0.6]] + noise
            found = between_ears(ears)
            assert found.behind_s is None, (pitch_hz, delay_s)
            assert not found.inverted, (pitch_hz, delay_s)


def test_a_cricket_between_walls_is_in_step() -> None:
    """Chirps of one pitch are alike at many delays, once walls have smeared them: so were 3 of 8 rendered crickets."""
    time_s = np.arange(5 * RATE_HZ) / RATE_HZ
    decay = 0.3 * np.exp(-np.arange(RATE_HZ // 2) / (0.1 * RATE_HZ))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        pitch_hz, pulses_hz = rng.uniform(3800, 5200), rng.uniform(25, 45)
        pulses = np.clip(np.sin(2 * np.pi * pulses_hz * time_s), 0, None) ** 2
        chirps = pulses * (time_s % 0.8 < 0.15) * np.sin(2 * np.pi * pitch_hz * time_s)
        tails = rng.standard_normal((2, RATE_HZ // 2)) * decay
        tails[:, [100, 112]] += np.array([[1.0, 0.0], [0.0, 0.6]])
        found = between_ears(np.stack([scipy.signal.fftconvolve(chirps, tail)[: len(chirps)] for tail in tails]))
        assert found.carries_direction, seed
        assert not found.inverted, seed


@pytest.mark.parametrize(("gains", "louder"), [((1.0, 1e-3), 60.0), ((0.0, 1.0), -120.0)])
def test_a_dead_ear_is_told_with_how_far_it_is_below(gains: tuple[float, float], louder: float) -> None:
    ears = 0.1 * np.random.default_rng(0).standard_normal((2, RATE_HZ)) * np.array(gains)[:, None]
    assert between_ears(ears).louder_left_db == pytest.approx(louder, abs=0.2)
