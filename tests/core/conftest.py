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


QA_LABELS = ("Dog", "Rain", "Siren", "Speech", "Piano", "Helicopter", "Cat", "Clock")


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of eight classes, two in each of two folds; noise, as nobody listens to them."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    lines = ["file,labels,fold"]
    for label in QA_LABELS:
        for fold in (1, 2):
            for take in range(2):
                name = f"{label.lower()}/{fold}-{take}.flac"
                (folder / name).parent.mkdir(exist_ok=True)
                soundfile.write(folder / name, 0.1 * rng.standard_normal(9600), 32_000)
                lines.append(f"{name},{label},{fold}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="session")
def qa_set(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SpatialSoundQA set made of them in shoebox rooms, both splits; nobody may write into it."""
    from bat_agent.datasets.qa import QAPlan, make_qa
    from bat_agent.questions import BEYOND_TYPES

    root = tmp_path_factory.mktemp("qa")
    for split, count in (("train", 1200), ("eval", 500)):
        plan = QAPlan(
            str(manifest), count, simulator="shoebox", options={"order": 2}, rooms=12, rir_count=96, seed=3,
            split=split, beyond=BEYOND_TYPES, beyond_count=count // 5,
        )  # fmt: skip
        make_qa(plan, root)
    return root
