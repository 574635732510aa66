"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WITHOUT_TORCH = importlib.util.find_spec("torch") is None
"""In an environment of bat-agent-lite alone, whatever needs more is skipped: it says so by failing to import it."""

if not WITHOUT_TORCH:
    import torch
    from jaxtyping import install_import_hook

    # Shapes in signatures are checked in tests; for this the hook must be there before the modules are imported.
    CHECKED = ["bat_agent.sound.features", "bat_agent.sound.acoustics", "bat_agent_spatial_ast", "bat_agent_baselines"]
    install_import_hook(CHECKED, "beartype.beartype")
    # Two OpenMP threads on two shared cores can be several times slower than one.
    torch.set_num_threads(1)

# Tests in several processes are told the width of a terminal that they do not have; tables are those of a file.
os.environ.pop("COLUMNS", None)


_OF_TORCH = ["envs", "serving", "scoring", "listening/test_ending.py", "listening/test_devices.py"]
"""What the tests of these folders and files share is computed by torch."""
_OF_THE_WHOLE = [
    f"core/test_{name}.py"
    for name in ("doctor", "extras", "new_plugin", "outside_numbers", "packaging", "locks", "registry")
]
_OF_THE_WHOLE += ["docs", "test_floors.py"]
"""About the distribution bat-agent and its extras, or plugins that bat-agent-lite goes without."""
collect_ignore = [*_OF_TORCH, *_OF_THE_WHOLE] if WITHOUT_TORCH else []


def lacking(error: BaseException | None) -> str | None:
    """What an error says is missing in an environment without torch; ``None`` where it is about something else."""
    for each in (error, getattr(error, "__cause__", None)):
        if isinstance(each, ModuleNotFoundError):
            return each.name
    # The plugins that are not there: whoever asks for one of them by name is told what there is.
    unknown = re.match(r"unknown (encoder|reasoner|simulator) '\S+", str(error))
    return unknown[0] if unknown else None


class WithoutTorch(pytest.Module):
    """A file of tests that is skipped where something that it imports or makes is missing."""

    def _getobj(self) -> Any:
        try:
            return super()._getobj()
        except Exception as error:
            what = lacking(error.__cause__ if isinstance(error, self.CollectError) else error)
            if what is None:
                raise
            raise pytest.skip.Exception(f"needs {what}", allow_module_level=True) from error


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return WithoutTorch.from_parent(parent, path=module_path) if WITHOUT_TORCH else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    except Exception as error:
        what = lacking(error) if WITHOUT_TORCH else None
        if what is None:
            raise
        pytest.skip(f"needs {what}")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real recordings and the real RIR; they are not part of the repository."""
    root = Path(os.environ.get("BAT_SHARED", Path(__file__).parents[1] / ".." / "shared")).resolve()
    if not (root / "data").is_dir():
        pytest.skip(f"needs the real recordings under {root} (set BAT_SHARED)")
    return root


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``bat-agent`` in this process: (exit code, standard output, standard error)."""

    from bat_agent.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        if WITHOUT_TORCH and "in place of bat-agent-lite" in err:
            pytest.skip(f"a command that bat-agent-lite goes without: {err.strip()}")
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def _echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default model is the null plugin: what is tested is the command, not the hearing."""
    # Imported here: the hook above must be in place before anything of the package is.
    from bat_agent import agent, loading
    from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
    from bat_agent_echo.echo import EchoEncoder, EchoReasoner

    config = agent.ModelConfig("echo", {"name": "echo", "options": {}}, {"name": "echo", "options": {}})

    def load(name_or_dir: str | None = None, *, device: str | None = None, level_known: bool = True) -> agent.Bat:
        ears, mind = EchoEncoder(EchoEncoderConfig()), EchoReasoner(EchoReasonerConfig())
        return agent.Bat(config, ears, mind, device or "cpu", level_known)

    monkeypatch.setattr(loading, "load", load)
