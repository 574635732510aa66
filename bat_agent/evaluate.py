"""How good an agent is: ``python -m bat_agent.evaluate MODEL RECIPE`` on the recipe's validation split.

Sounds and rooms of that split are never trained on; nor are its question wordings, unless the recipe says ``wordings:
all``. The same arguments give the same clips and questions. Beside the agent stand the reasoner ``rules``, what blind
chance would score, and what the question alone gives away.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bat_agent import corpus, registry
from bat_agent.agent import Bat
from bat_agent.cli.entry import run_app
from bat_agent.config import Recipe, load_recipe
from bat_agent.errors import BadInput
from bat_agent.interfaces import NUM_ELEVATION_BINS, Encoding, Reasoner
from bat_agent.metrics import (
    angular_errors_deg,
    bootstrap_interval,
    direction_accuracies,
    distance_error_rate,
    mean_average_precision,
    prompt_only_answers,
    random_answers,
    score_answers,
)
from bat_agent.mixtures import Batch, Mixtures
from bat_agent.perception import decode_azimuth_deg, decode_distance_m, decode_elevation_deg
from bat_agent.questions import Question
from bat_agent.waveform import fit

REASONING_LETTERS = ("A", "B", "C", "D", "E", "E", "P")


def encoder_figures(encoder: Any, data: Mixtures, device: torch.device) -> dict[str, float]:
    """Class, direction and distance of single-source clips, in the terms of BAT's table 3 (shares, not per cent)."""
    heard = [_single(encoder, batch, device) for batch in _batches(data)]
    predicted, true, bins, scores, classes = (np.concatenate(parts) for parts in zip(*heard, strict=True))
    errors = angular_errors_deg(predicted, true)
    low, high = bootstrap_interval(errors, np.random.default_rng(0))
    return {
        "clips": float(len(errors)),
        **direction_accuracies(predicted, true),
        "mae_deg": float(errors.mean()),
        "mae_low_deg": low,
        "mae_high_deg": high,
        "er20": float((errors > 20).mean()),
        "der": distance_error_rate(bins[:, 0], bins[:, 1]),
        "map": mean_average_precision(classes, scores),
    }


def two_source_figures(encoder: Any, data: Mixtures, device: torch.device) -> dict[str, float]:
    """Two sources at once: each is matched to a slot so that the angles are smallest; an encoder without slots says
    one direction for both.
    """
    errors, scores, classes = [], [], []
    for batch in _batches(data):
        encoding = _encode(encoder, batch, device)
        slots = encoding.slots or encoding
        azimuth, elevation = decode_azimuth_deg(slots.azimuth_logits), decode_elevation_deg(slots.elevation_logits)
        assert azimuth is not None
        assert elevation is not None
        assert encoding.class_logits is not None
        said = np.stack((azimuth, elevation), axis=-1).reshape(len(azimuth), -1, 2)
        for clip, sources in enumerate(batch.heard):
            if len(sources) == 2:
                errors.append(
                    _matched(said[clip], [(s.position.azimuth_deg, s.position.elevation_deg) for s in sources])
                )
                scores.append(encoding.class_logits[clip].numpy())
                classes.append(batch.truth.classes[clip].amax(dim=0).numpy())
    return {
        "clips": float(len(errors)),
        "mae_deg": float(np.mean(errors)),
        "map": mean_average_precision(np.stack(classes), np.stack(scores)),
    }


def question_figures(bat: Bat, data: Mixtures) -> dict[str, float]:
    """Every measure of :func:`bat_agent.metrics.score_answers` as ``TYPE/measure``."""
    questions, answers = answer_all(bat, {"agent": bat.reasoner}, data)
    return flatten(score_answers(questions, answers["agent"]))


@torch.inference_mode()
def answer_all(bat: Bat, reasoners: dict[str, Reasoner], data: Mixtures) -> tuple[list[Question], dict[str, list[str]]]:
    """The questions of a data set, and what each reasoner answers from the encoding of the agent's encoder."""
    questions: list[Question] = []
    answers: dict[str, list[str]] = {name: [] for name in reasoners}
    for batch in _batches(data):
        asked = [question for some in batch.questions for question in some]
        encoding = bat.encoder(fit(batch.waveform.to(bat.device), bat.encoder))
        for name, reasoner in reasoners.items():
            answers[name] += [str(a) for a in reasoner.answer(encoding, [question.text for question in asked])]
        questions += asked
    return questions, answers


def flatten(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """``{"A": {"f1": 1}}`` → ``{"A/f1": 1}``."""
    return {f"{kind}/{measure}": value for kind, row in table.items() for measure, value in row.items()}


def evaluate(bat: Bat, recipe: Recipe, *, clips: int, questions: int, seconds: float = 10.0) -> dict[str, Any]:
    """All figures of an agent on a recipe's validation split; ``seconds`` is the length of the clips."""
    single = corpus.validation(recipe, clips, seconds=seconds)
    double = corpus.validation(recipe, clips // 2, seconds=seconds, two_sources=1.0, seed=1)
    per_clip = 4
    asked = corpus.validation(
        recipe,
        questions // per_clip,
        seconds=seconds,
        two_sources=0.6,
        letters=REASONING_LETTERS,
        questions_per_clip=per_clip,
        seed=2,
    )
    reasoners = {"agent": bat.reasoner, "rules": registry.load_reasoner("rules")}
    found, answers = answer_all(bat, reasoners, asked)
    known = _training_questions(recipe)
    rng = np.random.default_rng(recipe.seed)
    return {
        "one source": encoder_figures(bat.encoder, single, bat.device),
        "two sources": two_source_figures(bat.encoder, double, bat.device),
        "questions": {
            **{name: score_answers(found, said) for name, said in answers.items()},
            "random": score_answers(found, random_answers(found, rng)),
            "prompt only": score_answers(found, prompt_only_answers(known, found)),
        },
    }


def _training_questions(recipe: Recipe, clips: int = 512) -> list[Question]:
    """Questions such as training asks, for the prompt-only row; other clips than those evaluated on."""
    data = corpus.validation(
        recipe, clips, seconds=0.05, two_sources=0.6, letters=REASONING_LETTERS, questions_per_clip=8, seed=3
    )
    return [question for batch in _batches(data) for some in batch.questions for question in some]


def _batches(data: Mixtures) -> Iterable[Batch]:
    return (data[step] for step in range(len(data)))


@torch.inference_mode()
def _encode(encoder: Any, batch: Batch, device: torch.device) -> Encoding:
    return encoder(fit(batch.waveform.to(device), encoder)).to("cpu")


def _single(encoder: Any, batch: Batch, device: torch.device) -> tuple[np.ndarray, ...]:
    """Directions said and true, distance bins said and true, class scores and truth of one batch."""
    encoding = _encode(encoder, batch, device)
    azimuth, elevation = decode_azimuth_deg(encoding.azimuth_logits), decode_elevation_deg(encoding.elevation_logits)
    distance = decode_distance_m(encoding.distance_logits)
    assert azimuth is not None
    assert elevation is not None
    assert distance is not None
    assert isinstance(encoding.class_logits, Tensor)
    positions = [sources[0].position for sources in batch.heard]
    true = np.array([(p.azimuth_deg, min(p.elevation_deg, NUM_ELEVATION_BINS / 2 - 1)) for p in positions])
    bins = np.stack((np.rint(2 * distance).astype(int), batch.truth.distance[:, 0].numpy()), axis=1)
    classes = batch.truth.classes[:, 0].numpy()
    return np.stack((azimuth, elevation), axis=1), true, bins, encoding.class_logits.float().numpy(), classes


def _matched(said: np.ndarray, true: Sequence[tuple[float, float]]) -> float:
    """Smallest mean angle over all ways to give each true direction a slot of its own (or the only one)."""
    choices: Iterable[tuple[int, ...]] = (
        itertools.permutations(range(len(said)), len(true)) if len(said) >= len(true) else [(0,) * len(true)]
    )
    return min(float(angular_errors_deg(said[list(order)], true).mean()) for order in choices)


def _table(figures: dict[str, Any]) -> Table:
    table = Table("what", "measure", "value")
    for part in ("one source", "two sources"):
        for measure, value in figures[part].items():
            table.add_row(part, measure, f"{value:.3f}")
    for row, scores in figures["questions"].items():
        for name, value in flatten(scores).items():
            if not name.endswith(("malformed", "exact")):
                table.add_row(f"questions, {row}", name, f"{value:.3f}")
    return table


def _check_out(out: Path) -> None:
    """Told now what would otherwise be told after an evaluation of minutes."""
    if out.is_dir() or not out.parent.is_dir():
        what = "it is a folder" if out.is_dir() else f"the folder {out.parent} does not exist"
        raise BadInput(f"cannot write the figures to {out}: {what}; choose another --out")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model, a folder, or a hub repository owner/name.")
    ],
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe whose validation split to use.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe, e.g. seed=1.")
    ] = None,
    clips: Annotated[int, typer.Option(min=2, help="Single-source clips; half as many with two.")] = 1000,
    questions: Annotated[int, typer.Option(min=4, help="How many questions to ask.")] = 4000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the clips.")] = 10.0,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Measure an agent on sounds, rooms and wordings that it was not trained on."""
    if out:
        _check_out(out)
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    settings = load_recipe(recipe, overrides)
    corpus.open_pool(settings, "valid")  # what is wrong with the sounds is told before rooms are rendered
    figures = evaluate(Bat.from_pretrained(model), settings, clips=clips, questions=questions, seconds=seconds)
    Console().print(_table(figures))
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_app(app, "python -m bat_agent.evaluate")
