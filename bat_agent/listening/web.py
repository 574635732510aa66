"""The page: what is heard, in a browser on this machine; updates as server-sent events, questions as JSON.

No sound ever leaves by it, and nothing can be opened, resumed or saved from it: it shows, and it asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Collection
from concurrent.futures import Future
from importlib import resources
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bat_agent.agent import Answer
from bat_agent.errors import BadInput
from bat_agent.listening.control import Control
from bat_agent.listening.events import Update

HEARTBEAT_S = 2.0
ANSWER_S = 60.0
LONGEST_QUESTION = 1000
_MOST_BYTES = 10_000
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
_START_S = 5.0


class WebView:
    """Serves the page from a thread of its own until it is closed."""

    def __init__(
        self, control: Control, *, host: str = "127.0.0.1", port: int = 8765, token: str | None = None,
        hosts: Collection[str] = (),
    ) -> None:  # fmt: skip
        """``host`` other than loopback needs a token, which is made up unless given; ``hosts`` are more names by which
        the page may be called.
        """
        self.control, self.host, self.port = control, host, port
        self.token = token or (None if host in _LOOPBACK else secrets.token_urlsafe(24))
        self._hosts = {host, *hosts, *(_LOOPBACK if host in _LOOPBACK else ())}
        self._newest: str | None = None
        self._number = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the page is; a token stands behind the #, which browsers keep to themselves."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/" + (f"#{self.token}" if self.token else "")

    def start(self) -> None:
        """Begin to serve; raises :class:`~bat_agent.errors.BadInput` for an address in use or of another machine."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listening = socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            raise BadInput(
                f"the page cannot be served at {self.host}:{self.port} ({error.strerror}): choose another --port"
            ) from error
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(self._app(), log_level="error", access_log=False, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
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

        with contextlib.suppress(KeyboardInterrupt), listening:
            asyncio.run(serve())

    def show(self, update: Update) -> None:
        """Let every page know."""
        said = {**update.to_dict(), "source": self.control.source_name, "model": self.control.model_name}
        self._newest, self._number = json.dumps(said), self._number + 1
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
        return Response(self._newest or "{}", media_type="application/json")

    async def _events(self, request: Request) -> Response:
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        """Each update, or only the newest where the client is slower than they come."""
        assert self._changed is not None
        told = -1
        while self._server is not None and not self._server.should_exit:
            if self._newest is not None and told != self._number:
                told = self._number
                yield f"data: {self._newest}\n\n"
                continue
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), HEARTBEAT_S)
            except asyncio.TimeoutError:
                yield ": still here\n\n"

    async def _ask(self, request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return _error(415, 'send {"question": …} as application/json')
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BYTES:
                return _error(413, "the question is too long: ask something shorter")
        try:
            question = json.loads(body)["question"]
            assert isinstance(question, str) and len(question) <= LONGEST_QUESTION  # noqa: PT018
        except (ValueError, KeyError, TypeError, AssertionError):
            return _error(400, f'expected {{"question": …}} with a text of at most {LONGEST_QUESTION} letters')
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(self._asked(question)), ANSWER_S)
        except BadInput as error:
            return _error(422, str(error))
        except (asyncio.TimeoutError, asyncio.CancelledError):
            return _error(504, f"no answer came within {ANSWER_S:g} s: ask again")
        return JSONResponse({**answer.to_dict(), "spoken": answer.spoken})

    def _asked(self, question: str) -> Future[Answer]:
        return self.control.ask(question)

    def refusal(self, request: Request) -> Response | None:
        """What to say to a request that must not be answered."""
        host = request.headers.get("host", "").lower()
        name = host.rsplit(":", 1)[0] if ":" in host and not host.endswith("]") else host
        if name.strip("[]") not in {known.strip("[]").lower() for known in self._hosts}:
            return _error(400, "this host name is not served here: use the address that bat-listen printed")
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host}":
            return _error(403, "another page may not ask here")
        if self.token is None or request.url.path in ("/", "/favicon.ico"):
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(token.strip().encode("latin-1", "replace"), self.token.encode())
        if right and scheme.lower() == "bearer":
            return None
        return _error(401, "the token is missing or wrong: open the whole address that bat-listen printed")


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
                ]
            await send(message)

        await (refusal or self.app)(scope, receive, sealed)


def _error(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)
