"""The page's server: who is let in, and that a slow page costs nothing."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bat_agent.errors import BadInput
from bat_agent.listening.web import WebView


@pytest.fixture
def page(control: Any) -> Iterator[WebView]:
    view = WebView(control, port=0)
    view.start()
    yield view
    view.close()


def send(view: WebView, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", view.port, timeout=5)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    kind = reply.headers.get_content_type()
    assert reply.headers["Cache-Control"] == "no-store"
    return reply.status, json.loads(text) if kind == "application/json" else text


def ask(view: WebView, body: str = '{"question": "where is it?"}', **headers: str) -> tuple[int, Any]:
    return send(view, "POST", "/ask", body, **{"Content_Type": "application/json", **headers})


def test_the_page_and_an_answer(page: WebView, control: Any) -> None:
    status, text = send(page, "GET", "/")
    assert status == 200
    assert "NONCE" not in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")  # works without a network
    assert ask(page)[1]["spoken"] == "It is on the left."
    assert control.asked == ["where is it?"]


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"Host": "evil.example"}, 400, "host name is not served"),
    ({"Host": "evil.example:8765"}, 400, "host name is not served"),
    ({"Origin": "http://evil.example"}, 403, "another page"),
    ({"Origin": "null"}, 403, "another page"),
    ({"Content_Type": "text/plain"}, 415, "application/json"),
    ({"body": "{}"}, 400, "expected"),
    ({"body": "no json"}, 400, "expected"),
    ({"body": '{"question": 3}'}, 400, "expected"),
    ({"body": '{"question": "  "}'}, 422, "empty"),
    ({"body": json.dumps({"question": "x" * 20_000})}, 413, "too long"),
]


@pytest.mark.parametrize(("request_", "status", "sentence"), REFUSED)
def test_who_and_what_is_refused(
    page: WebView, control: Any, request_: dict[str, Any], status: int, sentence: str
) -> None:
    found, said = ask(page, **request_)
    assert found == status
    assert sentence in said["error"]
    assert control.asked == []


def test_our_own_origin_is_fine(page: WebView) -> None:
    assert ask(page, Origin=f"http://127.0.0.1:{page.port}")[0] == 200
    assert ask(page, Host=f"localhost:{page.port}", Origin=f"http://localhost:{page.port}")[0] == 200


def test_nothing_else_is_served(page: WebView) -> None:
    for method, path in (("GET", "/ask"), ("POST", "/pause"), ("GET", "/audio"), ("POST", "/"), ("GET", "/../x")):
        assert send(page, method, path)[0] in (404, 405)


def test_with_a_token_all_but_the_empty_page_needs_it(control: Any, update: Any) -> None:
    view = WebView(control, port=0, token="secret")
    view.start()
    try:
        view.show(update(1.0))
        assert view.url.endswith("/#secret")
        assert send(view, "GET", "/")[0] == 200
        for path in ("/events", "/status"):
            assert send(view, "GET", path)[0] == 401
            assert send(view, "GET", path, Authorization="Bearer wrong")[0] == 401
        assert send(view, "GET", "/status", Authorization="Bearer secret")[1]["t_s"] == 1.0
        assert ask(view)[0] == 401
        assert ask(view, Authorization="Bearer secret")[0] == 200
    finally:
        view.close()


def test_beyond_this_machine_there_is_always_a_token(control: Any) -> None:
    assert WebView(control, host="0.0.0.0").token
    assert WebView(control).token is None


def test_a_slow_page_gets_the_newest_and_none_of_the_old(page: WebView, update: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.request("GET", "/events")
    reply = connection.getresponse()
    page.show(update(0.0))
    first = reply.readline()
    for number in range(1, 20_000):
        page.show(update(float(number)))
    time.sleep(0.3)
    page.show(update(1e6))
    seen, last = 0, b""
    while b"1000000.0" not in last:
        last = reply.readline()
        seen += last.startswith(b"data")
    assert first.startswith(b"data")
    assert seen < 10_000
    reply.close()
    connection.close()


def test_a_port_in_use(page: WebView, control: Any) -> None:
    with pytest.raises(BadInput, match=r"cannot be served at .*choose another --port"):
        WebView(control, port=page.port).start()


def test_closing_takes_no_longer_than_a_moment_with_a_page_open(control: Any, update: Any) -> None:
    view = WebView(control, port=0)
    view.start()
    view.show(update(0.0))
    connection = http.client.HTTPConnection("127.0.0.1", view.port, timeout=10)
    connection.request("GET", "/events")
    reply = connection.getresponse()
    reply.readline()
    began = time.monotonic()
    view.close()
    assert time.monotonic() - began < 3
    reply.close()
    connection.close()
