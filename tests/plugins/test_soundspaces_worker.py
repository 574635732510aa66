"""Engine processes: what dies in them stays in them, they end with their owner, and they serve threads and forks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.scene import Room
from bat_agent_soundspaces.boxes import box_geometry
from bat_agent_soundspaces.engine import Acoustics, EngineError, HeadQuery, Trace
from bat_agent_soundspaces.materials import find_material, load_materials
from bat_agent_soundspaces.worker import RECYCLE_AFTER, Pool

pytestmark = pytest.mark.skipif(
    find_spec("rlr_audio_propagation") is None,
    reason="needs the extra soundspaces",
)
TABLE = load_materials()
BOX = box_geometry(Room((5.0, 3.0, 4.0), 0.3), lambda name: find_material(name, TABLE))
TRACE = Trace(Acoustics(200, 20), BOX, (2.0, 1.5, 2.0), 0.0, ((4.0, 1.2, 3.0),), "the test box")
OWNER = """
import sys
from bat_agent_soundspaces.worker import Pool
from bat_agent_soundspaces.engine import Acoustics, Trace
pool = Pool(1, 30.0, 4 << 30)
pool.trace(Trace(Acoustics(1, 1, indirect=False), None, (0.0, 0.0, 0.0), 0.0, ((1.0, 0.0, 0.0),), "a test"))
print(pool.process_ids()[0], flush=True)
"""


@pytest.fixture(autouse=True)
def _ctrl_c_as_at_a_terminal() -> Iterator[None]:
    """Where the test run was started in the background, a shell has it ignore SIGINT, and its children too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(1, timeout_s=30.0, memory_limit_bytes=4 << 30)
    yield pool
    pool.close()


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends_soon(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(pid)


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_nothing_it_prints_reaches_the_user(pool: Pool, capfd: pytest.CaptureFixture[str]) -> None:
    """The engine prints a line for every context it makes."""
    pool.trace(TRACE)
    pool.head(HeadQuery(None, np.array([[0.0, 0.0, -1.0]])))
    assert capfd.readouterr() == ("", "")


def test_a_segmentation_fault_is_one_clear_error_and_the_next_render_works(pool: Pool) -> None:
    before = pool.trace(TRACE).rirs[0]
    assert BOX is not None
    wild = replace(TRACE, geometry=replace(BOX, faces=BOX.faces + 10_000_000), what="the mesh wild.glb")
    with pytest.raises(EngineError, match=r"died \(by SIG[A-Z]+.*\) on the mesh wild\.glb; a new one starts"):
        pool._request(wild)  # past the check, which would refuse it
    assert np.array_equal(pool.trace(TRACE).rirs[0], before)


def test_running_out_of_memory_stays_inside() -> None:
    """A NaN position makes the engine allocate without bound; here it meets the limit of its address space."""
    pool = Pool(1, timeout_s=60.0, memory_limit_bytes=1 << 30)
    try:
        with pytest.raises(EngineError, match="raise that"):
            pool._request(replace(TRACE, sources_m=((float("nan"), 1.0, 1.0),)))
        assert pool.trace(TRACE).rirs[0].shape[0] == 2
    finally:
        pool.close()


def test_bad_input_never_reaches_a_process(pool: Pool) -> None:
    with pytest.raises(BadInput, match="finite"):
        pool.trace(replace(TRACE, listener_m=(float("nan"), 0.0, 0.0)))
    assert pool.process_ids() == []


def test_a_render_that_takes_too_long_is_stopped() -> None:
    pool = Pool(1, timeout_s=0.5, memory_limit_bytes=4 << 30)
    try:
        slow = replace(TRACE, acoustics=Acoustics(100_000, 500))
        with pytest.raises(EngineError, match=r"more than 0\.5 s for the test box"):
            pool.trace(slow)
        assert pool.process_ids() == []
    finally:
        pool.close()


def test_an_error_of_the_binding_names_the_scene(pool: Pool) -> None:
    with pytest.raises(EngineError, match=r"failed for the test box: .*Error"):
        pool._request(replace(TRACE, acoustics=replace(TRACE.acoustics, output="stereo")))


def test_a_killed_process_is_replaced(pool: Pool) -> None:
    pool.trace(TRACE)
    [pid] = pool.process_ids()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="by SIGKILL"):
        pool.trace(TRACE)
    pool.trace(TRACE)
    assert pool.process_ids() != [pid]
    assert not Path(f"/proc/{pid}").exists(), "a zombie stays"


def test_close_ends_the_process_and_the_next_render_starts_another(pool: Pool) -> None:
    pool.trace(TRACE)
    [pid] = pool.process_ids()
    pool.close()
    assert not Path(f"/proc/{pid}").exists()
    assert pool.trace(TRACE).rirs[0].shape[0] == 2


@pytest.mark.parametrize("end", ["exit", "exception", "sigkill", "sigint"])
def test_it_ends_with_its_owner_and_without_noise(end: str) -> None:
    tails = {"exit": "", "exception": "raise SystemExit(3)"}
    script = OWNER + tails.get(end, "import time; time.sleep(60)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert end not in ("sigkill", "sigint") or is_running(pid)
        if end in ("sigkill", "sigint"):
            owner.send_signal(signal.SIGKILL if end == "sigkill" else signal.SIGINT)
        out, err = owner.communicate(timeout=20)
    assert ends_soon(pid)
    assert out == ""
    assert err == "" or (end == "sigint" and err.strip().endswith("KeyboardInterrupt"))


def test_ctrl_c_while_it_renders_leaves_no_stale_answer(pool: Pool) -> None:
    """The answer to the interrupted question must not be taken for that to the next."""
    expected = pool.trace(TRACE).rirs[0]
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pool.trace(replace(TRACE, acoustics=Acoustics(100_000, 500)))
    timer.join()
    assert np.array_equal(pool.trace(TRACE).rirs[0], expected)


def test_several_threads_get_their_own_answers() -> None:
    pool = Pool(2, timeout_s=60.0, memory_limit_bytes=4 << 30)
    try:
        traces = [replace(TRACE, sources_m=((1.0 + 0.3 * i, 1.2, 3.0),)) for i in range(8)]
        alone = [pool.trace(trace).rirs[0] for trace in traces]
        with ThreadPoolExecutor(6) as threads:
            together = list(threads.map(lambda trace: pool.trace(trace).rirs[0], traces))
        assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
        assert all(np.array_equal(a, b.rirs[0]) for a, b in zip(alone, pool.map(traces), strict=True))
        assert len(pool.process_ids()) == 2
    finally:
        pool.close()


def test_a_forked_process_starts_its_own_and_leaves_ours_alone(pool: Pool) -> None:
    """As in the workers of a data loader, which are daemonic and so may have no children of multiprocessing."""
    expected = pool.trace(TRACE).rirs[0]
    ours = pool.process_ids()
    receive, send = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        send.send((pool.trace(TRACE).rirs[0], pool.process_ids()))

    process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
    process.start()
    assert receive.poll(20)
    rir, theirs = receive.recv()
    process.join(20)
    assert process.exitcode == 0
    assert np.array_equal(rir, expected)
    assert set(theirs).isdisjoint(ours)
    assert ends_soon(theirs[0])
    assert np.array_equal(pool.trace(TRACE).rirs[0], expected)
    assert pool.process_ids() == ours


def test_memory_is_flat(pool: Pool) -> None:
    """Reusing a context would cost 1.8 MB a render; fresh ones must cost nothing that lasts."""
    small = replace(TRACE, acoustics=Acoustics(50, 10))
    for _ in range(60):
        pool.trace(small)
    [pid] = pool.process_ids()
    before = rss_mb(pid)
    for _ in range(150):
        pool.trace(small)
    assert pool.process_ids() == [pid]
    per_render_mb = (rss_mb(pid) - before) / 150
    assert per_render_mb * RECYCLE_AFTER < 200


def test_it_is_replaced_after_many_jobs(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bat_agent_soundspaces.worker.RECYCLE_AFTER", 2)
    seen = []
    for _ in range(5):
        pool.trace(TRACE)
        seen.append(pool.process_ids()[0])
    assert seen[0] == seen[1] != seen[2] == seen[3] != seen[4]
    assert not Path(f"/proc/{seen[0]}").exists()
