"""What stops the making of a set of RIRs, and what is left behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bat_agent.datasets import engines
from bat_agent.datasets.plan import Plan
from bat_agent.datasets.rirs import make_rirs
from bat_agent.errors import BadInput

PLAN = Plan("echo", rooms=5, count=23, seed=3, sources=2, mono=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set of PLAN, made without interruption in one process."""
    out = tmp_path_factory.mktemp("whole")
    assert make_rirs(PLAN, out).made == 23
    return out


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 4}, "(seed 3, now 4); give the same again to resume, or another --out"),
        ({"options": {"head_shadow_db": 3.0}}, "(options {}, now {'head_shadow_db': 3.0})"),
        ({"rooms": 6, "mono": False}, "(rooms 5, now 6; mono True, now False)"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_arguments_are_refused(tmp_path: Path, changed: dict[str, Any], says: str, finished: bool) -> None:
    if finished:
        make_rirs(PLAN, tmp_path)
    else:
        with pytest.raises(KeyboardInterrupt):
            make_rirs(PLAN, tmp_path, engine=_interrupted)
    before = contents(tmp_path)
    with pytest.raises(BadInput) as refused:
        make_rirs(Plan(**{**PLAN.arguments(), **changed}), tmp_path)
    assert says in str(refused.value)
    assert contents(tmp_path) == before


def _interrupted(work: Any, tasks: Any) -> Iterator[Any]:
    yield work(next(iter(tasks)))
    raise KeyboardInterrupt


def test_a_released_file_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "mp3d_reverb/train_reverberation.json"
    file.parent.mkdir()
    file.write_text('{"data": []}')
    with pytest.raises(BadInput, match="was not written by bat-agent dataset rirs; choose another --out"):
        make_rirs(PLAN, tmp_path)


def test_two_runs_cannot_write_one_set(tmp_path: Path) -> None:
    def engine(work: Any, tasks: Any) -> Iterator[Any]:
        with pytest.raises(BadInput, match=r"another run is writing .*mp3d_reverb; wait for it"):
            make_rirs(PLAN, tmp_path)
        yield from engines.in_process(work, tasks)

    assert make_rirs(PLAN, tmp_path, engine=engine).made == 23


def test_a_broken_list_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_rirs(PLAN, tmp_path, engine=_interrupted)
    journal = tmp_path / "mp3d_reverb/train_reverberation.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for broken in (b"{nonsense}\n", b"[]\n", b'{"fname": "../x.npy"}\n'):
        journal.write_bytes(b"".join([*lines[:2], broken, *lines[2:]]))
        with pytest.raises(BadInput, match=r"\.jsonl, line 3: not what .* delete this file to begin anew"):
            make_rirs(PLAN, tmp_path)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "free some space there and run the same command again, it goes on where it stopped"),
        (errno.EACCES, "you may not write there: choose another place"),
    ],
)
def test_a_full_or_closed_disk_is_one_sentence_and_leaves_no_half_file(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, says: str
) -> None:
    real, calls = os.replace, []

    def full(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) < 8:
            return real(source, target)
        raise OSError(code, os.strerror(code), str(source))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(BadInput, match=rf"cannot write .*npy \({os.strerror(code)}\); {says}"):
            make_rirs(PLAN, tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    make_rirs(PLAN, tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_a_worker_of_other_versions_is_refused(tmp_path: Path) -> None:
    def engine(work: Any, tasks: Any) -> Iterator[Any]:
        for task in tasks:
            yield [made._replace(item=made.item | {"versions": {"torch": "0.1"}}) for made in work(task)]

    with pytest.raises(BadInput, match=r"a worker has .*0\.1.* install the same versions on all"):
        make_rirs(PLAN, tmp_path, engine=engine)


def test_what_a_simulator_refuses_names_the_room(tmp_path: Path) -> None:
    plan = Plan("shoebox", 1, 1, options={"min_distance_m": 9.98})
    with pytest.raises(BadInput, match=r"^shoebox-train-00000: .*min_distance_m"):
        make_rirs(plan, tmp_path)
