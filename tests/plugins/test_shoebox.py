"""Simulator ``shoebox`` against physics, published formulae and pyroomacoustics (head: ``test_shoebox_head``)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, resample_poly, sosfiltfilt

from bat_agent.errors import BadInput
from bat_agent.scene import Listener, MeshRoom, Position, Room, Scene, Source, point_at
from bat_agent.scenes.rendering import simulator_of
from bat_agent.testing import SimulatorContract
from bat_agent_shoebox import hooks
from bat_agent_shoebox.config import ShoeboxConfig
from bat_agent_shoebox.simulator import Shoebox

RATE_HZ = 32_000
HALL = Room((30.0, 30.0, 30.0), None)
CENTRE = (15.0, 15.0, 15.0)
DIRECT_GAIN = 0.2821


@pytest.fixture(scope="module")
def shoebox() -> Shoebox:
    return Shoebox(ShoeboxConfig())


@pytest.fixture(scope="module")
def sphere() -> Shoebox:
    return Shoebox(ShoeboxConfig(head="sphere"))


class TestContract(SimulatorContract):
    @pytest.fixture(scope="class")
    def simulator(self) -> Shoebox:
        return Shoebox(ShoeboxConfig())


def free_field(simulator: Shoebox, azimuth_deg: float, elevation_deg: float, distance_m: float = 2.0) -> np.ndarray:
    listener = Listener(CENTRE)
    source = Source(point_at(listener, Position(azimuth_deg, elevation_deg, distance_m)))
    return simulator.render(Scene(HALL, listener, (source,)))[0].double().numpy()


def in_room(
    simulator: Shoebox, size: Any, rt60: float | None, listener: Any, source: Any, **options: Any
) -> np.ndarray:
    scene = Scene(Room(size, rt60), listener, (Source(source),), **options)
    return simulator.render(scene)[0].double().numpy()


def band_level_db(ears: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    size = max(4096, ears.shape[1])
    power = np.abs(np.fft.rfft(ears, size)) ** 2
    frequency = np.fft.rfftfreq(size, 1 / RATE_HZ)
    return 10 * np.log10(power[:, (frequency >= low_hz) & (frequency < high_hz)].mean(1))


def decay_time_s(rir: np.ndarray, stop_db: float) -> float:
    """T20 or T30 from −5 dB to ``stop_db`` of Schroeder's backward integral, both ears together."""
    curve = np.cumsum((rir**2).sum(0)[::-1])[::-1]
    level = 10 * np.log10(curve / curve[0] + 1e-15)
    part = np.flatnonzero((level < -5) & (level > stop_db))
    return -60 / np.polyfit(part / RATE_HZ, level[part], 1)[0]


# --- time, level, symmetry ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.7, 9.3])
@pytest.mark.parametrize("head", ["kemar", "sphere"])
def test_direct_sound_arrives_on_time_at_the_agreed_level(request: Any, head: str, distance: float) -> None:
    simulator = request.getfixturevalue("shoebox" if head == "kemar" else "sphere")
    ears = free_field(simulator, 90, 0, distance)
    fine = resample_poly(ears, 16, 1, axis=1)
    assert np.abs(np.abs(fine).argmax(1) / 16 - distance / 343 * RATE_HZ).max() <= 1
    # Air takes some of the highest frequencies: about 0.1 dB/m of white noise.
    air = 10 ** (-0.1 * distance / 20)
    np.testing.assert_allclose(np.sqrt((ears**2).sum(1)), DIRECT_GAIN / distance * air, rtol=0.03)
    np.testing.assert_allclose(band_level_db(ears, 250, 700), 20 * np.log10(DIRECT_GAIN / distance), atol=2.5)


def test_level_falls_by_6_db_per_doubling(shoebox: Shoebox) -> None:
    levels = [band_level_db(free_field(shoebox, 60, 20, distance), 200, 3000) for distance in (0.5, 1, 2, 4, 8)]
    np.testing.assert_allclose(np.diff(levels, axis=0), -6.02, atol=0.05)


def test_direct_at_zero_takes_out_the_travel_time_only() -> None:
    """A distance of whole samples: the response must be the physical one moved by that number of samples."""
    travel = 300
    simulator = Shoebox(ShoeboxConfig(air_absorption=False))
    listener = Listener((2.5, 1.5, 4.0))
    source = (2.5, 1.5, 4.0 - 343 * travel / RATE_HZ)
    physical, moved = (
        in_room(simulator, (5, 2.7, 6), 0.3, listener, source, onset=onset) for onset in ("physical", "direct_at_zero")
    )
    assert (np.abs(moved).argmax(1) == 32).all()
    early = 700  # before the tail, whose noise begins with the output
    np.testing.assert_allclose(moved[:, :early], physical[:, travel - 32 : travel - 32 + early], atol=1e-6)


@pytest.mark.parametrize("rt60", [None, 0.4])
def test_mirrored_scene_swaps_the_ears(shoebox: Shoebox, rt60: float | None) -> None:
    size, head, source = (5.0, 2.7, 6.0), (2.2, 1.5, 2.8), (1.13, 2.03, 1.37)
    ears = in_room(shoebox, size, rt60, Listener(head, 25.0), source)
    mirrored = in_room(
        shoebox, size, rt60, Listener((size[0] - head[0], *head[1:]), -25.0), (size[0] - source[0], *source[1:])
    )
    assert np.abs(ears).max() > 0.05
    assert rt60 is None or np.abs(ears[:, 4000:]).max() > 1e-3, "the tail must be part of what is compared"
    np.testing.assert_allclose(ears, mirrored[::-1], atol=1e-6)


@pytest.mark.parametrize(("heading", "turned"), [(0.0, 0.2), (170.0, 170.2)])
def test_tail_does_not_jump_where_the_source_passes_the_middle(shoebox: Shoebox, heading: float, turned: float) -> None:
    """Moving things are rendered with equal-gain cross-fades, which need neighbouring RIRs to be nearly the same."""
    source = (2.203, 1.2, 0.9)
    first, second = (
        in_room(shoebox, (5, 2.7, 6), 0.5, Listener((2.2, 1.5, 2.8), h), source) for h in (heading, turned)
    )
    late, change = first[:, 4000:], (second - first)[:, 4000:]
    assert (change**2).sum() < 1e-3 * (late**2).sum()


def test_head_and_room_turned_together_sound_the_same(shoebox: Shoebox) -> None:
    """A square room turned by 90° counter-clockwise, (x, z) → (z, side − x), with the head in it."""
    side, head, source = 5.0, (2.2, 1.5, 2.8), (1.13, 2.03, 1.37)
    turned_head, turned_source = ((z, y, side - x) for x, y, z in (head, source))
    ears = in_room(shoebox, (side, 2.7, side), 0.4, Listener(head), source)
    turned = in_room(shoebox, (side, 2.7, side), 0.4, Listener(turned_head, 90.0), turned_source)
    # The images come in another order, so sums round differently.
    np.testing.assert_allclose(ears, turned, atol=2e-6)


def test_turning_the_head_equals_moving_the_source(shoebox: Shoebox) -> None:
    listener = Listener(CENTRE, 70.0)
    source = Source(point_at(Listener(CENTRE), Position(130.0, 10.0, 2.0)))
    turned = shoebox.render(Scene(HALL, listener, (source,)))[0].double().numpy()
    np.testing.assert_allclose(turned, free_field(shoebox, 60.0, 10.0), atol=1e-6)


# --- rooms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(4.0, 2.6, 5.0), (3.0, 2.4, 2.6), (8.0, 3.0, 6.0), (2.4, 2.5, 5.0)])
@pytest.mark.parametrize("rt60", [0.2, 0.35, 0.6])
def test_reverberation_time_is_the_one_asked_for(shoebox: Shoebox, size: Any, rt60: float) -> None:
    head = Listener((0.4 * size[0], 1.5, 0.45 * size[2]))
    rirs = [
        in_room(shoebox, size, rt60, head, (0.8 * size[0], 1.1, z * size[2]), seed=k) for k, z in enumerate((0.1, 0.85))
    ]
    for stop_db in (-25, -35):
        assert np.mean([decay_time_s(rir, stop_db) for rir in rirs]) == pytest.approx(rt60, rel=0.15)
    speech = butter(4, (500, 4000), "band", fs=RATE_HZ, output="sos")
    filtered = [sosfiltfilt(speech, rir) for rir in rirs]
    assert np.mean([decay_time_s(rir, -25) for rir in filtered]) == pytest.approx(rt60, rel=0.15)


@pytest.mark.parametrize(("size", "rt60"), [((4.0, 2.6, 5.0), 0.4), ((8.0, 3.0, 6.0), 0.6)])
def test_reverberant_level_follows_barron(shoebox: Shoebox, size: Any, rt60: float) -> None:
    """Reflected re direct energy at 10 m = 31200 T/V · exp(−0.04 r/T) (Barron and Lee, JASA 84, 1988), within 2 dB."""
    rng, errors = np.random.default_rng(0), []
    for seed in range(10):
        head, source = ([float(rng.uniform(0.5, side - 0.5)) for side in size] for _ in range(2))
        distance = math.dist(head, source)
        if distance < 0.5:
            continue
        rir, direct = (in_room(shoebox, size, t, Listener(tuple(head)), tuple(source), seed=seed) for t in (rt60, None))
        reflected = (rir**2).sum(1).mean() - (direct**2).sum(1).mean()
        expected = 31200 * rt60 / np.prod(size) * math.exp(-0.04 * distance / rt60) * (DIRECT_GAIN / 10) ** 2
        errors.append(10 * math.log10(reflected / expected))
    assert abs(np.mean(errors)) < 2


def test_tail_continues_the_images_without_a_step(shoebox: Shoebox) -> None:
    """Energy in steps of 10 ms around the hand-over stays within 2.5 dB of a straight line, mean of several seats."""
    size, rt60, steps = (4.5, 2.6, 5.0), 0.4, 12
    total = np.zeros(steps)
    for k, x in enumerate((0.7, 1.6, 2.9, 3.9)):
        rir = in_room(shoebox, size, rt60, Listener((2.2, 1.5, 3.1)), (x, 0.6 + 0.4 * k, 1.1), seed=k)
        total += (rir[:, 640 : 640 + steps * 320] ** 2).reshape(2, steps, 320).sum((0, 2))
    level, time = 10 * np.log10(total), np.arange(steps) * 0.01
    residual = level - np.polyval(np.polyfit(time, level, 1), time)
    assert np.abs(residual).max() < 2.5


def test_tail_is_coherent_at_low_and_incoherent_at_high_frequency(shoebox: Shoebox) -> None:
    rirs = [in_room(shoebox, (5, 2.7, 6), 2.0, Listener((2, 1.5, 3)), (4, 1, 1), seed=k) for k in range(6)]
    late = np.stack([rir[:, 5000:37_000] for rir in rirs])
    spectrum = np.fft.rfft(late * np.hanning(late.shape[-1]))
    frequency = np.fft.rfftfreq(late.shape[-1], 1 / RATE_HZ)

    def correlation(low: float, high: float) -> float:
        left, right = np.moveaxis(spectrum[..., (frequency >= low) & (frequency < high)], 1, 0)
        cross = (left * right.conj()).real.sum()
        return float(cross / np.sqrt((np.abs(left) ** 2).sum() * (np.abs(right) ** 2).sum()))

    assert correlation(100, 250) > 0.6
    assert abs(correlation(2000, 8000)) < 0.15


@pytest.mark.parametrize("rt60", [None, 0.3])
def test_only_the_tail_depends_on_the_seed(shoebox: Shoebox, rt60: float | None) -> None:
    first, again, other = (
        in_room(shoebox, (4, 2.6, 5), rt60, Listener((2, 1.5, 2)), (1, 1, 4), seed=seed) for seed in (1, 1, 2)
    )
    assert first.tobytes() == again.tobytes()
    assert np.array_equal(first[:, :500], other[:, :500])
    assert np.array_equal(first, other) == (rt60 is None)


def test_sources_of_one_scene_do_not_share_their_tail(shoebox: Shoebox) -> None:
    sources = (Source((1.0, 1.0, 4.0)), Source((3.0, 1.0, 4.0)))
    one, two = shoebox.render(Scene(Room((4.0, 2.6, 5.0), 0.5), Listener((2.0, 1.5, 2.0)), sources))
    late = np.corrcoef(one[0, 4000:12000].numpy(), two[0, 4000:12000].numpy())[0, 1]
    assert abs(late) < 0.1


@pytest.mark.parametrize("options", [{}, {"materials": "random"}, {"materials": "random", "decay": "specular"}])
def test_batch_renders_what_render_renders_to_the_byte(options: Any, rng: np.random.Generator) -> None:
    """However the scenes are split into batches; rooms with and without materials may stand in one."""
    simulator = Shoebox(ShoeboxConfig(**options))
    scenes = [simulator.sample_scene(rng, 1 + k % 2) for k in range(9)]
    scenes[4] = replace(scenes[4], room=replace(scenes[4].room, materials=()))
    scenes[5] = replace(scenes[5], room=replace(scenes[5].room, materials=(), rt60_s=None))
    batch = simulator.render_batch(scenes, 9000)
    pairs = torch.cat([simulator.render_batch(scenes[k : k + 2], 9000) for k in range(0, 9, 2)])
    singles = [rir for scene in scenes for rir in simulator.render(scene)]
    assert batch.shape == (len(singles), 2, 9000)
    assert torch.isfinite(batch).all()
    assert torch.equal(batch, pairs)
    for row, rir in zip(batch, singles, strict=True):
        taps = min(9000, rir.shape[1])
        assert torch.equal(row[:, :taps], rir[:, :taps])


def test_nothing_to_render_gives_an_empty_batch(shoebox: Shoebox) -> None:
    assert shoebox.render_batch([], 100).shape == (0, 2, 100)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_accelerator_renders_what_the_cpu_renders(rng: np.random.Generator) -> None:
    one, other = (Shoebox(ShoeboxConfig(materials="random", device=device)) for device in ("cpu", "cuda"))
    scenes = [one.sample_scene(rng) for _ in range(5)]
    torch.testing.assert_close(
        other.render_batch(scenes, 16_000).cpu(), one.render_batch(scenes, 16_000), atol=1e-5, rtol=0
    )


def test_short_output_is_the_beginning_of_the_long_one(shoebox: Shoebox, rng: np.random.Generator) -> None:
    scenes = [shoebox.sample_scene(rng)]
    short, long = (shoebox.render_batch(scenes, taps) for taps in (500, 20_000))
    torch.testing.assert_close(short, long[..., :500], atol=1e-6, rtol=0)


# --- scenes and input -----------------------------------------------------------------------------------------------


def test_drawn_rooms_follow_the_published_statistics(shoebox: Shoebox, rng: np.random.Generator) -> None:
    """517 m² for 24.5 rooms = 21 m² a room; distances with their mode within 1–2.5 m (BAT, section 3 and figure 3)."""
    scenes = [shoebox.sample_scene(rng) for _ in range(1500)]
    sizes = np.array([scene.room.size_m for scene in scenes if isinstance(scene.room, Room)])
    assert (sizes[:, 0] * sizes[:, 2]).mean() == pytest.approx(21.1, rel=0.1)
    assert sizes[:, 1].min() >= 2.2
    assert sizes[:, 1].max() <= 4
    distances = [scene.positions()[0].distance_m for scene in scenes]
    assert 0.3 <= min(distances) <= max(distances) < 10
    assert 1 <= 0.5 * np.histogram(distances, np.arange(0, 10.5, 0.5))[0].argmax() <= 2.5
    assert {scene.listener.heading_deg for scene in scenes} == {0.0}
    for scene in scenes:
        volume, (x, y, z) = np.prod(scene.room.size_m), scene.room.size_m
        # Eyring with absorption 0.99; the drawn time must not ask for more.
        assert scene.room.rt60_s >= 0.161 * volume / (2 * (x * y + y * z + z * x) * -math.log(0.01))


def test_scenes_name_the_simulator_that_renders_the_same(rng: np.random.Generator) -> None:
    """What matters for rendering is in the scene's JSON; another simulator than the drawing one must agree with it."""
    drawn = Shoebox(ShoeboxConfig(head="sphere", order=4, air_absorption=False, decay="specular", max_seconds=0.2))
    scene = Scene.from_json(drawn.sample_scene(rng).to_json())
    assert set(scene.simulator["options"]) == {"head", "order", "max_seconds", "air_absorption", "decay"}
    again = simulator_of(scene)
    assert again.render(scene)[0].numpy().tobytes() == drawn.render(scene)[0].numpy().tobytes()
    assert Shoebox(ShoeboxConfig()).render(scene)[0].shape != again.render(scene)[0].shape


def test_headings_and_onset_follow_the_configuration(rng: np.random.Generator) -> None:
    simulator = Shoebox(ShoeboxConfig(random_heading=True, onset="direct_at_zero"))
    scenes = [simulator.sample_scene(rng) for _ in range(20)]
    assert len({scene.listener.heading_deg for scene in scenes}) == 20
    assert {scene.onset for scene in scenes} == {"direct_at_zero"}


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.floats(0.8, 25), st.floats(0.8, 10), st.floats(0.8, 25)),
    where=st.tuples(*[st.floats(0.01, 0.99)] * 6),
    rt60=st.one_of(st.none(), st.floats(0.2, 1.5)),
    heading=st.floats(-720, 720),
    onset=st.sampled_from(["physical", "direct_at_zero"]),
)
def test_any_scene_is_rendered_finite_or_refused(
    shoebox: Shoebox, size: Any, where: Any, rt60: float | None, heading: float, onset: Any
) -> None:
    head, source = (
        tuple(share * side for share, side in zip(part, size, strict=True)) for part in (where[:3], where[3:])
    )
    scene = Scene(Room(size, rt60), Listener(head, heading), (Source(source),), onset=onset)
    try:
        rir = shoebox.render(scene)[0]
    except BadInput:
        assert math.dist(head, source) < 0.1
        return
    assert torch.isfinite(rir).all()
    # A blunder in gain or delay shows as a sample far above what direct sound and near walls can add up to.
    assert 0 < float(rir.abs().max()) < 5 / max(math.dist(head, source), 0.1)


def test_low_order_keeps_level_and_decay(shoebox: Shoebox) -> None:
    """Order only moves the hand-over from images to tail."""
    low = Shoebox(ShoeboxConfig(order=3))
    scene = ((5.0, 2.7, 6.0), 0.4, Listener((2.0, 1.5, 3.0)), (4.0, 1.0, 1.0))
    first, second = (in_room(simulator, *scene) for simulator in (shoebox, low))
    assert 10 * math.log10((first**2).sum() / (second**2).sum()) == pytest.approx(0, abs=1.5)
    assert decay_time_s(second, -25) == pytest.approx(0.4, rel=0.15)


def test_meshes_are_refused_with_the_simulator_that_reads_them(shoebox: Shoebox) -> None:
    with pytest.raises(BadInput, match="soundspaces"):
        shoebox.render(Scene(MeshRoom("house.glb"), Listener((0, 0, 0)), (Source((1, 0, 0)),)))


def test_source_inside_the_head_is_refused(shoebox: Shoebox) -> None:
    with pytest.raises(BadInput, match=r"source 1 is 0\.05"):
        shoebox.render(Scene(HALL, Listener(CENTRE), (Source((15, 15, 14)), Source((15, 15, 14.95)))))


def test_unreachable_reverberation_time_is_refused_with_the_smallest_possible(shoebox: Shoebox) -> None:
    def render(rt60: float) -> None:
        shoebox.render(Scene(Room((5, 3, 6), rt60), Listener((1, 1.5, 1)), (Source((4, 1, 5)),)))

    with pytest.raises(BadInput, match="the smallest is") as error:
        render(0.01)
    smallest = float(str(error.value).split("the smallest is ")[1].split()[0])
    # Eyring, 90 m³, 126 m², absorption 0.99.
    assert smallest == pytest.approx(0.161 * 90 / 126 / 4.605, abs=0.001)
    render(smallest)


@pytest.mark.parametrize(
    "options",
    [
        {"head": "dog"},
        {"materials": "wood"},
        {"decay": "slow"},
        {"onset": "late"},
        {"order": -1},
        {"max_seconds": 0},
        {"min_rt60_s": 0.9},
        {"min_distance_m": 0.01},
    ],
)
def test_contradictory_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(options))):
        ShoeboxConfig(**options)


def test_hook_describes_a_class_that_exists() -> None:
    (component,) = hooks.bat_agent_simulators()
    assert component.name == "shoebox"
    assert component.target == f"{Shoebox.__module__}:{Shoebox.__name__}"
    assert component.config == f"{ShoeboxConfig.__module__}:{ShoeboxConfig.__name__}"


def test_placements_stay_in_the_room_and_keep_the_margins() -> None:
    simulator = Shoebox(ShoeboxConfig(min_distance_m=1.0, listener_margin_m=0.5, source_margin_m=0.3))
    first = simulator.sample_scene(np.random.default_rng(2), 2)
    size = first.room.size_m
    placements = simulator.sample_placements(first, np.random.default_rng(3), 20)
    assert len({scene.listener for scene in (first, *placements)}) == 21
    for scene in placements:
        assert (scene.room, scene.simulator, len(scene.sources)) == (first.room, first.simulator, 2)
        assert all(0.5 <= scene.listener.position_m[axis] <= size[axis] - 0.5 for axis in (0, 2))
        for source in scene.sources:
            assert all(0.3 <= p <= s - 0.3 for p, s in zip(source.position_m, size, strict=True))
            assert math.dist(source.position_m, scene.listener.position_m) >= 1.0
