"""How good an agent is on a recipe's validation split: what it hears, and what it answers.

Sounds and rooms of that split are never trained on; nor are its question wordings, unless the recipe says ``wordings:
all``. The same arguments give the same clips and questions. Beside the agent stand the reasoner ``rules``, what blind
chance would score, and what the question alone gives away.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from bat_agent import registry
from bat_agent.agent import Bat
from bat_agent.clips import corpus
from bat_agent.clips.mixtures import Mixtures
from bat_agent.evaluation import figures
from bat_agent.evaluation.figures import Figures
from bat_agent.evaluation.hearing import listen
from bat_agent.evaluation.intervals import Figure, mean_figure
from bat_agent.evaluation.metrics import prompt_only_answers, random_answers
from bat_agent.evaluation.questions import answer_all, answer_calibration, denial, question_figures, swap_agreement
from bat_agent.interfaces import SAMPLE_RATE_HZ
from bat_agent.questions import Question
from bat_agent.recipes.schema import Recipe

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
