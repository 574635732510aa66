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

Run = Callable[..., tuple[int, str, str]]


def test_doctor_ends_as_its_required_checks_say(run: Run) -> None:
    code, out, _ = run("doctor", "--json")
    report = json.loads(out)
    assert report["ok"] == all(check["ok"] for check in report["checks"] if check["required"])
    assert code == (0 if report["ok"] else 1)
    names = {check["name"] for check in report["checks"]}
    assert names >= {"python", "torch and torchaudio", "devices", "threads", "audio files", "plugins", "dependencies"}


def test_doctor_sees_a_torch_pair_that_does_not_fit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    torchaudio = importlib.import_module("torchaudio")
    assert doctor.torch_pair().ok
    monkeypatch.setattr(torchaudio, "__version__", "2.10.1")
    assert not doctor.torch_pair().ok
    code, out, _ = run("doctor")
    assert code == 1
    assert "2.10.1" in out
    closing = out.splitlines()[-1]
    assert closing.startswith("not in order: ")
    assert "torch and torchaudio" in closing
    assert "audio files" not in closing


def test_the_declared_pair_of_torch_and_torchaudio_is_one_that_loads() -> None:
    """torchaudio 2.11.1 declares torch>=2.11 and does not load beside 2.11.0, so both are named to the last digit."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in doctor.metadata.requires(doctor.DISTRIBUTION) or []]
    pair = {r.name: str(r.specifier) for r in wanted if r.name in ("torch", "torchaudio")}
    assert pair == {"torch": "==2.11.0", "torchaudio": "==2.11.0"}
    assert all(f"{name}{specifier}" in doctor.torch_pair().fix for name, specifier in pair.items())
    assert doctor.torch_pair().ok


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


def test_nothing_is_to_be_fetched_from_an_index_under_our_name() -> None:
    """The distribution is on no index; whoever has our name there is a stranger."""
    checks = [doctor.dependencies(), doctor.plugins(), doctor.model()]
    assert not [check.fix for check in checks if "pip install" in check.fix and doctor.DISTRIBUTION in check.fix]


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
