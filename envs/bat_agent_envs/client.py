"""HearingClient: the ears of ``bat-agent serve`` for a process without torch, such as one with habitat and Python 3.9.

This file needs numpy 1.22 or newer and Python 3.8 or newer, and nothing else: where bat-agent cannot be installed, copy
it there under any name and import it. What passes over the wire is described in :mod:`bat_agent.serving.protocol`.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
import random
import socket
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import urlencode, urlsplit

import numpy as np

if TYPE_CHECKING:
    from bat_agent.errors import BadInput, BatAgentError
else:
    try:
        from bat_agent.errors import BadInput, BatAgentError
    except ImportError:  # this file alone

        class BatAgentError(Exception):
            """Base of the errors raised here on purpose."""

        class BadInput(BatAgentError, ValueError):
            """Something the user passed cannot be used as it is."""


# As in bat_agent/serving/protocol.py, which an older Python does not have.
_HEALTH, _LABELS, _PERCEIVE, _ASK = "/health", "/labels", "/perceive", "/ask"
_SHAPE_HEADER, _SAMPLE_RATE_HEADER = "X-Bat-Shape", "X-Bat-Sample-Rate"
_PERCEPTIONS, _ARRAYS = "perceptions", "arrays"
_SAMPLE_TYPE = np.dtype("<f4")

SAMPLE_RATE_HZ = 32_000
URL_VARIABLE, TOKEN_VARIABLE = "BAT_AGENT_URL", "BAT_AGENT_TOKEN"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_LONGEST_QUESTIONS = 30_000
_REFUSED_INPUT = (400, 408, 413, 422)
_BUSY = 503
_TIMEOUTS = (TimeoutError, socket.timeout)


class HearingServerError(BatAgentError):
    """The server cannot be reached, refuses the token, stays busy, or failed."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; ``None`` where there was no reply."""


class HearingClient:
    """Hears through a server: ``with HearingClient(url, token) as ears: ears.perceive(waveform)``.

    Waveforms are float arrays (2, N), left ear first, 32 kHz, ±1. ``url`` and ``token`` default to the environment
    variables ``BAT_AGENT_URL`` and ``BAT_AGENT_TOKEN``. A call takes ``timeout_s`` at most. While the server is busy or
    not there it is asked again up to ``retries`` times, at growing intervals. Connections are kept, threads may share a
    client, and it may be pickled or taken into a forked process.

    Every call raises :class:`BadInput` for sound that cannot be heard, in the library's words, and
    :class:`HearingServerError` where the server is the reason.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout_s: float = 30.0, retries: int = 8
    ) -> None:
        self.url = (url or os.environ.get(URL_VARIABLE) or "").rstrip("/")
        self.timeout_s = timeout_s
        self.retries = retries
        self._token = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
        if not self._token.isascii() or not self._token.isprintable():
            raise BadInput("the token holds characters that no header can carry: give the one bat-agent serve printed")
        self._connections = _Connections(self.url)
        self._random = random.Random(f"{os.getpid()} {id(self)}")
        self._labels: tuple[str, ...] | None = None
        self._takes: dict[str, int] | None = None

    def health(self) -> dict[str, Any]:
        """``status``, ``version``, clips ``waiting``, what the server ``takes`` (``max_batch``, ``queue``,
        ``body_bytes``), and the ``model`` with its ``name`` and the shapes of its ``arrays``; needs no token.
        """
        found: dict[str, Any] = self._call("GET", _HEALTH)
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of ``class_probs`` among the arrays; asked for once."""
        if self._labels is None:
            self._labels = tuple(self._call("GET", _LABELS)["labels"])
        return self._labels

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array of :meth:`arrays` for one clip, without the batch axis."""
        return {key: tuple(shape) for key, shape in self.health()["model"]["arrays"].items()}

    def perceive(self, waveform: Any, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> dict[str, Any]:
        """What sounds where in one clip (2, N): ``Perception.to_dict()``, with sources, class_probs and notes."""
        found: dict[str, Any] = self._hear(_one_clip(waveform), _PERCEPTIONS, sample_rate_hz)[0]
        return found

    def perceive_batch(self, waveforms: Any, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> list[dict[str, Any]]:
        """The same for each of several clips, (B, 2, N) or a list of (2, N) whose lengths may differ."""
        clips = [_one_clip(waveform) for waveform in waveforms]
        if not clips:
            raise BadInput("the batch of waveforms is empty, expected at least one clip: check how it was put together")
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, clip in enumerate(clips):
            by_shape.setdefault(clip.shape, []).append(number)
        found: dict[int, dict[str, Any]] = {}
        for numbers in by_shape.values():
            for some in self._portions(numbers, clips[numbers[0]].nbytes):
                batch = np.stack([clips[number] for number in some]) if len(some) > 1 else clips[some[0]]
                # As many as were sent: the server sees to that, and strict= is not in Python 3.9.
                found.update(zip(some, self._hear(batch, _PERCEPTIONS, sample_rate_hz)))  # noqa: B905
        return [found[number] for number in range(len(clips))]

    def arrays(self, waveforms: Any, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> dict[str, np.ndarray]:
        """What is heard in B clips (B, 2, N) as arrays of fixed shape, of S slots, C classes and embedding width D.

        ``direction`` (B, S, 3), ``distance`` (B, S), ``class_probs`` (B, C), ``slot_probs`` (B, S, C) and ``embedding``
        (B, D) and ``sides`` (B, S, 3), all float32, and ``valid`` (B, S) bool, bit for bit as the server has them from
        :func:`bat_agent.hearing.arrays.hearing_arrays`.
        """
        batch = _samples(waveforms)
        if batch.ndim != 3 or len(batch) < 2:
            found: dict[str, np.ndarray] = self._hear(batch, _ARRAYS, sample_rate_hz)
            return found
        portions = [
            self._hear(batch[some[0] : some[-1] + 1], _ARRAYS, sample_rate_hz)
            for some in self._portions(range(len(batch)), batch[0].nbytes)
        ]
        return {key: np.concatenate([portion[key] for portion in portions]) for key in portions[0]}

    @overload
    def ask(
        self, waveform: Any, question: str, *, sample_rate_hz: int = ..., conversation: str | None = ...
    ) -> dict[str, Any]: ...
    @overload
    def ask(
        self, waveform: Any, question: Sequence[str], *, sample_rate_hz: int = ..., conversation: str | None = ...
    ) -> list[dict[str, Any]]: ...
    def ask(
        self,
        waveform: Any,
        question: str | Sequence[str],
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        conversation: str | None = None,
    ) -> Any:
        """Answer one question about a clip (2, N), or several: ``Answer.to_dict()`` and ``notes``.

        Questions of one ``conversation``, a name of yours, go on from each other: "And how far is it?".
        """
        questions = [question] if isinstance(question, str) else list(question)
        if not questions:
            return []
        named = [] if conversation is None else [("conversation", conversation)]
        query = urlencode([*(("question", each) for each in questions), *named])
        if len(query) > _LONGEST_QUESTIONS:
            raise BadInput(
                f"the questions are longer together than {_LONGEST_QUESTIONS} characters: ask some at a time"
            )
        reply = self._call("POST", f"{_ASK}?{query}", _samples(waveform), sample_rate_hz)
        return reply["answers"][0] if isinstance(question, str) else reply["answers"]

    def call(self, method: str, path: str, samples: Any = None) -> dict[str, Any]:
        """One request of the protocol that has no method here; its reply, arrays unpacked."""
        body = None if samples is None else _samples(samples)
        reply: dict[str, Any] = self._call(method, path, body, SAMPLE_RATE_HZ)
        return _unpacked(reply)

    def close(self) -> None:
        """Close the kept connections; the next call opens one again."""
        self._connections.close()

    def __enter__(self) -> HearingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "token": self._token, "timeout_s": self.timeout_s, "retries": self.retries}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _hear(self, samples: np.ndarray, want: str, sample_rate_hz: int) -> Any:
        reply = self._call("POST", f"{_PERCEIVE}?want={want}", samples, sample_rate_hz)
        if want == _ARRAYS:
            return _unpacked(reply[want])
        return reply[want]

    def _portions(self, numbers: Sequence[int], clip_bytes: int) -> list[Sequence[int]]:
        """The clips in portions that the server takes at once."""
        if len(numbers) == 1:
            return [numbers]
        if self._takes is None:
            self._takes = dict(self.health()["takes"])
        takes = self._takes
        size = max(min(takes["max_batch"], takes["queue"], takes["body_bytes"] // max(clip_bytes, 1)), 1)
        return [numbers[start : start + size] for start in range(0, len(numbers), size)]

    def _call(self, method: str, path: str, samples: np.ndarray | None = None, sample_rate_hz: int = 0) -> Any:
        """One request with its repetitions; the reply as Python objects."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if samples is not None:
            headers[_SHAPE_HEADER] = ",".join(map(str, samples.shape))
            headers[_SAMPLE_RATE_HEADER] = str(sample_rate_hz)
            headers["Content-Type"] = "application/octet-stream"
        body = None if samples is None else samples.tobytes()
        deadline_s = time.monotonic() + self.timeout_s
        for attempt in itertools.count():
            try:
                status, reply = self._connections.request(method, path, body, headers, deadline_s)
            except _TIMEOUTS as error:
                raise HearingServerError(
                    f"the server at {self.url} did not answer within {self.timeout_s:g} s: give a longer timeout_s, or "
                    "see whether it is well"
                ) from error
            if status not in (_BUSY, None):
                return _read(status, reply)
            pause_s = self._pause_s(attempt, float(reply.get("retry_after_s", 0.0)))
            if attempt >= self.retries or time.monotonic() + pause_s >= deadline_s:
                tried = f" (tried {attempt + 1} times)" if attempt else ""
                raise HearingServerError(f"{reply['error']}{tried}", status)
            time.sleep(pause_s)

    def _pause_s(self, attempt: int, wanted_s: float) -> float:
        """Twice as long each time, at least what the server wants, and scattered: not all clients come at once."""
        pause_s = max(_FIRST_PAUSE_S * 2 ** min(attempt, 10), wanted_s)
        return min(pause_s, _LONGEST_PAUSE_S) * self._random.uniform(0.75, 1.25)


class _Connections:
    """Kept connections to one server; as many as threads ask at the same time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
        except ValueError:
            usable = False
        if not usable:
            raise BadInput(
                f"the url {url!r} is no address: give the one bat-agent serve printed, http://127.0.0.1:8765"
            )
        self._url = url
        self._parts = parts
        self._idle: list[http.client.HTTPConnection] = []
        self._reset()

    def _reset(self) -> None:
        for connection in self._idle:
            connection.close()
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._idle = []

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline_s: float
    ) -> tuple[int | None, dict[str, Any]]:
        """Status and reply; no status, and an ``error``, where the server was not there to reply.

        Raises one of ``_TIMEOUTS`` where the deadline passes.
        """
        while True:
            connection, kept = self._take()
            try:
                return self._exchange(connection, method, path, body, headers, deadline_s)
            except _TIMEOUTS:
                connection.close()
                raise
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # A kept connection may have ended since: that says nothing of the server.
                if not kept:
                    what = getattr(error, "strerror", None) or type(error).__name__
                    return None, {"error": f"no server answers at {self._url} ({what}): start bat-agent serve there"}

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        deadline_s: float,
    ) -> tuple[int, dict[str, Any]]:
        connection.timeout = max(deadline_s - time.monotonic(), 1e-3)
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        # A server that refuses a body need not read it to the end; its reply says why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, self._parts.path + path, body, headers)
        response = connection.getresponse()
        raw = response.read()
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return response.status, _decoded(response.status, raw)

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was kept from an earlier request."""
        if os.getpid() != self._process:
            self._reset()  # after a fork the connections, and perhaps the lock, are the parent's
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port), False

    def close(self) -> None:
        """Close those that nobody uses now."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        for connection in self.__dict__.get("_idle", ()):
            connection.close()


def _decoded(status: int, raw: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(raw)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        reply = {"error": f"the reply (HTTP status {status}) is not that of bat-agent serve: check the url"}
    return reply


def _read(status: int, reply: dict[str, Any]) -> dict[str, Any]:
    if status == http.client.OK and "error" not in reply:
        return reply
    sentence = str(reply.get("error", f"the server answered with HTTP status {status}"))
    raise BadInput(sentence) if status in _REFUSED_INPUT else HearingServerError(sentence, status)


def _unpack(packed: dict[str, Any]) -> np.ndarray:
    """An array as :func:`bat_agent.serving.protocol.pack` made it."""
    raw = base64.b64decode(packed["base64"])
    return np.frombuffer(raw, packed["dtype"]).reshape(packed["shape"]).copy()


def _unpacked(reply: dict[str, Any]) -> dict[str, Any]:
    """A reply with its arrays unpacked, however deep they lie."""
    unpacked = {}
    for key, value in reply.items():
        if isinstance(value, dict):
            value = _unpack(value) if "base64" in value else _unpacked(value)
        unpacked[key] = value
    return unpacked


def _samples(waveform: Any) -> np.ndarray:
    """The waveform as it is sent; its shape and its samples are for the server to judge."""
    try:
        array = np.asarray(waveform)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"a waveform must be numbers of shape (2, samples): {' '.join(str(error).split())}") from error
    if array.dtype.kind != "f":
        raise BadInput(f"a waveform must hold floats in ±1, got {array.dtype}: divide integers by their full scale")
    if array.ndim == 0:
        raise BadInput("a waveform must have shape (2, samples) or (batch, 2, samples), got one number")
    with np.errstate(over="ignore"):  # what becomes infinite is refused by the server
        return np.ascontiguousarray(array, _SAMPLE_TYPE)


def _one_clip(waveform: Any) -> np.ndarray:
    clip = _samples(waveform)
    if clip.ndim == 3:
        raise BadInput(f"one clip has the shape (2, samples), got {clip.shape}: give a batch to perceive_batch")
    return clip
