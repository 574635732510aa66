"""What the tests of the scorer share: questions of every type, and a data set of a few clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bat_agent.labels import labels
from bat_agent.questions import QARecord, QuestionType, answer_labels, write_records

NAMES = [name.lower() for name in labels()]
T = QuestionType


def _region(rng: np.random.Generator) -> str:
    words = (("left", "right"), ("front", "behind"), ("above", "below"))
    return ", ".join(pair[rng.integers(2)] for pair in words)


def _distance(rng: np.random.Generator) -> str:
    return f"{rng.integers(1, 20) / 2:g}m"


def _asked(kind: QuestionType, rng: np.random.Generator) -> tuple[str, str]:
    """A question and its true answer."""
    a, b = rng.choice(NAMES[:60], size=2, replace=False)
    side = ("left", "right")[rng.integers(2)]
    sounds = answer_labels(rng.choice(NAMES[:60], size=rng.integers(1, 4), replace=False))
    yes_no = ("Yes", "No")[rng.integers(2)]
    where = f"{_region(rng)}; {_distance(rng)}"
    return {
        T.CLASSIFICATION: ("Identify the sound events in the audio clip.", sounds),
        T.DOA: (f"How would you describe the location of the {a}'s sound?", where),
        T.MIXUP_SINGLE_CLASSIFICATION: (
            f"Identify the sound events in the audio clip coming from the {_region(rng)}, approximately 2 meters away.",
            sounds,
        ),
        T.MIXUP_SINGLE_DOA: (f"Where is the sound of the {a} coming from?", where),
        T.MIXUP_DIRECTION: (f"Do the sound of {a} and the sound of {b} both come from your {side} side?", yes_no),
        T.MIXUP_DISTANCE_BOTH: (f"Is the sound of {a} closer to you than the sound of {b}?", yes_no),
        T.MIXUP_NONBINARY_DIRECTION: (f"Is the {a} to the left or right of the {b}?", side),
        T.MIXUP_NONBINARY_DISTANCE: (f"How far is the {a} from the {b}?", _distance(rng)),
        T.MIXUP_NONBINARY_SOURCE: (f"What is the sound on the {side} side of the sound of the {a}?", sounds),
        T.PLAIN: (f"Is the {a} on the {side}?", yes_no),
    }[kind]


PAPER_TYPES = tuple(QuestionType)[:10]


def make_records(kind: QuestionType, count: int, seed: int = 0) -> list[QARecord]:
    """Questions of one type with drawn truth, each about a clip of its own."""
    rng = np.random.default_rng([seed, list(QuestionType).index(kind)])
    second = kind.num_sources == 2
    found = []
    for n in range(count):
        text, answer = _asked(kind, rng)
        other = (f"eval/audio/Z{n}", f"room/{n + count}.npy") if second else (None, None)
        found.append(QARecord(f"eval/audio/Y{n}", f"room/{n}.npy", *other, n, kind.value, text, answer))
    return found


@pytest.fixture(scope="session")
def records() -> list[QARecord]:
    """Forty questions of each type that the paper has, and of the plain ones."""
    return [record for kind in PAPER_TYPES for record in make_records(kind, 40)]


@pytest.fixture
def qa_file(tmp_path: Path, records: list[QARecord]) -> Path:
    """The same as a file."""
    file = tmp_path / "questions.json"
    write_records(file, records)
    return file


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """A root in the released layout: four clips of one source, one of two, questions in two stages."""
    root = tmp_path / "set"
    sounds, rirs = root / "AudioSet" / "eval" / "audio", root / "mp3d_reverb" / "binaural" / "room"
    sounds.mkdir(parents=True)
    rirs.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for n in range(4):
        soundfile.write(sounds / f"Y{n}.wav", 0.1 * rng.standard_normal(32_000), 32_000, subtype="FLOAT")
        rir = np.zeros((2, 64))
        rir[:, 0] = (1.0, 0.2) if n % 2 else (0.2, 1.0)  # odd ones on the left
        np.save(rirs / f"{n}.npy", rir)
    first, third = root / "closed-end" / "stage1-clsdoa", root / "closed-end" / "stage3-mixup"
    one = [QARecord(f"eval/audio/Y{n}", f"room/{n}.npy", None, None, n, "DOA", "Where is it?",
                    f"{'left' if n % 2 else 'right'}, front, above; 2m") for n in range(4)]  # fmt: skip
    two = [QARecord("eval/audio/Y0", "room/0.npy", "eval/audio/Y1", "room/1.npy", n, "MIXUP_DIRECTION",
                    f"Is the dog on your {side}?", answer)
           for n, (side, answer) in enumerate((("left", "Yes"), ("right", "No"), ("left", "No")))]  # fmt: skip
    write_records(first / "eval-stage1-doa.json", one)
    write_records(first / "train.json", one * 3)
    write_records(third / "eval-stage3-direction.json", two)
    write_records(third / "train.json", [*one * 3, *two])
    return root
