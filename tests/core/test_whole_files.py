"""Files appear whole or not at all, whatever happens: a full disk, a kill at any moment, another writer."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from bat_agent.checkpoint import write_tensors
from bat_agent.clips.room_bank import open_bank
from bat_agent.errors import BadInput
from bat_agent.evaluation.plotting import save_figure
from bat_agent.files import leftovers
from bat_agent.files.locking import locked
from bat_agent.files.writing import whole_file, whole_lines, whole_path, write_bytes, write_json
from bat_agent.questions.files import RecordWriter
from bat_agent.registry import load_simulator
from bat_agent.sound.audio import write_wav

LIMIT = 4096
Write = Callable[[Path], object]


@contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    """The system refuses every byte beyond ``num_bytes`` of a file, as it refuses those beyond a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _figure(path: Path) -> None:
    from matplotlib.figure import Figure

    save_figure(Figure(), path)


def _records(path: Path) -> None:
    with RecordWriter(path) as file:
        for _ in range(500):
            file.add(json.dumps({"question": "What is that?"}))


def _bank(path: Path) -> None:
    echo = load_simulator("echo")
    open_bank(path.parent, echo, {"simulator": "echo"}, scenes=8, sources=2, seconds=0.05, seed=0)


WRITERS: dict[str, Write] = {
    "sound.wav": lambda path: write_wav(path, np.zeros((2, 8000), np.float32)),
    "figure.png": _figure,
    "records.json": _records,
    "numbers.json": lambda path: write_json(path, list(range(5000))),
    "model.safetensors": lambda path: write_tensors(path, {"weight": torch.zeros(5000)}),
    "plain.bin": lambda path: write_bytes(path, bytes(10_000)),
    "bank.npy": _bank,
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_room_leaves_what_was_there_and_says_what_helps(name: str, tmp_path: Path) -> None:
    """A figure stopped at 8,192 bytes was half a PNG; a bank that was mapped ended the process by SIGBUS."""
    path = tmp_path / name
    path.write_text("what was there")
    with no_file_above(LIMIT), pytest.raises(BadInput) as told:
        WRITERS[name](path)
    said = str(told.value)
    assert said.startswith("cannot write ")
    assert str(tmp_path) in said
    assert "'ulimit -f' allows no larger file" in said
    assert "\n" not in said
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_text() == "what was there"
    WRITERS[name](path)
    assert all(".part" not in file.name for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "it takes 3.0 MB, .* are free\\); free some space there"),
        (errno.EDQUOT, "it takes 3.0 MB, .* are free\\); free some space there"),
        (errno.EROFS, "\\); nothing can be written there: choose another place"),
        (errno.EACCES, "\\); you may not write there: choose another place, or change its permissions"),
        (errno.EIO, "\\); the disk reports an error"),
    ],
)
def test_advice_fits_the_cause(code: int, says: str, tmp_path: Path) -> None:
    told = rf"^cannot write .*model.bin \({os.strerror(code)}.*{says}"
    with pytest.raises(BadInput, match=told), whole_path(tmp_path / "model.bin", needs=3_000_000):
        raise OSError(code, os.strerror(code))


def test_a_folder_that_is_not_there_or_is_read_only(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="its folder does not exist"):
        write_bytes(tmp_path / "none" / "file", b"")
    write_bytes(tmp_path / "made" / "file", b"1", folder=True, durable=True)
    assert (tmp_path / "made" / "file").read_bytes() == b"1"
    (tmp_path / "a file").touch()
    with pytest.raises(BadInput, match=r"\(Not a directory\); choose another place$"):
        write_bytes(tmp_path / "a file" / "file", b"")
    with pytest.raises(BadInput, match="choose a shorter name"):
        write_bytes(tmp_path / ("n" * 300), b"")
    write_bytes(tmp_path / ("n" * 255), b"1")  # the temporary name is no longer than the target's


def test_lines_are_added_whole_or_not_at_all(tmp_path: Path) -> None:
    """What is read while it grows held half a line where the disk was full."""
    with no_file_above(LIMIT), whole_lines(tmp_path / "lines.jsonl") as add:
        add("[1]\n")
        assert (tmp_path / "lines.jsonl").read_text() == "[1]\n"
        with pytest.raises(BadInput, match=r"cannot write .*lines\.jsonl \(File too large\)"):
            add("[" + 5000 * "2" + "]\n")
        add("[3]\n")
    assert (tmp_path / "lines.jsonl").read_text() == "[1]\n[3]\n"


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), whole_file(tmp_path / "made"):
        (tmp_path / "other" / "elsewhere").read_bytes()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
import numpy as np, torch
sys.path.insert(0, sys.argv[3])
from test_whole_files import WRITERS
real, left = os.replace, [0]
def replace(*names):
    os._exit(9)
os.replace = replace
WRITERS[sys.argv[1]](Path(sys.argv[2]))
"""


@pytest.mark.parametrize("name", ["sound.wav", "model.safetensors"])
@pytest.mark.slow
def test_killed_before_the_rename_the_old_file_is_whole_and_the_rest_goes(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, name, path, Path(__file__).parent], check=False)
    assert done.returncode == 9
    assert path.read_bytes() == before
    (left,) = leftovers.leftovers(tmp_path)
    assert left.bytes > 0
    leftovers.clear(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_what_a_running_process_writes_is_not_left_over(tmp_path: Path) -> None:
    with whole_file(tmp_path / "mine") as stream:
        stream.write(b"half")
        assert leftovers.leftovers(tmp_path) == []


def test_what_other_programs_are_writing_is_not_left_over(tmp_path: Path) -> None:
    """``doctor --clean`` looks below a whole home folder, in which many others keep what is not finished."""
    others = [".film.mkv.part", ".a.json.123.tmp", "x.4711.tmp.npy", ".notes.abcdefgh.part", "part", "bat-agent-notes"]
    for name in others:
        (tmp_path / name).write_bytes(b"1")
        os.utime(tmp_path / name, (time.time() - 100 * leftovers.OLD_S,) * 2)
    assert leftovers.leftovers(tmp_path, deep=True) == []
    ours = leftovers.temporary_beside(tmp_path / "model.bin")
    ours.write_bytes(b"1")
    os.utime(ours, (time.time() - 2 * leftovers.OLD_S,) * 2)
    assert [left.path for left in leftovers.leftovers(tmp_path, deep=True)] == [ours]


def test_temporary_folders_of_the_dead_go_when_the_next_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import os, sys, tempfile; tempfile.tempdir = sys.argv[1]; from bat_agent.files import leftovers;"
        "(leftovers.make_temporary_folder() / 'x').write_bytes(b'123'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert [left.bytes for left in leftovers.leftover_folders()] == [3]
    with leftovers.temporary_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_one_writer_at_a_time_and_a_dead_one_does_not_count(tmp_path: Path) -> None:
    """Worker processes inherit a lock when they are forked: they must not keep it when the run is killed."""
    code = (
        "import os, sys, time; from pathlib import Path; from bat_agent.files.locking import locked\n"
        "with locked(Path(sys.argv[1]), 'busy'):\n"
        "    if os.fork() == 0:\n"
        "        os.write(1, b'let go\\n'); sys.stdin.read(); os._exit(0)\n"
        "    os.write(1, b'held\\n'); time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    # The child lets go of the lock as soon as it runs, which on a busy machine may be after the other has the lock.
    assert {holder.stdout.readline(), holder.stdout.readline()} == {"held\n", "let go\n"}
    with pytest.raises(BadInput, match=r"^busy$"), locked(tmp_path, "busy"):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path, "busy"):  # the child is alive still
        pass
    holder.communicate()
