"""Recordings without sound in folders and manifests: a data set was made of them, and training stopped at the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bat_agent.datasets.sound_libraries import from_folder, from_manifest
from bat_agent.datasets.sounds import combine
from bat_agent.errors import BadInput

EMPTY = ("Dog/none.wav", "Dog/text.wav", "Dog/zero.wav")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One bark, and a file of no bytes, one of no samples and one that is no audio."""
    (tmp_path / "Dog").mkdir()
    soundfile.write(tmp_path / "Dog/bark.wav", 0.1 * np.random.default_rng(0).standard_normal(3200), 32_000)
    soundfile.write(tmp_path / "Dog/none.wav", np.zeros(0), 32_000)
    (tmp_path / "Dog/zero.wav").touch()
    (tmp_path / "Dog/text.wav").write_text("this is not audio\n")
    return tmp_path


def test_they_are_left_out_and_counted(folder: Path) -> None:
    sounds = from_folder(folder)
    assert [sound.id for sound in sounds] == ["Dog/bark.wav"]
    assert sounds.left_out == EMPTY
    assert sounds.left_out_note is not None
    assert sounds.left_out_note.startswith("3 recordings without sound left out")
    for other in (sounds.filter(labels="Dog"), sounds.cached(), combine(sounds)):
        assert other.left_out == EMPTY
    assert all(sound.waveform().size for sound in sounds)


def test_manifests_leave_them_out_as_well(folder: Path) -> None:
    names = ("Dog/bark.wav", *EMPTY)
    (folder / "manifest.csv").write_text("file,labels,fold\n" + "".join(f"{name},Dog,1\n" for name in names))
    sounds = from_manifest(folder / "manifest.csv")
    assert (len(sounds), sounds.left_out) == (1, EMPTY)
    (folder / "Dog/bark.wav").write_bytes(b"")
    with pytest.raises(BadInput, match=r"none of the 4 recordings of .* holds any sound"):
        from_manifest(folder / "manifest.csv")
