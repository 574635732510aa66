"""A uvicorn server that nobody can silence by holding connections: the page of ``bat-listen`` and ``bat-agent serve``.

uvicorn waits for ever for a request that never ends, and takes connections until there are no more file descriptors.
Here the head of a request must arrive within :data:`HEAD_TIMEOUT_S`, and there are :data:`MOST_CONNECTIONS` at most:
beyond them, the connection that has been idle for longest gives way to the new one; where none is idle, the new one
waits. Who is refused before the body was read may send the rest of it for :data:`LINGER_S`, into nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

TOKEN_VARIABLE = "BAT_AGENT_TOKEN"
HEAD_TIMEOUT_S = 10.0
"""Within this time after it has begun, or after the connection was made, the head of a request must have arrived."""
MOST_CONNECTIONS = 256
LINGER_S = 2.0
"""Closed while the other side still sends, its system throws away the reply that it has not read (RFC 9112, 9.6)."""
_OWN_FILES = 64
"""File descriptors that are left to everything else."""
_LOOK_S = 0.02
_PAUSE_S = 0.1


class LimitedServer(uvicorn.Server):
    """Serves ``app`` by HTTP/1.1 on sockets that listen already, within the limits of this module."""

    def __init__(self, app: ASGIApp, *, most_connections: int = MOST_CONNECTIONS, **config: Any) -> None:
        """``config`` goes to ``uvicorn.Config``."""
        super().__init__(
            uvicorn.Config(
                app, loop="asyncio", http=_Connection, ws="none", lifespan="off", access_log=False, server_header=False,
                **config,
            )
        )  # fmt: skip
        self.most_connections = max(1, min(most_connections, _allowed_files() - _OWN_FILES))
        self._accepting: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets=[])
        for listening in sockets or ():
            listening.setblocking(False)
            self._accepting.append(asyncio.ensure_future(self._accept(listening)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more; what is being answered still is."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets)

    async def _accept(self, listening: socket.socket) -> None:
        """One after the other, so that there are never more than we have room for."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError:  # it is gone again, or others of this process have taken the last file descriptor
                await asyncio.sleep(_PAUSE_S)
                continue
            await self._make_room()
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._connection, accepted)

    def _connection(self) -> _Connection:
        return _Connection(self.config, self.server_state, self.lifespan.state)

    async def _make_room(self) -> None:
        connections = self.server_state.connections
        while len(connections) >= self.most_connections:
            idle = [each for each in connections if isinstance(each, _Connection) and each.is_idle]
            if idle:
                min(idle, key=lambda each: each.idle_since_s).transport.abort()
            await asyncio.sleep(0 if idle else _LOOK_S)


class _Connection(H11Protocol):
    """One that ends where the head of a request does not arrive in time."""

    head_timer: asyncio.TimerHandle | None = None
    idle_since_s = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no request has arrived that is not answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(_LateClosing(transport, self._sends_still))  # type: ignore[arg-type]
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of it."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        if self.head_timer is not None:
            self.head_timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Idle from now on; uvicorn ends connections that are kept and not used."""
        super().on_response_complete()
        self.idle_since_s = self.loop.time()
        if self.conn.trailing_data[0]:  # the next request has begun
            self._watch()

    def _sends_still(self) -> bool:
        return str(self.conn.their_state) == "SEND_BODY"

    def _watch(self) -> None:
        if not self.is_idle:
            if self.head_timer is not None:
                self.head_timer.cancel()
            self.head_timer = None
        elif self.head_timer is None:
            self.idle_since_s = self.loop.time()
            self.head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)


class _LateClosing:
    """A transport that, where the other side still sends, closes when that has ended or after :data:`LINGER_S`."""

    def __init__(self, transport: asyncio.Transport, sends_still: Callable[[], bool]) -> None:
        self._transport, self._sends_still, self._closing = transport, sends_still, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing more is answered."""
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        """Say what is left to say, then close; a second time at once."""
        if self.is_closing() or not self._sends_still():
            self._transport.close()
            return
        self._closing = True
        self._transport.write_eof()
        self._transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)


def bears(request: Request, token: str) -> bool:
    """Whether a request has ``Authorization: Bearer`` and this token; how long it takes does not tell what is wrong."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
    return right and scheme.lower() == "bearer"


def host_name(header: str) -> str:
    """The name or address in a Host header, without port and brackets."""
    name = header if header.endswith("]") else header.rsplit(":", 1)[0]
    return name.strip("[]").lower()


def is_address(name: str) -> bool:
    """Whether it is an address and no name. Only under a name can a page in a browser reach us (DNS rebinding)."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def collected(request: Request, most_bytes: int, timeout_s: float) -> bytes:
    """The body of a request.

    Raises :class:`OverflowError` as soon as it is larger, and :class:`asyncio.TimeoutError` where it is not there in
    time.
    """
    if int(request.headers.get("content-length", 0)) > most_bytes:
        raise OverflowError
    return await asyncio.wait_for(_collect(request, most_bytes), timeout_s)


async def _collect(request: Request, most_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise OverflowError
        parts.append(part)
    return b"".join(parts)


def _allowed_files() -> int:
    try:
        import resource
    except ImportError:  # Windows counts otherwise
        return MOST_CONNECTIONS + _OWN_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS + _OWN_FILES if soft == resource.RLIM_INFINITY else soft
