"""Acoustic materials: reading and checking the engine's JSON layout, and which one a category gets.

A file is ``{"materials": [{name, labels, absorption, scattering, transmission, damping, density, speed}, …]}``; curves
are flat lists ``[frequency_hz, value, …]``. Our own table is ``data/materials.json`` (sources: ``data/NOTICE.md``).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.files.reading import parse_json

SHARES = ("absorption", "scattering", "transmission")
CURVES = (*SHARES, "damping")
NUMBERS = ("density", "speed")
FIELDS = ("name", "labels", *CURVES, *NUMBERS)
"""All are required: the engine refuses the whole file where one is missing."""


@dataclass(frozen=True)
class Curve:
    """A quantity over frequency."""

    frequency_hz: tuple[float, ...]
    value: tuple[float, ...]

    def at(self, frequency_hz: float) -> float:
        """The value at a frequency, linear over log frequency, constant beyond the ends."""
        return float(np.interp(math.log(frequency_hz), np.log(self.frequency_hz), self.value))


@dataclass(frozen=True)
class Material:
    """How a surface treats sound."""

    name: str
    labels: tuple[str, ...]
    """Parts of category names that it is meant for."""
    absorption: Curve
    """Share of incident energy that is not reflected, random incidence; what passes through is part of it."""
    scattering: Curve
    """Share of reflected energy that is diffuse."""
    transmission: Curve
    """Share of incident energy that passes one surface (as measured, 0.1 is −10 dB). Where it exceeds ``absorption``,
    the engine divides what is reflected and what passes by their sum."""
    damping: Curve
    """dB per metre in the bulk."""
    density: float
    """kg/m³"""
    speed: float
    """Longitudinal speed of sound, m/s."""


def default_materials_path() -> Path:
    """The table that ships."""
    return Path(str(resources.files("bat_agent_soundspaces.data").joinpath("materials.json")))


def load_materials(path: str | Path | None = None) -> tuple[Material, ...]:
    """Read a material table, ours where ``path`` is None, and refuse what the engine would reject or misread.

    Raises :class:`~bat_agent.errors.BadInput` with one sentence that names file, material and field.
    """
    path = default_materials_path() if path is None else Path(path)
    if not path.is_file():
        raise BadInput(f"material table {path} does not exist; give a JSON file or leave it out for the shipped one")
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"material table {path} is no JSON: {error}") from error
    entries = data.get("materials") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        raise BadInput(f'material table {path} must be {{"materials": [...]}} with at least one material')
    materials = tuple(_read(entry, f"material {i} of {path}") for i, entry in enumerate(entries))
    names = [material.name for material in materials]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput(f"material table {path} has {twice[0]!r} twice; names must differ")
    return materials


def match(category: str, materials: Sequence[Material]) -> Material | None:
    """The material the engine picks for a category of a mesh; None where it falls back on its built-in default.

    Its rule, as measured: one point for each label that is a part of the category in any case (a label listed twice
    counts twice), one more where the category is exactly the material's name; most points win, the first of equals.
    """
    lower = category.lower()
    best, most = None, 0
    for material in materials:
        points = sum(label.lower() in lower for label in material.labels) + (material.name == category)
        if points > most:
            best, most = material, points
    return best


def find_material(name: str, materials: Sequence[Material]) -> Material:
    """The material of a name a person wrote, in any case; unknown: one sentence with the known names."""
    for material in materials:
        if material.name.lower() == name.strip().lower():
            return material
    known = ", ".join(sorted(material.name for material in materials))
    raise BadInput(f"unknown material {name!r}; known are {known}")


def unmatched(categories: Sequence[str], materials: Sequence[Material]) -> list[str]:
    """Categories for which the engine would use its built-in default (absorption 0.1, nothing transmitted)."""
    return [category for category in categories if match(category, materials) is None]


def _read(entry: Any, where: str) -> Material:
    if not isinstance(entry, dict):
        raise BadInput(f"{where} must be a mapping with {', '.join(FIELDS)}, got {type(entry).__name__}")
    where = f"{where} ({entry.get('name', 'no name')})"
    if missing := [name for name in FIELDS if name not in entry]:
        raise BadInput(f"{where} lacks {', '.join(missing)}; the engine needs all of {', '.join(FIELDS)}")
    labels = entry["labels"]
    if not isinstance(entry["name"], str) or not entry["name"]:
        raise BadInput(f"{where} must have a name, got {entry['name']!r}")
    if not isinstance(labels, list) or not all(isinstance(label, str) and label.strip() for label in labels):
        raise BadInput(f"{where} labels must be a list of non-empty words, got {labels!r}")
    curves = {name: _curve(entry[name], f"{where} {name}") for name in CURVES}
    for name, curve in curves.items():
        top = 1.0 if name in SHARES else math.inf
        if not all(0 <= value <= top for value in curve.value):
            raise BadInput(f"{where} {name} must lie in 0…{top:g}, got {min(curve.value):g}…{max(curve.value):g}")
    for name in NUMBERS:
        if not _is_number(entry[name]) or entry[name] <= 0:
            raise BadInput(f"{where} {name} must be a number above 0, got {entry[name]!r}")
    return Material(entry["name"], tuple(labels), **curves, density=entry["density"], speed=entry["speed"])


def _curve(flat: Any, what: str) -> Curve:
    if not isinstance(flat, list) or not flat or len(flat) % 2 or not all(_is_number(value) for value in flat):
        raise BadInput(
            f"{what} must be a list [frequency_hz, value, …] of an even count of finite numbers, got {flat!r}"
        )
    frequencies, values = tuple(flat[::2]), tuple(flat[1::2])
    if frequencies[0] <= 0 or any(high <= low for low, high in itertools.pairwise(frequencies)):
        raise BadInput(f"{what} must have frequencies above 0 that rise, got {list(frequencies)}")
    return Curve(frequencies, values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
