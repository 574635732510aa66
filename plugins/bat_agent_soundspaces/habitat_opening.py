"""Opening a scene in habitat-sim, and finding out, without ending this process, whether that can be done here."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from bat_agent.errors import BadInput, PluginError

_INSTALL = (
    "install habitat-sim with conda (channels conda-forge, aihabitat), or use it out of process (docs/habitat.md)"
)
_TRY_S = 60.0
_QUIET = {"MAGNUM_LOG": "quiet", "HABITAT_SIM_LOG": "quiet"}
"""Its logs go to standard output line by line, unless the user has said what they should do."""
_TRIAL = """
import quaternion, habitat_sim
print("imported", flush=True)
import numpy
habitat_sim.ShortestPath().requested_start = numpy.zeros(3, numpy.float32)
print("takes vectors", flush=True)
"""
"""With numpy 2, builds whose pybind11 is older than 2.12 end the process in every call that takes a vector."""


def missing_habitat() -> tuple[str, str] | None:
    """What is missing to open a scene and what to do about it; ``None`` where all is there.

    What is installed is imported in a child process: an import may fail, or end the process.
    """
    if sys.modules.get("habitat_sim") is not None:
        return None
    for name in ("habitat_sim", "quaternion"):
        if sys.modules.get(name) is None and importlib.util.find_spec(name) is None:
            return f"{name} is not installed, so it opens no scenes", _INSTALL
    return _try_import()


@cache
def _try_import() -> tuple[str, str] | None:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL],
            capture_output=True, text=True, errors="replace", timeout=_TRY_S, stdin=subprocess.DEVNULL,
            env={**_QUIET, **os.environ, "PYTHONPATH": path},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"habitat_sim takes more than {_TRY_S:g} s to import", _INSTALL
    if done.returncode == 0:
        return None
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    cause = said[-1] if said else f"exit code {done.returncode}"
    if done.returncode < 0:
        cause = f"it ends the process by {signal.Signals(-done.returncode).name}"
    if "imported" not in done.stdout:
        return f"habitat_sim is installed but cannot be imported: {cause}", _INSTALL
    return (
        f"habitat_sim is imported, but cannot be given a vector: {cause}; its pybind11 is too old for numpy 2",
        "use habitat-sim 0.3.4, numpy below 2, or habitat out of process (docs/habitat.md)",
    )


def open_simulator(scene: str, dataset: str | None) -> Any:
    """Open a scene in habitat-sim with one agent and no camera, so that no graphics context is needed.

    Raises :class:`~bat_agent.errors.PluginError` without habitat-sim, :class:`~bat_agent.errors.BadInput` without the
    scene or for one that habitat-sim cannot read.
    """
    if "habitat_sim" not in sys.modules:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
    try:
        # Imported after habitat_sim, numpy-quaternion ends the process: "free(): invalid pointer".
        importlib.import_module("quaternion")
        habitat_sim = importlib.import_module("habitat_sim")
    except ImportError as error:
        raise PluginError(
            f"simulator 'habitat' needs habitat-sim, which is on no package index ({error}); install it with conda "
            f"(channels conda-forge, aihabitat) or render the mesh with simulator 'soundspaces'"
        ) from error
    for what, given in (("scene", scene), ("dataset", dataset)):
        # Without a data set, a scene is a file; with one, it may also be a name from it.
        if given and (what == "dataset" or dataset is None) and not Path(given).is_file():
            raise BadInput(f"habitat {what} '{given}' does not exist; give the path of the file")
    settings = habitat_sim.SimulatorConfiguration()
    settings.scene_id = scene
    if dataset:
        settings.scene_dataset_config_file = dataset
    settings.load_semantic_mesh = True
    settings.enable_physics = False
    configuration = habitat_sim.Configuration(settings, [habitat_sim.agent.AgentConfiguration()])
    try:
        return habitat_sim.Simulator(configuration)
    except (AssertionError, RuntimeError, ValueError) as error:  # "ESP_CHECK failed", and what its readers say
        said = " ".join(str(error).split())[:200] or type(error).__name__
        where = f" of {dataset}" if dataset else ""
        raise BadInput(
            f"habitat cannot open scene '{scene}'{where} ({said}); is it a scene of that data set, and are its files, "
            "the semantic mesh with its colours among them, complete?"
        ) from error
