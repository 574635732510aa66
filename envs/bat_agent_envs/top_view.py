"""The room from above, as a picture for every step: drawn once, then only what moves is added."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bat_agent.scene import Room
from bat_agent_envs.floor import CELL_M
from bat_agent_envs.world import World, ahead

ROOM_PX = (608, 480)
"""Width and height that the room is fitted into, whatever its shape, so that all pictures are of one size."""
MARGIN_PX, CAPTION_PX, FONT_PX = 16, 48, 13
_PAPER, _FLOOR, _BOX, _INK = (255, 255, 255), (243, 240, 233), (198, 188, 172), (60, 60, 60)
_GOAL, _OTHER, _HEARD, _WAY, _AGENT = (200, 60, 40), (120, 120, 120), (40, 110, 200), (150, 190, 235), (20, 70, 150)
_FINE = 2
"""Drawn so many times as large, then made smaller, for smooth lines."""


class TopView:
    """Draws one episode; x to the right, z downwards, so that a heading of 0 looks up."""

    def __init__(self, world: World) -> None:
        free, floor = world.floor.free, world.floor
        if isinstance(world.scene.room, Room):
            wide, _, deep = world.scene.room.size_m
        else:
            wide, deep = free.shape[0] * CELL_M, free.shape[1] * CELL_M
        self._origin, self._room_m = floor.origin_m, (wide, deep)
        self._scale = _FINE * min(ROOM_PX[0] / wide, ROOM_PX[1] / deep)
        width, height = (side * _FINE + 2 * MARGIN_PX * _FINE for side in ROOM_PX)
        self._corner = ((width - wide * self._scale) / 2, (height - deep * self._scale) / 2)
        self._font = ImageFont.load_default(_FINE * FONT_PX)
        page = Image.new("RGB", (width, height + (CAPTION_PX - MARGIN_PX) * _FINE), _PAPER)
        draw = ImageDraw.Draw(page)
        corner = self._px(self._origin[0] + wide, self._origin[1] + deep)
        draw.rectangle([self._px(*self._origin), corner], fill=_FLOOR, outline=_INK, width=2 * _FINE)
        if not isinstance(world.scene.room, Room):
            self._draw_blocked(draw, free)
        for x0, z0, x1, z1 in world.boxes:
            draw.rectangle([self._px(x0, z0), self._px(x1, z1)], fill=_BOX, outline=_INK)
        for number, source in enumerate(world.scene.sources):
            self._draw_source(draw, source.position_m[0], source.position_m[2], source.labels, goal=number == 0)
        self._page = page

    def draw(
        self, world: World, trail: list[tuple[float, float]], heard: list[dict[str, Any]], caption: str
    ) -> NDArray[np.uint8]:
        """The picture of a step, (height, width, 3)."""
        page = self._page.copy()
        draw = ImageDraw.Draw(page)
        if len(trail) > 1:
            draw.line([self._px(*place) for place in trail], fill=_WAY, width=3 * _FINE, joint="curve")
        for one in heard:
            self._draw_heard(draw, world, one)
        self._draw_agent(draw, world)
        self._write_caption(draw, page, caption)
        small = page.resize((page.width // _FINE, page.height // _FINE), Image.Resampling.BOX)
        return np.asarray(small, np.uint8)

    def _px(self, x: float, z: float) -> tuple[float, float]:
        return (
            self._corner[0] + (x - self._origin[0]) * self._scale,
            self._corner[1] + (z - self._origin[1]) * self._scale,
        )

    def _draw_blocked(self, draw: ImageDraw.ImageDraw, free: NDArray[np.bool_]) -> None:
        for i, k in np.argwhere(~free):
            x, z = self._origin[0] + i * CELL_M, self._origin[1] + k * CELL_M
            draw.rectangle([self._px(x, z), self._px(x + CELL_M, z + CELL_M)], fill=_BOX)

    def _draw_source(self, draw: ImageDraw.ImageDraw, x: float, z: float, labels: tuple[str, ...], goal: bool) -> None:
        (px, pz), size, colour = self._px(x, z), 7 * _FINE, _GOAL if goal else _OTHER
        draw.ellipse([px - size, pz - size, px + size, pz + size], fill=colour, outline=_PAPER, width=_FINE)
        self._write(draw, px, pz, labels[0] if labels else "sound", colour)

    def _draw_heard(self, draw: ImageDraw.ImageDraw, world: World, heard: dict[str, Any]) -> None:
        """A ray as long as the distance that is heard, with what it is said to be."""
        right, _, back = (float(part) for part in heard["direction"])
        ax, az = ahead(world.heading_deg)
        # Ahead is (ax, az); to the right of it lies (−az, ax).
        dx, dz = -back * ax - right * az, -back * az + right * ax
        length = max(float(heard["distance_m"]), 0.3)
        end = self._px(*self._kept(world.x + dx * length, world.z + dz * length))
        draw.line([self._px(world.x, world.z), end], fill=_HEARD, width=2 * _FINE)
        size = 4 * _FINE
        draw.ellipse([end[0] - size, end[1] - size, end[0] + size, end[1] + size], outline=_HEARD, width=2 * _FINE)
        self._write(draw, *end, f"{heard['label']}?", _HEARD)

    def _draw_agent(self, draw: ImageDraw.ImageDraw, world: World) -> None:
        ax, az = ahead(world.heading_deg)
        px, pz = self._px(world.x, world.z)
        size = max(0.2 * self._scale, 7 * _FINE)
        draw.ellipse([px - size, pz - size, px + size, pz + size], fill=_AGENT, outline=_PAPER, width=_FINE)
        nose = [(px + 1.5 * size * ax, pz + 1.5 * size * az)]
        for turn in (-0.55, 0.55):
            sx, sz = ax * math.cos(turn) - az * math.sin(turn), ax * math.sin(turn) + az * math.cos(turn)
            nose.append((px + 0.95 * size * sx, pz + 0.95 * size * sz))
        draw.polygon(nose, fill=_AGENT)

    def _kept(self, x: float, z: float) -> tuple[float, float]:
        """A point, moved to the edge of the picture where it lies outside."""
        (wide, deep), (x0, z0) = self._room_m, self._origin
        return min(max(x, x0), x0 + wide), min(max(z, z0), z0 + deep)

    def _write(self, draw: ImageDraw.ImageDraw, px: float, pz: float, text: str, colour: tuple[int, int, int]) -> None:
        """Beside a point, inside the room where there is space for it."""
        wide, gap = draw.textlength(text, font=self._font), 10 * _FINE
        right = self._corner[0] + self._room_m[0] * self._scale
        x = px + gap if px + gap + wide < right else px - gap - wide
        # On a ground of its own, as it may lie over boxes and other lines.
        draw.text((max(x, 2.0), pz - 9 * _FINE), text, fill=colour, font=self._font, stroke_width=3, stroke_fill=_FLOOR)

    def _write_caption(self, draw: ImageDraw.ImageDraw, page: Image.Image, caption: str) -> None:
        """Below the room, in up to two lines."""
        # A letter is half as wide as it is high, on average.
        lines = textwrap.wrap(caption, ROOM_PX[0] // (FONT_PX // 2), max_lines=2, placeholder=" …")
        top = page.height - (CAPTION_PX - 4) * _FINE
        draw.multiline_text((MARGIN_PX * _FINE, top), "\n".join(lines), fill=_INK, font=self._font)
