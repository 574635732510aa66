"""Geometry of a scene against the drawing's known directions, scipy's rotations and the other frames' definitions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bat_agent import scene as sc
from bat_agent.errors import BadInput
from bat_agent.scene import Listener, MeshRoom, Position, Room, Scene, Source

ROOT_HALF = math.sqrt(0.5)
HERE = Listener((4.0, 1.5, 4.0))
azimuths = st.floats(0, 359.999)
elevations = st.floats(-89, 89)
angles = st.floats(-720, 720)
coordinates = st.floats(-50, 50)
vectors = st.tuples(coordinates, coordinates, coordinates)
listeners = st.builds(Listener, vectors, angles)


def gap_deg(first: float, second: float) -> float:
    """Angle between two bearings, across 360 if that is shorter."""
    return abs((first - second + 180) % 360 - 180)


# (dx, dy, dz) from the listener, and what the drawing says of it
DRAWN = [
    ((1, 0, 0), (0, 0), "right, front, above"),
    ((0, 0, -1), (90, 0), "right, front, above"),
    ((-1, 0, 0), (180, 0), "left, front, above"),
    ((0, 0, 1), (270, 0), "right, behind, above"),
    ((1, 0, -1), (45, 0), "right, front, above"),
    ((-1, 0, 1), (225, 0), "left, behind, above"),
    ((-1, 0, -1), (135, 0), "left, front, above"),
    ((0, 1, -1), (90, 45), "right, front, above"),
    ((1, -math.sqrt(2), 1), (315, -45), "right, behind, below"),
    ((-1, -1, -math.sqrt(2)), (90 + math.degrees(math.atan(ROOT_HALF)), -30), "left, front, below"),
]


@pytest.mark.parametrize(("offset", "direction", "words"), DRAWN)
def test_directions_of_the_drawing(offset: tuple, direction: tuple, words: str) -> None:
    point = tuple(p + o for p, o in zip(HERE.position_m, offset, strict=True))
    position = sc.relative_position(HERE, point)
    assert position[:2] == pytest.approx(direction, abs=1e-9)
    assert position.distance_m == pytest.approx(math.hypot(*offset))
    assert position.region == words


def test_straight_up_and_down() -> None:
    assert sc.relative_position(HERE, (4.0, 2.5, 4.0)).elevation_deg == pytest.approx(90)
    assert sc.relative_position(HERE, (4.0, 0.5, 4.0)).elevation_deg == pytest.approx(-90)


@given(listeners, azimuths, elevations, st.floats(0.1, 20))
def test_point_at_and_relative_position_are_inverse(
    listener: Listener, azimuth: float, elevation: float, distance: float
) -> None:
    there = sc.relative_position(listener, sc.point_at(listener, Position(azimuth, elevation, distance)))
    assert gap_deg(there.azimuth_deg, azimuth) < 1e-6
    assert there.elevation_deg == pytest.approx(elevation, abs=1e-6)
    assert there.distance_m == pytest.approx(distance, abs=1e-9)


@given(vectors, angles, vectors.filter(lambda v: math.hypot(v[0], v[2]) > 1e-3))
def test_heading_is_a_rotation_about_y(position: tuple, heading: float, offset: tuple) -> None:
    """The room turned the other way about +y (scipy) is heard by an unturned head as the turned head hears it."""
    point = tuple(np.add(position, offset))
    turned = Rotation.from_euler("y", -heading, degrees=True).apply(np.subtract(point, position))
    heard = sc.relative_position(Listener(position, heading), point)
    wanted = sc.relative_position(Listener((0, 0, 0)), tuple(turned))
    assert gap_deg(heard.azimuth_deg, wanted.azimuth_deg) < 1e-6
    assert heard.elevation_deg == pytest.approx(wanted.elevation_deg, abs=1e-6)
    assert heard.distance_m == pytest.approx(wanted.distance_m)


def test_turning_left_moves_the_front_to_the_right() -> None:
    """Heading is counter-clockwise from above: facing left (90), what was in front is at the right ear."""
    ahead = (4.0, 1.5, 2.0)
    assert sc.relative_position(Listener(HERE.position_m, 90.0), ahead).azimuth_deg == pytest.approx(0, abs=1e-9)
    assert gap_deg(sc.relative_position(Listener(HERE.position_m, -90.0), ahead).azimuth_deg, 180) < 1e-9


@given(listeners, vectors)
def test_azimuth_stays_in_its_range(listener: Listener, point: tuple) -> None:
    if math.dist(listener.position_m, point) > 1e-6:
        position = sc.relative_position(listener, point)
        assert 0 <= position.azimuth_deg < 360
        assert -90 <= position.elevation_deg <= 90


@pytest.mark.parametrize(
    "wrapped",
    [
        pytest.param(lambda: sc.relative_position(Listener((0, 0, 0)), (1.0, 0.0, 1e-20)).azimuth_deg, id="behind"),
        pytest.param(lambda: sc.mirror_azimuth_deg(math.nextafter(180.0, 181.0)), id="mirror"),
        pytest.param(lambda: sc.azimuth_from_ccw_from_front(math.nextafter(-90.0, -91.0)), id="sofa"),
        pytest.param(lambda: sc.heading_from_habitat_quaternion((1.0, 0.0, -1e-18, 0.0)), id="habitat"),
    ],
)
def test_a_hair_below_zero_does_not_become_360(wrapped) -> None:
    """In Python (−1e-15) % 360 is 360.0, which is no azimuth bin."""
    assert 0 <= wrapped() < 360


@given(azimuths, elevations)
def test_unit_vector_has_length_one(azimuth: float, elevation: float) -> None:
    assert math.hypot(*sc.unit_vector(azimuth, elevation)) == pytest.approx(1)


@given(azimuths, elevations, azimuths, elevations)
def test_angle_between_agrees_with_numpy(az1: float, el1: float, az2: float, el2: float) -> None:
    a, b = np.array(sc.unit_vector(az1, el1)), np.array(sc.unit_vector(az2, el2))
    wanted = 2 * math.degrees(math.asin(min(1.0, float(np.linalg.norm(a - b)) / 2)))  # chord of the unit circle
    assert sc.angle_between_deg((az1, el1), (az2, el2)) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "angle"),
    [
        ((0, 0), (0, 0), 0),
        ((0, 0), (180, 0), 180),
        ((0, 0), (90, 0), 90),
        ((37, 90), (200, 60), 30),
        ((10, 0), (350, 0), 20),
    ],
)
def test_angle_between_known_directions(first: tuple, second: tuple, angle: float) -> None:
    assert sc.angle_between_deg(first, second) == pytest.approx(angle, abs=1e-9)


@pytest.mark.parametrize(
    ("direction", "words"),
    [
        ((0, 0), "right, front, above"),
        ((90, 0), "right, front, above"),
        ((180, 0), "left, front, above"),
        ((270, 0), "right, behind, above"),
        ((90.5, 0), "left, front, above"),
        ((180.5, 0), "left, behind, above"),
        ((269.5, -0.5), "left, behind, below"),
        ((359.5, -0.5), "right, behind, below"),
        ((89.5, -0.5), "right, front, below"),
        ((45, -90), "right, front, below"),
    ],
)
def test_region_borders(direction: tuple, words: str) -> None:
    """BAT, section 3.2: left is dx < 0, behind is −dz < 0, below is dy < 0; a border is right, front, above."""
    assert sc.region(*direction) == words


@given(vectors.filter(lambda v: min(map(abs, v)) > 1e-3))
def test_region_is_the_signs_of_the_offset(offset: tuple) -> None:
    dx, dy, dz = offset
    wanted = ("left" if dx < 0 else "right", "front" if dz < 0 else "behind", "above" if dy > 0 else "below")
    assert sc.relative_position(Listener((0, 0, 0)), offset).region == ", ".join(wanted)


@given(azimuths, elevations)
def test_mirror_changes_the_sign_of_x_only(azimuth: float, elevation: float) -> None:
    x, y, z = sc.unit_vector(azimuth, elevation)
    assert sc.unit_vector(sc.mirror_azimuth_deg(azimuth), elevation) == pytest.approx((-x, y, z))
    assert gap_deg(sc.mirror_azimuth_deg(sc.mirror_azimuth_deg(azimuth)), azimuth) < 1e-9


# --- other frames ---


@pytest.mark.parametrize(("ours", "sofa"), [(90, 0), (180, 90), (0, -90), (270, 180), (225, 135), (315, -135)])
def test_azimuth_of_sofa_and_dcase(ours: float, sofa: float) -> None:
    """0 is the front, +90 the left ear, 180 behind (AES69, DCASE task 3)."""
    assert sc.azimuth_to_ccw_from_front(ours) == pytest.approx(sofa)
    assert sc.azimuth_from_ccw_from_front(sofa) == pytest.approx(ours)


@given(azimuths)
def test_azimuth_of_sofa_round_trip(azimuth: float) -> None:
    there = sc.azimuth_to_ccw_from_front(azimuth)
    assert -180 < there <= 180
    assert gap_deg(sc.azimuth_from_ccw_from_front(there), azimuth) < 1e-9


@given(azimuths, elevations)
def test_both_ways_into_the_frame_of_sofa_agree(azimuth: float, elevation: float) -> None:
    """Vector converter and azimuth converter meet: atan2(left, forward) is the azimuth there, up the elevation."""
    forward, left, up = sc.to_front_left_up(sc.unit_vector(azimuth, elevation))
    assert gap_deg(math.degrees(math.atan2(left, forward)), sc.azimuth_to_ccw_from_front(azimuth)) < 1e-6
    assert math.degrees(math.asin(max(-1.0, min(1.0, up)))) == pytest.approx(elevation, abs=1e-6)


@given(vectors)
def test_front_left_up_round_trip(vector: tuple) -> None:
    assert sc.from_front_left_up(sc.to_front_left_up(vector)) == vector


def test_front_left_up_is_a_rotation() -> None:
    """Ours and ROS REP-103 are both right-handed: no mirror image in between."""
    columns = np.array([sc.to_front_left_up(axis) for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]).T
    assert np.linalg.det(columns) == pytest.approx(1)
    assert sc.to_front_left_up((0, 0, -1)) == (1, 0, 0)


@given(angles)
def test_habitat_quaternion_turns_the_forward_axis(heading: float) -> None:
    """scipy's rotation by habitat's quaternion brings −z to where the listener faces."""
    w, x, y, z = sc.heading_to_habitat_quaternion(heading)
    faced = Rotation.from_quat([x, y, z, w]).apply([0, 0, -1])
    assert sc.relative_position(Listener((0, 0, 0), heading), tuple(faced))[:2] == pytest.approx((90, 0), abs=1e-6)
    for sign in (1, -1):  # q and −q are the same rotation
        back = sc.heading_from_habitat_quaternion((sign * w, sign * x, sign * y, sign * z))
        assert gap_deg(back, heading) < 1e-6


def test_habitat_quaternion_as_measured() -> None:
    """habitat: (√½, 0, √½, 0) faces −x, which is a quarter turn to the left."""
    assert sc.heading_from_habitat_quaternion((ROOT_HALF, 0, ROOT_HALF, 0)) == pytest.approx(90)


# --- the scene itself ---

inside = st.tuples(st.floats(0.01, 4.99), st.floats(0.01, 2.49), st.floats(0.01, 3.99))
scenes = st.builds(
    Scene,
    st.builds(Room, st.just((5.0, 2.5, 4.0)), st.none() | st.floats(0.05, 3)),
    st.builds(Listener, inside, angles),
    st.lists(st.builds(Source, inside, st.lists(st.text(max_size=8), max_size=3)), max_size=3),
    st.integers(0, 2**63 - 1),
    st.sampled_from(["physical", "direct_at_zero"]),
)


@given(scenes)
def test_scene_comes_back_from_json(scene: Scene) -> None:
    assert Scene.from_json(scene.to_json()) == scene
    assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene
    assert "\n" not in scene.to_json()


def test_mesh_scene_comes_back_from_json() -> None:
    room = MeshRoom("house.glb", "materials.json", {"rays": 500, "direct": True})
    scene = Scene(room, Listener((0, 1.5, -3), 30), (Source((1, 1, 1), "Dog"),), seed=7)
    assert Scene.from_json(scene.to_json()) == scene
    assert scene.sources[0].labels == ("Dog",)


def test_positions_are_those_of_the_listener() -> None:
    sources = (Source((3.0, 1.0, 1.0)), Source((1.0, 2.0, 2.0)))
    scene = Scene(Room((5, 3, 5)), Listener((3.0, 1.0, 2.0), 90.0), sources)
    first, second = scene.positions()
    assert first == pytest.approx((0, 0, 1), abs=1e-9)  # one metre ahead in the room, at the right ear once turned
    assert second == pytest.approx((90, math.degrees(math.atan2(1, 2)), math.sqrt(5)))


ROOM, EAR, DOG = {"size_m": [5, 3, 5]}, {"position_m": [2, 1.5, 2]}, {"position_m": [1, 1, 1]}
GOOD = {"room": ROOM, "listener": EAR, "sources": [DOG]}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"room": {"size_m": [5, 3]}}, "room size_m must be three numbers"),
        ({"room": {"size_m": [5, -3, 5]}}, "must be positive"),
        ({"room": {"size_m": [5, 3, 5], "rt60_s": 0}}, "rt60_s must lie in"),
        ({"room": {"size_m": [5, 3, 5], "rt60_s": "long"}}, "rt60_s must lie in .* got 'long'"),
        ({"room": {"size": [5, 3, 5]}}, r"room has unknown fields \['size'\]"),
        ({"room": [5, 3, 5]}, "room must be a mapping"),
        ({"room": {"size_m": [5, 3, 5], "materials": ["brick", "wood"]}}, "one name, or six"),
        ({"listener": {}}, r"listener lacks \['position_m'\]"),
        ({"sources": {"position_m": [1, 1, 1]}}, "sources must be a list"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"listener": {"position_m": [9, 1, 1]}}, r"the listener at \(9.0, 1.0, 1.0\) lies outside"),
        ({"listener": {"position_m": ["a", 1, 1]}}, "listener position_m must be three numbers"),
        ({"sources": [DOG, {"position_m": [1, 1, 5]}]}, r"source 1 at .* lies outside the room.*5.0, 3.0, 5.0"),
        ({"sources": [{"position_m": [1, float("nan"), 1]}]}, "source position_m must be finite"),
        ({"onset": "late"}, "onset must be 'physical' or 'direct_at_zero', got 'late'"),
        ({"source": []}, r"unknown fields \['source'\]"),
    ],
)
def test_malformed_scene_is_refused_in_words(change: dict, complaint: str) -> None:
    assert Scene.from_dict(GOOD).sources == (Source((1, 1, 1)),)
    with pytest.raises(BadInput, match=complaint):
        Scene.from_dict(GOOD | change)


def test_incomplete_scene_is_refused() -> None:
    with pytest.raises(BadInput, match=r"lacks \['listener', 'sources'\]"):
        Scene.from_dict({"room": ROOM})


def test_source_in_the_head_has_no_direction() -> None:
    scene = Scene(Room((5, 3, 5)), Listener((2, 1.5, 2)), (Source((2, 1.5, 2)),))
    with pytest.raises(BadInput, match="exactly in the listener"):
        scene.positions()
