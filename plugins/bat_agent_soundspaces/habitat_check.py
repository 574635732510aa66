"""The self-test of the simulator ``habitat``: a small house is opened in the habitat-sim that is installed.

``bat-agent doctor --habitat`` runs it, in a process of its own, as habitat-sim may end the process. Each step returns
what it found, and raises where habitat-sim does something else than this library was written for.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.sound.rir_measures import interaural_level_db
from bat_agent_soundspaces.engine import missing_engine
from bat_agent_soundspaces.habitat import Habitat, HabitatConfig
from bat_agent_soundspaces.habitat_api import build_of
from bat_agent_soundspaces.habitat_opening import missing_habitat, open_simulator
from bat_agent_soundspaces.habitat_stage import mesh_file, rotation_of
from bat_agent_soundspaces.meshes import import_trimesh

__all__ = ["NAMES", "House", "main", "try_habitat"]

MARK = "bat-agent habitat: "
TIMEOUT_S = 300.0
SIZE_M = (6.0, 3.0, 5.0)
"""Of the house; the origin is the middle of its floor."""


class House:
    """A house of one room in a folder, with the configuration that says which axis of its file is up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mesh, self.dataset = folder / "house.glb", folder / "house.scene_dataset_config.json"
        trimesh = import_trimesh()
        x, height, z = SIZE_M
        walls = trimesh.creation.box(bounds=[(-x / 2, 0, -z / 2), (x / 2, height, z / 2)])
        walls.invert()  # seen from inside: habitat-sim walks on faces that look up
        walls.export(self.mesh)
        stages = {
            "default_attributes": {"up": [0, 1, 0], "front": [0, 0, -1], "origin": [0, 0, 0]},
            "paths": {".glb": ["*.glb"]},
        }
        self.dataset.write_text(json.dumps({"stages": stages}), encoding="utf-8")

    def open(self) -> Any:
        """A simulator in it, without a camera."""
        return open_simulator(str(self.mesh), str(self.dataset))


def _import(house: House) -> str:
    import habitat_sim

    audio = "with audio" if getattr(habitat_sim, "audio_enabled", False) else "without audio"
    return f"calls itself {habitat_sim.__version__}, {audio}, numpy {np.__version__}"


def _open(house: House) -> str:
    with _opened(house) as sim:
        turn = rotation_of(sim)
        _wants(
            np.allclose(turn, np.eye(3), atol=1e-3), f"its configuration turns the house by {turn.round(2).tolist()}"
        )
        _wants(Path(mesh_file(sim)).samefile(house.mesh), f"its mesh is {mesh_file(sim)}")
        return build_of(sim).generation


def _pose(house: House) -> str:
    with _opened(house) as sim:
        listener = Habitat.from_simulator(sim).listener()
        _wants(bool(np.isfinite(listener.position_m).all()), f"its agent stands at {listener.position_m}")
        before = sim.get_agent(0).get_state().rotation
        sim.step("turn_left")
        turned = (Habitat.from_simulator(sim).listener().heading_deg - listener.heading_deg) % 360
        _wants(0 < turned < 180, f"turn_left turns by {turned:.1f}°, from {before}")
        return f"turn_left turns {turned:.1f}° to the left"


def _navmesh(house: House) -> str:
    with _opened(house) as sim:
        habitat = Habitat.from_simulator(sim, audio="engine")
        if not habitat.navmesh.loaded:
            _refused(lambda: habitat.sample_scene(np.random.default_rng(0)), "has no navmesh")
            return "none, and told"
        point = habitat.navmesh.random_point(np.random.default_rng(0), 0.0)
        _wants(habitat.navmesh.below(point, 0.3) is not None, f"its random point {point} is not on it")
        return f"loaded; a point on it is {point[1]:.2f} m above the floor"


def _sound(house: House) -> str:
    if (lacking := missing_engine()) is not None:
        return f"not rendered: {lacking[0]}"
    with _opened(house) as sim:
        habitat = Habitat.from_simulator(sim)
        try:
            x, y, z = habitat.listener().position_m
            heading = np.radians(habitat.listener().heading_deg)
            right = (x + float(np.cos(heading)), y, z - float(np.sin(heading)))
            level_db = interaural_level_db(habitat.listen([right])[0][:, :400].numpy())
            _wants(level_db < -3, f"what sounds on the right is {level_db:+.1f} dB louder in the left ear")
            return f"by {habitat.renderer}: on the right, {level_db:+.1f} dB left over right"
        finally:
            habitat.close()


def _on_its_side(house: House) -> str:
    habitat = Habitat(HabitatConfig(scene=str(house.mesh), audio="engine"))
    try:
        _refused(lambda: habitat.scene([(1.0, 1.5, 0.0)]), "on its side")
    finally:
        habitat.close()
    return "a .glb without configuration is laid on its side, and told"


def _what_cannot_be_opened(house: House) -> str:
    broken = house.folder / "broken.glb"
    broken.write_bytes(b"no mesh")
    _refused(lambda: open_simulator(str(broken), None), "cannot open scene")
    _refused(lambda: open_simulator("a scene of no data set", str(house.dataset)), "cannot open scene")
    return "a broken file and an unknown name are told"


def _closed(house: House) -> str:
    with _opened(house) as sim:
        habitat = Habitat.from_simulator(sim)
        sim.close()
        for use in (habitat.listener, habitat.rooms, lambda: Habitat.from_simulator(sim)):
            _refused(use, "simulator is closed")
    return "is told"


STEPS: dict[str, Callable[[House], str]] = {
    "import": _import,
    "a house": _open,
    "the agent": _pose,
    "navmesh": _navmesh,
    "sound": _sound,
    "no configuration": _on_its_side,
    "what cannot be opened": _what_cannot_be_opened,
    "a closed simulator": _closed,
}
NAMES = tuple(STEPS)


def try_habitat() -> list[tuple[str, bool, str, str]]:
    """(what was tried, whether it went well, what was found, what to do) of each step, tried in a child process."""
    if (lacking := missing_habitat()) is not None:
        return [("import", False, *lacking)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import main; main()"],
            capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, stdin=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [("all", False, f"took more than {TIMEOUT_S:g} s", _TODO)]
    said = [json.loads(line[len(MARK) :]) for line in done.stdout.splitlines() if line.startswith(MARK)]
    found = [(name, ok, what, "" if ok else _TODO) for name, ok, what in said]
    if len(found) < len(STEPS):
        last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
        end = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
        found.append((NAMES[len(found)], False, f"it ends the process ({end}) {' '.join(last)[:200]}".strip(), _TODO))
    return found


_TODO = "file an issue with these lines; meanwhile render the mesh with simulator 'soundspaces'"


def main() -> None:
    """Try the steps in turn, a line of JSON each; the first that ends the process is the last."""
    with tempfile.TemporaryDirectory() as folder:
        for name, ok, what in steps(House(Path(folder))):
            print(f"{MARK}{json.dumps([name, ok, what])}", flush=True)


def steps(house: House) -> Iterator[tuple[str, bool, str]]:
    """(name, whether it went well, what was found) of each step, in this process."""
    for name, step in STEPS.items():
        try:
            yield name, True, step(house)
        except Exception as error:  # noqa: PERF203 - whatever it is, it is what the user has to be told
            yield name, False, " ".join(f"{type(error).__name__}: {error}".split())[:300]


@contextmanager
def _opened(house: House) -> Iterator[Any]:
    sim = house.open()
    try:
        yield sim
    finally:
        sim.close()


def _wants(true: bool, otherwise: str) -> None:
    if not true:
        raise RuntimeError(otherwise)


def _refused(use: Callable[[], Any], said: str) -> None:
    try:
        use()
    except BadInput as error:
        _wants(said in str(error), f"it is refused in other words: {error}")
    else:
        raise RuntimeError(f"nothing says that it {said}")
