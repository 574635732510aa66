"""The 355 sound classes of SpatialSoundQA: their order is the class number (BAT, section 3.1; released label table)."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import resources

from bat_agent.errors import BadInput


@cache
def label_table() -> tuple[tuple[str, str], ...]:
    """The rows (mid, display name) in class order."""
    text = resources.files("bat_agent.data").joinpath("class_labels_indices_subset.csv").read_text(encoding="utf-8")
    # Display names contain unquoted commas ("Male speech, man speaking"), so only the first two commas separate.
    rows = [line.split(",", 2) for line in text.splitlines()[1:] if line.strip()]
    return tuple((mid, name.strip().strip('"')) for _, mid, name in rows)


@cache
def labels() -> tuple[str, ...]:
    """The 355 display names in class order."""
    return tuple(name for _, name in label_table())


@cache
def label_index() -> dict[str, int]:
    """Class number of each display name."""
    return {name: number for number, name in enumerate(labels())}


def class_number(name: str) -> int:
    """Class number of a display name or a mid (``/m/…``), in any case of letters.

    Raises :class:`~bat_agent.errors.BadInput` with the nearest names for an unknown one.
    """
    try:
        return _number_by_key()[name.strip().lower()]
    except KeyError:
        near = difflib.get_close_matches(name.strip().lower(), [n.lower() for n in labels()], n=3)
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        raise BadInput(f"unknown sound class {name!r}, expected one of the 355 display names{hint}") from None


@cache
def _number_by_key() -> dict[str, int]:
    keys = {mid.lower(): number for number, (mid, _) in enumerate(label_table())}
    return keys | {name.lower(): number for number, (_, name) in enumerate(label_table())}
