"""Dry sounds put into rooms: what scipy convolves in double precision, and the arithmetic of ears and microphones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from bat_agent.clips.spatialise import Unrendered, _block, _pieces_of_noise, render, render_apart
from bat_agent.sound.acoustics import direct_sound
from bat_agent.sound.rir_measures import onset_sample

CPU = "cpu"


def clips(samples: int = 5000, sources: tuple[int, ...] = (1, 2, 1), **changed: Any) -> Unrendered:
    """Clips of one or two sources of hiss, nothing switched on."""
    rng, number = np.random.default_rng(0), len(sources)
    sounds = rng.standard_normal((sum(sources), samples)).astype(np.float32)
    plain = Unrendered(
        torch.from_numpy(sounds),
        torch.repeat_interleave(torch.arange(number), torch.tensor(sources)),
        None,
        torch.zeros(number, dtype=torch.bool),
        torch.ones(number, 2),
        torch.zeros(number, dtype=torch.float64),
        torch.zeros(number),
        torch.arange(number),
        "full",
    )
    return replace(plain, **changed)


def rirs(sources: int = 4, taps: int = 700) -> torch.Tensor:
    rng = np.random.default_rng(1)
    decay = np.exp(-np.arange(taps) / 100)
    return torch.from_numpy((rng.standard_normal((sources, 2, taps)) * decay).astype(np.float32))


def reference(plain: Unrendered, rooms: torch.Tensor) -> np.ndarray:
    """(B, 2, N) float64: the definition, one clip at a time."""
    out = []
    for clip in range(len(plain.mirrored)):
        own = [n for n in range(len(plain.clip)) if int(plain.clip[n]) == clip]
        wet = [fftconvolve(plain.sounds[n].double().numpy()[None], rooms[n].double().numpy(), axes=-1) for n in own]
        out.append(np.mean(wet, axis=0)[:, : plain.sounds.shape[-1]])
    return np.stack(out)


def test_sources_rendered_apart_sum_to_the_mixture() -> None:
    """What a GPU does; the mixture itself is checked against scipy below."""
    busy = clips(
        sources=(2, 0, 1, 2),
        noise=torch.tensor([1e-3, 1e-3, 0.0, 0.0]),
        mirrored=torch.tensor([True, False, False, True]),
        gain=torch.tensor([[1.0, 0.9], [1.0, 1.0], [0.8, 1.1], [1.0, 1.0]]),
        delay_s=torch.tensor([1e-5, 0.0, -1e-5, 0.0], dtype=torch.float64),
        equaliser_db=torch.linspace(-4, 4, 45).view(5, 9),
    )
    mixture, alone = render_apart(busy, rirs(5), CPU)
    together = render(busy, rirs(5), CPU)
    torch.testing.assert_close(mixture, together, atol=2e-6 * float(together.abs().max()), rtol=0)
    torch.testing.assert_close(alone[2], together[2], atol=2e-6 * float(together.abs().max()), rtol=0)


def test_pieces_of_the_long_noise_are_white_unlike_and_the_same_each_time() -> None:
    """What a GPU adds as noise of the microphones."""
    seeds = torch.tensor([3, 2**61 + 7, 123_456_789_012])
    noisy = clips(sources=(0, 0, 0), noise=torch.ones(3), noise_seed=seeds)
    found = _pieces_of_noise(torch.zeros(3, 2, 20_000), noisy)
    assert torch.equal(found, _pieces_of_noise(torch.zeros(3, 2, 20_000), noisy))
    assert float(found.std()) == pytest.approx(1.0, abs=0.02)
    alike = np.corrcoef(found.flatten(0, 1).numpy())
    assert np.abs(alike - np.eye(6)).max() < 0.05


def test_a_clip_without_sources_has_the_noise_of_its_microphones_alone() -> None:
    noisy = torch.tensor([0.0, 1e-3, 0.0])
    plain, rooms = clips(sources=(1, 0, 2), noise=noisy), rirs(3)
    found = render(plain, rooms, CPU)
    assert float(found[1].std()) == pytest.approx(1e-3, rel=0.05)
    wanted = reference(clips(sources=(1, 2)), rooms)
    np.testing.assert_allclose(found[[0, 2]].numpy(), wanted, atol=2e-6 * np.abs(wanted).max())
    nothing = render(clips(sources=(0, 0)), torch.zeros(0, 2, 700), CPU)
    assert nothing.shape == (2, 2, 5000)
    assert not nothing.any()


def test_one_microphone_may_be_late() -> None:
    """The lag of the interaural correlation of a click moves by the delay; the left ear stays as it is."""
    delay = torch.tensor([0.0, 20e-6, -15e-6], dtype=torch.float64)
    rooms = torch.zeros(3, 2, 64)
    rooms[:, :, 5] = 1.0
    there = render(clips(sources=(1, 1, 1), delay_s=delay), rooms, CPU)
    still = render(clips(sources=(1, 1, 1)), rooms, CPU)
    torch.testing.assert_close(there[:, 0], still[:, 0])
    for clip, late in enumerate(delay.tolist()):
        # The phase of a delay is linear in frequency: its slope over the lower half of the band.
        spectrum = torch.fft.rfft(there[clip, 1].double()) / torch.fft.rfft(still[clip, 1].double())
        number = len(spectrum) // 4
        hz = number * 32_000 / 5000
        assert -float(spectrum[number].angle()) / (2 * np.pi * hz) == pytest.approx(late, abs=2e-6)


@pytest.mark.parametrize(("samples", "taps"), [(1, 1), (300, 700), (5000, 700), (64_000, 16_000), (40_000, 31)])
def test_every_clip_is_the_mean_of_its_sources_convolved(samples: int, taps: int) -> None:
    """In one block or in many, RIR longer or shorter than the sound."""
    plain, rooms = clips(samples), rirs(taps=taps)
    wanted = reference(plain, rooms)
    np.testing.assert_allclose(render(plain, rooms, CPU).numpy(), wanted, atol=2e-6 * np.abs(wanted).max())


def test_clips_rendered_together_are_those_rendered_one_by_one() -> None:
    """The GPU's way, many clips at once, run on a CPU: a device of another name than cpu takes it."""
    from bat_agent.clips import spatialise

    plain, rooms = clips(equaliser_db=4 * torch.randn(4, 9, generator=torch.Generator().manual_seed(0))), rirs()
    heard = spatialise._room(rooms, plain, plain.clip)
    together = spatialise._mixed(plain.sounds, heard, plain.equaliser_db, plain.clip, 3)
    torch.testing.assert_close(render(plain, rooms, CPU), together, atol=1e-6 * float(together.abs().max()), rtol=0)


def test_a_clip_does_not_depend_on_its_neighbours_to_the_last_bit() -> None:
    plain, rooms = clips(equaliser_db=torch.ones(4, 9).cumsum(1), noise=torch.full((3,), 0.01)), rirs()
    last = clips(sources=(1,), equaliser_db=torch.ones(1, 9).cumsum(1), noise=torch.full((1,), 0.01))
    last = replace(last, sounds=plain.sounds[3:], noise_seed=plain.noise_seed[2:])
    assert torch.equal(render(plain, rooms, CPU)[2], render(last, rooms[3:], CPU)[0])


def test_without_a_room_both_ears_hear_the_dry_sound() -> None:
    plain = clips(sources=(1, 1), reverberation="none")
    out = render(plain, None, CPU)
    for ear in range(2):
        torch.testing.assert_close(out[:, ear], plain.sounds, atol=1e-5, rtol=0)


def test_mirror_gain_and_noise_come_in_this_order() -> None:
    """Ears are swapped before the microphones have their gains, and noise is added after them."""
    gain = torch.tensor([[0.5, 2.0], [1.0, 1.0], [1.0, 1.0]])
    straight = render(clips(), rirs(), CPU)
    changed = clips(gain=gain, mirrored=torch.tensor([True, False, True]), noise=torch.tensor([0.0, 0.0, 0.1]))
    out = render(changed, rirs(), CPU)
    torch.testing.assert_close(out[0], straight[0].flip(0) * gain[0][:, None], atol=1e-4, rtol=1e-4)
    assert torch.equal(out[1], straight[1])
    added = out[2] - straight[2].flip(0)
    assert added.std(dim=1).tolist() == pytest.approx([0.1, 0.1], rel=0.05)


def test_the_equaliser_has_the_gains_of_its_octaves() -> None:
    """A click through it shows the curve: 1 kHz against 250 Hz and 4 kHz as drawn, the energy as before."""
    click = torch.zeros(4, 5000)
    click[:, 2500] = 1.0
    knots = torch.tensor([0.0, 3, -4, 2, 6, -5, 1, 4, -2]).expand(4, 9).contiguous()
    unit = torch.zeros(4, 2, 700)
    unit[..., 0] = 1.0
    out = render(clips(sounds=click, equaliser_db=knots), unit, CPU)[0, 0].double()
    found_db = 20 * torch.fft.rfft(out, 32_000).abs().log10()
    at_hz = torch.tensor([62.5, 125, 250, 500, 1000, 2000, 4000, 8000, 15_990]).long()
    relative = found_db[at_hz] - found_db[1000]
    assert relative.tolist() == pytest.approx((knots[0] - knots[0, 4]).tolist(), abs=0.4)
    assert float(out.square().sum()) == pytest.approx(1, rel=0.01)
    assert float(out[:1470].abs().max()) < 1e-3 * float(out.abs().max())  # nothing comes around from the other end


def test_blocks_hold_what_they_are_cut_into() -> None:
    for samples in (1, 100, 3200, 64_000, 320_000):
        for taps in (1, 640, 16_000, 64_000, 500_000):
            size, hop = _block(samples, taps)
            assert hop >= 1
            assert hop + taps - 1 <= size


# --- the direct sound alone ---


def room(delay: int = 200, reflection: float = 0.7) -> torch.Tensor:
    """Direct sound at the left ear, 12 samples later and weaker at the right one, and a strong reflection 5 ms on."""
    out = torch.zeros(2, 4000)
    out[0, delay], out[1, delay + 12] = 1.0, 0.5
    out[:, delay + 160] = reflection
    return out


@pytest.mark.parametrize("reflection", [0.0, 0.7, 3.0])
def test_the_direct_sound_stays_and_reflections_go(reflection: float) -> None:
    """Also where a reflection is louder than the direct sound, as behind an obstacle."""
    heard = direct_sound(room(reflection=reflection))
    torch.testing.assert_close(heard, room(reflection=0.0))
    assert onset_sample(heard.numpy()) == 200


def test_the_direct_sound_fades_within_two_and_a_half_milliseconds() -> None:
    steady = torch.zeros(3, 2, 1000)
    for number in range(3):
        steady[number, :, 100 * number :] = 1.0
    heard = direct_sound(steady)
    for number, one in enumerate(heard):
        own = one[0, 100 * number :]
        assert bool((own[:64] == 1).all())
        assert bool((own[80:] == 0).all())
        assert bool((own[64:81].diff() <= 0).all())


def test_silence_has_no_direct_sound() -> None:
    assert not direct_sound(torch.zeros(2, 2, 500)).any()


def test_direct_clips_are_rendered_with_the_direct_sound_only() -> None:
    plain, rooms = clips(), torch.stack([room(), room(90), room(30), room(500)])
    direct = render(replace(plain, reverberation="direct"), rooms, CPU)
    wanted = reference(plain, torch.stack([room(n, 0.0) for n in (200, 90, 30, 500)]))
    np.testing.assert_allclose(direct.numpy(), wanted, atol=1e-5)
