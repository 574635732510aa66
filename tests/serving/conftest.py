"""A server in this process, with an encoder that can be made to wait, and free air to render in."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent.agent import Bat, ModelConfig
from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding
from bat_agent.scene import Scene, relative_position
from bat_agent.serving.server import HearingServer, ServerOptions, listen, url_of
from bat_agent.serving.streams import StreamLimits, Streams
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner
from bat_agent_envs.client import HearingClient

TOKEN = "open-sesame"
LONG_S = 20.0  # never waited for in full: a test that does has failed
CONFIG = ModelConfig("echo", {"name": "echo", "options": {}}, {"name": "echo", "options": {}})


class GatedEncoder(EchoEncoder):
    """Keeps the batches it was given, and waits for its gate before each."""

    def __init__(self) -> None:
        super().__init__(EchoEncoderConfig(token_dim=8))
        self.gate, self.began = threading.Event(), threading.Event()
        self.gate.set()
        self.batches: list[torch.Tensor] = []

    def forward(self, waveform: torch.Tensor) -> Encoding:
        self.batches.append(waveform)
        self.began.set()
        assert self.gate.wait(LONG_S)
        if bool((waveform.abs() > 50).any()):
            raise RuntimeError("too loud")
        return super().forward(waveform)

    def close_gate(self) -> None:
        self.batches.clear()
        self.gate.clear()
        self.began.clear()


class Served:
    """A server in a thread of this process."""

    def __init__(self, bat: Bat, port: int = 0, **options: Any) -> None:
        up = threading.Event()
        listening = listen("127.0.0.1", port)
        self.url = url_of(listening, "127.0.0.1")
        self.port: int = listening.getsockname()[1]
        self.bat = bat
        self.server = HearingServer(bat, listening, TOKEN, ServerOptions(**options), up.set)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        assert up.wait(LONG_S)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(LONG_S)
        assert not self.thread.is_alive()

    def client(self, token: str = TOKEN, **options: Any) -> HearingClient:
        return HearingClient(self.url, token, **options)

    def raw(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of one request without our client; ``X_Bat_Shape`` stands for ``X-Bat-Shape``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG_S)
        given = {"Authorization": f"Bearer {TOKEN}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection.request(method, path, body, given)
        response = connection.getresponse()
        reply = json.loads(response.read())
        connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, reply

    def socket(self, body_bytes: int, shape: str = "2,16000") -> socket.socket:
        """A connection on which the head of a request for perception was sent, the body not yet."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LONG_S)
        head = f"POST /perceive HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nX-Bat-Shape: {shape}"
        connection.sendall(f"{head}\r\nContent-Length: {body_bytes}\r\n\r\n".encode())
        return connection

    def wait_for(self, waiting: int) -> None:
        """Return when so many clips wait; time only bounds a test that fails."""
        for _ in range(2000):
            if self.server.batcher.waiting == waiting:
                return
            threading.Event().wait(0.01)
        pytest.fail(f"{self.server.batcher.waiting} clips wait, expected {waiting}")


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(bat: Bat | None = None, **options: Any) -> Served:
        bat = bat or Bat(CONFIG, GatedEncoder(), EchoReasoner(EchoReasonerConfig()))
        started.append(Served(bat, **options))
        return started[-1]

    yield start
    for served in started:
        getattr(served.bat.encoder, "gate", threading.Event()).set()
        served.stop()


class Air:
    """Free field without a head's shadow: 0.282/d, delayed by d/343 s, the farther ear 0.6 ms later and 20 dB less."""

    sample_rate_hz = 32_000

    def __init__(self) -> None:
        self.rendered: list[Scene] = []
        self.closed = False

    def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
        raise AssertionError("a server draws no scenes")

    def render(self, scene: Scene) -> list[torch.Tensor]:
        self.rendered.append(scene)
        if scene.listener.position_m[1] > 3:
            raise BadInput("the listener is over the roof")
        rirs = []
        for source in scene.sources:
            place = relative_position(scene.listener, source.position_m)
            side = np.cos(np.radians(place.azimuth_deg))
            rir = torch.zeros(2, 4_000)
            first = round(place.distance_m / 343 * 32_000)
            for ear, away in ((0, max(side, 0)), (1, max(-side, 0))):
                rir[ear, first + round(0.0006 * away * 32_000)] = 0.282 / place.distance_m * 10**-away
            rirs.append(rir)
        return rirs

    def render_next(self, scene: Scene, previous: Scene | None = None) -> list[torch.Tensor]:
        raise AssertionError("each step is rendered anew")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    (tmp_path / "homes" / "one").mkdir(parents=True)
    (tmp_path / "homes" / "one" / "one.glb").write_bytes(b"glTF")
    (tmp_path / "secret.glb").write_bytes(b"glTF")
    return tmp_path / "homes"


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def rendering(serve: Callable[..., Served], scenes: Path, air: Air) -> Callable[..., tuple[Served, Air]]:
    def start(limits: StreamLimits | None = None, **options: Any) -> tuple[Served, Air]:
        return serve(streams=Streams(scenes, air, limits), **options), air

    return start
