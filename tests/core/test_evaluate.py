"""The figures themselves: what knows the truth scores perfectly, what guesses scores chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bat_agent.agent import Bat, ModelConfig
from bat_agent.cli import evaluate_agent
from bat_agent.cli.entry import run_app
from bat_agent.clips import corpus
from bat_agent.clips.mixtures import Mixtures, Truth
from bat_agent.evaluation import agent as evaluation
from bat_agent.evaluation.intervals import Figure
from bat_agent.evaluation.metrics import random_answers, score_answers
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.recipes.schema import Part, Recipe, Rooms, Sounds
from bat_agent.scene import angle_between_deg
from bat_agent_echo.config import EchoEncoderConfig, EchoReasonerConfig
from bat_agent_echo.echo import EchoEncoder, EchoReasoner

CPU = torch.device("cpu")
HEADS = {"distance": 21, "azimuth": 360, "elevation": 180}
Clips = Callable[..., Mixtures]
SYNTHESISED = "sounds=[{source: 'procedural:5', valid_folds: [4]}]"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return Recipe(
        name="mouse",
        encoder=Part("echo"),
        reasoner=Part("echo"),
        sounds=[Sounds("procedural:5", [1, 2, 3], [4])],
        rooms=[Rooms("echo", scenes=4, valid_scenes=40, seconds=0.05)],
        run_dir=str(tmp_path_factory.mktemp("run")),
    )


@pytest.fixture
def clips(recipe: Recipe) -> Clips:
    def call(number: int = 384, **options: Any) -> Mixtures:
        return corpus.validation(recipe, number, seconds=0.1, **options)

    return call


def one_hot(truth: Truth, head: str) -> Tensor:
    return 20 * torch.nn.functional.one_hot(getattr(truth, head), HEADS[head]).float()


class Oracle:
    """An encoder that looks the truth up by the waveform; without slots it knows the first source only."""

    sample_rate_hz, clip_seconds, fixed_length = 32_000, 10.0, False

    def __init__(self, data: Mixtures, slots: bool = False) -> None:
        self.slots = slots
        self.known: dict[bytes, Truth] = {}
        for step in range(len(data)):
            batch = data[step]
            self.known |= {wave.numpy().tobytes(): row(batch.truth, i) for i, wave in enumerate(batch.waveform)}

    def __call__(self, waveform: Tensor) -> Encoding:
        found = [self.known[wave.numpy().tobytes()] for wave in waveform]
        names = [name for name, value in vars(found[0]).items() if value is not None]
        truth = Truth(*(torch.cat([getattr(t, name) for t in found]) for name in names))
        heads = [20 * truth.classes - 10, *(one_hot(truth, head) for head in HEADS)]
        tokens = torch.zeros(len(waveform), 3, 4)
        if not self.slots:
            return Encoding(tokens, *(head[:, 0] for head in heads))
        # Three slots, the sources in the last two the other way round: their order must not matter.
        slots = [torch.cat((head.roll(1, dims=1)[:, :1], head.flip(1)), dim=1) for head in heads]
        slots[2][:, 0] = slots[2][:, 0].roll(180, dims=-1)
        heard = heads[0].amax(dim=1)
        return Encoding(tokens, heard, slots=SlotEncoding(torch.zeros(len(waveform), 3), *slots))


class Guess(Oracle):
    """The same, but its answers are for other clips, drawn without looking."""

    def __call__(self, waveform: Tensor) -> Encoding:
        draw = torch.Generator().manual_seed(len(waveform))
        heads = [torch.randn(len(waveform), bins, generator=draw) for bins in (355, *HEADS.values())]
        heads[2], heads[3] = 30 * heads[2], 30 * heads[3]  # sure of one bin each, so that all are equally likely
        return Encoding(torch.zeros(len(waveform), 3, 4), *heads)


def row(truth: Truth, clip: int) -> Truth:
    return truth[clip : clip + 1]


class Knows:
    """A reasoner that says what it was told to, question by question."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers: Iterator[str] = iter(answers)

    def answer(self, encoding: Encoding, questions: Sequence[str]) -> list[str]:
        return [next(self.answers) for _ in questions]


def figures_of(bat: Bat, data: Any) -> dict[str, float]:
    questions, answers = evaluation.answer_all(bat, {"agent": bat.reasoner}, data)
    return evaluation.flatten(score_answers(questions, answers["agent"]))


def hears(encoder: Any, reasoner: Any) -> Any:
    return SimpleNamespace(encoder=encoder, reasoner=reasoner, device=CPU)


# --- perception ---


def test_an_oracle_is_perfect_up_to_whole_degrees(clips: Clips) -> None:
    data = clips()
    figures = evaluation.encoder_figures(Oracle(data), data, CPU)
    assert figures["clips"] == 384
    assert figures["map"] == pytest.approx(1.0)
    assert figures["der"] == figures["er20"] == 0.0
    assert 0.1 < figures["mae_deg"] < 0.5  # half a degree of rounding at most, on both angles
    assert figures["mae_low_deg"] < figures["mae_deg"] < figures["mae_high_deg"]
    assert min(figures[axis] for axis in ("left_right", "front_behind", "above_below", "region")) > 0.96


def test_guessing_is_near_chance(clips: Clips) -> None:
    """A direction and its opposite are equally likely guesses, so that the mean error is 90° and each axis a coin."""
    data = clips()
    figures = evaluation.encoder_figures(Guess(data), data, CPU)
    assert figures["mae_deg"] == pytest.approx(90, abs=7)
    assert figures["mae_low_deg"] < 90 < figures["mae_high_deg"] + 4
    for axis in ("left_right", "front_behind", "above_below"):
        assert figures[axis] == pytest.approx(0.5, abs=0.08)
    assert figures["region"] == pytest.approx(0.125, abs=0.06)
    assert figures["er20"] > 0.9
    assert figures["der"] > 0.6
    assert figures["map"] < 0.3


def test_a_known_shift_is_found_as_it_is(clips: Clips) -> None:
    """30° nearer to the horizon is an error of 30° for whoever is otherwise right; 0.5 m too far is none, 1 m is."""
    data = clips(64)

    class Shifted(Oracle):
        bins = 1

        def __call__(self, waveform: Tensor) -> Encoding:
            encoding = super().__call__(waveform)
            assert encoding.elevation_logits is not None
            assert encoding.distance_logits is not None
            high = encoding.elevation_logits.argmax(dim=-1, keepdim=True) >= 90
            down, up = (encoding.elevation_logits.roll(turn, dims=-1) for turn in (-30, 30))
            encoding.elevation_logits = torch.where(high, down, up)
            encoding.distance_logits = encoding.distance_logits.roll(self.bins, dims=-1)
            return encoding

    shifted = Shifted(data)
    figures = evaluation.encoder_figures(shifted, data, CPU)
    assert figures["mae_deg"] == pytest.approx(30, abs=0.6)
    assert (figures["er20"], figures["der"]) == (1.0, 0.0)
    shifted.bins = 2
    assert evaluation.encoder_figures(shifted, data, CPU)["der"] == 1.0


def test_two_sources_are_matched_to_slots_in_any_order(clips: Clips) -> None:
    data = clips(128, two_sources=1.0)
    figures = evaluation.two_source_figures(Oracle(data, slots=True), data, CPU)
    assert figures["clips"] > 100
    assert figures["mae_deg"] < 0.5
    assert figures["map"] == pytest.approx(1.0)


def test_one_direction_for_two_sources_costs_half_the_angle_between_them(clips: Clips) -> None:
    data = clips(128, two_sources=1.0)
    pairs = [heard for step in range(len(data)) for heard in data[step].heard if len(heard) == 2]
    apart = [angle_between_deg(*((s.position.azimuth_deg, s.position.elevation_deg) for s in pair)) for pair in pairs]
    figures = evaluation.two_source_figures(Oracle(data), data, CPU)
    assert figures["clips"] == len(pairs)
    assert figures["mae_deg"] == pytest.approx(np.mean(apart) / 2, abs=0.5)
    assert figures["map"] < 0.95  # of the second source nothing is said


# --- questions ---


def test_who_knows_the_answers_is_right_everywhere(clips: Clips) -> None:
    data = clips(96, two_sources=0.6, letters=evaluation.REASONING_LETTERS, questions_per_clip=4)
    truth = [q.answer for step in range(len(data)) for asked in data[step].questions for q in asked]
    figures = figures_of(hears(Oracle(data), Knows(truth)), data)
    assert {name.split("/")[0] for name in figures} >= {"CLASSIFICATION", "DOA", "MIXUP_DIRECTION", "PLAIN", "BINARY"}
    for name, value in figures.items():
        if not name.endswith("count"):
            assert value == (0.0 if name.endswith(("malformed", "der")) else 1.0), name
    assert sum(value for name, value in figures.items() if name.endswith("count")) == 4 * 96


def test_who_guesses_answers_near_chance(clips: Clips) -> None:
    data = clips(256, two_sources=1.0, letters=("E",), questions_per_clip=4)
    questions = [q for step in range(len(data)) for asked in data[step].questions for q in asked]
    guesses = random_answers(questions, np.random.default_rng(1))
    figures = figures_of(hears(Oracle(data), Knows(guesses)), data)
    assert figures["BINARY/accuracy"] == pytest.approx(0.5, abs=0.06)
    assert figures["MIXUP_DIRECTION/malformed"] == 0.0


def test_babble_is_malformed(clips: Clips) -> None:
    data = clips(32, letters=("B",), questions_per_clip=2)
    figures = figures_of(hears(Oracle(data), Knows(["what?"] * 64)), data)
    assert (figures["DOA/malformed"], figures["DOA/region"], figures["DOA/der"]) == (1.0, 0.0, 1.0)


def test_answers_stay_beside_their_questions(clips: Clips) -> None:
    data = clips(40, two_sources=0.5, letters=("A", "C", "P"), questions_per_clip=3)
    bat = hears(EchoEncoder(EchoEncoderConfig()), EchoReasoner(EchoReasonerConfig()))
    questions, answers = evaluation.answer_all(bat, {"said": bat.reasoner, "again": bat.reasoner}, data)
    assert len(questions) == 3 * len(data) * data[0].waveform.shape[0]
    assert answers["said"] == answers["again"] == [f"You asked: {question.text}" for question in questions]


# --- validation data, and everything together ---


def test_validation_clips_are_the_same_every_time_and_never_augmented(recipe: Recipe, clips: Clips) -> None:
    first, again = clips(32)[0], clips(32)[0]
    assert torch.equal(first.waveform, again.waveform)
    assert not torch.equal(first.waveform, clips(32, seed=1)[0].waveform)
    scenes = corpus.open_banks(recipe, "valid")[0].scenes
    known = {position for scene in scenes for position in scene.positions()}
    assert all(source.position in known for heard in first.heard for source in heard)  # none is mirrored


@pytest.mark.parametrize(("wanted", "batches"), [(1, [1]), (5, [5]), (32, [32]), (33, [32, 32]), (0, [])])
def test_there_are_as_many_clips_as_asked_for_or_up_to_the_next_full_batch(
    clips: Clips, wanted: int, batches: list[int]
) -> None:
    data = clips(wanted)
    assert [len(data[step].waveform) for step in range(len(data))] == batches


@pytest.fixture
def echo() -> Bat:
    config = ModelConfig("echo", {"name": "echo", "options": {}}, {"name": "echo", "options": {}})
    return Bat(config, EchoEncoder(EchoEncoderConfig()), EchoReasoner(EchoReasonerConfig()))


def test_all_figures_of_an_agent_repeat_and_stand_beside_chance(
    recipe: Recipe, echo: Bat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The null encoder hears the side by level: far above chance left/right, at chance for the class."""
    training = evaluation._training_questions
    monkeypatch.setattr(evaluation, "_training_questions", lambda recipe: training(recipe, clips=64))
    figures = evaluation.evaluate(echo, recipe, clips=64, questions=256, seconds=0.1)
    assert figures == evaluation.evaluate(echo, recipe, clips=64, questions=256, seconds=0.1)
    parts = {"one source", "two sources", "where it fails", "ears swapped", "calibration error", "says so", "questions"}
    assert set(figures) == parts
    assert figures["one source"]["left_right"].value > 0.7
    assert set(figures["questions"]) == {"agent", "rules", "random", "prompt only"}
    agent, rules, blind, deaf = figures["questions"].values()
    assert rules["DOA"]["malformed"].value == 0.0
    assert agent["DOA"]["region"].value == 0.0
    assert agent["DOA"]["malformed"].value == 1.0
    assert blind["DOA"]["malformed"].value == deaf["DOA"]["malformed"].value == 0.0
    assert agent.keys() == blind.keys() == deaf.keys()
    said = json.loads(json.dumps(evaluate_agent.as_json(figures)))
    assert set(said["one source"]["left_right"]) == {"value", "low", "high", "count"}


def test_the_command_prints_a_table_and_writes_json(
    echo: Bat, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figures = {
        "one source": {"mae_deg": Figure(12.5, 11.25, 13.75, 8)},
        "questions": {"agent": {"A": {"f1": Figure(0.25, 0.2, 0.3, 4), "malformed": Figure(0.125, 0.1, 0.2, 4)}}},
    }
    given: dict[str, Any] = {}
    monkeypatch.setattr(evaluate_agent, "evaluate", lambda bat, recipe, **options: given.update(options) or figures)
    echo.save_pretrained(tmp_path / "echo")
    model, out = str(tmp_path / "echo"), str(tmp_path / "figures.json")
    assert command(model, "bat-small", SYNTHESISED, "--clips", "8", "--out", out) == 0
    printed = capsys.readouterr().out
    assert "12.500" in printed
    assert "11.250 – 13.750" in printed
    assert "A/f1" in printed
    assert "malformed" not in printed
    assert given == {"clips": 8, "questions": 4000, "seconds": 10.0}
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["one source"]["mae_deg"] == {"value": 12.5, "low": 11.25, "high": 13.75, "count": 8}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere", "bat-small", SYNTHESISED], "no model 'nowhere'"),
        (["nowhere", "no-such-recipe"], "no recipe 'no-such-recipe'"),
        (["nowhere"], "missing argument 'RECIPE'; see 'python -m bat_agent.evaluate --help'"),
        (["nowhere", "bat-small", "--clips", "0"], "'--clips'"),
        (["nowhere", "bat-small", "--questions", "0"], "'--questions'"),
        (["nowhere", "bat-small", "--seconds", "-1"], "'--seconds'"),
        (["nowhere", "bat-small", "--out", "{}/none/figures.json"], "none does not exist; choose another --out"),
        (["nowhere", "bat-small", "--out", "{}"], "it is a folder; choose another --out"),
        (["nowhere", "bat-small", "sounds=[{{source: 'manifest:{}/m.csv'}}]"], "no sound manifest at"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setattr(evaluate_agent, "evaluate", lambda *_, **__: pytest.fail("measured first"))
    sounds_stay = [a if a == SYNTHESISED else a.format(tmp_path) for a in arguments]
    assert command(*sounds_stay) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


def test_the_smallest_numbers_that_the_command_takes_can_be_measured(
    recipe: Recipe, echo: Bat, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = evaluation._training_questions
    monkeypatch.setattr(evaluation, "_training_questions", lambda recipe: training(recipe, clips=16))
    figures = evaluation.evaluate(echo, recipe, clips=2, questions=4, seconds=0.1)
    assert (figures["one source"]["mae_deg"].count, figures["two sources"]["mae_deg"].count) == (2, 1)


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_app(evaluate_agent.app, "python -m bat_agent.evaluate", arguments)
    return int(str(ended.value.code))
