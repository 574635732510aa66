"""Embedders: what is said of them holds in every process, and class names are at 1 with themselves alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.evaluation.intervals import RankedClasses
from bat_agent.evaluation.metrics import mean_average_precision
from bat_agent.labels import labels
from bat_agent.scoring import ClassScorer, Embedder, LexicalEmbedder, load_class_vectors, open_embedder
from bat_agent.scoring.classes import NOTHING_SAID, Precision, true_classes

NAMES = [name.lower() for name in labels()]
_PROGRAM = """
import hashlib
from bat_agent.scoring import LexicalEmbedder
vectors = LexicalEmbedder().embed(["dog; bark", "a barking dog", "heavy rain", "ünknown 雨"])
print(hashlib.sha256(vectors.round(6).tobytes()).hexdigest())
"""


def test_class_names_are_alike_to_themselves_only() -> None:
    vectors = LexicalEmbedder().embed(NAMES)
    likeness = vectors @ vectors.T
    np.testing.assert_allclose(likeness.diagonal(), 1.0, atol=1e-6)
    assert (likeness - 2 * np.eye(len(NAMES))).max() < 0.8


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("a barking dog", "Dog"), ("heavy rain", "Rain"), ("a man speaking", "Male speech, man speaking")],
)
def test_other_words_are_near_the_class_they_name(text: str, nearest: str) -> None:
    embedder = LexicalEmbedder()
    assert labels()[int((embedder.embed([text]) @ embedder.embed(NAMES).T).argmax())] == nearest


def test_texts_without_a_letter_in_common_are_zero_and_no_text_is_no_row() -> None:
    embedder = LexicalEmbedder()
    assert not embedder.embed(["雨", "", "123"]).any()
    assert embedder.embed([]).shape == (0, embedder.embed(["dog"]).shape[1])


def test_the_same_vectors_in_every_process() -> None:
    """Word lists come out of sets and dicts, whose order depends on the hash seed in places."""
    digests = set()
    for seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(done.stdout.strip())
    here = LexicalEmbedder().embed(["dog; bark", "a barking dog", "heavy rain", "ünknown 雨"])
    assert digests == {hashlib.sha256(here.round(6).tobytes()).hexdigest()}


@pytest.mark.parametrize("spec", ["", "word2vec", "api:", "sentence-transformers:", "lexical:x", ":x"])
def test_an_unknown_embedder_is_refused(spec: str) -> None:
    with pytest.raises(BadInput, match="expected lexical, sentence-transformers:NAME_OR_DIR or api:MODEL"):
        open_embedder(spec)


# --- sentence-transformers ---


class FakeModel:
    """Counts letters; knows one model."""

    def __init__(self, name: str) -> None:
        if name != "letters":
            raise OSError(f"no file of {name}\nsomewhere")

    def encode(self, texts: list[str], **options: Any) -> np.ndarray:
        assert options == {"normalize_embeddings": True, "convert_to_numpy": True, "show_progress_bar": False}
        return np.array([[1.0 + text.count(letter) for letter in "abcdefgh"] for text in texts])


@pytest.fixture
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = FakeModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


@pytest.mark.usefixtures("_library")
def test_a_model_of_sentence_transformers() -> None:
    embedder = open_embedder("sentence-transformers:letters")
    assert isinstance(embedder, Embedder)
    assert embedder.name == "sentence-transformers:letters"
    vectors = embedder.embed(["abba", "cafe"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert vectors[0, 0] == pytest.approx(3 / np.sqrt(9 + 9 + 6))
    with pytest.raises(BadInput, match=r"cannot load .* 'other' \(no file of other somewhere\)"):
        open_embedder("sentence-transformers:other")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(BadInput, match=r"--embed lexical does not.*'\.\[embed\]'"):
        open_embedder("sentence-transformers:letters")


# --- class scores ---


def test_parts_are_embedded_or_the_whole_answer() -> None:
    parts, whole = ClassScorer(LexicalEmbedder()), ClassScorer(LexicalEmbedder(), whole=True)
    dog, rain, speech = (labels().index(name) for name in ("Dog", "Rain", "Speech"))
    scores = parts(["dog; Rain", "dog", ""])
    assert scores[0, [dog, rain]] == pytest.approx([1.0, 1.0], abs=1e-6)
    assert scores[0, speech] < 0.5
    assert (scores[2] == NOTHING_SAID).all()
    blurred = whole(["dog; Rain", "dog", " ; "])
    assert 0.3 < blurred[0, dog] < 0.95
    assert blurred[1, dog] == pytest.approx(1.0, abs=1e-6)
    assert whole.name == "lexical, whole answers"


def test_class_vectors_of_a_file(tmp_path: Path) -> None:
    """As the released audioset_class_embeds.npy: float64, not of length 1."""
    embedder = LexicalEmbedder()
    file = tmp_path / "classes.npy"
    np.save(file, 3.0 * embedder.embed(NAMES).astype(np.float64))
    answers = ["dog", "rain; wind", "noise"]
    found = ClassScorer(embedder, load_class_vectors(file))(answers)
    np.testing.assert_allclose(found, ClassScorer(embedder)(answers), atol=1e-6)
    np.save(file, np.ones((355, 7)))
    with pytest.raises(BadInput, match="the class embeddings have 7 numbers each, but lexical gives"):
        ClassScorer(embedder, load_class_vectors(file))(answers)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.ones((354, 4)), r"\(354, 4\)"),
        (np.ones(355), r"\(355,\)"),
        (np.full((355, 2), np.nan), "finite"),
        (np.ones((355, 2), dtype=int), "int64"),
        (np.array(["a"], dtype=object), "holds no class embeddings"),
    ],
    ids=["too few", "one dimension", "NaN", "integers", "pickle"],
)
def test_files_that_hold_no_class_vectors(tmp_path: Path, array: np.ndarray, says: str) -> None:
    file = tmp_path / "classes.npy"
    np.save(file, array)
    with pytest.raises(BadInput, match=says):
        load_class_vectors(file)


def test_a_file_of_class_vectors_that_is_not_there_or_no_array(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read class embeddings"):
        load_class_vectors(tmp_path / "none.npy")
    for content in (b"", b"text"):
        (tmp_path / "text.npy").write_bytes(content)
        with pytest.raises(BadInput, match=r"text\.npy holds no class embeddings"):
            load_class_vectors(tmp_path / "text.npy")


# --- mean average precision ---


def test_precision_by_hand() -> None:
    """Class 0: ranking + − + gives (1/1 + 2/3)/2 = 5/6; class 1: two tied at the top, one right, gives 1/2; class 2
    has no positive and does not count.
    """
    truth = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.8, 0.1], [0.5, 0.8, 0.9], [0.1, 0.2, 0.3]])
    assert Precision(truth, scores)(np.ones(3, dtype=np.int64)) == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_precision_of_repeated_answers_is_that_of_each_record(rng: np.random.Generator) -> None:
    """Against scikit-learn, and under resampling against the class that ranks every record."""
    different, which = np.round(rng.random((12, 6)), 1), rng.integers(12, size=200)
    truth = rng.random((200, 6)) < 0.2
    grouped, plain = Precision(truth, different, which), RankedClasses(truth, different[which])
    assert grouped(np.ones(200, dtype=np.int64)) == pytest.approx(mean_average_precision(truth, different[which]))
    for _ in range(20):
        weights = rng.integers(0, 3, size=200)
        assert grouped(weights) == pytest.approx(plain(weights))
    assert np.isnan(Precision(np.zeros((4, 2), dtype=bool), np.zeros((4, 2)))(np.ones(4, dtype=np.int64)))


def test_true_names_that_are_no_class_are_told() -> None:
    found, unknown = true_classes(["dog; rain", "moonshine; dog", "yes"])
    assert found.sum(axis=1).tolist() == [2, 1, 0]
    assert unknown == {"moonshine", "yes"}
