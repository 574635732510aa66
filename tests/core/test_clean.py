"""What killed commands left: removed by the next run of the same command, or by ``bat-agent doctor --clean``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bat_agent.cli import app
from bat_agent.cli.entry import run_app
from bat_agent.files import leftovers
from bat_agent.files.writing import write_bytes

KILLED = """
import os, sys
from pathlib import Path
from bat_agent.files.leftovers import make_temporary_folder
from bat_agent.files.writing import whole_file
with whole_file(Path(sys.argv[1])) as stream:
    stream.write(bytes(1000))
    stream.flush()
    print((make_temporary_folder() / "x").write_text("much"), flush=True)
    os.kill(os.getpid(), 9)
"""


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run_app(app, "bat-agent", ["doctor", *arguments])
    return (int(ended.value.code or 0), *capsys.readouterr())


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a process was killed that had a temporary folder, too."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "runs" / "one").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(leftovers, "_cleared", set())
    subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "runs" / "one" / "model.bin"], check=False,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert [path.name.endswith(".part") for path in (tmp_path / "runs" / "one").iterdir()] == [True]
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    return tmp_path


def test_doctor_lists_and_removes_it_and_nothing_else(killed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = killed / "runs" / ".keep.part.txt"
    keep.touch()
    mine = leftovers.temporary_beside(killed / "runs" / "mine")
    mine.touch()  # this process runs
    elsewhere = killed / "runs" / ".model.bin.ffffff-1-0.part"
    elsewhere.touch()  # another machine, which may run
    code, out, _ = doctor(capsys, "--clean", "--in", str(killed / "runs"), "--json")
    told = json.loads(out)
    assert code == 0
    assert [each["removed"] for each in told] == [True, True]
    assert sorted(each["bytes"] for each in told) == [4, 1000]
    assert sorted(path.name for path in (killed / "runs").iterdir()) == sorted(
        [keep.name, mine.name, elsewhere.name, "one"]
    )
    assert list((killed / "runs" / "one").iterdir()) == list((killed / "tmp").iterdir()) == []
    old_s = time.time() - leftovers.OLD_S - 60
    os.utime(elsewhere, (old_s, old_s))
    assert elsewhere.name in doctor(capsys, "--clean", "--in", str(killed / "runs"))[1].replace("\n", "")
    assert not elsewhere.exists()
    assert doctor(capsys, "--clean", "--in", str(killed))[1] == "nothing was left behind\n"


def test_the_next_write_into_the_folder_removes_it(killed: Path) -> None:
    write_bytes(killed / "runs" / "one" / "model.bin", b"whole")
    assert [path.name for path in (killed / "runs" / "one").iterdir()] == ["model.bin"]


def test_a_folder_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no folder /no/such" in doctor(capsys, "--clean", "--in", "/no/such")[2]
    assert doctor(capsys, "--in", "/")[2] == "error: --in says where --clean looks: give --clean, too\n"
