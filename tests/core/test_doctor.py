"""``bat-agent doctor``: what is wrong is seen, named at the end, and has its remedy beside it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from bat_agent import hookspecs, registry
from bat_agent.cli import doctor
from bat_agent.errors import PluginError
from bat_agent.extras import EXTRAS

Run = Callable[..., tuple[int, str, str]]


def test_doctor_ends_as_its_required_checks_say(run: Run) -> None:
    code, out, _ = run("doctor", "--json")
    report = json.loads(out)
    assert report["ok"] == all(check["ok"] for check in report["checks"] if check["required"])
    assert code == (0 if report["ok"] else 1)
    names = {check["name"] for check in report["checks"]}
    assert names >= {"python", "torch", "torchaudio", "devices", "threads", "audio files", "plugins", "dependencies"}


def broken(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """Importing ``name`` ends as it does where its binary does not fit."""
    real = importlib.import_module

    def fail(asked: str, package: str | None = None) -> object:
        if asked == name:
            raise error
        return real(asked, package)

    monkeypatch.setattr(importlib, "import_module", fail)


def test_a_torchaudio_that_does_not_load_is_named_and_required_by_nobody(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is what torchaudio 2.11.1 says beside torch 2.11.0, in the words of both lines."""
    broken(monkeypatch, "torchaudio", OSError("Could not load\nthis library: libtorchaudio.so"))
    (check,) = doctor.torchaudio()
    assert (check.ok, check.required) == (False, False)
    assert "(OSError: Could not load this library: libtorchaudio.so): no encoder audiomae" in check.detail
    assert check.fix.startswith("pip install --no-deps torchaudio==2.11.")
    code, out, _ = run("doctor")
    assert code == 0
    assert "everything required is in order" in out


def test_a_torch_that_does_not_load_is_not_in_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "torch", OSError("libtorch.so: cannot open shared object file"))
    code, out, _ = run("doctor")
    assert code == 1
    assert out.splitlines()[-1] == "not in order: torch"


@pytest.mark.parametrize(
    ("torch_version", "fitting"), [("2.11.0", "2.11.0"), ("2.12.1", "2.11.0"), ("2.15.0", "2.11.1")]
)
def test_the_remedy_is_a_pair_that_was_tried(monkeypatch: pytest.MonkeyPatch, torch_version: str, fitting: str) -> None:
    """The pairs are those of the table in docs/torch_versions.md."""
    monkeypatch.setattr(doctor, "_version", lambda name: {"torch": torch_version, "torchaudio": "2.11.9"}[name])
    broken(monkeypatch, "torchaudio", RuntimeError("other CUDA version"))
    assert doctor.torchaudio()[0].fix == f"pip install --no-deps torchaudio=={fitting}"


def test_a_missing_extra_says_what_it_would_give(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("websockets", "peft") else real(name))
    checks = {check.name: check for check in doctor.extras()}
    assert set(checks) == {f"extra {name}" for name in EXTRAS}
    assert not any(check.required for check in checks.values())
    listen, llm = checks["extra listen"], checks["extra llm"]
    assert not listen.ok
    assert "microphones" in listen.detail
    assert listen.detail.endswith("lacks websockets>=13 (found none)")
    assert "'.[listen]'" in listen.fix
    assert "the reasoners llama, scene-prompt and talk; lacks peft" in llm.detail
    assert doctor.dependencies().ok  # neither belongs to the base
    assert run("doctor")[0] == 0


def test_doctor_sees_a_missing_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DEFAULT_MODEL", "bat-nowhere")
    check = doctor.model()
    assert not check.ok
    assert "config.json" in check.detail
    assert "make install" in check.fix
    assert "--model" in check.fix


def test_the_remedy_for_a_plugin_stands_in_its_own_column(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise PluginError("plugin 'x' of 'y' fails to import: No module named 'z'; set BAT_AGENT_DISABLE_PLUGINS=x")

    monkeypatch.setattr(registry, "all_components", broken)
    check = doctor.plugins()
    assert not check.ok
    assert check.detail == "plugin 'x' of 'y' fails to import: No module named 'z'"
    assert check.fix == "set BAT_AGENT_DISABLE_PLUGINS=x"


def test_a_component_says_what_it_lacks_and_nobody_must_have_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    component = hookspecs.Component("moon", "m:Moon", "m:Config", "a simulator", check="m:check")
    monkeypatch.setattr(
        registry, "all_components", lambda: {"simulator": {"moon": SimpleNamespace(component=component)}}
    )
    for said in (("no rocket", "pip install rocket"), None):
        monkeypatch.setattr(registry, "missing", lambda kind, name, said=said: said)
        (check,) = doctor.components()
        assert (check.name, check.ok, check.required) == ("simulator moon", said is None, False)
        assert (check.detail, check.fix) == (said or ("can run here", ""))


def test_the_check_of_a_component_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = importlib.import_module("bat_agent_soundspaces.engine")
    monkeypatch.setattr(engine, "missing_engine", lambda: ("a", "b"))
    assert registry.missing("simulator", "soundspaces") == ("a", "b")
    assert registry.missing("simulator", "shoebox") is None


def test_a_trial_is_made_only_when_it_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def trial(kind: str, name: str) -> list[tuple[str, bool, str, str]]:
        asked.append((kind, name))
        return [("import", True, "calls itself 0.3.3", ""), ("a house", False, "it ends the process", "file an issue")]

    monkeypatch.setattr(registry, "trial", trial)
    run("doctor")
    assert asked == []
    code, out, _ = run("doctor", "--habitat", "--json")
    assert asked == [("simulator", "habitat")]
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert checks["habitat: import"]["ok"]
    assert checks["habitat: a house"]["fix"] == "file an issue"
    assert code == 1


def test_a_trial_without_habitat_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = importlib.import_module("bat_agent_soundspaces.habitat_check")
    monkeypatch.setattr(opening, "missing_habitat", lambda: ("habitat_sim is not installed", "install it"))
    assert registry.trial("simulator", "habitat") == [("import", False, "habitat_sim is not installed", "install it")]
    assert registry.trial("simulator", "shoebox") == []
