"""What an evaluated encoder was: the facts by which its figures find their row in a table, and the file they stay in.

``figures.json`` holds ``run`` (:class:`Run`) and ``figures``; any later evaluation can read it as a row of its tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json
from bat_agent.recipes.schema import Recipe, Stage

TASKS = ("class", "distance", "direction")
FORMAT = 1


@dataclass(frozen=True)
class Run:
    """What was evaluated; ``None`` where it is not known, such as the training of foreign weights."""

    name: str
    """What its row is called."""
    encoder: str
    """Name of the component."""
    options: dict[str, Any]
    """Options it was built with."""
    features: str | None = None
    """``mono``, ``mel`` or ``mel+ipd``."""
    tasks: tuple[str, ...] = TASKS
    """Of class, distance and direction, what it has heads for and was trained on."""
    training: str | None = None
    """``single`` task, ``joint``, ``stage 1`` (class alone) or ``stage 2`` (everything, after class alone)."""
    stages: int | None = None
    """Number of encoder stages it went through."""
    class_weight: float | None = None
    """λ1 of its last stage."""
    normalise: bool = True
    """Sounds brought to −14 dBFS."""
    reverberation: str = "full"
    """``full``, ``direct`` or ``none``."""
    recipe: str | None = None
    """Recipe it was trained by."""
    weights: str | None = None
    """Where its weights came from, for people."""
    data: str = ""
    """What it was evaluated on, for people."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "tasks": list(self.tasks)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Run:
        """The inverse of :meth:`to_dict`; raises :class:`TypeError` for unknown or missing keys."""
        return cls(**{**data, "tasks": tuple(data.get("tasks", TASKS))})


def training_of(recipe: Recipe, tasks: Sequence[str], stage: str | None = None) -> dict[str, Any]:
    """``training``, ``stages``, ``class_weight`` and ``tasks`` of an encoder with heads for ``tasks`` that went through
    the encoder stages of a recipe, or those up to the one named ``stage``.
    """
    gone: list[Stage] = []
    for entry in recipe.stages:
        if entry.trains == "encoder" and (entry.steps or entry.epochs):
            gone.append(entry)
        if entry.name == stage:
            break
    if not gone:
        return {}
    learnt = [_learnt(entry, tasks) for entry in gone]
    known = tuple(task for task in TASKS if any(task in each for each in learnt))
    if len(tasks) == 1 or (len(known) == 1 and known != ("class",)):
        training = "single"
    elif learnt[-1] == {"class"}:
        training = "stage 1"
    else:
        training = "stage 2" if {"class"} in learnt[:-1] else "joint"
    return {"training": training, "stages": len(gone), "class_weight": gone[-1].class_weight, "tasks": known}


def _learnt(stage: Stage, tasks: Sequence[str]) -> set[str]:
    weights = {"class": stage.class_weight, "distance": stage.distance_weight, "direction": stage.direction_weight}
    return {task for task in tasks if weights[task] > 0}


@dataclass(frozen=True)
class Result:
    """Figures of one run, as tables take them."""

    run: Run
    figures: dict[str, dict[str, float]]
    """Measure → ``value``, ``low``, ``high``, ``count``."""
    row: str | None = None
    """The row it was told to stand in, instead of the one it fits."""


def read_result(spec: str) -> Result:
    """Read ``FILE`` or ``FILE=ROW``: the ``figures.json`` of another run (or its folder), for the row that fits or ROW.

    Raises :class:`~bat_agent.errors.BadInput` where there is no such file, or something else in it.
    """
    place, equals, row = spec.rpartition("=")
    file = Path(place if equals else spec)
    if not equals or not file.exists():
        # A folder may have "=" in its name.
        file, row = (file, row) if equals and not Path(spec).exists() else (Path(spec), "")
    file = file / "figures.json" if file.is_dir() else file
    if not file.is_file():
        raise BadInput(f"no figures at {file}; bat-agent evaluate encoder MODEL --out DIR writes DIR/figures.json")
    try:
        data = parse_json(file.read_text(encoding="utf-8"))
        run, figures = Run.from_dict(data["run"]), data["figures"]["one source"]
        for figure in figures.values():
            _ = figure["value"] + figure["low"] + figure["high"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{file} holds no figures of an encoder ({error!r:.80}), expected what bat-agent evaluate encoder --out "
            "wrote; evaluate that encoder again"
        ) from error
    return Result(run, figures, row or None)
