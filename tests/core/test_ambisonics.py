"""Ambisonics: channels against published formulae, files that name themselves, a plane wave against the simulator."""

from __future__ import annotations

import importlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

import bat_agent
from bat_agent.ambisonics import Renderer, to_ambix, to_ears
from bat_agent.ambisonics.formats import guess, named_form
from bat_agent.ambisonics.harmonics import harmonics, n3d_weights, turn
from bat_agent.ambisonics.head import head_table, points_on_sphere
from bat_agent.errors import BadInput
from bat_agent.recordings import Recording
from bat_agent.scene import Listener, Room, Scene, Source, from_front_left_up

RATE_HZ = 32_000
Array = np.ndarray


def cartesian(x: Array, y: Array, z: Array) -> list[Array]:
    """ACN/SN3D up to order 3 as polynomials (the table of AmbiX; x front, y left, z up)."""
    third, fifth = np.sqrt(3), np.sqrt(15)
    return [
        np.ones_like(x), y, z, x,
        third * x * y, third * y * z, (3 * z**2 - 1) / 2, third * x * z, third / 2 * (x**2 - y**2),
        np.sqrt(5 / 8) * y * (3 * x**2 - y**2), fifth * x * y * z, np.sqrt(3 / 8) * y * (5 * z**2 - 1),
        z * (5 * z**2 - 3) / 2, np.sqrt(3 / 8) * x * (5 * z**2 - 1), fifth / 2 * z * (x**2 - y**2),
        np.sqrt(5 / 8) * x * (x**2 - 3 * y**2),
    ]  # fmt: skip


def malham(azimuth: Array, elevation: Array) -> dict[str, Array]:
    """FuMa, letter by letter, as its table has it (azimuth to the left, elevation up)."""
    sin, cos, s = np.sin, np.cos, np.sin(elevation)
    flat = np.cos(elevation)
    return {
        "W": np.full_like(azimuth, np.sqrt(0.5)), "X": cos(azimuth) * flat, "Y": sin(azimuth) * flat, "Z": s,
        "R": (3 * s**2 - 1) / 2, "S": cos(azimuth) * sin(2 * elevation), "T": sin(azimuth) * sin(2 * elevation),
        "U": cos(2 * azimuth) * flat**2, "V": sin(2 * azimuth) * flat**2,
        "K": s * (5 * s**2 - 3) / 2,
        "L": np.sqrt(135 / 256) * cos(azimuth) * flat * (5 * s**2 - 1),
        "M": np.sqrt(135 / 256) * sin(azimuth) * flat * (5 * s**2 - 1),
        "N": np.sqrt(27 / 4) * cos(2 * azimuth) * s * flat**2, "O": np.sqrt(27 / 4) * sin(2 * azimuth) * s * flat**2,
        "P": cos(3 * azimuth) * flat**3, "Q": sin(3 * azimuth) * flat**3,
    }  # fmt: skip


def some_directions(count: int, rng: np.random.Generator) -> Array:
    vectors = rng.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def diffuse(channels: int, rng: np.random.Generator, seconds: float = 1.0) -> Array:
    """60 waves from everywhere, as (channels, N) of ACN/SN3D."""
    directions = some_directions(60, rng)
    waves = np.array(cartesian(*directions.T))[:channels]
    return waves @ rng.standard_normal((60, round(seconds * RATE_HZ))) / 60


# --- channels ---


def test_harmonics_are_those_of_ambix(rng: np.random.Generator) -> None:
    directions = some_directions(50, rng)
    np.testing.assert_allclose(harmonics(directions, 3), np.stack(cartesian(*directions.T), axis=-1), atol=1e-12)


def test_harmonics_in_n3d_are_orthonormal() -> None:
    waves = harmonics(points_on_sphere(20_000), 3) * n3d_weights(3)
    np.testing.assert_allclose(waves.T @ waves / len(waves), np.eye(16), atol=2e-3)


@pytest.mark.parametrize(
    "letters",
    ["WXY", "WXYZ", "WXYUV", "WXYZUV", "WXYUVPQ", "WXYZUVPQ", "WXYZRSTUV", "WXYZRSTUVPQ", "WXYZRSTUVKLMNOPQ"],
)
def test_fuma_becomes_ambix(letters: str, rng: np.random.Generator) -> None:
    """What a file lacks is silent: 3, 5 and 7 channels hold the horizontal plane alone."""
    directions = some_directions(20, rng)
    azimuth, elevation = np.arctan2(directions[:, 1], directions[:, 0]), np.arcsin(directions[:, 2])
    given = malham(azimuth, elevation)
    found = to_ambix(np.array([given[letter] for letter in letters]), "fuma")
    wanted = np.array(cartesian(*directions.T))
    acn = {letter: n for n, letter in enumerate("WYZXVTRSUQOMKLNP")}
    for number, channel in enumerate(found):
        has = number in [acn[letter] for letter in letters]
        np.testing.assert_allclose(channel, wanted[number] if has else 0.0, atol=1e-6)


def test_n3d_becomes_ambix_and_other_numbers_are_refused(rng: np.random.Generator) -> None:
    sound = rng.standard_normal((9, 5))
    scaled = sound * np.sqrt([1, 3, 3, 3, 5, 5, 5, 5, 5])[:, None]
    np.testing.assert_allclose(to_ambix(scaled, "n3d"), sound, rtol=1e-5)
    for form, count in (("ambix", 5), ("n3d", 3), ("fuma", 10)):
        with pytest.raises(BadInput, match=f"got {count}"):
            to_ambix(np.zeros((count, 4)), form)  # type: ignore[arg-type]


@pytest.mark.parametrize("heading_deg", [30.0, -135.0])
def test_a_turned_head_hears_the_world_turned_the_other_way(heading_deg: float, rng: np.random.Generator) -> None:
    directions = some_directions(10, rng)
    cos, sin = np.cos(np.radians(heading_deg)), np.sin(np.radians(heading_deg))
    x, y, z = directions.T
    seen = np.stack([x * cos + y * sin, y * cos - x * sin, z], axis=-1)
    np.testing.assert_allclose(turn(harmonics(directions, 3).T, heading_deg), harmonics(seen, 3).T, atol=1e-12)


# --- files ---


def wavex(samples: Array, rate_hz: int, tag: int, guid_tail: str) -> bytes:
    """A WAVE_FORMAT_EXTENSIBLE file by hand: Dobson's B-format has subformats of its own."""
    raw = samples.T.astype("<f4").tobytes() if tag == 3 else np.round(samples.T * 32767).astype("<i2").tobytes()
    bits, count = (32 if tag == 3 else 16), len(samples)
    guid = struct.pack("<I", tag) + bytes.fromhex(guid_tail)
    block = count * bits // 8
    form = struct.pack("<HHIIHHHHI", 0xFFFE, count, rate_hz, rate_hz * block, block, bits, 22, bits, 0) + guid
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(raw)) + raw
    return b"RIFF" + struct.pack("<I", len(body)) + body


B_FORMAT, PLAIN = "2107d3118644c8c1ca000000", "000010008000 00aa00389b71".replace(" ", "")


@pytest.mark.parametrize("tag", [1, 3])
def test_wavex_says_that_it_is_b_format(tag: int, rng: np.random.Generator) -> None:
    sound = 0.1 * rng.standard_normal((4, 800))
    for guid, wanted in ((B_FORMAT, "fuma"), (PLAIN, None)):
        with soundfile.SoundFile(io.BytesIO(wavex(sound, RATE_HZ, tag, guid))) as file:
            assert named_form(file, "a.wav") == wanted
            assert named_form(file, "a.AMB") == "fuma"


def test_energies_tell_formats_apart_and_microphones_from_both(rng: np.random.Generator) -> None:
    """1 in SN3D, 2 in FuMa; microphones side by side have 3, as has N3D."""
    field = diffuse(4, rng)
    fuma = field[[0, 3, 1, 2]] * np.array([[np.sqrt(0.5)], [1], [1], [1]])
    assert guess(field, RATE_HZ) == "ambix"
    assert guess(fuma, RATE_HZ) == "fuma"
    assert guess(rng.standard_normal((4, RATE_HZ)), RATE_HZ) is None
    assert guess(np.zeros((4, RATE_HZ)), RATE_HZ) is None
    x, y, z = 0.6, -0.64, 0.48
    one = np.array([[1.0], [y], [z], [x]]) * rng.standard_normal(RATE_HZ)
    assert guess(one, RATE_HZ) == "ambix"


def test_a_recording_knows_what_it_is(tmp_path: Path, rng: np.random.Generator) -> None:
    field = 0.1 * diffuse(4, rng)
    for name, sound, wanted in (
        ("a.wav", field, "ambix"),
        ("b.wav", rng.standard_normal((4, RATE_HZ)) * 0.1, None),
        ("c.wav", rng.standard_normal((6, RATE_HZ)) * 0.1, None),
    ):
        soundfile.write(tmp_path / name, sound.T, RATE_HZ, subtype="FLOAT")
        if wanted:
            recording = Recording(tmp_path / name)
            assert recording.form == wanted
            assert any("do" not in note and "ambix" in note for note in recording.notes)
        else:
            with pytest.raises(BadInput, match="--channels 1,2"):
                Recording(tmp_path / name)
            assert Recording(tmp_path / name, channels=(2, 4)).read().shape == (2, RATE_HZ)
    (tmp_path / "d.amb").write_bytes(wavex(field, 48_000, 1, B_FORMAT))
    recording = Recording(tmp_path / "d.amb")
    assert recording.form == "fuma"
    assert abs(recording.read().shape[1] - round(RATE_HZ * RATE_HZ / 48_000)) <= 1


# --- ears ---


@pytest.mark.parametrize("channels", [4, 9, 16])
@pytest.mark.parametrize("number", [40, 900, 1700])
def test_a_plane_wave_is_heard_as_the_simulator_renders_it(
    channels: int, number: int, rng: np.random.Generator
) -> None:
    """A source 240 samples away in free field; below −30 dB is what the model cannot hear."""
    direction = points_on_sphere(2000)[number]
    away = np.array(from_front_left_up(tuple(direction)))  # type: ignore[arg-type]
    centre, late = np.full(3, 10.0), 240
    distance_m = late * 343.0 / RATE_HZ
    scene = Scene(Room((20.0,) * 3, None), Listener(tuple(centre)), (Source(tuple(centre + distance_m * away)),))
    (rir,) = bat_agent.load_simulator("shoebox").render(scene)
    # Bursts: a source is found where sound begins.
    burst = rng.standard_normal(RATE_HZ) * (np.arange(RATE_HZ) % 8000 < 4000)
    wanted = np.array([np.convolve(burst, ear) for ear in rir.numpy().astype(np.float64)])[:, late : late + RATE_HZ]
    field = np.array(cartesian(*direction))[:channels, None] * burst * 0.28209479 / distance_m
    found = to_ears(field)
    assert found.shape == (2, RATE_HZ)
    inner = slice(2000, -2000)
    left = ((found - wanted)[:, inner] ** 2).sum() / (wanted[:, inner] ** 2).sum()
    assert 10 * np.log10(left) < -30


@pytest.mark.parametrize("channels", [4, 16])
def test_a_diffuse_field_is_as_loud_at_the_ears_as_the_head_has_it(channels: int, rng: np.random.Generator) -> None:
    field = diffuse(channels, rng, 3.0)
    heard = (to_ears(field) ** 2).mean()
    gain = (head_table().responses.astype(np.float64) ** 2).sum(axis=-1).mean()
    assert 10 * np.log10(heard / (field[0] ** 2).mean() / gain) == pytest.approx(0, abs=1.5)


def test_pieces_give_what_the_whole_gives(rng: np.random.Generator) -> None:
    field = diffuse(4, rng, 5.0).astype(np.float32)
    whole = to_ears(field)
    renderer = Renderer(4)
    cuts = np.sort(rng.integers(0, field.shape[1], 12))
    parts = [renderer.push(piece) for piece in np.split(field, cuts, axis=1)]
    np.testing.assert_allclose(np.concatenate([*parts, renderer.finish()], axis=1), whole, atol=1e-5)
    assert whole.shape == (2, field.shape[1])


@pytest.mark.parametrize("samples", [1, 200, 3000, 72_000, 72_001])
def test_every_length_comes_out_as_it_went_in_and_silence_silent(samples: int) -> None:
    ears = to_ears(np.zeros((4, samples), np.float32))
    assert ears.shape == (2, samples)
    assert not ears.any()


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(BadInput, match="4, 9, 16"):
        to_ears(np.zeros((5, 100), np.float32))


def test_directions_are_those_of_the_binaural_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few scenes, so a wide margin; the bars are means of 8° and 4° over 200, in benchmarks/bench_ambisonics.py."""
    pytest.importorskip("scipy", "1.15")  # sph_harm_y
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    bench = importlib.import_module("bench_ambisonics")
    bat = bat_agent.load()
    angles: dict[str, list[float]] = {}
    for one in bench.scenes(5, seed=0, seconds=4.0):
        for way, angle in bench.differences(bat, one).items():
            angles.setdefault(way, []).append(angle)
    assert np.median(angles["first order"]) < 12
    assert np.median(angles["third order"]) < 6
