"""The command line: what it prints, what it returns, and one sentence for whatever a user gets wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import bat_agent
from bat_agent.cli import demo
from bat_agent.questions import Question, QuestionType, from_scene, generate
from bat_agent.scene import Listener, Room, Scene, Source
from bat_agent_echo.echo import EchoEncoder

RATE_HZ = 32_000
Run = Callable[..., tuple[int, str, str]]


def _noise(seconds: float = 1.0, channels: int = 2, rate_hz: int = RATE_HZ) -> np.ndarray:
    return 0.1 * np.random.default_rng(1).standard_normal((round(seconds * rate_hz), channels))


# --- ask and perceive ---


@pytest.mark.usefixtures("_echo")
def test_ask_prints_an_answer_a_line(run: Run, left: Path) -> None:
    code, out, err = run("ask", left, "What is it?", "Where is it?")
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"You asked: {q}  (confidence 1.00)" for q in ("What is it?", "Where is it?")]


@pytest.mark.usefixtures("_echo")
def test_ask_as_json(run: Run, left: Path) -> None:
    code, out, _ = run("ask", left, "Where is it?", "--json")
    (answer,) = json.loads(out)
    assert code == 0
    wanted = {"question": "Where is it?", "answer": "You asked: Where is it?", "confidence": 1.0}
    assert answer.items() >= wanted.items()


@pytest.mark.usefixtures("_echo")
def test_perceive_says_what_the_agent_says(run: Run, left: Path) -> None:
    code, out, _ = run("perceive", left, "--json")
    (source,) = json.loads(out)["sources"]
    assert code == 0
    assert (source["azimuth_deg"], source["region"]) == (180.0, "left, front, above")
    code, table, _ = run("perceive", left)
    assert code == 0
    assert all(part in table for part in ("180°", "left, front, above", source["labels"][0]))


@pytest.mark.usefixtures("_echo")
def test_channels_may_be_swapped(run: Run, left: Path) -> None:
    _, out, _ = run("perceive", left, "--json", "--channels", "2,1")
    assert json.loads(out)["sources"][0]["azimuth_deg"] == 0.0


@pytest.mark.usefixtures("_echo")
def test_perceive_draws(run: Run, left: Path, tmp_path: Path) -> None:
    code, out, _ = run("perceive", left, "--plot", tmp_path / "p.png")
    assert code == 0
    assert str(tmp_path / "p.png") in out
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("_echo")
def test_labels_are_printed_literally(run: Run, left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich would take ``[bold]`` for markup and ``:dog:`` for an emoji."""
    monkeypatch.setattr(EchoEncoder, "labels", property(lambda _: ("[bold] :dog:",) * 355, lambda *_: None), False)
    assert "[bold] :dog:" in run("perceive", left)[1]


# --- input that is unusual but works ---


@pytest.mark.usefixtures("_echo")
@pytest.mark.parametrize(
    ("samples", "rate_hz", "options", "note"),
    [
        (_noise(rate_hz=44_100), 44_100, (), "resampled from 44100 Hz to 32000 Hz"),
        (np.zeros((RATE_HZ, 2)), RATE_HZ, (), "silence"),
        (_noise(0.1), RATE_HZ, (), "short"),
        (np.sign(_noise()), RATE_HZ, (), "clips"),
        (_noise(channels=1), RATE_HZ, ("--mono", "duplicate"), "identical"),
    ],
    ids=["44.1 kHz", "silence", "0.1 s", "clipping", "mono"],
)
def test_unusual_input_works_and_is_remarked_on(
    run: Run, tmp_path: Path, samples: np.ndarray, rate_hz: int, options: tuple[str, ...], note: str
) -> None:
    file = tmp_path / "clip.wav"
    soundfile.write(file, samples, rate_hz, subtype="FLOAT")
    code, out, err = run("ask", file, "What is it?", "What is it, again?", *options)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert note in err
    assert err.count(note) == 1  # said once, not once for each question
    code, out, err = run("perceive", file, "--json", *options)
    assert note in " ".join(json.loads(out)["notes"])
    assert err == ""
    assert ("no source heard" in run("perceive", file, *options)[1]) == (note == "silence")


# --- bad input: exit code 2 and one sentence ---


def _is_one_sentence(err: str) -> bool:
    return err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err


def _bad_files(folder: Path) -> dict[str, Path]:
    files = {name: folder / f"{name}.wav" for name in ("missing", "text", "mono", "empty", "no samples", "nan", "blip")}
    files["text"].write_text("this is not audio\n" * 40)
    files["empty"].write_bytes(b"")
    soundfile.write(files["mono"], _noise(channels=1), RATE_HZ)
    soundfile.write(files["no samples"], np.zeros((0, 2)), RATE_HZ)
    soundfile.write(files["nan"], np.full((RATE_HZ, 2), np.nan), RATE_HZ, subtype="FLOAT")
    soundfile.write(files["blip"], _noise(0.001), RATE_HZ)
    (folder / "nothing").mkdir()
    return files | {"folder": folder / "nothing"}


@pytest.mark.usefixtures("_echo")
@pytest.mark.parametrize("command", [("ask", "What is it?"), ("perceive",)], ids=["ask", "perceive"])
@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("missing", "no audio file"),
        ("text", "cannot read"),
        ("mono", "mono"),
        ("empty", "empty"),
        ("no samples", "no samples"),
        ("nan", "NaN"),
        ("blip", "1 ms"),
        ("folder", "folder"),
    ],
)
def test_a_bad_file_is_one_sentence(run: Run, tmp_path: Path, command: tuple[str, ...], case: str, says: str) -> None:
    name, *questions = command
    code, out, err = run(name, _bad_files(tmp_path)[case], *questions)
    assert (code, out) == (2, "")
    assert _is_one_sentence(err)
    assert says in err


@pytest.mark.usefixtures("_echo")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--channels", "left"), "two numbers from 1, left first"),
        (("--channels", "1,6"), "2 channels; name two from 1 to 2"),
        (("--device", "abacus"), "cpu"),
        (("--encoder", "no-such"), "echo"),
        (("--weights", "w.pth"), "--weights was given without --encoder"),
        (("--encoder-option", "a=1"), "--encoder-option was given without --encoder"),
        (("--encoder", "echo", "--encoder-option", "colour=red"), "encoder 'echo' has no option 'colour'"),
        (("--plot", "picture.xyz"), ".png"),
        (("--plot", "no/such/folder/p.png"), "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_bad_option_is_one_sentence(run: Run, left: Path, arguments: tuple[str, ...], says: str) -> None:
    code, out, err = run("perceive", left, *arguments)
    assert (code, out) == (2, "")
    assert _is_one_sentence(err)
    assert says in err


@pytest.mark.usefixtures("_echo")
def test_ask_lets_another_reasoner_answer(run: Run, left: Path) -> None:
    code, out, err = run("ask", left, "Is it left or right?", "--reasoner", "rules", "--reasoner-option", "label=0.25")
    assert (code, err) == (0, "")
    assert out.startswith("left  (confidence ")
    small = ("--reasoner-option", "num_cls_tokens=1", "--reasoner-option", "tiny_layers=1")
    code, out, err = run("ask", left, "Where is it?", "--reasoner", "llama", *small)
    assert code == 0
    assert err.startswith("note: the reasoner 'llama' was not trained")


@pytest.mark.usefixtures("_echo")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--reasoner", "rulez"), "'rules'"),
        (("--reasoner-option", "label=0.5"), "--reasoner-option was given without --reasoner"),
        (("--reasoner", "rules", "--reasoner-option", "label"), "--reasoner-option 'label' was not understood"),
        (("--reasoner", "rules", "--reasoner-option", "label=2"), "label must be a probability"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_bad_reasoner_is_one_sentence(run: Run, left: Path, arguments: tuple[str, ...], says: str) -> None:
    code, out, err = run("ask", left, "Where is it?", *arguments)
    assert (code, out) == (2, "")
    assert _is_one_sentence(err)
    assert says in err


@pytest.mark.parametrize("case", ["missing", "empty folder", "no weights", "broken"])
def test_a_bad_model_is_one_sentence(run: Run, left: Path, tmp_path: Path, case: str) -> None:
    folder = tmp_path / "model"
    if case != "missing":
        folder.mkdir()
    if case == "no weights":
        part = {"name": "echo", "options": {}}
        text = json.dumps({"name": "m", "encoder": part, "reasoner": part, "thresholds": {}})
        (folder / "config.json").write_text(text)
    if case == "broken":
        (folder / "config.json").write_text("{")
    code, _, err = run("ask", left, "What is it?", "--model", folder)
    assert code == 2
    assert _is_one_sentence(err)
    assert str(folder) in err


@pytest.mark.usefixtures("_echo", "small_demo")
@pytest.mark.parametrize("arguments", [("ask", "{}", "  "), ("demo", "--out", "{}")], ids=["question", "folder"])
def test_an_empty_question_and_an_impossible_folder_are_one_sentence(
    run: Run, left: Path, arguments: tuple[str, ...]
) -> None:
    code, _, err = run(*(argument.format(left) for argument in arguments))
    assert code == 2
    assert _is_one_sentence(err)


def test_the_process_itself_ends_with_2_and_no_traceback(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from bat_agent.cli import main; main()"]
    ended = subprocess.run([*program, "perceive", "no.wav"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 2
    assert _is_one_sentence(ended.stderr)


# --- help, version, plugins ---


HEAVY = {
    "accelerate", "gymnasium", "huggingface_hub", "jaxtyping", "matplotlib", "numpy", "pandas", "safetensors", "scipy",
    "soundfile", "soxr", "tensorboard", "torch", "torchaudio", "transformers",
}  # fmt: skip
"""What a command that only prints must not import: together they cost seconds."""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["plugins"], ["ask", "--help"], ["plugins", "--json"]]
)
def test_what_must_be_fast_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom bat_agent.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as end: assert not end.code, end.code\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()


def test_version(run: Run) -> None:
    assert run("--version")[:2] == (0, f"bat-agent {bat_agent.__version__}\n")


def test_plugins_lists_every_component_with_its_origin(run: Run) -> None:
    from bat_agent.registry import all_components

    code, out, _ = run("plugins", "--json")
    listed = json.loads(out)
    assert code == 0
    assert {(row["kind"], row["name"]) for row in listed} == {
        (kind, name) for kind, found in all_components().items() for name in found
    }
    assert {"encoder", "reasoner", "simulator"} <= {row["kind"] for row in listed if row["plugin"] == "bat_agent_echo"}
    table = run("plugins")[1]
    assert all(row["name"] in table and row["plugin"] in table for row in listed)


# --- demo ---


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulator without walls and one second of sound, so that the demo takes no time."""
    monkeypatch.setattr(demo, "SIMULATOR", "echo")
    monkeypatch.setattr(demo, "SECONDS", 1.0)


@pytest.mark.usefixtures("_echo", "small_demo")
def test_demo_asks_every_type_and_keeps_what_it_heard(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("demo", "--out", tmp_path / "d", "--json")
    report = json.loads(out)
    assert code == 0
    assert {question["type"] for question in report["questions"]} == set("ABCDE")
    assert report["total"] == len(report["questions"])
    assert report["right"] == sum(question["right"] for question in report["questions"])
    assert all(question["truth"] for question in report["questions"])
    assert isinstance(report["notes"], list)
    for name in (demo.ONE_SOUND, demo.TWO_SOUNDS):
        info = soundfile.info(tmp_path / "d" / name)
        assert (info.channels, info.samplerate) == (2, RATE_HZ)
    assert (tmp_path / "d" / demo.PICTURE).read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("_echo", "small_demo")
def test_demo_prints_the_truth_beside_the_answers(run: Run, tmp_path: Path) -> None:
    _, out, _ = run("demo", "--out", tmp_path)
    assert "truth" in out
    assert f"right: 0 of {sum(demo.QUESTIONS.values())}" in out  # the null reasoner only repeats the question
    assert all(str(tmp_path / name) in out for name in (demo.ONE_SOUND, demo.TWO_SOUNDS, demo.PICTURE))


@pytest.mark.usefixtures("_echo", "small_demo")
def test_demo_depends_on_the_seed_alone(run: Run, tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        reports.append(json.loads(run("demo", "--out", tmp_path / folder, "--seed", seed, "--json")[1]))
        reports[-1].pop("files")
    assert reports[0] == reports[1]
    assert reports[0]["scene"] != reports[2]["scene"]
    assert (tmp_path / "a" / demo.PICTURE).read_bytes() == (tmp_path / "b" / demo.PICTURE).read_bytes()
    for name in (demo.ONE_SOUND, demo.TWO_SOUNDS):  # samples, as libsndfile puts the time of day into the header
        first, second = (soundfile.read(tmp_path / folder / name)[0] for folder in "ab")
        assert np.array_equal(first, second)


@pytest.mark.usefixtures("small_demo")
@pytest.mark.parametrize("seed", range(5))
def test_the_demo_has_one_sound_on_each_side(seed: int) -> None:
    """The ear on the side of the first source is the louder one when it sounds alone."""
    rng = np.random.default_rng(seed)
    scene = demo.draw_scene(rng)
    one, two = demo.render(scene, rng)
    first, second = (position.region for position in scene.positions())
    assert {first.split(",")[0], second.split(",")[0]} == {"left", "right"}
    level = one.square().mean(dim=1)
    assert ("left" if level[0] > level[1] else "right") == first.split(",")[0]
    assert not set(scene.sources[0].labels) & set(scene.sources[1].labels)
    assert float(two.abs().max()) <= 1.0


def _question(letter: str, rng: np.random.Generator) -> Question:
    sources = (Source((2.0, 1.6, 2.0), ("Dog", "Bark")), Source((8.0, 1.0, 6.0), ("Bell",)))
    scene = Scene(Room((9.0, 3.0, 9.0)), Listener((5.0, 1.5, 5.0)), sources[: 1 if letter in "AB" else 2])
    kinds = [kind for kind in QuestionType if kind.letter == letter]
    return generate(from_scene(scene), kinds, rng, 1)[0]


@pytest.mark.parametrize("letter", "ABCDE")
def test_the_truth_is_right_and_nonsense_is_wrong(letter: str, rng: np.random.Generator) -> None:
    question = _question(letter, rng)
    assert question.type.letter == letter
    assert demo.judge(question, question.answer).right
    assert not demo.judge(question, "a pink elephant").right
    assert not demo.judge(question, "").right


def test_an_encoder_without_weights_says_that_it_means_nothing(run: Run, left: Path) -> None:
    code, _, err = run("perceive", left, "--encoder", "seldnet")
    assert code == 0
    assert "the encoder 'seldnet' was given no weights, so what it says means nothing; give --weights" in err
