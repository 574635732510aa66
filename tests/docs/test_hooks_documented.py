"""A hook exists only if it is typed, described, documented, has a contract, and a room uses it."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from pathlib import Path

import pytest

import bat_agent.testing
from bat_agent import hookspecs
from bat_agent.registry import HOOKS

ROOT = Path(__file__).resolve().parents[2]
SPECS = {name: spec for name, spec in vars(hookspecs).items() if hasattr(spec, f"{hookspecs.PROJECT}_spec")}


def test_there_are_hooks_and_the_registry_asks_each() -> None:
    assert set(SPECS) == set(HOOKS.values())
    assert len(SPECS) >= 3


@pytest.mark.parametrize("hook", SPECS)
def test_hook_is_typed_and_says_when_it_is_called(hook: str) -> None:
    hints = typing.get_type_hints(SPECS[hook])
    assert set(hints) == {*inspect.signature(SPECS[hook]).parameters, "return"}
    assert "called" in (inspect.getdoc(SPECS[hook]) or "")


@pytest.mark.parametrize("hook", SPECS)
def test_hook_has_a_heading_in_the_docs(hook: str) -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert re.search(rf"^#+ `{hook}`\s*$", page, re.MULTILINE), f"docs/plugins.md lacks the heading ### `{hook}`"


@pytest.mark.parametrize("hook", SPECS)
def test_hook_has_a_contract_for_authors(hook: str) -> None:
    """bat_agent_encoders → EncoderContract, with tests in it and a docstring, and named in the docs."""
    name = hook.removeprefix("bat_agent_").removesuffix("s").title() + "Contract"
    contract = getattr(bat_agent.testing, name)
    assert name in bat_agent.testing.__all__
    assert contract.__doc__
    assert sum(attribute.startswith("test_") for attribute in vars(contract)) >= 5
    assert name in (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("hook", SPECS)
def test_hook_is_used_by_a_room(hook: str) -> None:
    rooms = [path.parent.name for path in (ROOT / "plugins").glob("*/hooks.py")]
    users = [room for room in rooms if hasattr(importlib.import_module(f"{room}.hooks"), hook)]
    assert users, "a hook that nobody uses is removed"
