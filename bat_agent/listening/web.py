"""The page: what is heard, in a browser on this machine; updates as server-sent events, questions as JSON.

No sound ever leaves by it, and nothing can be opened, resumed or saved from it: it shows, and it asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import secrets
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Collection
from importlib import resources
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json
from bat_agent.http_server import TOKEN_VARIABLE, LimitedServer, bears, collected, host_name, is_address
from bat_agent.listening.control import Control
from bat_agent.listening.events import Update

HEARTBEAT_S = 2.0
ANSWER_S = 60.0
LONGEST_QUESTION = 1000
MOST_WAITING = 4
"""Questions of pages that wait for an answer; each holds a window of sound."""
ANSWERS = 6
"""As many come with every update: a page that is slow, or new, has missed some."""
_MOST_BYTES, _BODY_S = 10_000, 10.0
_MOST_CONNECTIONS = 64
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANYWHERE = {"0.0.0.0": "192.0.2.1", "": "192.0.2.1", "::": "2001:db8::1"}
"""Addresses that mean all of this machine, and one elsewhere of the same kind."""
_CLIENT_GONE = 499
_START_S = 5.0


class WebView:
    """Serves the page from a thread of its own until it is closed."""

    def __init__(
        self, control: Control, *, host: str = "127.0.0.1", port: int = 8765, token: str | None = None,
        hosts: Collection[str] = (),
    ) -> None:  # fmt: skip
        """``host`` other than loopback needs a token, which is that of the environment or made up unless given;
        ``hosts`` are more names by which the page may be called.
        """
        self.control, self.host, self.port = control, host.strip("[]"), port
        self._loopback = self.host in _LOOPBACK
        own = token or (None if self._loopback else os.environ.get(TOKEN_VARIABLE))
        self.token = own or (None if self._loopback else secrets.token_urlsafe(24))
        names = {self.host, *hosts, *(_LOOPBACK if self._loopback else ())}
        self._hosts = {name.strip("[]").lower() for name in names}
        self._answers: deque[dict[str, Any]] = deque(maxlen=ANSWERS)
        self._newest = (0, "{}")
        """How many there were, and the last of them."""
        self._waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._server: LimitedServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the page is; a token stands behind the #, which browsers keep to themselves."""
        host = _own_address(self.host) if self.host in _ANYWHERE else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"#{quote(self.token, safe='')}" if self.token else "")

    def start(self) -> None:
        """Begin to serve; raises :class:`~bat_agent.errors.BadInput` for an address in use or of another machine."""
        if not 0 <= self.port < 65_536:
            raise BadInput(f"there is no port {self.port}: choose a --port from 1 to 65535, as in 8765")
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listening = socket.create_server((self.host, self.port), family=family)
        except (OSError, UnicodeError) as error:
            why = str(getattr(error, "strerror", None) or "no such name").split(" (while")[0]
            at_port = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
            choose = "another --port" if at_port else "a --host of this machine, as in 127.0.0.1"
            raise BadInput(f"the page cannot be served at {self.host}:{self.port} ({why}): choose {choose}") from error
        self.port = listening.getsockname()[1]
        # Whatever it has to say, it would say it across the radar.
        self._server = LimitedServer(
            self._app(), most_connections=_MOST_CONNECTIONS, log_level="critical", timeout_graceful_shutdown=1
        )
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(listening, ready), name="bat-page", daemon=True)
        self._thread.start()
        ready.wait(_START_S)

    def _serve(self, listening: socket.socket, ready: threading.Event) -> None:
        async def serve() -> None:
            self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
            ready.set()
            assert self._server is not None
            with contextlib.suppress(asyncio.CancelledError):
                await self._server.serve(sockets=[listening])
            for connection in self._server.server_state.connections:  # with pages that never read the rest
                if (transport := getattr(connection, "transport", None)) is not None:
                    transport.abort()
            await asyncio.sleep(0)

        with contextlib.suppress(KeyboardInterrupt), listening:
            asyncio.run(serve())

    def show(self, update: Update) -> None:
        """Let every page know."""
        self._answers.extend(answered.to_dict() for answered in update.answers)
        control = self.control
        more = {"source": control.source_name, "model": control.model_name, "hop_s": control.hop_s}
        text = json.dumps({**update.to_dict(), **more, "answered": list(self._answers)})
        self._newest = (self._newest[0] + 1, text)
        if self._loop is not None and self._changed is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._changed.set)

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.should_exit = True
        if self._loop is not None and self._changed is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._changed.set)
        if self._thread is not None:
            self._thread.join(2 * HEARTBEAT_S)

    # --- what is served ---

    def _app(self) -> ASGIApp:
        routes = [
            Route("/", self._page),
            Route("/events", self._events),
            Route("/status", self._status),
            Route("/ask", self._ask, methods=["POST"]),
            Route("/favicon.ico", lambda request: Response(status_code=204)),
        ]
        return _Guard(Starlette(routes=routes), self)

    async def _page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        text = resources.files("bat_agent.listening").joinpath("page.html").read_text(encoding="utf-8")
        policy = f"default-src 'none'; connect-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # noqa: E501
        return HTMLResponse(text.replace("NONCE", nonce), headers={"Content-Security-Policy": policy})

    async def _status(self, request: Request) -> Response:
        return Response(self._newest[1], media_type="application/json")

    async def _events(self, request: Request) -> Response:
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        """Each update, or only the newest where the client is slower than they come."""
        assert self._changed is not None
        told = 0
        while self._server is not None and not self._server.should_exit:
            number, text = self._newest
            if told != number:
                told = number
                yield f"data: {text}\n\n"
                continue
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), HEARTBEAT_S)
            except asyncio.TimeoutError:
                yield ": still here\n\n"

    async def _ask(self, request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return _error(415, 'send {"question": …} as application/json')
        try:
            body = await collected(request, _MOST_BYTES, _BODY_S)
        except OverflowError:
            return _error(413, "the question is too long: ask something shorter")
        except asyncio.TimeoutError:
            return _error(408, "the question did not arrive in time: ask again")
        except ClientDisconnect:
            return Response(status_code=_CLIENT_GONE)
        question = _question(body)
        if question is None:
            return _error(400, f'expected {{"question": …}} with a text of at most {LONGEST_QUESTION} letters')
        if self._waiting >= MOST_WAITING:
            return _error(503, f"{MOST_WAITING} questions wait for their answers: ask again when they have them")
        return await self._answer(question)

    async def _answer(self, question: str) -> Response:
        try:
            asked = self.control.ask(question)
        except BadInput as error:
            return _error(422, str(error))
        except Exception as error:
            return _no_answer(error)
        # Only waiting ends after a time, or with the page; the answer is still told when it is there.
        future = asyncio.wrap_future(asked)
        self._waiting += 1
        future.add_done_callback(self._done)
        if not (await asyncio.wait([future], timeout=ANSWER_S))[0]:
            return _error(504, f"no answer came within {ANSWER_S:g} s: it is shown here once it is there")
        if future.cancelled():
            return _error(503, "listening has ended, and nobody is there to answer")
        if (failure := future.exception()) is not None:
            return _no_answer(failure)
        answer = future.result()
        return JSONResponse({**answer.to_dict(), "spoken": answer.spoken})

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # or it would be complained about where nobody waited for it

    def refusal(self, request: Request) -> Response | None:
        """What to say to a request that must not be answered."""
        host = request.headers.get("host", "").lower()
        if not self._is_known(host):
            return _error(400, "this host name is not served here: use the address that bat-listen printed")
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host}":
            return _error(403, "another page may not ask here")
        if self.token is None or request.url.path in ("/", "/favicon.ico"):
            return None
        if bears(request, self.token):
            return None
        return _error(401, "the token is missing or wrong: open the whole address that bat-listen printed")

    def _is_known(self, host: str) -> bool:
        name = host_name(host)
        # Under an address of its own, another page cannot reach us (DNS rebinding needs a name).
        return bool(name) and (name in self._hosts or (not self._loopback and is_address(name)))


class _Guard:
    """Lets through what comes to a host we are known by, from our own page, with the token."""

    def __init__(self, app: ASGIApp, view: WebView) -> None:
        self.app, self.view = app, view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it; nothing is to be kept by a browser."""
        refusal = self.view.refusal(Request(scope)) if scope["type"] == "http" else None

        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cross-origin-resource-policy", b"same-origin"),
                ]
            await send(message)

        await (refusal or self.app)(scope, receive, sealed)


def _error(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)


def _no_answer(failure: BaseException) -> JSONResponse:
    return _error(500, f"the question could not be answered ({type(failure).__name__}): ask something else")


def _question(body: bytes) -> str | None:
    """What is asked, in one line: other views write it into a terminal."""
    try:
        said = parse_json(body)
    except (ValueError, RecursionError):
        return None
    question = said.get("question") if isinstance(said, dict) else None
    if not isinstance(question, str) or len(question) > LONGEST_QUESTION:
        return None
    return "".join(letter if letter.isprintable() else " " for letter in question)


def _own_address(anywhere: str) -> str:
    """The address under which other machines see this one, where it has one; nothing is sent to find out."""
    family = socket.AF_INET6 if ":" in anywhere else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_ANYWHERE[anywhere], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "::1" if family == socket.AF_INET6 else "127.0.0.1"
