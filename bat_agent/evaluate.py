"""How good an agent is: ``python -m bat_agent.evaluate MODEL RECIPE`` on the recipe's validation split.

Sounds and rooms of that split are never trained on; nor are its question wordings, unless the recipe says ``wordings:
all``. The same arguments give the same clips and questions. Beside the agent stand the reasoner ``rules``, what blind
chance would score, and what the question alone gives away.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from bat_agent import corpus, registry
from bat_agent.agent import Bat
from bat_agent.cli.entry import run_app
from bat_agent.config import Recipe, load_recipe
from bat_agent.errors import BadInput
from bat_agent.evaluation import figures
from bat_agent.evaluation.hearing import batches, listen
from bat_agent.interfaces import Reasoner
from bat_agent.metrics import prompt_only_answers, random_answers, score_answers
from bat_agent.mixtures import Mixtures
from bat_agent.questions import Question
from bat_agent.recorded import Batches
from bat_agent.waveform import fit

REASONING_LETTERS = ("A", "B", "C", "D", "E", "E", "P")


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


@torch.inference_mode()
def answer_all(bat: Bat, reasoners: dict[str, Reasoner], data: Batches) -> tuple[list[Question], dict[str, list[str]]]:
    """The questions of a data set, and what each reasoner answers from the encoding of the agent's encoder."""
    questions: list[Question] = []
    answers: dict[str, list[str]] = {name: [] for name in reasoners}
    for batch in batches(data, bat.device):
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
    return [question for step in range(len(data)) for some in data[step].questions for question in some]


def _table(found: dict[str, Any]) -> Table:
    table = Table("what", "measure", "value")
    for part in ("one source", "two sources"):
        for measure, value in found[part].items():
            table.add_row(part, measure, f"{value:.3f}")
    for row, scores in found["questions"].items():
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
    found = evaluate(Bat.from_pretrained(model), settings, clips=clips, questions=questions, seconds=seconds)
    Console().print(_table(found))
    if out:
        out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_app(app, "python -m bat_agent.evaluate")
