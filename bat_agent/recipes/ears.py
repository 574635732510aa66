"""``encoder: bat-small``: the encoder of an agent that is there, with all that belongs to it.

Reading the agent's ``config.json`` needs no torch, as recipes are read before it is imported.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json
from bat_agent.recipes.schema import Part, Recipe


def agent_folder(name: str) -> Path:
    """The folder of a shipped model, or a model folder; raises :class:`~bat_agent.errors.BadInput` for neither."""
    shipped = Path(str(resources.files("bat_agent") / "models"))
    for folder in (shipped / name, Path(name).expanduser()):
        if (folder / "config.json").is_file():
            return folder
    names = ", ".join(sorted(path.parent.name for path in shipped.glob("*/config.json")))
    raise BadInput(f"encoder.agent: there is no agent {name!r}; give a model folder, or a shipped one ({names})")


def encoder_name(agent: str) -> str:
    """The component name of an agent's encoder."""
    return str(_config(agent)["encoder"]["name"])


def take_encoder(part: Part) -> None:
    """Fill in name, options and weights of the encoder of ``part.agent``; what the recipe itself says stays."""
    assert part.agent is not None
    theirs = _config(part.agent)["encoder"]
    if part.name != theirs["name"]:
        raise BadInput(
            f"the encoder of {part.agent} is {theirs['name']}, but encoder.name is {part.name}; leave name out"
        )
    part.options = theirs["options"] | part.options
    part.weights = part.weights or str(agent_folder(part.agent) / "encoder")


def reading(recipe: Recipe) -> dict[str, Any]:
    """Thresholds and calibration of the agent whose encoder is taken, as its ``config.json`` has them.

    With them the classes that it knows. Empty without an agent, and where a stage trains the encoder: they were chosen
    for what it said before.
    """
    if recipe.encoder.agent is None or any(stage.trains == "encoder" for stage in recipe.stages):
        return {}
    config = _config(recipe.encoder.agent)
    return {name: config[name] for name in ("thresholds", "calibration", "labels") if name in config}


def known_before(recipe: Recipe) -> tuple[str, ...] | None:
    """The classes that the encoder knows before it is trained; ``None`` where nobody wrote them down."""
    if recipe.encoder.agent is not None:
        return tuple(_config(recipe.encoder.agent).get("labels", ())) or None
    return () if recipe.encoder.weights is None else None


def _config(agent: str) -> dict[str, Any]:
    file = agent_folder(agent) / "config.json"
    try:
        config = parse_json(file.read_text(encoding="utf-8"))
        return {**config, "encoder": {"name": str(config["encoder"]["name"]), "options": config["encoder"]["options"]}}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{file} is broken ({error}); give another agent") from error
