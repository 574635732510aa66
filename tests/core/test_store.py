"""Files in folders, zip and tar archives: the same content wherever it lies, and what is damaged is said to be."""

from __future__ import annotations

import gc
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bat_agent.datasets.store import MissingFile, Store
from bat_agent.errors import BadInput

FILES = {
    "mp3d_reverb/binaural/house/0.npy": b"rir" * 100,
    "mp3d_reverb/binaural/house/1.npy": b"",
    "mp3d_reverb/train_reverberation.json": b'{"data": []}',
    "AudioSet/eval/audio/Yé.flac": b"sound",
}


def zipped(path: Path, names: Callable[[str], str], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in FILES.items():
            archive.writestr(names(name), content)
    return path


def tarred(path: Path, names: Callable[[str], str]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(names(name))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def unpacked(root: Path) -> Path:
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folder": unpacked,
    "zip in the root": lambda root: zipped(root / "all.zip", lambda name: name).parent,
    "stored, below a folder": lambda root: zipped(root / "a.zip", lambda n: f"Set/{n}", zipfile.ZIP_STORED).parent,
    "tar": lambda root: tarred(root / "all.tar", lambda name: f"./{name}").parent,
    "the archive is the root": lambda root: zipped(root / "all.zip", lambda name: name),
    "two ends of paths": lambda root: zipped(
        root / "mp3d_reverb.zip", lambda name: name.removeprefix("mp3d_reverb/").removeprefix("AudioSet/")
    ).parent,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_files_wherever_they_lie(tmp_path: Path, layout: str) -> None:
    store = pickle.loads(pickle.dumps(Store(LAYOUTS[layout](tmp_path))))
    for name, content in FILES.items():
        assert store.exists(name)
        assert store.read(name) == store.local(name).read_bytes() == content
        assert store.read(name, 4) == content[:4]
        assert store.size(name) == len(content)
    assert store.find_audio("AudioSet/eval/audio/Yé") == "AudioSet/eval/audio/Yé.flac"
    assert store.find_audio("AudioSet/eval/audio/Ynone") is None
    assert store.glob("mp3d_reverb/*_reverberation.json") == ["mp3d_reverb/train_reverberation.json"]
    assert not store.exists("mp3d_reverb/binaural/house/2.npy")
    with pytest.raises(MissingFile, match=r"no mp3d_reverb/binaural/house/2.npy under .*; fetch it, or"):
        store.read("mp3d_reverb/binaural/house/2.npy")


def test_shards_of_a_webdataset(tmp_path: Path) -> None:
    """Clips in shards, a text beside each: found by the name that the records use."""
    folder = tmp_path / "AudioSet" / "unbalanced_train" / "audio"
    folder.mkdir(parents=True)
    for shard in range(3):
        with tarfile.open(folder / f"clips-{shard:06d}.tar", "w") as archive:
            for clip in range(4):
                for suffix, content in ((".flac", b"%d %d" % (shard, clip)), (".json", b"{}")):
                    info = tarfile.TarInfo(f"Yclip{shard}{clip}{suffix}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    store = Store(tmp_path)
    path = store.find_audio("AudioSet/unbalanced_train/audio/Yclip23")
    assert path is not None
    assert store.read(path) == b"2 3"


def test_a_file_on_disk_comes_first(tmp_path: Path) -> None:
    zipped(tmp_path / "all.zip", lambda name: name)
    name = "mp3d_reverb/train_reverberation.json"
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(b"new")
    assert Store(tmp_path).read(name) == b"new"


def test_what_was_unpacked_goes_with_the_store(tmp_path: Path) -> None:
    store = Store(zipped(tmp_path / "all.zip", lambda name: name))
    place = store.local("mp3d_reverb/train_reverberation.json")
    assert place.is_file()
    del store
    gc.collect()
    assert not place.exists()


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_cut_zip_is_said_to_be(tmp_path: Path, kept: float) -> None:
    path = zipped(tmp_path / "a.zip", lambda name: name)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(BadInput, match=r"a\.zip is damaged or no whole zip archive .*; download it again"):
        Store(tmp_path).exists("mp3d_reverb/binaural/house/0.npy")


def test_a_tar_cut_within_a_member(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", lambda name: name)
    path.write_bytes(path.read_bytes()[: 512 + 150])  # the head of the first member, and half of it
    with pytest.raises(BadInput, match=r"a\.tar is damaged or no whole tar archive .*download it again"):
        Store(tmp_path).read("mp3d_reverb/binaural/house/0.npy")


def test_flipped_bits_do_not_pass(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", lambda name: name, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"rirrir")] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match=r"0\.npy in .* is damaged .*checksum"):
        Store(tmp_path).read("mp3d_reverb/binaural/house/0.npy")


def test_paths_stay_inside(tmp_path: Path) -> None:
    for path in ("../secret", "/etc/passwd", "a/../../b"):
        with pytest.raises(BadInput, match="leads out of the data set"):
            Store(tmp_path).read(path)


def test_roots_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist; name the folder"):
        Store(tmp_path / "nothing")
    (tmp_path / "reverb.tar.gz").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"compressed as a whole .* unpack it: tar -xf reverb.tar.gz"):
        Store(tmp_path / "reverb.tar.gz")
    with pytest.raises(MissingFile, match=r"unpack it with tar -xf reverb.tar.gz"):
        Store(tmp_path).read("mp3d_reverb/binaural/a/0.npy")
    (tmp_path / "a.wav").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"no folder and no \.zip or \.tar archive"):
        Store(tmp_path / "a.wav")


def test_a_broken_array_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(BadInput, match=r"x.npy is no whole .npy file"):
        Store(tmp_path).array("x.npy")
    np.save(tmp_path / "y.npy", np.arange(4.0))
    assert Store(tmp_path).array("y.npy").tolist() == [0, 1, 2, 3]
