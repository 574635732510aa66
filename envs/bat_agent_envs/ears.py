"""The model behind a wrapper, in this process or on a server: what it hears as arrays, words and answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.hearing.arrays import MASK_ROWS
from bat_agent.hearing.spread import WORDS
from bat_agent.interfaces import NUM_MELS

LEAST_S = 0.02
"""Less sound than this is not listened to."""


@dataclass(frozen=True)
class Shapes:
    """How many slots and classes a model has, and how wide its embedding is."""

    slots: int
    classes: int
    width: int


class Ears:
    """A model in this process. Shared by all wrappers that name it; calls from several threads take turns."""

    def __init__(self, model: str, device: str | None, level_known: bool, threads: int | None = None) -> None:
        import bat_agent
        from bat_agent.hearing.arrays import hearing_shapes

        self._bat = bat_agent.load(model, device=device, level_known=level_known, threads=threads)
        self._lock = threading.Lock()
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="bat-agent-ask")
        shapes = hearing_shapes(self._bat)
        self.shapes = Shapes(*shapes["slot_probs"], *shapes["embedding"])
        self.labels: tuple[str, ...] = self._bat.encoder.labels
        self.longest_s: float = self._bat.encoder.clip_seconds

    def __deepcopy__(self, memo: dict[int, Any]) -> Ears:
        """Copies of an environment share the model, as all that name it do."""
        return self

    def hear(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """Arrays of :func:`bat_agent.hearing.arrays.hearing_arrays` of windows (B, 2, N)."""
        from bat_agent.hearing.arrays import hearing_arrays

        with self._lock:
            return hearing_arrays(self._bat, windows)

    def ask(self, window: np.ndarray, questions: str | Sequence[str]) -> Any:
        """One answer, or one for each of several questions, about a window (2, N)."""
        with self._lock:
            return self._bat.ask(window, questions)

    def ask_later(self, window: np.ndarray, questions: str | Sequence[str]) -> Future[Any]:
        """The same in a thread of its own, one after the other."""
        return self._asking.submit(self.ask, window, questions)


@dataclass(frozen=True)
class RemoteAnswer:
    """An answer from a server; as :class:`bat_agent.agent.Answer`, which would need torch."""

    question: str
    text: str
    confidence: float | None
    sure: bool
    alternatives: dict[str, float]
    notes: tuple[str, ...]
    failed: str | None = None

    def __str__(self) -> str:
        return self.text

    @classmethod
    def of(cls, reply: dict[str, Any]) -> RemoteAnswer:
        """From what the server replies."""
        return cls(
            reply["question"], reply["answer"], reply["confidence"], reply["sure"], reply["alternatives"],
            tuple(reply["notes"]), reply.get("failed"),
        )  # fmt: skip


class RemoteEars:
    """The same on a server (``bat-agent serve``), for a process that has no torch."""

    def __init__(self, url: str) -> None:
        from bat_agent_envs.client import HearingClient

        self._client = HearingClient(url)
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="bat-agent-ask")
        shapes = self._client.shapes()
        self.shapes = Shapes(*shapes["slot_probs"], *shapes["embedding"])
        self.labels: tuple[str, ...] = tuple(self._client.labels)
        self.longest_s: float = self._client.health()["model"]["clip_seconds"]

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteEars:
        """Copies of an environment share the server."""
        return self

    def hear(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """As :meth:`Ears.hear`."""
        return self._client.arrays(windows)

    def ask(self, window: np.ndarray, questions: str | Sequence[str]) -> Any:
        """As :meth:`Ears.ask`."""
        if isinstance(questions, str):
            return RemoteAnswer.of(self._client.ask(window, questions))
        return [RemoteAnswer.of(reply) for reply in self._client.ask(window, list(questions))]

    def ask_later(self, window: np.ndarray, questions: str | Sequence[str]) -> Future[Any]:
        """As :meth:`Ears.ask_later`."""
        return self._asking.submit(self.ask, window, questions)


def open_ears(
    model: str, device: str | None = None, level_known: bool = True, threads: int | None = None
) -> Ears | RemoteEars:
    """The ears of this process for a model: its name, its directory, or the address of a server (``http://…``).

    Raises :class:`~bat_agent.errors.WeightsError` where there is no such model.
    """
    if not isinstance(model, str) or not model:
        raise BadInput(f"model must be the name or directory of a model, or http://address of a server, got {model!r}")
    if model.startswith(("http://", "https://")):
        if threads is not None:
            raise BadInput(f"{model} computes on its own machine: give threads to its bat-agent serve, and none here")
        return RemoteEars(model)
    return _loaded(model, device, level_known, threads)


@cache
def _loaded(model: str, device: str | None, level_known: bool, threads: int | None) -> Ears:
    return Ears(model, device, level_known, threads)


def hear_all(ears: Ears | RemoteEars, windows: Sequence[np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
    """What is heard in windows (2, N) of any lengths, each length as one batch; and the milliseconds it took.

    Windows of equal length are heard together, and none is padded, so a window says the same in any company.
    """
    began = time.perf_counter()
    by_length: dict[int, list[int]] = {}
    for index, window in enumerate(windows):
        by_length.setdefault(window.shape[1], []).append(index)
    heard: dict[str, np.ndarray] = {}
    for indices in by_length.values():
        arrays = ears.hear(np.stack([windows[index] for index in indices]))
        for name, values in arrays.items():
            if name not in heard:
                heard[name] = np.zeros((len(windows), *values.shape[1:]), values.dtype)
            heard[name][indices] = values
    return heard, 1000 * (time.perf_counter() - began)


def nothing(shapes: Shapes, count: int) -> dict[str, np.ndarray]:
    """What ``count`` environments hear before they heard anything."""
    slots, classes = shapes.slots, shapes.classes
    return {
        "direction": np.zeros((count, slots, 3), np.float32),
        "distance": np.zeros((count, slots), np.float32),
        "class_probs": np.zeros((count, classes), np.float32),
        "slot_probs": np.zeros((count, slots, classes), np.float32),
        "embedding": np.zeros((count, shapes.width), np.float32),
        "valid": np.zeros((count, slots), bool),
        "sides": np.zeros((count, slots, 3), np.float32),
        "azimuth_probs": np.zeros((count, slots, 360), np.float32),
        "elevation_probs": np.zeros((count, slots, 180), np.float32),
        "masks": np.zeros((count, slots, MASK_ROWS, NUM_MELS), np.float32),
    }


def top_labels(class_probs: np.ndarray, labels: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The likeliest labels with their probabilities; of silence none."""
    best = np.argsort(-class_probs, kind="stable")[:count]
    return [(labels[index], round(float(class_probs[index]), 4)) for index in best if class_probs[index] > 0]


def in_words(heard: dict[str, np.ndarray], labels: Sequence[str]) -> str:
    """What one environment hears (arrays without the batch axis), in words."""
    said = []
    for slot in np.flatnonzero(heard["valid"] | heard["slot_probs"].any(axis=-1)):
        where = "somewhere"
        if heard["valid"][slot]:
            words = zip(WORDS.values(), heard["sides"][slot].tolist(), strict=True)
            where = ", ".join(first if share > 0.5 else second for (first, second), share in words if share != 0.5)
        far = f", {heard['distance'][slot]:.1f} m" if heard["distance"][slot] else ""
        said.append(f"{name_of(heard['slot_probs'][slot], labels)}: {where}{far}")
    return "; ".join(said) or "nothing"


def name_of(slot_probs: np.ndarray, labels: Sequence[str]) -> str:
    """The likeliest label of a slot; ``something`` where the encoder has no classes."""
    return labels[int(slot_probs.argmax())] if slot_probs.any() else "something"
