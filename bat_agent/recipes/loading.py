"""Reading recipes from YAML, with ``key=value`` overrides, and writing them (:mod:`bat_agent.recipes.schema`)."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bat_agent.errors import BadInput
from bat_agent.files.reading import NotYaml, parse_yaml, read_text
from bat_agent.recipes import ears
from bat_agent.recipes.checks import check_recipe
from bat_agent.recipes.renamed import rename_keys, renamed_override
from bat_agent.recipes.schema import Mixing, Part, Recipe, Rooms, Sounds, Stage


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Read a shipped recipe by name, or any YAML file, and apply ``key=value`` overrides (``stages.0.steps=10``).

    Raises :class:`~bat_agent.errors.BadInput` for an unknown recipe, a misspelt key or a value of the wrong type.
    """
    path = _recipe_file(name_or_path)
    try:
        given = _with_base(path)
        merged = OmegaConf.merge(OmegaConf.structured(Recipe), given)
        assert isinstance(merged, DictConfig)
        _override(merged, list(overrides or []))
        recipe = OmegaConf.to_object(merged) if merged.encoder.get("agent") is None else _with_ears(merged)
    except OmegaConfBaseException as error:
        raise BadInput(f"recipe {path.name}: {_one_line(error)}") from error
    except TypeError as error:  # of OmegaConf.merge, which names no key
        raise BadInput(
            f"recipe {path.name}: a list stands where keys and values belong, or these where a list belongs; compare "
            "it with a shipped recipe"
        ) from error
    assert isinstance(recipe, Recipe)
    if recipe.precision == "False":  # what YAML makes of a bare no
        recipe.precision = "no"
    check_recipe(recipe)
    return recipe


def _with_ears(merged: DictConfig) -> Any:
    """The recipe with the encoder of an agent, whose name need not be given."""
    if OmegaConf.is_missing(merged.encoder, "name"):
        merged.encoder.name = ears.encoder_name(str(merged.encoder.agent))
    recipe = OmegaConf.to_object(merged)
    assert isinstance(recipe, Recipe)
    ears.take_encoder(recipe.encoder)
    return recipe


def _recipe_file(name_or_path: str, beside: Path | None = None) -> Path:
    """The file of a recipe: a YAML file (if relative, also ``beside`` another one), or a shipped one by name."""
    path = Path(name_or_path)
    if not path.suffix:
        near = None if beside is None else beside.parent / f"{name_or_path}.yaml"
        shipped = Path(str(resources.files("bat_agent") / "recipes" / f"{name_or_path}.yaml"))
        path = near if near is not None and near.is_file() else shipped
    elif beside is not None and not path.is_file():
        path = beside.parent / path
    if path.is_file():
        return path
    near_names = difflib.get_close_matches(name_or_path, shipped_recipes(), n=1)
    hint = f"did you mean {near_names[0]!r}? The shipped ones are" if near_names else "give a YAML file or one of"
    raise BadInput(f"no recipe {name_or_path!r}; {hint}: {', '.join(shipped_recipes())}")


def read_omegaconf(path: Path, where: str) -> Any:
    """A YAML file as OmegaConf holds it; raises :class:`~bat_agent.errors.BadInput` that says ``where``."""
    text = read_text(path, what="a YAML file", fix="name another file")
    try:
        content = parse_yaml(text)
    except NotYaml as error:
        line = f"line {error.line}: " if error.line else ""
        raise BadInput(f"{where} is no YAML: {line}{error}; correct it") from error
    if content is None:
        raise BadInput(
            f"{where} is empty; write it, or, where a run kept it, delete it and give the recipe the run was begun with"
        )
    return content if isinstance(content, str | int | float) else OmegaConf.create(content)


def _with_base(path: Path, below: tuple[Path, ...] = ()) -> DictConfig:
    """What stands in a recipe's file, on top of what stands in its ``base``; a list replaces that of the base."""
    if path in below:
        raise BadInput(f"recipe {path.name} is, by its base, based on itself; take one base out")
    given = read_omegaconf(path, f"recipe {path.name}")
    rename_keys(given, f"recipe {path.name}")
    _check_keys(given, path.name)
    assert isinstance(given, DictConfig)
    if isinstance(given.get("encoder"), str):
        given.encoder = {"agent": given.encoder}
    base = given.pop("base", None)
    if base is None:
        return given
    merged = OmegaConf.merge(_with_base(_recipe_file(str(base), path), (*below, path)), given)
    assert isinstance(merged, DictConfig)
    return merged


def shipped_recipes() -> list[str]:
    """Names of the recipes inside the package."""
    folder = resources.files("bat_agent") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML that :func:`load_recipe` reads back."""
    encoder = recipe.encoder
    if encoder.agent is not None:  # where its weights lie is found again, maybe elsewhere
        own = encoder.weights == str(ears.agent_folder(encoder.agent) / "encoder")
        recipe = replace(recipe, encoder=replace(encoder, weights=None if own else encoder.weights))
    return OmegaConf.to_yaml(OmegaConf.structured(recipe))


# What stands inside a recipe, for the one-line errors about keys; OmegaConf names its own classes instead.
_GROUPS: dict[str, type] = {"encoder": Part, "reasoner": Part, "mixing": Mixing}
_LISTS: dict[str, tuple[type, str]] = {
    "sounds": (Sounds, "an entry of sounds"),
    "rooms": (Rooms, "an entry of rooms"),
    "stages": (Stage, "a stage"),
}


def _override(recipe: DictConfig, overrides: list[str]) -> None:
    """Set each ``key=value``; a list cannot be merged from a dotted path by OmegaConf, so each is set on its own."""
    for number, override in enumerate(overrides):
        try:
            OmegaConf.from_dotlist([override])
            overrides[number] = renamed_override(override)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise BadInput(
                f"override {override[:60]!r}: the value is no YAML ({' '.join(str(error).split())})"
            ) from error
        _check_override(overrides[number], recipe)
    changes = OmegaConf.from_dotlist(overrides)
    for override in overrides:
        key = override.partition("=")[0]
        try:
            OmegaConf.update(recipe, key, OmegaConf.select(changes, key), force_add=False)
        except (OmegaConfBaseException, TypeError, ValueError, AttributeError, LookupError) as error:
            raise BadInput(f"override {override!r}: {_one_line(error)}") from error


def _check_override(override: str, recipe: DictConfig) -> None:
    key, equals, _ = override.partition("=")
    if not equals:
        raise BadInput(f"override {override!r} must have the form key=value")
    where = f"override {override!r}"
    first, *rest = re.sub(r"\[(\w*)\]", r".\1", key).split(".")
    _check_key(first, Recipe, f"{where}: the recipe")
    kind, what = _GROUPS.get(first), first
    if first in _LISTS and rest:
        number, *rest = rest
        last = len(recipe[first]) - 1
        if not number.isdecimal():
            raise BadInput(f"{where}: {first} is a list, expected the number of an entry such as {first}.0")
        if int(number) > last:
            has = f"has {first} 0 to {last}" if last >= 0 else f"has no {first}"
            raise BadInput(f"{where}: there is no {first}.{number}; the recipe {has}")
        kind, what = _LISTS[first]
    if rest and kind is None:
        raise BadInput(f"{where}: {first} is one value and has no key {rest[0]!r}")
    if rest and kind is not None:
        _check_key(rest[0], kind, f"{where}: {what}")


def _check_keys(given: Any, where: str) -> None:
    """Whether the recipe in a file has known keys only, in itself and in what stands inside it."""
    if not isinstance(given, DictConfig):
        raise BadInput(f"recipe {where} must be a YAML mapping with keys like name, encoder, stages")
    for key in given:
        if key != "base":
            _check_key(str(key), Recipe, f"recipe {where}")
    raw = OmegaConf.to_container(given, resolve=False)
    assert isinstance(raw, dict)
    inside = [(raw.get(name), kind, str(name)) for name, kind in _GROUPS.items()]
    for name, (kind, what) in _LISTS.items():
        entries = raw.get(name)
        inside += [(entry, kind, what) for entry in (entries if isinstance(entries, list) else [])]
    for entry, kind, what in inside:
        for key in entry if isinstance(entry, dict) else ():
            _check_key(str(key), kind, f"recipe {where}: {what}")


def _check_key(key: str, kind: Any, who: str) -> None:
    known = list(kind.__dataclass_fields__)
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise BadInput(f"{who} has no key {key!r}, {hint}")


def _one_line(error: Exception) -> str:
    line = " ".join(str(error).split("\n")[0].split())
    key = getattr(error, "full_key", None)
    return f"{line} (key {key})" if key else line
