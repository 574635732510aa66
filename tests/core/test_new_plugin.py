"""``bat-agent new-plugin``: what it writes passes its own tests and stands in the guide word for word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from bat_agent.cli.new_plugin import TEMPLATES, Kind, package_files, write_package

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
Run = Callable[..., tuple[int, str, str]]


def template(kind: Kind, name: str) -> str:
    return resources.files("bat_agent").joinpath(TEMPLATES, kind.value, f"{name}.txt").read_text(encoding="utf-8")


def lines(*texts: str) -> int:
    """Lines of code: neither blank nor comments."""
    return sum(bool(line.strip()) and not line.startswith("#") for text in texts for line in text.splitlines())


def test_packages_of_any_name_pass_their_own_tests(tmp_path: Path, run: Run) -> None:
    """Written by the command, tested by pytest in a fresh process that has them on its path as pip would."""
    names = {Kind.encoder: "two-levels", Kind.reasoner: "owl2", Kind.simulator: "moor"}
    for kind, name in names.items():
        code, out, err = run("new-plugin", name, "--kind", kind.value, "--out", tmp_path / name)
        assert (code, err) == (0, "")
        assert str(tmp_path / name / "pyproject.toml") in out
    places = [str(tmp_path / name) for name in names.values()]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*places, *filter(None, sys.path)])}
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *places]
    done = subprocess.run(pytest_, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d\d passed, 1 skipped", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("kind", Kind)
def test_names_replace_those_of_the_example_everywhere(kind: Kind) -> None:
    text = "".join(f"{place}\n{content}" for place, content in package_files("barn-owl", kind).items())
    assert 'name = "barn-owl"' in text
    assert 'barn_owl = "barn_owl.hooks"' in text
    assert f"barn_owl.{kind.value}:BarnOwl" in text
    for old in ("ear-levels", "ear_levels", "EarLevels", "left_or_right", "LeftOrRight", "free_field", "FreeField"):
        assert old not in text


@pytest.mark.parametrize("kind", Kind)
def test_the_guide_shows_the_packages_word_for_word_and_counts_their_lines(kind: Kind) -> None:
    """It once said 30 lines of a package that had 59."""
    page = GUIDE.read_text(encoding="utf-8")
    parts = [template(kind, name) for name in ("hooks.py", "config.py", f"{kind.value}.py")]
    for text in [*parts, template(kind, "test.py")]:
        assert f"```python\n{text}```\n" in page
    python, own = lines(*parts), lines(parts[-1])
    toml, tests = lines(template(kind, "pyproject.toml")), lines(template(kind, "test.py"))
    assert f"({python} lines of Python, {own} of them the {kind.value}; {toml} of TOML and {tests} of tests" in page
    if kind is Kind.encoder:
        assert f"```toml\n{template(kind, 'pyproject.toml')}```\n" in page


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Ear Levels", "cannot be the name of a plugin, expected lower-case words"),
        ("class", "cannot be the name of a plugin"),
        ("tensor", "would be called Tensor, as one that it uses"),
        ("numpy", "Python knows a package 'numpy' already"),
    ],
)
def test_a_name_that_cannot_be_is_one_sentence(run: Run, tmp_path: Path, name: str, says: str) -> None:
    code, out, err = run("new-plugin", name, "--kind", "encoder", "--out", tmp_path / "new")
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_what_is_there_is_never_written_over(run: Run, tmp_path: Path) -> None:
    write_package("barn-owl", Kind.encoder, tmp_path / "owl")
    before = (tmp_path / "owl" / "pyproject.toml").read_bytes()
    code, _, err = run("new-plugin", "tawny-owl", "--kind", "encoder", "--out", tmp_path / "owl")
    assert code == 2
    assert "is there already; choose another folder" in err
    assert (tmp_path / "owl" / "pyproject.toml").read_bytes() == before
