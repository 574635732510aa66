"""The world of microphones: what is drawn, and the spectrum, level and noise of what comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import welch
from torch.utils.data import DataLoader

from bat_agent.clips.batch import Batch
from bat_agent.clips.capture import NO_LIMIT_HZ, Recorder, draw_recorder
from bat_agent.clips.captured import Captured
from bat_agent.clips.mixtures import Mixtures
from bat_agent.clips.room_bank import RoomBank, open_bank
from bat_agent.clips.sound_bank import SoundPool
from bat_agent.clips.spatialise import Unrendered, apart, render, render_apart
from bat_agent.datasets.sound_libraries import open_sounds
from bat_agent.errors import BadInput
from bat_agent.recipes.checks import check_capture
from bat_agent.recipes.loading import load_recipe
from bat_agent.recipes.schema import Capture, Mixing
from bat_agent.sound.colour import KNOTS_HZ
from bat_agent_echo.config import EchoSimulatorConfig
from bat_agent_echo.echo import EchoSimulator

RATE_HZ, SAMPLES = 32_000, 128_000
FLAT = np.zeros((2, len(KNOTS_HZ)), np.float32)
OPEN = np.array([[0.0, NO_LIMIT_HZ]] * 2, np.float32)
PLAIN = Recorder(FLAT, OPEN, FLAT, NO_LIMIT_HZ, 0.0, 0.0, 0)
ALL = Capture(
    source_limit=0.4, telephone=0.2, loudspeaker_db=3.0, recorder_limit=0.5, microphone_db=3.0, asymmetry_db=1.0,
    codec=0.3, rounded=0.5,
)  # fmt: skip


def hiss(noise: float = 0.0, gain: tuple[float, float] = (1.0, 1.0), **drawn: Any) -> Unrendered:
    """One clip of white noise of RMS 1 in front of the microphones."""
    return Unrendered(
        torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(1)),
        torch.zeros(1, dtype=torch.int64), None, torch.zeros(1, dtype=torch.bool), torch.tensor([gain]),
        torch.zeros(1, dtype=torch.float64), torch.tensor([noise]), torch.tensor([5]), "none",
        captured=Captured.of([replace(PLAIN, **drawn)], [(0, 0)]),
    )  # fmt: skip


def spectrum_db(clips: Unrendered) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, and the density of both ears (2, F) against that of the white noise itself."""
    heard = render(clips, None, "cpu")[0].double().numpy()
    hz, density = welch(heard, RATE_HZ, nperseg=2048, detrend=False)
    return hz, 10 * np.log10(np.maximum(density * RATE_HZ / 2, 1e-20))


def test_nothing_drawn_changes_nothing() -> None:
    clips = hiss()
    torch.testing.assert_close(render(clips, None, "cpu"), render(replace(clips, captured=None), None, "cpu"))


@pytest.mark.parametrize("limit_hz", [4000.0, 6500.0, 12000.0])
def test_a_limited_source_ends_there_and_keeps_its_level(limit_hz: float) -> None:
    source_hz = np.array([[0.0, limit_hz]] * 2, np.float32)
    hz, heard = spectrum_db(hiss(source_hz=source_hz))
    inside, outside = (hz > 100) & (hz < 0.97 * limit_hz), hz > 1.12 * limit_hz
    np.testing.assert_allclose(heard[:, inside].mean(1), 10 * np.log10(RATE_HZ / 2 / limit_hz), atol=0.4)
    assert heard[:, outside].max() < -55


def test_a_telephone_is_a_band_from_300_to_3400_hz() -> None:
    hz, heard = spectrum_db(hiss(source_hz=np.array([[300.0, 3400.0]] * 2, np.float32)))
    assert heard[:, (hz > 330) & (hz < 3300)].std() < 1.5
    assert heard[:, (hz < 140) | (hz > 3900)].max() < -50


def test_a_limited_recorder_limits_its_noise_too_and_does_not_raise_what_is_left() -> None:
    hz, heard = spectrum_db(hiss(noise=0.1, limit_hz=8000.0))
    np.testing.assert_allclose(heard[:, (hz > 100) & (hz < 7700)].mean(1), 0.0, atol=0.4)
    assert heard[:, hz > 9000].max() < -55


def test_responses_pass_through_their_knots() -> None:
    """Each ear has its own, in dB at the knots; the loudspeaker's is the same for both, but for one gain."""
    rng = np.random.default_rng(0)
    ears, played = (rng.normal(0, 4, (2, len(KNOTS_HZ))).astype(np.float32) for _ in range(2))
    wide = [n for n, hz in enumerate(KNOTS_HZ) if 200 < hz < 15_000]
    hz, flat = spectrum_db(hiss())
    for drawn, want in (({"ear_db": ears}, ears), ({"source_db": played}, played[[0, 0]])):
        _, heard = spectrum_db(hiss(**drawn))
        got = np.stack([np.interp(KNOTS_HZ, hz, line) for line in heard - flat])
        off = (got - want)[:, wide]
        if "source_db" in drawn:
            off -= off.mean()
        assert np.abs(off).max() < 1.0  # a sharp bend is rounded by the analysis


def test_a_loudspeaker_does_not_change_the_energy() -> None:
    played = np.random.default_rng(0).normal(0, 6, (2, len(KNOTS_HZ))).astype(np.float32)
    heard = render(hiss(source_db=played), None, "cpu")
    assert float(heard.square().mean()) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("below_db", [20.0, 40.0])
def test_the_noise_of_a_codec_lies_as_far_below_the_sound(below_db: float) -> None:
    clean, coded = (render(hiss(codec=c), None, "cpu") for c in (0.0, 10 ** (-below_db / 20)))
    noise = (coded - clean).square().mean() / clean.square().mean()
    assert 10 * float(noise.log10()) == pytest.approx(-below_db, abs=0.3)


def test_rounding_is_that_of_16_bits_at_the_headroom_that_was_drawn() -> None:
    """Uniform noise of a step, step²/12, and all samples are multiples of it."""
    quiet = hiss(gain=(0.01, 0.01))
    clean = render(quiet, None, "cpu")
    step = 10 ** (30 / 20) / 32768 * float(clean.abs().max())
    rounded = render(hiss(gain=(0.01, 0.01), rounding=10 ** (30 / 20) / 32768), None, "cpu")
    steps = rounded.double() / step
    assert float((steps - steps.round()).abs().max()) < 1e-3
    assert steps.abs().max() == pytest.approx(32768 / 10**1.5, abs=1)
    assert float((rounded - clean).square().mean()) == pytest.approx(step**2 / 12, rel=0.02)


def test_sources_apart_sum_to_the_mixture_before_codec_and_rounding() -> None:
    recorders = [draw_recorder(ALL, np.random.default_rng(n)) for n in range(3)]
    linear = [replace(one, codec=0.0, rounding=0.0) for one in recorders]
    one = hiss()
    clips = replace(
        one, sounds=torch.randn(4, 4000, generator=torch.Generator().manual_seed(2)),
        clip=torch.tensor([0, 0, 1, 2]), mirrored=torch.tensor([False, True, False]), gain=torch.ones(3, 2),
        delay_s=torch.zeros(3, dtype=torch.float64), noise=torch.zeros(3), noise_seed=torch.arange(3),
        captured=Captured.of(linear, [(0, 0), (0, 1), (1, 0), (2, 0)]),
    )  # fmt: skip
    mixed, alone = render_apart(clips, None, "cpu")
    torch.testing.assert_close(mixed, render(clips, None, "cpu"), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone, render(apart(clips), None, "cpu"))


# --- what is drawn --------------------------------------------------------------------------------------------------


def test_shares_and_ranges_are_those_of_the_recipe() -> None:
    drawn = [draw_recorder(ALL, np.random.default_rng(n)) for n in range(3000)]
    ends = np.array([one.source_hz[0, 1] for one in drawn])
    phone = ends == 3400
    limited = (ends < NO_LIMIT_HZ) & ~phone
    assert phone.mean() == pytest.approx(0.2, abs=0.03)
    assert limited.mean() == pytest.approx(0.4, abs=0.04)
    octaves = np.log2(ends[limited] / 4000)
    assert 0 <= octaves.min() < 0.05
    assert 1.95 < octaves.max() <= 2.0
    assert np.mean(octaves) == pytest.approx(1.0, abs=0.06)
    assert np.mean([one.limit_hz < NO_LIMIT_HZ for one in drawn]) == pytest.approx(0.5, abs=0.04)
    assert np.std([one.source_db for one in drawn]) == pytest.approx(3.0, rel=0.12)
    assert np.std([one.ear_db[0] - one.ear_db[1] for one in drawn]) == pytest.approx(1.0, rel=0.12)
    codecs = np.array([one.codec for one in drawn])
    assert (codecs > 0).mean() == pytest.approx(0.3, abs=0.04)
    assert 20 <= -20 * np.log10(codecs[codecs > 0]).max() <= -20 * np.log10(codecs[codecs > 0]).min() <= 45


def test_a_switch_changes_what_it_says_and_nothing_else() -> None:
    some, more = (draw_recorder(c, np.random.default_rng(4)) for c in (ALL, replace(ALL, codec=0.0, telephone=0.0)))
    assert np.array_equal(some.ear_db, more.ear_db)
    assert (some.limit_hz, some.rounding, some.seed) == (more.limit_hz, more.rounding, more.seed)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> RoomBank:
    simulator = EchoSimulator(EchoSimulatorConfig())
    return open_bank(tmp_path_factory.mktemp("rooms"), simulator, {}, scenes=6, sources=4, seconds=0.05, seed=0)


def batches(bank: RoomBank, workers: int, **more: Any) -> list[Batch]:
    pool = SoundPool([open_sounds("procedural:3", cache=True)], [1.0])
    mixing = Mixing(window_seconds=[0.2], two_sources=0.5, noise_dbfs=[-60.0, -50.0], capture=ALL)
    data = Mixtures(pool, [bank], mixing, seed=3, steps=3, seconds_per_step=1.6, **more)
    loader = DataLoader(data, batch_size=None, num_workers=workers)
    return [data.finish(batch, "cpu") for batch in loader]


def test_clips_do_not_depend_on_the_number_of_workers_or_where_they_are_rendered(bank: RoomBank) -> None:
    alone = batches(bank, 0)
    for other in (batches(bank, 2), batches(bank, 0, render_on="device")):
        assert all(torch.equal(a.waveform, b.waveform) for a, b in zip(alone, other, strict=True))
    halves = [batches(bank, 0, shard=(rank, 2)) for rank in (0, 1)]
    assert torch.equal(alone[0].waveform[::2], halves[0][0].waveform)
    assert torch.equal(alone[0].waveform[1::2], halves[1][0].waveform)


def test_a_recipe_switches_it_on(tmp_path: Path) -> None:
    recipe = load_recipe("spatial-ast-tiny", ["mixing.capture.codec=0.25", "mixing.capture.limit_hz=[5000, 8000]"])
    assert recipe.mixing.capture == Capture(codec=0.25, limit_hz=[5000.0, 8000.0])
    assert not load_recipe("bat-small").mixing.capture.any


@pytest.mark.parametrize(
    ("switch", "words"),
    [
        ({"telephone": 1.2}, "telephone is a share"),
        ({"telephone": 0.6, "source_limit": 0.6}, "together at most 1"),
        ({"microphone_db": -1.0}, "0…20 dB"),
        ({"limit_hz": [8000.0, 4000.0]}, "two numbers, rising"),
        ({"headroom_db": [3.0]}, "two numbers, rising"),
    ],
)
def test_what_cannot_be_drawn_is_refused(switch: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_capture(Capture(**switch))
