"""Walls of ``shoebox``: reverberation time, materials and decay against Eyring, tables and pyroomacoustics."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from bat_agent.errors import BadInput
from bat_agent.scene import Listener, Room, Scene, Source
from bat_agent.sound.rir_measures import energy_decay_db, reverberation_time_s
from bat_agent_shoebox.config import ShoeboxConfig
from bat_agent_shoebox.image_sources import find_images
from bat_agent_shoebox.materials import BANDS_HZ, MATERIALS, absorption, random_materials
from bat_agent_shoebox.simulator import Shoebox
from bat_agent_shoebox.walls import least_rt60_s, wall_losses

RATE_HZ = 32_000
SIX = ("brick", "curtain_heavy", "carpet", "fissured_tile", "glass_window", "plywood")


@pytest.fixture(scope="module")
def shoebox() -> Shoebox:
    return Shoebox(ShoeboxConfig())


def octave(rir: np.ndarray, centre_hz: float) -> np.ndarray:
    edges = (centre_hz / math.sqrt(2), centre_hz * math.sqrt(2))
    return sosfiltfilt(butter(6, edges, "band", fs=RATE_HZ, output="sos"), rir)


def time_at_s(rirs: list[np.ndarray], centre_hz: float) -> float:
    """Mean over rooms in a third of an octave: absorption is a slope between the tabulated frequencies."""
    edges = (centre_hz * 2 ** (-1 / 6), centre_hz * 2 ** (1 / 6))
    third = butter(4, edges, "band", fs=RATE_HZ, output="sos")
    return float(np.mean([reverberation_time_s(sosfiltfilt(third, rir)) for rir in rirs]))


def seats(simulator: Shoebox, room: Room, count: int = 8) -> list[np.ndarray]:
    rng, rirs = np.random.default_rng(3), []
    for seed in range(count):
        head, source = (tuple(float(side * rng.uniform(0.15, 0.85)) for side in room.size_m) for _ in range(2))
        rirs.append(simulator.render(Scene(room, Listener(head), (Source(source),), seed=seed))[0].double().numpy())
    return rirs


def eyring_s(room: Room, alphas: np.ndarray) -> float:
    """0.161 V / (−S ln(1 − α̅)), alphas in the order of ``Room.materials``."""
    x, y, z = room.size_m
    areas = np.array([y * z, y * z, x * z, x * z, x * y, x * y])
    return 0.161 * x * y * z / (-areas.sum() * math.log(1 - (areas * alphas).sum() / areas.sum()))


# --- the time asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", ["diffuse", "specular"])
@pytest.mark.parametrize("rt60", [0.15, 0.25, 0.4, 0.6, 0.8])
def test_reverberation_time_in_drawn_rooms_is_within_15_percent(decay: Any, rt60: float) -> None:
    """T20 of the whole response in 16 rooms of 4–90 m², each with its own seats and seed."""
    simulator, rng = Shoebox(ShoeboxConfig(decay=decay)), np.random.default_rng(1)
    scenes = [simulator.sample_scene(rng) for _ in range(24)]
    scenes = [
        replace(scene, room=replace(scene.room, rt60_s=rt60))
        for scene in scenes
        if isinstance(scene.room, Room) and least_rt60_s(scene.room.size_m) < rt60
    ][:16]
    assert len(scenes) == 16
    times = [reverberation_time_s(rir) for rir in simulator.render_batch(scenes, int((rt60 + 0.1) * RATE_HZ)).numpy()]
    np.testing.assert_allclose(times, rt60, rtol=0.15)


@pytest.mark.parametrize("material", ["plywood", "carpet_thin", "wood_panelling"])
def test_without_a_time_it_follows_from_the_material_in_every_octave(shoebox: Shoebox, material: str) -> None:
    room = Room((5.2, 2.7, 4.1), None, (material,))
    rirs = seats(shoebox, room)
    for band in (1, 2, 3, 4, 5):
        expected = eyring_s(room, np.full(6, MATERIALS[material][band]))
        assert time_at_s(rirs, BANDS_HZ[band]) == pytest.approx(expected, rel=0.15), BANDS_HZ[band]


def test_six_different_walls_have_the_time_of_their_mean_absorption(shoebox: Shoebox) -> None:
    room = Room((5.2, 2.7, 4.1), None, ("brick", "brick", "carpet_thin", "plasterboard_ceiling", "plywood", "plaster"))
    rirs, alphas = seats(shoebox, room), absorption(room.materials)
    for band in (2, 3, 4):
        assert time_at_s(rirs, BANDS_HZ[band]) == pytest.approx(eyring_s(room, alphas[:, band]), rel=0.15)


@pytest.mark.parametrize("rt60", [0.25, 0.6])
def test_a_given_time_scales_the_materials_and_keeps_their_shape(shoebox: Shoebox, rt60: float) -> None:
    """At 500 Hz … 1 kHz the time is the wanted one; plywood keeps ringing longer at high than at low frequency."""
    room = Room((5.2, 2.7, 4.1), rt60, ("plywood", "plywood", "carpet_thin", "plaster", "plywood", "plywood"))
    rirs = seats(shoebox, room)
    loss, plain = (wall_losses([replace(room, rt60_s=t)], "diffuse")[0] for t in (rt60, None))
    np.testing.assert_allclose(loss / plain, (loss / plain).flat[0], rtol=1e-9)
    scaled = {band: eyring_s(room, 1 - np.exp(-loss[:, band])) for band in (1, 2, 3, 4)}
    assert (scaled[2] + scaled[3]) / 2 == pytest.approx(rt60, rel=0.01)
    assert scaled[1] < 0.8 * scaled[3]
    for band, expected in scaled.items():
        assert time_at_s(rirs, BANDS_HZ[band]) == pytest.approx(expected, rel=0.15), BANDS_HZ[band]


def test_tail_continues_the_images_of_every_octave(shoebox: Shoebox) -> None:
    """Energy in steps of 20 ms around the hand-over, at 48 ms here, stays near a line in each octave, mean of seats."""
    rirs = seats(shoebox, Room((4.6, 2.6, 4.2), 0.4, SIX))
    for centre in (500, 1000, 2000, 4000, 8000):
        power = sum((octave(rir, centre)[:, 640:5120] ** 2).sum(0) for rir in rirs)
        level = 10 * np.log10(np.asarray(power).reshape(7, 640).sum(1))
        line = np.polyval(np.polyfit(np.arange(7), level, 1), np.arange(7))
        assert np.abs(level - line).max() < 3, centre


# --- against pyroomacoustics ----------------------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.parametrize("band", [None, 0, 4])
def test_images_are_those_of_pyroomacoustics(shoebox: Shoebox, band: int | None) -> None:
    """Delay and gain of every image up to order 8 before higher orders arrive; equal walls, and six different ones."""
    pra = pytest.importorskip("pyroomacoustics")
    size, head, source = (4.2, 2.6, 5.1), (1.7, 1.5, 3.3), (3.1, 0.7, 0.9)
    room = Room(size, 0.35) if band is None else Room(size, None, SIX)
    alphas = np.full(6, 1 - math.exp(-wall_losses([room], "diffuse").flat[0]))
    if band is not None:
        alphas = np.array([MATERIALS[name][band] for name in SIX])
    ours = find_images(shoebox._paths([(Scene(room, Listener(head), (Source(source),)), 0)]), 8)
    names = ("west", "east", "south", "north", "floor", "ceiling")
    theirs = pra.ShoeBox(
        size,
        RATE_HZ,
        materials={name: pra.Material(float(a)) for name, a in zip(names, alphas, strict=True)},
        max_order=8,
    )
    theirs.add_source(source)
    theirs.add_microphone(head)
    theirs.image_source_model()
    images = theirs.sources[0]
    distance = np.linalg.norm(images.images - np.array(head)[:, None], axis=0)
    until = float(ours.fade_s[0, 0])
    early, ours_early = np.flatnonzero(distance / 343 < until), np.flatnonzero(ours.delay_s.numpy() < until)
    assert len(early) > 60
    rank, ours_rank = early[np.argsort(distance[early])], ours_early[np.argsort(ours.delay_s.numpy()[ours_early])]
    gain = ours.gain.numpy()
    if band is not None:
        assert ours.log_gain is not None
        gain = gain * np.exp(ours.log_gain[:, band].numpy())
    np.testing.assert_allclose(ours.delay_s.numpy()[ours_rank] * 343, distance[rank], atol=1e-4)
    np.testing.assert_allclose(gain[ours_rank] * distance[rank], 0.2821 * images.damping[0][rank], rtol=1e-3)


@pytest.mark.parity
@pytest.mark.parametrize(("size", "rt60"), [((4.0, 2.6, 5.0), 0.25), ((3.0, 2.4, 2.6), 0.4), ((2.4, 2.5, 5.0), 0.4)])
def test_specular_decay_is_that_of_all_images(size: Any, rt60: float) -> None:
    """Energy decay within 1.5 dB of pyroomacoustics' over the first 40 dB, mean of 4 seats, same walls.

    Above 500 Hz, as many positive impulses of an omnidirectional receiver add up to a false rumble below. A spherical
    head passes a diffuse field there in the same way at all times, so the decay does not depend on it.
    """
    pra = pytest.importorskip("pyroomacoustics")
    simulator = Shoebox(ShoeboxConfig(head="sphere", decay="specular", air_absorption=False))
    alpha = 1 - math.exp(-float(wall_losses([Room(size, rt60)], "specular").flat[0]))
    high, rng = butter(4, 500, "high", fs=RATE_HZ, output="sos"), np.random.default_rng(7)
    taps = int(rt60 * RATE_HZ)
    total, other = np.zeros(taps), np.zeros(taps)
    for seed in range(4):
        head, source = (tuple(float(side * rng.uniform(0.15, 0.85)) for side in size) for _ in range(2))
        rir = simulator.render(Scene(Room(size, rt60), Listener(head), (Source(source),), seed=seed))[0].numpy()
        total += (sosfiltfilt(high, rir)[:, :taps] ** 2).sum(0)
        room = pra.ShoeBox(size, RATE_HZ, materials=pra.Material(alpha), max_order=round(343 * rt60 * 0.6))
        room.add_source(source)
        room.add_microphone(head)
        room.compute_rir()
        # Its responses begin 40 samples late, half of a fractional delay filter.
        other += sosfiltfilt(high, room.rir[0][0])[40 : 40 + taps] ** 2
    ours, theirs = (energy_decay_db(np.sqrt(power)) for power in (total, other))
    assert np.abs(ours - theirs)[theirs > -40].max() < 1.5


@pytest.mark.parity
def test_absorption_is_that_of_pyroomacoustics_table() -> None:
    """Its data base and ours were taken from the same book."""
    pra = pytest.importorskip("pyroomacoustics")
    theirs = {
        "brick": "brick_wall_rough", "brick_painted": "smooth_brickwork_flush_pointing", "concrete": "rough_concrete",
        "plaster": "brickwork", "plasterboard": "plasterboard", "wood_panelling": "wooden_lining",
        "plywood": "plywood_thin", "glass_window": "glass_window", "double_glazing": "double_glazing_30mm",
        "wooden_door": "wooden_door", "curtain_light": "curtains_0.2", "curtain_heavy": "curtains_cotton_0.5",
        "acoustic_plaster": "acoustical_plaster_25mm", "mineral_wool": "mineral_wool_50mm_40kgm3",
        "ceramic_tiles": "ceramic_tiles", "marble": "marble_floor", "linoleum": "linoleum_on_concrete",
        "wooden_floor": "wood_16mm", "carpet_thin": "carpet_thin", "carpet": "carpet_tufted_9m",
        "plasterboard_ceiling": "ceiling_plasterboard", "fissured_tile": "ceiling_fissured_tile",
        "metal_panel": "ceiling_metal_panel",
    }  # fmt: skip
    assert set(theirs) == set(MATERIALS)
    for ours, name in theirs.items():
        coefficients = list(pra.Material(name).energy_absorption["coeffs"])
        assert MATERIALS[ours][: len(coefficients)] == pytest.approx(coefficients), ours
        assert MATERIALS[ours][6] == pytest.approx(coefficients[-1])


# --- drawing and input ----------------------------------------------------------------------------------------------


def test_drawn_materials_are_plausible_and_change_nothing_else(rng: np.random.Generator) -> None:
    plain, dressed = (Shoebox(ShoeboxConfig(materials=kind)) for kind in ("none", "random"))
    for seed in range(30):
        one, two = (simulator.sample_scene(np.random.default_rng(seed)) for simulator in (plain, dressed))
        assert isinstance(two.room, Room)
        assert len(two.room.materials) == 6
        assert replace(two, room=replace(two.room, materials=())) == one
    drawn = [random_materials(rng) for _ in range(200)]
    assert {floor for _, _, floor, *_ in drawn} == {
        "wooden_floor",
        "linoleum",
        "ceramic_tiles",
        "carpet_thin",
        "carpet",
    }
    assert not any("carpet" in name for names in drawn for k, name in enumerate(names) if k != 2)


def test_unknown_material_is_refused_with_those_that_exist(shoebox: Shoebox) -> None:
    scene = Scene(Room((4, 2.6, 5), None, ("carpot",)), Listener((2, 1.5, 2)), (Source((1, 1, 4)),))
    with pytest.raises(BadInput, match=r"'carpot' \(did you mean 'carpet'\?\); it knows acoustic_plaster, brick"):
        shoebox.render(scene)


def test_unreachable_time_is_refused_with_materials_too(shoebox: Shoebox) -> None:
    scene = Scene(Room((4, 2.6, 5), 0.01, SIX), Listener((2, 1.5, 2)), (Source((1, 1, 4)),))
    with pytest.raises(BadInput, match="the smallest is"):
        shoebox.render(scene)


@pytest.mark.parametrize("position", [(0.0, 1.0, 4.0), (1.0, 2.6, 4.0), (1.0, 1.0, 7.0), (math.nan, 1.0, 4.0)])
def test_source_in_a_wall_outside_or_nowhere_is_refused(position: Any) -> None:
    with pytest.raises(BadInput, match="source"):
        Scene(Room((4, 2.6, 5), 0.4), Listener((2, 1.5, 2)), (Source(position),))
