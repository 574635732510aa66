"""Keys of recipes that have another name now: read under their old one, with one sentence, until the next release."""

from __future__ import annotations

import json
import re
import warnings

from omegaconf import DictConfig, ListConfig, OmegaConf

from bat_agent.errors import BadInput, OldNameWarning
from bat_agent.recipes.schema import Recipe, Stage

REMOVED_IN = "0.3"
RENAMED: dict[type, dict[str, str]] = {
    Recipe: {"loose_words": "word_dropout"},
    Stage: {
        "passes": "feature_epochs",
        "passes_over_slots": "slot_features",
        "claim_weight": "mask_weight",
        "imagined": "oracle_heads",
        "ideal_ear": "oracle_tokens",
    },
}
"""Old name → new name, in the recipe itself and in its stages. The recipes of older runs have all of them."""


def rename_keys(given: object, where: str) -> None:
    """Give the old keys of a recipe, as read from YAML, their new names, and warn of them in one sentence.

    Raises :class:`~bat_agent.errors.BadInput` where the old and the new name of a key are both there.
    """
    found: dict[str, str] = {}
    for part, kind in _parts(given):
        for old, new in RENAMED[kind].items():
            if old not in part:
                continue
            if new in part:
                raise BadInput(f"{where} has both {old} and {new}, which is its new name: leave {old} out")
            part[new] = part.pop(old)
            found[old] = new
    _warn(found, where)


def renamed_override(override: str) -> str:
    """``stages.0.passes=5`` with the new name of its key; and so inside ``stages=[…]``."""
    key, _, value = override.partition("=")
    if key == "stages":
        given = OmegaConf.from_dotlist([override])
        before = OmegaConf.to_container(given)
        rename_keys(given, f"override {key}")
        after = OmegaConf.to_container(given)
        return override if after == before else f"{key}={json.dumps(after['stages'])}"  # type: ignore[index,call-overload]
    where, _, last = key.rpartition(".")
    kind = Stage if re.fullmatch(r"stages(\.\d+|\[\d+\])", where) else Recipe
    new = RENAMED[kind].get(last) if kind is Stage or not where else None
    if new is None:
        return override
    _warn({last: new}, f"override {key}")
    return f"{where}{'.' if where else ''}{new}={value}"


def _parts(given: object) -> list[tuple[DictConfig, type]]:
    if not isinstance(given, DictConfig):
        return []
    stages = given.get("stages")
    inside = stages if isinstance(stages, ListConfig) else ()
    return [(given, Recipe), *((stage, Stage) for stage in inside if isinstance(stage, DictConfig))]


def _warn(found: dict[str, str], where: str) -> None:
    if found:
        names = ", ".join(f"{old} (now {new})" for old, new in found.items())
        warnings.warn(
            f"{where} has old names, read until bat-agent {REMOVED_IN}: {names}", OldNameWarning, stacklevel=2
        )
