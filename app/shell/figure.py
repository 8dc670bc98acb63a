"""Panels with captions under a title, drawn without matplotlib, which an installation that serves does not have."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.pipeline.types import UInt8Array

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

COLUMNS = 3
PANEL_PX = 800
"""Width of a panel: the whole figure can be printed, and is still legible at 1500 px."""
GAP_PX, MARGIN_PX = 24, 40
WIDTH_PX = COLUMNS * PANEL_PX + (COLUMNS - 1) * GAP_PX + 2 * MARGIN_PX
TITLE_PX, TEXT_PX, SMALL_PX = 42, 30, 26
TITLE_LINE_PX, TEXT_LINE_PX = 64, 42
CAPTION_PX = 50
LIKENESSES = str.maketrans({"×": "x", "µ": "u", "–": "-", "ß": "ss"})
WHITE, LIGHT, FRAME, DARK, WARNING = (255, 255, 255), (232, 232, 232), (150, 150, 150), (25, 25, 25), (176, 0, 0)


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of the figure.

    Attributes:
        pixels: (height, PANEL_PX, 3) uint8 RGB; the height is the same for all.
        caption: what stands above it.
        key: further words of the caption, each with the colour that it explains.
    """

    pixels: UInt8Array
    caption: str
    key: tuple[tuple[str, Colour], ...] = ()


def compose(panels: list[Panel], title: str, warnings: tuple[str, ...], notice: str) -> UInt8Array:
    """Lay panels out in rows of three; characters that the font lacks are replaced.

    Args:
        panels: a multiple of three.
        title: one line, its middle cut out where it is too long.
        warnings: under the title, wrapped.
        notice: small print at the bottom.

    Returns:
        (height, WIDTH_PX, 3) uint8 RGB.
    """
    panel_height = panels[0].pixels.shape[0]
    lines = [line for text in warnings for line in _wrap(text)]
    top = MARGIN_PX // 2
    head = top + TITLE_LINE_PX + len(lines) * TEXT_LINE_PX
    row = CAPTION_PX + panel_height + GAP_PX
    foot = head + row * (len(panels) // COLUMNS)
    image = Image.new("RGB", (WIDTH_PX, foot + SMALL_PX + MARGIN_PX // 2), WHITE)
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN_PX, top), _shorten(title), DARK, _font(TITLE_PX))
    for i, line in enumerate(lines):
        draw.text((MARGIN_PX, top + TITLE_LINE_PX + i * TEXT_LINE_PX), line, WARNING, _font(TEXT_PX))
    for i, panel in enumerate(panels):
        x, y = MARGIN_PX + i % COLUMNS * (PANEL_PX + GAP_PX), head + i // COLUMNS * row
        _draw_caption(draw, panel, x, y + CAPTION_PX // 2)
        image.paste(Image.fromarray(panel.pixels), (x, y + CAPTION_PX))
        draw.rectangle((x - 1, y + CAPTION_PX - 1, x + PANEL_PX, y + CAPTION_PX + panel_height), outline=FRAME)
    draw.text((MARGIN_PX, foot - GAP_PX // 3), drawable(notice), DARK, _font(SMALL_PX))
    return np.array(image)


def _draw_caption(draw: ImageDraw.ImageDraw, panel: Panel, x: int, y: int) -> None:
    """Write a caption whose lines have their middle at y."""
    for text, colour in ((panel.caption, None), *panel.key):
        if colour is not None:
            draw.rectangle((x, y - 11, x + 22, y + 11), fill=colour)
            x += 34
        words = drawable(text)
        draw.text((x, y), words, DARK, _font(TEXT_PX), anchor="lm")
        x += round(_font(TEXT_PX).getlength(words)) + TEXT_PX


def place(width: int, height: int, panel_height: int) -> tuple[int, int, int, int]:
    """Left, top, width and height, in px of a panel, of a tile that fills it as far as the tile's shape allows."""
    scale = min(PANEL_PX / width, panel_height / height)
    shown_width, shown_height = max(1, round(width * scale)), max(1, round(height * scale))
    return (PANEL_PX - shown_width) // 2, (panel_height - shown_height) // 2, shown_width, shown_height


def fit(pixels: UInt8Array, panel_height: int) -> UInt8Array:
    """A panel with a tile in its middle.

    Args:
        pixels: (H, W, 3) uint8 of any size.
        panel_height: in px.

    Returns:
        (panel_height, PANEL_PX, 3) uint8, a new array.
    """
    left, top, width, height = place(pixels.shape[1], pixels.shape[0], panel_height)
    # Enlarged pixels are shown as the squares that they are.
    method = cv2.INTER_AREA if width * height < pixels.shape[0] * pixels.shape[1] else cv2.INTER_NEAREST
    panel = blank(panel_height)
    panel[top : top + height, left : left + width] = cv2.resize(pixels, (width, height), interpolation=method)
    return panel


def blank(panel_height: int) -> UInt8Array:
    """An empty panel."""
    return np.full((panel_height, PANEL_PX, 3), LIGHT, np.uint8)


def with_text(panel: UInt8Array, text: str) -> UInt8Array:
    """A copy of a panel with a text in its middle."""
    image = Image.fromarray(panel)
    ImageDraw.Draw(image).text((image.width // 2, image.height // 2), text, DARK, _font(TEXT_PX), anchor="mm")
    return np.array(image)


def drawable(text: str) -> str:
    """A text in the characters of Pillow's own font: accents are left off, what has no likeness in it becomes "?"."""
    plain = unicodedata.normalize("NFKD", text.translate(LIKENESSES))
    bare = (c for c in plain if not unicodedata.combining(c))
    return "".join(c if c == "·" or (c.isascii() and c.isprintable()) else "?" for c in bare)


def _wrap(text: str) -> list[str]:
    """Break a text into lines of the figure's width."""
    lines: list[str] = []
    for word in drawable(text).split():
        if lines and _font(TEXT_PX).getlength(f"{lines[-1]} {word}") <= WIDTH_PX - 2 * MARGIN_PX:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _shorten(title: str) -> str:
    """Cut out the middle of a title that is too long: a file's name begins it, the rest is as telling."""
    words = drawable(title)
    shown, kept = words, len(words)
    while _font(TITLE_PX).getlength(shown) > WIDTH_PX - 2 * MARGIN_PX:
        kept -= 1
        shown = words[: kept // 2] + "..." + words[len(words) - (kept - kept // 2) :]
    return shown


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)
