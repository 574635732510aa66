"""Text to vectors: what free answers are compared with class names by.

BAT embeds an answer and the 355 class names with OpenAI's text-embedding-3-small and takes cosines as class scores
(table 4, footnote). That needs their service, so figures cannot be made again offline. The default here is
:class:`LexicalEmbedder`, which looks at spelling alone and is the same everywhere; figures of different embedders
cannot be compared with each other, which is why every result says which one it is of.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput
from bat_agent.extras import needed
from bat_agent.files.reading import parse_json
from bat_agent.labels import labels
from bat_agent.sound.torchaudio_parts import let_transformers_load

Vectors = NDArray[np.float32]
URL_VARIABLE, KEY_VARIABLE = "BAT_EMBED_URL", "BAT_EMBED_KEY"
WANTED = "lexical, sentence-transformers:NAME_OR_DIR or api:MODEL"
_TIMEOUT_S = 60.0
_TEXTS_A_REQUEST = 256


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors whose cosine says how alike they are."""

    @property
    def name(self) -> str:
        """What results call it, as :func:`open_embedder` takes it."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors (N, D), each of length 1, or 0 for a text that nothing can be said of; the same text, the same
        vector.
        """
        ...


def unit(vectors: NDArray[Any]) -> Vectors:
    """Rows (N, D) scaled to length 1; rows of zeros stay what they are."""
    numbers = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    return (numbers / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


class LexicalEmbedder:
    """TF-IDF of words and of stretches of 2 to 4 letters within words, learnt from the 355 class names.

    Deterministic and offline. "barking dog" is near "dog" and a little near "bark"; a synonym with other letters
    ("hound") is near nothing. A class name is at 1 with itself only: the next nearest two, "alarm" and "car alarm", are
    at 0.79.
    """

    name = "lexical"

    @cached_property
    def _union(self) -> Any:
        with needed("train", "comparing free answers"):
            from sklearn.feature_extraction.text import TfidfVectorizer
            from sklearn.pipeline import FeatureUnion

        words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        return FeatureUnion([("words", words), ("letters", letters)]).fit([name.lower() for name in labels()])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """As :meth:`Embedder.embed`; texts without a letter in common with any class name are zeros."""
        if not len(texts):
            return np.zeros((0, len(self._union.get_feature_names_out())), dtype=np.float32)
        return unit(self._union.transform(list(texts)).toarray())


class SentenceTransformerEmbedder:
    """A model of the sentence-transformers library, from the hub or a folder.

    Raises :class:`~bat_agent.errors.BadInput` where the library or the model is missing.
    """

    def __init__(self, model: str) -> None:
        """Load ``model``, a name on the hub or a folder."""
        self.name = f"sentence-transformers:{model}"
        let_transformers_load()
        with needed("embed", f"--embed {self.name} (--embed lexical does not)"):
            from sentence_transformers import SentenceTransformer
        try:
            self._model: Any = SentenceTransformer(model)
        except (OSError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"cannot load the sentence-transformers model {model!r} ({' '.join(str(error).split())[:120]}), "
                "expected a name on the hub or the folder of a model; check it and the connection"
            ) from error

    def embed(self, texts: Sequence[str]) -> Vectors:
        """As :meth:`Embedder.embed`."""
        found = self._model.encode(
            list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return _checked(found, len(texts), self.name)


class ApiEmbedder:
    """A service that speaks OpenAI's ``/v1/embeddings``; only ever used where ``api:MODEL`` asks for it.

    ``BAT_EMBED_URL`` says where it is (``https://api.openai.com``, or one of your own) and ``BAT_EMBED_KEY``, if set,
    is sent as a bearer token. Raises :class:`~bat_agent.errors.BadInput` where there is no address, and when embedding
    where the service refuses, does not answer in time, or answers with something else.
    """

    def __init__(self, model: str, *, timeout_s: float = _TIMEOUT_S, batch: int = _TEXTS_A_REQUEST) -> None:
        """``model`` as the service calls it; ``batch`` texts go into one request."""
        self.name = f"api:{model}"
        self._model, self._timeout_s, self._batch = model, timeout_s, batch
        base = os.environ.get(URL_VARIABLE, "").rstrip("/")
        if not base.startswith(("http://", "https://")):
            given = f"is {base!r}" if base else "is not set"
            raise BadInput(
                f"--embed {self.name} needs the address of a service, but {URL_VARIABLE} {given}; set it to the likes "
                "of https://api.openai.com, or use --embed lexical"
            )
        self.url = f"{base}/embeddings" if base.endswith("/v1") else f"{base}/v1/embeddings"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """As :meth:`Embedder.embed`."""
        parts = [self._request(texts[at : at + self._batch]) for at in range(0, len(texts), self._batch)]
        if len({part.shape[1] for part in parts}) > 1:
            raise self._malformed("vectors of different lengths")
        return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)

    def _request(self, texts: Sequence[str]) -> Vectors:
        body = json.dumps({"model": self._model, "input": list(texts), "encoding_format": "float"}).encode()
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self._timeout_s) as reply:
                content = reply.read()
        except urllib.error.HTTPError as error:
            error.close()
            hint = f"check {KEY_VARIABLE}" if error.code in (401, 403) else f"check {URL_VARIABLE} and the model's name"
            raise BadInput(
                f"the embedding service at {self.url} refused the request (HTTP {error.code} {error.reason}); {hint}"
            ) from error
        except TimeoutError as error:
            raise self._silent() from error
        except (urllib.error.URLError, OSError) as error:
            if isinstance(getattr(error, "reason", None), TimeoutError):
                raise self._silent() from error
            reason = getattr(error, "reason", None) or error
            raise BadInput(
                f"cannot reach the embedding service at {self.url} ({reason}); check {URL_VARIABLE} and that it runs"
            ) from error
        return self._vectors(content, len(texts))

    def _vectors(self, content: bytes, count: int) -> Vectors:
        try:
            items = parse_json(content)["data"]
            # The order of the reply is not promised, its numbering is.
            rows = [item["embedding"] for item in sorted(items, key=lambda item: item["index"])]
            numbers = [item["index"] for item in sorted(items, key=lambda item: item["index"])]
            vectors = np.array(rows, dtype=np.float64)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._malformed("no list of embeddings") from error
        if numbers != list(range(count)):
            raise self._malformed(f"{len(numbers)} vectors")
        return _checked(vectors, count, f"the embedding service at {self.url}")

    def _silent(self) -> BadInput:
        return BadInput(
            f"the embedding service at {self.url} did not answer within {self._timeout_s:g} s; check that it runs, "
            "and try again"
        )

    def _malformed(self, what: str) -> BadInput:
        return BadInput(
            f"the embedding service at {self.url} answered with {what}, expected one vector of the same length for "
            f"each text as OpenAI's /v1/embeddings gives; check {URL_VARIABLE}"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key must not travel to an address that nobody named."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        """Follow none; the redirection is then told as an error."""


def _checked(vectors: Any, count: int, whose: str) -> Vectors:
    found = np.asarray(vectors)
    if found.ndim != 2 or len(found) != count or not found.shape[1] or not np.isfinite(found).all():
        raise BadInput(
            f"{whose} gave an array {found.shape} for {count} texts, expected one vector of finite numbers each; use "
            "another embedder"
        )
    return unit(found)


def open_embedder(spec: str = "lexical") -> Embedder:
    """``lexical``, ``sentence-transformers:NAME_OR_DIR`` or ``api:MODEL``.

    Raises :class:`~bat_agent.errors.BadInput` for anything else, and where the one named cannot be had.
    """
    kind, _, model = spec.partition(":")
    if spec == "lexical":
        return LexicalEmbedder()
    if kind == "sentence-transformers" and model:
        return SentenceTransformerEmbedder(model)
    if kind == "api" and model:
        return ApiEmbedder(model)
    raise BadInput(f"--embed {spec!r} was not understood, expected {WANTED}")
