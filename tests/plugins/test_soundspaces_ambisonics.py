"""First-order ambisonics of the SoundSpaces engine: rotation, decoder, and one ray trace for every heading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bat_agent.scene import Listener, Position, Room, Scene, Source, point_at, relative_position, unit_vector
from bat_agent.sound.rir_measures import interaural_level_db, reverberation_time_s
from bat_agent_soundspaces.ambisonics import (
    DECODER_TAPS,
    encode,
    make_decoder,
    rotate,
    rotation,
    sphere_directions,
    to_head_frame,
)
from bat_agent_soundspaces.config import SoundspacesConfig
from bat_agent_soundspaces.engine import Acoustics, HeadQuery, Trace
from bat_agent_soundspaces.simulator import SoundSpaces

needs_engine = pytest.mark.skipif(
    find_spec("rlr_audio_propagation") is None,
    reason="needs the extra soundspaces",
)
angles = st.floats(-720, 720)
ROOM = Room((6.0, 3.0, 5.0), rt60_s=0.35)


@pytest.fixture(scope="module")
def simulator() -> Iterator[SoundSpaces]:
    with SoundSpaces(SoundspacesConfig(rays=1500)) as simulator:
        yield simulator


def scene(heading_deg: float = 0.0, source: Position | None = None) -> Scene:
    listener = Listener((3.2, 1.5, 2.4), heading_deg)
    place = (4.7, 1.3, 1.4) if source is None else point_at(listener, source)
    return Scene(ROOM, listener, (Source(place),))


def energy_db(rir: np.ndarray) -> float:
    return float(10 * np.log10(np.square(rir, dtype=np.float64).sum()))


@settings(max_examples=50, deadline=None)
@given(heading_deg=angles, azimuth_deg=angles, elevation_deg=st.floats(-90, 90))
def test_turning_the_head_turns_every_wave_as_the_scene_says(
    heading_deg: float, azimuth_deg: float, elevation_deg: float
) -> None:
    """Against :func:`bat_agent.scene.relative_position`, which knows nothing of ambisonics."""
    here = Listener((0.0, 0.0, 0.0), heading_deg)
    world = unit_vector(azimuth_deg, elevation_deg)
    heard = relative_position(here, world)
    expected = np.array(unit_vector(heard.azimuth_deg, heard.elevation_deg))
    np.testing.assert_allclose(rotation(heading_deg) @ encode(np.array(world)), encode(expected), atol=1e-9)
    np.testing.assert_allclose(to_head_frame(world, heading_deg), expected, atol=1e-9)


def test_turns_add_up_and_keep_the_energy() -> None:
    field = np.random.default_rng(0).standard_normal((4, 100)).astype(np.float32)
    np.testing.assert_allclose(rotate(rotate(field, 50.0), 70.0), rotate(field, 120.0), atol=1e-5)
    np.testing.assert_array_equal(rotate(field, 0.0), field)
    assert energy_db(rotate(field, 33.0)) == pytest.approx(energy_db(field), abs=1e-4)


def test_virtual_loudspeakers_are_even() -> None:
    """Even enough for N3D to be orthonormal on them: (1/D)·Σ Y·Yᵀ = 1."""
    waves = encode(sphere_directions(240))
    np.testing.assert_allclose(waves.T @ waves / len(waves), np.eye(4), atol=0.01)


def test_decoder_of_a_head_that_is_first_order_gives_it_back() -> None:
    """A head whose ears are two cardioids is all first order, so the decoder must be exact for it, at all angles."""

    def cardioids(directions: np.ndarray) -> np.ndarray:
        out = np.zeros((len(directions), 2, 64), np.float32)
        out[:, 0, 5], out[:, 1, 5] = (1 - directions[:, 0]) / 2, (1 + directions[:, 0]) / 2
        return out

    decoder = make_decoder(cardioids, latency=5)
    assert decoder.shape == (2, 4, DECODER_TAPS)
    around = sphere_directions(37)
    heard = np.einsum("eck,dc->dek", decoder, encode(around))
    np.testing.assert_allclose(heard[..., :64], cardioids(around), atol=0.02)


# --- with the engine ---


@needs_engine
def test_channels_of_the_engine_are_w_y_z_x_in_n3d(simulator: SoundSpaces) -> None:
    """Also that they do not turn with the head."""
    listener, source = (1.0, 2.0, 3.0), (3.0, 2.5, 1.5)
    direction = np.subtract(source, listener) / math.dist(source, listener)
    for heading in (0.0, 77.0):
        trace = Trace(Acoustics(1, 1, "ambisonics", indirect=False), None, listener, heading, (source,), "free field")
        [rir] = simulator._pool.trace(trace).rirs
        peak = rir[:, np.abs(rir[0]).argmax()]
        np.testing.assert_allclose(peak / peak[0], encode(direction), atol=1e-3)


@needs_engine
def test_decoded_plane_waves_have_the_levels_of_the_head(simulator: SoundSpaces) -> None:
    """In the horizontal plane, where four channels can: near ear within 1.5 dB of the head's own, far within 4."""
    azimuths = np.radians(np.arange(0, 360, 15))
    around = np.stack([np.cos(azimuths), 0 * azimuths, -np.sin(azimuths)], axis=1)
    own = simulator._pool.head(HeadQuery(None, around))
    decoded = np.einsum("eck,dc->dek", simulator._decoder, encode(around))
    for mine, theirs in zip(own, decoded, strict=True):
        near, far = sorted(range(2), key=lambda ear: -energy_db(mine[ear]))
        assert energy_db(theirs[near]) == pytest.approx(energy_db(mine[near]), abs=1.5)
        assert energy_db(theirs[far]) == pytest.approx(energy_db(mine[far]), abs=4.0)


@needs_engine
def test_a_turned_head_needs_no_new_ray_trace(simulator: SoundSpaces) -> None:
    simulator.render_next(scene(0.0), None)
    before = simulator.ray_traces
    previous = scene(0.0)
    heard = []
    for heading in (30.0, 60.0, 90.0, 213.0):
        turned = scene(heading)
        heard.append(simulator.render_next(turned, previous)[0])
        previous = turned
    assert simulator.ray_traces == before
    assert all(not np.array_equal(heard[0], other) for other in heard[1:])
    moved = replace(previous, listener=Listener((3.3, 1.5, 2.4), 213.0))
    simulator.render_next(moved, previous)
    assert simulator.ray_traces == before + 1


@needs_engine
@pytest.mark.parametrize("heading_deg", [0.0, 45.0, 100.0, 180.0, 290.0])
def test_turned_sound_agrees_with_a_fresh_trace(simulator: SoundSpaces, heading_deg: float) -> None:
    """Same side, same level, same decay as the engine's own binaural rendering of that heading."""
    simulator.render_next(scene(0.0), None)
    turned = simulator.render_next(scene(heading_deg), scene(0.0))[0].numpy()
    fresh = simulator.render(scene(heading_deg))[0].numpy()
    level, expected = interaural_level_db(turned), interaural_level_db(fresh)
    assert level == pytest.approx(expected, abs=1.5)
    if abs(expected) > 1:
        assert math.copysign(1, level) == math.copysign(1, expected)
    for ear in range(2):
        assert energy_db(turned[ear]) == pytest.approx(energy_db(fresh[ear]), abs=2.0)
    assert reverberation_time_s(turned) == pytest.approx(reverberation_time_s(fresh), rel=0.15)


@needs_engine
def test_direct_sound_of_a_turned_head_is_the_engine_s_own(simulator: SoundSpaces) -> None:
    """The first milliseconds, before any reflection: sample for sample what the engine renders for that heading."""
    listener = Listener((6.0, 1.5, 6.0), 70.0)
    far = Scene(Room((12.0, 3.0, 12.0), 0.5), listener, (Source((6.5, 1.6, 5.2)),))
    simulator.render_next(replace(far, listener=replace(listener, heading_deg=0.0)), None)
    turned, fresh = simulator.render_next(far)[0].numpy(), simulator.render(far)[0].numpy()
    direct = slice(0, 200)  # the floor answers after 3.1 m, 290 samples
    error = np.square(turned[:, direct] - fresh[:, direct]).sum() / np.square(fresh[:, direct]).sum()
    assert error < 1e-3


@needs_engine
def test_free_field_has_no_reflections_to_decode(simulator: SoundSpaces) -> None:
    listener = Listener((3.0, 1.5, 3.0), 40.0)
    free = Scene(Room((6.0, 3.0, 6.0), None), listener, (Source(point_at(listener, Position(150.0, 20.0, 2.0))),))
    turned, exact = simulator.render_next(free)[0].numpy(), simulator.render(free)[0].numpy()
    taps = min(turned.shape[1], exact.shape[1])
    assert np.square(turned[:, :taps] - exact[:, :taps]).sum() < 1e-3 * np.square(exact).sum()
