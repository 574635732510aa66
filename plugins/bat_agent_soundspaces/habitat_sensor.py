"""habitat-sim's own audio sensor, in every generation of its interface, and the test that says whether to trust it.

Facts (habitat-sim source, v0.2.2 … v0.3.4 and branch ``RLRAudioPropagationUpdate``) that shape this file:

* v0.3.1 … v0.3.4 hand the coordinates y, z and a stray number to the engine as the source position, whatever was asked
  for. Only listening to the result shows it: :func:`self_test`.
* Specifications take any attribute (``py::dynamic_attr``), so a field of the other generation is swallowed in silence
  and reads back as written: a field is set only where the *class* has it.
* Defaults differ between generation, header and manual, so every field is set.
* A sensor registered with the simulator is rendered at every step, and up to v0.3.3 must be named ``audio_sensor``.
  The sensors here hang on a node of their own and are never registered; they bear that name all the same.
* ``reset()`` of a sensor loses its material table for good, so that a fresh context means a fresh sensor.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bat_agent.interfaces import DIRECT_GAIN_AT_1M, SAMPLE_RATE_HZ
from bat_agent.scene import Listener, Position, Vector, heading_to_habitat_quaternion, point_at
from bat_agent.sound.rir_measures import interaural_level_db
from bat_agent_soundspaces.engine import align_onset, direct_sample
from bat_agent_soundspaces.habitat_api import module_of

UUID = "audio_sensor"
LEAST_ILD_DB = 3.0
MOST_FRONT_ILD_DB = 2.0
TEST_DISTANCE_M = 1.0
LEAST_FREE_M = 0.4
"""Half of it is the shortest distance tested, where the engine still gives sound a direction."""
MOST_LATENCY = 80
LEVEL_TOLERANCE_DB = 1.0
"""The engine's own law is up to 0.6 dB from 0.282/d (measured, 0.5 … 8 m): so little is left alone."""
TRAVEL_TOLERANCE = 8
"""Samples; a metre takes 93."""


class SensorRefused(Exception):
    """Why the audio sensor of this build is not used, as the end of a sentence."""


@dataclass(frozen=True)
class SensorSettings:
    """What the audio sensor is asked for."""

    rays: int = 500
    depth: int = 50
    threads: int = 1
    max_seconds: float = 4.0
    materials: str | None = None
    """Material table; ``None`` renders everything with the engine's default material."""
    layout: Literal["Binaural", "Ambisonics"] = "Binaural"
    channels: int = 2
    direct_only: bool = False


@dataclass(frozen=True)
class SelfTest:
    """What the sensor made of a source to the right, to the left, in front, and to the right of a turned head."""

    passed: bool
    reason: str
    """Why it failed; empty where it passed."""
    ild_db: dict[str, float]
    """Left over right, of ``right``, ``left``, ``front`` and ``turned``."""
    latency_samples: int = 0
    """From the arrival of sound to the largest sample of a frontal source."""
    scale: float = 1.0
    """Factor that brings the direct sound to the gain 0.282/d."""

    def __str__(self) -> str:
        levels = ", ".join(f"{name} {level:+.1f}" for name, level in self.ild_db.items()) or "not measured"
        return f"{'passed' if self.passed else f'failed: {self.reason}'} (ILD left over right in dB: {levels})"


class AudioSensor:
    """One audio sensor with one acoustic context, on a scene node of its own.

    Never build one where :func:`~bat_agent_soundspaces.habitat_api.build_of` says that there is no audio: the process
    would end. Raises :class:`SensorRefused` where the build lacks something that is needed.
    """

    def __init__(self, sim: Any, settings: SensorSettings) -> None:
        module = module_of(sim)
        if not getattr(module, "audio_enabled", False):
            raise SensorRefused("habitat-sim was built without audio")
        self._sim, self._factory = sim, _factory(module)
        specification = _specification(module, settings)
        node = sim.get_active_scene_graph().get_root_node().create_child()
        made = self._factory.create_sensors(node, [specification])
        self._sensor = (made or node.subtree_sensors)[UUID]
        if settings.materials:
            # Before the first render; once the mesh is loaded, habitat-sim ignores it with a warning.
            self._sensor.setAudioMaterialsJSON(settings.materials)

    def render(self, listener: Listener, source_m: Vector) -> np.ndarray:
        """IR (channels, samples) float32 as the engine gives it; its length varies from call to call."""
        sensor = self._sensor
        sensor.setAudioSourceTransform(np.array(source_m))
        sensor.setAudioListenerTransform(
            np.array(listener.position_m), np.array(heading_to_habitat_quaternion(listener.heading_deg))
        )
        sensor.runSimulation(self._sim)
        samples = np.asarray(sensor.getIR(), dtype=np.float32)
        if samples.ndim != 2 or samples.shape[1] == 0 or not np.isfinite(samples).all():
            raise SensorRefused(f"it rendered no finite sound (shape {samples.shape})")
        return samples

    def close(self) -> None:
        """Take the sensor out of the scene and free its context."""
        if self._sensor is not None:
            with contextlib.suppress(AttributeError):  # the oldest factories cannot delete; then it stays, unused
                self._factory.delete_sensor(self._sensor)
            self._sensor = None

    def abandon(self) -> None:
        """Forget the sensor without touching it: the scene that held it is gone."""
        self._sensor = None


def self_test(sim: Any, places: list[tuple[Vector, float]]) -> SelfTest:
    """Listen to direct sound from known directions.

    ``places`` are pairs of a listener position and the metres around it that are free; one that passes is enough, as a
    piece of furniture may hide a source. Touches the sensor, so only for builds with audio.
    """
    result = SelfTest(False, f"no place with {LEAST_FREE_M} m of free space around was found to test it", {})
    for place, free_m in places:
        if free_m < LEAST_FREE_M:
            continue
        try:
            result = _test_at(sim, place, min(TEST_DISTANCE_M, free_m))
        except SensorRefused as refused:
            result = SelfTest(False, str(refused), {})
        except Exception as error:  # an interface that nobody has seen yet must not end what the engine can do
            result = SelfTest(False, f"it raised {type(error).__name__}: {' '.join(str(error).split())[:200]}", {})
        if result.passed:
            break
    return result


def align(samples: np.ndarray, distance_m: float, test: SelfTest, onset: str) -> np.ndarray:
    """Level and onset as everywhere in the library (:func:`bat_agent_soundspaces.engine.align_onset`)."""
    moved = align_onset(samples, distance_m, test.latency_samples, onset)
    return moved * np.float32(test.scale)


def _test_at(sim: Any, place: Vector, distance_m: float) -> SelfTest:
    ahead, turned = Listener(place), Listener(place, heading_deg=90.0)
    directions = {"right": (ahead, 0.0), "left": (ahead, 180.0), "front": (ahead, 90.0), "turned": (turned, 0.0)}
    settings = SensorSettings(direct_only=True)
    with contextlib.closing(AudioSensor(sim, settings)) as sensor:
        heard = {name: _hear(sensor, head, azimuth, distance_m) for name, (head, azimuth) in directions.items()}
        near = _hear(sensor, ahead, 90.0, distance_m / 2)
    levels = {name: interaural_level_db(samples) for name, samples in heard.items()}
    if reason := _wrong_side(levels):
        return SelfTest(False, reason, levels)
    late, late_near = (_late(heard["front"], distance_m), _late(near, distance_m / 2))
    if abs(late - late_near) > TRAVEL_TOLERANCE:
        return SelfTest(False, "its direct sound does not take the time to travel", levels)
    if not 0 <= late <= MOST_LATENCY:
        return SelfTest(False, f"its direct sound arrives {1000 * late / SAMPLE_RATE_HZ:.1f} ms late", levels)
    with contextlib.closing(AudioSensor(sim, replace(settings, layout="Ambisonics", channels=1))) as sensor:
        gain = _low_gain(_hear(sensor, ahead, 90.0, distance_m))
    if not gain > 1e-6:
        return SelfTest(False, "the level of its direct sound cannot be measured", levels)
    scale = DIRECT_GAIN_AT_1M / distance_m / gain
    as_it_should_be = abs(20 * math.log10(scale)) < LEVEL_TOLERANCE_DB
    return SelfTest(True, "", levels, late, 1.0 if as_it_should_be else scale)


def _hear(sensor: AudioSensor, head: Listener, azimuth_deg: float, distance_m: float) -> np.ndarray:
    samples = sensor.render(head, point_at(head, Position(azimuth_deg, 0.0, distance_m)))
    if not np.abs(samples).max() > 0:
        raise SensorRefused("it is silent")
    return samples


def _wrong_side(levels: dict[str, float]) -> str:
    if abs(levels["right"] - levels["left"]) < 0.5:
        return "left and right sound alike, so it puts the source in the wrong place (habitat-sim 0.3.1 to 0.3.4 do)"
    if levels["right"] > -LEAST_ILD_DB or levels["left"] < LEAST_ILD_DB:
        return "the ear on the side of the source is not the louder one"
    if abs(levels["front"]) > MOST_FRONT_ILD_DB:
        return "a source in front is louder in one ear"
    return "" if levels["turned"] <= -LEAST_ILD_DB else "it does not follow the turn of the head"


def _late(samples: np.ndarray, distance_m: float) -> int:
    """Samples from the arrival of the direct sound to the largest one."""
    return int(np.abs(samples).max(axis=0).argmax()) - direct_sample(distance_m)


def _low_gain(samples: np.ndarray) -> float:
    """Root mean square gain between 200 Hz and 1 kHz."""
    taps = max(4096, samples.shape[1])
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64), taps))
    frequency_hz = np.fft.rfftfreq(taps, 1 / SAMPLE_RATE_HZ)
    band = spectrum[:, (frequency_hz >= 200) & (frequency_hz <= 1000)]
    return math.sqrt(float(np.square(band).mean()))


# --- the specification, field by field ---


def _factory(module: Any) -> Any:
    for holder in (module, getattr(module, "sensor", None), getattr(module, "bindings", None)):
        if (factory := getattr(holder, "SensorFactory", None)) is not None:
            return factory
    raise SensorRefused("this build has no SensorFactory, so a sensor would be rendered at every step")


def _specification(module: Any, settings: SensorSettings) -> Any:
    specification = module.AudioSensorSpec()
    _set(specification, UUID, "uuid")
    _set(specification, str(Path(tempfile.gettempdir()) / "bat-agent-habitat"), "outputDirectory", needed=False)
    acoustics = specification.acousticsConfig
    _set_acoustics(acoustics, settings)
    # Branch and main keep this switch in different places.
    wanted = settings.materials is not None
    places = [_set(specification, wanted, "enableMaterials", needed=False)]
    places.append(_set(acoustics, wanted, "enableMaterials", needed=False))
    if not any(places):
        raise SensorRefused("its field enableMaterials is missing")
    layout, kinds = specification.channelLayout, module.RLRAudioPropagationChannelLayoutType
    _set(layout, getattr(kinds, settings.layout), "channelType", "type")
    _set(layout, settings.channels, "channelCount")
    specification.acousticsConfig, specification.channelLayout = acoustics, layout
    return specification


def _set_acoustics(acoustics: Any, settings: SensorSettings) -> None:
    """Every field that any generation has, as none of the defaults can be relied on."""
    for name, value in {
        "sampleRate": SAMPLE_RATE_HZ,
        "frequencyBands": 4,
        "directSHOrder": 3,
        "indirectSHOrder": 1,
        "threadCount": settings.threads,
        "unitScale": 1.0,
        "globalVolume": 1.0,
        "indirectRayCount": settings.rays,
        "indirectRayDepth": settings.depth,
        "sourceRayCount": 200,
        "sourceRayDepth": 10,
        "maxDiffractionOrder": 10,
        "direct": True,
        "indirect": not settings.direct_only,
        "diffraction": not settings.direct_only,
        "transmission": not settings.direct_only,
        "meshSimplification": False,
        "temporalCoherence": False,
    }.items():
        _set(acoustics, value, name)
    _set(acoustics, settings.max_seconds, "irTime", "maxIRLength")
    for name, value in {
        "updateDt": 0.02,
        "dumpWaveFiles": False,
        "writeIrToFile": False,
        "directRayCount": 500,
    }.items():
        _set(acoustics, value, name, needed=False)


def _set(target: Any, value: Any, *names: str, needed: bool = True) -> bool:
    """Set the one of ``names`` that the class has and read it back; whether there was one."""
    for name in names:
        if hasattr(type(target), name):
            setattr(target, name, value)
            kept = getattr(target, name)
            same = math.isclose(kept, value, rel_tol=1e-5) if isinstance(value, float) else kept == value
            if not same:
                raise SensorRefused(f"its field {name} stays {kept!r} when set to {value!r}")
            return True
    if needed:
        raise SensorRefused(f"its field {' or '.join(names)} is missing")
    return False
