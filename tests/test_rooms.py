"""Every room is shipped, registered and furnished alike: no folder can go missing without a word."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from bat_agent.hookspecs import Component
from bat_agent.registry import HOOKS

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir() and path.name[0] not in "._")
ENVS = sorted(path.name for path in (ROOT / "envs").iterdir() if path.is_dir() and path.name[0] not in "._")


@pytest.fixture(scope="module")
def pyproject() -> dict:
    tomllib = pytest.importorskip("tomllib", reason="tomllib needs Python 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def components(room: str) -> list[Component]:
    module: ModuleType = importlib.import_module(f"{room}.hooks")
    return [component for hook in HOOKS.values() if hasattr(module, hook) for component in getattr(module, hook)()]


def test_the_folders_are_what_is_shipped(pyproject: dict) -> None:
    shipped = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folders = ["bat_agent", *(f"plugins/{room}" for room in PLUGINS), *(f"envs/{room}" for room in ENVS)]
    assert sorted(shipped) == sorted(folders)


def test_the_plugins_are_what_is_registered(pyproject: dict) -> None:
    assert pyproject["project"]["entry-points"]["bat_agent"] == {room: f"{room}.hooks" for room in PLUGINS}


def test_the_installation_is_up_to_date(pyproject: dict) -> None:
    """An entry point added after the last install is invisible; then install again."""
    try:
        installed = metadata.distribution("bat-agent").entry_points
    except metadata.PackageNotFoundError:
        pytest.skip("bat-agent is not installed: pip install --no-deps -e .")
    wanted = pyproject["project"]["entry-points"]["bat_agent"]
    assert {entry.name: entry.value for entry in installed if entry.group == "bat_agent"} == wanted


def test_folders_of_rooms_are_not_packages() -> None:
    assert not (ROOT / "plugins" / "__init__.py").exists()
    assert not (ROOT / "envs" / "__init__.py").exists()


@pytest.mark.parametrize("room", [*PLUGINS, *ENVS])
def test_rooms_are_typed_packages_named_as_a_strangers(room: str) -> None:
    home = ROOT / ("plugins" if room in PLUGINS else "envs") / room
    assert re.fullmatch(r"bat_agent_[a-z][a-z0-9_]*", room)
    assert (home / "__init__.py").is_file()
    assert (home / "py.typed").is_file()


@pytest.mark.parametrize("room", PLUGINS)
def test_every_plugin_has_the_same_furniture(room: str) -> None:
    home = ROOT / "plugins" / room
    assert (home / "hooks.py").is_file()
    assert (home / "config.py").is_file()


@pytest.mark.parametrize("room", PLUGINS)
def test_only_hooks_know_pluggy(room: str) -> None:
    knowing = set()
    for file in (ROOT / "plugins" / room).rglob("*.py"):
        names = {
            node.id for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)
        }
        if names & {"pluggy", "hookimpl"}:
            knowing.add(file.name)
    assert knowing == {"hooks.py"}


@pytest.mark.parametrize("room", PLUGINS)
def test_every_component_can_be_found_and_configured_by_default(room: str) -> None:
    described = components(room)
    assert described, f"{room} offers nothing"
    for component in described:
        target, config = (_resolve(path) for path in (component.target, component.config))
        assert isinstance(target, type)
        assert component.target.startswith(f"{room}."), "a room offers its own classes"
        assert dataclasses.is_dataclass(config)
        assert dataclasses.is_dataclass(config()), "all fields of a config have defaults"
        assert component.summary
        assert "\n" not in component.summary


def test_component_names_are_unique_per_kind() -> None:
    for hook in HOOKS.values():
        modules = [importlib.import_module(f"{room}.hooks") for room in PLUGINS]
        names = [component.name for module in modules if hasattr(module, hook) for component in getattr(module, hook)()]
        assert len(names) == len(set(names)), hook


def _resolve(path: str) -> object:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
