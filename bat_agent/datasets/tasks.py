"""One piece of a set, made anywhere: in this process, in another one, or on another machine.

Nothing here writes files. Rendering goes scene by scene, never in batches, whose sums may round differently with what
else is in the batch: so the scene alone gives the bytes again.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from bat_agent.datasets.layout import Item, position_text
from bat_agent.datasets.placements import another_placement
from bat_agent.datasets.plan import LONGEST_S, Plan, Task
from bat_agent.errors import BadInput
from bat_agent.interfaces import SAMPLE_RATE_HZ, Simulator
from bat_agent.registry import components, load_simulator
from bat_agent.scene import Scene
from bat_agent.scenes.rendering import simulator_of
from bat_agent.sound.acoustics import fit_length

MEAN_OF_EARS, OMNIDIRECTIONAL = "mean of both ears", "omnidirectional"
_HEAD_OPTIONS = ("hrtf", "sofa", "head")


class Made(NamedTuple):
    """One RIR and what is to be told of it."""

    item: Item
    rir: np.ndarray
    """(2, samples) float32."""
    mono: np.ndarray | None
    """(1, samples) float32, if it was asked for."""


@dataclass(frozen=True)
class MakeRirs:
    """Draws and renders the RIRs of a task; small enough to be sent along with each."""

    plan: Plan

    def __call__(self, task: Task) -> list[Made]:
        """The RIRs of the task, in its order. Raises :class:`~bat_agent.errors.BadInput` naming the room."""
        placements = itertools.groupby(task.numbers, lambda number: number // self.plan.sources)
        try:
            return [made for placement, n in placements for made in self._placement(task.room, placement, list(n))]
        except BadInput as error:
            raise BadInput(f"{self.plan.scene_name(task.room)}: {error}") from error

    def _placement(self, room: int, placement: int, numbers: list[int]) -> list[Made]:
        plan, simulator = self.plan, _simulator_of_plan(self.plan)
        scene = _first_scene(plan, room) if placement == 0 else self._another(simulator, room, placement)
        scene = dataclasses.replace(scene, sources=scene.sources[: plan.sources_of(room, placement)])
        items = [
            describe(scene, number % plan.sources, plan.fname(room, number), plan.seconds, mono=plan.mono)
            for number in numbers
        ]
        return render_items(simulator, scene, items)

    def _another(self, simulator: Simulator, room: int, placement: int) -> Scene:
        first = _first_scene(self.plan, room)
        return _signed(another_placement(simulator, first, self.plan.rng(room, placement)), self.plan, simulator)


@dataclass(frozen=True)
class RemakeRirs:
    """Renders entries of a reverberation file again, each from the scene it holds."""

    def __call__(self, items: Sequence[Item]) -> list[Made]:
        """The RIRs of the entries, in their order."""
        scenes = itertools.groupby(items, lambda item: item["scene"])
        return [made for saved, some in scenes for made in self._scene(saved, list(some))]

    def _scene(self, saved: dict[str, Any], items: list[Item]) -> list[Made]:
        for item in items:
            _check(item)
        try:
            scene = Scene.from_dict(saved)
            return render_items(_simulator_of_scene(json.dumps(scene.simulator), scene), scene, items)
        except BadInput as error:
            raise BadInput(f"{items[0]['fname']}: {error}") from error


def describe(scene: Scene, source_index: int, fname: str, seconds: float | None, *, mono: bool) -> Item:
    """The entry of a RIR: the three released keys, what matters to a reader, and the scene to make it again."""
    options = scene.simulator.get("options") or {}
    return {
        "fname": fname,
        "sensor_position": position_text(scene.listener.position_m),
        "source_position": position_text(scene.sources[source_index].position_m),
        "heading_deg": scene.listener.heading_deg,
        "onset": scene.onset,
        "seed": scene.seed,
        "materials": getattr(scene.room, "materials", None),
        "hrtf": next((options[name] for name in _HEAD_OPTIONS if options.get(name) is not None), None),
        "seconds": seconds,
        "mono": mono,
        "source_index": source_index,
        "scene": scene.to_dict(),
        "versions": versions(str(scene.simulator["name"])),
    }


def _check(item: Item) -> None:
    """What is used of a saved entry beside its scene."""
    sources, index, seconds = item["scene"].get("sources") or (), item.get("source_index"), item.get("seconds")
    if not isinstance(index, int) or not 0 <= index < len(sources):
        raise BadInput(f"{item['fname']}: source_index {index!r} is not among the {len(sources)} sources of its scene")
    if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds <= LONGEST_S):
        raise BadInput(f"{item['fname']}: seconds must be null or lie in (0, {LONGEST_S:g}], got {seconds!r}")


def render_items(simulator: Simulator, scene: Scene, items: Sequence[Item]) -> list[Made]:
    """RIRs of some sources of one scene; each entry is completed by how its mono RIR was made."""
    rirs = simulator.render(scene)
    monos, how = _mono(simulator, scene, rirs) if any(item["mono"] for item in items) else (None, None)
    made = []
    for item in items:
        index = item["source_index"]
        mono = None if monos is None or not item["mono"] else _as_asked(monos[index], item)
        made.append(Made(item | {"mono": how if item["mono"] else None}, _as_asked(rirs[index], item), mono))
    return made


def _mono(simulator: Simulator, scene: Scene, rirs: list[Any]) -> tuple[list[Any], str]:
    """One-channel RIRs: the simulator's own where it has an omnidirectional microphone, else the mean of the ears."""
    if hasattr(simulator, "render_mono"):
        return simulator.render_mono(scene), OMNIDIRECTIONAL
    return [rir.mean(dim=0, keepdim=True) for rir in rirs], MEAN_OF_EARS


def _as_asked(rir: Any, item: Item) -> np.ndarray:
    seconds = item.get("seconds")
    fitted = rir if seconds is None else fit_length(rir, round(seconds * SAMPLE_RATE_HZ))
    return fitted.detach().cpu().numpy()


@functools.cache
def versions(simulator: str) -> dict[str, str]:
    """What the bytes may depend on: distribution of the simulator, bat-agent, torch and numpy."""
    found = components("simulator").get(simulator)
    whose = {found.distribution: found.version} if found else {}
    return whose | {name: metadata.version(name) for name in ("bat-agent", "torch", "numpy")}


@functools.lru_cache(maxsize=1)
def _simulator_of_plan(plan: Plan) -> Simulator:
    simulator = load_simulator(plan.simulator, **plan.options)
    if simulator.sample_rate_hz != SAMPLE_RATE_HZ:
        raise BadInput(f"simulator '{plan.simulator}' renders at {simulator.sample_rate_hz} Hz, sets are 32 kHz")
    return simulator


_last_simulator: dict[str, Simulator] = {}


def _simulator_of_scene(key: str, scene: Scene) -> Simulator:
    """One is kept, as building it may take a second and neighbouring scenes share it."""
    if key not in _last_simulator:
        _last_simulator.clear()
        _last_simulator[key] = simulator_of(scene)
    return _last_simulator[key]


@functools.lru_cache(maxsize=1)
def _first_scene(plan: Plan, room: int) -> Scene:
    """Placement 0 of a room, which its other placements need; kept, as drawing a furnished house takes time."""
    simulator = _simulator_of_plan(plan)
    return _signed(simulator.sample_scene(plan.rng(room, 0), plan.sources), plan, simulator)


def _signed(scene: Scene, plan: Plan, simulator: Simulator) -> Scene:
    """With the simulator's name and options, where the simulator did not write them itself."""
    if scene.simulator:
        return scene
    options = dict(getattr(simulator, "options", None) or plan.options)
    return dataclasses.replace(scene, simulator={"name": plan.simulator, "options": options})
