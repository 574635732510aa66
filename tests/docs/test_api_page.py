"""docs/api.md has every public name, and every exception that a user may meet."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import bat_agent
import bat_agent_envs
from bat_agent.errors import BatAgentError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
DIRECTIVE = re.compile(r"^\.\. auto(?P<kind>\w+):: (?P<target>[\w.]+)\n(?P<options>(?:   :.*\n)*)", re.MULTILINE)


def described() -> Iterator[object]:
    """What the directives of the page describe, as autodoc understands them."""
    for found in DIRECTIVE.finditer(PAGE):
        options = dict(re.findall(r"^   :([\w-]+): ?(.*)$", found["options"], re.MULTILINE))
        if found["kind"] != "module":
            module, _, name = found["target"].rpartition(".")
            yield getattr(importlib.import_module(module), name)
            continue
        module = importlib.import_module(found["target"])
        without = names_in(options.get("exclude-members", ""))
        for name in (names_in(options.get("members", "")) or documented(module)) - without:
            yield getattr(module, name)


def names_in(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


def documented(module: ModuleType) -> set[str]:
    """Public classes and functions of a module with a docstring, and variables with a string after them."""
    own = {
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and inspect.getdoc(value) and name[0] != "_"
    }
    body = ast.parse(inspect.getsource(module)).body
    for one, after in itertools.pairwise(body):
        if isinstance(one, ast.Assign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            own |= {target.id for target in one.targets if isinstance(target, ast.Name)}
    return own


def exceptions_of_the_house() -> list[type[BatAgentError]]:
    """Every subclass of the one base, wherever it is defined."""
    found = {BatAgentError}
    for base in (ROOT, ROOT / "plugins", ROOT / "envs"):
        for file in base.glob("bat_agent*/**/*.py"):
            text = file.read_text(encoding="utf-8")
            for name in re.findall(
                r"^class ([A-Z]\w*)\((?:BatAgentError|BadInput|PluginError|WeightsError)\b", text, re.M
            ):
                module = ".".join(file.relative_to(base).with_suffix("").parts)
                found.add(getattr(importlib.import_module(module), name))
    return sorted(found, key=lambda error: error.__name__)


@pytest.mark.parametrize("package", [bat_agent, bat_agent_envs], ids=lambda package: package.__name__)
def test_every_public_name_stands_on_the_page(package: ModuleType) -> None:
    known = [id(thing) for thing in described()]
    assert [name for name in package.__all__ if id(getattr(package, name)) not in known] == []
    assert sorted(package.__all__, key=str.lower) == sorted(set(package.__all__), key=str.lower)
    assert set(package.__all__) <= set(dir(package))


def test_every_exception_stands_on_the_page() -> None:
    errors = exceptions_of_the_house()
    assert {error.__name__ for error in errors} >= {"BatAgentError", "BadInput", "PluginError", "WeightsError"}
    known = [id(thing) for thing in described()]
    assert [error for error in errors if id(error) not in known] == []


def test_nothing_is_described_twice() -> None:
    """Sphinx would take the second for another one, and links would lead to either."""
    things = [id(thing) for thing in described()]
    assert len(things) == len(set(things))
