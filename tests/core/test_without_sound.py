"""Recordings without sound in folders and manifests: a data set was made of them, and training stopped at the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bat_agent.datasets.qa_files import Recordings
from bat_agent.datasets.sound_libraries import from_folder, from_manifest
from bat_agent.datasets.sounds import combine
from bat_agent.errors import BadInput
from bat_agent.sound.audio import decode

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


def test_what_is_no_audio_is_left_out_however_large_it_is(folder: Path) -> None:
    """A page of HTML that a download left, and a FLAC that was cut off, were believed to be sound."""
    (folder / "Dog/page.wav").write_text("<html>404</html>\n" * 2000)
    bark, rate_hz = soundfile.read(folder / "Dog/bark.wav")
    soundfile.write(folder / "Dog/cut.flac", bark, rate_hz)
    (folder / "Dog/cut.flac").write_bytes((folder / "Dog/cut.flac").read_bytes()[:600])
    soundfile.write(folder / "Dog/long.aiff", np.tile(bark, 20), rate_hz)
    sounds = from_folder(folder)
    assert "Dog/bark.wav" in [sound.id for sound in sounds]
    assert set(sounds.left_out) == {*EMPTY, "Dog/page.wav", "Dog/cut.flac"}


def test_a_recording_that_was_cut_off_comes_into_a_set_as_others_can_read_it(folder: Path, tmp_path: Path) -> None:
    """Its header says 0 bytes: the set was made with it, and its check said that it holds no samples."""
    content = (folder / "Dog/bark.wav").read_bytes()
    at = content.index(b"data") + 4
    (folder / "Dog/bark.wav").write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    recordings = Recordings(tmp_path / "set", "train")
    recordings.bring(from_folder(folder), lambda *_: None)
    (brought,) = (tmp_path / "set/AudioSet").rglob("*.wav")
    assert soundfile.info(brought).frames == 3200
    assert decode((folder / "Dog/bark.wav").read_bytes(), "bark")[0].shape == (1, 3200)


def test_manifests_leave_them_out_as_well(folder: Path) -> None:
    names = ("Dog/bark.wav", *EMPTY)
    (folder / "manifest.csv").write_text("file,labels,fold\n" + "".join(f"{name},Dog,1\n" for name in names))
    sounds = from_manifest(folder / "manifest.csv")
    assert (len(sounds), sounds.left_out) == (1, EMPTY)
    (folder / "Dog/bark.wav").write_bytes(b"")
    with pytest.raises(BadInput, match=r"none of the 4 recordings of .* holds any sound"):
        from_manifest(folder / "manifest.csv")
