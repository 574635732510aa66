"""What client and server say to each other over HTTP.

====================  =========================================================================================
``GET /health``       needs no token: ``{"status": "ok", "version", "waiting", "model": {…}}``
``GET /labels``       ``{"labels": [355 names]}``, in the order of ``class_probs`` among the arrays
``POST /perceive``    body: one clip or a batch; ``?want=perceptions``, ``arrays`` or ``perceptions,arrays``
``POST /ask``         body: one clip; ``?question=…``, repeated for more: ``{"answers": [{…}]}``
``POST /streams``     body: dry sounds (S, N), mono; ``?scene=FILE&window_s=2``: ``{"stream": NAME}``
``POST /streams/N``   the next step of stream N, no body: what is heard there, as of ``/perceive``
``DELETE /streams/N`` closes it: ``{"closed": true}``
====================  =========================================================================================

A body is the samples alone, float32, little-endian, C order; the header ``X-Bat-Shape`` gives ``2,N`` or ``B,2,N`` and
``X-Bat-Sample-Rate``, where sent, must be 32000. All but ``/health`` want ``Authorization: Bearer TOKEN``. Replies are
JSON: ``{"perceptions": [Perception.to_dict(), …]}`` for one clip too, ``{"arrays": {key: packed}}`` with the arrays of
:func:`bat_agent.hearing.arrays.hearing_arrays` as :func:`pack` makes them, bit for bit.

With ``&conversation=NAME`` (1 to 64 letters, digits, dots, dashes, underscores) questions go on from those before them
in the conversation of that name: "and how far is it?". The server keeps the last 6 questions and answers of at most 256
conversations, in memory alone, until nothing was asked for 5 minutes.

With ``bat-agent serve --scenes FOLDER`` there are streams: sounds that loop in a scene of that folder (FILE as seen
from there, or any path that ends so), rendered at the ears of an agent elsewhere. ``&up=0,0,1&front=0,1,0`` name the
axes of a mesh whose up is not +y or whose front is not −z. A step is
``?step=1&seconds=0.25&listener=x,y,z&heading_deg=90`` with ``&source=x,y,z`` once for each sound, in metres and in the
frame of :mod:`bat_agent.scene`. Steps are counted from 1; the same number again gives the same again, as a reply may be
lost. ``&begins=1`` begins an episode: silence before it. ``&want=`` takes ``audio``, too: (2, n), packed. Perceptions
and arrays are of the last ``window_s`` seconds of the episode; where that is less than 20 ms there are none.

Refusals are ``{"error": "one sentence"}`` with status 400 (not this protocol, or an unknown Host), 401 (token), 404 (no
such path or stream), 408 (the body came too slowly), 413 (too large), 422 (sound that cannot be heard, or rendered, in
the library's words), 500, or 503: the queue is full, and ``Retry-After`` or, finer, ``"retry_after_s"`` say when to
come again.

Nothing here needs more than numpy.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from bat_agent.errors import BadInput

HEALTH, LABELS, PERCEIVE, ASK, STREAMS = "/health", "/labels", "/perceive", "/ask", "/streams"
SHAPE_HEADER = "X-Bat-Shape"
SAMPLE_RATE_HEADER = "X-Bat-Sample-Rate"
PERCEPTIONS, ARRAYS, AUDIO = "perceptions", "arrays", "audio"
SAMPLE_TYPE = np.dtype("<f4")
_MOST_AXES = 8
_MOST_SAMPLES = 2**40


def pack(array: np.ndarray) -> dict[str, Any]:
    """JSON-able: ``{"dtype": "<f4", "shape": [B, …], "base64": …}``; booleans have the dtype ``|b1``."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {
        "dtype": little.dtype.str,
        "shape": list(little.shape),
        "base64": base64.b64encode(little.tobytes()).decode("ascii"),
    }


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The inverse of :func:`pack`; the array is writable."""
    raw = base64.b64decode(packed["base64"])
    return np.frombuffer(raw, packed["dtype"]).reshape(packed["shape"]).copy()


def shape_text(shape: tuple[int, ...]) -> str:
    """E.g. ``2,32000``."""
    return ",".join(map(str, shape))


def read_shape(text: str | None) -> tuple[int, ...]:
    """The inverse of :func:`shape_text`; raises :class:`~bat_agent.errors.BadInput` for anything else."""
    parts = (text or "").split(",")
    if len(parts) > _MOST_AXES or not all(p.strip().isdecimal() and p.isascii() and len(p) < 16 for p in parts):
        shown = text if text is None or len(text) <= 40 else f"{text[:40]}…"
        raise BadInput(f"the header {SHAPE_HEADER} must give the shape of the samples, such as 2,32000, got {shown!r}")
    shape = tuple(int(part) for part in parts)
    if math.prod(max(size, 1) for size in shape) > _MOST_SAMPLES:
        raise BadInput(f"the shape {shape_text(shape)} in {SHAPE_HEADER} is that of no sound: give that of the samples")
    return shape


def size_of(shape: tuple[int, ...], length: int | None = None) -> int:
    """Bytes of samples of this shape; raises :class:`~bat_agent.errors.BadInput` for a body of another ``length``."""
    wanted = math.prod(shape) * SAMPLE_TYPE.itemsize
    if length is not None and length != wanted:
        raise BadInput(
            f"the body holds {length} bytes, expected {wanted} for samples of shape {shape}: send them all as "
            f"float32, and their shape in {SHAPE_HEADER}"
        )
    return wanted


def read_samples(body: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The samples in a body as a read-only array; raises :class:`~bat_agent.errors.BadInput` for another size."""
    size_of(shape, len(body))
    return np.frombuffer(body, SAMPLE_TYPE).reshape(shape)
