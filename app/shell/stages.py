"""The figure of every step from tile to crops (paper Fig. 6), which `marrowscope analyze --format stages` draws.

It is drawn without matplotlib, because an installation that serves does not have it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.pipeline.crops import CROP_PX, pictures
from app.pipeline.geometry import PixelMap
from app.pipeline.nuclei.outlines import contours
from app.pipeline.types import Nuclei, Stain, UInt8Array

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

COLUMNS = 3
PANEL_PX = 800
"""Width of a panel. The whole figure can then be printed, and is still legible when it is 1500 px wide."""
GAP_PX, MARGIN_PX = 24, 40
WIDTH_PX = COLUMNS * PANEL_PX + (COLUMNS - 1) * GAP_PX + 2 * MARGIN_PX
TITLE_PX, TEXT_PX, SMALL_PX = 42, 30, 26
TITLE_LINE_PX, TEXT_LINE_PX = 64, 42
CAPTION_PX = 50
SIMILAR = str.maketrans({"×": "x", "µ": "u", "–": "-", "ß": "ss"})
WHITE, LIGHT, FRAME, DARK, WARNING = (255, 255, 255), (232, 232, 232), (150, 150, 150), (25, 25, 25), (176, 0, 0)
PANEL_HEIGHTS_PX = (300, 1000)
"""Smallest and largest height of the panels, which follows the tile's shape."""
INNER, BORDER = (0, 205, 60), (255, 120, 0)
"""Colours of the outlines of nuclei inside the tile and at its border."""
CROP_SCALES = range(8, 2, -1)
"""Factors by which crops are enlarged. The largest one is used with which all crops fit, else the smallest."""
CROP_GAP_PX = 4
GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Captions:
    """The texts of the figure.

    Attributes:
        title: names the tile, the bundle and the number of nuclei.
        warnings: say what is wrong with the tile.
        tile: says what the first panel shows.
        notice: the small print.
    """

    title: str
    warnings: tuple[str, ...]
    tile: str
    notice: str


def draw_stages(pixels: UInt8Array, stains: Stain, nuclei: Nuclei, crops: UInt8Array, captions: Captions) -> UInt8Array:
    """Draw the stages of one tile as 2 × 3 panels.

    Args:
        pixels: (H, W, 3) uint8 RGB, the tile at the analysed scale.
        stains: the tile's normalisation and unmixing.
        nuclei: the tile's nuclei.
        crops: (N, 32, 32, C) uint8, in the order of `nuclei`.
        captions: the texts.

    Returns:
        (height, WIDTH_PX, 3) uint8 RGB, of one width whatever the tile's size.
    """
    height = int(np.clip(round(PANEL_PX * pixels.shape[0] / pixels.shape[1]), *PANEL_HEIGHTS_PX))
    n, n_border = len(nuclei), int(nuclei.touches_border.sum())
    haematoxylin = np.repeat(stains.haematoxylin[..., None], 3, axis=2)
    grid, n_shown = _crop_panel(pictures(crops), height)
    of_all = f"first {n_shown} of {n}" if n_shown < n else f"all {n}"
    outline_key = ((f"{n - n_border} inside", INNER), (f"{n_border} touching the border", BORDER))
    panels = [
        Panel(fit(pixels, height), f"1 · {captions.tile}"),
        Panel(fit(stains.normalised, height), "2 · Reinhard-normalised"),
        Panel(fit(haematoxylin, height), "3 · Haematoxylin intensity, dark = stained"),
        Panel(fit(colour_nuclei(nuclei), height), "4 · Nuclear pixels, a colour for each nucleus"),
        Panel(_outline_panel(pixels, nuclei, height), "5 · Kept nuclei:", outline_key),
        Panel(grid, f"6 · Crops of {CROP_PX} × {CROP_PX} px" + (f", {of_all}" if n else "")),
    ]
    return compose(panels, captions.title, captions.warnings, captions.notice)


def colour_nuclei(nuclei: Nuclei) -> UInt8Array:
    """Return (H, W, 3) uint8 RGB with each nucleus in another colour than its neighbours, on black.

    The colours of a tile are the same each time.
    """
    i = np.arange(len(nuclei))
    # Steps of the golden ratio keep the hues of successive nuclei apart, however many there are.
    hsv = np.stack([i * GOLDEN_RATIO % 1 * 180, 110 + i % 3 * 55, 255 - i % 2 * 50], axis=1).astype(np.uint8)
    colours = np.zeros((len(nuclei) + 1, 3), np.uint8)
    if len(nuclei):
        colours[1:] = cv2.cvtColor(hsv[:, None], cv2.COLOR_HSV2RGB)[:, 0]
    return np.asarray(colours[nuclei.label_image])


def _outline_panel(pixels: UInt8Array, nuclei: Nuclei, panel_height: int) -> UInt8Array:
    """Return the tile with the outline of every nucleus, drawn after scaling so that the lines stay sharp."""
    panel = fit(pixels, panel_height)
    left, top, width, height = place(pixels.shape[1], pixels.shape[0], panel_height)
    to_panel = PixelMap.onto((width, height), pixels.shape, (left, top))
    outlines = [np.rint(to_panel.points(contour)).astype(np.int32) for contour in contours(nuclei)]
    at_border = nuclei.touches_border
    thickness = 4 if width > 2 * pixels.shape[1] else 2
    # Outlines at the border are drawn last, so that they are seen where two nuclei touch.
    for colour, chosen in ((INNER, ~at_border), (BORDER, at_border)):
        lines = [outlines[i] for i in np.flatnonzero(chosen)]
        cv2.polylines(panel, lines, isClosed=True, color=colour, thickness=thickness, lineType=cv2.LINE_AA)
    return panel


def _crop_panel(crops: UInt8Array, panel_height: int) -> tuple[UInt8Array, int]:
    """Return a panel with the first crops in a grid, and how many it shows."""
    panel = blank(panel_height)
    if not len(crops):
        return with_text(panel, "No nucleus was found."), 0
    for scale in CROP_SCALES:
        pitch = CROP_PX * scale + CROP_GAP_PX
        columns, rows = PANEL_PX // pitch, panel_height // pitch
        if columns * rows >= len(crops):
            break
    shown = crops[: columns * rows]
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    left, top = (PANEL_PX - columns * pitch + CROP_GAP_PX) // 2, (panel_height - rows * pitch + CROP_GAP_PX) // 2
    for i, crop in enumerate(shown):
        x, y = left + i % columns * pitch, top + i // columns * pitch
        panel[y : y + CROP_PX * scale, x : x + CROP_PX * scale] = crop.repeat(scale, axis=0).repeat(scale, axis=1)
    return panel, len(shown)


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of the figure.

    Attributes:
        pixels: (height, PANEL_PX, 3) uint8 RGB; the height is the same for all.
        caption: text above the picture.
        key: further texts of the caption, each with the colour that it explains.
    """

    pixels: UInt8Array
    caption: str
    key: tuple[tuple[str, Colour], ...] = ()


def compose(panels: list[Panel], title: str, warnings: tuple[str, ...], notice: str) -> UInt8Array:
    """Lay panels out in rows of three. Characters that the font lacks are replaced.

    Args:
        panels: the panels, a multiple of three.
        title: one line; its middle is cut out if it is too long.
        warnings: texts under the title, which are wrapped.
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
    """Write a caption; the middle of its line is at y."""
    for text, colour in ((panel.caption, None), *panel.key):
        if colour is not None:
            draw.rectangle((x, y - 11, x + 22, y + 11), fill=colour)
            x += 34
        words = drawable(text)
        draw.text((x, y), words, DARK, _font(TEXT_PX), anchor="lm")
        x += round(_font(TEXT_PX).getlength(words)) + TEXT_PX


def place(width: int, height: int, panel_height: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height, in px of a panel, of a tile that is as large as the panel allows."""
    scale = min(PANEL_PX / width, panel_height / height)
    shown_width, shown_height = max(1, round(width * scale)), max(1, round(height * scale))
    return (PANEL_PX - shown_width) // 2, (panel_height - shown_height) // 2, shown_width, shown_height


def fit(pixels: UInt8Array, panel_height: int) -> UInt8Array:
    """Return a panel with a tile in its middle.

    Args:
        pixels: (H, W, 3) uint8 of any size.
        panel_height: in px.

    Returns:
        (panel_height, PANEL_PX, 3) uint8, a new array.
    """
    left, top, width, height = place(pixels.shape[1], pixels.shape[0], panel_height)
    # Enlarged pixels are shown as squares.
    method = cv2.INTER_AREA if width * height < pixels.shape[0] * pixels.shape[1] else cv2.INTER_NEAREST
    panel = blank(panel_height)
    panel[top : top + height, left : left + width] = cv2.resize(pixels, (width, height), interpolation=method)
    return panel


def blank(panel_height: int) -> UInt8Array:
    """Return an empty panel."""
    return np.full((panel_height, PANEL_PX, 3), LIGHT, np.uint8)


def with_text(panel: UInt8Array, text: str) -> UInt8Array:
    """Return a copy of a panel with a text in its middle."""
    image = Image.fromarray(panel)
    ImageDraw.Draw(image).text((image.width // 2, image.height // 2), text, DARK, _font(TEXT_PX), anchor="mm")
    return np.array(image)


def drawable(text: str) -> str:
    """Return a text in the characters of Pillow's own font. Accents are dropped; other characters become "?"."""
    plain = unicodedata.normalize("NFKD", text.translate(SIMILAR))
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
    """Cut out the middle of a title that is too long, because its beginning and its end say the most."""
    words = drawable(title)
    shown, kept = words, len(words)
    while _font(TITLE_PX).getlength(shown) > WIDTH_PX - 2 * MARGIN_PX:
        kept -= 1
        shown = words[: kept // 2] + "..." + words[len(words) - (kept - kept // 2) :]
    return shown


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)
