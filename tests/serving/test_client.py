"""``HearingClient`` by itself, and the command ``bat-agent serve`` from its line to its end."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.serving.server import choose_token, is_loopback, listen
from bat_agent_envs.client import HearingClient, HearingServerError

RATE_HZ = 32_000
TOKEN = "open-sesame"
LONG_S = 20.0  # never waited for in full: a test that does has failed
Serve = Callable[..., Any]  # the fixture ``serve``: starts a server in this process
ROOT = Path(__file__).resolve().parents[2]


def clip(left: float = 0.1, right: float = 0.1, seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((2, round(seconds * RATE_HZ)))
    return (noise * [[left], [right]]).astype(np.float32)


def sides(perceptions: Sequence[dict[str, Any]]) -> list[float]:
    return [perception["sources"][0]["azimuth_deg"] for perception in perceptions]


# --- the client alone ---


def test_a_client_outlives_its_server(serve: Serve) -> None:
    """Its kept connection ends with the first server; it finds the second one at the same address."""
    first = serve()
    ears = first.client(retries=2)
    assert sides([ears.perceive(clip(0.5, 0.1))]) == [180.0]
    first.stop()
    with pytest.raises(
        HearingServerError, match=r"no server answers at http://127.*start bat-agent serve.*tried 3 times"
    ):
        ears.health()
    second = serve(port=first.port)
    assert second.url == first.url
    assert sides([ears.perceive(clip(0.5, 0.1))]) == [180.0]


def test_questions_of_one_conversation_go_on_from_each_other(serve: Serve) -> None:
    """The server keeps what was asked, by the name of the conversation alone."""
    served = serve()
    served.bat.reasoner.converses = True
    with served.client() as ears:
        first = ears.ask(clip(), "Where is the dog?", conversation="robot-1")
        second = ears.ask(clip(seed=1), ["And how far?", "And now?"], conversation="robot-1")
        other = ears.ask(clip(), "And how far?", conversation="robot-2")
        alone = ears.ask(clip(), "And how far?")
        with pytest.raises(BadInput, match="a conversation is named by 1 to 64 letters"):
            ears.ask(clip(), "And how far?", conversation="a b")
    asked = "Q: Where is the dog? A: You asked: Where is the dog? Q: And how far?"
    assert first["answer"] == "You asked: Where is the dog?"
    assert (second[0]["question"], second[0]["answer"]) == ("And how far?", f"You asked: {asked}")
    assert second[1]["answer"].endswith(" Q: And now?")
    assert other["answer"] == alone["answer"] == "You asked: And how far?"


def test_a_server_that_does_not_answer_is_given_up(serve: Serve) -> None:
    served = serve()
    served.bat.encoder.close_gate()
    with pytest.raises(HearingServerError, match=r"did not answer within 0\.2 s"):
        served.client(timeout_s=0.2).perceive(clip())


def test_a_client_goes_to_other_processes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()
    monkeypatch.setenv("BAT_AGENT_URL", served.url + "/")
    monkeypatch.setenv("BAT_AGENT_TOKEN", TOKEN)
    ears = HearingClient()
    wanted = ears.perceive(clip())
    assert pickle.loads(pickle.dumps(ears)).perceive(clip()) == wanted
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as it looks after a fork
    assert ears.perceive(clip()) == wanted


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8765", "ftp://host", "http://", "http://host:port", "http://host:99999"]
)
def test_addresses_that_are_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAT_AGENT_URL", raising=False)
    with pytest.raises(BadInput, match="is no address: give the one bat-agent serve printed"):
        HearingClient(url, TOKEN)
    with pytest.raises(BadInput, match="characters that no header can carry"):
        HearingClient("http://127.0.0.1:8765", "a\nb")


def test_another_server_is_recognised() -> None:
    import http.server

    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.handle_request).start()
        with pytest.raises(HearingServerError, match="not that of bat-agent serve: check the url"):
            HearingClient(f"http://127.0.0.1:{stranger.server_address[1]}", TOKEN).health()


def test_the_client_needs_numpy_and_the_standard_library_alone() -> None:
    """In a fresh interpreter everything else that is imported is ours."""
    code = """
import sys, json
before = set(sys.modules)
import numpy
known = set(sys.modules)
sys.modules["gymnasium"] = None  # as where it is not installed; with it, importing the package registers environments
from bat_agent_envs.client import HearingClient
from bat_agent.errors import BadInput
new = {name.partition(".")[0] for name in set(sys.modules) - known if sys.modules[name]}
print(json.dumps(sorted(new - set(sys.stdlib_module_names))))
"""
    path = os.pathsep.join([str(ROOT), str(ROOT / "envs")])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == ["bat_agent", "bat_agent_envs"]


# --- the command ---


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("robot.lan", False)],
)
def test_beyond_loopback_a_token_must_be_given(host: str, loopback: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAT_AGENT_TOKEN", raising=False)
    assert is_loopback(host) == loopback
    assert choose_token(TOKEN, host) == TOKEN
    if loopback:
        assert choose_token(None, host) != choose_token(None, host)
        assert len(choose_token(None, host)) >= 32
    else:
        with pytest.raises(BadInput, match="needs a token of yours: set BAT_AGENT_TOKEN or give --token"):
            choose_token(None, host)
    monkeypatch.setenv("BAT_AGENT_TOKEN", "from-the-environment")
    assert choose_token(None, host) == "from-the-environment"
    for bad in ("", "two words", "ohé", "line\n"):
        with pytest.raises(BadInput, match="visible ASCII characters without spaces"):
            choose_token(bad, host)


def test_what_keeps_the_command_from_serving_is_one_sentence(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAT_AGENT_TOKEN", raising=False)
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        code, out, err = run("serve", "--port", port)
        assert (code, out) == (2, "")
        assert err == (
            f"error: cannot listen on 127.0.0.1 port {port} (Address already in use): choose another --port, or 0 for "
            "a free one\n"
        )
    code, out, err = run("serve", "--host", "0.0.0.0", "--port", 0)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "needs a token of yours" in err
    code, out, err = run("serve", "--host", "no.such.host.invalid", "--port", 0, "--token", TOKEN)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'no.such.host.invalid' is no address of this machine" in err
    code, out, err = run("serve", "--port", 0, "--model", "no-such-model")
    assert (code, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("ended_by", "as_json"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, False)]
)
def test_the_command_serves_until_it_is_ended(ended_by: signal.Signals, as_json: bool) -> None:
    """A fresh process with the shipped model; the line it prints is enough for a client."""
    # Tests under nohup hand SIGHUP down ignored, which the command respects.
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); from bat_agent.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--port", "0"]
    environment = {k: v for k, v in os.environ.items() if k != "BAT_AGENT_TOKEN"} | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *(["--json"] if as_json else [])], env=environment, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        if as_json:
            said = json.loads(line)
            assert (said["model"], said["pid"]) == ("bat-small", process.pid)
        else:
            pairs = dict(pair.split("=", 1) for pair in line.split())
            said = {"url": pairs["BAT_AGENT_URL"], "token": pairs["BAT_AGENT_TOKEN"]}
        with HearingClient(said["url"], said["token"]) as ears:
            assert ears.perceive(np.zeros((2, RATE_HZ), np.float32))["sources"] == []
            process.send_signal(ended_by)  # while a connection is kept
            rest, errors = process.communicate(timeout=LONG_S)
    assert (process.returncode, rest, errors) == (0, "", "")
