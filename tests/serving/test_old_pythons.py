"""The client, and what renders through it, as files in older Pythons: habitat up to 0.3.3 comes with 3.9.

The interpreters are ``python3.8`` and ``python3.9`` with numpy, of the path, of pyenv, or named in
``BAT_AGENT_OLD_PYTHONS`` (separated as in PATH).
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.serving import protocol
from bat_agent_envs import client, habitat_sensors, served_sound
from bat_agent_envs.client import HearingClient

RATE_HZ = 32_000
FILES = {Path(module.__file__).stem: Path(module.__file__) for module in (client, habitat_sensors, served_sound)}
SESSION = """
import json, pickle, socket, sys, time, types
import numpy as np
import bat_agent_client as client
from bat_agent_habitat_sensors import SimulatorEars
from bat_agent_served_sound import HearingStream, ServedSound

assert "bat_agent" not in sys.modules
assert client.BadInput.__module__ == "bat_agent_client"
url, token = sys.argv[1:3]
found = {"python": list(sys.version_info[:2]), "numpy": np.__version__}
random = np.random.RandomState(0)
clips = [random.randn(2, n).astype(np.float32) * [[0.1], [0.01]] for n in (16000, 8000, 16000)]
with client.HearingClient(url, token) as ears:
    found["labels"] = len(ears.labels)
    found["azimuths"] = [one["sources"][0]["azimuth_deg"] for one in ears.perceive_batch(clips)]
    arrays = ears.arrays(np.stack([clips[0], clips[2]]))
    found["arrays"] = {name: [str(a.dtype), list(a.shape)] for name, a in arrays.items()}
    found["embedding"] = arrays["embedding"].tobytes().hex()
    found["answer"] = ears.ask(clips[0], "Where is it?")["answer"]
    found["answers"] = len(ears.ask(clips[0], ["a?", "b?"]))
    again = pickle.loads(pickle.dumps(ears))
    assert again.perceive(clips[0]) == ears.perceive(clips[0])
    for wrong in (np.zeros(100, np.float32), np.zeros((2, 100), np.int16), [[1, 2], [3]]):
        try:
            ears.perceive(wrong)
        except client.BadInput as error:
            assert isinstance(error, ValueError)
        else:
            raise AssertionError(wrong)
    milliseconds = []
    for _ in range(20):
        began = time.perf_counter()
        ears.arrays(clips[0][None])
        milliseconds.append(1000 * (time.perf_counter() - began))
    found["median_ms"] = sorted(milliseconds)[10]
    class Sim:
        def get_agent(self, number):
            turn = types.SimpleNamespace(w=1.0, x=0.0, y=0.0, z=0.0)
            state = types.SimpleNamespace(position=np.zeros(3), rotation=turn)
            return types.SimpleNamespace(get_state=lambda: state)
        def get_stage_initialization_template(self):
            return types.SimpleNamespace(render_asset_handle="/far/away/one/one.glb")

    sim, noise = Sim(), clips[0][0].astype(np.float32)
    hears = SimulatorEars(ears, 0.5, ServedSound([noise], [(2.0, 1.5, 0.0)], client=ears, step_s=0.1))
    for begins in (True, False):
        found["direction"] = hears.hear("direction", sim, {}, begins).tolist()
    with HearingStream(ears, "one/one.glb", [noise]) as stream:
        found["rendered"] = stream.step((0, 1.5, 0), 0, [(2, 1.5, 0)], want=["audio"])["audio"].tobytes().hex()
        milliseconds = []
        for number in range(20):
            began = time.perf_counter()
            stream.step((0, 1.5, 0), 10 * number, [(2, 1.5, 0)], want=["audio", "perceptions"])
            milliseconds.append(1000 * (time.perf_counter() - began))
    found["step_ms"] = sorted(milliseconds)[10]
deaf = socket.socket()
deaf.bind(("127.0.0.1", 0))
deaf.listen(1)
try:
    client.HearingClient("http://127.0.0.1:%d" % deaf.getsockname()[1], "", timeout_s=0.2).health()
except client.HearingServerError as error:
    found["silent"] = str(error)
print(json.dumps(found))
"""


def interpreters() -> list[str]:
    named = os.environ.get("BAT_AGENT_OLD_PYTHONS", "").split(os.pathsep)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [*named, *(shutil.which(name) for name in ("python3.8", "python3.9"))]
    found += [str(path / "bin" / "python") for version in ("3.8", "3.9") for path in sorted(pyenv.glob(f"{version}*"))]
    return list(dict.fromkeys(path for path in found if path and Path(path).is_file()))


def has_numpy(python: str) -> bool:
    asked = subprocess.run([python, "-c", "import numpy"], capture_output=True, env=_bare())
    return asked.returncode == 0


def _bare() -> dict[str, str]:
    """No PYTHONPATH, which may lead to bat-agent."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_the_files_alone_hear_in_old_pythons(rendering: Callable[..., Any], tmp_path: Path) -> None:
    """``zip(strict=)``, ``Callable[[…], …]``, a time-out that is another class before 3.10: met there only.

    What is rendered for them is, bit for bit, what this Python is given.
    """
    pythons = [python for python in interpreters() if has_numpy(python)]
    if not pythons:
        pytest.skip("needs a python3.8 or python3.9 with numpy: BAT_AGENT_OLD_PYTHONS=/path/to/python")
    served, _ = rendering()
    for name, file in FILES.items():
        shutil.copy(file, tmp_path / f"bat_agent_{name}.py")
    random = np.random.RandomState(0)
    sent = [random.randn(2, n).astype(np.float32) * [[0.1], [0.01]] for n in (16_000, 8_000, 16_000)]
    arrays = served.client().arrays(np.stack([sent[0], sent[2]]))
    stream = served_sound.HearingStream(served.client(), "one/one.glb", [sent[0][0].astype(np.float32)])
    rendered = stream.step((0, 1.5, 0), 0, [(2, 1.5, 0)], want=["audio"])["audio"]
    for python in pythons:
        done = subprocess.run(
            [python, "-c", SESSION, served.url, "open-sesame"],
            cwd=tmp_path, env=_bare(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        print({name: found[name] for name in ("python", "numpy", "median_ms", "step_ms")})
        assert found["azimuths"] == [180.0] * 3
        assert found["labels"] == 355
        assert found["answers"] == 2
        assert found["embedding"] == arrays["embedding"].tobytes().hex(), "bit for bit"
        assert found["rendered"] == rendered.tobytes().hex(), "bit for bit"
        assert found["direction"][0][0] > 0.9, "to the right"
        assert found["arrays"] == {name: [str(a.dtype), list(a.shape)] for name, a in arrays.items()}
        assert "did not answer within 0.2 s" in found["silent"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_old_python_and_imports_numpy_alone(name: str) -> None:
    """What needs no old interpreter to be seen: syntax, imports, and what came to the library after 3.8."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    ours, habitat_s = {"bat_agent", "bat_agent_envs", "bat_agent_client"}, {"habitat", "hydra", "gym", "gymnasium"}
    assert imported - ours - (habitat_s if name == "habitat_sensors" else set()) <= {
        "__future__", "base64", "collections", "contextlib", "dataclasses", "http", "itertools", "json", "math",
        "numpy", "os", "random", "socket", "threading", "time", "typing", "urllib",
    }  # fmt: skip
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            assert "Callable[" not in ast.unparse(statement.value), "evaluated: no Callable can be, before 3.9.2"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert "strict" not in {keyword.arg for keyword in node.keywords}
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            assert called not in ("removeprefix", "removesuffix", "bit_count")
            if called in ("isinstance", "issubclass"):
                assert not isinstance(node.args[1], ast.BinOp), "X | Y is no class before 3.10"
        assert not isinstance(node, ast.Match)


def test_the_file_speaks_the_server_s_protocol() -> None:
    """Its names are its own, as the server's file is not there."""
    for name in (
        "HEALTH", "LABELS", "PERCEIVE", "ASK", "SHAPE_HEADER", "SAMPLE_RATE_HEADER", "PERCEPTIONS", "ARRAYS",
        "SAMPLE_TYPE",
    ):  # fmt: skip
        assert getattr(client, f"_{name}") == getattr(protocol, name), name
    for array in (np.arange(6, dtype=np.float32).reshape(2, 3), np.array([True, False])):
        back = client._unpack(protocol.pack(array))
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.tobytes() == array.tobytes()
    assert HearingClient.__module__ == "bat_agent_envs.client"
