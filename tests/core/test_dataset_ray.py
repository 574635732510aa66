"""A set made on a two-node Ray cluster, while a worker and a node die, is the set that one process makes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bat_agent.datasets import engines
from bat_agent.datasets.plan import Plan
from bat_agent.datasets.rirs import make_rirs
from bat_agent.errors import BadInput

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")

# In a process of its own: Ray leaves threads and handlers behind, which must not meet other tests.
PROGRAM = """
import collections, json, os, pathlib, signal, sys, time
from ray.cluster_utils import Cluster
from bat_agent.datasets import engines
from bat_agent.datasets.plan import Plan
from bat_agent.datasets.rirs import make_rirs

folder = pathlib.Path(sys.argv[1])

class Mortal:
    "Does the work slowly enough to be killed, notes who did it, and dies the first time it meets room 3."
    def __init__(self, work):
        self.work = work
    def __call__(self, task):
        import ray
        time.sleep(0.2)
        if task.room == 3 and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with open(folder / "log", "a") as log:
            log.write(f"{task.room} {ray.get_runtime_context().get_node_id()}\\n")
        return self.work(task)

small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
second = cluster.add_node(**small)
cluster.wait_for_nodes()
seen, gone = [], []

def progress(done, total):
    seen.append(done)
    if done >= total // 2 and not gone:
        gone.append(done)
        cluster.remove_node(second)

def engine(work, tasks):
    return engines.on_ray(Mortal(work), tasks, cluster.address)

summary = make_rirs(Plan("echo", 12, 36, seed=5), folder / "set", engine=engine, progress=progress)
nodes = {line.split()[1] for line in (folder / "log").read_text().splitlines()}
print(json.dumps({"made": summary.made, "seen": seen, "nodes": len(nodes), "gone": gone}))
cluster.shutdown()
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@needs_ray
@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_a_worker_and_a_node_die(tmp_path: Path) -> None:
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (tmp_path / "died").exists(), "the worker was to die midway"
    assert told["gone"], "the node was to go midway"
    assert told["gone"][0] < told["made"]
    assert told["nodes"] == 2, "both nodes were to work"
    assert told["made"] == told["seen"][-1] == 36
    assert sorted(told["seen"]) == told["seen"]
    make_rirs(Plan("echo", 12, 36, seed=5), tmp_path / "alone")
    assert contents(tmp_path / "set") == contents(tmp_path / "alone")


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere"])
def test_a_cluster_that_is_not_there_is_told_at_once(address: str) -> None:
    """Nothing listens on the discard port of this machine."""
    with pytest.raises(BadInput, match=rf"no Ray cluster answers at '{address}'; start one with 'ray start --head'"):
        list(engines.on_ray(str, [1], address))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"--ray needs the package ray, .*'\.\[ray\]'"):
        engines.engine_of(1, "auto")
