"""The page's server: who is let in, and that a slow page costs nothing."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from bat_agent.errors import BadInput
from bat_agent.listening import web
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
    ({"body": '["question"]'}, 400, "expected"),
    ({"body": "[" * 9000}, 400, "expected"),
    ({"body": json.dumps({"question": "x" * 2000})}, 400, "expected"),
    ({"body": '{"question": "\\n\\u001b"}'}, 422, "empty"),
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


def test_the_token_may_be_that_of_the_environment(control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line is shown to everybody."""
    monkeypatch.setenv("BAT_AGENT_TOKEN", "of-the-environment")
    assert WebView(control, host="0.0.0.0").token == "of-the-environment"
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


def test_a_page_that_does_not_read_is_no_leak(page: WebView, update: Any) -> None:
    with socket.create_connection(("127.0.0.1", page.port)) as connection:
        connection.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n\r\n".encode())
        large = {f"class {number}": 0.5 for number in range(5000)}
        page.show(update(0.0, class_probs=large))
        time.sleep(0.2)
        tracemalloc.start()
        for number in range(120):  # of 100 kB each
            page.show(update(float(number), class_probs=large))
            time.sleep(0.001)
        kept_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept_bytes < 4_000_000


def test_no_answer_is_lost_to_a_page_that_comes_late(page: WebView, update: Any, answered: Any) -> None:
    """An answer came with one update only, which a slow page, or one that was opened just then, did not get."""
    page.show(update(0.0, answers=(answered("where is it?", "On the left."),)))
    for number in range(1, 9):
        page.show(update(float(number)))
    said = send(page, "GET", "/status")[1]
    assert said["t_s"] == 8.0
    assert [answer["spoken"] for answer in said["answered"]] == ["On the left."]
    for number in range(50):
        page.show(update(9.0, answers=(answered(f"{number}?", "Yes"),)))
    assert len(send(page, "GET", "/status")[1]["answered"]) == web.ANSWERS


def test_a_question_cannot_steer_a_terminal(page: WebView, control: Any) -> None:
    assert ask(page, '{"question": "is\\u001b[2J it\\n left\\ud800?"}')[0] == 200
    assert control.asked == ["is [2J it  left ?"]


def test_why_there_is_no_answer(
    page: WebView, control: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    futures: list[Future[Any]] = []

    def later(question: str) -> Future[Any]:
        futures.append(Future())
        if question == "fail":
            futures[-1].set_exception(RuntimeError("secret detail"))
        elif question == "end":
            futures[-1].cancel()
        return futures[-1]

    control.ask = later
    monkeypatch.setattr(web, "ANSWER_S", 0.05)
    failed, ended = ask(page, '{"question": "fail"}'), ask(page, '{"question": "end"}')
    assert failed[0] == 500
    assert "(RuntimeError)" in failed[1]["error"]
    assert "secret" not in failed[1]["error"]
    assert (ended[0], "has ended" in ended[1]["error"]) == (503, True)
    for _ in range(web.MOST_WAITING):
        status, said = ask(page)
        assert (status, "no answer came" in said["error"]) == (504, True)
    assert not any(future.cancelled() for future in futures[2:])  # they are still answered, for all views
    status, said = ask(page)
    assert (status, "wait for their answers" in said["error"]) == (503, True)
    for future in futures[2:]:
        future.set_exception(RuntimeError("much later"))
    time.sleep(0.2)
    assert ask(page)[0] == 504
    assert capfd.readouterr().err == ""  # there may be a radar


def test_who_goes_away_or_never_reads_leaves_no_word_on_the_terminal(
    control: Any, update: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    view = WebView(control, port=0)
    view.start()
    where = f"Host: 127.0.0.1:{view.port}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{{"
    with socket.create_connection(("127.0.0.1", view.port)) as gone:
        gone.sendall(f"POST /ask HTTP/1.1\r\n{where}".encode())
        time.sleep(0.2)
    with socket.create_connection(("127.0.0.1", view.port)) as deaf:
        deaf.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{view.port}\r\n\r\n".encode())
        time.sleep(0.2)
        for number in range(100):
            view.show(update(float(number), class_probs={f"class {n}": 0.5 for n in range(3000)}))
            time.sleep(0.003)
        view.close()
    assert capfd.readouterr().err == ""


def test_beyond_this_machine_any_of_its_addresses_will_do_but_no_foreign_name(control: Any) -> None:
    view = WebView(control, host="0.0.0.0", port=0, token="two words/", hosts=("robot.local",))
    view.start()
    try:
        assert "0.0.0.0" not in view.url
        assert view.url.endswith("#two%20words%2F")
        for host, status in (("192.168.1.5", 200), ("[fe80::1]", 200), ("Robot.local", 200), ("evil.example", 400)):
            found = ask(view, Host=f"{host}:{view.port}", Authorization="Bearer two words/")[0]
            assert found == status, host
    finally:
        view.close()


def test_on_loopback_alone_other_addresses_are_foreign(page: WebView) -> None:
    assert ask(page, Host=f"192.168.1.5:{page.port}")[0] == 400


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"port": 70_000}, "no port 70000"),
        ({"port": -1}, "no port -1"),
        ({"host": "nosuch.invalid"}, "choose a --host"),
        ({"host": "x" * 70 + ".invalid"}, "choose a --host"),
        ({"host": "192.0.2.9", "port": 0}, "choose a --host"),
    ],
)
def test_an_address_that_cannot_be_served(control: Any, where: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        WebView(control, **where).start()


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
    closing = threading.Thread(target=view.close)
    closing.start()
    closing.join(timeout=30)  # a page that is open would hold it for good
    assert not closing.is_alive()
    reply.close()
    connection.close()
