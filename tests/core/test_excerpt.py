"""Stretches of dry sounds: the right level and length, something to hear, and what training does to them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bat_agent.clips.excerpt import Excerpt, Samples, choose_cut, choose_going_on, cut_excerpt, draw_excerpt
from bat_agent.clips.sound_bank import Cuts, SoundBank, SoundPool
from bat_agent.datasets.cache import Cached
from bat_agent.datasets.sounds import Row, Sound, SoundSet
from bat_agent.recipes.schema import Mixing
from bat_agent.sound.acoustics import rms_dbfs

RATE_HZ = 32_000
PLAIN = Mixing()


def hiss(seconds: float, seed: int = 2) -> Samples:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ)).astype(np.float32)


def sound(wave: Samples, name: str = "one") -> Sound:
    return Sound(name, ("Dog",), None, lambda _: wave)


def stretch(wave: Samples, samples: int, mixing: Mixing, rng: np.random.Generator) -> Samples:
    return cut_excerpt([wave], Excerpt((choose_cut(wave, samples, mixing, rng),), (1.0,), 0, 1.0), samples)


def dry_source(
    sounds: list[Sound], shares: list[float], samples: int, mixing: Mixing, rng: np.random.Generator
) -> Samples:
    waves = [sound.waveform() for sound in sounds]
    return cut_excerpt(waves, draw_excerpt(waves, shares, samples, mixing, rng), samples)


def level_dbfs(wave: Samples) -> float:
    return float(rms_dbfs(torch.from_numpy(wave)))


def test_a_short_sound_lies_anywhere_in_the_clip_and_whole(rng: np.random.Generator) -> None:
    wave = hiss(0.02)
    dry = [stretch(wave, 3200, PLAIN, rng) for _ in range(60)]
    assert [level_dbfs(d) for d in dry] == pytest.approx([-14 + 10 * np.log10(0.2)] * 60, abs=0.01)
    begins = [int((d != 0).argmax()) for d in dry]
    assert np.mean([b == 0 for b in begins]) == pytest.approx(0.5, abs=0.2)
    assert len(set(begins)) > 20
    for begin, d in zip(begins, dry, strict=True):
        np.testing.assert_allclose(d[begin : begin + 640] / d[begin], wave / wave[0], rtol=1e-3, atol=1e-4)


def test_of_a_long_sound_a_stretch_is_taken_that_can_be_heard(rng: np.random.Generator) -> None:
    """A click in seconds of digital silence: drawing four silent stretches once ended the run (IndexError)."""
    wave = np.zeros(5 * RATE_HZ, dtype=np.float32)
    wave[100_000:100_300] = hiss(0.1)[:300]
    assert all(stretch(wave, 1600, PLAIN, rng).any() for _ in range(50))
    assert all(stretch(wave, 1600, Mixing(speed=0.3), rng).any() for _ in range(50))
    assert stretch(np.zeros(5 * RATE_HZ, dtype=np.float32), 1600, PLAIN, rng).shape == (1600,)


@pytest.mark.parametrize("seconds", [0.0, 1 / RATE_HZ, 0.04, 0.05, 0.051, 0.5])
def test_any_length_gives_the_length_asked_for(seconds: float, rng: np.random.Generator) -> None:
    for speed in (0.0, 0.3):
        for _ in range(20):
            dry = stretch(hiss(seconds), 1600, Mixing(speed=speed), rng)
            assert dry.shape == (1600,)
            assert dry.dtype == np.float32


def test_speed_changes_the_pitch_within_its_bounds(rng: np.random.Generator) -> None:
    """A faster 1 kHz tone is a purer tone of 1 kHz times the factor: what interpolation adds is 40 dB below."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    window = np.hanning(16_000)
    pitch = []
    for _ in range(40):
        spectrum = np.abs(np.fft.rfft(window * stretch(tone, 16_000, Mixing(speed=0.1), rng)))
        peak = int(spectrum.argmax())
        pitch.append(2 * peak)
        assert (spectrum[peak - 5 : peak + 6] ** 2).sum() > 0.9999 * (spectrum**2).sum()
    assert 890 < min(pitch) < 970
    assert 1030 < max(pitch) < 1110
    assert pitch.count(1000) > 8  # half of the sounds keep their speed


def test_without_normalisation_a_sound_keeps_its_level(rng: np.random.Generator) -> None:
    quiet = 0.01 * hiss(1.0)
    plain = stretch(quiet, 16_000, Mixing(normalise=False), rng)
    assert level_dbfs(plain) == pytest.approx(-40, abs=0.2)
    assert level_dbfs(stretch(quiet, 16_000, PLAIN, rng)) == pytest.approx(-14, abs=0.2)


def both_ways(seed: int, **switched: object) -> tuple[Samples, Samples]:
    """The same draw without and with a switch."""
    mixings = (PLAIN, dataclasses.replace(PLAIN, **switched))  # type: ignore[arg-type]
    source = sound(hiss(0.2))
    one, other = (dry_source([source], [1.0], 3200, mixing, np.random.default_rng(seed)) for mixing in mixings)
    return one, other


def test_roll_turns_the_sound_around_and_loses_nothing() -> None:
    offsets = []
    for seed in range(20):
        plain, rolled = both_ways(seed, roll=True)
        # The circular cross-correlation finds the offset again.
        offset = int(np.fft.irfft(np.fft.rfft(rolled) * np.fft.rfft(plain).conj(), 3200).argmax())
        np.testing.assert_array_equal(np.roll(plain, offset), rolled)
        offsets.append(offset)
    assert max(offsets) - min(offsets) > 1600


def test_gain_is_a_half_and_a_draw_from_beta_10_10() -> None:
    """Mean 1 and standard deviation 1/√84, as Beta(10, 10) has 1/2 and 1/√84."""
    gains = []
    for seed in range(300):
        plain, louder = both_ways(seed, gain=True)
        gains.append(float(np.dot(plain, louder) / np.dot(plain, plain)))
        np.testing.assert_allclose(louder, plain * gains[-1], atol=1e-6)
    assert np.mean(gains) == pytest.approx(1, abs=4 / np.sqrt(84 * 300))
    assert np.std(gains) == pytest.approx(84**-0.5, rel=0.15)


def test_two_mixed_up_sounds_are_each_normalised_and_then_shared_out(rng: np.random.Generator) -> None:
    """λ a + (1 − λ) b of two sounds at −14 dBFS, however loud the recordings were."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tones = [(scale * np.sin(2 * np.pi * hz * time_s)).astype(np.float32) for scale, hz in ((1e-3, 1000), (0.9, 3000))]
    mixed = dry_source([sound(tone) for tone in tones], [0.7, 0.3], RATE_HZ, PLAIN, rng)
    spectrum = np.abs(np.fft.rfft(mixed)) * 2 / RATE_HZ
    amplitude = np.sqrt(2) * 10 ** (-14 / 20)
    assert spectrum[[1000, 3000]].tolist() == pytest.approx([0.7 * amplitude, 0.3 * amplitude], rel=1e-3)


# --- sound that began before the clip ---


def going_on(wave: Samples, samples: int, lead_in: int, rng: np.random.Generator, mixing: Mixing = PLAIN) -> Samples:
    excerpt = Excerpt((choose_going_on(wave, samples, lead_in, mixing, rng),), (1.0,), 0, 1.0)
    return cut_excerpt([wave], excerpt, lead_in + samples)


def test_what_goes_on_sounds_before_the_clip_and_in_it(rng: np.random.Generator) -> None:
    """Longer than clip and lead-in, and shorter: there is always something before the clip, and enough in it."""
    for seconds in (0.02, 0.07, 0.3, 2.0):
        for mixing in (PLAIN, Mixing(speed=0.3)):
            for _ in range(40):
                wave = going_on(hiss(seconds), 3200, 1600, rng, mixing)
                assert wave.shape == (4800,)
                assert wave[:1600].any()
                assert np.square(wave[1600:]).sum() >= 0.08 * np.square(wave).sum()
    assert not going_on(hiss(0.0), 3200, 1600, rng).any()
    assert not going_on(np.zeros(900, np.float32), 3200, 1600, rng).any()


def test_a_short_sound_that_goes_on_is_repeated_or_was_heard_once(rng: np.random.Generator) -> None:
    wave = hiss(0.05)
    whole = [going_on(wave, 3200, 1600, rng) for _ in range(80)]
    # What is repeated is its own continuation, 1600 samples later.
    repeated = [bool(np.allclose(one[:3200], one[1600:])) for one in whole]
    assert np.mean(repeated) == pytest.approx(0.5, abs=0.2)
    for one, again in zip(whole, repeated, strict=True):
        begin = int((one != 0).argmax())
        assert again or begin <= 1600
        assert again or np.count_nonzero(one) == np.count_nonzero(wave)
    begins = {int((one != 0).argmax()) for one, again in zip(whole, repeated, strict=True) if not again}
    assert len(begins) > 20


def test_a_click_that_goes_on_is_heard_in_the_clip(rng: np.random.Generator) -> None:
    """Of four stretches drawn, one with something to hear after the lead-in is taken."""
    wave = np.zeros(4000, np.float32)
    wave[500:520] = 1.0
    heard = [np.square(going_on(wave, 3000, 1000, rng)[1000:]).sum() > 0 for _ in range(60)]
    assert np.mean(heard) > 0.95


def test_other_clips_are_silent_before_and_else_as_ever() -> None:
    """A lead-in does not change what is drawn."""
    for seed in range(20):
        wave = hiss(0.05, seed)
        plain = draw_excerpt([wave], [1.0], 3200, Mixing(speed=0.2), np.random.default_rng(seed))
        led = draw_excerpt([wave], [1.0], 3200, Mixing(speed=0.2), np.random.default_rng(seed), 1600, False)
        later = cut_excerpt([wave], led, 4800)
        assert not later[:1600].any()
        np.testing.assert_array_equal(later[1600:], cut_excerpt([wave], plain, 3200))


# --- many at once, on a device ---


def test_a_bank_of_sounds_cuts_what_the_processor_cuts(rng: np.random.Generator) -> None:
    """Longer and shorter than the clip, slower and faster, mixed up, turned around, and a sound of nothing."""
    library = {str(n): hiss(seconds, seed=n) for n, seconds in enumerate([0.0, 1 / RATE_HZ, 0.02, 0.05, 0.4, 1.3])}
    rows = (Row(name, (0,), None) for name in library)
    pool = SoundPool([SoundSet(rows, Cached(lambda name: library[name]))], [1.0])
    sounds = list(pool.sets[0])
    for mixing in (PLAIN, Mixing(speed=0.3, roll=True, gain=True), Mixing(normalise=False)):
        chosen = [[sounds[n] for n in rng.integers(len(sounds), size=1 + m % 2)] for m in range(40)]
        waves = [[sound.waveform() for sound in some] for some in chosen]
        excerpt = [draw_excerpt(some, [0.6, 0.4][: len(some)], 3200, mixing, rng) for some in waves]
        wanted = np.stack([cut_excerpt(some, what, 3200) for some, what in zip(waves, excerpt, strict=True)])
        cuts = Cuts.of([([pool.number(s) for s in some], what) for some, what in zip(chosen, excerpt, strict=True)])
        found = SoundBank(pool, torch.device("cpu")).cut(cuts, len(chosen), 3200).numpy()
        np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())
        assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99999


def test_a_bank_of_sounds_repeats_what_goes_on(rng: np.random.Generator) -> None:
    library = {str(n): hiss(seconds, seed=n) for n, seconds in enumerate([0.0, 1 / RATE_HZ, 0.02, 0.05, 0.4])}
    pool = SoundPool([SoundSet((Row(name, (0,), None) for name in library), Cached(lambda n: library[n]))], [1.0])
    chosen = list(pool.sets[0]) * 8
    waves = [sound.waveform() for sound in chosen]
    excerpt = [
        draw_excerpt([wave], [1.0], 2400, Mixing(speed=0.3), rng, 800, n % 3 > 0) for n, wave in enumerate(waves)
    ]
    wanted = np.stack([cut_excerpt([wave], what, 3200) for wave, what in zip(waves, excerpt, strict=True)])
    cuts = Cuts.of([([pool.number(sound)], what) for sound, what in zip(chosen, excerpt, strict=True)])
    found = SoundBank(pool, torch.device("cpu")).cut(cuts, len(chosen), 3200).numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())


def test_a_pool_says_whether_all_of_it_is_kept() -> None:
    rows = [Row(name, (0,), None) for name in ("1", "2")]
    plain = SoundSet(rows, lambda name: hiss(0.1, int(name)))
    assert not SoundPool([plain], [1.0]).kept_whole()
    pool = SoundPool([plain.cached()], [1.0])
    assert not pool.kept_whole()
    pool.preload(0)
    assert pool.kept_whole()
