"""The server as an ASGI application; what it says is described in :mod:`bat_agent.serving.protocol`."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import bat_agent
from bat_agent.chat import conversation_name
from bat_agent.errors import BadInput
from bat_agent.http_server import bears, collected, host_name, is_address
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.serving import protocol
from bat_agent.serving.batching import Batcher, QueueFull
from bat_agent.serving.ears import Ears, Heard, Job
from bat_agent.serving.streams import LEAST_WINDOW_S, NoStream, Step, Streams, axes, number

Result = TypeVar("Result")
_LEAST_WINDOW = round(LEAST_WINDOW_S * SAMPLE_RATE_HZ)
_CLIENT_GONE = 499
MEGABYTE = 10**6


@dataclass(frozen=True)
class Limits:
    """What one request may cost."""

    body_bytes: int = 64 * MEGABYTE
    """A larger body is refused before it is read."""
    body_timeout_s: float = 30.0
    """A body must arrive within this time."""
    bodies: int = 4
    """Bodies of the largest size that may be in memory at once; what comes beyond is told to come again."""


class Refused(Exception):
    """A request ends here, with this status and sentence."""

    def __init__(self, status: int, sentence: str, *, close: bool = False) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {"Connection": "close"} if close else {}


class Service:
    """The endpoints; sound waits in ``batcher`` until ``ears`` hear it, and what is to be rendered in ``rendering``."""

    def __init__(
        self,
        ears: Ears,
        batcher: Batcher[Job, Heard],
        max_batch: int,
        limits: Limits,
        streams: Streams | None = None,
        rendering: Batcher[Callable[[], Any], Any] | None = None,
    ) -> None:
        self.ears = ears
        self.batcher = batcher
        self.max_batch = max_batch
        self.limits = limits
        self._streams, self._rendering = streams, rendering
        self._held_bytes = 0

    async def health(self, request: Request) -> Response:
        """That the server lives, how busy it is and what it takes; nothing that is worth a secret."""
        batcher = self.batcher
        takes = {"queue": batcher.capacity, "max_batch": self.max_batch, "body_bytes": self.limits.body_bytes}
        return JSONResponse(
            {
                "status": "ok",
                "version": bat_agent.__version__,
                "waiting": batcher.waiting,
                "takes": takes,
                "model": self.ears.model,
                "streams": None if self._streams is None else len(self._streams),
            }
        )

    async def labels(self, request: Request) -> Response:
        """The names of the classes."""
        return JSONResponse({"labels": self.ears.labels})

    async def perceive(self, request: Request) -> Response:
        """What sounds where in one clip or in each of a batch."""
        want = _wanted(request, protocol.PERCEPTIONS, protocol.ARRAYS)
        async with self._waveform(request) as waveform:
            clips = waveform if waveform.ndim == 3 else waveform[None]
            heard = await self._heard(request, [Job(clip, want) for clip in clips])
        return JSONResponse(_as_reply(heard, want))

    async def open_stream(self, request: Request) -> Response:
        """A stream of dry sounds in a scene."""
        streams, query = self._its_streams(), request.query_params
        turn, window_s, scene = axes(query), number(query, "window_s", "2"), query.get("scene", "")
        shape = self._shape_of(request)
        try:
            streams.check_room(shape, window_s)
        except BadInput as error:  # the body is not read
            raise Refused(422, str(error), close=True) from error
        async with self._samples(request, shape) as sounds:
            name = await self._rendered(request, lambda: streams.open(scene, sounds, window_s, turn))
        return JSONResponse({"stream": name})

    async def step_stream(self, request: Request) -> Response:
        """What is heard in the next step of a stream."""
        streams, name, step = self._its_streams(), request.path_params["name"], Step.of(request.query_params)
        want = _wanted(request, protocol.PERCEPTIONS, protocol.ARRAYS, protocol.AUDIO)
        audio, window = await self._rendered(request, lambda: streams.step(name, step))
        reply: dict[str, Any] = {protocol.AUDIO: protocol.pack(audio)} if protocol.AUDIO in want else {}
        if (of_ears := want - {protocol.AUDIO}) and window.shape[1] >= _LEAST_WINDOW:
            reply |= _as_reply(await self._heard(request, [Job(window, of_ears)]), of_ears)
        return JSONResponse(reply)

    async def close_stream(self, request: Request) -> Response:
        """Forget a stream."""
        streams, name = self._its_streams(), request.path_params["name"]
        return JSONResponse({"closed": await self._rendered(request, lambda: streams.close(name))})

    def _its_streams(self) -> Streams:
        if self._streams is None:
            raise Refused(422, "this server renders nothing: start it as bat-agent serve --scenes FOLDER_OF_MESHES")
        return self._streams

    async def ask(self, request: Request) -> Response:
        """Answers to questions about one clip."""
        questions = tuple(request.query_params.getlist("question"))
        if not questions:
            raise Refused(400, "no question was asked: write /ask?question=Where+is+the+dog%3F, and more the same way")
        if not all(question.strip() for question in questions):
            raise Refused(422, 'a question is empty: ask something like "Where is the sound coming from?"')
        conversation = request.query_params.get("conversation")
        if conversation is not None:
            conversation_name(conversation)
        async with self._waveform(request, one_clip=True) as waveform:
            (heard,) = await self._heard(request, [Job(waveform, questions=questions, conversation=conversation)])
        return JSONResponse({"answers": heard.answers})

    @contextlib.asynccontextmanager
    async def _waveform(self, request: Request, *, one_clip: bool = False) -> AsyncIterator[np.ndarray]:
        """What is to be heard, whose memory counts until the end of the block."""
        shape = self._shape_of(request)
        if len(shape) == 3:
            self._check_number(shape[0], one_clip)
        async with self._samples(request, shape) as samples:
            await run_in_threadpool(self.ears.check, samples)
            yield samples

    @contextlib.asynccontextmanager
    async def _samples(self, request: Request, shape: tuple[int, ...]) -> AsyncIterator[np.ndarray]:
        """The samples of a request; what its head tells to be wrong is refused before its body is read."""
        rate = request.headers.get(protocol.SAMPLE_RATE_HEADER, str(SAMPLE_RATE_HZ))
        length = request.headers.get("content-length")
        try:
            wanted = protocol.size_of(shape, int(length) if length is not None else None)
        except BadInput as error:
            if int(length or 0) > self.limits.body_bytes:
                raise self._too_large() from error
            raise Refused(400, str(error)) from error
        if rate.strip() != str(SAMPLE_RATE_HZ):
            raise Refused(422, f"the waveform has {rate} Hz, expected {SAMPLE_RATE_HZ} Hz: resample it first")
        with self._room_for(wanted):
            try:
                samples = protocol.read_samples(await self._body(request), shape)
            except BadInput as error:
                raise Refused(400, str(error)) from error
            yield samples

    def _shape_of(self, request: Request) -> tuple[int, ...]:
        try:
            return protocol.read_shape(request.headers.get(protocol.SHAPE_HEADER))
        except BadInput as error:
            if int(request.headers.get("content-length") or 0) > self.limits.body_bytes:
                raise self._too_large() from error
            raise Refused(400, str(error)) from error

    def _check_number(self, clips: int, one_clip: bool) -> None:
        if one_clip:
            raise Refused(422, "questions are about one clip (2, samples): ask about each clip of a batch by itself")
        if clips > self.batcher.capacity:
            raise Refused(422, f"{clips} clips at once are more than the queue of {self.batcher.capacity}: split them")

    @contextlib.contextmanager
    def _room_for(self, num_bytes: int) -> Iterator[None]:
        """Count a body into what is held; raises :class:`QueueFull` where it is too much."""
        limits = self.limits
        if num_bytes > limits.body_bytes:
            raise self._too_large()
        if self._held_bytes + num_bytes > limits.bodies * limits.body_bytes:
            held = self._held_bytes / MEGABYTE
            raise QueueFull(f"the server is busy: it holds {held:.0f} MB of sound; ask again in a moment", 1.0)
        self._held_bytes += num_bytes
        try:
            yield
        finally:
            self._held_bytes -= num_bytes

    async def _body(self, request: Request) -> bytes:
        try:
            return await collected(request, self.limits.body_bytes, self.limits.body_timeout_s)
        except asyncio.TimeoutError:
            seconds = self.limits.body_timeout_s
            raise Refused(408, f"the sound did not arrive within {seconds:g} s: send it faster", close=True) from None
        except OverflowError:
            raise self._too_large() from None

    def _too_large(self) -> Refused:
        limit = self.limits.body_bytes / MEGABYTE
        return Refused(413, f"the sound is larger than the {limit:g} MB the server takes: send fewer clips", close=True)

    async def _heard(self, request: Request, jobs: Sequence[Job]) -> list[Heard]:
        """The results of all jobs; they are cancelled where the client goes away meanwhile."""
        return await _unless_gone(request, self.batcher.submit(jobs))

    async def _rendered(self, request: Request, job: Callable[[], Result]) -> Result:
        """What the thread that renders makes of a job, when its turn comes."""
        assert self._rendering is not None  # there are streams
        (found,) = await _unless_gone(request, self._rendering.submit([job]))
        return found


async def _unless_gone(request: Request, waited_for: Sequence[Future[Result]]) -> list[Result]:
    """What futures come to; they are cancelled where the client goes away meanwhile."""
    results = asyncio.gather(*map(asyncio.wrap_future, waited_for))
    gone = asyncio.ensure_future(_disconnected(request))
    either: tuple[asyncio.Future[Any], ...] = (results, gone)
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not results.done():
            raise ClientDisconnect
        return await results
    finally:
        gone.cancel()
        results.cancel()


def _wanted(request: Request, *known: str) -> frozenset[str]:
    want = frozenset(request.query_params.get("want", protocol.PERCEPTIONS).split(","))
    if unknown := want - set(known):
        raise Refused(400, f"want={','.join(sorted(unknown))} is unknown: want {', '.join(known)}, or several")
    return want


def _as_reply(heard: Sequence[Heard], want: Collection[str]) -> dict[str, Any]:
    reply: dict[str, Any] = {}
    if protocol.PERCEPTIONS in want:
        reply[protocol.PERCEPTIONS] = [each.perception for each in heard]
    if protocol.ARRAYS in want:
        rows = [each.arrays or {} for each in heard]
        reply[protocol.ARRAYS] = {key: protocol.pack(np.stack([row[key] for row in rows])) for key in rows[0]}
    return reply


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Guard:
    """Lets through what comes to a host we are known by, with the token; ``/health`` needs none.

    A page in a browser can reach a loopback server under a name of its own (DNS rebinding), never under an address.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str]) -> None:
        self.app = app
        self.token = token
        self.hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if not self._known_host(request.headers.get("host", "")):
            sentence = (
                "this host name is not served here: use the address that bat-agent serve printed, or --allow-host"
            )
            return _error(400, sentence, {"Connection": "close"})
        if request.url.path == protocol.HEALTH:
            return None
        if bears(request, self.token):
            return None
        sentence = "the token is missing or wrong: give the one that bat-agent serve printed (BAT_AGENT_TOKEN)"
        return _error(401, sentence, {"WWW-Authenticate": "Bearer", "Connection": "close"})

    def _known_host(self, header: str) -> bool:
        name = host_name(header)
        return name in self.hosts or is_address(name)


def make_app(service: Service, token: str, hosts: Collection[str]) -> ASGIApp:
    """The application; ``hosts`` are the names, beside plain addresses, under which it may be called."""
    routes = [
        Route(protocol.HEALTH, service.health),
        Route(protocol.LABELS, service.labels),
        Route(protocol.PERCEIVE, service.perceive, methods=["POST"]),
        Route(protocol.ASK, service.ask, methods=["POST"]),
        Route(protocol.STREAMS, service.open_stream, methods=["POST"]),
        Route(protocol.STREAMS + "/{name}", service.step_stream, methods=["POST"]),
        Route(protocol.STREAMS + "/{name}", service.close_stream, methods=["DELETE"]),
    ]
    handlers = {
        Refused: _on_refused, BadInput: _on_bad_input, QueueFull: _on_full, NoStream: _on_no_stream,
        HTTPException: _on_http, ClientDisconnect: _on_gone, Exception: _on_failure,
    }  # fmt: skip
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token, hosts)  # type: ignore[arg-type]


def _error(status: int, sentence: str, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    return JSONResponse({"error": sentence, **more}, status, headers)


async def _on_refused(request: Request, error: Refused) -> Response:
    return _error(error.status, str(error), error.headers)


async def _on_bad_input(request: Request, error: BadInput) -> Response:
    return _error(422, str(error))


async def _on_no_stream(request: Request, error: NoStream) -> Response:
    return _error(404, str(error))


async def _on_full(request: Request, error: QueueFull) -> Response:
    seconds = error.retry_after_s
    return _error(503, str(error), {"Retry-After": str(math.ceil(seconds))}, retry_after_s=round(seconds, 3))


async def _on_http(request: Request, error: HTTPException) -> Response:
    known = "GET /health, GET /labels, POST /perceive, POST /ask and POST /streams"
    return _error(error.status_code, f"{request.method} {request.url.path} is not served here: there are {known}")


async def _on_gone(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=_CLIENT_GONE)


async def _on_failure(request: Request, error: Exception) -> Response:
    # Starlette raises it again after the reply, and uvicorn prints it.
    return _error(500, f"the server failed ({type(error).__name__}): its own output says more")
