"""The audio sensor of the stand-in: a head with 12 dB between the ears, in each generation's signatures."""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy as np

from habitat_stand_in.generations import Abort, Generation
from habitat_stand_in.house import SceneNode, occluded

ENGINE_SPEED = 344.0
HEAD_DELAY = 32


def _bound(name: str, default: Any) -> property:
    """A field as pybind binds it: on the class."""
    return property(
        lambda self: self.__dict__.get(f"_{name}", default),
        lambda self, value: self.__dict__.update({f"_{name}": value}),
    )


COMMON_FIELDS = {
    "sampleRate": 44100, "frequencyBands": 4, "directSHOrder": 3, "indirectSHOrder": 1, "threadCount": 1,
    "unitScale": 1.0, "indirectRayCount": 5000, "indirectRayDepth": 200, "sourceRayCount": 200, "sourceRayDepth": 10,
    "maxDiffractionOrder": 10, "direct": True, "indirect": True, "diffraction": True, "transmission": True,
    "meshSimplification": False, "temporalCoherence": False,
}  # fmt: skip
MAIN_FIELDS = COMMON_FIELDS | {
    "updateDt": 0.02, "irTime": 4.0, "globalVolume": 0.25, "dumpWaveFiles": False, "enableMaterials": True,
    "writeIrToFile": False,
}  # fmt: skip
BRANCH_FIELDS = COMMON_FIELDS | {"maxIRLength": 4.0, "globalVolume": 1.0, "directRayCount": 500}


def closed_class(name: str, fields: dict[str, Any]) -> type:
    """A class that refuses attributes it does not have."""

    def __init__(self: Any) -> None:
        for key, value in fields.items():
            setattr(self, key, value)

    return type(name, (), {"__slots__": tuple(fields), "__init__": __init__})


def rotate_into_head(vector: np.ndarray, wxyz: Any) -> np.ndarray:
    """World to head: the inverse rotation of a unit quaternion."""
    w, u = wxyz[0], -np.array(wxyz[1:4], float)
    return vector + 2 * np.cross(u, np.cross(u, vector) + w * vector)


def impulse_response(
    listener: np.ndarray, wxyz: Any, source: np.ndarray, config: Any, kind: str, level: float, rng: Any
) -> list[list[float]]:
    """Direct sound 0.282/d with an ILD of 12 dB to the side, in nested lists; reflections are noise of any length."""
    rate = config.sampleRate
    relative = rotate_into_head(source - listener, wxyz)
    distance = float(np.linalg.norm(relative))
    channels = 2 if kind == "Binaural" else 1
    start = max(round((distance - 0.1) / ENGINE_SPEED * rate), 0)
    taps = start + 200 + int(rng.integers(50))
    if config.indirect:
        taps += 40 * config.indirectRayDepth
    samples = np.zeros((channels, taps))
    if config.indirect:
        samples[:, start + 200 :] += 0.002 * rng.standard_normal((channels, taps - start - 200))
    gain = level * config.globalVolume / math.sqrt(4 * math.pi) / distance * (0.01 if occluded(listener, source) else 1)
    side = relative[0] / distance
    if kind == "Binaural":
        samples[0, start + HEAD_DELAY] = gain * 10 ** (-6 * side / 20)
        samples[1, start + HEAD_DELAY] = gain * 10 ** (6 * side / 20)
    else:
        samples[0, start] = gain
    return samples.tolist()


def sensor_class(generation: Generation, events: list[Any], simulator: type) -> type:
    layout_field = "type" if generation.branch else "channelType"

    class AudioSensor:
        def __init__(self, node: SceneNode, spec: Any) -> None:
            self.node, self._spec = node, spec
            self._context: Any = None
            self._source = self._listener = None
            self._table: str | None = None
            self._new = True
            self._output: Any = None

        def specification(self) -> Any:
            return self._spec

        def _create(self) -> None:
            if self._context is None:
                self._context, self._new = np.random.default_rng(7), True

        def setAudioMaterialsJSON(self, path: str) -> None:
            if self._context is not None and not self._new:
                events.append(("materials ignored", path))
                return
            self._table = path
            events.append(("materials", path))

        def setAudioSourceTransform(self, position: np.ndarray) -> None:
            if generation.branch:
                self._create()
            self._source = np.array(position, float).reshape(3)

        def setAudioListenerTransform(self, position: np.ndarray, rotation: np.ndarray) -> None:
            self._create()
            self._listener = (np.array(position, float).reshape(3), np.array(rotation, float).reshape(4))

        def runSimulation(self, sim: Any) -> None:
            if not isinstance(sim, simulator):
                raise TypeError("runSimulation(): incompatible function arguments")
            if self._context is None:
                raise Abort("runSimulation: audioSimulator_ should exist")
            if self._new:
                events.append(("upload", self._table))
                self._new = False
            x, y, z = self._source
            source = np.array([y, z, 1.2e-38]) if generation.index_bug else np.array([x, y, z])
            events.append(("run", self._spec.acousticsConfig.indirect))
            kind = getattr(self._spec.channelLayout, layout_field).name
            parts = (source, self._spec.acousticsConfig, kind, generation.level, self._context)
            self._output = impulse_response(*self._listener, *parts)

        def getIR(self) -> list[list[float]]:
            return self._output

        def reset(self) -> None:
            """The trap: the table is not loaded again."""
            self._context, self._table = None, None

    if generation.branch:
        AudioSensor.sourceIsVisible = lambda self: True  # type: ignore[attr-defined]
        AudioSensor.setListenerHRTF = lambda self, path: None  # type: ignore[attr-defined]
    return AudioSensor


def add_audio_classes(module: Any, generation: Generation) -> None:
    branch = generation.branch
    kinds = ["Unknown", "Mono", "Binaural", "Ambisonics"] + ([] if branch else ["Stereo", "Quad"])
    kind = enum.Enum("RLRAudioPropagationChannelLayoutType", kinds)
    module.RLRAudioPropagationChannelLayoutType = kind
    module.RLRAudioPropagationConfiguration = closed_class(
        "RLRAudioPropagationConfiguration", BRANCH_FIELDS if branch else MAIN_FIELDS
    )
    module.RLRAudioPropagationChannelLayout = closed_class(
        "RLRAudioPropagationChannelLayout", {"type" if branch else "channelType": kind.Unknown, "channelCount": 2}
    )

    def __init__(self: Any) -> None:
        self.acousticsConfig = module.RLRAudioPropagationConfiguration()
        self.channelLayout = module.RLRAudioPropagationChannelLayout()

    names = {"uuid": "audio", "acousticsConfig": None, "channelLayout": None, "position": None}
    names |= {"enableMaterials": False} if branch else {"outputDirectory": ""}
    members = {name: _bound(name, default) for name, default in names.items()}
    module.AudioSensorSpec = type("AudioSensorSpec", (), {"__init__": __init__, **members})


def add_silent_classes(module: Any) -> None:
    """What a build without audio binds: names without substance, and no layout types."""
    module.RLRAudioPropagationConfiguration = type("RLRAudioPropagationConfiguration", (), {"__slots__": ()})
    module.RLRAudioPropagationChannelLayout = type("RLRAudioPropagationChannelLayout", (), {"__slots__": ()})
    module.AudioSensorSpec = type("AudioSensorSpec", (), {"uuid": _bound("uuid", "audio")})
    module.AudioSensor = type("AudioSensor", (), {})
