"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bat_agent import agent
from bat_agent.cli import main
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``bat-agent`` in this process: (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def _echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default model is the null plugin: what is tested is the command, not the hearing."""
    config = agent.ModelConfig("echo", {"name": "echo", "options": {}}, {"name": "echo", "options": {}})

    def load(name_or_dir: str = "bat-small", *, device: str | None = None, level_known: bool = True) -> agent.Bat:
        ears, mind = EchoEncoder(EchoEncoderConfig()), EchoReasoner(EchoReasonerConfig())
        return agent.Bat(config, ears, mind, device or "cpu", level_known)

    monkeypatch.setattr(agent, "load", load)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """Noise of a second, 20 dB louder on the left."""
    file = tmp_path / "left.wav"
    noise = 0.1 * np.random.default_rng(1).standard_normal((32_000, 2))
    soundfile.write(file, noise * [1.0, 0.1], 32_000, subtype="FLOAT")
    return file
