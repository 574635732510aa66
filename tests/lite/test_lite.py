"""Ears without torch: what the shipped export hears, says and refuses. Nothing here needs torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import bat_agent
from bat_agent import lite
from bat_agent.errors import BadInput, WeightsError
from bat_agent.hearing.answers import Answer
from bat_agent.hearing.arrays import hearing_arrays
from bat_agent.hearing.graph_folder import GRAPH_FILE, read_graph_config
from bat_agent.hearing.heads import softmax
from bat_agent.hearing.model_folder import find_model
from bat_agent.hearing.perception import Perception

pytest.importorskip("onnxruntime")

RATE_HZ = 32_000
FOLDER = find_model("lite")
Array = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module")
def bat() -> lite.LiteBat:
    return lite.load()


def on_the_left(seconds: float = 2.0, seed: int = 0) -> Array:
    """Noise that is 0.5 ms earlier and 10 dB louder in the left ear, in what noise a microphone has of its own."""
    rng = np.random.default_rng(seed)
    dry = 0.1 * rng.standard_normal(round(seconds * RATE_HZ))
    ears = np.stack([dry, 10**-0.5 * np.roll(dry, 16)]) + 1e-3 * rng.standard_normal((2, len(dry)))
    return ears.astype(np.float32)


def test_a_sound_on_the_left_is_heard_there_and_mirrors(bat: lite.LiteBat) -> None:
    perception = bat.perceive(on_the_left())
    assert isinstance(perception, Perception)
    assert 110 < (perception.sources[0].azimuth_deg or 0) < 250
    mirrored = bat.perceive(on_the_left()[::-1])
    assert (mirrored.sources[0].region or "").startswith("right")


def test_answers_are_those_of_the_rules(bat: lite.LiteBat) -> None:
    answers = bat.ask(on_the_left(), ["Is the sound on the left or the right?", "Where is the sound?", "Why?"])
    assert all(isinstance(answer, Answer) for answer in answers)
    assert str(answers[0]) == "left"
    assert str(answers[1]).startswith("left")
    assert not answers[2].understood
    assert answers[0].confidence is not None
    assert answers[0].confidence > 0.5


def test_silence_is_silent(bat: lite.LiteBat) -> None:
    silence = np.zeros((2, RATE_HZ), np.float32)
    assert bat.perceive(silence).sources == ()
    assert str(bat.ask(silence, "What do you hear?")) == "I hear nothing."


@pytest.mark.parametrize("seconds", [0.5, 1.3, 10.0])
def test_windows_of_any_length_and_number(bat: lite.LiteBat, seconds: float) -> None:
    """A batch says what its clips say one by one, whatever the length."""
    clips = [on_the_left(seconds, seed) for seed in range(2 if seconds > 5 else 3)]
    together = bat.perceive(clips)
    for clip, one in zip(clips, together, strict=True):
        alone = bat.perceive(clip)
        assert [s.labels for s in alone.sources] == [s.labels for s in one.sources]
        for label, probability in one.class_probs.items():
            assert alone.class_probs[label] == pytest.approx(probability, abs=0.02)


def test_what_is_longer_than_the_model_hears_is_cut_and_told(bat: lite.LiteBat) -> None:
    notes = bat.perceive(on_the_left(11.0)).notes
    assert any("only the first 10 s" in note for note in notes)


def test_a_window_that_was_not_exported_is_refused(bat: lite.LiteBat) -> None:
    """The encoder itself is asked here: what hears through :class:`LiteBat` is cut and padded before."""
    for seconds in (10.5, 0.4):
        with pytest.raises(BadInput, match=r"exported for windows of 0.5 s to 10 s, got .* s: cut or pad"):
            bat.encoder(on_the_left(seconds)[None])


def test_what_is_silent_for_a_while_or_has_no_treble_gives_numbers(bat: lite.LiteBat) -> None:
    """The exporter once left out what kept bins that are exactly zero from being divided by: half of all recordings at
    16 kHz were heard as NaN.
    """
    for seed in range(3):
        sound = on_the_left(1.7, seed)
        spectrum = np.fft.rfft(sound)
        spectrum[:, spectrum.shape[1] // 2 :] = 0
        dull = np.round(np.fft.irfft(spectrum, sound.shape[1]) * 2**15) / 2**15
        dull[:, 9_000:20_000] = 0
        dull[seed % 2, 30_000:40_000] = 0
        encoding = bat.encoder(dull.astype(np.float32)[None])
        for values in (*vars(encoding.slots).values(), encoding.tokens, encoding.class_logits):
            assert values is None or np.isfinite(values).all()


def test_distance_can_be_judged_without_the_level() -> None:
    """Another level changes what is said of the distance where it is known, and nothing where it is not."""
    loud, faint = on_the_left()[None], 0.03 * on_the_left()[None]
    for level_known in (True, False):
        bat = lite.load(level_known=level_known)
        one, other = (softmax(bat.encoder(sound).distance_logits) for sound in (loud, faint))
        assert (np.abs(one - other).max() > 0.1) == level_known
    assert "not by level" in bat.perceive(loud[0]).notes[-1]


def test_arrays_are_those_of_the_contract(bat: lite.LiteBat) -> None:
    arrays = hearing_arrays(bat, on_the_left()[None])
    assert arrays["direction"].shape == (1, 2, 3)
    assert arrays["class_probs"].shape == (1, 355)
    assert arrays["embedding"].shape == (1, bat.encoder.token_dim)
    assert arrays["valid"][0, 0]
    assert arrays["direction"][0, 0, 0] < 0  # x points to the right


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "exported"))


def change(folder: Path, **values: Any) -> None:
    data = json.loads((folder / GRAPH_FILE).read_text(encoding="utf-8"))
    (folder / GRAPH_FILE).write_text(json.dumps(data | values), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: change(f, format=4),
            r"was exported in format 4 by bat-agent .*reads formats 1, 2, 3: export the model again",
        ),
        (lambda f: change(f, files={}), r"is broken \(files must name one of int8, float32, float16\)"),
        (lambda f: (f / GRAPH_FILE).write_text("[1]"), r"is broken \(it is no object\): export the model again"),
        (lambda f: (f / "int8.onnx").unlink(), r"is not whole: .*int8.onnx is missing; copy all of the folder"),
        (lambda f: (f / "frames.onnx").unlink(), r"is not whole: .*frames.onnx is missing; copy all of the folder"),
        (lambda f: (f / "masks.onnx").unlink(), r"is not whole: .*masks.onnx is missing; copy all of the folder"),
        (lambda f: change(f, masks=1), r"is broken \(masks must name a file, got 1\): export the model again"),
        (lambda f: change(f, frames={"file": "a"}), r"is broken \('outputs'\): export the model again"),
        (lambda f: (f / "int8.onnx").write_bytes(b"junk"), r"ONNX Runtime .* cannot open .*int8.onnx"),
        (lambda f: (f / GRAPH_FILE).unlink(), r"is not exported, so it needs torch"),
    ],
    ids=[
        "another format",
        "no files",
        "no object",
        "file missing",
        "frames missing",
        "masks missing",
        "masks broken",
        "frames broken",
        "file broken",
        "no graph",
    ],
)
def test_a_folder_that_cannot_be_read_is_told_in_a_sentence(
    folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder)
    with pytest.raises(WeightsError, match=message) as told:
        lite.load(folder)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float32"}, r"not exported as 'float32', only as int8; .*--precision float32"),
        ({"threads": 0}, r"threads must be at least 1, got 0"),
        ({"providers": ["MoonProvider"]}, r"no provider 'MoonProvider', only .*CPUExecutionProvider"),
        ({"device": "tpu"}, r"knows the devices cpu, cuda, got 'tpu'"),
    ],
)
def test_what_it_cannot_do_is_told_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        lite.load(**options)


def test_without_onnxruntime_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BadInput, match=r"needs .*onnxruntime.*pip install"):
        lite.load()


def test_a_reasoner_that_needs_torch_is_refused_with_the_first_question(folder: Path) -> None:
    file = folder / "config.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data["reasoner"]["name"] == "rules"
    assert lite.load(folder).ask(on_the_left(), "Is the sound on the left or the right?").text == "left"


def test_the_front_door_opens_it_too(folder: Path) -> None:
    assert isinstance(bat_agent.load("lite"), lite.LiteBat)
    assert isinstance(bat_agent.load(folder, threads=2), lite.LiteBat)


def test_without_torch_it_is_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bat_agent.loading.find_spec", lambda name: None)
    assert isinstance(bat_agent.load(), lite.LiteBat)
    if (find_model("lite").parent / "bat-small").is_dir():
        with pytest.raises(BadInput, match=r"'bat-small' needs torch, which is not installed: take the model 'lite'"):
            bat_agent.load("bat-small")


def test_the_export_says_what_it_is() -> None:
    graph = read_graph_config(FOLDER)
    assert (graph.sample_rate_hz, graph.clip_seconds, graph.token_dim) == (32_000, 10.0, 256)
    assert len(graph.classes) == 355
    assert (FOLDER / graph.files["int8"]).stat().st_size <= 16e6
    assert (FOLDER / "MODEL_CARD.md").is_file()


def test_masks_are_told_as_torch_tells_them() -> None:
    """Of the same tokens; and asked in its own words, next to the same."""
    torch = pytest.importorskip("torch")
    ears = lite.load()
    theirs: Any = bat_agent.load("bat-small").encoder
    sound = np.stack((on_the_left(), on_the_left()[::-1]))[:, :, :50_123].copy()
    sound += 0.01 * np.random.default_rng(0).standard_normal(sound.shape).astype(np.float32)
    with torch.inference_mode():
        tokens = theirs(torch.from_numpy(sound)).tokens
        wanted = theirs.told_masks(sound, tokens).numpy()
    found = ears.encoder.told_masks(sound, tokens.numpy())
    assert found.shape == (2, 2, 19, 128)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    own = ears.encoder.told_masks(sound, ears.encoder(sound).tokens)
    assert np.abs(own - wanted).mean() < 0.02


PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import bat_agent
from bat_agent import lite
sound = lite.read_audio(sys.argv[1])
bat = bat_agent.load("lite")
bat.perceive(sound), bat.ask(sound, "Where is the sound?")
for update in bat_agent.listen(sys.argv[1], model=bat, fast=True):
    pass
print(len(update.sources), sorted({"torch", "scipy", "matplotlib", "safetensors", "omegaconf"} & set(sys.modules)))
"""


def test_perceiving_asking_and_listening_import_neither_torch_nor_scipy(tmp_path: Path) -> None:
    file = tmp_path / "left.wav"
    soundfile.write(file, on_the_left().T, RATE_HZ, subtype="FLOAT")
    done = subprocess.run([sys.executable, "-c", PROGRAM, file], capture_output=True, text=True, check=False)
    assert done.stdout.split(maxsplit=1)[1:] == ["[]\n"], done.stderr
