"""Class scores of free answers, and mean average precision of them (BAT, table 4: detection).

N answers, C = 355 classes. The score of a class is the largest cosine between its name and a part of the answer; parts
are what semicolons separate, as answers are written. The paper embeds the answer as a whole instead (``whole``), which
blurs an answer that names several classes: even the true answers then reach only 94 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.files.reading import read_array
from bat_agent.labels import label_index, labels
from bat_agent.questions import parse_labels
from bat_agent.scoring.embedders import Embedder, Vectors, unit

_CHUNK = 1024  # texts embedded at once: lexical vectors are thousands of numbers long
NOTHING_SAID = -1.0
"""Score of every class where there is no answer: no cosine is lower."""


@dataclass(frozen=True)
class ClassScorer:
    """How answers become class scores."""

    embedder: Embedder
    """What embeds the answers, and the class names unless ``vectors`` are given."""
    vectors: Vectors | None = None
    """(355, D) embedded class names, as :func:`load_class_vectors` reads them."""
    whole: bool = False
    """Embed each answer as a whole, as the paper does."""

    @property
    def name(self) -> str:
        """What results call it."""
        return self.embedder.name + (", whole answers" if self.whole else "")

    @cached_property
    def _classes(self) -> Vectors:
        if self.vectors is not None:
            return self.vectors
        return self.embedder.embed([name.lower() for name in labels()])

    def __call__(self, answers: Sequence[str]) -> NDArray[np.float32]:
        """(N, 355) class scores of N answers; empty ones score :data:`NOTHING_SAID` everywhere.

        Raises :class:`~bat_agent.errors.BadInput` where class vectors and the embedder do not fit together.
        """
        parts = [self._parts(answer) for answer in answers]
        texts = list(dict.fromkeys(part for some in parts for part in some))
        number = {text: n for n, text in enumerate(texts)}
        likeness = self._likeness(texts)
        scores = np.full((len(answers), len(labels())), NOTHING_SAID, dtype=np.float32)
        for row, some in zip(scores, parts, strict=True):
            for part in some:
                np.maximum(row, likeness[number[part]], out=row)
        return scores

    def _parts(self, answer: str) -> list[str]:
        # A lone surrogate, which JSON can hold, is no text to a tokenizer.
        plain = answer.encode("utf-8", "replace").decode("utf-8").strip().lower()
        parts = [plain] if self.whole else plain.split(";")
        return [part.strip() for part in parts if part.strip()]

    def _likeness(self, texts: list[str]) -> NDArray[np.float32]:
        """(texts, 355) cosines."""
        found = [np.zeros((0, len(labels())), dtype=np.float32)]
        for at in range(0, len(texts), _CHUNK):
            vectors = self.embedder.embed(texts[at : at + _CHUNK])
            if vectors.shape[1] != self._classes.shape[1]:
                raise BadInput(
                    f"the class embeddings have {self._classes.shape[1]} numbers each, but {self.embedder.name} gives "
                    f"{vectors.shape[1]}; name the model they were made with (--embed), or leave out --class-embeddings"
                )
            found.append(vectors @ self._classes.T)
        return np.concatenate(found)


def load_class_vectors(path: str | Path) -> Vectors:
    """Embedded class names (355, D) in class order from a ``.npy`` file, such as the released
    ``audioset_class_embeds.npy``; each is scaled to length 1.

    Raises :class:`~bat_agent.errors.BadInput` for a file that holds anything else.
    """
    wanted = f"expected a .npy file with an array ({len(labels())}, D), such as the released audioset_class_embeds.npy"
    try:
        found = read_array(Path(path))
    except OSError as error:
        raise BadInput(f"cannot read class embeddings {path} ({error.strerror or error}); {wanted}") from error
    except ValueError as error:
        raise BadInput(f"{path} holds no class embeddings, {wanted}; download it again") from error
    usable = np.issubdtype(found.dtype, np.floating) and found.ndim == 2
    if not usable or len(found) != len(labels()) or not found.shape[1] or not np.isfinite(found).all():
        what = f"an array {found.shape} of {found.dtype}"
        raise BadInput(f"{path} holds {what}, {wanted} of finite numbers; download it again")
    return unit(found)


def true_classes(truths: Sequence[str]) -> tuple[NDArray[np.bool_], set[str]]:
    """(N, 355) classes that true answers name, and names in them that are no class."""
    number = {name.lower(): n for name, n in label_index().items()}
    found, unknown = np.zeros((len(truths), len(number)), dtype=bool), set()
    for row, truth in zip(found, truths, strict=True):
        for label in parse_labels(truth) or ():
            if label in number:
                row[number[label]] = True
            else:
                unknown.add(label)
    return found, unknown


class Precision:
    """Mean average precision of N answers of which many are the same; sorts each class once.

    As :class:`bat_agent.evaluation.intervals.RankedClasses`, which it equals, but it ranks the U different answers
    instead of all N, so that resamples of 17 000 records with 355 classes take seconds.
    """

    def __init__(
        self, targets: NDArray[np.bool_], scores: NDArray[np.floating], which: NDArray[np.integer] | None = None
    ) -> None:
        """Truth (N, C), scores (U, C) of the different answers, and which of them each record got, (N,)."""
        self._which = np.arange(len(scores)) if which is None else np.asarray(which)
        self._answers = len(scores)
        present = targets.any(axis=0)
        truth, score = targets[:, present].T, scores[:, present].T
        self._order = np.argsort(-score, axis=1, kind="stable").astype(np.int32)
        ranked = np.take_along_axis(score, self._order, axis=1)
        classes, answers = ranked.shape
        # Answers of equal score share a threshold: each is counted where the last of them stands.
        last = np.concatenate([ranked[:, 1:] != ranked[:, :-1], np.ones((classes, 1), dtype=bool)], axis=1)
        places = np.where(last, np.arange(answers, dtype=np.int32), answers)
        ends = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]
        end_of = np.empty_like(ends)
        np.put_along_axis(end_of, self._order, ends, axis=1)
        of_class, record = np.nonzero(truth)
        end = end_of[of_class, self._which[record]]
        by_place = np.lexsort((end, of_class))
        self._class, self._record, self._end = of_class[by_place], record[by_place], end[by_place]
        # Positives lie class by class, best first; those up to a threshold are a stretch of them.
        key = self._class * (answers + 1) + self._end
        self._from = np.searchsorted(self._class, self._class)
        self._to = np.searchsorted(key, key, side="right")

    def __call__(self, weights: NDArray[np.int64]) -> float:
        """mAP when record n counts ``weights[n]`` times, over the classes that then have a positive; NaN for none."""
        if not len(self._class):
            return float("nan")
        of_answer = np.bincount(self._which, weights, self._answers).astype(np.float32)
        said = np.cumsum(of_answer[self._order], axis=1)[self._class, self._end]
        weight = weights[self._record].astype(np.float64)
        sums = np.concatenate([[0.0], np.cumsum(weight)])
        precision = (sums[self._to] - sums[self._from]) / np.maximum(said, 1)
        positives = np.bincount(self._class, weight)
        found = np.bincount(self._class, weight * precision)[positives > 0] / positives[positives > 0]
        return float(found.mean()) if len(found) else float("nan")
