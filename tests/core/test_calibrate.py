"""Calibrating a model: the curves go into its config, confidences then come true, bad input is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bat_agent.evaluation import calibrate as module
from bat_agent.evaluation.calibrate import calibrate
from bat_agent.evaluation.hearing import Heard
from bat_agent.evaluation.report import Data
from bat_agent.hearing.confidence import Calibration, Curve, answer_form, is_sure
from bat_agent.interfaces import Reply

EARS: Any = SimpleNamespace(encoder=None, device="cpu", reasoner=None)


def statements(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Said with c, right with c²: too sure by up to a quarter."""
    rng = np.random.default_rng(seed)
    sure = rng.random(count)
    return sure, rng.random(count) < sure**2


@pytest.fixture
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(encoder: Any, data: str, device: str, progress: Any) -> Heard:
        nothing = np.zeros((0, 2))
        outputs = {"direction": statements(4000, 1), "source": statements(4000, 2 if data == "one" else 3)}
        return Heard(nothing, nothing, nothing > 0, None, confidence=outputs)

    monkeypatch.setattr(module, "listen", listen)


@pytest.mark.usefixtures("_heard")
def test_what_is_said_too_surely_comes_true_after_calibration() -> None:
    curves, checks = calibrate(EARS, Data("one", "two", "test"))
    found = {check.output: check for check in checks}
    assert found["direction"].before == pytest.approx(1 / 2 - 1 / 3, abs=0.02)  # the mean of c − c²
    assert found["direction"].after < 0.03
    assert (found["direction"].clips, found["source"].clips) == (4000, 8000)
    assert curves.direction(0.5) == pytest.approx(0.25, abs=0.03)
    assert curves.label(0.5) == 0.5, "an output without statements stays as it is"


@pytest.mark.usefixtures("_heard")
def test_answers_have_a_curve_for_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yes is said too surely, places honestly; what is denied, and answers without confidence, fit nothing."""
    rng = np.random.default_rng(0)
    questions, answers = [], []
    for sure in rng.uniform(0.5, 1.0, 2000):
        right = rng.random() < 0.5 + (sure - 0.5) / 2
        questions.append(asked("Yes" if right else "No"))
        answers.append(Reply("Yes", float(sure)))
    for sure in rng.uniform(0.0, 1.0, 2000):
        questions.append(asked("left, front, above; 2m" if rng.random() < sure else "left, front, below; 2m"))
        answers.append(Reply("left, front, above; 2.5m", float(sure)))
    questions += [asked("not heard")] * 100
    answers += [Reply("not heard", 0.99)] * 50 + ["2m"] * 50  # type: ignore[list-item]
    monkeypatch.setattr(module, "answer_all", lambda *_: (questions, {"agent": answers}))
    curves, checks = calibrate(EARS, Data("one", "two", "test"), asked=[])  # type: ignore[arg-type]
    found = {check.output: check for check in checks}
    assert found["answer, yes_no"].before == pytest.approx(0.125, abs=0.03)
    assert found["answer, yes_no"].after < 0.03
    assert found["answer, location"].before < 0.05
    assert curves.answer("No", 0.9) == pytest.approx(0.7, abs=0.04)
    assert Calibration.from_dict(json.loads(json.dumps(curves.to_dict()))) == curves


def asked(truth: str) -> Any:
    return SimpleNamespace(answer=truth)


@pytest.mark.parametrize(
    ("text", "form", "needed"),
    [("Yes", "yes_no", 0.6), ("behind", "side", 0.6), ("left, front, above; 2m", "location", 0.24),
     ("2.5m", "distance", 0.48), ("dog; siren", "sound", 0.2)],
)  # fmt: skip
def test_how_sure_is_sure_enough(text: str, form: str, needed: float) -> None:
    assert answer_form(text) == form
    assert is_sure(text, needed + 0.01, 0.2)
    assert not is_sure(text, needed - 0.01, 0.2)
    assert is_sure(text, 0.0, 0.0)


@pytest.mark.parametrize("text", ["not heard", "I did not understand the question.", "It is somewhere near the door."])
def test_what_is_denied_or_not_understood_is_said_as_it_is(text: str) -> None:
    """No curve of labels touches it. What says nothing (confidence 0) is never sure, whatever the threshold: a question
    that was not understood came with ``sure: true``.
    """
    assert answer_form(text) == "other"
    assert is_sure(text, 0.3, 0.2)
    assert not is_sure(text, 0.0, 0.2)
    assert not is_sure(text, 0.0, 0.0)
    assert Calibration(answers={"sound": Curve(0.0, 3.0)}).answer(text, 0.0) == 0.0


@pytest.mark.usefixtures("_echo")
def test_the_command_writes_the_curves_into_the_model(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bat_agent import agent, loading
    from bat_agent.cli import calibrate as command

    folder = tmp_path / "model"
    loading.load().save_pretrained(folder)
    fitted = Calibration(direction=Curve(0.5, -1.0))
    monkeypatch.setattr(module, "calibrate", lambda *_: (fitted, [module.Check("direction", 100, 0.2, 0.01)]))
    monkeypatch.setattr(command, "_data", lambda *_: None)
    monkeypatch.setattr(command, "_questions", lambda *_: None)
    code, out, _ = run("evaluate", "calibrate", folder, "--recipe", "bat-small", "--json")
    assert code == 0
    assert json.loads(out)["calibration"]["direction"] == {"scale": 0.5, "offset": -1.0}
    assert agent.read_config(folder).calibration == fitted


def test_bad_input_is_one_sentence(run: Any, tmp_path: Path) -> None:
    code, _, err = run("evaluate", "calibrate", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "no folder of a model" in err


def test_what_comes_true_already_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sure = np.repeat([0.3, 0.7], 50)
    right = np.concatenate([np.arange(50) % 10 < 3, np.arange(50) % 10 < 7])
    order = rng.permutation(100)
    heard = Heard(
        *(np.zeros((0, 2)),) * 2, np.zeros((0, 2)) > 0, None, confidence={"label": (sure[order], right[order])}
    )
    monkeypatch.setattr(module, "listen", lambda *_, **__: heard)
    curves, (check,) = calibrate(EARS, Data("one", None, "test"))
    assert check.before == pytest.approx(0.0, abs=1e-9)
    assert curves.label(0.42) == 0.42
