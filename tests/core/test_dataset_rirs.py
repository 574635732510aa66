"""Sets of RIRs: the released layout, the same bytes however they were made, and what stops a run."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bat_agent.datasets import engines, layout, rirs
from bat_agent.datasets.placements import another_placement
from bat_agent.datasets.plan import Plan, Task
from bat_agent.datasets.rirs import make_rirs
from bat_agent.datasets.tasks import MakeRirs
from bat_agent.errors import BadInput, BatAgentError
from bat_agent.files.leftovers import temporary_beside
from bat_agent.registry import load_simulator
from bat_agent.scene import Listener, MeshRoom, Room, Scene, Source

PLAN = Plan("echo", rooms=5, count=23, seed=3, sources=2, mono=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def entries(out: Path, split: str = "train") -> list[dict[str, Any]]:
    """As a released reader does it."""
    return json.loads((out / "mp3d_reverb" / f"{split}_reverberation.json").read_text())["data"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set of PLAN, made without interruption in one process."""
    out = tmp_path_factory.mktemp("whole")
    assert make_rirs(PLAN, out).made == 23
    return out


# --- what a set is ---


def test_the_layout_is_the_released_one(whole: Path) -> None:
    data = entries(whole)
    assert len({item["fname"] for item in data}) == len(data) == 23
    for item in data:
        rir = np.load(whole / "mp3d_reverb/binaural" / item["fname"])
        mono = np.load(whole / "mp3d_reverb/mono" / item["fname"])
        assert rir.dtype == mono.dtype == np.float64
        assert rir.shape == (2, item["samples"])
        assert mono.shape == (1, item["samples"])
        assert mono[0] == pytest.approx(rir.mean(axis=0), abs=1e-7)
        for key in ("sensor_position", "source_position"):
            assert len([float(number) for number in item[key].split(",")]) == 3
    assert sorted(contents(whole)) == sorted(
        ["mp3d_reverb/train_reverberation.json"]
        + [f"mp3d_reverb/{kind}/{item['fname']}" for kind in ("binaural", "mono") for item in data]
    )


def test_rirs_spread_evenly_over_rooms_and_rooms_hold_several_placements(whole: Path) -> None:
    rooms: dict[str, list[Scene]] = {}
    for item in entries(whole):
        rooms.setdefault(item["fname"].split("/")[0], []).append(Scene.from_dict(item["scene"]))
    assert sorted(Counter(map(len, rooms.values())).items()) == [(4, 2), (5, 3)]
    assert len({scenes[0].room for scenes in rooms.values()}) == 5
    for scenes in rooms.values():
        assert len({scene.room for scene in scenes}) == 1, "one room, one geometry"
        placements = {scene.seed: scene for scene in scenes}.values()
        assert len(placements) == 3 - (len(scenes) == 4), "two sources a placement, the last one may have fewer"
        assert len({scene.listener for scene in placements}) == len(placements)


def test_an_entry_tells_what_the_released_ones_lack(whole: Path) -> None:
    for item in entries(whole):
        scene = Scene.from_dict(item["scene"])
        source = scene.sources[item["source_index"]]
        assert item["sensor_position"] == layout.position_text(scene.listener.position_m)
        assert item["source_position"] == layout.position_text(source.position_m)
        assert (item["heading_deg"], item["seed"]) == (scene.listener.heading_deg, scene.seed)
        assert (item["onset"], item["materials"]) == (scene.onset, list(scene.room.materials))
        assert scene.simulator == {"name": "echo", "options": {}}
        assert {"bat-agent", "torch", "numpy"} <= set(item["versions"])
        assert "hrtf" in item
        assert layout.position_of(item) == scene.positions()[item["source_index"]]


def test_splits_share_a_folder_and_draw_other_rooms(tmp_path: Path) -> None:
    for split in ("train", "eval"):
        make_rirs(Plan("echo", 2, 4, split=split), tmp_path)
    train, evaluation = entries(tmp_path), entries(tmp_path, "eval")
    assert len(train) == len(evaluation) == 4
    assert not {item["source_position"] for item in train} & {item["source_position"] for item in evaluation}


def test_seconds_cuts_and_pads(tmp_path: Path) -> None:
    make_rirs(Plan("echo", 1, 3, seconds=0.01), tmp_path)
    assert {item["samples"] for item in entries(tmp_path)} == {320}


@given(rooms=st.integers(1, 40), more=st.integers(0, 200), sources=st.integers(1, 20))
def test_tasks_cover_every_rir_once_in_whole_placements(rooms: int, more: int, sources: int) -> None:
    plan = Plan("echo", rooms, rooms + more, sources=sources)
    indices = [plan.index(task.room, n) for task in plan.tasks() for n in task.numbers]
    assert indices == list(range(plan.count))
    shares = [plan.share(room) for room in range(rooms)]
    assert max(shares) - min(shares) <= 1
    for task in plan.tasks():
        assert task.numbers[0] % sources == 0
        assert len(task.numbers) < 16 + sources


def test_a_rir_depends_on_its_room_and_placement_alone() -> None:
    """Made alone, in another order, and with other tasks before it."""
    work = MakeRirs(PLAN)
    together = work(Task(2, (0, 1, 2, 3, 4)))
    for number in (4, 0, 3):
        (alone,) = work(Task(2, (number,)))
        assert alone.item == together[number].item
        assert np.array_equal(alone.rir, together[number].rir)
        work(Task(number, (0,)))


# --- placements ---


def test_placements_without_help_stay_in_the_room_and_away_from_the_head(rng: np.random.Generator) -> None:
    room = Room((1.6, 2.4, 9.0))
    first = Scene(room, Listener((0.8, 1.5, 4.0), 45.0), (Source((0.5, 1.0, 1.0)), Source((0.5, 1.0, 2.0))), seed=1)
    echo = load_simulator("echo")
    scenes = [another_placement(echo, first, rng) for _ in range(200)]
    assert all(scene.room is room and scene.listener.position_m[1] == 1.5 for scene in scenes)
    distances = np.array([position.distance_m for scene in scenes for position in scene.positions()])
    assert len(distances) == 400
    assert 0.3 <= distances.min() < 1
    assert 6 < distances.max() < 10
    # The listener is uniform between the margins, so the mean is the middle to 3 standard errors.
    z = np.array([scene.listener.position_m[2] for scene in scenes])
    assert z.mean() == pytest.approx(4.5, abs=3 * (9 - 0.8) / np.sqrt(12 * 200))
    assert z.min() >= 0.4
    assert len({scene.listener.heading_deg for scene in scenes}) == 200


def test_placements_use_the_simulators_own_way(rng: np.random.Generator) -> None:
    class Own:
        def sample_placements(self, scene: Scene, rng: np.random.Generator, count: int) -> list[Scene]:
            return [mesh] * count

    mesh = Scene(MeshRoom("house.glb"), Listener((0, 1.5, 0)), (Source((1, 1, 1)),))
    assert another_placement(Own(), mesh, rng) is mesh  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"only one placement in a mesh, .*; ask for as many rooms as RIRs"):
        another_placement(load_simulator("echo"), mesh, rng)


# --- the same bytes, whatever happens on the way ---


PROCESSES = """
import os, pathlib, signal, sys
from bat_agent.datasets import engines
from bat_agent.datasets.plan import Plan
from bat_agent.datasets.rirs import make_rirs

folder = pathlib.Path(sys.argv[1])

class Mortal:
    "Does the work, and kills its process the first time it meets room 3."
    def __init__(self, work):
        self.work = work
    def __call__(self, task):
        if task.room == 3 and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work(task)

def engine(work, tasks):
    return engines.in_processes(Mortal(work), tasks, 2)

if __name__ == "__main__":
    plan = Plan("echo", rooms=5, count=23, seed=3, sources=2, mono=True)
    assert make_rirs(plan, folder / "set", engine=engine).made == 23
"""


@pytest.mark.slow
def test_processes_make_the_same_set_and_a_dead_worker_loses_nothing(whole: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"  # a fresh process finds its work by the name of its module
    program.write_text(PROCESSES)
    done = subprocess.run([sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "died").exists(), "a worker was to die midway"
    assert contents(tmp_path / "set") == contents(whole)


def test_workers_that_keep_dying_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_start_worker", functools.partial(os._exit, 9))
    with pytest.raises(BatAgentError, match=r"died 3 times in a row, .* fewer --workers, it resumes"):
        list(engines.in_processes(str, [1, 2], 1))


@pytest.mark.parametrize("stop_after", [1, 9, 22])
def test_a_run_that_stops_resumes_to_the_same_set(whole: Path, tmp_path: Path, stop_after: int) -> None:
    class Stop(Exception):
        pass

    def one_by_one(work: Any, tasks: Any) -> Iterator[Any]:
        for number, task in enumerate(Task(some.room, (n,)) for some in tasks for n in some.numbers):
            if number == stop_after:
                raise Stop
            yield work(task)

    with pytest.raises(Stop):
        make_rirs(PLAN, tmp_path, engine=one_by_one)
    assert not (tmp_path / "mp3d_reverb/train_reverberation.json").exists()
    journal = tmp_path / "mp3d_reverb/train_reverberation.jsonl"
    with journal.open("a") as file:
        file.write('{"fname": "echo-train-0')  # a line torn by the kill
    victim = tmp_path / "mp3d_reverb/binaural/echo-train-00000/0.npy"
    victim.write_bytes(victim.read_bytes()[:100])  # a file whose end never reached the disk
    unfinished = temporary_beside(victim.parent / "9.npy")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    name = unfinished.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-")
    (victim.parent / name).touch()  # and one that was never renamed, by a process that is gone
    assert make_rirs(PLAN, tmp_path).made == 23 - stop_after + 1
    assert contents(tmp_path) == contents(whole)


def test_kill_9_and_resume_give_the_same_set(tmp_path: Path) -> None:
    plan = Plan("echo", 300, 1500, sources=3)
    program = (
        "import sys, pathlib; from bat_agent.datasets.plan import Plan; from bat_agent.datasets.rirs import make_rirs\n"
        "make_rirs(Plan('echo', 300, 1500, sources=3), pathlib.Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "killed")])
    journal = tmp_path / "killed/mp3d_reverb/train_reverberation.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size > 100_000) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    made = make_rirs(plan, tmp_path / "killed").made
    assert 0 < made < 1500
    make_rirs(plan, tmp_path / "whole")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_finished_set_is_left_alone_and_mended_where_files_are_lost(whole: Path, tmp_path: Path) -> None:
    make_rirs(PLAN, tmp_path)
    assert make_rirs(PLAN, tmp_path).made == 0
    for lost in ("binaural/echo-train-00001/2.npy", "mono/echo-train-00004/0.npy"):
        (tmp_path / "mp3d_reverb" / lost).unlink()
    assert make_rirs(PLAN, tmp_path).made == 2
    assert contents(tmp_path) == contents(whole)


def test_progress_counts_up_to_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_rirs(PLAN, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 23)
    assert seen[-1] == (23, 23)
    assert seen == sorted(seen)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    """6000 entries need hardly more than 200, as the driver keeps 8 bytes of each; read as objects they fill 10 MB."""
    import gc
    import pathlib
    import tracemalloc

    # Names of files are interned by pathlib; the table of the whole interpreter grows by megabytes when it is its turn.
    not_interned = (tracemalloc.Filter(False, pathlib.__file__),)

    def held() -> int:
        gc.collect()
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(not_interned).traces)

    def held_at_the_end(plan: Plan, folder: Path) -> int:
        (some,) = MakeRirs(plan)(Task(0, (0,)))
        last = 0

        def engine(work: Any, tasks: Any) -> Iterator[Any]:
            nonlocal last
            for task in tasks:
                yield [some._replace(item=some.item | {"fname": plan.fname(task.room, n)}) for n in task.numbers]
            last = held()

        before = held()
        make_rirs(plan, folder, engine=engine)
        return last - before

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rirs, "write_bytes", lambda path, content, **how: None)
        tracemalloc.start()
        try:
            held_at_the_end(Plan("echo", 10, 200), tmp_path / "warm")  # what is imported on the way is not counted
            few = held_at_the_end(Plan("echo", 10, 200), tmp_path / "few")
            many = held_at_the_end(Plan("echo", 100, 6000), tmp_path / "many")
            before = held()
            everything = entries(tmp_path / "many")
            as_objects = held() - before
        finally:
            tracemalloc.stop()
    assert len(everything) == 6000
    assert as_objects > 10e6
    assert many - few < as_objects / 20
