"""Where sound arrives from by the ears' differences alone: heard by people, by KEMAR and in a diffuse field."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from bat_agent.hearing import arrivals as own
from bat_agent.hearing.arrivals import Masks, arrivals
from bat_agent.sound.features import band_energies_db, mel_filterbank, num_frames
from bat_agent.sound.rigid_sphere import RADIUS_M, SPEED_OF_SOUND, rigid_sphere

RATE_HZ = 32_000
AZIMUTHS = np.radians(np.arange(0, 360, 2))
KEMAR = Path(__file__).parents[2] / "plugins/bat_agent_shoebox/data/mit_kemar_normal_32k.npz"


def level(sound: np.ndarray, new_s: float, faced: float = 0.0) -> np.ndarray:
    """By azimuth on the level, of a head that faced so, in a frame that does not turn."""
    return arrivals(sound, new_s, lambda before_s: np.full_like(before_s, faced), np.cos(AZIMUTHS), np.sin(AZIMUTHS))


def bursts(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that begins anew four times a second, as speech and steps do."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return np.asarray(noise * np.exp(-(time % 0.25) / 0.03))


def heard_by(hrir: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """(2, N) through the two ears' responses (2, taps)."""
    return np.stack([np.convolve(sound, ear)[: len(sound)] for ear in hrir])


def kemar() -> list[tuple[float, np.ndarray]]:
    """Azimuth (0 right, 90 front) and response of KEMAR on the level."""
    with np.load(KEMAR) as file:
        rows = np.flatnonzero(np.abs(file["elevation_deg"]) < 1)
        return [((float(file["azimuth_ccw_deg"][row]) + 90) % 360, file["hrir"][row]) for row in rows]


def cone_deg(azimuth: float) -> float:
    """How far to the left of straight ahead, or of straight behind: what one look can tell."""
    return float(np.degrees(np.arcsin(-np.cos(azimuth))))


def test_the_sphere_is_that_of_the_series_by_another_library() -> None:
    """Sums by scipy's Bessel functions and Legendre polynomials, up to the rate's end."""
    frequency, cosines = np.array([1.0, 100.0, 1000.0, 5000.0, 16_000.0]), np.linspace(-1, 1, 13)
    ka = 2 * np.pi * frequency * RADIUS_M / SPEED_OF_SOUND
    expected = np.zeros((13, 5), complex)
    for column, x in enumerate(ka):
        for order in range(int(x) + 20 if x > 0.5 else 6):
            slope = spherical_jn(order, x, True) - 1j * spherical_yn(order, x, True)
            expected[:, column] += (2 * order + 1) * 1j**order * eval_legendre(order, cosines) / slope
    np.testing.assert_allclose(rigid_sphere(cosines, frequency), -1j / ka**2 * expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("row", range(0, 72, 7))
def test_kemar_is_heard_on_the_right_cone(row: int) -> None:
    """A head with ears of its own, on the level; the sphere knows none of it."""
    azimuth, hrir = kemar()[row]
    found = level(heard_by(hrir, bursts(1.0)), 1.0)
    assert found.max() > 10
    assert cone_deg(AZIMUTHS[int(found.argmax())]) == pytest.approx(cone_deg(np.radians(azimuth)), abs=12)


def test_people_are_heard_on_the_right_cones(shared: Path) -> None:
    """30 people from eight sides: in the mean as near as people are told apart by one sphere."""
    with np.load(shared / "data/hrtf/cipic_30_heads_32k.npz") as file:
        directions, subjects = file["direction"], len(file["subject"])
        level_rows = np.flatnonzero(np.abs(directions[:, 1]) < 0.1)
        rows = level_rows[:: max(len(level_rows) // 8, 1)]
        heads = file["hrir_int16"][:, rows].astype(float)
    off = []
    for subject in range(subjects):
        for row, hrir in zip(rows, heads[subject], strict=True):
            x, _, z = directions[row]
            found = level(heard_by(hrir / np.abs(hrir).max(), bursts(0.5)), 0.5)
            off.append(abs(cone_deg(AZIMUTHS[int(found.argmax())]) - cone_deg(np.arctan2(-z, x))))
    assert np.mean(off) < 8


def test_two_headings_tell_front_from_behind() -> None:
    """KEMAR faces 0° and 40° to the left, a source at 60° (front right), then one behind: the sum has one peak."""
    responses = dict(kemar())
    for place in (60.0, 240.0, 300.0):
        total = np.zeros(len(AZIMUTHS))
        for faced in (0.0, 20.0, 40.0):
            azimuth = min(responses, key=lambda known, seen=place - faced: abs((known - seen + 180) % 360 - 180))
            total += level(heard_by(responses[azimuth], bursts(0.5, int(faced))), 0.5, faced)
        peak = np.degrees(AZIMUTHS[int(total.argmax())])
        assert abs((peak - place + 180) % 360 - 180) < 10
        mirrored = total[np.abs((np.degrees(AZIMUTHS) + place + 180) % 360 - 180) < 10].max()
        assert total.max() > mirrored + 2


def test_a_diffuse_field_and_silence_speak_for_nothing() -> None:
    """Noise of its own from everywhere in space at once sticks out nowhere more than chance has it."""
    with np.load(KEMAR) as file:
        hrir, elevation = file["hrir"], file["elevation_deg"]
    rng = np.random.default_rng(1)
    weights = np.abs(np.cos(np.radians(elevation)))
    total = np.zeros((2, RATE_HZ))
    for row in rng.choice(len(hrir), 300, p=weights / weights.sum()):
        total += heard_by(hrir[row], rng.standard_normal(RATE_HZ))
    one = heard_by(kemar()[10][1], rng.standard_normal(RATE_HZ))
    assert np.abs(level(total, 1.0)).max() < 0.4 * np.abs(level(one, 1.0)).max()
    assert not level(np.zeros((2, RATE_HZ)), 1.0).any()
    assert not level(total[:, :900], 0.03).any()


def test_level_counts_nothing_and_ears_are_alike() -> None:
    _, hrir = kemar()[9]
    sound = heard_by(hrir, bursts(0.6))
    found = level(sound, 0.25)
    np.testing.assert_allclose(level(1e-3 * sound, 0.25), found, rtol=1e-6, atol=1e-6)
    mirrored = level(sound[::-1], 0.25)
    np.testing.assert_allclose(mirrored[(90 - np.arange(180)) % 180], found, rtol=1e-6, atol=1e-6)


def test_what_is_old_is_told_by_no_look_twice() -> None:
    """Looks at quarters of a second add up to the look at all of it."""
    _, hrir = kemar()[20]
    sound = heard_by(hrir, bursts(1.0))
    whole = level(sound, 0.992)
    parts = sum(level(sound[:, : round(end * RATE_HZ)], 0.256) for end in (0.488, 0.744, 1.0))
    assert np.corrcoef(np.asarray(parts), whole)[0, 1] > 0.95


@pytest.mark.parametrize(("first", "second"), [(30.0, 150.0), (20.0, 90.0), (330.0, 200.0)])
def test_each_of_two_sounds_is_heard_on_its_own_cone(first: float, second: float) -> None:
    """KEMAR hears both at once; masks are what each has of the energy in the mel bands of every 80 ms."""
    responses, places = dict(kemar()), (first, second)
    alone = [heard_by(responses[place], np.roll(bursts(2.0, seed), 3000 * seed)) for seed, place in enumerate(places)]
    energy = 10 ** (band_energies_db(torch.tensor(np.stack(alone), dtype=torch.float32)).numpy() / 10)
    rows = energy[:, : num_frames(2 * RATE_HZ) // 8 * 8].reshape(2, -1, 8, 128).sum(axis=2)
    masks = Masks(rows / rows.sum(axis=0), 2.0)
    found = arrivals(
        sum(alone), 1.0, lambda before_s: np.zeros_like(before_s), np.cos(AZIMUTHS), np.sin(AZIMUTHS), masks
    )
    for said, place in zip(found, places, strict=True):
        assert cone_deg(AZIMUTHS[int(said.argmax())]) == pytest.approx(cone_deg(np.radians(place)), abs=12)


def test_a_mask_of_everything_is_no_mask() -> None:
    """Nor does a share that is everywhere alike move anything."""
    sound = heard_by(kemar()[20][1], bursts(1.0))
    whole, half = arrivals(
        sound, 0.5, lambda before_s: np.zeros_like(before_s), np.cos(AZIMUTHS), np.sin(AZIMUTHS),
        Masks(np.stack((np.ones((3, 128)), np.full((3, 128), 0.5))), 0.4),
    )  # fmt: skip
    np.testing.assert_allclose(whole, level(sound, 0.5))
    assert half.argmax() == whole.argmax()


def test_masks_lie_in_the_bands_of_the_front_end() -> None:
    """A bin belongs to bands as the triangles of the filter bank have it."""
    filters = mel_filterbank().double().numpy()[own._BINS]
    low, share = own._bands_of_bins()
    found = np.zeros_like(filters)
    found[np.arange(len(low)), low], found[np.arange(len(low)), low + 1] = 1 - share, share
    np.testing.assert_allclose(found, filters / filters.sum(axis=1, keepdims=True), atol=0.02)


ALONE = """
import os
import numpy as np
from bat_agent.hearing.arrivals import Masks, arrivals

def others():
    times = 0
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            fields = open(f"/proc/self/task/{task}/stat").read().rsplit(")", 1)[1].split()
            times += int(fields[11]) + int(fields[12])
    return times

sound = np.random.default_rng(0).standard_normal((2, 64_000))
azimuth = np.radians(np.arange(360))
masks = Masks(np.ones((2, 25, 128)), 2.0)
before = others()
for _ in range(100):
    arrivals(sound, 0.25, np.zeros_like, np.cos(azimuth), np.sin(azimuth), masks)
print(others() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs the time of each thread")
def test_no_other_thread_computes() -> None:
    """Threads of a BLAS wait for one another where a core is busy: 3 ms became 30. Whatever the variables say."""
    environ = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", ALONE], env=environ, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 5  # hundredths of a second
