"""A radar of characters: dots of braille, front up, distances drawn together so that near ones are told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

RINGS_M = (1.0, 3.0, 6.0, 10.0)
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_RING_POINTS = 220


@dataclass(frozen=True)
class Dot:
    """A source on the radar."""

    azimuth_deg: float
    distance_m: float
    mark: str
    """One character."""
    label: str
    style: str


def radius(distance_m: float) -> float:
    """Share of the radar's radius: the root, so that 1 m is a third of 10 m."""
    return math.sqrt(min(max(distance_m, 0.0), RINGS_M[-1]) / RINGS_M[-1])


def draw(dots: Sequence[Dot], width: int, height: int, *, ascii_only: bool = False) -> list[Text]:
    """``height`` lines of ``width`` characters."""
    canvas = _Canvas(width, height, ascii_only)
    for ring_m in RINGS_M:
        canvas.ring(radius(ring_m))
    for ring_m in RINGS_M[:-1]:
        canvas.write(*canvas.cell(0.0, -radius(ring_m)), f"{ring_m:g}", "dim")
    middle_x, middle_y = canvas.cell(0.0, 0.0)
    canvas.write(middle_x, middle_y, "+" if ascii_only else "▲", "bold")
    canvas.write(middle_x - 2, 0, "front", "dim")
    for dot in dots:
        angle = math.radians(dot.azimuth_deg)
        x, y = canvas.cell(radius(dot.distance_m) * math.cos(angle), radius(dot.distance_m) * math.sin(angle))
        canvas.write(x, y, dot.mark, f"bold {dot.style}")
        room_right = x + 2 + len(dot.label) <= width
        canvas.write(x + 2 if room_right else x - 1 - len(dot.label), y, dot.label, dot.style)
    return canvas.lines()


class _Canvas:
    def __init__(self, width: int, height: int, ascii_only: bool) -> None:
        self.width, self.height, self.ascii = width, height, ascii_only
        self._dots = [[0] * width for _ in range(height)]
        self._text: list[list[tuple[str, str] | None]] = [[None] * width for _ in range(height)]
        # A character is about twice as high as it is wide.
        self._size = min(width / 2, height) / 2 - 0.5

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Characters from the left and from the top; x to the right, y to the front, in radii."""
        return (self.width - 1) / 2 + 2 * self._size * x, (self.height - 1) / 2 - self._size * y

    def cell(self, x: float, y: float) -> tuple[int, int]:
        column, row = self.point(x, y)
        return min(max(round(column), 0), self.width - 1), min(max(round(row), 0), self.height - 1)

    def ring(self, size: float) -> None:
        for number in range(_RING_POINTS):
            angle = 2 * math.pi * number / _RING_POINTS
            column, row = self.point(size * math.cos(angle), size * math.sin(angle))
            self._dot(column + 0.49, row + 0.49)

    def _dot(self, column: float, row: float) -> None:
        x, y = int(column), int(row)
        if 0 <= x < self.width and 0 <= y < self.height:
            self._dots[y][x] |= _DOTS[int((row - y) * 4)][int((column - x) * 2)]

    def write(self, x: int, y: int, text: str, style: str) -> None:
        for offset, letter in enumerate(text):
            if 0 <= x + offset < self.width and 0 <= y < self.height:
                self._text[y][x + offset] = (letter, style)

    def lines(self) -> list[Text]:
        found = []
        for dots, letters in zip(self._dots, self._text, strict=True):
            line, run, style = Text(), "", "dim"
            for dot, letter in zip(dots, letters, strict=True):
                shown, its = letter or (self._ring_mark(dot), "dim")
                if its != style:
                    line.append(run, style)
                    run, style = "", its
                run += shown
            line.append(run, style)
            found.append(line)
        return found

    def _ring_mark(self, dot: int) -> str:
        if not dot:
            return " "
        return "." if self.ascii else chr(_BRAILLE + dot)
