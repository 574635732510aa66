"""From a model to a running server: address, token, sockets and signals."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bat_agent.errors import BadInput
from bat_agent.http_server import TOKEN_VARIABLE, LimitedServer
from bat_agent.listening.leaving import signals_that_end
from bat_agent.serving.app import MEGABYTE, Limits, Service, make_app
from bat_agent.serving.batching import Batcher
from bat_agent.serving.ears import Ears, Heard, Job
from bat_agent.serving.streams import Streams

if TYPE_CHECKING:
    from bat_agent.ears import Ears as Hearing

__all__ = [
    "MEGABYTE", "HearingServer", "Limits", "ServerOptions", "choose_token", "listen", "until_signalled", "url_of",
]  # fmt: skip

_BACKLOG = 256
_KEEP_ALIVE_S = 120
_LAST_REPLIES_S = 5


@dataclass(frozen=True)
class ServerOptions:
    """How to serve."""

    max_batch: int = 16
    """Clips that are encoded together."""
    max_wait_s: float = 0.005
    """How long a clip waits for others to share a batch with; one that comes alone does not."""
    queue: int = 64
    """Clips that may wait."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names under which clients may call, beside addresses, ``localhost`` and the name of this machine."""
    limits: Limits = field(default_factory=Limits)
    streams: Streams | None = None
    """What renders for agents in other processes; they are ended with the server."""


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def choose_token(given: str | None, host: str) -> str:
    """The token given, else that of the environment, else, on loopback alone, a new one.

    Raises :class:`~bat_agent.errors.BadInput` for a token that no header can carry, or for none beyond loopback.
    """
    token = given if given is not None else os.environ.get(TOKEN_VARIABLE)
    if token is None:
        if not is_loopback(host):
            raise BadInput(
                f"--host {host} can be reached from other machines, so it needs a token of yours: set {TOKEN_VARIABLE}"
                " or give --token"
            )
        return secrets.token_urlsafe(24)
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput("the token must be visible ASCII characters without spaces: choose another, or give none")
    return token


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises :class:`~bat_agent.errors.BadInput` for an address that is in use or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise BadInput(f"--host {host!r} is no address of this machine: give one, such as 127.0.0.1") from error
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise BadInput(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another --port, or 0 for a free one"
        ) from error
    return listening


def url_of(listening: socket.socket, host: str) -> str:
    """What clients call; the wildcard address is no place to go to, so there it is the name of this machine."""
    port = listening.getsockname()[1]
    if not host or _is_wildcard(host):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_wildcard(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_unspecified
    return False


class HearingServer(LimitedServer):
    """A server of one model: ``run`` serves until a signal comes or ``should_exit`` is set.

    Replies under way are still given, for some seconds.
    """

    def __init__(
        self,
        bat: Hearing,
        listening: socket.socket,
        token: str,
        options: ServerOptions | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve ``bat`` on the socket; ``ready`` is called when requests are answered."""
        options = options or ServerOptions()
        ears = Ears(bat)
        self.batcher: Batcher[Job, Heard] = Batcher(
            ears.run,
            key=lambda job: job.key,
            max_batch=lambda samples: ears.most_at_once(samples, options.max_batch),
            max_wait_s=options.max_wait_s,
            capacity=options.queue,
        )
        self._streams = options.streams
        # One at a time, each alone: the acoustic engine has one process, and a stream one step after the other.
        self._rendering: Batcher[Callable[[], Any], Any] | None = None
        if options.streams is not None:
            self._rendering = Batcher(
                lambda jobs: [job() for job in jobs], key=lambda job: None, capacity=options.queue, name="bat-rendering"
            )
        service = Service(ears, self.batcher, options.max_batch, options.limits, options.streams, self._rendering)
        names = {"localhost", socket.gethostname(), *options.allowed_hosts}
        app = make_app(service, token, names)
        super().__init__(
            app, log_level="warning", timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=_LAST_REPLIES_S
        )
        self._listening = listening
        self._ready = ready

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end."""
        try:
            with self._until_hung_up():
                super().run(sockets or [self._listening])
        finally:
            self.batcher.close()
            if self._rendering is not None:
                self._rendering.close()
            if self._streams is not None:
                self._streams.end()

    @contextlib.contextmanager
    def _until_hung_up(self) -> Iterator[None]:
        """A closed terminal ends it as SIGTERM does, for which uvicorn has no handler."""
        in_main = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self.handle_exit) for number in signals_that_end() if in_main}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self._ready()


@contextlib.contextmanager
def until_signalled() -> Iterator[None]:
    """Ends quietly on SIGINT, SIGTERM and, where its terminal is closed, SIGHUP; uvicorn raises the first two once more
    when its last reply is given.
    """
    before = {number: signal.signal(number, signal.default_int_handler) for number in signals_that_end()}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
