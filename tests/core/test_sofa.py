"""Heads from SOFA files of every convention and flaw, written by sofar and netCDF4 from heads with known answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from bat_agent.errors import BadInput
from bat_agent.sound.rir_measures import interaural_level_db, interaural_time_s
from bat_agent.sound.sofa import MeasuredHead, nearest_ring, read_sofa
from bat_agent_shoebox.hrtf import sphere_response

sofar = pytest.importorskip("sofar")
netCDF4 = pytest.importorskip("netCDF4")

RATE_HZ, TAPS = 32_000, 256
Array = np.ndarray


def unit(azimuth_deg: Any, elevation_deg: Any) -> Array:
    azimuth, elevation = np.radians(np.asarray(azimuth_deg, float)), np.radians(np.asarray(elevation_deg, float))
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], -1)


AZIMUTH, ELEVATION = (part.ravel() for part in np.meshgrid(np.arange(0, 360, 15.0), np.arange(-60, 61, 30.0)))
DIRECTIONS = unit(AZIMUTH, ELEVATION)
LEFT = int(np.flatnonzero((AZIMUTH == 90) & (ELEVATION == 0))[0])
COUNT = len(DIRECTIONS)


def spectra(directions: Array, rate_hz: float, taps: int = TAPS, centre_s: float = 0.002) -> Array:
    """(M, 2, taps/2 + 1) of a rigid sphere with ears 100° aside, left first, sound at the centre after ``centre_s``."""
    hz = np.fft.rfftfreq(taps, 1 / rate_hz)
    ears = []
    for ear_deg in (100.0, -100.0):
        incidence = np.degrees(np.arccos(np.clip(directions @ unit(ear_deg, 0.0), -1, 1)))
        ears.append(sphere_response(incidence, hz) * np.exp(-2j * np.pi * hz * centre_s))
    both = np.stack(ears, 1)
    both[..., 0], both[..., -1] = 1, np.abs(both[..., -1])
    return both


HRIR = np.fft.irfft(spectra(DIRECTIONS, RATE_HZ), TAPS)
SPHERICAL = np.stack([AZIMUTH, ELEVATION, np.full(COUNT, 1.4)], 1)


def write(path: Path, convention: str = "SimpleFreeFieldHRIR", **fields: Any) -> str:
    data = sofar.Sofa(convention)
    if convention == "SimpleFreeFieldHRIR":
        data.Data_IR, data.Data_SamplingRate = HRIR, RATE_HZ
    data.SourcePosition = SPHERICAL
    for name, value in fields.items():
        setattr(data, name, value)
    sofar.write_sofa(str(path), data)
    return str(path)


def edit(path: str, change: Callable[[Any], None]) -> str:
    """What sofar would not write, written into the file by netCDF4."""
    with netCDF4.Dataset(path, "a") as file:
        change(file)
    return path


def heard(head: MeasuredHead, direction: Array) -> tuple[float, float]:
    """ILD and ITD at a direction, delays included."""
    row = int((head.directions @ direction).argmax())
    assert head.directions[row] @ direction > np.cos(np.radians(1))
    size = 1024
    turn = np.exp(-2j * np.pi * np.outer(head.delay[row], np.fft.rfftfreq(size)))
    ears = np.fft.irfft(np.fft.rfft(head.hrir[row], size) * turn, size)
    return interaural_level_db(ears), interaural_time_s(ears, RATE_HZ)


def assert_same_head(head: MeasuredHead, level_db: float = 0.5, time_s: float = 20e-6) -> None:
    """ITD and ILD of the sphere at the left and all around."""
    for row in (LEFT, *range(0, COUNT, 7)):
        ild, itd = heard(head, DIRECTIONS[row])
        assert ild == pytest.approx(interaural_level_db(HRIR[row]), abs=level_db), DIRECTIONS[row]
        assert itd == pytest.approx(interaural_time_s(HRIR[row], RATE_HZ), abs=time_s), DIRECTIONS[row]


# --- conventions ----------------------------------------------------------------------------------------------------


def test_simple_responses(tmp_path: Path) -> None:
    head = read_sofa(write(tmp_path / "a.sofa"), RATE_HZ)
    assert_same_head(head)
    np.testing.assert_allclose(head.directions, DIRECTIONS, atol=1e-9)
    assert head.radius_m == pytest.approx(1.4)


def test_an_unknown_version_is_read_by_its_content(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        file.SOFAConventionsVersion, file.Version = "7.3", "9.9"

    assert_same_head(read_sofa(edit(write(tmp_path / "a.sofa"), change), RATE_HZ))


def test_loudspeakers_measured_at_once(tmp_path: Path) -> None:
    """FreeFieldHRIR: one measurement, all directions as emitters (M, R, N, E), with a delay of each."""
    late = 3.0 + 2.5 * DIRECTIONS[:, 1]
    hz = np.fft.rfftfreq(TAPS)
    moved = np.fft.irfft(np.fft.rfft(HRIR) * np.exp(2j * np.pi * np.outer(late, hz))[:, None], TAPS)
    path = write(
        tmp_path / "e.sofa", "FreeFieldHRIR", Data_IR=moved.transpose(1, 2, 0)[None], Data_SamplingRate=RATE_HZ,
        Data_Delay=np.stack([late, late])[None], SourcePosition=np.zeros((1, 3)), EmitterPosition=SPHERICAL,
        EmitterPosition_Type="spherical", EmitterPosition_Units="degree, degree, metre",
    )  # fmt: skip
    assert_same_head(read_sofa(path, RATE_HZ))


@pytest.mark.parametrize("lowest_hz", [0.0, 100.0])
def test_spectra(tmp_path: Path, lowest_hz: float) -> None:
    """SimpleFreeFieldHRTF to 20 kHz, sound at the centre at time 0: the near ear hears it before."""
    rate_hz, taps = 40_000, 400
    hz = np.fft.rfftfreq(taps, 1 / rate_hz)
    kept = hz >= lowest_hz
    of = spectra(DIRECTIONS, rate_hz, taps, centre_s=0.0)[..., kept]
    path = write(tmp_path / "s.sofa", "SimpleFreeFieldHRTF", Data_Real=of.real, Data_Imag=of.imag, N=hz[kept])
    assert_same_head(read_sofa(path, RATE_HZ))


def test_spectra_at_uneven_frequencies(tmp_path: Path) -> None:
    hz = np.unique(np.concatenate([np.arange(50, 2000, 50.0), np.geomspace(2000, 20_000, 120)]))
    ears = []
    for ear_deg in (100.0, -100.0):
        incidence = np.degrees(np.arccos(np.clip(DIRECTIONS @ unit(ear_deg, 0.0), -1, 1)))
        ears.append(sphere_response(incidence, hz) * np.exp(-2j * np.pi * hz * 0.001))
    of = np.stack(ears, 1)
    path = write(tmp_path / "s.sofa", "SimpleFreeFieldHRTF", Data_Real=of.real, Data_Imag=of.imag, N=hz)
    assert_same_head(read_sofa(path, RATE_HZ), level_db=0.7, time_s=25e-6)


def test_second_order_sections(tmp_path: Path) -> None:
    """Low-passes for the far ear and delays: what scipy makes of them, and the delays between."""
    far = 1 - np.clip(DIRECTIONS @ [0, 1, 0], -1, 1) * np.array([[1], [-1]])
    sos = np.zeros((COUNT, 2, 12))
    for row in range(COUNT):
        for ear in (0, 1):
            one = butter(4, 12_000 - 5_000 * far[ear, row], fs=RATE_HZ, output="sos")
            one[0, :3] *= 1 - 0.3 * far[ear, row]
            sos[row, ear] = one.ravel()
    late = 10 + 8 * far.T
    path = write(tmp_path / "f.sofa", "SimpleFreeFieldHRSOS", Data_SOS=sos, Data_SamplingRate=RATE_HZ, Data_Delay=late)
    head = read_sofa(path, RATE_HZ)
    impulse = np.eye(1, 1024)[0]
    want = np.stack([sosfilt(sos[LEFT, ear].reshape(-1, 6), impulse) for ear in (0, 1)])
    np.testing.assert_allclose(head.hrir[LEFT], want, atol=1e-9)
    shifted = np.stack([np.roll(ear, moved) for ear, moved in zip(want, (10, 26), strict=True)])
    assert heard(head, DIRECTIONS[LEFT])[1] == pytest.approx(interaural_time_s(shifted, RATE_HZ), abs=5e-6)
    np.testing.assert_allclose(head.delay, late)


# --- frames, units and order ----------------------------------------------------------------------------------------


def test_radians_are_understood_where_they_are_named(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        file["SourcePosition"][:, :2] = np.radians(SPHERICAL[:, :2])
        file["SourcePosition"].Units = "radian, radian, metre"

    assert_same_head(read_sofa(edit(write(tmp_path / "a.sofa"), change), RATE_HZ))


def test_cartesian_positions_in_centimetres(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        file["SourcePosition"][:] = DIRECTIONS * 140
        file["SourcePosition"].Type, file["SourcePosition"].Units = "cartesian", "centimetre"

    head = read_sofa(edit(write(tmp_path / "a.sofa"), change), RATE_HZ)
    assert_same_head(head)
    assert head.radius_m == pytest.approx(1.4)


def test_right_ear_first_in_spherical_coordinates_and_delays_of_each_measurement(tmp_path: Path) -> None:
    late = np.stack([4 - 3 * DIRECTIONS[:, 1], 4 + 3 * DIRECTIONS[:, 1]], 1)
    hz = np.fft.rfftfreq(TAPS)
    moved = np.fft.irfft(np.fft.rfft(HRIR) * np.exp(2j * np.pi * late[..., None] * hz), TAPS)
    path = write(tmp_path / "a.sofa", Data_IR=moved[:, ::-1], Data_Delay=late[:, ::-1])

    def change(file: Any) -> None:
        file["ReceiverPosition"][:] = np.array([[270, 0, 0.09], [90, 0, 0.09]])[..., None]
        file["ReceiverPosition"].Type, file["ReceiverPosition"].Units = "spherical", "degree, degree, metre"

    assert_same_head(read_sofa(edit(path, change), RATE_HZ))


def test_one_delay_for_each_ear(tmp_path: Path) -> None:
    """All of the right ear's responses begin 6 samples early, which the delay makes up for."""
    moved = HRIR.copy()
    moved[:, 1] = np.roll(HRIR[:, 1], -6, axis=-1)
    path = write(tmp_path / "a.sofa", Data_IR=moved, Data_Delay=np.array([[0.0, 6.0]]))
    assert_same_head(read_sofa(path, RATE_HZ))


def test_a_listener_that_turns_instead_of_the_sources(tmp_path: Path) -> None:
    """One loudspeaker in front of the room; the head turns away from it for each measurement."""
    flat = ELEVATION == 0
    view = unit(-AZIMUTH[flat], ELEVATION[flat])
    path = write(
        tmp_path / "t.sofa", Data_IR=HRIR[flat], SourcePosition=np.array([[0.0, 0.0, 1.4]]), ListenerView=view,
        ListenerUp=np.tile([0.0, 0.0, 1.0], (int(flat.sum()), 1)),
    )  # fmt: skip
    head = read_sofa(path, RATE_HZ)
    np.testing.assert_allclose(head.directions, DIRECTIONS[flat], atol=1e-6)
    assert heard(head, DIRECTIONS[LEFT])[0] == pytest.approx(interaural_level_db(HRIR[LEFT]), abs=0.1)


@pytest.mark.parametrize(("distance_m", "radius_m"), [(1.5, 1.0), (0.6, 0.5), (0.1, 0.2)])
def test_of_several_radii_the_nearest_is_taken(tmp_path: Path, distance_m: float, radius_m: float) -> None:
    """Rings at 0.2, 0.5 and 1 m in no order; the nearer, the louder the near ear."""
    radii = np.repeat([0.5, 0.2, 1.0], COUNT)
    louder = np.repeat([1.3, 2.0, 1.0], COUNT)[:, None, None] ** np.sign(np.tile(DIRECTIONS[:, 1], 3))[:, None, None]
    hrir = np.tile(HRIR, (3, 1, 1)) * np.concatenate([louder, 1 / louder], axis=1)
    mixed = np.random.default_rng(0).permutation(3 * COUNT)
    places = np.concatenate([np.tile(SPHERICAL[:, :2], (3, 1)), radii[:, None]], 1)
    path = write(tmp_path / "r.sofa", Data_IR=hrir[mixed], SourcePosition=places[mixed])
    head = read_sofa(path, RATE_HZ, distance_m=distance_m)
    assert len(head.hrir) == COUNT
    assert head.radius_m == radius_m
    gain_db = 40 * np.log10({1.0: 1.0, 0.5: 1.3, 0.2: 2.0}[radius_m])
    assert heard(head, DIRECTIONS[LEFT])[0] == pytest.approx(interaural_level_db(HRIR[LEFT]) + gain_db, abs=0.1)


def test_a_ring_measured_by_hand_stays_whole() -> None:
    radii = np.array([1.18, 1.25, 1.2, 1.31, 1.22, 0.6])
    assert nearest_ring(radii, 1.5).tolist() == [True] * 5 + [False]


# --- what is no head ------------------------------------------------------------------------------------------------


def exchanged(file: Any) -> None:
    file["ReceiverPosition"][:] = -file["ReceiverPosition"][:]


def rolled(file: Any) -> None:
    """Sound of the near ear wraps from the beginning to the end."""
    file["Data.IR"][:] = np.roll(HRIR, -58, axis=-1)


def called_degrees(file: Any) -> None:
    file["SourcePosition"][:, :2] = np.radians(SPHERICAL[:, :2])


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        (exchanged, "ears exchanged"),
        (rolled, "apart, which no head is|within 10 ms"),
        (called_degrees, "called degrees"),
    ],
)
def test_what_sounds_like_no_head_is_refused_or_remarked_on(tmp_path: Path, flaw: Any, words: str) -> None:
    path = edit(write(tmp_path / "a.sofa"), flaw)
    with pytest.raises(BadInput, match=words):
        read_sofa(path, RATE_HZ)
    with pytest.warns(UserWarning, match=words):
        assert len(read_sofa(path, RATE_HZ, allow_implausible=True).hrir) == COUNT


def test_a_room_is_no_head(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    long = np.concatenate([HRIR, 0.1 * rng.standard_normal((COUNT, 2, 4000))], axis=-1)
    with pytest.raises(BadInput, match="within 10 ms"):
        read_sofa(write(tmp_path / "r.sofa", Data_IR=long), RATE_HZ)


def test_units_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        file["SourcePosition"].Units = "gon, gon, metre"

    with pytest.raises(BadInput, match="gon, gon, metre"):
        read_sofa(edit(write(tmp_path / "a.sofa"), change), RATE_HZ)


def test_a_file_that_claims_what_it_does_not_hold_spends_no_memory(tmp_path: Path) -> None:
    """Chunks that were never written take no room in the file, and 160 TB of memory when they are read."""
    path = write(tmp_path / "a.sofa")
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("Data.IR", "Data.Old")
        file.createDimension("many", 10**7)
        file.createDimension("long", 10**6)
        file.createVariable("Data.IR", "f8", ("many", "R", "long"), zlib=True, chunksizes=(1, 2, 64))
    with pytest.raises(BadInput, match="would become 160,000,000,000,000"):
        read_sofa(path, RATE_HZ)
