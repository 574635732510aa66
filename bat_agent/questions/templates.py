"""What a table of wordings is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wordings:
    """The templates of one kind of question."""

    train: tuple[str, ...]
    """For training."""
    held_out: tuple[str, ...]
    """For evaluation only."""
