"""A WebSocket to which a robot sends interleaved samples, as binary messages of any length.

A text message ``{"heading_deg": 12.5}`` says where its head faces at the end of the samples that come next.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.extras import needed
from bat_agent.files.reading import parse_json
from bat_agent.listening.blocks import Block, Notice
from bat_agent.listening.feeds import MOST_DEG, QUIET_S, Decoder, check_host

_MOST_WAITING = 1000
"""Messages that wait to be read; the oldest go, and are missed, where nobody reads."""
_MOST_STRANGERS = 8
"""Each takes a thread and three file descriptors, for ten seconds where it says nothing."""
_PASSES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)
_PAUSE_S = 0.1
_END_S = 5.0
"""For so long the end is waited for."""
EXPECTED = 'expected binary messages of interleaved samples, or {"heading_deg": NUMBER} for those that follow'


def heading_of(message: str) -> float | None:
    """The heading in a text message, ``{"heading_deg": 12.5}``; ``None`` where it is something else."""
    try:
        heading = parse_json(message)["heading_deg"]
    except (ValueError, TypeError, KeyError):
        return None
    known = isinstance(heading, int | float) and not isinstance(heading, bool) and abs(heading) <= MOST_DEG
    return float(heading) if known else None


class WebSocketFeed:
    """One sender at a time; it may go and come back, and gives way to another where it has sent nothing for a while.

    A page in a browser is not let in.
    """

    def __init__(
        self, port: int, host: str = "127.0.0.1", *, sample_rate_hz: int = 32_000, channels: int = 2,
        form: str = "s16le", remote: bool = False,
    ) -> None:  # fmt: skip
        """Raises :class:`~bat_agent.errors.BadInput` for a host that others reach, unless ``remote`` allows it."""
        check_host(host, remote)
        self.host, self.port, self.live = host, port, True
        self.name = f"ws://{host}:{port}"
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self._form = form
        Decoder(form, channels, sample_rate_hz)
        self._arrived: deque[Block | Notice] = deque(maxlen=_MOST_WAITING)
        self._something = threading.Event()
        self._sender = threading.Lock()
        self._sending: Any = None
        self._sent_s = 0.0
        self._server: Any = None
        self._listening: _Listening | None = None
        self._lost_s: float | None = None

    def open(self) -> None:
        """Wait for somebody; raises :class:`~bat_agent.errors.BadInput` for a port in use."""
        with needed("listen", "the WebSocket feed"):
            from websockets.sync.server import serve
        try:
            self._listening = _listening(self.host, self.port)
        except OSError as error:
            raise BadInput(f"cannot listen on {self.name} ({error.strerror}): choose another port") from error
        # Programs send no Origin; browsers always do.
        self._server = serve(self._hear, sock=self._listening, origins=[None], max_size=2**22)
        if self._lost_s is not None:  # closed meanwhile, which is nobody's loss
            self._lost_s = self.clock_s()
        self.port = self._listening.getsockname()[1]
        self.name = f"ws://{self.host}:{self.port}"
        threading.Thread(target=self._serve, args=(self._server,), name="bat-websocket", daemon=True).start()

    def _serve(self, server: Any) -> None:
        """Let people in until closed; where there is no file descriptor even to wait with, begin again."""
        while True:
            try:
                return server.serve_forever()
            except OSError as error:  # noqa: PERF203
                if error.errno not in _PASSES:
                    raise
                time.sleep(_PAUSE_S)

    def _hear(self, connection: Any) -> None:
        if not self._sender.acquire(blocking=False) and not self._instead():
            connection.close(1013, "somebody else is sending")
            return
        self._sending, self._sent_s = connection, self.clock_s()
        if self._listening is not None:
            self._listening.let_in(connection.socket)
        try:
            missing_s = 0.0 if self._lost_s is None else self.clock_s() - self._lost_s
            kind, text = ("note", "connected") if self._lost_s is None else ("back", "connected again")
            self._put(Notice(kind, f"{self.name}: {text}", self.clock_s(), missing_s))  # type: ignore[arg-type]
            decoder, heading_deg = Decoder(self._form, self.channels, self.sample_rate_hz), None
            for message in _messages(connection):
                self._sent_s = self.clock_s()
                if isinstance(message, str):
                    heading_deg = heading_of(message)
                    if heading_deg is None:
                        connection.close(1003, EXPECTED)
                        break
                    continue
                for samples in decoder.decode(message):
                    self._put(Block(samples, self.clock_s(), heading_deg))
        finally:
            self._lost_s = self.clock_s()
            text = f"nobody sends to {self.name} any more: waiting for a connection"
            self._put(Notice("lost", text, self.clock_s()))
            self._sender.release()

    def _instead(self) -> bool:
        """Take the place of one who has lost power, say, and never said goodbye; whether it is taken."""
        if self.clock_s() - self._sent_s < QUIET_S:
            return False
        if (quiet := self._sending) is not None:
            with contextlib.suppress(OSError):
                quiet.socket.shutdown(socket.SHUT_RDWR)  # a goodbye would be waited for
        return self._sender.acquire(timeout=QUIET_S)

    def _put(self, item: Block | Notice) -> None:
        self._arrived.append(item)
        self._something.set()

    def read(self, timeout_s: float) -> list[Block | Notice]:
        """What has been sent since."""
        if not self._arrived:
            self._something.clear()
            if not self._arrived:
                self._something.wait(timeout_s)
        return [self._arrived.popleft() for _ in range(len(self._arrived))]

    def clock_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def close(self) -> None:
        """Send everybody away; returns after :data:`_END_S` though somebody does not go."""
        if self._server is not None:
            ending = threading.Thread(target=self._server.shutdown, name="bat-websocket-end", daemon=True)
            ending.start()
            ending.join(_END_S)
            self._server = None


class _Listening(socket.socket):
    """Takes connections for ever: websockets stops for good where the process has no file descriptor left.

    Of those that were not let in to send there are :data:`_MOST_STRANGERS` at most: the oldest gives way.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._strangers: deque[socket.socket] = deque()
        # Who was about to be accepted may have gone; closed by another thread, an accept without end would not notice.
        self.settimeout(_PAUSE_S)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; raises :class:`OSError` where this socket is closed."""
        while True:
            try:
                accepted = super().accept()
                break
            except TimeoutError:
                continue
            except OSError as error:
                if error.errno not in _PASSES:
                    raise
                time.sleep(_PAUSE_S)
        self._strangers.append(accepted[0])
        if len(self._strangers) > _MOST_STRANGERS:
            with contextlib.suppress(OSError):  # it has gone
                self._strangers.popleft().shutdown(socket.SHUT_RDWR)
        return accepted

    def let_in(self, connection: socket.socket) -> None:
        """This one gives way to no stranger."""
        with contextlib.suppress(ValueError):
            self._strangers.remove(connection)


def _listening(host: str, port: int) -> _Listening:
    listening = _Listening(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two programs listen
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _messages(connection: Any) -> Iterator[Any]:
    """What somebody sends, until he goes, with or without a goodbye."""
    from websockets.exceptions import ConnectionClosed

    with contextlib.suppress(ConnectionClosed):
        yield from connection
