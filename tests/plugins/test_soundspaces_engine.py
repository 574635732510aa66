"""What goes into the SoundSpaces engine is checked before; what comes out has the promised time, level and decay."""

from __future__ import annotations

import itertools
import math
import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput, PluginError
from bat_agent.scene import Room
from bat_agent.sound.rir_measures import interaural_level_db, interaural_time_s, reverberation_time_s
from bat_agent_soundspaces import engine
from bat_agent_soundspaces.boxes import box_depth, box_geometry
from bat_agent_soundspaces.config import SoundspacesConfig
from bat_agent_soundspaces.engine import RATE_HZ, Acoustics, HeadQuery, Trace, align_onset, check_trace, direct_sample
from bat_agent_soundspaces.materials import find_material, load_materials
from bat_agent_soundspaces.worker import Pool

needs_engine = pytest.mark.skipif(
    find_spec("rlr_audio_propagation") is None,
    reason="needs the extra soundspaces",
)
FAST = Acoustics(rays=500, depth=50)
ROOM = Room((6.0, 3.0, 5.0), rt60_s=0.4)
TABLE = load_materials()


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(1, timeout_s=60.0, memory_limit_bytes=4 << 30)
    yield pool
    pool.close()


def material(name: str) -> Any:
    return find_material(name, TABLE)


def trace(acoustics: Acoustics = FAST, room: Room | None = ROOM, **changes: Any) -> Trace:
    geometry = None if room is None else box_geometry(room, material)
    made = Trace(acoustics, geometry, (2.0, 1.5, 2.0), 0.0, ((4.0, 1.2, 3.0),), "a test room")
    return replace(made, **changes)


def free_field(pool: Pool, output: str, *distances_m: float) -> list[np.ndarray]:
    acoustics = replace(FAST, output=output, indirect=False)
    sources = tuple((0.0, 0.0, -distance) for distance in distances_m)
    return pool.trace(trace(acoustics, None, listener_m=(0.0, 0.0, 0.0), sources_m=sources)).rirs


# --- what may go in ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"listener_m": (math.nan, 1.5, 2.0)}, "the listener must be at three finite numbers"),
        ({"sources_m": ((4.0, math.inf, 3.0),)}, "source 0 must be at three finite numbers"),
        ({"sources_m": ((4.0, 1.0, 3.0), (2.0, 1.5, 2.05))}, r"source 1 is 0\.050 m from the centre of the head"),
        ({"heading_deg": math.nan}, "heading of the listener must be a finite number"),
        ({"acoustics": replace(FAST, indirect_sh_order=4)}, "indirect_sh_order must be 0, 1, 2 or 3"),
        ({"acoustics": replace(FAST, output="stereo")}, "output must be one of"),
        ({"acoustics": replace(FAST, rays=0)}, "rays must lie in"),
        ({"acoustics": replace(FAST, hrtf="/nowhere/head.sofa")}, "HRTF /nowhere/head.sofa does not exist"),
        ({"acoustics": replace(FAST, hrtf="/nowhere/head.wav")}, "must be a file ending in .sofa"),
    ],
)
def test_what_would_crash_the_engine_is_refused_in_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_trace(trace(**changes))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vertices", np.full((8, 3), np.nan, np.float32), "vertices that are not finite"),
        ("faces", np.full((12, 3), 8, np.int32), r"vertices outside 0…7"),
        ("faces", np.zeros((0, 3), np.int32), "at least one face"),
        ("face_material", np.full(12, 99, np.int32), "one of its 6 materials"),
        ("face_material", np.zeros(3, np.int32), "one of its 6 materials"),
    ],
)
def test_broken_meshes_are_refused(field: str, value: np.ndarray, message: str) -> None:
    geometry = box_geometry(ROOM, material)
    assert geometry is not None
    with pytest.raises(BadInput, match=message):
        check_trace(trace(geometry=replace(geometry, **{field: value})))


def test_a_file_that_is_no_sofa_is_refused(tmp_path: Path) -> None:
    """The engine itself would print a line and go on with its own head."""
    path = tmp_path / "head.sofa"
    path.write_text("not HDF5")
    with pytest.raises(BadInput, match="is no SOFA file"):
        check_trace(trace(replace(FAST, hrtf=str(path))))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"quality": "best"}, "quality must be 'fast' or 'high'"),
        ({"output": "surround"}, "output must be 'binaural'"),
        ({"head_level": "loud"}, "head_level must be"),
        ({"indirect_sh_order": 4}, "indirect_sh_order must be 0 or 1 or 2 or 3"),
        ({"threads": 2}, "threads must be 1"),
        ({"hrtf": "head.wav"}, "ending in .sofa"),
        ({"hrtf": "head.sofa", "output": "mono"}, "hrtf needs output 'binaural'"),
        ({"rays": 0}, "rays must lie in"),
        ({"depth": 10_000}, "depth must lie in"),
        ({"max_seconds": math.nan}, "max_seconds must lie in"),
        ({"workers": 0}, "workers must lie in"),
        ({"timeout_s": 0.0}, "timeout_s must lie in"),
        ({"memory_limit_gb": 0.1}, "memory_limit_gb must lie in"),
        ({"min_distance_m": 5.0, "max_distance_m": 2.0}, "min_distance_m < max_distance_m"),
        ({"onset": "late"}, "onset must be"),
        ({"scenes": ""}, "scenes must be a mesh file"),
    ],
)
def test_bad_options_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        SoundspacesConfig(**option)


def test_presets_are_what_the_engine_and_soundspaces_use() -> None:
    fast, high = SoundspacesConfig(), SoundspacesConfig(quality="high")
    assert (fast.ray_count, fast.ray_depth) == (500, 50)
    assert (high.ray_count, high.ray_depth) == (5000, 200)
    assert SoundspacesConfig(quality="high", rays=7).ray_count == 7


@pytest.mark.parametrize(
    ("system", "machine", "libc", "words"),
    [
        ("darwin", "arm64", ("", ""), "Linux x86-64 only"),
        ("linux", "aarch64", ("glibc", "2.36"), "Linux x86-64 only"),
        ("linux", "x86_64", ("glibc", "2.28"), "glibc 2.29"),
        ("linux", "x86_64", ("", ""), "another C library"),
    ],
)
def test_other_machines_are_told_to_use_the_shoebox(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: tuple[str, str], words: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    with pytest.raises(PluginError, match=words) as error:
        engine.require_engine()
    assert "use the simulator 'shoebox'" in str(error.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    with pytest.raises(PluginError) as error:
        engine.require_engine()
    assert "'.[soundspaces]'" in str(error.value)
    assert "shoebox" in str(error.value)


def test_a_room_that_cannot_be_so_dead_is_refused() -> None:
    with pytest.raises(BadInput, match=r"cannot have rt60_s 0\.01"):
        box_geometry(Room((6.0, 3.0, 5.0), rt60_s=0.01), material)


# --- what comes out ---


@needs_engine
@pytest.mark.parametrize(("output", "latency"), [("mono", 0), ("binaural", 32)])
@pytest.mark.parametrize("onset", ["physical", "direct_at_zero"])
def test_onset_policy_holds_from_near_to_far(pool: Pool, output: str, latency: int, onset: str) -> None:
    """``physical``: peak of a frontal source at d/343 to a sample; ``direct_at_zero``: at sample 32, as released."""
    distances = (0.35, 0.5, 1.0, 2.0, 4.0, 10.0)
    for distance, rir in zip(distances, free_field(pool, output, *distances), strict=True):
        peak = int(np.abs(align_onset(rir, distance, latency, onset)).max(axis=0).argmax())
        expected = distance / 343 * RATE_HZ if onset == "physical" else 32
        assert abs(peak - expected) <= 1.0, f"{distance} m: {peak}, expected {expected:.1f}"


@needs_engine
def test_direct_sound_begins_where_the_formula_says(pool: Pool) -> None:
    distances = np.linspace(0.3, 12, 200)
    peaks = [int(np.abs(rir[0]).argmax()) for rir in free_field(pool, "mono", *distances)]
    off = np.array(peaks) - [direct_sample(distance) for distance in distances]
    assert np.abs(off).max() <= 1
    assert np.mean(off != 0) < 0.05


@needs_engine
def test_level_is_the_convention_and_halves_with_distance(pool: Pool) -> None:
    """Direct pressure 0.282/d before the head; 6.0 ± 0.3 dB per doubling from 1 m on."""
    gains = [float(np.abs(rir).max()) for rir in free_field(pool, "mono", 1.0, 2.0, 4.0, 8.0)]
    for gain, distance in zip(gains, (1.0, 2.0, 4.0, 8.0), strict=True):
        assert 20 * math.log10(gain * distance * math.sqrt(4 * math.pi)) == pytest.approx(0, abs=0.6)
    for near, far in itertools.pairwise(gains):
        assert 20 * math.log10(near / far) == pytest.approx(6.0, abs=0.3)


@needs_engine
def test_its_own_head_has_the_published_cues(pool: Pool) -> None:
    """Figures measured once on this engine: ILD 11.1 dB at 90°, mirror-symmetric; +7.5 dB straight ahead."""
    front, right, left = pool.head(HeadQuery(None, np.array([[0, 0, -1.0], [1, 0, 0], [-1, 0, 0]])))
    assert interaural_level_db(left) == pytest.approx(11.1, abs=0.1)
    assert interaural_level_db(right) == pytest.approx(-11.1, abs=0.1)
    assert interaural_time_s(left) == pytest.approx(0.00055, abs=0.00004)
    assert interaural_level_db(front) == pytest.approx(0.0, abs=0.01)
    assert 10 * math.log10(np.square(front[0]).sum()) == pytest.approx(7.5, abs=0.2)


@needs_engine
@pytest.mark.parametrize("rt60_s", [0.2, 0.4, 0.8])
def test_a_box_decays_in_the_time_asked_for(pool: Pool, rt60_s: float) -> None:
    room = Room((6.0, 3.0, 5.0), rt60_s)
    depth = max(50, box_depth(room, box_geometry(room, material)))
    [rir] = pool.trace(trace(replace(FAST, depth=depth), room)).rirs
    assert reverberation_time_s(rir) == pytest.approx(rt60_s, rel=0.15)


@needs_engine
def test_materials_shape_the_decay_over_frequency(pool: Pool) -> None:
    """Carpet on the floor takes highs rather than lows, as its absorption curve says."""
    from scipy.signal import butter, sosfiltfilt

    room = Room((6.0, 3.0, 5.0), 0.5, ("Carpet, Thin",))
    depth = max(50, box_depth(room, box_geometry(room, material)))
    [rir] = pool.trace(trace(replace(FAST, depth=depth), room)).rirs
    low, high = (
        reverberation_time_s(sosfiltfilt(butter(4, band, "bandpass", fs=RATE_HZ, output="sos"), rir))
        for band in ((125, 350), (3000, 8000))
    )
    assert low > 1.3 * high


@needs_engine
def test_ray_efficiency_tells_a_closed_box_from_one_without_ceiling(pool: Pool) -> None:
    geometry = box_geometry(ROOM, material)
    assert geometry is not None
    ceiling = geometry.face_material == 3
    leaky = replace(geometry, faces=geometry.faces[~ceiling], face_material=geometry.face_material[~ceiling])
    assert pool.trace(trace()).ray_efficiency > 0.99
    assert pool.trace(trace(geometry=leaky)).ray_efficiency < 0.9


@needs_engine
def test_same_trace_gives_the_same_bytes_in_another_process(pool: Pool) -> None:
    other = Pool(1, timeout_s=60.0, memory_limit_bytes=4 << 30)
    try:
        first, again, elsewhere = (one.trace(trace()).rirs[0] for one in (pool, pool, other))
    finally:
        other.close()
    assert first.tobytes() == again.tobytes() == elsewhere.tobytes()
    assert np.abs(first).max() > 0.01
