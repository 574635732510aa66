"""A scene: a room, a listener, sources; and the one drawing of the axes that everything else points to.

The frame is the one of SoundSpaces and habitat, right-handed, in metres (BAT, section 3.1)::

            seen from above                       seen from the right

                 front −z                              above +y
                    ^   azimuth 90                        ^   elevation +90
                    |                                     |
     left −x  <-----o----->  +x right        front −z <---o---> +z behind
    azimuth 180     |      azimuth 0                      |
                    v                                     v   elevation −90
                 behind +z                             below −y
                   azimuth 270

From the listener to a source, d = (dx, dy, dz) in the listener's frame:

* distance  = ‖d‖
* azimuth   = atan2(−dz, dx), degrees in [0, 360), counter-clockwise seen from above, 0 = right, 90 = front
* elevation = atan2(dy, √(dx² + dz²)), degrees in [−90, 90]

The listener's heading turns this frame counter-clockwise seen from above; heading 0 faces −z.
A shoebox room occupies 0…size on each axis.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, NamedTuple

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json

Vector = tuple[float, float, float]
Onset = Literal["physical", "direct_at_zero"]
STANDING_HEIGHT_M = 1.5


class Position(NamedTuple):
    """Where a source is, as the listener hears it."""

    azimuth_deg: float
    elevation_deg: float
    distance_m: float

    @property
    def region(self) -> str:
        """One of the eight regions in words, e.g. ``left, front, above`` (BAT, section 3.2)."""
        return region(self.azimuth_deg, self.elevation_deg)


@dataclass(frozen=True)
class Room:
    """A rectangular room that occupies 0…``size_m`` on each axis."""

    size_m: Vector
    """Extent along x, y (height) and z, metres."""
    rt60_s: float | None = 0.3
    """Reverberation time at mid frequencies (500 Hz … 1 kHz), seconds. ``None`` leaves it to the materials; without
    materials either, it is free field (direct sound only)."""
    materials: tuple[str, ...] = ()
    """Names of wall materials, which set how absorption depends on frequency and wall: none (all walls equal, no
    dependence), one for all walls, or six in the order x = 0, x = size, floor, ceiling, z = 0, z = size."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_m", _vector("room size_m", self.size_m))
        materials = (self.materials,) if isinstance(self.materials, str) else tuple(self.materials)
        object.__setattr__(self, "materials", materials)
        if len(materials) not in (0, 1, 6):
            raise BadInput(
                f"room materials must be one name, or six in the order x = 0, x = size, floor, ceiling, z = 0, "
                f"z = size, got {len(materials)}"
            )
        if min(self.size_m) <= 0:
            raise BadInput(f"room size_m must be positive on every axis, got {self.size_m}")
        if self.rt60_s is not None and not (_is_number(self.rt60_s) and 0 < self.rt60_s < 20):
            raise BadInput(f"room rt60_s must lie in (0, 20) seconds or be null for free field, got {self.rt60_s!r}")

    def _in_words(self) -> str:
        return f"room {' × '.join(f'{size:.3g}' for size in self.size_m)} m"

    def contains(self, position_m: Vector) -> bool:
        """Whether a point lies strictly inside the room."""
        return all(0 < p < s for p, s in zip(position_m, self.size_m, strict=True))


@dataclass(frozen=True)
class MeshRoom:
    """A room given by a triangle mesh (GLB, OBJ or PLY), in the frame of this module."""

    path: str
    """File of the mesh."""
    materials: str | None = None
    """File of the acoustic material table; ``None`` takes the simulator's default."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further acoustic parameters of the simulator that rendered it."""

    def _in_words(self) -> str:
        return f"mesh …{self.path[-23:]}" if len(self.path) > 24 else f"mesh {self.path}"

    def contains(self, position_m: Vector) -> bool:
        """Always true: only the simulator that reads the mesh can tell."""
        return True


@dataclass(frozen=True)
class Listener:
    """A head with two ears."""

    position_m: Vector
    """Centre of the head, metres."""
    heading_deg: float = 0.0
    """Turn of the head, counter-clockwise seen from above; 0 faces −z."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "position_m", _vector("listener position_m", self.position_m))
        if not (_is_number(self.heading_deg) and math.isfinite(self.heading_deg)):
            raise BadInput(f"listener heading_deg must be a finite number of degrees, got {self.heading_deg!r}")


@dataclass(frozen=True)
class Source:
    """A point that emits sound."""

    position_m: Vector
    """Position, metres."""
    labels: tuple[str, ...] = ()
    """What sounds, as display names of the 355-class table."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "position_m", _vector("source position_m", self.position_m))
        labels = (self.labels,) if isinstance(self.labels, str) else tuple(self.labels)
        object.__setattr__(self, "labels", labels)


@dataclass(frozen=True)
class Scene:
    """Everything a simulator needs to make the same room impulse responses again."""

    room: Room | MeshRoom
    listener: Listener
    sources: tuple[Source, ...]
    seed: int = 0
    """Seed of everything random in rendering (diffuse tail, jitter)."""
    onset: Onset = "physical"
    """``physical`` keeps the propagation delay; ``direct_at_zero`` removes it as the released RIRs do."""
    simulator: dict[str, Any] = field(default_factory=dict, hash=False)
    """``{"name": …, "options": {…}}`` of the simulator that drew the scene, all that matters for rendering it again;
    empty where a person wrote it (:func:`bat_agent.scenes.rendering.simulator_of`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        if self.onset not in ("physical", "direct_at_zero"):
            raise BadInput(f"scene onset must be 'physical' or 'direct_at_zero', got {self.onset!r}")
        if not isinstance(self.simulator, dict) or (self.simulator and "name" not in self.simulator):
            raise BadInput(f"scene simulator must be a mapping with name and options, got {self.simulator!r}")
        if not self.room.contains(self.listener.position_m):
            raise BadInput(_outside("the listener", self.listener.position_m, self.room))
        for number, source in enumerate(self.sources):
            if not self.room.contains(source.position_m):
                raise BadInput(_outside(f"source {number}", source.position_m, self.room))

    def __repr__(self) -> str:
        named = [source.labels[0] if source.labels else "unnamed" for source in self.sources]
        sources = ", ".join(label if len(label) <= 16 else f"{label[:15]}…" for label in named[:2])
        more = f", {len(named) - 2} more" if len(named) > 2 else ""
        x, y, z = self.listener.position_m
        return f"Scene({self.room._in_words()}, listener ({x:.3g}, {y:.3g}, {z:.3g}) m, [{sources}{more}])"

    def positions(self) -> list[Position]:
        """Where each source is, as the listener hears it (heading included)."""
        return [relative_position(self.listener, source.position_m) for source in self.sources]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict; the inverse of :meth:`from_dict`."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """One line of JSON; the inverse of :meth:`from_json`."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Scene:
        """Read what :meth:`to_dict` wrote; also what a person writes in a YAML file."""
        if not isinstance(data, dict):
            raise BadInput(f"a scene must be a mapping with room, listener and sources, got {type(data).__name__}")
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := set(data) - known:
            raise BadInput(f"scene has unknown fields {sorted(unknown)}; known are {sorted(known)}")
        if missing := {"room", "listener", "sources"} - set(data):
            raise BadInput(f"scene lacks {sorted(missing)}")
        room = data["room"]
        part = _part(MeshRoom if isinstance(room, dict) and "path" in room else Room, "room", room)
        listener = _part(Listener, "listener", data["listener"])
        if not isinstance(data["sources"], (list, tuple)):
            raise BadInput(f"scene sources must be a list, got {data['sources']!r}")
        sources = tuple(_part(Source, f"source {number}", entry) for number, entry in enumerate(data["sources"]))
        seed = data.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise BadInput(f"scene seed must be a whole number, got {seed!r}")
        return cls(part, listener, sources, seed, data.get("onset", "physical"), data.get("simulator") or {})

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """Read what :meth:`to_json` wrote."""
        try:
            return cls.from_dict(parse_json(text))
        except json.JSONDecodeError as error:
            raise BadInput(f"scene is no JSON: {error}") from error


def relative_position(listener: Listener, point_m: Vector) -> Position:
    """Position of a point in the listener's frame (formulae and drawing: top of this module).

    Raises :class:`~bat_agent.errors.BadInput` where point and listener coincide, as no direction exists there.
    """
    dx, dy, dz = (p - q for p, q in zip(point_m, listener.position_m, strict=True))
    distance = math.sqrt(dx * dx + dy * dy + dz * dz)
    if distance < 1e-9:
        raise BadInput(f"a source lies exactly in the listener at {listener.position_m}; move one of them")
    azimuth = _wrap(math.degrees(math.atan2(-dz, dx)) - listener.heading_deg)
    return Position(azimuth, math.degrees(math.atan2(dy, math.hypot(dx, dz))), distance)


def check_outside_head(listener_m: Sequence[float], sources_m: Sequence[Sequence[float]], least_m: float) -> None:
    """Refuse a source nearer than ``least_m`` to the centre of the head, where a simulator knows no direction."""
    for number, source_m in enumerate(sources_m):
        if (distance := math.dist(source_m, listener_m)) < least_m:
            raise BadInput(
                f"source {number} is {distance:.3f} m from the centre of the head; it must be at least {least_m} m "
                "away, outside the head"
            )


def point_at(listener: Listener, position: Position) -> Vector:
    """The point in the room that is heard at ``position``; the inverse of :func:`relative_position`."""
    dx, dy, dz = unit_vector(position.azimuth_deg + listener.heading_deg, position.elevation_deg)
    x, y, z = listener.position_m
    r = position.distance_m
    return (x + r * dx, y + r * dy, z + r * dz)


def unit_vector(azimuth_deg: float, elevation_deg: float) -> Vector:
    """(cos el cos az, sin el, −cos el sin az): the direction as a unit vector of this module's frame."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    return (
        math.cos(elevation) * math.cos(azimuth),
        math.sin(elevation),
        -math.cos(elevation) * math.sin(azimuth),
    )


def angle_between_deg(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Great-circle angle between two directions (azimuth_deg, elevation_deg), in degrees."""
    a, b = unit_vector(*first), unit_vector(*second)
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    # atan2 of cross and dot keeps its precision at 0° and 180°, where acos loses half the digits.
    return math.degrees(math.atan2(math.hypot(*cross), sum(p * q for p, q in zip(a, b, strict=True))))


def region(azimuth_deg: float, elevation_deg: float) -> str:
    """The eight regions: left/right by the sign of dx, front/behind of −dz, above/below of dy (BAT, section 3.2).

    A direction exactly on a border counts as right, front, above.
    """
    dx, dy, dz = unit_vector(azimuth_deg, elevation_deg)
    tiny = 1e-12  # a border direction must not fall to either side by rounding
    return ", ".join(
        ("left" if dx < -tiny else "right", "behind" if dz > tiny else "front", "below" if dy < -tiny else "above")
    )


def mirror_azimuth_deg(azimuth_deg: float) -> float:
    """Azimuth after swapping the ears: x changes sign, so az → 180 − az."""
    return _wrap(180.0 - azimuth_deg)


# --- converters to other frames; each pair is its own inverse (tested by round trip) ---


def azimuth_to_ccw_from_front(azimuth_deg: float) -> float:
    """To the azimuth of SOFA and DCASE: 0 = front, counter-clockwise, (−180, 180]."""
    return 180.0 - _wrap(270.0 - azimuth_deg)


def azimuth_from_ccw_from_front(azimuth_ccw_deg: float) -> float:
    """From the azimuth of SOFA and DCASE (0 = front, counter-clockwise) to ours in [0, 360)."""
    return _wrap(azimuth_ccw_deg + 90.0)


def to_front_left_up(vector: Vector) -> Vector:
    """To ROS REP-103 body axes, also those of SOFA and DCASE: x forward, y left, z up."""
    x, y, z = vector
    return (-z, -x, y)


def from_front_left_up(vector: Vector) -> Vector:
    """From ROS REP-103, SOFA and DCASE axes (x forward, y left, z up) to ours."""
    forward, left, up = vector
    return (-left, up, -forward)


def heading_to_habitat_quaternion(heading_deg: float) -> tuple[float, float, float, float]:
    """Heading as habitat's agent rotation, a quaternion (w, x, y, z) about +y."""
    half = math.radians(heading_deg) / 2
    return (math.cos(half), 0.0, math.sin(half), 0.0)


def heading_from_habitat_quaternion(rotation_wxyz: tuple[float, float, float, float]) -> float:
    """Heading in [0, 360) of a habitat agent rotation (w, x, y, z); tilt is dropped."""
    w, x, y, z = rotation_wxyz
    forward_x, forward_z = -2 * (x * z + w * y), -(1 - 2 * (x * x + y * y))
    return _wrap(math.degrees(math.atan2(-forward_x, -forward_z)))


def _wrap(angle_deg: float) -> float:
    """To [0, 360); twice, because a tiny negative angle modulo 360 rounds up to 360 itself."""
    return angle_deg % 360.0 % 360.0


def _vector(name: str, value: Any) -> Vector:
    try:
        x, y, z = (float(v) for v in value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{name} must be three numbers (x, y, z) in metres, got {value!r}") from error
    if not all(math.isfinite(v) for v in (x, y, z)):
        raise BadInput(f"{name} must be finite, got {value!r}")
    return (x, y, z)


def _part(kind: type[Any], name: str, values: Any) -> Any:
    """One part of a scene from its mapping; what is missing or unknown is told by name."""
    if not isinstance(values, dict):
        raise BadInput(f"scene {name} must be a mapping, got {values!r}")
    known = dataclasses.fields(kind)
    needed = {f.name for f in known if f.default is f.default_factory is dataclasses.MISSING}
    if unknown := set(values) - {f.name for f in known}:
        raise BadInput(f"scene {name} has unknown fields {sorted(unknown)}; known are {[f.name for f in known]}")
    if missing := needed - set(values):
        raise BadInput(f"scene {name} lacks {sorted(missing)}")
    return kind(**values)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _outside(what: str, position_m: Vector, room: Room | MeshRoom) -> str:
    return f"{what} at {position_m} lies outside the room, which occupies 0…{getattr(room, 'size_m', '?')} m"
