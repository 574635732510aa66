"""An embedding service, stood in for by a server on this machine; nothing goes anywhere unless asked for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.scoring import ApiEmbedder, ClassScorer, open_embedder

Reply = Callable[[dict[str, Any]], tuple[int, bytes]]
Seen = list[tuple[str, str | None, dict[str, Any]]]


def lengths(request: dict[str, Any]) -> tuple[int, bytes]:
    """Two numbers a text, in reverse order, as a service may."""
    data = [{"index": n, "embedding": [3.0, float(len(text))]} for n, text in enumerate(request["input"])]
    return 200, json.dumps({"object": "list", "data": data[::-1]}).encode()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Reply], Seen]]:
    """Starts a service with these replies; what it was sent is (path, authorization, request)."""
    servers: list[ThreadingHTTPServer] = []

    def start(reply: Reply) -> Seen:
        seen: Seen = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                seen.append((self.path, self.headers.get("Authorization"), request))
                code, body = reply(request)
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda *arguments: None  # type: ignore[method-assign]  # who waited may be gone
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("BAT_EMBED_URL", f"http://127.0.0.1:{server.server_port}")
        return seen

    monkeypatch.delenv("BAT_EMBED_KEY", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_texts_go_in_batches_and_come_back_in_order(
    serve: Callable[[Reply], Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = serve(lengths)
    monkeypatch.setenv("BAT_EMBED_KEY", "secret")
    vectors = ApiEmbedder("tiny", batch=2).embed(["a", "four", "", "b", "cc"])
    np.testing.assert_allclose(vectors[:2], [[3 / 10**0.5, 1 / 10**0.5], [0.6, 0.8]], atol=1e-6)
    assert [len(request["input"]) for _, _, request in seen] == [2, 2, 1]
    assert {(path, key, request["model"]) for path, key, request in seen} == {
        ("/v1/embeddings", "Bearer secret", "tiny")
    }
    assert ApiEmbedder("tiny").embed([]).shape == (0, 0)


def test_without_a_key_none_is_sent_and_v1_is_not_doubled(
    serve: Callable[[Reply], Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    seen = serve(lengths)
    monkeypatch.setenv("BAT_EMBED_URL", os.environ["BAT_EMBED_URL"] + "/v1/")
    scorer = ClassScorer(open_embedder("api:tiny"))
    scorer(["dog", "dog", "Dog; rain"])
    assert {(path, key) for path, key, _ in seen} == {("/v1/embeddings", None)}
    sent = [text for _, _, request in seen for text in request["input"]]
    assert len(sent) == 355 + 2  # the class names, and each different part once


@pytest.mark.parametrize("url", [None, "", "api.openai.com", "file:///etc/passwd"])
def test_an_address_is_required(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    monkeypatch.setenv("BAT_EMBED_URL", url or "")
    if url is None:
        monkeypatch.delenv("BAT_EMBED_URL")
    with pytest.raises(BadInput, match=r"BAT_EMBED_URL is (not set|'.*'); set it to"):
        open_embedder("api:tiny")


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ((401, b"no"), r"refused the request \(HTTP 401 Unauthorized\); check BAT_EMBED_KEY"),
        ((404, b"no"), r"\(HTTP 404 Not Found\); check BAT_EMBED_URL and the model's name"),
        ((302, b""), r"\(HTTP 302 Found\)"),
        ((200, b"<html>"), "answered with no list of embeddings"),
        ((200, b'{"data": {}}'), "answered with 0 vectors"),
        ((200, b'{"data": [1]}'), "answered with no list of embeddings"),
        ((200, b'{"data": [{"index": 0, "embedding": "x"}]}'), "answered with no list of embeddings"),
        ((200, b'{"data": [{"index": 0, "embedding": [1]}]}'), "answered with 1 vectors"),
        ((200, b'{"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}]}'), "no list of"),
        ((200, b'{"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [NaN]}]}'), "finite numbers"),
        ((200, b'{"data": [{"index": 0, "embedding": 1}, {"index": 1, "embedding": 1}]}'), "an array"),
    ],
)
def test_refusals_and_other_replies_are_one_sentence(
    serve: Callable[[Reply], Seen], reply: tuple[int, bytes], says: str
) -> None:
    serve(lambda request: reply)
    with pytest.raises(BadInput, match=says) as told:
        ApiEmbedder("tiny").embed(["a", "b"])
    assert "\n" not in str(told.value)


def test_a_redirection_takes_no_key_along(serve: Callable[[Reply], Seen], monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib would send the same headers to wherever it is sent."""
    monkeypatch.setenv("BAT_EMBED_KEY", "secret")
    seen = serve(lambda request: (302, b""))
    with pytest.raises(BadInput, match="302"):
        ApiEmbedder("tiny").embed(["a"])
    assert len(seen) == 1


def test_a_service_that_is_slow_or_not_there(serve: Callable[[Reply], Seen], monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(request: dict[str, Any]) -> tuple[int, bytes]:
        time.sleep(1.0)
        return lengths(request)

    serve(slow)
    with pytest.raises(BadInput, match=r"did not answer within 0\.1 s"):
        ApiEmbedder("tiny", timeout_s=0.1).embed(["a"])
    monkeypatch.setenv("BAT_EMBED_URL", "http://127.0.0.1:1")
    with pytest.raises(BadInput, match="cannot reach the embedding service"):
        ApiEmbedder("tiny").embed(["a"])
