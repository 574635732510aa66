"""Continuous rendering against the convolution of the whole signal, and against what moving sources must sound like."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bat_agent import load_simulator
from bat_agent.errors import BadInput, BatAgentError
from bat_agent.scene import Listener, Room, Scene, Source
from bat_agent.scenes.moving import MovingScene, Stream, StreamState, Track, Waypoints, render_moving, render_step
from bat_agent.sound.acoustics import convolve, rms_dbfs

RATE_HZ = 32_000
LISTENER = Listener((3.0, 1.5, 2.5))


def scene(x: float = 1.0, *others: float, seed: int = 0, rt60_s: float | None = 0.2) -> Scene:
    """A source 1.5 m in front of the listener, at ``x`` from the left wall; more sources on the same line."""
    sources = tuple(Source((value, 1.5, 1.0)) for value in (x, *others))
    return Scene(Room((6.0, 2.7, 5.0), rt60_s), LISTENER, sources, seed)


def noise(samples: int, seed: int = 0) -> Tensor:
    return 0.2 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


class Given:
    """A simulator that renders what it is told to, one list of RIRs for each scene, and remembers what it was asked."""

    sample_rate_hz = RATE_HZ

    def __init__(self, *rirs: Sequence[Tensor]) -> None:
        self.rirs, self.asked = [list(each) for each in rirs], []  # type: ignore[var-annotated]

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        raise NotImplementedError

    def render(self, asked: Scene) -> list[Tensor]:
        self.asked.append(asked)
        return self.rirs[asked.seed % len(self.rirs)]


class GivenNext(Given):
    def render_next(self, asked: Scene, previous: Scene) -> list[Tensor]:
        self.asked.append((asked, previous))
        return self.rirs[asked.seed % len(self.rirs)]


def rir(taps: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, taps, generator=generator) * torch.exp(-torch.arange(taps) * 5 / taps)


# --- equal to the convolution of the whole ---


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(st.integers(1, 3000), min_size=1, max_size=6),
    taps=st.integers(1, 2500),
    length=st.integers(1, 6000),
    seed=st.integers(0, 99),
)
def test_at_rest_it_is_the_convolution_of_the_whole_sound(steps: list[int], taps: int, length: int, seed: int) -> None:
    sound, response = noise(length, seed), rir(taps, seed)
    simulator, state, parts = Given([response]), None, []
    for samples in steps:
        part, state = render_step(simulator, scene(), [Track(sound, loop=False)], samples, state)
        parts.append(part)
    whole = convolve(sound[None], response, sum(steps))
    assert torch.cat(parts, dim=-1).shape == whole.shape
    assert (torch.cat(parts, dim=-1) - whole).abs().max() <= 1e-5 * max(1.0, float(whole.abs().max()))
    assert len(simulator.asked) == 1  # nothing moved: rendered once


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 1500), st.integers(0, 3)), min_size=1, max_size=6),
    lengths=st.lists(st.integers(1, 2000), min_size=4, max_size=4),
    crossfade=st.integers(0, 800),
)
def test_every_step_fades_between_the_convolutions_with_both_rirs(
    steps: list[tuple[int, int]], lengths: list[int], crossfade: int
) -> None:
    """RIRs of any length, steps of any size: each sample lies where numpy's own convolutions of the whole put it."""
    sound = noise(2000, 3)
    rirs = [rir(taps, number) for number, taps in enumerate(lengths)]
    looped = np.tile(sound.double().numpy(), 5)[: sum(samples for samples, _ in steps)]
    whole = [np.stack([np.convolve(looped, ear)[: len(looped)] for ear in each.double().numpy()]) for each in rirs]
    simulator = Given(*([each] for each in rirs))
    stream = Stream(simulator, [sound], crossfade_s=crossfade / RATE_HZ)
    clock, before = 0, steps[0][1]
    for samples, now in steps:
        heard = stream.step(scene(seed=now), samples / RATE_HZ).double().numpy()
        assert heard.shape == (2, samples)
        fade = min(crossfade, samples)
        share = np.ones(samples)
        share[:fade] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(fade, 1))
        here = slice(clock, clock + samples)
        wanted = share * whole[now][:, here] + (1 - share) * whole[before][:, here]
        assert np.abs(heard - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())
        clock, before = clock + samples, now


def test_sources_add_up_and_double_precision_is_kept() -> None:
    sounds = [noise(5000, 1).double(), noise(4000, 2).double()]
    rirs = [rir(900, 1), rir(2000, 2)]
    heard, _ = render_step(Given(rirs), scene(1.0, 2.0), [Track(sound, loop=False) for sound in sounds], 7000)
    wanted = torch.zeros(2, 7000, dtype=torch.float64)
    for sound, each in zip(sounds, rirs, strict=True):
        wanted += convolve(sound[None], each.double(), 7000)
    assert heard.dtype == torch.float32
    assert torch.allclose(heard.double(), wanted, rtol=1e-6, atol=1e-6)
    assert heard[:, 6000:].abs().max() < 1e-13  # behind the end; in single precision there would be 1e-7


# --- when a track plays ---


def test_a_sound_that_began_before_the_stream_comes_with_its_reverberation() -> None:
    sound, response = noise(3000), rir(1200)
    heard, _ = render_step(Given([response]), scene(), [Track(sound, start_s=-1000 / RATE_HZ, loop=False)], 4000)
    assert torch.allclose(heard, convolve(sound[None], response, 5000)[:, 1000:], atol=1e-5)


def test_start_and_stop_and_digital_silence() -> None:
    """Nothing at all before the start, the tail after the stop, and exactly nothing once that has died away."""
    taps, start, stop = 1000, 2000, 5000
    track = Track(noise(1500), start_s=start / RATE_HZ, stop_s=stop / RATE_HZ)
    stream = Stream(Given([rir(taps)]), [track])
    heard = torch.cat([stream.step(scene(), 0.0125) for _ in range(20)], dim=-1)  # 400 samples each
    assert not heard[:, :start].any()
    assert (heard[:, start + 1 : stop + taps - 200].abs() > 0).any(dim=0).all()
    assert not heard[:, 6400:].any()
    dry = track.samples(0, 6000)
    assert torch.equal(dry[start : stop - 160], track.sound.repeat(3)[: stop - start - 160])
    edge = dry[stop - 160 : stop] / track.sound.repeat(3)[stop - start - 160 : stop - start]
    assert (edge.diff() <= 0).all()  # a fade, no cut
    assert not dry[stop:].any()


@pytest.mark.parametrize("loop", [True, False])
def test_a_sound_is_looped_or_played_once(loop: bool) -> None:
    sound = noise(100)
    dry = Track(sound, loop=loop).samples(-50, 250)
    wanted = sound.repeat(3)[:250] if loop else torch.cat([sound, torch.zeros(150)])
    assert not dry[:50].any()
    assert torch.equal(dry[50:], wanted)


# --- steps and state ---


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.001, 0.3), min_size=1, max_size=30))
def test_time_does_not_drift(seconds: list[float]) -> None:
    stream = Stream(Given([rir(1)]), [noise(1000)])
    heard = sum(stream.step(scene(), each).shape[-1] for each in seconds)
    assert abs(heard - sum(seconds) * RATE_HZ) <= 0.51
    assert stream.time_s == heard / RATE_HZ


def test_a_state_can_be_stepped_from_again() -> None:
    simulator, sounds = Given([rir(500)], [rir(700, 1)]), [noise(4000)]
    _, state = render_step(simulator, scene(seed=0), sounds, 1000)
    first, _ = render_step(simulator, scene(seed=1), sounds, 1000, state)
    again, _ = render_step(simulator, scene(seed=1), [sounds[0].clone()], 1000, state)
    assert torch.equal(first, again)


def test_reset_starts_over() -> None:
    stream = Stream(Given([rir(500)]), [noise(4000)])
    first = stream.step(scene(), 0.1)
    stream.reset()
    assert stream.time_s == 0
    assert torch.equal(stream.step(scene(), 0.1), first)


def test_the_simulator_is_asked_only_for_what_has_changed() -> None:
    simulator = GivenNext([rir(10)], [rir(20)])
    stream = Stream(simulator, [noise(1000)])
    for seed in (0, 0, 1, 1, 0):
        stream.step(scene(seed=seed), 0.1)
    zero, one = scene(seed=0), scene(seed=1)
    assert simulator.asked == [zero, (one, zero), (zero, one)]


def test_after_an_error_the_stream_stands_where_it_stood() -> None:
    stream, other = (Stream(load_simulator("shoebox"), [noise(8000)]) for _ in range(2))
    stream.step(scene(), 0.1)
    other.step(scene(), 0.1)
    with pytest.raises(BadInput):
        stream.step(scene(1.0, 2.0), 0.1)
    assert torch.equal(stream.step(scene(2.0), 0.1), other.step(scene(2.0), 0.1))


# --- what motion sounds like ---


def test_a_source_passing_from_left_to_right_sweeps_the_ears() -> None:
    """ILD falls from step to step, from clearly left to clearly right, in a reverberant room as in free field."""
    for rt60_s, places, least_db in ((None, 9, 10.0), (0.25, 5, 4.0)):
        stream = Stream(load_simulator("shoebox"), [noise(RATE_HZ)])
        levels = []
        for x in np.linspace(1.2, 4.8, places):
            heard = stream.step(scene(float(x), rt60_s=rt60_s), 0.25)[:, RATE_HZ // 10 :]
            left, right = rms_dbfs(heard)
            levels.append(float(left - right))
        assert (np.diff(levels) < 0).all(), levels
        assert levels[0] > least_db
        assert levels[-1] < -least_db


def test_level_is_that_of_each_place() -> None:
    """Straight ahead in free field: 6 dB less for twice the distance, the same as a render at rest."""
    near, far = (
        Scene(Room((6.0, 2.7, 9.0), None), Listener((3.0, 1.5, 8.0)), (Source((3.0, 1.5, 8.0 - d)),)) for d in (1.5, 3)
    )
    stream = Stream(load_simulator("shoebox"), [noise(RATE_HZ)])
    levels = [rms_dbfs(stream.step(each, 1.0)[:, RATE_HZ // 4 :]) for each in (near, far)]
    assert torch.allclose(levels[0] - levels[1], torch.tensor(6.02), atol=0.3)


def test_a_fade_between_equal_rirs_is_not_heard() -> None:
    """Equal gain: no dip and no bump where the scene changes but not its sound (here, only a label)."""
    sound, changed = noise(RATE_HZ), dataclasses.replace(scene(), sources=(Source((1.0, 1.5, 1.0), ("Dog",)),))
    moved, still = (Stream(load_simulator("shoebox"), [sound]) for _ in range(2))
    for one, other in ((scene(), scene()), (changed, scene())):
        assert torch.allclose(moved.step(one, 0.2), still.step(other, 0.2), atol=1e-7)


def test_a_jump_makes_no_click() -> None:
    """A low tone has almost no curvature; a hard switch between places shows as a spike of it, a fade does not."""
    tone = torch.sin(2 * torch.pi * 200 * torch.arange(RATE_HZ) / RATE_HZ)

    def sharpest(crossfade_s: float) -> float:
        stream = Stream(load_simulator("shoebox"), [Track(tone, start_s=-1.0)], crossfade_s=crossfade_s)
        heard = torch.cat([stream.step(scene(x), 0.1) for x in (0.5, 5.5)], dim=-1)
        return float(heard.diff(n=2).abs().max())

    at_rest = sharpest(0.05)
    assert sharpest(0.0) > 5 * at_rest
    still = Stream(load_simulator("shoebox"), [Track(tone, start_s=-1.0)])
    alone = [float(still.step(scene(x), 0.1)[:, -1600:].diff(n=2).abs().max()) for x in (0.5, 5.5)]
    assert at_rest <= 1.2 * max(alone)


# --- scenes with waypoints ---


def test_waypoints_are_joined_by_straight_lines_and_rest_outside() -> None:
    way = Waypoints((1.0, 3.0), ((0.0, 1.0), (4.0, 0.0)))
    assert [way.at(t) for t in (0.0, 1.0, 1.5, 3.0, 9.0)] == [(0, 1), (0, 1), (1, 0.75), (4, 0), (4, 0)]


def test_a_moving_scene_moves_what_has_waypoints() -> None:
    way = Waypoints((0.0, 2.0), ((2.0, 1.5, 1.0), (4.0, 1.5, 1.0)))
    moving = MovingScene(scene(1.0, 2.0), heading_deg=Waypoints((0.0, 4.0), ((0.0,), (360.0,))), sources_m=(None, way))
    now = moving.at(1.0)
    assert now.listener == Listener(LISTENER.position_m, 90.0)
    assert [source.position_m[0] for source in now.sources] == [1.0, 3.0]
    assert moving.times_s == [0.0, 2.0, 4.0]
    assert MovingScene(scene()).at(3.0) == scene()


def test_leaving_the_room_is_told_with_the_time() -> None:
    way = Waypoints((0.0, 2.0), ((2.0, 1.5, 1.0), (10.0, 1.5, 1.0)))
    with pytest.raises(BadInput, match=r"at 1.5 s: source 0 at \(8.0, 1.5, 1.0\) lies outside the room"):
        MovingScene(scene(), sources_m=(way,)).at(1.5)


def test_walking_through_the_head_is_told_with_the_time() -> None:
    way = Waypoints((0.0, 2.0), ((2.0, 1.5, 2.5), (4.0, 1.5, 2.5)))
    moving = MovingScene(scene(2.0, rt60_s=None), sources_m=(way,))
    with pytest.raises(BadInput, match=r"at 0.9\d* s: source 0 is 0.0\d* m from the centre of the head"):
        render_moving(load_simulator("shoebox"), moving.at, [noise(1000)], 2.0, step_s=0.03)


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.33])
def test_a_moving_scene_at_rest_is_the_convolution(seconds: float) -> None:
    sound, simulator = noise(4000), load_simulator("shoebox")
    heard = render_moving(simulator, lambda _: scene(), [Track(sound, loop=False)], seconds)
    wanted = convolve(sound[None], simulator.render(scene())[0], round(seconds * RATE_HZ))
    assert torch.allclose(heard, wanted, atol=1e-5)


def test_a_finer_step_changes_little() -> None:
    """The fades interpolate the motion: with half the step the sound is almost the same, so the step is fine enough."""
    way = Waypoints((0.0, 1.0), ((2.0, 1.5, 1.0), (4.0, 1.5, 1.0)))
    tone = torch.sin(2 * torch.pi * 300 * torch.arange(RATE_HZ) / RATE_HZ)
    moving = MovingScene(scene(2.0, rt60_s=None), sources_m=(way,))
    simulator = load_simulator("shoebox")
    coarse, fine = (render_moving(simulator, moving.at, [tone], 0.6, step_s=step)[:, 4000:] for step in (0.05, 0.025))
    hardly_moved = render_moving(simulator, lambda _: moving.at(0), [tone], 0.6)[:, 4000:]
    assert rms_dbfs(coarse - fine).max() < rms_dbfs(fine).min() - 20
    assert rms_dbfs(hardly_moved - fine).max() > rms_dbfs(fine).min() - 10


# --- bad input ---


@pytest.mark.parametrize(
    ("sound", "says"),
    [
        (torch.zeros(2, 100), r"mono tensor of shape \(samples,\) at 32 kHz, got shape \(2, 100\)"),
        (torch.zeros(0), "mono tensor"),
        ([0.0, 1.0], "got list"),
        (torch.zeros(10, dtype=torch.int16), "floats in ±1, got torch.int16"),
        (torch.tensor([0.0, float("nan")]), "NaN or infinite"),
        (np.array([0.0, np.inf]), "NaN or infinite"),
    ],
)
def test_a_sound_that_cannot_be_played(sound: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Stream(Given([rir(1)]), [sound])
    with pytest.raises(BadInput, match=says):
        render_step(Given([rir(1)]), scene(), [sound], 100)


def test_steps_that_do_not_fit_the_stream() -> None:
    simulator, sounds = Given([rir(10)] * 2), [noise(10), noise(20)]
    two = scene(1.0, 2.0)
    _, state = render_step(simulator, two, sounds, 100)
    with pytest.raises(BadInput, match="began with 2 sources, expected as many in every step, got 1 and 1 sounds; let"):
        render_step(simulator, scene(), sounds[:1], 100, state)
    with pytest.raises(BadInput, match="the scene has 2 sources, got 1 sounds; give one sound to each"):
        render_step(simulator, two, sounds[:1], 100)
    with pytest.raises(BadInput, match="the sound of source 1 is another one than in the step before"):
        render_step(simulator, two, [sounds[0], noise(20, 5)], 100, state)
    with pytest.raises(BadInput, match="the sound of source 0 is another one"):
        render_step(simulator, two, [Track(sounds[0], start_s=1.0), sounds[1]], 100, state)


@pytest.mark.parametrize("samples", [0, -1, 0.5, True, None])
def test_num_samples_must_be_a_number_of_samples(samples: Any) -> None:
    with pytest.raises(BadInput, match="num_samples"):
        render_step(Given([rir(1)]), scene(), [noise(10)], samples)


def test_other_numbers_that_cannot_be() -> None:
    stream = Stream(Given([rir(1)]), [noise(10)])
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="positive number of seconds"):
            stream.step(scene(), seconds)
        with pytest.raises(BadInput, match="positive numbers"):
            render_moving(stream.simulator, lambda _: scene(), [noise(10)], seconds)
    with pytest.raises(BadInput, match="crossfade_s"):
        render_step(Given([rir(1)]), scene(), [noise(10)], 10, crossfade_s=-1)
    with pytest.raises(BadInput, match="stop after it"):
        Track(noise(10), start_s=2.0, stop_s=1.0)
    with pytest.raises(BadInput, match="times that rise"):
        Waypoints((1.0, 1.0), ((0.0,), (1.0,)))
    with pytest.raises(BadInput, match="one value for each time"):
        Waypoints((1.0, 2.0), ((0.0,),))


def test_simulators_that_do_not_fit() -> None:
    slow = Given([rir(1)])
    slow.sample_rate_hz = 16_000
    with pytest.raises(BadInput, match="renders at 16000 Hz, expected 32000 Hz"):
        render_step(slow, scene(), [noise(10)], 10)
    for wrong, says in (([], "gave 0 RIRs for 1 sources"), ([torch.zeros(5)], "shape"), ([rir(3) * torch.nan], "RIR")):
        with pytest.raises(BatAgentError, match=says):
            render_step(Given(wrong), scene(), [noise(10)], 10)


# --- cost ---


def test_a_step_costs_little_beyond_rendering() -> None:
    """0.25 s with RIRs of 0.5 s, two sources, a fade every time: about 4 ms on one slow core."""
    simulator = Given(*([rir(16_000, n), rir(16_000, n + 1)] for n in (0, 1)))
    sounds = [noise(10 * RATE_HZ), noise(10 * RATE_HZ, 1)]
    state: StreamState | None = None
    seconds = []
    for number in range(12):
        began = time.perf_counter()
        _, state = render_step(simulator, scene(1.0, 2.0, seed=number), sounds, 8000, state)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.02, f"{1000 * min(seconds):.1f} ms a step"
