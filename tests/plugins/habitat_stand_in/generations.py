"""What differs between the generations of habitat-sim."""

from __future__ import annotations

from dataclasses import dataclass


class Abort(BaseException):
    """The process would have ended here."""


@dataclass(frozen=True)
class Generation:
    """How one generation differs."""

    version: str
    """``__version__``, which is wrong for two of them."""
    branch: bool = False
    index_bug: bool = False
    create_sensor: bool = False
    box: str = "BBox"
    islands: bool = True
    level: float = 1.0
    """Gain of its engine at globalVolume 1, over 0.282/d."""


GENERATIONS = {
    "0.2.2": Generation("0.2.2", islands=False, level=0.5),
    "0.3.0": Generation("0.3.0", level=0.5),
    "0.3.1": Generation("0.3.1", index_bug=True),
    "0.3.3": Generation("0.3.3", index_bug=True, box="Range3D"),
    "0.3.4": Generation("0.3.3", index_bug=True, box="Range3D", create_sensor=True),
    "0.3.4 mended": Generation("0.3.3", box="Range3D", create_sensor=True),
    "branch": Generation("0.2.2", branch=True, islands=False),
}
