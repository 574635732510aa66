"""What ``doctor --habitat`` finds: in the stand-in, and in modules that cannot be imported or used."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bat_agent_soundspaces import habitat_check, habitat_opening

fixtures = importlib.import_module("habitat_stand_in.fixtures")
engines, live, mesh, real_engine = fixtures.engines, fixtures.live, fixtures.mesh, fixtures.real_engine
Live = Callable[..., Any]


def test_the_self_test_finds_in_the_stand_in_what_it_wants(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps that ``doctor --habitat`` and ``tests/habitat_real`` take with a real one."""
    live("branch")
    monkeypatch.setitem(sys.modules, "quaternion", sys.modules["habitat_sim"])
    for name, ok, what in habitat_check.steps(habitat_check.House(tmp_path)):
        assert ok, f"{name}: {what}"
    live("0.3.3")
    monkeypatch.setattr(sys.modules["habitat_sim"].Simulator, "close", lambda self: None)  # type: ignore[attr-defined]
    wrong = [name for name, ok, _ in habitat_check.steps(habitat_check.House(tmp_path)) if not ok]
    assert "a closed simulator" in wrong


def test_a_step_that_ends_the_process_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried in a process of its own, with a module that breaks when a simulator is made."""
    (tmp_path / "quaternion.py").write_text("")
    (tmp_path / "habitat_sim.py").write_text(
        "import os\n__version__ = '0'\nclass ShortestPath: pass\ndef SimulatorConfiguration(): os.abort()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    habitat_opening._try_import.cache_clear()
    found = habitat_check.try_habitat()
    habitat_opening._try_import.cache_clear()
    assert found[0][:2] == ("import", True)
    name, ok, what, todo = found[1]
    assert (name, ok) == ("a house", False)
    assert "it ends the process (SIGABRT)" in what
    assert todo.startswith("file an issue with these lines")
    assert len(found) == 2


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise ImportError('no module named magnum')", "cannot be imported: ImportError: no module named magnum"),
        ("import os; os.abort()", "cannot be imported: it ends the process by SIGABRT"),
        ("class ShortestPath:\n    @property\n    def requested_start(self): ...\n    @requested_start.setter\n"
         "    def requested_start(self, value):\n        import os; os.abort()",
         "cannot be given a vector: it ends the process by SIGABRT; its pybind11 is too old for numpy 2"),
        ("class ShortestPath: pass", None),
    ],
    ids=["import", "abort", "vector", "well"],
)  # fmt: skip
def test_what_is_installed_but_cannot_be_used_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, said: str | None
) -> None:
    """Doctor said "can run here" of a habitat_sim that cannot be imported."""
    (tmp_path / "habitat_sim.py").write_text(module)
    (tmp_path / "quaternion.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    habitat_opening._try_import.cache_clear()
    found = habitat_opening.missing_habitat()
    habitat_opening._try_import.cache_clear()
    assert (found is None) == (said is None)
    assert found is None or said in found[0]
