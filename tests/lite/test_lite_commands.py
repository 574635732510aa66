"""The commands, the page, the server and environments on the exported model. Nothing here needs torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bat_agent import lite
from bat_agent.cli import listen as listen_command
from bat_agent.cli.entry import run_app

pytest.importorskip("onnxruntime")

RATE_HZ = 32_000
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise on the left."""
    rng = np.random.default_rng(0)
    dry = 0.1 * rng.standard_normal(2 * RATE_HZ)
    ears = np.stack([dry, 10**-0.5 * np.roll(dry, 16)]) + 1e-3 * rng.standard_normal((2, len(dry)))
    found = tmp_path_factory.mktemp("lite") / "left.wav"
    soundfile.write(found, ears.T.astype(np.float32), RATE_HZ, subtype="FLOAT")
    return found


def test_perceive_and_ask(run: Run, file: Path) -> None:
    code, out, err = run("perceive", file, "--model", "lite", "--json")
    assert code == 0, err
    assert json.loads(out)["sources"][0]["region"].startswith("left")
    code, out, err = run("ask", file, "Is the sound on the left or the right?", "--model", "lite", "--threads", "2")
    assert (code, out.split()[0]) == (0, "left"), err


def test_a_timeline(run: Run, file: Path) -> None:
    code, out, err = run("perceive", file, "--model", "lite", "--every", "1", "--json")
    assert code == 0, err
    assert json.loads(out)["tracks"][0]["region"].startswith("left")


def test_another_encoder_is_refused(run: Run, file: Path) -> None:
    code, _, err = run("perceive", file, "--model", "lite", "--encoder", "echo")
    assert code == 2
    assert "is exported, so it is heard as it is, without --encoder and --reasoner" in err


def test_bat_listen_lite(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run_app(listen_command.app, "bat-listen", arguments)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    code, out, err = call("--file", str(file), "--fast", "--jsonl", "-", "--lite")
    assert code == 0, err
    updates = [json.loads(line) for line in out.splitlines()]
    assert updates[-1]["sources"]
    code, _, err = call("--file", str(file), "--lite", "--model", "elsewhere")
    assert code == 2
    assert "--lite is the model lite" in err


def test_the_server_serves_it(file: Path) -> None:
    pytest.importorskip("starlette")
    from bat_agent.serving.ears import ARRAYS, PERCEPTIONS, Ears, Job

    ears = Ears(lite.load())
    sound = lite.read_audio(file)
    (heard,) = ears.run([Job(sound, frozenset({ARRAYS, PERCEPTIONS}))])
    assert heard.perception is not None
    assert heard.perception["sources"][0]["region"].startswith("left")
    assert heard.arrays is not None
    assert heard.arrays["direction"].shape == (2, 3)
    (asked,) = ears.run([Job(sound, questions=("Is the sound on the left or the right?",))])
    assert asked.answers is not None
    assert asked.answers[0]["answer"] == "left"


def test_an_environment_hears_by_it(file: Path) -> None:
    gymnasium = pytest.importorskip("gymnasium")
    from bat_agent_envs import SpatialHearing

    sound = lite.read_audio(file)

    class Room(gymnasium.Env):  # type: ignore[misc, name-defined]
        observation_space = gymnasium.spaces.Box(-1, 1, sound.shape)
        action_space = gymnasium.spaces.Discrete(2)
        sample_rate_hz = RATE_HZ

        def step(self, action: Any) -> Any:
            return sound, 0.0, False, False, {}

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return sound, {}

    env = SpatialHearing(Room(), model="lite")
    env.reset(seed=0)
    observation, *_, info = env.step(0)
    assert observation["audio/direction"][0, 0] < 0
    assert info["bat"]["text"]
    assert str(env.get_wrapper_attr("ask")("Is the sound on the left or the right?")) == "left"
