"""What the tests of the core share: a recording, and sets of questions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile


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
