"""How good an agent is: ``python -m bat_agent.evaluate MODEL RECIPE`` on the recipe's validation split.

Sounds and rooms of that split are never trained on; nor are its question wordings, unless the recipe says ``wordings:
all``. The same arguments give the same clips and questions. Beside the agent stand the reasoner ``rules``, what blind
chance would score, and what the question alone gives away.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from bat_agent import registry
from bat_agent.agent import Bat
from bat_agent.cli.entry import run_app
from bat_agent.clips import corpus
from bat_agent.clips.mixtures import Mixtures
from bat_agent.errors import BadInput
from bat_agent.evaluation import figures
from bat_agent.evaluation.figures import Figures
from bat_agent.evaluation.hearing import listen
from bat_agent.evaluation.intervals import Figure, mean_figure
from bat_agent.evaluation.metrics import prompt_only_answers, random_answers
from bat_agent.evaluation.questions import answer_all, answer_calibration, denial, question_figures, swap_agreement
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.questions import Question
from bat_agent.recipes.loading import Recipe, load_recipe

REASONING_LETTERS = ("A", "B", "C", "D", "E", "E", "P")
PER_CLIP = 4
SILENT_CLIPS = 50


def encoder_figures(encoder: Any, data: Mixtures, device: torch.device) -> dict[str, float]:
    """Class, direction and distance of single-source clips, in the terms of BAT's table 3 (shares, not per cent).

    What the encoder has no head for is left out. :mod:`bat_agent.evaluation` measures more, with intervals.
    """
    return figures.plain(listen(encoder, data, device))


def two_source_figures(encoder: Any, data: Mixtures, device: torch.device) -> dict[str, float]:
    """Two sources at once, as :func:`bat_agent.evaluation.figures.two_sources` measures them, without intervals."""
    found = figures.two_sources(encoder, data, device)
    clips = float(next(iter(found.values())).count)
    return {"clips": clips, **{name: figure.value for name, figure in found.items()}}


def flatten(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """``{"A": {"f1": 1}}`` → ``{"A/f1": 1}``."""
    return {f"{kind}/{measure}": value for kind, row in table.items() for measure, value in row.items()}


def evaluate(bat: Bat, recipe: Recipe, *, clips: int, questions: int, seconds: float = 10.0) -> dict[str, Any]:
    """All figures of an agent on a recipe's validation split; ``seconds`` is the length of the clips.

    Part → measure → value and interval (:class:`~bat_agent.evaluation.intervals.Figure`); under ``questions``
    row → question type → measure.
    """
    draw = partial(corpus.validation, recipe, seconds=seconds)
    heard = listen(bat.encoder, draw(clips), bat.device, swap=True)
    found: dict[str, Any] = {"one source": figures.single_source(heard)}
    if getattr(bat.encoder, "level_known", False):
        found["one source, level unknown"] = _without_level(bat, draw(clips))
    found["two sources"] = figures.two_sources(bat.encoder, draw(clips // 2, two_sources=1.0, seed=1), bat.device)
    found["where it fails"] = figures.where_it_fails(heard)
    found["ears swapped"] = figures.swap_consistency(heard)
    found["calibration error"] = figures.calibration(heard, bat.config.calibration)
    found |= _answers(bat, recipe, partial(draw, two_sources=0.6, questions_per_clip=PER_CLIP), questions, found)
    return found


def _answers(
    bat: Bat, recipe: Recipe, draw: Callable[..., Mixtures], wanted: int, found: dict[str, Figures]
) -> dict[str, Any]:
    """Figures of answers; what is found about swapped ears and confidence joins that of the encoder."""
    asked = draw(wanted // PER_CLIP, letters=REASONING_LETTERS, seed=2)
    reasoners = {"agent": bat.reasoner, "rules": registry.load_reasoner("rules")}
    said, answers = answer_all(bat, reasoners, asked)
    turned = answer_all(bat, {"agent": bat.reasoner}, asked, swapped=True)[1]["agent"]
    found["ears swapped"] |= swap_agreement(said, answers["agent"], turned, PER_CLIP)
    found["calibration error"] |= answer_calibration(said, answers["agent"], bat.config.calibration)
    absent, denied = answer_all(
        bat, {"agent": bat.reasoner}, draw(max(wanted // 4, PER_CLIP) // PER_CLIP, letters=("H",), seed=4)
    )
    answers |= {
        "random": random_answers(said, np.random.default_rng(recipe.seed)),
        "prompt only": prompt_only_answers(_training_questions(recipe), said),
    }
    return {
        "says so": {"silence": _silence(bat), **denial(absent, denied["agent"], PER_CLIP)},
        "questions": {row: question_figures(said, texts, PER_CLIP) for row, texts in answers.items()},
    }


def _without_level(bat: Bat, data: Mixtures) -> Figures:
    """The figures of an encoder that can do without the level, when it must."""
    encoder: Any = bat.encoder
    encoder.level_known = False
    try:
        return figures.single_source(listen(encoder, data, bat.device))
    finally:
        encoder.level_known = True


def _silence(bat: Bat) -> Figure:
    """Share of clips with nothing but the noise of microphones (−95 to −60 dBFS) in which no source is heard."""
    quiet = []
    for number in range(SILENT_CLIPS):
        draw = torch.Generator().manual_seed(number)
        level = 10 ** ((-95 + 35 * number / (SILENT_CLIPS - 1)) / 20)
        quiet.append(not bat.perceive(level * torch.randn(2, 2 * SAMPLE_RATE_HZ, generator=draw)).sources)
    return mean_figure(np.array(quiet))


def _training_questions(recipe: Recipe, clips: int = 512) -> list[Question]:
    """Questions such as training asks, for the prompt-only row; other clips than those evaluated on."""
    data = corpus.validation(
        recipe, clips, seconds=0.05, two_sources=0.6, letters=REASONING_LETTERS, questions_per_clip=8, seed=3
    )
    return [question for step in range(len(data)) for some in data[step].questions for question in some]


def _table(found: dict[str, Any]) -> Table:
    table = Table("what", "measure", "value", "95 % interval", "of")
    parts = {name: part for name, part in found.items() if name != "questions"}
    for row, types in found.get("questions", {}).items():
        parts |= {f"questions, {row}": {f"{kind}/{m}": f for kind, part in types.items() for m, f in part.items()}}
    for part, measures in parts.items():
        for measure, figure in measures.items():
            if not measure.endswith(("malformed", "exact")):
                interval = f"{figure.low:.3f} – {figure.high:.3f}"
                table.add_row(part, measure, f"{figure.value:.3f}", interval, str(figure.count))
    return table


def as_json(found: Any) -> Any:
    """Figures as dictionaries."""
    if isinstance(found, dict):
        return {name: as_json(value) for name, value in found.items()}
    return found.to_dict() if isinstance(found, Figure) else found


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
    found = evaluate(Bat.from_pretrained(model), settings, clips=clips, questions=questions, seconds=seconds)
    Console().print(_table(found))
    if out:
        out.write_text(json.dumps(as_json(found), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_app(app, "python -m bat_agent.evaluate")
