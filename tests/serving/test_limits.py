"""What clients may cost the server: connections, waiting, memory; compared before any of it is spent."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bat_agent import http_server
from bat_agent.serving.server import Limits

TOKEN = "open-sesame"
LONG_S = 20.0
HEAD = f"POST /perceive HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"

Serve = Callable[..., Any]


def clip(level: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((2, 16_000)) * level).astype(np.float32)


def connected(served: Any, text: str = "") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=LONG_S)
    connection.sendall(text.encode())
    return connection


def reply_to(served: Any, head: str) -> bytes:
    """The reply to a head whose body never comes."""
    with connected(served, f"{HEAD}{head}Connection: close\r\n\r\n") as connection:
        reply: bytes = connection.makefile("rb").read(4096)
        return reply


@pytest.mark.parametrize(
    "shape", [",".join(["1"] * 65), "2,900000000000000", "0,900000000000000,900000000000000", "9" * 15, ",", "2,²"]
)
def test_a_shape_that_is_none_is_400(serve: Serve, shape: str) -> None:
    """numpy has 64 axes and 63 bits: its own errors came out as 500."""
    status, _, reply = serve().raw("POST", "/perceive", b"", X_Bat_Shape=shape)
    assert (status, "X-Bat-Shape" in reply["error"]) == (400, True)


@pytest.mark.parametrize("level", [1e30, 3e37])
def test_finite_but_huge_samples_are_422(serve: Serve, level: float) -> None:
    status, _, reply = serve().raw("POST", "/perceive", clip(level).tobytes(), X_Bat_Shape="2,16000")
    assert status == 422
    assert "expected ±1" in reply["error"]


@pytest.mark.parametrize(
    ("head", "status", "sentence"),
    [
        (
            "X-Bat-Shape: 12400,2,640\r\nContent-Length: 63488000\r\n",
            422,
            "12400 clips at once are more than the queue",
        ),
        ("X-Bat-Shape: 2,16000\r\nContent-Length: 64000000\r\n", 400, "the body holds 64000000 bytes, expected 128000"),
        ("X-Bat-Shape: 8,2,8000000\r\nTransfer-Encoding: chunked\r\n", 413, "larger than the 64 MB the server takes"),
    ],
)
def test_what_the_head_tells_is_refused_before_the_body_comes(
    serve: Serve, head: str, status: int, sentence: str
) -> None:
    """12,400 clips of 20 ms in one body took 15 s and 4 GB before they were refused."""
    reply = reply_to(serve(), head)
    assert reply.startswith(f"HTTP/1.1 {status}".encode())
    assert sentence.encode() in reply


@pytest.mark.parametrize(("token", "shape", "status"), [("wrong", "2,16000", 401), (TOKEN, "8,2,8000000", 413)])
def test_who_is_refused_while_he_sends_reads_why(serve: Serve, token: str, shape: str, status: int) -> None:
    """Closed with a body on its way, the connection was reset, and one in twenty read no reply."""
    served = serve()
    head = f"POST /perceive HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nX-Bat-Shape: {shape}\r\n"
    for _ in range(20):
        with connected(served, f"{head}Content-Length: 512000000\r\n\r\n") as connection:
            for _ in range(64):
                connection.sendall(bytes(1 << 16))
            connection.shutdown(socket.SHUT_WR)
            assert connection.makefile("rb").read(12) == f"HTTP/1.1 {status}".encode()


def test_who_is_refused_and_sends_for_ever_is_not_listened_to(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "LINGER_S", 0.2)
    served = serve()
    head = HEAD.replace(TOKEN, "wrong") + "Content-Length: 1000000000000\r\n\r\n"
    with connected(served, head) as connection, pytest.raises(ConnectionError):
        connection.sendall(bytes(1 << 30))


def test_bodies_that_wait_are_counted_together(serve: Serve) -> None:
    served = serve(limits=Limits(body_bytes=200_000, bodies=1))
    with connected(served, f"{HEAD}X-Bat-Shape: 2,16000\r\nContent-Length: 128000\r\n\r\n"):
        status = 200
        for _ in range(200):  # until the first one has begun
            status, headers, reply = served.raw("POST", "/perceive", clip().tobytes(), X_Bat_Shape="2,16000")
            if status != 200:
                break
            time.sleep(0.01)
        assert status == 503
        assert "it holds 0 MB of sound" in reply["error"]
        assert "retry-after" in headers
    with served.client() as ears:
        ears.perceive(clip())


def test_a_request_that_never_ends_is_timed_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request line without an end was waited for until the client went, as was a connection that sends nothing."""
    monkeypatch.setattr(http_server, "HEAD_TIMEOUT_S", 0.3)
    served = serve()
    for sent in (
        "",
        "GET /health HTT",
        f"{HEAD}X-Bat-Shape: 2,1",
        "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /",
    ):
        with connected(served, sent) as connection:
            said = b""
            try:
                while part := connection.recv(65_536):
                    said += part
            except ConnectionError:
                pass
            assert said.startswith(b"HTTP/1.1 200") or not said


def test_more_idle_connections_than_there_are_shut_nobody_out(serve: Serve) -> None:
    """150 of them silenced a server that may open 100 files, and wrote 12 MB of tracebacks."""
    served = serve()
    served.server.most_connections = 8
    idle = [connected(served, "GET /hea") for _ in range(40)]
    try:
        for _ in range(5):
            with served.client(timeout_s=LONG_S) as ears:
                ears.perceive(clip())
        assert len(served.server.server_state.connections) <= 8
        gone = 0
        for connection in idle[:20]:
            connection.settimeout(5)
            try:
                gone += connection.recv(1) == b""
            except ConnectionError:
                gone += 1
        assert gone == 20  # the oldest gave way
    finally:
        for connection in idle:
            connection.close()


def test_as_many_connections_as_files_may_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_allowed_files", lambda: 100)

    async def nothing(*_: Any) -> None:
        pass

    assert http_server.LimitedServer(nothing).most_connections == 36
    monkeypatch.setattr(http_server, "_allowed_files", lambda: 10**6)
    assert http_server.LimitedServer(nothing).most_connections == http_server.MOST_CONNECTIONS
