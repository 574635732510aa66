"""The locks hold everything that is declared, in versions that are allowed, by hash and without a host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

tomllib = pytest.importorskip("tomllib", reason="tomllib needs Python 3.11")

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {"base": "", "dev": "dev", "soundspaces": "soundspaces", "rllib": "rllib"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MACHINES = [
    {
        "sys_platform": system,
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.9",
    }
    for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
    for python in ("3.10", "3.11", "3.12", "3.13")
]


def locked(name: str) -> list[Requirement]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return [Requirement(line.rstrip("\\ ")) for line in text.splitlines() if re.match(r"\w", line)]


def declared(extra: str) -> list[Requirement]:
    """What the base or an extra asks for, extras of ours within extras followed."""
    project = PROJECT["project"]
    found: list[Requirement] = []
    for text in project["optional-dependencies"][extra] if extra else project["dependencies"]:
        wanted = Requirement(text)
        found += [r for name in wanted.extras for r in declared(name)] if wanted.name == "bat-agent" else [wanted]
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", LOCKS)
def test_what_is_declared_is_locked_for_every_machine(name: str) -> None:
    wanted = [*declared(""), *(declared(LOCKS[name]) if LOCKS[name] else [])]
    wanted += [Requirement(text) for text in PROJECT["dependency-groups"]["build"]]
    for machine in MACHINES:
        here = [r for r in locked(name) if r.marker is None or r.marker.evaluate(machine)]
        versions = {normal(r.name): str(r.specifier).removeprefix("==") for r in here}
        assert len(versions) == len(here), "a package is locked twice"
        for r in wanted:
            if r.marker is None or r.marker.evaluate(machine):
                assert r.specifier.contains(versions.get(normal(r.name), "0.dev0")), f"{r} on {machine}"


@pytest.mark.parametrize("name", [*LOCKS, "lite"])
def test_every_package_has_its_hash_and_no_line_names_a_host(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert re.search(r"^#    make lock$", text, re.MULTILINE)
    assert not re.search(r"://|--(extra-)?index-url|--find-links|/home/|/tmp/", text)
    packages = re.split(r"\n(?=\w)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", package) for package in packages)


def test_the_lock_of_lite_has_what_lite_declares_and_no_torch() -> None:
    project = tomllib.loads((ROOT / "lite" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(text) for text in (*project["dependencies"], *extras["listen"], *extras["gym"])]
    for machine in MACHINES:
        here = [r for r in locked("lite") if r.marker is None or r.marker.evaluate(machine)]
        versions = {normal(r.name): str(r.specifier).removeprefix("==") for r in here}
        assert not {"torch", "scipy", "matplotlib"} & versions.keys()
        for r in wanted:
            if r.marker is None or r.marker.evaluate(machine):
                assert r.specifier.contains(versions.get(normal(r.name), "0.dev0")), f"{r} on {machine}"


def test_the_locks_agree_where_they_can() -> None:
    """Who goes over from the base to development changes nothing that he had."""
    dev = {f"{r.name}{r.specifier}" for r in locked("dev")}
    assert {f"{r.name}{r.specifier}" for r in locked("base") if "win32" not in str(r.marker)} <= dev
    engine = {f"{r.name}{r.specifier}" for r in locked("soundspaces") if "win32" not in str(r.marker)} - dev
    assert engine == {"rlr-audio-propagation==0.0.1"}


def test_the_pair_that_all_figures_were_made_with_is_locked() -> None:
    versions = {r.name: str(r.specifier) for r in locked("dev")}
    assert (versions["torch"], versions["torchaudio"]) == ("==2.11.0", "==2.11.0")
